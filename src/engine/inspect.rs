//! Walking over all files of a database as they are on disk, damaged or not, without ever writing to one.
//!
//! ```text
//!                   ┌─ tables ─► records, faults ──┐
//!  directory ─► look ├─ base ──► entries, faults ──┼─► a Sink: check counts, repair keeps
//!                   └─ log ───► changes, faults ───┘
//! ```
//!
//! 1. Nothing is written: no file, no note in `SHM`, and locks are held on files that are open for reading.
//! 2. What is read is consistent while others write: tables and bases never change once the manifest names them; the log is read
//!    up to where it ends at a moment at which `LOCK` is held, shared. Whoever finds a file gone begins anew, if the manifest is
//!    another one by now.
//! 3. A fault does not end the walk. What lies behind it is found again by what verifies there.

mod base;
mod gate;
mod log;
mod look;
mod segments;

pub(super) use gate::Gate;
pub(super) use look::{Listed, Look};

use crate::error::{Error, Fault, Result};
use crate::storage::Place;
use crate::types::{Lsn, Op};

/// What is said of a flipped bit that was set right.
pub(super) const MENDED: &str = "a flipped bit was set right";

/// Whether what was written is lost with a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing that anybody wrote.
    Nothing,
    /// Records, those of the fault.
    Records,
}

/// What takes in what a walk finds.
pub(super) trait Sink {
    /// Something is wrong.
    fn fault(&mut self, fault: Fault, loss: Loss);

    /// A change that the log holds, or an entry of the base, in the order in which they were written; entries of a base in no
    /// order.
    fn change(&mut self, lsn: Lsn, op: Op);

    /// A record of the log was read.
    fn log_record(&mut self);

    /// Something is to be told that is no fault.
    fn notice(&mut self, notice: crate::error::Notice);

    /// Told of so many records more; says whether to go on.
    fn go_on(&mut self, records: u64) -> bool;

    /// An error when the walk is to stop.
    fn check(&mut self, records: u64) -> Result<()> {
        if self.go_on(records) { Ok(()) } else { Err(Error::Interrupted) }
    }
}

/// How a walk over the log or a base ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Walked {
    /// At this batch.
    Done(Lsn),
    /// A file is gone because the manifest is another one by now: everything begins anew.
    Anew,
}

/// Reads the base and the log of what is looked at.
///
/// # Errors
/// `Interrupted`, `Busy`, I/O.
pub(super) fn walk_changes(place: &Place, gate: &Gate, look: &Look, sink: &mut dyn Sink) -> Result<Walked> {
    if let Some(base) = &look.base {
        base::walk(place, base, look.mends, sink)?;
    }
    log::walk(place, gate, look, sink)
}
