//! Processes on one disk that carry out steps one at a time, each compared with the oracle.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::oracle::{Oracle, Verdict};
use super::{DIR, Random, open_as};
use crate::db::{Bulk, Db};
use crate::error::{Error, Result};
use crate::options::{Options, Pace};
use crate::storage::fs::sim::{SimFs, SimProcess};
use crate::storage::fs::{Fs as _, LockKind, OpenMode};
use crate::types::{Batch, Compression, EngineKind, Op, SetOptions, SyncMode, Timestamp};

/// Between two steps only a merge in the background holds a lock, so whoever waits this long found one that was left held.
const PATIENCE: Duration = Duration::from_secs(5);

/// One process flushes every segment when it is full, another one lets them pile up.
const PACES: [Pace; 3] = [Pace::SMALL, Pace { flush: 100_000, ..Pace::SMALL }, Pace::SMALL];

/// Some pack what others unpack.
const COMPRESSIONS: [Compression; 3] = [Compression::Lz4, Compression::None, Compression::Lz4];

/// One thing that process number `.0` does.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Write(usize, Batch),
    /// Several batches in one turn.
    Turn(usize, Vec<Batch>),
    /// A batch that is not held in memory.
    Bulk(usize, Batch),
    /// A bulk that is dropped without a commit.
    AbandonBulk(usize, Batch),
    /// A turn that is given back without a commit.
    Abandon(usize, Batch),
    Transaction(usize, Batch),
    /// A transaction that loses against a write of process `.1`.
    Conflict(usize, usize, Batch),
    Compact(usize),
    /// Looks at everything and holds it against the oracle.
    Look(usize),
    Stats(usize),
    Reopen(usize),
    Kill(usize),
    /// Time passes for all.
    Pass(Duration),
    /// Somebody sets the machine's clock back.
    SetBack(Duration),
}

/// A process with an open database.
struct Handle {
    process: Arc<SimProcess>,
    db: Db,
}

/// A disk, its processes and its oracle.
pub(super) struct World {
    pub(super) disk: SimFs,
    pub(super) oracle: Arc<Mutex<Oracle>>,
    handles: Vec<Option<Handle>>,
    options: Vec<Options>,
    /// Calls are made to fail: errors are allowed, wrong answers are not.
    pub(super) faulty: bool,
    /// How many syncs have told a handle of the failure of another's.
    late_reports: u64,
}

impl World {
    /// As many processes as there are sync modes.
    pub(super) fn new(disk: &SimFs, engine: EngineKind, modes: &[SyncMode]) -> Self {
        let mut oracle = Oracle::new();
        if modes.contains(&SyncMode::None) {
            oracle.relax();
        }
        Self::with_oracle(disk, engine, modes, oracle)
    }

    pub(super) fn with_oracle(disk: &SimFs, engine: EngineKind, modes: &[SyncMode], oracle: Oracle) -> Self {
        let options = Options::new().engine(engine);
        let of_process = |((mode, pace), compression): ((&SyncMode, Pace), Compression)| Options {
            pace,
            ..options.clone().sync(*mode).compression(compression)
        };
        let processes = modes.iter().zip(PACES).zip(COMPRESSIONS);
        Self::of_processes(disk, processes.map(of_process).collect(), oracle)
    }

    /// One process for each of the options.
    pub(super) fn of_processes(disk: &SimFs, options: Vec<Options>, oracle: Oracle) -> Self {
        Self {
            disk: disk.clone(),
            oracle: Arc::new(Mutex::new(oracle)),
            handles: options.iter().map(|_| None).collect(),
            options: options.into_iter().map(|options| options.lock_timeout(PATIENCE)).collect(),
            faulty: false,
            late_reports: 0,
        }
    }

    pub(super) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run(&mut self, steps: &[Step]) -> Verdict {
        for (number, step) in steps.iter().enumerate() {
            self.step(step).map_err(|what| format!("step {number}, {}: {what}", brief(step)))?;
        }
        Ok(())
    }

    pub(super) fn step(&mut self, step: &Step) -> Verdict {
        match step {
            Step::Kill(who) => {
                if let Some(handle) = self.handles[*who].take() {
                    handle.process.kill();
                }
                return Ok(());
            }
            Step::Pass(time) => {
                self.disk.pass(*time);
                return Ok(());
            }
            Step::SetBack(time) => {
                self.disk.set_wall_clock(self.disk.now().wall.saturating_sub(*time));
                return Ok(());
            }
            Step::Reopen(who) => self.handles[*who] = None,
            _ => {}
        }
        let outcome = self.try_step(step);
        outcome.unwrap_or_else(|error| {
            if let Step::Conflict(_, other, _) = step {
                // Either process may have failed, so neither goes on.
                self.handles[*other] = None;
                self.handles[step.who()] = None;
            }
            self.failed(step.who(), &error)
        })
    }

    /// Carries out a step. Its error is not looked into.
    pub(super) fn try_step(&mut self, step: &Step) -> Result<Verdict> {
        self.handle(step.who()).and_then(|()| self.attempt(step))
    }

    pub(super) fn kill_all(&mut self) {
        for handle in self.handles.iter_mut().filter_map(Option::take) {
            handle.process.kill();
        }
    }

    /// Opens the database of a process that has none open.
    pub(super) fn handle(&mut self, who: usize) -> Result<()> {
        if self.handles[who].is_none() {
            let process = self.disk.process();
            let db = open_as(&process, &self.options[who])?;
            self.handles[who] = Some(Handle { process, db });
        }
        Ok(())
    }

    pub(super) fn db(&self, who: usize) -> &Db {
        &self.handles[who].as_ref().expect("the handle is open").db
    }

    /// The inner result is what is wrong with what was seen.
    fn attempt(&self, step: &Step) -> Result<Verdict> {
        let db = self.db(step.who());
        match step {
            Step::Write(_, batch) => self.write(step.who(), || db.write(batch.clone()), batch)?,
            Step::Turn(who, batches) => {
                let mut turn = db.turn("test")?;
                for batch in batches {
                    self.oracle().issue(batch);
                    turn.write(batch.clone())?;
                }
                turn.commit()?;
                self.acknowledge(*who);
            }
            Step::Bulk(who, batch) => {
                let mut bulk = db.bulk()?;
                fill_bulk(&mut bulk, batch)?;
                self.oracle().issue_bulk(batch);
                bulk.commit()?;
                self.acknowledge(*who);
            }
            Step::AbandonBulk(_, batch) => fill_bulk(&mut db.bulk()?, batch)?,
            Step::Abandon(_, batch) => {
                db.turn("test")?.write(batch.clone())?;
            }
            Step::Transaction(who, batch) => {
                let mut transaction = db.begin()?;
                fill(&mut transaction, batch);
                self.write(*who, || transaction.commit(), batch)?;
            }
            Step::Conflict(who, other, batch) => {
                let mut transaction = db.begin()?;
                fill(&mut transaction, batch);
                let Some(other_db) = self.handles[*other].as_ref().map(|handle| &handle.db) else {
                    return Ok(Ok(()));
                };
                let key = batch.ops()[0].key();
                let mut winner = Batch::new();
                winner.set(key, "winner");
                self.write(*other, || other_db.write(winner.clone()), &winner)?;
                match transaction.commit() {
                    Err(Error::Conflict { .. }) => {}
                    Err(error) => return Err(error),
                    Ok(()) => return Ok(Err(format!("process {who} overwrote {key:?} unseen"))),
                }
            }
            Step::Compact(_) => drop(db.compact()?),
            Step::Stats(_) => {
                db.stats()?;
            }
            Step::Look(_) | Step::Reopen(_) => {
                return self.look(db);
            }
            Step::Kill(_) | Step::Pass(_) | Step::SetBack(_) => {}
        }
        Ok(Ok(()))
    }

    fn write(&self, who: usize, write: impl FnOnce() -> Result<()>, batch: &Batch) -> Result<()> {
        self.oracle().issue(batch);
        write()?;
        self.acknowledge(who);
        Ok(())
    }

    fn acknowledge(&self, who: usize) {
        self.oracle().acknowledge(self.options[who].sync != SyncMode::None);
    }

    /// An operation failed. A handle that goes on has applied nothing of it; after one that stopped, or died, a fresh
    /// one says what there is.
    fn failed(&mut self, who: usize, error: &Error) -> Verdict {
        // The handle may have stopped on the kill before.
        let killed = error.to_string().contains("process was killed");
        let allowed = matches!(error, Error::Io { .. } | Error::Poisoned { .. });
        let reports = self.disk.late_reports();
        let is_late_report = std::mem::replace(&mut self.late_reports, reports) < reports;
        if !(killed || (self.faulty || is_late_report) && allowed) {
            return Err(format!("unexpected error: {error}"));
        }
        self.stop_faults();
        self.check_locks()?;
        let usable =
            !killed && self.handles[who].as_ref().is_some_and(|handle| handle.db.turn("probe").is_ok());
        if usable {
            self.oracle().withdraw();
        } else {
            self.handles[who] = None;
        }
        self.look_afresh()?;
        if usable { legible(self.look(self.db(who))) } else { Ok(()) }
    }

    pub(super) fn stop_faults(&self) {
        self.disk.clear_faults();
        self.disk.set_observer(Arc::new(|_, _| ()));
    }

    /// An operation that failed has left no lock behind.
    fn check_locks(&self) -> Verdict {
        let process = self.disk.process();
        for name in ["TURN", "LOCK", "MAINT", "MERGE"] {
            if let Ok(file) = process.open(&Path::new(DIR).join(name), OpenMode::Read) {
                let start = Instant::now();
                while !file.try_lock(LockKind::Exclusive).unwrap() {
                    if start.elapsed() > PATIENCE {
                        return Err(format!("{name} was left held"));
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                file.unlock().unwrap();
            }
        }
        Ok(())
    }

    /// What a process that opens the database now sees.
    pub(super) fn look_afresh(&self) -> Verdict {
        let db = open_as(&self.disk.process(), &self.options[0].clone().sync(SyncMode::Group));
        legible(db.and_then(|db| self.look(&db)))
    }

    fn look(&self, db: &Db) -> Result<Verdict> {
        let mut oracle = self.oracle().clone();
        let verdict = oracle.observe(db)?;
        *self.oracle() = oracle;
        Ok(verdict)
    }
}

/// An error where there must be none.
fn legible(looked: Result<Verdict>) -> Verdict {
    looked.unwrap_or_else(|error| Err(format!("it can't be read: {error}")))
}

impl Step {
    pub(super) fn who(&self) -> usize {
        match self {
            Self::Write(who, _)
            | Self::Turn(who, _)
            | Self::Bulk(who, _)
            | Self::AbandonBulk(who, _)
            | Self::Abandon(who, _)
            | Self::Transaction(who, _)
            | Self::Conflict(who, _, _)
            | Self::Compact(who)
            | Self::Look(who)
            | Self::Stats(who)
            | Self::Reopen(who)
            | Self::Kill(who) => *who,
            Self::Pass(_) | Self::SetBack(_) => 0,
        }
    }
}

fn fill(transaction: &mut crate::transaction::Transaction, batch: &Batch) {
    for op in batch.ops() {
        match op {
            Op::Set { key, value, expires } => {
                let options = SetOptions::new().lifetime((*expires).into());
                assert!(transaction.set_with(key, value, &options).expect("no condition is looked up"));
            }
            Op::Delete { key } => transaction.delete(key),
        }
    }
}

fn fill_bulk(bulk: &mut Bulk<'_>, batch: &Batch) -> Result<()> {
    batch.ops().iter().try_for_each(|op| bulk.apply(op.clone()))
}

/// A step without its values.
pub(super) fn brief(step: &Step) -> String {
    let keys = |batch: &Batch| {
        let sizes = batch.ops().iter().map(|op| match op {
            Op::Set { key, value, expires: None } => format!("{}={}B", key.escape_ascii(), value.len()),
            Op::Set { key, value, expires: Some(at) } => {
                format!("{}={}B until {at}", key.escape_ascii(), value.len())
            }
            Op::Delete { key } => format!("-{}", key.escape_ascii()),
        });
        sizes.collect::<Vec<_>>().join(" ")
    };
    match step {
        Step::Write(who, batch) => format!("{who} write {}", keys(batch)),
        Step::Turn(who, batches) => {
            format!("{who} turn {}", batches.iter().map(keys).collect::<Vec<_>>().join(" | "))
        }
        Step::Bulk(who, batch) => format!("{who} bulk {}", keys(batch)),
        Step::AbandonBulk(who, batch) => format!("{who} abandon a bulk {}", keys(batch)),
        Step::Abandon(who, batch) => format!("{who} abandon {}", keys(batch)),
        Step::Transaction(who, batch) => format!("{who} transaction {}", keys(batch)),
        Step::Conflict(who, other, batch) => format!("{who} loses to {other} {}", keys(batch)),
        other => format!("{other:?}"),
    }
}

/// A batch of one `set`: the value is `len` bytes that no other batch has.
pub(super) fn set(key: &str, len: usize, mark: u64) -> Batch {
    let mut batch = Batch::new();
    batch.set(key, value(len, mark));
    batch
}

/// Bytes that nothing else has; of every other mark, half of a longer value is the same.
pub(super) fn value(len: usize, mark: u64) -> Vec<u8> {
    let mut random = Random(mark);
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(|| random.next().to_le_bytes()).take(len / 8 + 1).flatten().collect();
    bytes.truncate(len);
    if mark.is_multiple_of(2) && len >= 32 {
        bytes[len / 2..].fill(b'=');
    }
    bytes
}

/// A moment in the minute after the clock of a new disk.
pub(super) fn soon(random: &mut Random) -> Timestamp {
    let begin = SimFs::new().now().wall;
    let millis = u64::try_from(begin.as_millis()).unwrap() + random.below(60_000);
    Timestamp::from_unix_millis(millis).unwrap()
}
