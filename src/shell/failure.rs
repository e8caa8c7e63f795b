//! Why a command did not do what it says, with the exit code that it stands for and the text that is shown.

use std::io;

use super::diagnostic::Diagnostic;
use super::exit::Exit;
use super::literal::brief;
use crate::error::{Error, ErrorKind};

/// Bytes of a key that a message shows.
const MAX_SHOWN_KEY: usize = 200;

/// A command that failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The line is no command.
    Line(Diagnostic),
    /// The database refused.
    Database(Error),
    /// A file that the user named can't be used.
    File(Error),
    /// The shell refused: the command does not fit the situation.
    Refused {
        /// What is wrong.
        message: String,
        /// What to do.
        help: Option<String>,
        /// What it stands for.
        exit: Exit,
    },
    /// Standard output can't be written. Nothing more can be said there.
    Output(io::Error),
    /// The user has left the pager: what follows is not wanted.
    PagerLeft,
}

impl Failure {
    /// A refusal of the kind "usage".
    pub(crate) fn refused(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { message: message.into(), help: Some(help.into()), exit: Exit::USAGE }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Line(_) => Exit::USAGE,
            Self::Database(error) => Exit::of(error),
            Self::Refused { exit, .. } => *exit,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::CLOSED_PIPE,
            Self::File(_) | Self::Output(_) => Exit::IO,
            Self::PagerLeft => Exit::DONE,
        }
    }

    /// Whether the run ends here, whatever `.bail` says. An interrupted command does not end a prompt.
    pub(crate) fn ends_the_run(&self, is_prompt: bool) -> bool {
        match self {
            Self::Output(_) => true,
            Self::Database(Error::Interrupted) => !is_prompt,
            _ => false,
        }
    }

    /// Whether the exit code says everything.
    pub(crate) fn is_silent(&self) -> bool {
        matches!(self.exit(), Exit::DONE | Exit::CLOSED_PIPE | Exit::INTERRUPTED)
    }

    /// The kind of error, as JSON names it.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.exit(), self) {
            (_, Self::Database(error)) if error.kind() == ErrorKind::Busy => "busy",
            (Exit::NEGATIVE, _) => "conflict",
            (Exit::UNAVAILABLE, _) => "unavailable",
            (Exit::CORRUPTION, _) => "corruption",
            (Exit::IO, _) => "io",
            _ => "invalid",
        }
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Line(diagnostic) => diagnostic.message.clone(),
            Self::Database(Error::Conflict { key }) => {
                format!("conflict: another transaction changed key {} first", brief(key, MAX_SHOWN_KEY))
            }
            Self::Database(error) | Self::File(error) => error.to_string(),
            Self::Refused { message, .. } => message.clone(),
            Self::Output(error) => format!("cannot write to standard output: {error}"),
            Self::PagerLeft => "the pager was left".to_owned(),
        }
    }

    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Line(diagnostic) => diagnostic.help.clone(),
            Self::Database(error) | Self::File(error) => error.help(),
            Self::Refused { help, .. } => help.clone(),
            Self::Output(_) | Self::PagerLeft => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Line(diagnostic)
    }
}
