//! The engines agree: what both of them and the plain model show after the same history is the same.
//!
//! Each history runs on a disk per engine, with two processes each: values that fill segments, so that they are flushed and merged,
//! bulks, compactions, reopens, kills, and power losses that keep what was acknowledged and perhaps more. Agreement means little
//! where nothing happens, so every manifest is looked at: merges must have been seen that were not done with one slice.

use std::sync::Arc;
use std::time::Duration;

use super::sightings::{Seen, Sightings};
use super::world::{Step, World, brief, soon, value};
use super::{Random, open_as, report, seeds};
use crate::db::Db;
use crate::engine::Engine as _;
use crate::engine::model::ModelEngine;
use crate::options::Options;
use crate::storage::fs::sim::{Op, SimFs};
use crate::types::{Batch, Direction, EngineKind, KeyRange, SyncMode, Timestamp};

const ENGINES: [EngineKind; 2] = [EngineKind::Simple, EngineKind::Kv];
const MODES: [SyncMode; 2] = [SyncMode::Group, SyncMode::Each];
const KEYS: [&str; 8] = ["", "a", "a\0", "b", "ba", "bb", "c", "\u{10ffff}"];
const STEPS: u64 = 50;

fn batch(random: &mut Random) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=random.below(3) {
        let key = KEYS[usize::try_from(random.below(KEYS.len() as u64)).unwrap()];
        let len = if random.below(4) == 0 { 25_000 } else { random.below(200) };
        match random.below(3) {
            0 => batch.delete(key),
            what => {
                let value = value(usize::try_from(len).unwrap(), random.next());
                match what {
                    1 => batch.set_until(key, value, soon(random)),
                    _ => batch.set(key, value),
                }
            }
        };
    }
    batch
}

fn step(random: &mut Random) -> Step {
    let who = usize::try_from(random.below(2)).unwrap();
    match random.below(36) {
        33..36 => Step::Pass(Duration::from_millis(random.below(12_000))),
        30 | 31 => Step::Bulk(who, (0..=random.below(6)).flat_map(|_| batch(random).into_ops()).collect()),
        32 => Step::AbandonBulk(who, batch(random)),
        0..16 => Step::Write(who, batch(random)),
        16..20 => Step::Turn(who, (0..=random.below(3)).map(|_| batch(random)).collect()),
        20 => Step::Abandon(who, batch(random)),
        21 | 22 => Step::Transaction(who, batch(random)),
        23 | 24 => Step::Compact(who),
        25..27 => Step::Look(who),
        27 | 28 => Step::Reopen(who),
        _ => Step::Kill(who),
    }
}

/// What the model makes of a step.
fn apply(step: &Step, model: &Db) {
    match step {
        Step::Write(_, batch) | Step::Transaction(_, batch) | Step::Bulk(_, batch) => {
            model.write(batch.clone()).unwrap();
        }
        Step::Turn(_, batches) => batches.iter().for_each(|batch| model.write(batch.clone()).unwrap()),
        _ => {}
    }
}

/// Everything that can be seen of a database: entries with their versions, and walks.
fn view(db: &Db) -> Vec<String> {
    let stats = db.stats().unwrap();
    let mut seen = vec![format!("{:?} {}", stats.lsn, stats.keys)];
    let turn = db.turn("test").unwrap();
    let entries = KEYS.map(|key| turn.entry(key.as_bytes()).unwrap());
    drop(turn);
    for (key, entry) in KEYS.into_iter().zip(entries) {
        assert_eq!(db.get(key).unwrap(), entry.as_ref().map(|entry| entry.value.clone()));
        seen.push(format!(
            "{key:?} {:?}",
            entry.map(|entry| (entry.lsn, crc32fast::hash(&entry.value), entry.expires))
        ));
    }
    for range in [KeyRange::all(), KeyRange::prefix(b"b"), KeyRange::from("a".."bb")] {
        for direction in [Direction::Forward, Direction::Reverse] {
            for entry in db.snapshot().unwrap().into_scan(range.clone(), direction) {
                let (key, value) = entry.unwrap();
                seen.push(format!("{} {}", key.escape_ascii(), crc32fast::hash(&value)));
            }
        }
    }
    seen
}

fn reopened(world: &World, engine: EngineKind) -> Db {
    open_as(&world.disk.process(), &Options::new().engine(engine)).unwrap()
}

/// Runs the history of a seed; returns how many tables its LSM engine wrote.
fn compare(seed: u64, sightings: &Arc<Sightings>) -> usize {
    let mut random = Random(seed);
    let mut worlds = ENGINES.map(|engine| World::new(&SimFs::new(), engine, &MODES));
    for world in &worlds {
        sightings.watch(&world.disk, None);
    }
    let engine = Arc::new(ModelEngine::default());
    let begin = u64::try_from(worlds[0].disk.now().wall.as_millis()).unwrap();
    engine.set_clock(Timestamp::from_unix_millis(begin).unwrap());
    let model = Db::from_engine(engine.clone());
    let mut tables = 0;
    for number in 0..STEPS {
        let step = step(&mut random);
        let loss = (random.below(15) == 0).then(|| random.next());
        apply(&step, &model);
        if let Step::Pass(time) = &step {
            engine.set_clock(engine.now().checked_add(*time).unwrap());
        }
        for (engine, world) in ENGINES.into_iter().zip(&mut worlds) {
            let place = format!("seed {seed}, step {number}, {engine:?}, {}", brief(&step));
            world.step(&step).unwrap_or_else(|what| panic!("{place}: {what}"));
            if let Some(loss) = loss {
                let disk = world.disk.power_loss_unordered(loss);
                let mut oracle = world.oracle().clone();
                oracle.lose_power();
                tables += tables_written(&world.disk);
                *world = World::with_oracle(&disk, engine, &MODES, oracle);
                sightings.watch(&disk, None);
            }
            if number % 5 == 0 || loss.is_some() {
                assert_eq!(view(&reopened(world, engine)), view(&model), "{place}, power loss: {loss:?}");
            }
        }
    }
    for (engine, world) in ENGINES.into_iter().zip(&worlds) {
        assert_eq!(view(&reopened(world, engine)), view(&model), "seed {seed}, {engine:?}");
        tables += tables_written(&world.disk);
    }
    tables
}

fn tables_written(disk: &SimFs) -> usize {
    let is_table = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "sst");
    disk.log().iter().filter(|call| call.op == Op::SyncData && is_table(&call.path)).count()
}

#[test]
fn both_engines_and_the_model_agree() {
    let count = 150 * seeds(1);
    let sightings = Arc::<Sightings>::default();
    let tables: usize = (0..count).map(|seed| compare(seed, &sightings)).sum();
    let seen @ Seen { unfinished, floors, bulks, .. } = sightings.seen();
    report(
        "agreement",
        &format!("{count} histories of {STEPS} steps on both engines, {tables} tables written, {seen:?}"),
    );
    assert!(tables > 0, "no table was written");
    assert!(unfinished * 4 > count && floors > count, "hardly a merge has more than one slice");
    assert!(bulks > 0, "bulks are missing");
}
