//! What can go wrong, said so that a reader knows what happened, where, and what to do.
//!
//! [`ErrorKind`] is the short list to branch on; the variants of [`Error`] carry the details. Text is made once, here.

mod fault;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::types::{Key, Lsn, MAX_KEY_LEN, MAX_VALUE_LEN, TooLate};

pub use fault::Fault;
pub(crate) use fault::{key_text, keys_text};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What was attempted when a commit failed on its way to the device: whether it got there is not known.
pub(crate) const WRITE_LOG: &str = "write to the log in";
pub(crate) const SYNC_LOG: &str = "sync the log in";

/// What a caller may want to branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is at fault: a key too long, a value that is no number.
    Invalid,
    /// A transaction lost against one that committed first.
    Conflict,
    /// The database is missing, is none, or can't be opened or written by this process.
    Unavailable,
    /// Another process held a lock longer than the lock timeout.
    Busy,
    /// Bytes on disk are not what was written.
    Corruption,
    /// The operating system refused: disk full, I/O error, no permission on a file.
    Io,
    /// The caller asked to stop.
    Interrupted,
}

/// Who holds a lock, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// The command it runs (its verb only, never keys or values).
    pub command: String,
    /// How long it has held the lock.
    pub age: Duration,
}

/// An error of the database.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no database, and the operation does not create one.
    #[error("no database at {}", whole_path(dir).display())]
    NoDatabase {
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A directory is there but holds something else.
    #[error("{} is not a kvdb database: {reason}", dir.display())]
    NotADatabase {
        /// The directory.
        dir: PathBuf,
        /// What is missing or strange about it.
        reason: String,
    },
    /// A database can't be made where it is wanted: there is no directory that it could be in.
    #[error("cannot create {}: its parent directory does not exist", dir.display())]
    NoParent {
        /// The directory that was wanted.
        dir: PathBuf,
    },
    /// A backup can't be made where it is wanted.
    #[error("cannot back up to {}: {reason}", dir.display())]
    BackupTarget {
        /// The directory.
        dir: PathBuf,
        /// What is in the way.
        reason: String,
    },
    /// The database was written by a build whose format this one does not know.
    #[error("{} has format {found}, this kvdb reads formats up to {supported}", file.display())]
    Format {
        /// The file with the format number.
        file: PathBuf,
        /// The number found.
        found: u32,
        /// The newest format this build knows.
        supported: u32,
    },
    /// A write was asked of a database that is open for reading only.
    #[error("{} is open read-only: {reason}", dir.display())]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
        /// Why it is read-only.
        reason: String,
    },
    /// A lock was not free within the lock timeout.
    #[error("{}", busy_text(lock, *waited, holder.as_ref()))]
    Busy {
        /// The lock's file name.
        lock: &'static str,
        /// How long was waited.
        waited: Duration,
        /// Who has it, if known.
        holder: Option<Holder>,
    },
    /// Bytes on disk are not what was written.
    #[error("corruption in {} at offset {offset}: {what}", file.display())]
    Corruption {
        /// The file.
        file: PathBuf,
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong and which writes it concerns.
        what: String,
    },
    /// A system call failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted: `open`, `sync`, …
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The directory of an open database was removed, renamed or replaced.
    #[error("the database at {} was removed, renamed or replaced while it was open", dir.display())]
    Replaced {
        /// The directory.
        dir: PathBuf,
    },
    /// An earlier write or sync of this handle failed, so what is on the device is unknown to it.
    #[error("the database handle stopped after a failed write: {cause}")]
    Poisoned {
        /// The failure, as it was reported.
        cause: String,
    },
    /// Another transaction changed a key after this one began.
    #[error("conflict: another transaction changed key {key:?} first")]
    Conflict {
        /// The key.
        key: Key,
    },
    /// A key is longer than [`MAX_KEY_LEN`].
    #[error("key of {len} bytes is too long: at most {MAX_KEY_LEN}")]
    KeyTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A value is longer than [`MAX_VALUE_LEN`].
    #[error("value of {len} bytes is too long: at most {MAX_VALUE_LEN}")]
    ValueTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// Something would expire behind the year 9999.
    #[error("the value would expire after the year 9999")]
    ExpiresTooLate,
    /// A batch is too large for one record of the log (4 GiB).
    #[error("batch of {len} bytes is too large: at most {} bytes are applied as one", u32::MAX)]
    BatchTooLarge {
        /// Its length in the log, in bytes.
        len: u64,
    },
    /// An arithmetic command met a value that is not a decimal 64-bit integer, or left its range.
    #[error("{0}")]
    NotANumber(String),
    /// A setting has a value that is not allowed.
    #[error("{0}")]
    Setting(String),
    /// The caller's interrupt flag was raised.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The kind to branch on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NoDatabase { .. }
            | Self::NotADatabase { .. }
            | Self::NoParent { .. }
            | Self::BackupTarget { .. }
            | Self::Format { .. }
            | Self::ReadOnly { .. } => ErrorKind::Unavailable,
            Self::Busy { .. } => ErrorKind::Busy,
            Self::Corruption { .. } => ErrorKind::Corruption,
            Self::Io { source, .. } if is_refusal(source) => ErrorKind::Unavailable,
            Self::Io { .. } | Self::Replaced { .. } | Self::Poisoned { .. } => ErrorKind::Io,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::KeyTooLong { .. }
            | Self::ValueTooLong { .. }
            | Self::ExpiresTooLate
            | Self::BatchTooLarge { .. }
            | Self::NotANumber(_)
            | Self::Setting(_) => ErrorKind::Invalid,
            Self::Interrupted => ErrorKind::Interrupted,
        }
    }

    /// What the user can do about it, if there is something to say.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::NoDatabase { .. } => {
                "a write creates it: kvdb set KEY VALUE; to look elsewhere use --db DIR or KVDB_DIR".into()
            }
            Self::NotADatabase { .. } => {
                "use --db DIR with a database, or with a new or empty directory".into()
            }
            Self::NoParent { dir } => {
                format!("create it first: mkdir -p {}", shell_word(dir.parent().unwrap_or(dir)))
            }
            Self::BackupTarget { .. } => {
                "nothing was changed there; name a directory that is new or empty, or an older backup of this database"
                    .into()
            }
            Self::Format { .. } => "open it with the kvdb that wrote it, or a newer one".into(),
            Self::Busy { .. } => {
                "wait longer with --lock-timeout SECONDS, or end the process that holds it".into()
            }
            Self::Corruption { file, .. } => {
                let dir = shell_word(file.parent().unwrap_or(Path::new(".")));
                format!(
                    "kvdb --db {dir} check tells all that is wrong, kvdb --db {dir} repair saves the rest"
                )
            }
            Self::Replaced { .. } => {
                "nothing was written; start kvdb again, or .open it again, to go on with what is there now".into()
            }
            Self::Poisoned { .. } => {
                "everything acknowledged before is kept; start kvdb again, it reads back what the device has"
                    .into()
            }
            _ if self.is_undecided() => {
                "this process writes no more; start kvdb again: everything acknowledged before is kept, and it finds out \
                 whether this write is on the device"
                    .into()
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some space and repeat the command; everything acknowledged before is kept".into()
            }
            Self::ExpiresTooLate => "to keep it for good, set it without --ttl, or persist KEY".into(),
            Self::Conflict { .. } => "nothing of this transaction was applied; begin it again".into(),
            _ => return None,
        })
    }

    /// Whether the write that failed may be found later: the device was asked to keep it and did not say that it does.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        matches!(self, Self::Io { action, .. } if [WRITE_LOG, SYNC_LOG].contains(action))
    }

    /// Wraps the error of a system call.
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.downcast() {
            Ok(Displaced { dir }) => Self::Replaced { dir },
            Err(source) => Self::Io { action, path: path.to_owned(), source },
        }
    }

    /// Reports damaged bytes.
    pub(crate) fn corruption(file: &Path, offset: u64, what: impl Into<String>) -> Self {
        Self::Corruption { file: file.to_owned(), offset, what: what.into() }
    }
}

/// What a call that goes by path fails with when another directory is there than was opened, or none.
#[derive(Debug, thiserror::Error)]
#[error("the directory {} was removed, renamed or replaced", dir.display())]
pub(crate) struct Displaced {
    pub(crate) dir: PathBuf,
}

impl From<TooLate> for Error {
    fn from(_: TooLate) -> Self {
        Self::ExpiresTooLate
    }
}

/// The path from the root, for a reader who may not know the working directory.
fn whole_path(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A path as a shell takes it.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+:@,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// Whether the device failed.
pub(crate) fn is_of_the_device(error: &Error) -> bool {
    let failed = Some(rustix::io::Errno::IO.raw_os_error());
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == failed)
}

/// Whether the operating system denies access, rather than failing to do its work.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

fn busy_text(lock: &str, waited: Duration, holder: Option<&Holder>) -> String {
    let waited = waited.as_secs_f64();
    match holder {
        Some(Holder { pid, command, age }) => {
            format!(
                "waited {waited:.1} s for {lock}: held by process {pid} ({command}) for {:.1} s",
                age.as_secs_f64()
            )
        }
        None => format!("waited {waited:.1} s for {lock}: held by an unknown process"),
    }
}

/// Something the user should be told once, that is not an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The log ended in a write that was never acknowledged; it was left out.
    TornTail {
        /// The log segment.
        file: PathBuf,
        /// Where the incomplete write begins, in bytes.
        offset: u64,
        /// The LSN that it would have had.
        lsn: Lsn,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TornTail { file, offset, lsn } => write!(
                f,
                "an incomplete write (LSN {lsn}, at offset {offset} of {}) was never acknowledged and was dropped",
                file.display()
            ),
        }
    }
}
