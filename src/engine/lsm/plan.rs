//! Which runs to merge next: decided from their sizes alone.
//!
//! Flushes make small runs; runs of similar size are merged into a larger one when there are [`FANOUT`] of them, so a record is
//! rewritten about once per factor of [`FANOUT`] in size. Everything is merged into one run when what lies above the oldest
//! run has grown to half of it: that bounds how much room outdated versions can take, and it is the only merge that may drop
//! tombstones.

use std::ops::Range;

/// Runs of similar size that are merged together.
const FANOUT: usize = 4;

/// The most runs that a read may have to look at.
const MAX_RUNS: usize = 10;

/// A run counts as similar when it is at most this many times as large as the newest of the group.
const SIMILAR: u64 = 3;

/// The runs to merge into one, newest first as in `sizes`, which are the bytes of the runs; `None` when all is well.
pub(crate) fn plan(sizes: &[u64]) -> Option<Range<usize>> {
    full_merge(sizes).or_else(|| similar_runs(sizes)).or_else(|| too_many(sizes))
}

/// Everything, when what is above the oldest run amounts to half of it.
fn full_merge(sizes: &[u64]) -> Option<Range<usize>> {
    let (oldest, above) = sizes.split_last()?;
    let due = above.len() >= FANOUT && above.iter().sum::<u64>() >= oldest / 2;
    due.then_some(0..sizes.len())
}

/// The newest group of neighbours that are similar in size and many enough.
fn similar_runs(sizes: &[u64]) -> Option<Range<usize>> {
    (0..sizes.len()).find_map(|start| {
        let similar = |size: &&u64| **size <= sizes[start].saturating_mul(SIMILAR);
        let count = sizes[start..].iter().take_while(similar).count();
        (count >= FANOUT).then_some(start..start + count)
    })
}

/// The newest runs, as many as needed to come back below the bound.
fn too_many(sizes: &[u64]) -> Option<Range<usize>> {
    (sizes.len() > MAX_RUNS).then(|| 0..sizes.len() - MAX_RUNS / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_runs_are_left_alone() {
        assert_eq!(plan(&[]), None);
        assert_eq!(plan(&[4, 4, 4]), None);
        assert_eq!(plan(&[4, 100, 1_000]), None);
    }

    #[test]
    fn similar_neighbours_are_merged_and_larger_ones_left() {
        assert_eq!(plan(&[4, 4, 5, 4, 1_000]), Some(0..4));
        assert_eq!(plan(&[1, 20, 20, 20, 20, 1_000]), Some(1..5));
    }

    #[test]
    fn half_of_the_oldest_run_above_it_calls_for_a_full_merge() {
        assert_eq!(plan(&[1, 5, 25, 60, 150]), Some(0..5));
    }

    #[test]
    fn the_number_of_runs_is_bounded() {
        let mut sizes = vec![1];
        for _ in 0..200 {
            while let Some(range) = plan(&sizes) {
                assert!(range.len() > 1, "{sizes:?}");
                let merged = sizes[range.clone()].iter().sum();
                sizes.splice(range, [merged]);
            }
            assert!(sizes.len() <= MAX_RUNS, "{sizes:?}");
            sizes.insert(0, 1);
        }
    }

    #[test]
    fn a_record_is_rewritten_a_bounded_number_of_times() {
        let (mut sizes, mut written) = (Vec::new(), 0);
        for _ in 0..1_000 {
            sizes.insert(0, 1);
            written += 1;
            while let Some(range) = plan(&sizes) {
                let merged: u64 = sizes[range.clone()].iter().sum();
                written += merged;
                sizes.splice(range, [merged]);
            }
        }
        assert!(written / 1_000 <= 8, "{written} runs written for 1000 flushed");
    }
}
