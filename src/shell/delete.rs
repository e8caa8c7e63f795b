//! `delete --prefix`: any number of keys, all of them or none.
//!
//! ```text
//! in a transaction          the transaction notes them
//! up to MAX_IN_TURN keys    one turn: counted and removed in one step, which nobody gets into
//! more                      a bulk: removed as they are found in a snapshot, in bounded memory
//! ```
//!
//! In a bulk others go on writing: what they add meanwhile stays, what they change of the keys that were there goes.

use super::command::Selection;
use super::failure::Failure;
use super::render::Quantity;
use super::session::{Session, Way, walk_source};
use super::undo::Noting;
use super::units;
use super::walk::{self, Walk};
use crate::db::Db;
use crate::types::{Batch, Key, KeyRange, Value};

/// At the prompt, more keys than this are removed only after a question.
const MAX_UNASKED: u64 = 1_000;

/// Keys that may be removed while others wait for the turn.
const MAX_IN_TURN: u64 = 10_000;

impl Session {
    /// Runs `delete --prefix`.
    pub(super) fn delete_prefix(&mut self, prefix: &Value, dry_run: bool) -> Result<(), Failure> {
        let selection = Selection { range: KeyRange::prefix(prefix), ..Selection::default() };
        if !dry_run {
            self.connection.check_writable()?;
        }
        let mut slot = None;
        let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
        let count = walk::count(&selection, source, &self.interrupt)?;
        let removed = if dry_run || count == 0 {
            count
        } else if self.way == Way::Prompt && count > MAX_UNASKED && !self.is_sure(count)? {
            0
        } else {
            self.remove(&selection, count)?
        };
        self.renderer.number(&mut self.output.buffer, Quantity::Deleted, removed);
        Ok(())
    }

    fn is_sure(&mut self, count: u64) -> Result<bool, Failure> {
        let is_for_good = self.block.is_none() && count > MAX_IN_TURN;
        let more = if is_for_good { " .undo can't take that back, nor what came before." } else { "" };
        let question = format!("remove {} keys?{more} [y/N] ", units::grouped(count));
        let answer = self.ask(&question)?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
    }

    /// Removes the records of a selection, which were so many; returns how many there were.
    fn remove(&mut self, selection: &Selection, count: u64) -> Result<u64, Failure> {
        if let Some(block) = &mut self.block {
            let keys = keys(selection, &block.transaction, &self.interrupt)?;
            let count = keys.len() as u64;
            block.note(keys.iter());
            for key in keys {
                block.transaction.delete(key);
            }
            return Ok(count);
        }
        let db = self.connection.changer()?;
        if count <= MAX_IN_TURN {
            self.remove_in_turn(&db, selection)
        } else {
            self.remove_in_bulk(&db, selection)
        }
    }

    fn remove_in_turn(&mut self, db: &Db, selection: &Selection) -> Result<u64, Failure> {
        let mut noting = Noting::new(db.turn("delete")?);
        let keys = keys(selection, &db.snapshot()?, &self.interrupt)?;
        let count = keys.len() as u64;
        let mut batch = Batch::new();
        for key in keys {
            batch.delete(key);
        }
        if self.way == Way::Prompt {
            noting.write(batch)?;
        } else {
            noting.turn.write(batch)?;
        }
        let Noting { turn, change } = noting;
        turn.commit()?;
        self.connection.past.keep(change);
        Ok(count)
    }

    fn remove_in_bulk(&mut self, db: &Db, selection: &Selection) -> Result<u64, Failure> {
        let (mut bulk, mut count) = (db.bulk()?, 0);
        walk::for_each(selection, &db.snapshot()?, &self.interrupt, &mut |key, _, _| {
            count += 1;
            Ok(bulk.delete(key)?)
        })?;
        bulk.commit()?;
        self.connection
            .past
            .forget("so many keys were removed at once that they, and what came before, can't be taken back");
        Ok(count)
    }
}

fn keys(
    selection: &Selection,
    source: &dyn Walk,
    interrupt: &super::interrupt::Interrupt,
) -> Result<Vec<Key>, Failure> {
    let mut keys = Vec::new();
    walk::for_each(selection, source, interrupt, &mut |key, _, _| {
        keys.push(Key::from(key));
        Ok(())
    })?;
    Ok(keys)
}
