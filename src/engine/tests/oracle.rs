//! What a database may hold: the state after each batch that was issued, and how many of them must be there.
//!
//! Every batch that is issued takes the next LSN, so a database says itself after how many of them it stands. It may stand anywhere
//! between what was acknowledged or seen and what was issued, and must then hold exactly that state. What a reader did not
//! find is gone for good: the oracle forgets it, so that its return would be noticed.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::db::Db;
use crate::error::Result;
use crate::types::{Batch, Direction, Key, KeyRange, Op, Value};

pub(super) type State = BTreeMap<Key, Value>;

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
}

impl Oracle {
    pub(super) fn new() -> Self {
        Self { states: vec![Arc::default()], live: 0, durable: 0, last_is_bulk: false, relaxed: false }
    }

    pub(super) fn relax(&mut self) {
        self.relaxed = true;
    }

    /// A batch is about to be written.
    pub(super) fn issue(&mut self, batch: &Batch) {
        let mut state = self.latest().clone();
        for op in batch.ops() {
            match op {
                Op::Set { key, value } => state.insert(key.clone(), value.clone()),
                Op::Delete { key } => state.remove(key),
            };
        }
        self.states.push(Arc::new(state));
        self.last_is_bulk = false;
    }

    /// A batch is about to be written past the log. Its LSN is taken a moment before it is there: if it is never acknowledged, it may
    /// have been an empty one.
    pub(super) fn issue_bulk(&mut self, batch: &Batch) {
        self.issue(batch);
        self.last_is_bulk = true;
    }

    /// Whether the state is that of a bulk which took its LSN and changed nothing.
    fn is_hollow(&self, found: usize, held: &State) -> bool {
        self.last_is_bulk && found == self.issued() && found > self.live && *held == *self.states[found - 1]
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

    /// Holds what `db` shows against what it may hold, and learns from it which batches there are.
    ///
    /// # Errors
    /// The database's: it shows nothing then.
    pub(super) fn observe(&mut self, db: &Db) -> Result<Verdict> {
        let snapshot = db.snapshot()?;
        let found = usize::try_from(snapshot.lsn().0).unwrap();
        let held: State = snapshot.into_scan(KeyRange::all(), Direction::Forward).collect::<Result<_>>()?;
        if self.is_hollow(found, &held) {
            self.states[found] = Arc::clone(&self.states[found - 1]);
        }
        let verdict = self.compare(found, &held);
        if verdict.is_err() {
            return Ok(verdict);
        }
        for (key, value) in &held {
            if db.get(key)?.as_ref() != Some(value) {
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

    fn compare(&self, found: usize, held: &State) -> Verdict {
        if found < self.live || found > self.issued() {
            let (live, issued) = (self.live, self.issued());
            return Err(format!(
                "it stands at LSN {found}; {live} are acknowledged or seen, {issued} issued"
            ));
        }
        if *held != *self.states[found] {
            let keys = |state: &State| state.keys().cloned().collect::<Vec<_>>();
            let expected = keys(&self.states[found]);
            return Err(format!("at LSN {found} it holds {:?}, expected were {expected:?}", keys(held)));
        }
        Ok(())
    }
}
