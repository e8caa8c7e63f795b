//! The three ways into the shell, as one function.

use std::cell::RefCell;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::AsFd;

use super::command::{Bail, Command};
use super::diagnostic::Diagnostic;
use super::exit::Exit;
use super::failure::Failure;
use super::files;
use super::interrupt::Interrupt;
use super::parse::{self, ValueSource};
use super::repl;
use super::session::{Flow, Place, Session, Way};
use super::table::{self, Verb};
use crate::config::Settings;
use crate::types::MAX_VALUE_LEN;

pub use super::session::{Stream, Streams};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// One command: its verb and arguments, each as the bytes that the system passed.
    Command(Vec<Vec<u8>>),
    /// Lines of the language, one after the other.
    Lines(Vec<Vec<u8>>),
    /// A script on standard input.
    Script,
    /// A prompt.
    Session,
}

impl Run {
    /// Whether it is more than a text about kvdb itself, which is to be had whatever is wrong with the settings.
    #[must_use]
    pub fn needs_settings(&self) -> bool {
        let Self::Command(args) = self else { return true };
        let verb = args.first().and_then(|name| table::find_one_shot(name)).map(|spec| spec.verb);
        !matches!(verb, Some(Verb::Help | Verb::Version | Verb::Completions | Verb::Man | Verb::Config))
    }
}

/// Runs the shell and tells what the process should exit with. To be called once, at the end of a process: what the
/// database holds in memory is left to the system, for to give it back record by record takes longer than most commands.
///
/// # Errors
/// The process can't be set up: no signal handler, no standard input.
pub fn run(run: Run, settings: Settings, streams: Streams) -> io::Result<Exit> {
    let (way, interrupt) = match run {
        Run::Command(_) | Run::Lines(_) => (Way::OneShot, Interrupt::for_run()?),
        Run::Script => (Way::Script, Interrupt::for_run()?),
        Run::Session => (Way::Prompt, Interrupt::for_prompt()?),
    };
    let mut session = ManuallyDrop::new(Session::new(settings, way, streams, interrupt));
    match run {
        Run::Command(args) => {
            session.connection.expect_one_command();
            command(&mut session, &args);
        }
        Run::Lines(lines) => self::lines(&mut session, lines),
        Run::Script => {
            session.run_stdin(io::stdin().as_fd().try_clone_to_owned()?);
        }
        Run::Session => repl::run(&mut session),
    }
    Ok(session.finish())
}

/// One command, as the system passes its words.
pub(super) fn command(session: &mut Session, args: &[Vec<u8>]) {
    let read_failure = RefCell::new(None);
    let interrupt = &session.interrupt;
    let mut read_value =
        |source| read_value(source, interrupt).map_err(|failure| unread(failure, &read_failure));
    let parsed = parse::argv(args, &mut read_value);
    let source = parse::command_line(args);
    let place = Place { origin: None, source: &source };
    match (parsed, read_failure.take()) {
        (Ok(Command::Output { .. }), _) => {
            let help = "to write the results of a command to a file: kvdb COMMAND > FILE";
            session.fail(&Failure::refused("a single command leaves no results for a file", help), place);
        }
        (Ok(command), _) => {
            session.run(command, place);
        }
        (Err(_), Some(failure)) => {
            session.fail(&failure, place);
        }
        (Err(diagnostic), None) => {
            session.fail(&Failure::Line(diagnostic), place);
        }
    }
}

fn lines(session: &mut Session, lines: Vec<Vec<u8>>) {
    let is_only = lines.len() == 1;
    for (index, line) in lines.into_iter().enumerate() {
        let name = if is_only { "-c".to_owned() } else { format!("-c #{}", index + 1) };
        let is_over = session.run_text(&name, line) == Flow::Leave;
        if is_over || (session.settings.bail == Bail::On && session.tally.count > 0) {
            return;
        }
    }
}

/// The value of a one-shot that is not among its arguments.
fn read_value(source: ValueSource, interrupt: &Interrupt) -> Result<Vec<u8>, Failure> {
    match source {
        ValueSource::Stdin => files::read_stdin_up_to(MAX_VALUE_LEN, interrupt),
        ValueSource::File(path) => files::read_up_to(&path, MAX_VALUE_LEN, interrupt),
    }
}

/// Keeps the failure of a value that could not be read, which says more than the parser could.
fn unread(failure: Failure, kept: &RefCell<Option<Failure>>) -> Diagnostic {
    let message = failure.message();
    kept.replace(Some(failure));
    Diagnostic { message, span: 0..0, label: String::new(), help: None }
}
