//! Which runs to merge next: decided from a few numbers about each, without reading anything.
//!
//! ```text
//!  newest                                                     oldest
//!  16 M  16 M  16 M   90 M   100 M  ──────────────────────────  1 G     tiers above, one large run below
//!  └─ tier merge: FANOUT runs of similar size become one
//!  └──────────────────── last merge: all become one, when enough of it is outdated ─────┘
//! ```
//!
//! Merging into the oldest run is what gives room back, and what costs most: the whole run is written again. It is due
//! when the outdated records amount to [`MAX_OUTDATED`] of the others: with `f` of the live data outdated at most, each byte
//! written costs `1 / f` more there. How much a run outdates was estimated when it was written, so data that is only added
//! is not rewritten for nothing. What has expired counts as outdated. If there is so much of it where there is one run only, that
//! is "merged" alone.
//!
//! The merges of tiers bound how many runs a read looks at: a record takes part in one for each factor of [`FANOUT`] that
//! lies between a flush and the oldest run. A merge that has begun is carried on first.
//!
//! While nobody writes, also runs of similar size are merged that are fewer than that, if it takes seconds at most. And where
//! readers have walked over as many records as there are to merge, that is reason enough to merge runs of less similar size: see
//! [`walked`](super::walked).

use crate::storage::manifest::Merging;

/// Runs of similar size that are merged together.
const FANOUT: usize = 8;

/// The most runs that a read may have to look at, but for a moment.
const MAX_RUNS: usize = 24;

/// A run counts as similar when it is at most this many times as large as the newest of the group.
const SIMILAR: u64 = 4;

/// While nobody writes, a run is merged with the newer ones if it is at most this many times as large as all of them together.
const SIMILAR_AT_LEISURE: u64 = 2;

/// Where walks are worth it, a run is merged with the newer ones if it is at most this many times as large as all of them
/// together: so many bytes are written then for each that is new to it.
const SIMILAR_FOR_WALKS: u64 = 8;

/// The most bytes that are merged though it is not due: some seconds of work.
const MAX_BYTES_NOT_DUE: u64 = 1 << 30;

/// A merge into the oldest run is due when this many outdated bytes come on 100 others.
const MAX_OUTDATED: u64 = 25;

/// What has to be known of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunShape {
    /// The size of its files, as far as they count.
    pub(crate) bytes: u64,
    /// Bytes of the keys and values in it.
    pub(crate) payload_bytes: u64,
    /// About how many records it has.
    pub(crate) entries: u64,
    /// About how many of those bytes a merge into the oldest run would save for it: records that it outdates, its own
    /// tombstones, and what has expired.
    pub(crate) outdated_bytes: u64,
}

/// What makes a merge worth its work that is not due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion {
    /// Nobody writes.
    pub(crate) leisure: bool,
    /// So many records were walked over that would not have had to be merged for that if they had been merged before.
    pub(crate) walked: u64,
}

impl Occasion {
    /// None: only what is due is merged.
    pub(crate) const NONE: Self = Self { leisure: false, walked: 0 };

    /// That of a handle which has nothing else to do.
    pub(crate) const LEISURE: Self = Self { leisure: true, walked: 0 };
}

/// What to merge next, given the runs, newest first, and the merge that has begun; `None` when all is well.
pub(crate) fn plan(runs: &[RunShape], begun: Option<Merging>, occasion: Occasion) -> Option<Merging> {
    let due = begun.or_else(|| last_merge(runs)).or_else(|| tier_merge(runs)).or_else(|| too_many(runs));
    let at_leisure = || merge_of_similar(runs, SIMILAR_AT_LEISURE, u64::MAX);
    let for_walks = || merge_of_similar(runs, SIMILAR_FOR_WALKS, occasion.walked);
    due.or_else(|| at_leisure().filter(|_| occasion.leisure)).or_else(for_walks)
}

/// Whether walks are worth a flush: what is `flushed` would then be merged with a run.
pub(crate) fn is_worth_flushing(flushed: RunShape, runs: &[RunShape], walked: u64) -> bool {
    flushed.entries > 0 && merge_of_similar(&[&[flushed], runs].concat(), SIMILAR_FOR_WALKS, walked).is_some()
}

/// The newest runs, as far as each is at most `similar` times as large as all before it, and they have no more than
/// `max_entries` records.
fn merge_of_similar(runs: &[RunShape], similar: u64, max_entries: u64) -> Option<Merging> {
    let (mut bytes, mut entries) = (0, 0);
    let count = runs.iter().take_while(|run| {
        let fits = bytes == 0 || run.bytes <= similar * bytes;
        bytes += run.bytes;
        entries += run.entries;
        fits && bytes <= MAX_BYTES_NOT_DUE && entries <= max_entries
    });
    let count = count.count();
    (count > 1).then(|| merging(0, count, runs.len()))
}

/// Everything, when enough is outdated.
fn last_merge(runs: &[RunShape]) -> Option<Merging> {
    let sum = |of: fn(&RunShape) -> u64| runs.iter().map(of).fold(0, u64::saturating_add);
    let outdated = sum(|run| run.outdated_bytes);
    let live = sum(|run| run.payload_bytes).saturating_sub(outdated);
    let is_much = outdated.saturating_mul(100) >= live.saturating_mul(MAX_OUTDATED);
    let due = is_much && (runs.len() > 1 || outdated > 0);
    due.then(|| merging(0, runs.len(), runs.len()))
}

/// The newest group of neighbours that are similar in size and many enough.
fn tier_merge(runs: &[RunShape]) -> Option<Merging> {
    (0..runs.len()).find_map(|start| {
        let largest = runs[start].bytes.saturating_mul(SIMILAR);
        let count = runs[start..].iter().take_while(|run| run.bytes <= largest).count();
        (count >= FANOUT).then(|| merging(start, count, runs.len()))
    })
}

/// The newest runs, as many as needed to come back below the bound.
fn too_many(runs: &[RunShape]) -> Option<Merging> {
    (runs.len() > MAX_RUNS).then(|| merging(0, runs.len() - MAX_RUNS / 2, runs.len()))
}

/// `count` of `all` runs, from `start` on.
fn merging(start: usize, count: usize, all: usize) -> Merging {
    let narrow = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    Merging { below: narrow(all - start - count), count: narrow(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh(sizes: &[u64]) -> Vec<RunShape> {
        let run = |&bytes: &u64| RunShape { bytes, payload_bytes: bytes, entries: bytes, outdated_bytes: 0 };
        sizes.iter().map(run).collect()
    }

    /// The runs, newest first, that are merged when nothing is outdated.
    fn planned(sizes: &[u64]) -> Option<std::ops::Range<usize>> {
        planned_on(sizes, Occasion::NONE)
    }

    fn planned_on(sizes: &[u64], occasion: Occasion) -> Option<std::ops::Range<usize>> {
        plan(&fresh(sizes), None, occasion).map(|merging| range(merging, sizes.len()))
    }

    fn range(merging: Merging, all: usize) -> std::ops::Range<usize> {
        let end = all - merging.below as usize;
        end - merging.count as usize..end
    }

    #[test]
    fn few_runs_are_left_alone() {
        assert_eq!(planned(&[]), None);
        assert_eq!(planned(&[4]), None);
        assert_eq!(planned(&[4, 4, 4]), None);
        assert_eq!(planned(&[4, 100, 1_000]), None);
    }

    #[test]
    fn similar_neighbours_are_merged_and_larger_ones_left() {
        assert_eq!(planned(&[4, 4, 5, 4, 9, 4, 4, 4, 1_000]), Some(0..8));
        assert_eq!(planned(&[1, 20, 20, 20, 20, 20, 20, 20, 20, 1_000]), Some(1..9));
    }

    #[test]
    fn outdated_records_call_for_a_merge_into_the_oldest_run() {
        let mut runs = fresh(&[10, 20, 100]);
        assert_eq!(plan(&runs, None, Occasion::NONE), None);
        (runs[0].outdated_bytes, runs[1].outdated_bytes) = (10, 20);
        assert_eq!(plan(&runs, None, Occasion::NONE), Some(Merging { below: 0, count: 3 }));
    }

    #[test]
    fn one_run_of_which_much_is_of_no_use_is_merged_alone() {
        let mut runs = fresh(&[100]);
        runs[0].outdated_bytes = 19;
        assert_eq!(plan(&runs, None, Occasion::NONE), None);
        runs[0].outdated_bytes = 20;
        assert_eq!(plan(&runs, None, Occasion::NONE), Some(Merging { below: 0, count: 1 }));
        // Neither its only key nor its value has a byte.
        assert_eq!(planned(&[0]), None);
    }

    #[test]
    fn while_nobody_writes_runs_of_similar_size_are_merged() {
        let at_leisure = |sizes: &[u64]| planned_on(sizes, Occasion::LEISURE);
        assert_eq!(at_leisure(&[]), None);
        assert_eq!(at_leisure(&[40]), None);
        assert_eq!(at_leisure(&[20, 40, 40]), Some(0..3));
        assert_eq!(at_leisure(&[1, 40, 40]), None);
        assert_eq!(at_leisure(&[20, 40, 500]), Some(0..2));
        assert_eq!(at_leisure(&[600 << 20, 600 << 20]), None, "that takes its time");
        assert_eq!(at_leisure(&[4, 4, 5, 4, 9, 4, 4, 4, 1_000]), planned(&[4, 4, 5, 4, 9, 4, 4, 4, 1_000]));
    }

    #[test]
    fn what_walks_have_paid_for_is_merged() {
        let after = |walked, sizes: &[u64]| planned_on(sizes, Occasion { leisure: false, walked });
        assert_eq!(after(u64::MAX, &[40]), None);
        assert_eq!(after(0, &[20, 100]), None);
        assert_eq!(after(119, &[20, 100]), None);
        assert_eq!(after(120, &[20, 100]), Some(0..2));
        assert_eq!(after(119, &[10, 20, 100]), Some(0..2), "a part that is paid for");
        assert_eq!(after(u64::MAX, &[10, 200]), None, "too much for so little that is new");
        assert_eq!(after(u64::MAX, &[600 << 20, 600 << 20]), None, "that takes its time");
    }

    #[test]
    fn walks_are_worth_a_flush_if_they_are_worth_what_follows() {
        let worth = |flushed: u64, sizes: &[u64], walked| {
            is_worth_flushing(fresh(&[flushed])[0], &fresh(sizes), walked)
        };
        assert!(worth(20, &[100], 120));
        assert!(!worth(20, &[100], 119));
        assert!(!worth(10, &[100], u64::MAX));
        assert!(worth(10, &[20, 1_000], 30));
        assert!(!worth(0, &[20, 100], u64::MAX));
        assert!(!worth(20, &[], u64::MAX));
    }

    #[test]
    fn a_merge_that_has_begun_is_carried_on() {
        let begun = Some(Merging { below: 1, count: 2 });
        assert_eq!(plan(&fresh(&[1, 1, 1, 1]), begun, Occasion::NONE), begun);
    }

    /// What becomes of `flushes` equal runs over `keys` times as much data, of which every flush outdates a random part, and what
    /// was written and kept at most for every byte of it.
    fn simulate(flushes: u64, keys: f64) -> (f64, f64, usize) {
        const FLUSH: u64 = 1_000_000;
        #[expect(clippy::cast_precision_loss, reason = "a simulation")]
        let float = |bytes: u64| bytes as f64;
        // Of each run: its records, and how many of them outdate one below.
        let mut runs: Vec<RunShape> = Vec::new();
        let (mut written, mut most, mut most_runs) = (0, 0.0_f64, 0);
        let capacity = keys * float(FLUSH);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a simulation")]
        let part = |bytes: u64, of: f64| (float(bytes) * of) as u64;
        for _ in 0..flushes {
            let live: u64 = runs.iter().map(|run| run.bytes - run.outdated_bytes).sum();
            runs.insert(
                0,
                RunShape {
                    bytes: FLUSH,
                    payload_bytes: FLUSH,
                    entries: FLUSH,
                    outdated_bytes: part(FLUSH, float(live) / capacity),
                },
            );
            written += FLUSH;
            while let Some(merging) = plan(&runs, None, Occasion::NONE) {
                let range = range(merging, runs.len());
                let group = &runs[range.clone()];
                let bytes: u64 = group.iter().map(|run| run.bytes).sum();
                let outdated: u64 = group.iter().map(|run| run.outdated_bytes).sum();
                // Of what the newer ones outdate, so much lies in the group and not below it.
                let below: u64 = runs[range.end..].iter().map(|run| run.bytes).sum();
                let inside = part(outdated, float(bytes) / float(bytes + below).max(1.0));
                let bytes = bytes - inside;
                let merged = RunShape {
                    bytes,
                    payload_bytes: bytes,
                    entries: bytes,
                    outdated_bytes: outdated - inside,
                };
                written += merged.bytes;
                runs.splice(range, [merged]);
            }
            let bytes: u64 = runs.iter().map(|run| run.bytes).sum();
            let live: u64 = runs.iter().map(|run| run.bytes - run.outdated_bytes).sum();
            most = most.max(float(bytes) / float(live));
            most_runs = most_runs.max(runs.len());
        }
        (float(written) / float(flushes * FLUSH), most, most_runs)
    }

    /// The same of flushes all of which expire when there were `lifetime` more of them, and that share their keys' range. In
    /// percent.
    fn simulate_expiring(flushes: usize, lifetime: usize) -> (usize, usize, usize) {
        const FLUSH: u64 = 1_000_000;
        // Of each run: when the flushes that are in it expire.
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let (mut written, mut most, mut most_runs) = (flushes, 0, 0);
        for now in 0..flushes {
            runs.insert(0, vec![now + lifetime]);
            let shape = |run: &Vec<usize>| {
                let expired = run.iter().filter(|end| **end <= now).count() as u64;
                let bytes = run.len() as u64 * FLUSH;
                RunShape { bytes, payload_bytes: bytes, entries: bytes, outdated_bytes: expired * FLUSH }
            };
            while let Some(merging) = plan(&runs.iter().map(shape).collect::<Vec<_>>(), None, Occasion::NONE)
            {
                let range = range(merging, runs.len());
                let mut merged = runs[range.clone()].concat();
                merged.retain(|end| merging.below > 0 || *end > now);
                written += merged.len();
                runs.splice(range, [merged]);
            }
            let kept: usize = runs.iter().map(Vec::len).sum();
            most = most.max(kept * 100 / lifetime.min(now + 1));
            most_runs = most_runs.max(runs.len());
        }
        (written * 100 / flushes, most, most_runs)
    }

    #[test]
    fn what_expires_takes_little_room_and_is_not_written_for_nothing() {
        for lifetime in [1, 4, 10, 100, 1_000] {
            let (written, kept, runs) = simulate_expiring(4 * lifetime.max(50), lifetime);
            assert!(written <= 700, "{written} % written of flushes that expire after {lifetime}");
            assert!(kept <= 130, "{kept} % kept of flushes that expire after {lifetime}");
            assert!(runs <= MAX_RUNS, "{runs} runs of flushes that expire after {lifetime}");
        }
    }

    #[test]
    fn what_is_written_kept_and_looked_at_is_bounded() {
        for (flushes, keys) in [(200, 1.0), (200, 4.0), (2_000, 64.0), (2_000, 1_000.0), (2_000, 1e9)] {
            let (written, kept, runs) = simulate(flushes, keys);
            assert!(written <= 6.0, "{written} bytes written for each of {keys} flushes of keys");
            assert!(kept <= 1.3, "{kept} bytes kept for each of {keys} flushes of keys");
            assert!(runs <= MAX_RUNS, "{runs} runs of {keys} flushes of keys");
        }
    }
}
