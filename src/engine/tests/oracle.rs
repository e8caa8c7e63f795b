//! What a database may hold: the state after each batch that was issued, and how many of them must be there.
//!
//! Every batch that is issued takes the next LSN, so a database says itself after how many of them it stands. It may stand anywhere
//! between what was acknowledged or seen and what was issued, and must then hold exactly that state. What a reader did not
//! find is gone for good: the oracle forgets it, so that its return would be noticed.
//!
//! What has expired is not there, by the clock of the database, which never goes back: but after a power loss it may be where it
//! was some time before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::db::{Db, Snapshot};
use crate::error::Result;
use crate::types::{Batch, Direction, Key, KeyRange, Lsn, Op, Timestamp, Value};

pub(super) type State = BTreeMap<Key, Stored>;

/// A value, and when it expires.
pub(super) type Stored = (Value, Option<Timestamp>);

/// Right, or what is wrong.
pub(super) type Verdict = std::result::Result<(), String>;

/// What was issued and what of it must be there.
#[derive(Clone)]
pub(super) struct Oracle {
    /// `states[n]` is the state after `n` batches.
    states: Vec<Arc<State>>,
    /// Batches that the death of a process must not undo.
    live: usize,
    /// Batches that a power loss must not undo.
    durable: usize,
    /// The batch that was issued last may be there as one that changes nothing: see [`Oracle::issue_bulk`].
    last_is_bulk: bool,
    /// Some batches are written without a sync: having been seen makes nothing durable.
    relaxed: bool,
    /// The latest time that was seen since the last power loss.
    clock: Timestamp,
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self {
            states: vec![Arc::default()],
            live: 0,
            durable: 0,
            last_is_bulk: false,
            relaxed: false,
            clock: Timestamp::MIN,
        }
    }

    pub(super) fn relax(&mut self) {
        self.relaxed = true;
    }

    /// A batch is about to be written.
    pub(super) fn issue(&mut self, batch: &Batch) {
        let mut state = self.latest().clone();
        for op in batch.ops() {
            match op {
                Op::Set { key, value, expires } => state.insert(key.clone(), (value.clone(), *expires)),
                Op::Delete { key } => state.remove(key),
            };
        }
        self.states.push(Arc::new(state));
        self.last_is_bulk = false;
    }

    /// A batch is about to be written past the log. Its LSN is taken a moment before it is there: if it is never acknowledged,
    /// it may have been an empty one.
    pub(super) fn issue_bulk(&mut self, batch: &Batch) {
        self.issue(batch);
        self.last_is_bulk = true;
    }

    /// Whether the state is that of a bulk which took its LSN and changed nothing.
    fn is_hollow(&self, found: usize, held: &State, now: Timestamp) -> bool {
        let is_open = self.last_is_bulk && found == self.issued() && found > self.live;
        is_open && *held == there(&self.states[found - 1], now)
    }

    /// Everything that was issued was acknowledged, after a sync or without one.
    pub(super) fn acknowledge(&mut self, synced: bool) {
        self.live = self.issued();
        if synced {
            self.durable = self.live;
        }
    }

    /// What was issued and not acknowledged did not happen, and never will.
    pub(super) fn withdraw(&mut self) {
        self.states.truncate(self.live + 1);
        if std::mem::take(&mut self.last_is_bulk) {
            // It may have taken its LSN.
            self.states.extend(self.states.last().cloned());
        }
    }

    /// The machine lost power.
    pub(super) fn lose_power(&mut self) {
        self.live = self.durable;
        self.forget_the_time();
    }

    /// No process of the disk has told the time yet.
    pub(super) fn forget_the_time(&mut self) {
        self.clock = Timestamp::MIN;
    }

    /// The last `count` batches may be missing.
    pub(super) fn doubt(&mut self, count: usize) {
        self.live -= count;
        self.durable = self.live;
    }

    pub(super) fn issued(&self) -> usize {
        self.states.len() - 1
    }

    /// The state after everything that was issued.
    pub(super) fn latest(&self) -> &State {
        self.states.last().unwrap()
    }

    /// The keys that the batches from `first` to `last` changed.
    pub(super) fn touched(&self, first: Lsn, last: Lsn) -> BTreeSet<Key> {
        let numbers = [first, last].map(|lsn| usize::try_from(lsn.0).unwrap());
        let states = &self.states[numbers[0] - 1..=numbers[1].min(self.issued())];
        let changed = states.windows(2).flat_map(|pair| {
            let keys = pair[0].keys().chain(pair[1].keys());
            keys.filter(|key| pair[0].get(*key) != pair[1].get(*key)).cloned()
        });
        changed.collect()
    }

    /// Whether `key` had this value after some batch.
    pub(super) fn ever_had(&self, key: &Key, value: &Value) -> bool {
        self.states.iter().any(|state| state.get(key).is_some_and(|(had, _)| had == value))
    }

    /// Holds what `db` shows against what it may hold, and learns from it which batches there are.
    ///
    /// # Errors
    /// The database's: it shows nothing then.
    pub(super) fn observe(&mut self, db: &Db) -> Result<Verdict> {
        let snapshot = db.snapshot()?;
        let found = usize::try_from(snapshot.lsn().0).unwrap();
        let (now, held) = (snapshot.now(), held(&snapshot)?);
        if self.has_expiries(found) {
            if now < self.clock {
                return Ok(Err(format!("its clock went back from {} to {now}", self.clock)));
            }
            self.clock = now;
        }
        if self.is_hollow(found, &held, now) {
            self.states[found] = Arc::clone(&self.states[found - 1]);
        }
        let verdict = self.compare(found, &held, now);
        if verdict.is_err() {
            return Ok(verdict);
        }
        for key in self.latest().keys() {
            if db.get(key)?.as_ref() != held.get(key).map(|(value, _)| value) {
                return Ok(Err(format!("get and scan disagree on {key:?}")));
            }
        }
        self.states.truncate(found + 1);
        self.live = found;
        if !self.relaxed {
            self.durable = found;
        }
        Ok(Ok(()))
    }

    /// Whether something in the states up to this one expires: before, the clock does not matter.
    fn has_expiries(&self, found: usize) -> bool {
        let expires = |(_, expires): &Stored| expires.is_some();
        self.states.iter().take(found + 1).any(|state| state.values().any(expires))
    }

    fn compare(&self, found: usize, held: &State, now: Timestamp) -> Verdict {
        if found < self.live || found > self.issued() {
            let (live, issued) = (self.live, self.issued());
            return Err(format!(
                "it stands at LSN {found}; {live} are acknowledged or seen, {issued} issued"
            ));
        }
        let expected = there(&self.states[found], now);
        if *held != expected {
            let keys =
                |state: &State| state.iter().map(|(key, (_, at))| (key.clone(), *at)).collect::<Vec<_>>();
            let (held, expected) = (keys(held), keys(&expected));
            return Err(format!("at LSN {found}, {now}, it holds {held:?}, expected were {expected:?}"));
        }
        Ok(())
    }
}

/// What has not expired.
fn there(state: &State, now: Timestamp) -> State {
    let is_there = |(_, (_, expires)): &(&Key, &Stored)| expires.is_none_or(|expires| expires > now);
    state.iter().filter(is_there).map(|(key, stored)| (key.clone(), stored.clone())).collect()
}

/// Everything in a snapshot.
fn held(snapshot: &Snapshot) -> Result<State> {
    let mut held = State::new();
    let mut cursor = snapshot.cursor(&KeyRange::all(), Direction::Forward)?;
    while let Some((key, value, expires)) = cursor.next_entry()? {
        held.insert(key.into(), (value.into(), expires));
    }
    Ok(held)
}
