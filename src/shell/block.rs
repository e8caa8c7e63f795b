//! `begin … commit`: an open transaction and what has become of it.
//!
//! 1. Reads inside see one snapshot plus the block's own writes.
//! 2. The first failed command, a line that is no command included, poisons the block: from then on nothing it does can be
//!    committed, and `commit` refuses with the place of that failure. `rollback` leaves in any case.
//! 3. A block that is left open at the end of a script or session is rolled back.

use super::failure::Failure;
use crate::transaction::Transaction;

/// An open transaction.
pub(crate) struct Block {
    pub(crate) transaction: Transaction,
    /// Where it was begun, for messages.
    pub(crate) begun_at: String,
    /// The place and text of the first failure.
    poison: Option<(String, String)>,
}

impl Block {
    pub(crate) const fn new(transaction: Transaction, begun_at: String) -> Self {
        Self { transaction, begun_at, poison: None }
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
