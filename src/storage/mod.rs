//! What is on disk, one structure per file, and every system call that touches it.
//!
//! The structures know nothing of each other and nothing of engines. A database directory holds
//!
//! ```text
//! MANIFEST        what the database consists of             manifest
//! nnnnnn.wal      a segment of the log                      wal
//! nnnnnn.base     entries that stand for older segments     wal
//! nnnnnn.sst      a sorted table                            sstable
//! TURN LOCK MAINT empty files that processes lock           lock
//! SHM             advisory notes between processes          shm
//! config.toml     settings, if the user wrote one
//! ```

pub(crate) mod codec;
pub mod fs;
pub(crate) mod lock;
pub(crate) mod manifest;
pub(crate) mod shm;
#[doc(hidden)]
pub mod sstable;
pub(crate) mod wal;

use crate::types::FileId;

/// Newest format of the files in a database directory that this build reads, and the one that it writes.
pub(crate) const FORMAT: u32 = 1;

/// The identity of one log file, which binds what is in it to its place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Life {
    /// The file's number.
    pub id: FileId,
    /// Drawn at random when the file was made.
    pub salt: u64,
}
