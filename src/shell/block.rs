//! `begin … commit`: an open transaction and what has become of it.
//!
//! 1. Reads inside see one snapshot plus the block's own writes.
//! 2. The first failed command, a line that is no command included, poisons the block: from then on nothing it does can be
//!    committed, and `commit` refuses with the place of that failure. `rollback` leaves in any case.
//! 3. A block that is left open at the end of a script or session is rolled back.

use super::execute::{Change, Lasting, Store, View};
use super::failure::Failure;
use crate::error::Result;
use crate::transaction::{Mark, Transaction};
use crate::types::{Key, Lifetime, Timestamp, Value};

/// An open transaction.
pub(crate) struct Block {
    pub(crate) transaction: Transaction,
    /// Where it was begun, for messages.
    pub(crate) begun_at: String,
    /// The place and text of the first failure.
    poison: Option<(String, String)>,
    /// What each command has overwritten of the transaction's own writes, if that is noted.
    pub(crate) undo: Vec<Vec<Mark>>,
    notes: bool,
}

impl Block {
    /// `notes`: what commands do can be taken back.
    pub(crate) const fn new(transaction: Transaction, begun_at: String, notes: bool) -> Self {
        Self { transaction, begun_at, poison: None, undo: Vec::new(), notes }
    }

    /// Notes what a command is about to overwrite.
    pub(crate) fn note<'k>(&mut self, keys: impl Iterator<Item = &'k Key>) {
        if self.notes {
            self.undo.push(keys.map(|key| self.transaction.mark(key)).collect());
        }
    }

    /// Notes that a command failed inside the block.
    pub(crate) fn poison(&mut self, place: &str, message: &str) {
        self.poison.get_or_insert_with(|| (place.to_owned(), message.to_owned()));
    }

    /// The transaction, for its commit.
    pub(crate) fn into_healthy(self) -> Result<Transaction, Failure> {
        match self.poison {
            None => Ok(self.transaction),
            Some((place, message)) => Err(Failure::refused(
                format!("nothing was committed: a command of this transaction failed{place}: {message}"),
                "the transaction was rolled back; correct that command and run all of it again",
            )),
        }
    }
}

impl View for Block {
    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        self.transaction.get(key)
    }
}

impl Lasting for Block {
    fn find(&self, key: &[u8]) -> Result<Option<(Value, Lifetime)>> {
        self.transaction.find(key)
    }

    fn now(&self) -> Timestamp {
        self.transaction.now()
    }
}

impl Store for Block {
    fn apply(&mut self, changes: Vec<Change>) -> Result<()> {
        self.note(changes.iter().map(Change::key));
        self.transaction.apply(changes)
    }
}
