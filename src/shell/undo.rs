//! `.undo`: what was typed at this prompt is taken back, the last first.
//!
//! ```text
//! changes   [ before, after of each key ] [ … ] [ … ]          oldest … newest, one for each command or commit
//!                                                 └─ .undo 1
//!                                           └─────── .undo 2
//! ```
//!
//! 1. A change is taken back only while each of its keys is as the change left it: its version tells. Else nothing is.
//! 2. Changes that are taken back together are taken back in one turn, which nobody gets into, as one batch.
//! 3. What was taken back is forgotten, so the next `.undo` goes further back. There is no way forward again.
//! 4. Memory is bounded: what is longer ago is forgotten first. What is too much to be kept, and what does not go through here
//!    (`.load`, `.import`, `.read`), can't be taken back, and neither can what came before.
//!
//! In a transaction it is the transaction's own writes that are taken back, one command after the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::block::Block;
use super::execute::{Change, Lasting, Store, View, to_batch};
use super::failure::Failure;
use super::literal::{brief, literal};
use super::render::{Quantity, write_set};
use super::session::{Session, Way};
use crate::engine::Turn;
use crate::error::Result;
use crate::transaction::Touched;
use crate::types::{Batch, Entry, Key, Lifetime, Lsn, Op, Timestamp, Value};

/// Commands that can be taken back.
const MAX_CHANGES: usize = 1_000;

/// Bytes of keys and values that are kept for that.
const MAX_BYTES: usize = 16 << 20;

/// Keys of which is said what became of them.
const MAX_SHOWN: usize = 10;

/// Bytes of a key that a message shows.
const MAX_SHOWN_LEN: usize = 200;

/// What was typed, as far as it can be taken back.
#[derive(Default)]
pub(crate) struct Past {
    /// Newest last.
    changes: VecDeque<Vec<Touched>>,
    bytes: usize,
    /// Why nothing before the oldest is kept.
    end: Option<&'static str>,
}

impl Past {
    /// Keeps what a command did.
    pub(crate) fn keep(&mut self, change: Vec<Touched>) {
        if change.is_empty() {
            return;
        }
        self.bytes += size(&change);
        self.changes.push_back(change);
        while self.bytes > MAX_BYTES || self.changes.len() > MAX_CHANGES {
            let forgotten = self.changes.pop_front().unwrap_or_default();
            self.bytes -= size(&forgotten);
            self.end = Some("what is longer ago, or too much, is not kept");
        }
    }

    /// Something was done that can't be taken back.
    pub(crate) fn forget(&mut self, why: &'static str) {
        *self = Self { end: Some(why), ..Self::default() };
    }

    /// An error unless there are `count` changes.
    fn check_count(&self, count: usize) -> Result<(), Failure> {
        let there = match self.changes.len() {
            enough if enough >= count => return Ok(()),
            0 => "there is nothing to take back".to_owned(),
            1 => "there is only one change to take back".to_owned(),
            more => format!("there are only {more} changes to take back"),
        };
        let usual = "only what was typed at this prompt since this database was opened can be taken back";
        Err(Failure::refused(there, self.end.unwrap_or(usual)))
    }

    /// What taking back the last `count` changes, which are there, comes to: for each key what is to be there.
    fn plan(&self, count: usize, turn: &dyn Turn) -> Result<BTreeMap<Key, Option<Entry>>, Failure> {
        let mut plan = BTreeMap::new();
        for touched in self.changes.iter().rev().take(count).flatten() {
            let Touched { key, before, after } = touched;
            let found = match plan.get(key) {
                Some(planned) => Option::clone(planned),
                None => turn.entry(key)?,
            };
            if !is_as_left(*after, found.as_ref(), turn.now()) {
                let shown = brief(key, MAX_SHOWN_LEN);
                let message = format!("another session changed {shown} since");
                return Err(Failure::refused(
                    message,
                    format!("nothing was taken back; get {shown} shows its current value"),
                ));
            }
            plan.insert(key.clone(), before.clone());
        }
        Ok(plan)
    }

    /// Forgets the last `count` changes, which were taken back as the batch `lsn`.
    fn taken_back(&mut self, count: usize, plan: &BTreeMap<Key, Option<Entry>>, lsn: Lsn) {
        for change in self.changes.drain(self.changes.len() - count..) {
            self.bytes -= size(&change);
        }
        // What older changes left is there again, in a new version.
        for (key, entry) in plan {
            let newest = self.changes.iter_mut().rev().flatten().find(|touched| touched.key == *key);
            if let (Some(Touched { after: Some((version, _)), .. }), Some(entry)) = (newest, entry)
                && *version == entry.lsn
            {
                *version = lsn;
            }
        }
    }
}

/// Whether a key is as a change left it. What the change stored may have expired.
fn is_as_left(after: Option<(Lsn, Option<Timestamp>)>, found: Option<&Entry>, now: Timestamp) -> bool {
    match (after, found) {
        (Some((lsn, _)), Some(found)) => found.lsn == lsn,
        (Some((_, expires)), None) => expires.is_some_and(|expires| expires <= now),
        (None, found) => found.is_none(),
    }
}

fn size(change: &[Touched]) -> usize {
    let value_len = |touched: &Touched| touched.before.as_ref().map_or(0, |entry| entry.value.len());
    change.iter().map(|touched| size_of::<Touched>() + touched.key.len() + value_len(touched)).sum()
}

/// A turn that notes what is done in it.
pub(crate) struct Noting<'a> {
    pub(crate) turn: Box<dyn Turn + 'a>,
    pub(crate) change: Vec<Touched>,
}

impl<'a> Noting<'a> {
    pub(crate) const fn new(turn: Box<dyn Turn + 'a>) -> Self {
        Self { turn, change: Vec::new() }
    }

    /// Adds a batch, in which no key occurs twice.
    pub(crate) fn write(&mut self, batch: Batch) -> Result<()> {
        let mut change = Vec::with_capacity(batch.len());
        for op in batch.ops() {
            let after = matches!(op, Op::Set { .. }).then(|| (Lsn::ZERO, op.expires()));
            change.push(Touched { key: op.key().clone(), before: self.turn.entry(op.key())?, after });
        }
        let lsn = self.turn.write(batch)?;
        for (version, _) in change.iter_mut().filter_map(|touched| touched.after.as_mut()) {
            *version = lsn;
        }
        self.change.extend(change);
        Ok(())
    }
}

impl View for Noting<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.turn.get(key)
    }
}

impl Lasting for Noting<'_> {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        self.turn.find(key)
    }

    fn now(&self) -> Timestamp {
        Lasting::now(&self.turn)
    }
}

impl Store for Noting<'_> {
    fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        let batch = to_batch(changes, || self.turn.now())?;
        self.write(batch)
    }
}

/// Has a key hold what it held.
fn restoring((key, entry): (&Key, &Option<Entry>)) -> Op {
    match entry {
        Some(Entry { value, expires, .. }) => {
            Op::Set { key: key.clone(), value: value.clone(), expires: *expires }
        }
        None => Op::Delete { key: key.clone() },
    }
}

impl Session {
    /// Runs `.undo`.
    pub(super) fn undo(&mut self, count: u64) -> Result<(), Failure> {
        if count == 0 {
            return Err(Failure::refused(
                "N must be at least 1",
                "without N, .undo takes back the last change",
            ));
        }
        if self.way != Way::Prompt {
            let help = "only what was typed at a prompt can be taken back";
            return Err(Failure::refused("there is nothing to take back", help));
        }
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let restored = match &mut self.block {
            Some(block) => take_back_in(block, count)?,
            None => self.take_back(count)?,
        };
        if self.speaks_json() {
            self.renderer.number(&mut self.output.buffer, Quantity::Undone, restored.len());
        } else {
            self.renderer.text(&mut self.output.buffer, &described(&restored));
        }
        Ok(())
    }

    /// Takes changes back, all or none; returns what is there now.
    fn take_back(&mut self, count: usize) -> Result<Vec<(Key, Option<Entry>)>, Failure> {
        self.connection.check_writable()?;
        self.connection.past.check_count(count)?;
        let db = self.connection.changer()?;
        let mut turn = db.turn("undo")?;
        let plan = self.connection.past.plan(count, &*turn)?;
        let lsn = turn.write(plan.iter().map(restoring).collect())?;
        turn.commit()?;
        self.connection.past.taken_back(count, &plan, lsn);
        Ok(plan.into_iter().collect())
    }
}

/// Takes back commands of a transaction; returns what there is in it now.
fn take_back_in(block: &mut Block, count: usize) -> Result<Vec<(Key, Option<Entry>)>, Failure> {
    let there = block.undo.len();
    if there < count {
        let message = match there {
            0 => "this transaction has written nothing to take back".to_owned(),
            _ => format!("this transaction has only {there} to take back"),
        };
        return Err(Failure::refused(message, "rollback drops all of it"));
    }
    let mut keys = BTreeSet::new();
    for marks in block.undo.split_off(there - count).into_iter().rev() {
        for mark in marks {
            keys.insert(mark.key().clone());
            block.transaction.restore(mark);
        }
    }
    let look = |key: Key| {
        let found = block.transaction.find(&key)?;
        let entry = found.map(|(value, lifetime)| {
            let expires = lifetime.expires(block.transaction.now()).unwrap_or_default();
            Entry { value, lsn: Lsn::ZERO, expires }
        });
        Ok((key, entry))
    };
    keys.into_iter().map(look).collect()
}

/// The commands that taking back came to.
fn described(restored: &[(Key, Option<Entry>)]) -> String {
    let mut text = Vec::new();
    for (key, entry) in restored.iter().take(MAX_SHOWN) {
        match entry {
            Some(entry) if entry.value.len() + key.len() <= MAX_SHOWN_LEN => {
                write_set(&mut text, key, &entry.value, entry.expires);
            }
            Some(_) => text.extend_from_slice(format!("set {} …\n", brief(key, MAX_SHOWN_LEN)).as_bytes()),
            None => text.extend_from_slice(format!("delete {}\n", literal(key)).as_bytes()),
        }
    }
    if restored.len() > MAX_SHOWN {
        text.extend_from_slice(format!("… and {} more\n", restored.len() - MAX_SHOWN).as_bytes());
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    struct World {
        _dir: tempfile::TempDir,
        db: Db,
        past: Past,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let db = Db::open(dir.path().join("db")).unwrap();
            Self { _dir: dir, db, past: Past::default() }
        }

        fn run(&mut self, changes: Vec<Change>) {
            let mut noting = Noting::new(self.db.turn("test").unwrap());
            noting.apply(changes).unwrap();
            let Noting { turn, change } = noting;
            turn.commit().unwrap();
            self.past.keep(change);
        }

        fn set(&mut self, key: &str, value: &str) {
            self.run(vec![Change::set(key.into(), value.into(), Lifetime::Forever)]);
        }

        fn undo(&mut self, count: usize) -> Result<(), String> {
            self.past.check_count(count).map_err(|failure| failure.message())?;
            let mut turn = self.db.turn("test").unwrap();
            let plan = self.past.plan(count, &*turn).map_err(|failure| failure.message())?;
            let lsn = turn.write(plan.iter().map(restoring).collect()).unwrap();
            turn.commit().unwrap();
            self.past.taken_back(count, &plan, lsn);
            Ok(())
        }

        fn contents(&self) -> String {
            let entries = self.db.scan(..).unwrap().map(|entry| {
                let (key, value) = entry.unwrap();
                format!("{}={} ", key.escape_ascii(), value.escape_ascii())
            });
            entries.collect()
        }
    }

    #[test]
    fn each_undo_goes_one_change_further_back() {
        let mut world = World::new();
        world.set("a", "1");
        world.set("a", "2");
        world.set("b", "1");
        world.run(vec![Change::delete("a".into()), Change::set("c".into(), "2".into(), Lifetime::Forever)]);
        let mut seen = vec![world.contents()];
        while world.undo(1).is_ok() {
            seen.push(world.contents());
        }
        assert_eq!(seen, ["b=1 c=2 ", "a=2 b=1 ", "a=2 ", "a=1 ", ""]);
        assert_eq!(world.undo(1), Err("there is nothing to take back".into()));
    }

    #[test]
    fn several_changes_are_taken_back_as_one() {
        let mut world = World::new();
        for number in 0..5 {
            world.set("a", &number.to_string());
            world.set(&format!("k{number}"), "v");
        }
        assert_eq!(world.undo(11), Err("there are only 10 changes to take back".into()));
        let before = world.db.snapshot().unwrap().lsn();
        world.undo(7).unwrap();
        assert_eq!(world.contents(), "a=1 k0=v ");
        assert_eq!(world.db.snapshot().unwrap().lsn(), before.next());
        world.undo(3).unwrap();
        assert_eq!(world.contents(), "");
    }

    #[test]
    fn what_another_session_changed_since_is_left_alone() {
        let mut world = World::new();
        world.set("a", "1");
        world.set("a", "2");
        world.set("b", "1");
        world.db.set("a", "other").unwrap();
        world.undo(1).unwrap();
        assert_eq!(world.undo(1), Err("another session changed \"a\" since".into()));
        assert_eq!(world.undo(2), Err("another session changed \"a\" since".into()));
        assert_eq!(world.contents(), "a=other ");
        world.db.delete("a").unwrap();
        assert!(world.undo(1).is_err());
        // Between two changes of this session, too.
        world.set("c", "1");
        world.db.set("c", "other").unwrap();
        world.set("c", "2");
        assert!(world.undo(2).is_err());
        world.undo(1).unwrap();
        assert_eq!(world.contents(), "c=other ");
    }

    #[test]
    fn lifetimes_come_back_and_what_expired_may_be_taken_back() {
        let mut world = World::new();
        let until = Timestamp::MAX;
        world.run(vec![Change::set("a".into(), "1".into(), Lifetime::Until(until))]);
        world.set("a", "2");
        world.run(vec![Change::set("a".into(), "3".into(), Lifetime::Until(Timestamp::MIN))]);
        assert_eq!(world.contents(), "");
        world.undo(1).unwrap();
        assert_eq!(world.contents(), "a=2 ");
        world.undo(1).unwrap();
        assert_eq!(world.db.entry("a").unwrap().unwrap().expires, Some(until));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_said() {
        let mut world = World::new();
        for number in 0..MAX_CHANGES + 5 {
            world.set("a", &number.to_string());
        }
        assert!(world.undo(MAX_CHANGES + 1).is_err());
        world.undo(MAX_CHANGES).unwrap();
        assert_eq!(world.contents(), "a=4 ");
        world.set("large", "");
        world.run(vec![Change::set("large".into(), vec![0; MAX_BYTES + 1].into(), Lifetime::Forever)]);
        world.set("large", "");
        assert!(world.undo(1).is_err() && world.past.bytes == 0);
        world.set("b", "1");
        world.past.forget("of a reason");
        assert!(world.undo(1).is_err());
    }
}
