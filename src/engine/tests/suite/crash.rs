//! No crash undoes an acknowledged batch, half-applies one, or brings back what was gone.
//!
//! A script runs while an observer takes, before every call that changes the disk, the disks that a crash at that moment could
//! leave: a power loss that keeps nothing unsynced, everything, or what a seed says, and the death of all processes. Each of
//! them is judged: opened, held against the oracle, cut off from power again, written to, and cut off once more. A second
//! campaign kills one of two processes at each of its calls, before and inside the call, while the other goes on.
//!
//! The judge is put to the test too: on a disk whose syncs do nothing it must find something.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::creation::put_settings;
use super::{ENGINE, new_world, open, report, world_with};
use crate::engine::tests::oracle::{Oracle, Verdict};
use crate::engine::tests::sightings::Sightings;
use crate::engine::tests::world::{Step, World, set, soon, value};
use crate::engine::tests::{Random, seeds};
use crate::storage::fs::sim::{Fault, SimFs};
use crate::types::{Batch, EngineKind, SyncMode};

use SyncMode::{Each, Group, None as Unsynced};

/// What a campaign found.
#[derive(Default)]
struct Findings {
    states: AtomicU64,
    violations: Mutex<Vec<String>>,
    /// Held while the disks of one moment are judged: meanwhile no thread of a process changes the disk.
    watching: Mutex<()>,
}

impl Findings {
    fn states(&self) -> u64 {
        self.states.load(Ordering::Relaxed)
    }

    fn note(&self, place: &str, verdict: Verdict) {
        if let Err(what) = verdict {
            self.violations.lock().unwrap().push(format!("{place}: {what}"));
        }
    }

    /// Judges a disk that a crash left, and what becomes of it after another one.
    fn judge(&self, disk: &SimFs, mut oracle: Oracle, seed: u64) -> Verdict {
        let see = |disk: &SimFs, oracle: &mut Oracle| {
            self.states.fetch_add(1, Ordering::Relaxed);
            let world = world_with(disk, &[Group], oracle.clone());
            let verdict = world.look_afresh();
            *oracle = world.oracle().clone();
            verdict
        };
        see(disk, &mut oracle)?;
        let [nothing_kept, _] = disk.power_loss_extremes();
        let mut after = oracle.clone();
        after.lose_power();
        see(&nothing_kept, &mut after).map_err(|what| format!("what was seen is not durable: {what}"))?;
        let mut world = world_with(disk, &[Group, Group], oracle);
        let mark = seed.wrapping_mul(1000);
        world.run(&[
            Step::Look(1),
            Step::Write(0, set("a", 40, mark)),
            Step::Write(0, set("after", 700, mark + 1)),
            Step::Look(1),
        ])?;
        if seed.is_multiple_of(3) {
            world.run(&[Step::Compact(1), Step::Write(0, set("b", 9, mark + 2)), Step::Look(1)])?;
        }
        let oracle = world.oracle().clone();
        let [nothing_kept, everything_kept] = disk.power_loss_extremes();
        for disk in [nothing_kept, everything_kept, disk.power_loss(seed), disk.clone_disk()] {
            see(&disk, &mut oracle.clone()).map_err(|what| format!("after new writes: {what}"))?;
        }
        Ok(())
    }

    /// Has every crash judged that could happen from now on.
    fn watch(self: &Arc<Self>, world: &World, seeds: u64) {
        let (oracle, findings) = (Arc::clone(&world.oracle), Arc::clone(self));
        world.disk.set_observer(Arc::new(move |call, disk| {
            let _watching = findings.watching.lock().unwrap();
            let live = oracle.lock().unwrap().clone();
            let mut lost = live.clone();
            lost.lose_power();
            let try_one = |name: &str, disk: &SimFs, oracle: &Oracle, seed| {
                let place = format!("{name} {seed} before {call}");
                findings.note(&place, findings.judge(disk, oracle.clone(), seed));
            };
            try_one("kill", &disk.clone_disk(), &live, call.number);
            let [nothing_kept, everything_kept] = disk.power_loss_extremes();
            try_one("nothing kept", &nothing_kept, &lost, call.number);
            try_one("everything kept", &everything_kept, &lost, call.number);
            for seed in 0..seeds {
                let seed = call.number * 1_000_003 + seed;
                try_one("power loss", &disk.power_loss(seed), &lost, seed);
                try_one("unordered power loss", &disk.power_loss_unordered(seed), &lost, seed);
            }
        }));
    }
}

struct Script {
    name: &'static str,
    modes: &'static [SyncMode],
    steps: Vec<Step>,
}

fn batch(mark: u64) -> Batch {
    let mut batch = Batch::new();
    batch
        .set("x", value(30, mark))
        .delete("a")
        .set(format!("k{}", mark % 5), value(600, mark + 1))
        .delete("none");
    batch
}

/// A batch of values that expire within the minute after the clock of a new disk.
fn until(keys: &[&str], len: usize, mark: u64) -> Batch {
    let mut batch = Batch::new();
    for (key, mark) in keys.iter().zip(mark..) {
        batch.set_until(*key, value(len, mark), soon(&mut Random(mark)));
    }
    batch
}

const SECOND: Duration = Duration::from_secs(1);

fn scripts() -> Vec<Script> {
    let turns = |who: usize, mark: u64| Step::Turn(who, (0..4).map(|n| batch(mark + n)).collect());
    let fill = |who: usize, rounds: u64, mark: u64| {
        (0..rounds).map(move |round| Step::Write(who, set(&format!("f{}", round % 3), 15_000, mark + round)))
    };
    let simple = vec![
        Step::Write(0, set("a", 5, 1)),
        Step::Write(0, batch(10)),
        turns(0, 20),
        Step::Abandon(0, batch(30)),
        Step::Write(0, set("a", 2_000, 40)),
        Step::Transaction(0, batch(50)),
        Step::Reopen(0),
        turns(0, 60),
    ];
    let rotation = fill(0, 9, 100).chain([turns(0, 200)]).chain([Step::Write(0, set("large", 300_000, 210))]);
    let mut compaction: Vec<Step> = fill(0, 3, 300).collect();
    compaction.extend([Step::Compact(0), Step::Write(0, batch(310)), Step::Compact(0), turns(0, 320)]);
    compaction.extend(fill(0, 5, 330));
    let mut two: Vec<Step> = Vec::new();
    for round in 0..4 {
        two.extend([turns(0, 400 + round * 20), Step::Write(1, batch(410 + round * 20)), Step::Look(0)]);
        two.extend(fill(1, 2, 500 + round * 10));
        two.push(Step::Conflict(0, 1, batch(600 + round)));
    }
    two.extend([Step::Compact(1), Step::Write(0, batch(700)), Step::Compact(0), Step::Write(1, batch(710))]);
    let mut unsynced: Vec<Step> = (0..6).map(|n| Step::Write(n % 2, batch(800 + n as u64 * 5))).collect();
    unsynced.extend(fill(1, 6, 850));
    unsynced.extend([Step::Write(0, batch(900)), Step::Compact(1), Step::Write(1, batch(910))]);
    let mut merging: Vec<Step> = Vec::new();
    for round in 0..6 {
        merging.extend([Step::Write(0, set(&format!("m{}", round % 4), 50_000, 1_000 + round * 10))]);
        merging.extend([Step::Write(0, batch(1_001 + round * 10))]);
        merging.extend([Step::Write(0, set("n", 40_000, 1_007 + round * 10)), Step::Look(1)]);
    }
    merging.extend([Step::Compact(1), Step::Write(0, batch(1_100)), Step::Reopen(0)]);
    merging.extend([Step::Write(1, set("n", 60_000, 1_200)), Step::Compact(0), Step::Look(1)]);
    // Segments grow fourfold, and each is filled with versions of one key: what is outdated calls for a merge.
    let sizes = [60_000; 5].into_iter().chain([250_000; 4]).chain([1_000_000; 5]);
    let mut background: Vec<Step> =
        sizes.zip(0..).map(|(len, mark)| Step::Write(0, set("n", len, 1_300 + mark))).collect();
    background.insert(1, Step::Write(0, batch(1_320)));
    background.extend([Step::Write(0, batch(1_330)), Step::Reopen(0), Step::Write(0, batch(1_340))]);
    let large = |seed: u64| {
        let mut batch = batch(seed);
        for number in 0..8_u64 {
            let at = (number * seed) % 8;
            batch.set(format!("l{at}"), value(600, seed + 10 + number)).delete(format!("k{at}"));
        }
        batch
    };
    let mut bulk: Vec<Step> = Vec::new();
    for round in 0..3 {
        bulk.extend([Step::Write(0, batch(1_400 + round * 100)), Step::AbandonBulk(0, large(1_411 + round))]);
        bulk.extend([Step::Bulk(0, large(1_420 + round * 100)), Step::Look(1)]);
        bulk.extend([Step::Write(1, set("n", 60_000, 1_450 + round * 100)), Step::Write(1, batch(1_460))]);
        bulk.extend([Step::Bulk(1, large(1_471 + round * 100)), Step::Write(0, batch(1_490 + round * 100))]);
    }
    bulk.extend([Step::Compact(0), Step::Bulk(1, batch(1_800)), Step::Reopen(0), Step::Look(0)]);
    // All keys again and again, so that each merge takes several slices; whoever dies in one leaves the rest to a bulk and to
    // others.
    let all = |mark: u64| (0..8).map(|n| set(&format!("s{n}"), 25_000, mark + n)).collect();
    let mut slices: Vec<Step> = Vec::new();
    for round in 0..3 {
        let mark = 1_900 + round * 100;
        slices.extend([Step::Turn(0, all(mark)), Step::Write(1, batch(mark + 10)), Step::Compact(0)]);
        slices.extend([Step::Bulk(1, large(mark + 21)), Step::Look(0), Step::Bulk(0, large(mark + 51))]);
    }
    slices.extend([Step::Compact(1), Step::Write(0, batch(2_300)), Step::Look(1)]);
    let mut expiring: Vec<Step> = Vec::new();
    for round in 0..3 {
        let mark = 2_400 + round * 100;
        expiring.extend([Step::Write(0, until(&["a", "e"], 300, mark)), Step::Write(1, batch(mark + 10))]);
        expiring.extend([Step::Pass(5 * SECOND), Step::Write(0, set("n", 60_000, mark + 20))]);
        expiring.extend([Step::Bulk(1, until(&["e", "f", "k1"], 900, mark + 30)), Step::Pass(4 * SECOND)]);
        expiring.extend([
            Step::Transaction(1, until(&["g"], 30, mark + 40)),
            Step::Look(1),
            Step::Compact(0),
        ]);
    }
    expiring.extend([Step::Reopen(0), Step::Pass(60 * SECOND), Step::Compact(1), Step::Look(0)]);
    vec![
        Script { name: "expiring", modes: &[Group, Group], steps: expiring },
        Script { name: "slices", modes: &[Group, Group], steps: slices },
        Script { name: "bulk", modes: &[Group, Group], steps: bulk },
        Script { name: "simple", modes: &[Group], steps: simple },
        Script { name: "rotation", modes: &[Each], steps: rotation.collect() },
        Script { name: "compaction", modes: &[Group], steps: compaction },
        Script { name: "two processes", modes: &[Group, Each], steps: two },
        Script { name: "merging", modes: &[Group, Group], steps: merging },
        Script { name: "background", modes: &[Group], steps: background },
        Script { name: "unsynced", modes: &[Group, Unsynced], steps: unsynced },
    ]
}

/// Runs a script under the judge's eyes on a disk that `prepare` has changed.
fn campaign(script: &Script, seeds: u64, prepare: impl Fn(&SimFs)) -> (Arc<Findings>, Verdict) {
    let disk = SimFs::new();
    prepare(&disk);
    let mut world = new_world(&disk, script.modes);
    let findings = Arc::<Findings>::default();
    findings.watch(&world, seeds);
    let verdict = world.run(&script.steps);
    (findings, verdict)
}

fn must_hold(name: &str, default_seeds: u64) {
    must_hold_on(name, default_seeds, |_| ());
}

fn must_hold_on(name: &str, default_seeds: u64, prepare: impl Fn(&SimFs)) {
    let script = scripts().into_iter().find(|script| script.name == name).unwrap();
    let (findings, verdict) = campaign(&script, seeds(default_seeds), prepare);
    verdict.unwrap();
    report("crash", &format!("{name}: {} states", findings.states()));
    let violations = findings.violations.lock().unwrap();
    assert!(violations.is_empty(), "{} violations, the first: {}", violations.len(), violations[0]);
}

#[test]
fn nothing_is_lost_at_any_call_of_single_writes_and_turns() {
    must_hold("simple", 3);
}

#[test]
fn nothing_is_lost_at_any_call_where_a_directory_with_settings_was_there_before() {
    must_hold_on("simple", 1, put_settings);
}

#[test]
fn nothing_is_lost_at_any_call_of_a_rotation() {
    must_hold("rotation", 3);
}

#[test]
fn nothing_is_lost_at_any_call_of_a_compaction() {
    must_hold("compaction", 3);
}

#[test]
fn nothing_is_lost_at_any_call_of_two_processes() {
    must_hold("two processes", 3);
}

#[test]
fn nothing_is_lost_at_any_call_of_flushes_and_merges() {
    must_hold("merging", 3);
}

#[test]
fn nothing_is_lost_at_any_call_of_a_merge_in_the_background() {
    let script = scripts().into_iter().find(|script| script.name == "background").unwrap();
    let disk = SimFs::new();
    let mut world = new_world(&disk, script.modes);
    world.run(&script.steps).unwrap();
    drop(world);
    let merged = disk.log().iter().filter(|call| call.path.ends_with("000002.sst")).count();
    assert_eq!(merged > 0, ENGINE == EngineKind::Kv, "a merge was meant to write a table");
    must_hold("background", 0);
}

#[test]
fn nothing_is_lost_at_any_call_of_bulks() {
    must_hold("bulk", 3);
}

#[test]
fn nothing_is_lost_at_any_call_of_writes_that_expire() {
    must_hold("expiring", 2);
}

#[test]
fn nothing_is_lost_at_any_call_of_merges_in_slices() {
    must_hold("slices", 1);
}

#[test]
fn writes_without_sync_survive_kills_and_are_lost_only_from_the_end() {
    must_hold("unsynced", 3);
}

/// Whether the judge finds fault with a disk that skips these syncs.
fn finds_skipped_syncs(name: &str, skips: impl Fn(&std::path::Path) -> bool + Send + Copy + 'static) {
    let script = scripts().into_iter().find(|script| script.name == name).unwrap();
    let (findings, _) = campaign(&script, 1, |disk| disk.skip_syncs(skips));
    let found = findings.violations.lock().unwrap().len();
    report(
        "crash",
        &format!("{name} with skipped syncs: {found} violations in {} states", findings.states()),
    );
    assert!(found > 0, "the judge sees nothing");
}

#[test]
fn the_judge_notices_when_the_log_is_not_synced() {
    finds_skipped_syncs("simple", |path| path.extension().is_some_and(|extension| extension == "wal"));
}

#[test]
fn the_judge_notices_when_a_base_or_a_table_is_not_synced() {
    let is_compacted = |path: &std::path::Path| {
        path.extension().is_some_and(|extension| extension == "base" || extension == "sst")
    };
    finds_skipped_syncs("compaction", is_compacted);
    finds_skipped_syncs("merging", is_compacted);
    if ENGINE == EngineKind::Kv {
        finds_skipped_syncs("bulk", is_compacted);
    }
}

#[test]
fn the_judge_notices_when_directories_are_not_synced() {
    finds_skipped_syncs("rotation", |path| path.ends_with("db"));
    finds_skipped_syncs("simple", |path| path == std::path::Path::new("/"));
}

#[test]
fn the_judge_notices_when_a_directory_with_settings_is_not_synced() {
    let script = scripts().into_iter().find(|script| script.name == "simple").unwrap();
    let (findings, _) = campaign(&script, 1, |disk| {
        put_settings(disk);
        disk.skip_syncs(|path| path.ends_with("db"));
    });
    assert!(!findings.violations.lock().unwrap().is_empty(), "the judge sees nothing");
}

#[test]
fn the_judge_notices_when_the_manifest_is_not_synced() {
    finds_skipped_syncs("compaction", |path| path.to_string_lossy().contains("MANIFEST"));
}

/// The calls that process 0 makes in a script, as their numbers among all calls.
fn calls_of_first(script: &Script, start: &SimFs) -> Vec<u64> {
    let disk = start.clone_disk();
    let mut world = new_world(&disk, script.modes);
    world.run(&script.steps).unwrap();
    let first = disk.log().first().unwrap().process;
    disk.log().iter().filter(|call| call.process == first).map(|call| call.number).collect()
}

#[test]
fn the_process_that_is_killed_flushes_merges_in_slices_and_loads() {
    let sightings = Arc::<Sightings>::default();
    for script in scripts().iter().filter(|script| script.modes.len() == 2) {
        let disk = SimFs::new();
        let mut world = new_world(&disk, script.modes);
        sightings.watch(&disk, Some(1));
        world.run(&script.steps).unwrap();
    }
    let seen = sightings.seen();
    report("crash", &format!("the process that is killed: {seen:?}"));
    if ENGINE == EngineKind::Kv {
        assert!(seen.flushes > 4 && seen.unfinished > 4 && seen.floors > 4 && seen.bulks > 4, "{seen:?}");
    }
}

#[test]
fn a_process_killed_at_any_call_harms_nobody() {
    let findings = Findings::default();
    let mut killed = 0;
    for script in scripts().iter().filter(|script| script.modes.len() == 2) {
        let disk = SimFs::new();
        for number in calls_of_first(script, &disk) {
            for fault in [Fault::Kill, Fault::KillInside] {
                let disk = disk.clone_disk();
                disk.fail_at(number, fault);
                let mut world = new_world(&disk, script.modes);
                world.faulty = true;
                let place = format!("{}: {fault:?} at call {number}", script.name);
                findings.note(&place, world.run(&script.steps));
                let mut oracle = world.oracle().clone();
                oracle.lose_power();
                let lost = disk.power_loss(number);
                findings.note(&place, findings.judge(&lost, oracle, number));
                killed += 1;
            }
        }
    }
    report("crash", &format!("{killed} kills, {} states", findings.states()));
    let violations = findings.violations.lock().unwrap();
    assert!(violations.is_empty(), "{} violations, the first: {}", violations.len(), violations[0]);
}

#[test]
fn threads_that_share_syncs_lose_no_acknowledged_write_to_a_power_loss() {
    const THREADS: usize = 4;
    const WRITES: u64 = 40;
    let disk = SimFs::new();
    let db = open(&disk);
    let issued: Arc<Vec<AtomicU64>> = Arc::new((0..THREADS).map(|_| AtomicU64::new(0)).collect());
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..THREADS).map(|_| AtomicU64::new(0)).collect());
    let states = Arc::new(AtomicU64::new(0));
    let random = Mutex::new(Random(1));
    let at_least = Arc::clone(&acknowledged);
    let (at_most, counted) = (Arc::clone(&issued), Arc::clone(&states));
    disk.set_observer(Arc::new(move |_, disk| {
        let least: Vec<u64> = at_least.iter().map(|count| count.load(Ordering::SeqCst)).collect();
        let lost = disk.power_loss(random.lock().unwrap().next());
        let survivor = open(&lost);
        for (thread, least) in least.iter().enumerate() {
            let found = survivor.get(format!("t{thread}")).unwrap();
            let found = found.map_or(0, |value| u64::from_le_bytes(value[..8].try_into().unwrap()));
            let most = at_most[thread].load(Ordering::SeqCst);
            assert!((*least..=most).contains(&found), "thread {thread}: {least} <= {found} <= {most}");
        }
        counted.fetch_add(1, Ordering::Relaxed);
    }));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (db, issued, acknowledged) = (&db, &issued, &acknowledged);
            scope.spawn(move || {
                for write in 1..=WRITES {
                    issued[thread].store(write, Ordering::SeqCst);
                    db.set(format!("t{thread}"), write.to_le_bytes().repeat(200)).unwrap();
                    acknowledged[thread].store(write, Ordering::SeqCst);
                }
            });
        }
    });
    report("crash", &format!("threads: {} states", states.load(Ordering::Relaxed)));
}
