//! Scripts: lines from a pipe, a file or memory, run in order, with commits that are shared where lines already wait.
//!
//! Commands that write join a [group](super::group).
//!
//! **Errors.** A script on standard input goes on after a bad line, and one that is read with `.read` stops; `.bail` changes
//! that. At the end one line says how many errors there were and where the first was.

use std::os::fd::OwnedFd;
use std::path::Path;

use super::command::{Bail, Command};
use super::diagnostic::{Diagnostic, Origin};
use super::execute::Kind;
use super::failure::Failure;
use super::files::{self, Source};
use super::group::Group;
use super::input::{Lines, MAX_LINE_LEN, Next};
use super::parse;
use super::session::{Flow, Place, Session, Tally, Way};
use crate::error::Error;

/// How deep scripts may read scripts.
const MAX_DEPTH: usize = 16;

/// A script that is being run.
pub(super) struct Script<'a> {
    pub(super) session: &'a mut Session,
    pub(super) name: &'a str,
    pub(super) lines: Lines,
    /// Whether it ends at the first error when `.bail` leaves that open.
    stops_by_itself: bool,
    /// A command that ended a group, with its line still current.
    pub(super) held: Option<Command>,
}

/// What was found where the next command was looked for.
pub(super) enum Step {
    Command(Command),
    /// A blank line or a comment.
    Nothing,
    /// A line that is no command.
    Bad(Diagnostic),
    /// Nothing has come yet.
    Wait,
    End,
}

impl Session {
    /// Runs a script from a descriptor that is standard input.
    pub(crate) fn run_stdin(&mut self, stdin: OwnedFd) -> Flow {
        let flow = Script::new(self, "stdin", Lines::from_fd(stdin), false).run();
        if !self.is_cut_short() {
            self.close_block();
        }
        self.summarize(&Tally::default(), true);
        flow
    }

    /// Runs the text of one `-c`.
    pub(crate) fn run_text(&mut self, name: &str, text: Vec<u8>) -> Flow {
        Script::new(self, name, Lines::from_bytes(text), false).run()
    }

    /// Runs `.read FILE`. Its errors are reported at their own lines; the command itself can fail only to begin.
    pub(crate) fn read_script(&mut self, path: &Path) -> Result<Flow, Failure> {
        if self.depth == MAX_DEPTH {
            let help = "does a script read itself?";
            return Err(Failure::refused(format!("scripts are nested {MAX_DEPTH} deep"), help));
        }
        let Source { name, descriptor, .. } = self.source(path)?;
        let before = std::mem::take(&mut self.tally);
        self.depth += 1;
        let flow = Script::new(self, &name, Lines::from_fd(descriptor), true).run();
        self.depth -= 1;
        self.summarize(&before, self.depth == 0 && self.way != Way::Script);
        Ok(flow)
    }

    /// Counts the errors `before` in again. Behind the outermost script it says first how many there were since.
    fn summarize(&mut self, before: &Tally, is_outermost: bool) {
        let Tally { count, first } = self.tally.clone();
        if is_outermost && count > 0 && !self.is_cut_short() {
            let errors = if count == 1 { "error" } else { "errors" };
            let first = if first.is_empty() { first } else { format!(", the first{first}") };
            self.note(&format!("{count} {errors}{first}"));
        }
        if before.count > 0 {
            self.tally = Tally { count: before.count + count, first: before.first.clone() };
        }
    }

    fn is_cut_short(&self) -> bool {
        self.exit() >= super::exit::Exit::INTERRUPTED
    }
}

impl<'a> Script<'a> {
    fn new(session: &'a mut Session, name: &'a str, lines: Lines, stops_by_itself: bool) -> Self {
        Self { session, name, lines, stops_by_itself, held: None }
    }

    fn run(&mut self) -> Flow {
        loop {
            let errors = self.session.tally.count;
            let flow = match self.step(false) {
                Step::Wait => self.before_waiting(),
                Step::End => return Flow::Continue,
                step => self.take(step),
            };
            if flow == Flow::Leave {
                return Flow::Leave;
            }
            if self.session.interrupt.is_raised() {
                return self.interrupted();
            }
            if self.session.tally.count > errors && self.stops_at_errors() {
                return Flow::Continue;
            }
        }
    }

    pub(super) fn stops_at_errors(&self) -> bool {
        match self.session.settings.bail {
            Bail::On => true,
            Bail::Off => false,
            Bail::Auto => self.stops_by_itself,
        }
    }

    /// Answers what was asked so far, then waits for input.
    fn before_waiting(&mut self) -> Flow {
        if let Err(failure) = self.session.output.flush()
            && self.session.fail(&failure, Place::NONE) == Flow::Leave
        {
            return Flow::Leave;
        }
        match self.step(true) {
            Step::Wait | Step::End => Flow::Continue,
            step => self.take(step),
        }
    }

    /// Ends the script; at a prompt, the session goes on, and is told how far the script came.
    fn interrupted(&mut self) -> Flow {
        let at = format!("{}:{}", self.name, self.lines.number());
        let stopped = match self.session.stopped.take() {
            Some(left) if left.is_empty() => format!("stopped at {at}"),
            Some(left) => format!("stopped at {at}: {left}"),
            None if self.lines.text().is_empty() => String::new(),
            None => format!("stopped behind {at}"),
        };
        self.session.fail(&Failure::Database(Error::Interrupted), Place::NONE);
        self.session.stopped = Some(stopped);
        if self.session.way == Way::Prompt { Flow::Continue } else { Flow::Leave }
    }

    /// Looks for the next command.
    pub(super) fn step(&mut self, may_block: bool) -> Step {
        if let Some(command) = self.held.take() {
            return Step::Command(command);
        }
        match self.lines.next(may_block, &self.session.interrupt) {
            Ok(Next::Line) => match parse::line(self.lines.text()) {
                Ok(Some(command)) => Step::Command(command),
                Ok(None) => Step::Nothing,
                Err(diagnostic) => Step::Bad(diagnostic),
            },
            Ok(Next::TooLong) => Step::Bad(too_long()),
            Ok(Next::Wait) => Step::Wait,
            Ok(Next::End) => Step::End,
            Err(error) => {
                self.report(&files::failed("read", self.name.as_ref())(error));
                Step::End
            }
        }
    }

    fn take(&mut self, step: Step) -> Flow {
        match step {
            Step::Command(command) => self.command(command),
            Step::Bad(diagnostic) => self.report(&Failure::Line(diagnostic)),
            Step::Nothing | Step::Wait | Step::End => Flow::Continue,
        }
    }

    fn command(&mut self, command: Command) -> Flow {
        self.session.echo(self.lines.text());
        match Kind::of(&command) {
            Kind::Write(verb) if self.may_share_a_commit() => self.group(command, verb),
            _ => {
                let place = Place { origin: Some(self.origin()), source: self.lines.text() };
                let flow = self.session.run(command, place);
                self.show_to_a_person(flow)
            }
        }
    }

    /// Whether the current command may, if it writes.
    fn may_share_a_commit(&self) -> bool {
        let Session { block, settings, output, .. } = &*self.session;
        block.is_none() && !settings.timer && !output.is_for_one_command()
    }

    /// At a prompt each answer is shown when it is there; what cannot be shown is an error of the run.
    fn show_to_a_person(&mut self, flow: Flow) -> Flow {
        let shown = if self.session.way == Way::Prompt { self.session.output.flush() } else { Ok(()) };
        shown.map_or_else(|failure| self.session.fail(&failure, Place::NONE), |()| flow)
    }

    fn origin(&self) -> Origin<'a> {
        Origin { name: self.name, line: self.lines.number() }
    }

    fn report(&mut self, failure: &Failure) -> Flow {
        let place = Place { origin: Some(self.origin()), source: self.lines.text() };
        self.session.fail(failure, place)
    }

    /// Runs a command that writes, and those behind it that may share its commit.
    fn group(&mut self, first: Command, verb: &'static str) -> Flow {
        let db = match self.session.writer_for(&first) {
            Ok(db) => db,
            Err(error) => return self.report(&error.into()),
        };
        let turn = match db.turn(verb) {
            Ok(turn) => turn,
            Err(error) => return self.report(&error.into()),
        };
        self.session.look_where_results_go();
        self.session.connection.past.forget("what a script does, and what came before, can't be taken back");
        let group = Group::begin(self);
        group.run(first, turn)
    }
}

fn too_long() -> Diagnostic {
    Diagnostic {
        message: format!("a line of more than {MAX_LINE_LEN} bytes"),
        span: 0..0,
        label: "begins here, the rest of it is skipped".into(),
        help: Some("is a quote left open?".into()),
    }
}
