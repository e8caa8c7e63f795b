//! Metamorphic runs: the same history under other settings gives the same answers and ends in the same contents.
//!
//! A history is what a user would type: changes, blocks, questions. Settings are everything that must not make a difference: the
//! engine, how many processes take turns and how each of them syncs, the sizes of segments, memtables, tables and slices, whether
//! a change comes as a write, a turn, a transaction or a bulk, and where somebody compacts, reopens, is killed, or the power
//! fails. What is right is what the plain model says.
//!
//! A history that goes wrong is made as short as possible and printed as a script for kvdb, with what the settings add as
//! comments. Whether a deed meets one of those depends on the settings and the deed alone, so that it does not change when
//! others are left out.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::oracle::Oracle;
use super::world::{Step, World, value};
use super::{Random, open_as, report, seeds};
use crate::db::Db;
use crate::engine::model::ModelEngine;
use crate::options::{Options, Pace};
use crate::shell::literal::literal;
use crate::storage::fs::sim::SimFs;
use crate::types::{Batch, Direction, EngineKind, Key, KeyRange, Op, SyncMode};

const KEYS: [&str; 9] = ["", "a", "a\0", "b", "ba", "bb", "c", "é", "z"];
const DEEDS: u64 = 40;
const VARIANTS: u64 = 6;

/// One thing that a user does.
#[derive(Clone, Debug)]
struct Deed {
    /// Stays the same when deeds before it are left out.
    id: u64,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// One change, or several in a block.
    Change(Vec<Op>),
    Get(&'static str),
    Scan {
        prefix: &'static str,
        from: Option<&'static str>,
        reverse: bool,
        limit: usize,
    },
}

/// Everything that must not make a difference.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each can be taken away by itself when a history is shrunk"
)]
struct Settings {
    seed: u64,
    engine: EngineKind,
    processes: Vec<(SyncMode, Pace)>,
    /// Whether changes come in other ways than as writes.
    forms: bool,
    compactions: bool,
    reopens: bool,
    kills: bool,
    power_losses: bool,
    /// Deeds that meet nothing.
    calm: BTreeSet<u64>,
    defect: Option<Defect>,
}

/// What an engine could do wrong, for testing the test.
#[derive(Clone, Copy, Debug)]
enum Defect {
    /// A compaction forgets that a key was deleted, while an older value of it is still somewhere.
    TombstoneDropped,
    /// A process that opens the database takes in the batch before the last one once more.
    BatchReplayed,
}

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[usize::try_from(random.below(of.len() as u64)).unwrap()]
}

fn change(random: &mut Random) -> Op {
    let key = Key::from(pick(random, &KEYS));
    if random.below(3) == 0 {
        return Op::Delete { key };
    }
    let len = pick(random, &[0, 5, 5, 5, 60, 700, 3_000, 20_000]);
    Op::Set { key, value: value(len, random.next()).into(), expires: None }
}

fn deed(id: u64, random: &mut Random) -> Deed {
    let what = match random.below(10) {
        0..4 => What::Change(vec![change(random)]),
        4..7 => What::Change((0..=random.below(5)).map(|_| change(random)).collect()),
        7 | 8 => What::Get(pick(random, &KEYS)),
        _ => What::Scan {
            prefix: pick(random, &["", "", "a", "b"]),
            from: pick(random, &[None, Some("a\0"), Some("bb")]),
            reverse: random.below(2) == 0,
            limit: pick(random, &[1, 3, 100]),
        },
    };
    Deed { id, what }
}

fn settings(seed: u64) -> Settings {
    let mut random = Random(seed ^ 0x5e77);
    let relaxed = random.below(5) == 0;
    let mode = |random: &mut Random| {
        let modes = [SyncMode::Group, SyncMode::Each, SyncMode::None];
        pick(random, if relaxed { &modes } else { &modes[..2] })
    };
    let pace = |random: &mut Random| Pace {
        first_segment: pick(random, &[1 << 10, 8 << 10, 64 << 10]),
        full_segment: pick(random, &[64 << 10, 256 << 10]),
        flush: pick(random, &[1, 20_000, 200_000]),
        most_sealed: pick(random, &[1, 40_000, 400_000]),
        table: pick(random, &[2_000, 20_000, 200_000]),
        slice: pick(random, &[3_000, 30_000, 300_000]),
        short_slice: pick(random, &[1_000, 20_000]),
        chunk: pick(random, &[1, 2_000, 50_000]),
        ..Pace::SMALL
    };
    Settings {
        seed,
        engine: if random.below(4) == 0 { EngineKind::Simple } else { EngineKind::Kv },
        processes: (0..=random.below(4)).map(|_| (mode(&mut random), pace(&mut random))).collect(),
        forms: true,
        compactions: random.below(4) > 0,
        reopens: true,
        kills: random.below(2) == 0,
        power_losses: !relaxed && random.below(2) == 0,
        calm: BTreeSet::new(),
        defect: None,
    }
}

/// What comes before a deed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Nothing,
    Compact,
    Reopen,
    Kill,
    PowerLoss(u64),
}

/// What a deed meets: who does it, what comes before it, and in which form a change comes.
struct Meeting {
    who: usize,
    event: Event,
    form: u64,
}

impl Settings {
    fn meeting(&self, deed: &Deed) -> Meeting {
        let mut random = Random(self.seed.wrapping_mul(0x1_0001) ^ (deed.id << 20));
        let who = usize::try_from(random.below(self.processes.len() as u64)).unwrap();
        let event = match random.below(16) {
            _ if self.calm.contains(&deed.id) => Event::Nothing,
            0 | 1 if self.compactions => Event::Compact,
            2 if self.reopens => Event::Reopen,
            3 if self.kills => Event::Kill,
            4 if self.power_losses => Event::PowerLoss(random.next()),
            _ => Event::Nothing,
        };
        Meeting { who, event, form: if self.forms { random.below(5) } else { 0 } }
    }

    fn options(&self) -> Vec<Options> {
        let options = |(sync, pace): &(SyncMode, Pace)| Options {
            pace: *pace,
            ..Options::new().engine(self.engine).sync(*sync)
        };
        self.processes.iter().map(options).collect()
    }
}

fn step(ops: &[Op], meeting: &Meeting) -> Step {
    let batch: Batch = ops.iter().cloned().collect();
    match meeting.form {
        1 => Step::Turn(meeting.who, vec![batch]),
        2 => Step::Transaction(meeting.who, batch),
        3 => Step::Bulk(meeting.who, batch),
        _ => Step::Write(meeting.who, batch),
    }
}

/// What a database answers to a question.
fn answer(db: &Db, what: &What) -> String {
    let brief = |key: &[u8], value: &[u8]| format!("{}={:08x} ", key.escape_ascii(), crc32fast::hash(value));
    match what {
        What::Change(_) => String::new(),
        What::Get(key) => db.get(*key).unwrap().map_or("null".into(), |value| brief(key.as_bytes(), &value)),
        What::Scan { prefix, from, reverse, limit } => {
            let direction = if *reverse { Direction::Reverse } else { Direction::Forward };
            let from = from.map_or(KeyRange::all(), |from| KeyRange::from(from..));
            let range = KeyRange::prefix(prefix.as_bytes()).intersect(from);
            let entries = db.snapshot().unwrap().into_scan(range, direction).take(*limit);
            entries.map(|entry| entry.map(|(key, value)| brief(&key, &value)).unwrap()).collect()
        }
    }
}

/// The model's answers, and what it holds at the end.
fn expected(history: &[Deed]) -> Vec<String> {
    let model = Db::from_engine(Arc::new(ModelEngine::default()));
    let mut answers: Vec<String> = Vec::new();
    for deed in history {
        if let What::Change(ops) = &deed.what {
            model.write(ops.iter().cloned().collect()).unwrap();
        }
        answers.push(answer(&model, &deed.what));
    }
    answers.push(answer(&model, &ALL));
    answers
}

const ALL: What = What::Scan { prefix: "", from: None, reverse: false, limit: usize::MAX };

/// A history on its way.
struct Run<'a> {
    settings: &'a Settings,
    world: World,
    /// The changes so far, for the defects.
    changes: Vec<&'a [Op]>,
}

impl<'a> Run<'a> {
    fn new(settings: &'a Settings) -> Self {
        let mut oracle = Oracle::new();
        if settings.processes.iter().any(|(mode, _)| *mode == SyncMode::None) {
            oracle.relax();
        }
        let world = World::of_processes(&SimFs::new(), settings.options(), oracle);
        Self { settings, world, changes: Vec::new() }
    }

    fn meet(&mut self, event: Event, who: usize) -> Result<(), String> {
        let step = match event {
            Event::Nothing => return Ok(()),
            Event::Compact => Step::Compact(who),
            Event::Reopen => Step::Reopen(who),
            Event::Kill => Step::Kill(who),
            Event::PowerLoss(seed) => {
                let disk = self.world.disk.power_loss_unordered(seed);
                let mut oracle = self.world.oracle().clone();
                oracle.lose_power();
                self.world = World::of_processes(&disk, self.settings.options(), oracle);
                Step::Look(who)
            }
        };
        self.world.step(&step)?;
        self.do_wrong(event, who)
    }

    /// Does what a broken engine would have done.
    fn do_wrong(&mut self, event: Event, who: usize) -> Result<(), String> {
        let deleted = self.changes.iter().rev().flat_map(|ops| ops.iter()).find_map(|op| match op {
            Op::Delete { key } => Some(key.clone()),
            Op::Set { .. } => None,
        });
        let older = |key: &Key| {
            let mut ops = self.changes.iter().rev().flat_map(|ops| ops.iter().rev());
            ops.find(|op| matches!(op, Op::Set { .. }) && op.key() == key).cloned()
        };
        let wrong: Option<Vec<Op>> = match (self.settings.defect, event) {
            (Some(Defect::TombstoneDropped), Event::Compact) => {
                deleted.and_then(|key| older(&key)).map(|op| vec![op])
            }
            (Some(Defect::BatchReplayed), Event::Reopen | Event::Kill) => {
                self.changes.iter().rev().nth(1).map(|ops| ops.to_vec())
            }
            _ => None,
        };
        wrong.map_or(Ok(()), |ops| self.world.step(&Step::Write(who, ops.into_iter().collect())))
    }

    fn carry_out(&mut self, deed: &'a Deed) -> Result<String, String> {
        let meeting = self.settings.meeting(deed);
        self.meet(meeting.event, meeting.who)?;
        if let What::Change(ops) = &deed.what {
            self.world.step(&step(ops, &meeting))?;
            self.changes.push(ops);
        }
        self.world.handle(meeting.who).map_err(|error| error.to_string())?;
        Ok(answer(self.world.db(meeting.who), &deed.what))
    }
}

/// Runs a history; what went wrong, if something did.
fn run(history: &[Deed], settings: &Settings) -> Result<(), String> {
    let expected = expected(history);
    let mut run = Run::new(settings);
    let carried_out = catch_unwind(AssertUnwindSafe(|| {
        for (deed, expected) in history.iter().zip(&expected) {
            let answer = run.carry_out(deed).map_err(|what| format!("deed {}: {what}", deed.id))?;
            if answer != *expected {
                return Err(format!("deed {} is answered with {answer:?}, right is {expected:?}", deed.id));
            }
        }
        let fresh = open_as(&run.world.disk.process(), &settings.options()[0]).unwrap();
        let (found, right) = (answer(&fresh, &ALL), &expected[history.len()]);
        if found == *right { Ok(()) } else { Err(format!("it ends in {found:?}, right is {right:?}")) }
    }));
    carried_out.unwrap_or_else(|panic| {
        Err(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| "it panics".into()))
    })
}

/// Leaves out what can be left out as long as it goes wrong.
fn shrink(mut history: Vec<Deed>, mut settings: Settings) -> (Vec<Deed>, Settings) {
    let mut piece = history.len().div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < history.len() {
            let mut fewer = history.clone();
            fewer.drain(at..(at + piece).min(history.len()));
            if run(&fewer, &settings).is_err() {
                history = fewer;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    for calmer in [
        Settings { forms: false, ..settings.clone() },
        Settings { kills: false, ..settings.clone() },
        Settings { power_losses: false, ..settings.clone() },
        Settings { compactions: false, ..settings.clone() },
    ] {
        // Each is tried with what was left out before.
        let calmer = Settings {
            forms: settings.forms && calmer.forms,
            kills: settings.kills && calmer.kills,
            power_losses: settings.power_losses && calmer.power_losses,
            compactions: settings.compactions && calmer.compactions,
            ..settings.clone()
        };
        if run(&history, &calmer).is_err() {
            settings = calmer;
        }
    }
    for count in 1..settings.processes.len() {
        let fewer = Settings { processes: settings.processes[..count].to_vec(), ..settings.clone() };
        if run(&history, &fewer).is_err() {
            settings = fewer;
            break;
        }
    }
    for deed in &history {
        let mut calmer = settings.clone();
        calmer.calm.insert(deed.id);
        if run(&history, &calmer).is_err() {
            settings = calmer;
        }
    }
    (simpler(history, &settings), settings)
}

/// Blocks with fewer changes, and short values.
fn simpler(mut history: Vec<Deed>, settings: &Settings) -> Vec<Deed> {
    for deed in 0..history.len() {
        let What::Change(ops) = history[deed].what.clone() else { continue };
        let mut kept = ops;
        for at in (0..kept.len()).rev() {
            let mut tries = Vec::new();
            if let Op::Set { key, value, expires } = &kept[at] {
                let short = format!("v{deed}.{at}");
                for value in [short.clone(), format!("{short:x<0$}", value.len())] {
                    let mut simple = kept.clone();
                    simple[at] =
                        Op::Set { key: key.clone(), value: value.as_bytes().into(), expires: *expires };
                    tries.push(simple);
                }
            }
            if kept.len() > 1 {
                let mut without = kept.clone();
                without.remove(at);
                tries.insert(0, without);
            }
            for ops in tries {
                let mut other = history.clone();
                other[deed].what = What::Change(ops.clone());
                if run(&other, settings).is_err() {
                    (history, kept) = (other, ops);
                    break;
                }
            }
        }
    }
    history
}

/// The history as a script.
fn script(history: &[Deed], settings: &Settings) -> String {
    let mut script = format!("# {:?} engine\n", settings.engine);
    for (number, (sync, pace)) in settings.processes.iter().enumerate() {
        writeln!(script, "# process {number}: sync {sync:?}, {pace:?}").unwrap();
    }
    for deed in history {
        let Meeting { who, event, form } = settings.meeting(deed);
        match event {
            Event::Nothing => {}
            Event::Compact => writeln!(script, "# process {who}\n.compact").unwrap(),
            Event::Reopen => writeln!(script, "# process {who} ends, and begins again").unwrap(),
            Event::Kill => writeln!(script, "# process {who} is killed, and begins again").unwrap(),
            Event::PowerLoss(seed) => writeln!(script, "# the power fails ({seed})").unwrap(),
        }
        writeln!(script, "# process {who}").unwrap();
        write_deed(&mut script, &deed.what, form);
    }
    script
}

fn write_deed(script: &mut String, what: &What, form: u64) {
    match what {
        What::Change(ops) => {
            let is_block = ops.len() > 1 || form == 2;
            let form = ["", " # as a turn", "", " # as a bulk", ""][usize::try_from(form).unwrap_or(0)];
            if !form.is_empty() {
                writeln!(script, "{}", form.trim_start()).unwrap();
            }
            if is_block {
                script.push_str("begin\n");
            }
            for op in ops {
                match op {
                    Op::Set { key, value, .. } => {
                        writeln!(script, "set {} {}", literal(key), literal(value)).unwrap();
                    }
                    Op::Delete { key } => writeln!(script, "delete {}", literal(key)).unwrap(),
                }
            }
            if is_block {
                script.push_str("commit\n");
            }
        }
        What::Get(key) => writeln!(script, "get {}", literal(key.as_bytes())).unwrap(),
        What::Scan { prefix, from, reverse, limit } => {
            write!(script, "scan {}", literal(prefix.as_bytes())).unwrap();
            if let Some(from) = from {
                write!(script, " --from {}", literal(from.as_bytes())).unwrap();
            }
            writeln!(script, "{} --limit {limit}", if *reverse { " --reverse" } else { "" }).unwrap();
        }
    }
}

fn history(seed: u64) -> Vec<Deed> {
    let mut random = Random(seed);
    (0..DEEDS).map(|id| deed(id, &mut random)).collect()
}

/// Fails with the shortest script that goes wrong.
fn fail(history: Vec<Deed>, settings: Settings, what: &str) -> ! {
    let place = format!("seed {}", settings.seed);
    let (history, settings) = shrink(history, settings);
    let now = run(&history, &settings).err().unwrap_or_default();
    panic!("{place}: {what}\nshrunk: {now}\n{}", script(&history, &settings));
}

#[test]
fn settings_make_no_difference() {
    let count = 250 * seeds(1);
    for seed in 0..count {
        let history = history(seed);
        for variant in 0..VARIANTS {
            let settings = settings(seed * VARIANTS + variant);
            if let Err(what) = run(&history, &settings) {
                fail(history, settings, &what);
            }
        }
    }
    report("metamorphic", &format!("{count} histories of {DEEDS} deeds, each under {VARIANTS} settings"));
}

/// A defect is found, and what is left of its history is a script of a few lines.
fn is_noticed(defect: Defect, most_lines: usize) {
    let broken = |seed| Settings { defect: Some(defect), ..settings(seed) };
    let found =
        (0..200).map(|seed| (history(seed), broken(seed))).find(|(history, s)| run(history, s).is_err());
    let (history, settings) = found.unwrap_or_else(|| panic!("{defect:?} is not noticed"));
    let (history, settings) = shrink(history, settings);
    assert!(run(&history, &settings).is_err());
    let script = script(&history, &settings);
    let lines: Vec<&str> = script.lines().filter(|line| !line.starts_with('#')).collect();
    report("metamorphic", &format!("{defect:?} is noticed:\n{script}"));
    assert!(lines.len() <= most_lines, "{} lines", lines.len());
    for line in lines {
        assert!(crate::shell::parse::line(line.as_bytes()).unwrap().is_some(), "{line}");
    }
    run(&history, &Settings { defect: None, ..settings }).unwrap();
}

#[test]
fn a_dropped_tombstone_is_noticed() {
    is_noticed(Defect::TombstoneDropped, 6);
}

#[test]
fn a_batch_that_is_replayed_is_noticed() {
    is_noticed(Defect::BatchReplayed, 8);
}
