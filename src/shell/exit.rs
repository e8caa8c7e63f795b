//! The exit codes, which are part of the interface: a script decides by them what happened.
//!
//! The highest code seen in a run is the one it ends with, so a worse fault is never hidden by a later, lesser one.

use crate::error::{Error, ErrorKind};

/// An exit code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit(pub u8);

impl Exit {
    /// Done.
    pub const DONE: Self = Self(0);
    /// The answer of a one-shot is no: a key that is not there, or a transaction that lost against another.
    pub const NEGATIVE: Self = Self(1);
    /// The request is at fault: usage, syntax, a value that is not allowed, a transaction left open.
    pub const USAGE: Self = Self(2);
    /// The database can't be opened, written, or locked in time.
    pub const UNAVAILABLE: Self = Self(3);
    /// Bytes are not what was written: in the database, or in a dump.
    pub const CORRUPTION: Self = Self(4);
    /// The operating system refused: disk full, output not writable, a named file not usable.
    pub const IO: Self = Self(5);
    /// Stopped by Ctrl-C.
    pub const INTERRUPTED: Self = Self(130);
    /// Nobody reads the output any more.
    pub const CLOSED_PIPE: Self = Self(141);
    /// Stopped by a termination request.
    pub const TERMINATED: Self = Self(143);

    /// The code that stands for an error of the database.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Invalid => Self::USAGE,
            ErrorKind::Conflict => Self::NEGATIVE,
            ErrorKind::Unavailable | ErrorKind::Busy => Self::UNAVAILABLE,
            ErrorKind::Corruption => Self::CORRUPTION,
            ErrorKind::Io => Self::IO,
            ErrorKind::Interrupted => Self::INTERRUPTED,
        }
    }
}

/// What the codes mean in general, for help and the manual page.
pub const MEANINGS: &[(u8, &str)] = &[
    (0, "done"),
    (1, "the answer is no: a key is missing, a condition failed, a transaction lost"),
    (2, "usage or syntax; a script with a bad line"),
    (3, "the database can't be opened, is locked for too long, or is read-only"),
    (4, "corruption, of the database or of a dump"),
    (5, "input or output: disk full, a file that can't be used"),
    (130, "stopped by Ctrl-C"),
    (141, "nobody reads the output any more"),
    (143, "stopped by a termination request"),
];

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}
