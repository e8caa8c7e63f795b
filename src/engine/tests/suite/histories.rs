//! Random histories of one to three processes agree with the model after every step.
//!
//! A seed makes a history: small keys, values that now and then fill a segment, batches, turns, transactions, compactions,
//! processes that are reopened or killed between calls and inside them, and power losses. After each step somebody looks.
//! Transactions that stay open over other steps are held against [`ModelEngine`], too.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{report, world_with};
use crate::db::Db;
use crate::engine::model::ModelEngine;
use crate::engine::tests::oracle::Oracle;
use crate::engine::tests::world::{Step, World, brief, soon, value};
use crate::engine::tests::{Random, seeds};
use crate::error::Error;
use crate::storage::fs::sim::{Fault, SimFs};
use crate::transaction::Transaction;
use crate::types::{Batch, Direction, KeyRange, SyncMode};

const KEYS: [&str; 5] = ["", "a", "b", "ba", "c\0"];
const STEPS: u64 = 24;

fn batch(random: &mut Random) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=random.below(3) {
        let key = KEYS[usize::try_from(random.below(KEYS.len() as u64)).unwrap()];
        if random.below(3) == 0 {
            batch.delete(key);
        } else {
            let len = match random.below(20) {
                0 => 30_000,
                1 | 2 => 3_000,
                _ => random.below(30),
            };
            let value = value(usize::try_from(len).unwrap(), random.next());
            match random.below(3) {
                0 => batch.set_until(key, value, soon(random)),
                _ => batch.set(key, value),
            };
        }
    }
    batch
}

fn step(random: &mut Random, processes: u64) -> Step {
    let who = usize::try_from(random.below(processes)).unwrap();
    let other = usize::try_from(random.below(processes)).unwrap();
    match random.below(46) {
        40..44 => Step::Pass(Duration::from_millis(random.below(12_000))),
        44 | 45 => Step::SetBack(Duration::from_millis(random.below(40_000))),
        0..12 => Step::Write(who, batch(random)),
        12 => Step::Bulk(who, batch(random)),
        13 => Step::AbandonBulk(who, batch(random)),
        14..18 => Step::Turn(who, (0..=random.below(3)).map(|_| batch(random)).collect()),
        18..20 => Step::Abandon(who, batch(random)),
        20..24 => Step::Transaction(who, batch(random)),
        24 if who != other => Step::Conflict(who, other, batch(random)),
        24..27 => Step::Compact(who),
        27..35 => Step::Look(who),
        35 => Step::Stats(who),
        36..38 => Step::Reopen(who),
        _ => Step::Kill(who),
    }
}

fn modes(random: &mut Random) -> Vec<SyncMode> {
    let relaxed = random.below(4) == 0;
    let mode = |random: &mut Random| match random.below(3) {
        0 if relaxed => SyncMode::None,
        0 | 1 => SyncMode::Group,
        _ => SyncMode::Each,
    };
    (0..=random.below(3)).map(|_| mode(random)).collect()
}

/// Now and then something goes wrong in the next step. Where nothing promises that a write is synced, a failed sync may
/// take what was acknowledged, so there it does not fail.
fn plan_fault(random: &mut Random, world: &World, relaxed: bool, story: &mut Vec<String>) -> bool {
    let disk = &world.disk;
    let fault = match random.below(25) {
        0 => Fault::Kill,
        1 => Fault::KillInside,
        2 => Fault::Short,
        3 if !relaxed => {
            let nth = random.below(16);
            let left = AtomicU64::new(nth);
            disk.set_observer(Arc::new(move |call, disk| {
                if left.fetch_sub(1, Ordering::Relaxed) == 0 {
                    disk.fail_at(call.number, Fault::Eio);
                }
            }));
            story.push(format!("I/O error at changing call {nth} from here"));
            return true;
        }
        _ => return false,
    };
    let number = disk.calls() + 1 + random.below(40);
    disk.fail_at(number, fault);
    story.push(format!("{fault:?} at call {number}, the next is {}", disk.calls() + 1));
    true
}

/// Runs the history of a seed; the steps so far go to `story`.
fn run(seed: u64, story: &mut Vec<String>) -> Result<(), String> {
    let mut random = Random(seed);
    let modes = modes(&mut random);
    let mut disk = SimFs::new();
    let mut oracle = Oracle::new();
    let relaxed = modes.contains(&SyncMode::None);
    if relaxed {
        oracle.relax();
    }
    let mut world = world_with(&disk, &modes, oracle);
    for _ in 0..STEPS {
        if random.below(25) == 0 {
            let seed = random.next();
            let mut oracle = world.oracle().clone();
            oracle.lose_power();
            disk =
                if seed.is_multiple_of(2) { disk.power_loss(seed) } else { disk.power_loss_unordered(seed) };
            story.push(format!("power loss {seed}"));
            // A copy is asked what was lost: whoever opens the disk itself next is the first to do so.
            let copy = world_with(&disk.clone_disk(), &modes, oracle);
            copy.look_afresh()?;
            let mut oracle = copy.oracle().clone();
            oracle.forget_the_time();
            world = world_with(&disk, &modes, oracle);
        }
        world.faulty = plan_fault(&mut random, &world, relaxed, story);
        let step = step(&mut random, modes.len() as u64);
        story.push(brief(&step));
        world.step(&step)?;
        world.stop_faults();
        world.look_afresh()?;
    }
    Ok(())
}

#[test]
fn random_histories_agree_with_the_model() {
    let count = 2_000 * seeds(1);
    for seed in 0..count {
        let mut story = Vec::new();
        if let Err(what) = run(seed, &mut story) {
            panic!("seed {seed}: {what}\n{}", story.join("\n"));
        }
    }
    report("histories", &format!("{count} histories of {STEPS} steps"));
}

/// What can be seen of a transaction: every key by itself, and both walks.
fn view(transaction: &Transaction) -> Vec<String> {
    let mut seen: Vec<String> =
        KEYS.iter().map(|key| format!("{:?}", transaction.get(key.as_bytes()).unwrap())).collect();
    for range in [KeyRange::all(), KeyRange::prefix(b"b"), KeyRange::from("a".."b"), KeyRange::from("b".."a")]
    {
        for direction in [Direction::Forward, Direction::Reverse] {
            let mut cursor = transaction.scan(&range, direction).unwrap();
            while let Some((key, value)) = cursor.next().unwrap() {
                seen.push(format!("{} {}", key.escape_ascii(), value.escape_ascii()));
            }
        }
    }
    seen
}

fn conflicts(outcome: crate::error::Result<()>) -> bool {
    match outcome {
        Ok(()) => false,
        Err(Error::Conflict { .. }) => true,
        Err(error) => panic!("{error}"),
    }
}

/// Transactions of two processes, open at the same time, see and do what those of the model see and do.
fn compare_transactions(seed: u64) {
    let mut random = Random(seed);
    let disk = SimFs::new();
    let dbs = [super::open(&disk), super::open(&disk)];
    let model = Db::from_engine(Arc::new(ModelEngine::default()));
    let mut open: Vec<(Transaction, Transaction)> = Vec::new();
    for _ in 0..40 {
        let db = &dbs[usize::try_from(random.below(2)).unwrap()];
        let key = KEYS[usize::try_from(random.below(KEYS.len() as u64)).unwrap()];
        let value = random.below(100).to_string();
        let chosen = usize::try_from(random.below(3)).unwrap();
        match random.below(10) {
            0 | 1 => open.push((db.begin().unwrap(), model.begin().unwrap())),
            2 => {
                db.set(key, value.as_str()).unwrap();
                model.set(key, value).unwrap();
            }
            3 => assert_eq!(db.delete(key).unwrap(), model.delete(key).unwrap(), "seed {seed}"),
            4 => drop(db.compact().unwrap()),
            5 if chosen < open.len() => {
                let (real, model) = open.swap_remove(chosen);
                assert_eq!(conflicts(real.commit()), conflicts(model.commit()), "seed {seed}");
            }
            6 if chosen < open.len() => {
                open[chosen].0.delete(key);
                open[chosen].1.delete(key);
            }
            _ if chosen < open.len() => {
                open[chosen].0.set(key, value.as_str());
                open[chosen].1.set(key, value);
            }
            _ => {}
        }
        for (real, model) in &open {
            assert_eq!(view(real), view(model), "seed {seed}");
        }
        let (real, model) = (db.begin().unwrap(), model.begin().unwrap());
        assert_eq!(view(&real), view(&model), "seed {seed}");
    }
}

#[test]
fn transactions_see_and_do_what_the_models_do() {
    let count = 300 * seeds(1);
    (0..count).for_each(compare_transactions);
    report("histories", &format!("{count} histories of transactions"));
}
