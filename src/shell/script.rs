//! Scripts: lines from a pipe, a file or memory, run in order, with commits that are shared where lines already wait.
//!
//! **Groups.** Every acknowledged command is durable, and a sync is by far the dearest part of a small write. The pipe is the
//! queue: what the writer has sent ahead needs no answer yet. So a command that writes opens a turn, and those that wait behind
//! it join it while all of this holds; then one commit makes them durable and their replies are written.
//!
//! 1. A group takes a line only if that does not block. Before the shell waits for input everything is committed and answered, so
//!    that a writer who waits for each answer gets it.
//! 2. A group ends at [`MAX_COMMANDS`], at [`MAX_TIME`] or at [`MAX_BYTES`] of values and replies, for others wait for the turn;
//!    at a command that walks over many records, which then runs on a snapshot without the turn; at `begin`, which has its own commit.
//!    With `--sync each`, and when commands are timed, it ends at once.
//! 3. Replies and errors keep the order of the lines, and are written as soon as the commit is done. No reply is written before the commit that it depends on; reads inside the group
//!    see the group's writes, so their replies wait too.
//! 4. When the commit fails, nothing of the group is applied: its replies are dropped, and one error names its lines.
//! 5. A group is opened by a write only. Reads before it go to the database directly.
//!
//! **Errors.** A script on standard input goes on after a bad line, and one that is read with `.read` stops; `.bail` changes
//! that. At the end one line says how many errors there were and where the first was.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::command::{Bail, Command};
use super::diagnostic::{Diagnostic, Origin};
use super::execute::{self, Kind};
use super::failure::Failure;
use super::files;
use super::input::{Lines, MAX_LINE_LEN, Next};
use super::parse;
use super::session::{Flow, Place, Session, Tally, Way};
use crate::engine::Turn;
use crate::error::Error;
use crate::types::SyncMode;

/// Commands that may share a commit.
const MAX_COMMANDS: usize = 1_000;

/// How long a group may hold the right to write before its commit.
const MAX_TIME: Duration = Duration::from_millis(4);

/// Bytes of values and replies in a group.
const MAX_BYTES: usize = 16 << 20;

/// How deep scripts may read scripts.
const MAX_DEPTH: usize = 16;

/// A script that is being run.
struct Script<'a> {
    session: &'a mut Session,
    name: &'a str,
    lines: Lines,
    /// Whether it ends at the first error when `.bail` leaves that open.
    stops_by_itself: bool,
    /// A command that ended a group, with its line still current.
    held: Option<Command>,
}

/// What was found where the next command was looked for.
enum Step {
    Command(Command),
    /// A blank line or a comment.
    Nothing,
    /// A line that is no command.
    Bad(Diagnostic),
    /// Nothing has come yet.
    Wait,
    End,
}

/// What happened in a group and is to be said once it is committed.
struct Event {
    /// Replies before it.
    output_len: usize,
    line: u64,
    source: Vec<u8>,
    failure: Failure,
}

impl Session {
    /// Runs a script from a descriptor that is standard input.
    pub(crate) fn run_stdin(&mut self, stdin: OwnedFd) -> Flow {
        let flow = Script::new(self, "stdin", Lines::from_fd(stdin), false).run();
        if !self.is_cut_short() {
            self.close_block();
        }
        self.summarize(&Tally::default());
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
        let lines = Lines::from_fd(files::open(path)?.into());
        let before = std::mem::take(&mut self.tally);
        self.depth += 1;
        let flow = Script::new(self, &path.display().to_string(), lines, true).run();
        self.depth -= 1;
        self.summarize(&before);
        Ok(flow)
    }

    /// Says how many errors there were since `before`, whose errors are counted in again.
    fn summarize(&mut self, before: &Tally) {
        let Tally { count, first } = self.tally.clone();
        if count > 0 && !self.is_cut_short() {
            let errors = if count == 1 { "error" } else { "errors" };
            self.note(&format!("{count} {errors}, the first{first}"));
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

    fn stops_at_errors(&self) -> bool {
        match self.session.settings.bail {
            Bail::On => true,
            Bail::Off => false,
            Bail::Auto => self.stops_by_itself,
        }
    }

    /// Answers what was asked so far, then waits for input.
    fn before_waiting(&mut self) -> Flow {
        if let Err(error) = self.session.output.flush() {
            return self.session.fail(&Failure::Output(error), Place::NONE);
        }
        match self.step(true) {
            Step::Wait | Step::End => Flow::Continue,
            step => self.take(step),
        }
    }

    /// Ends the script; at a prompt, the session goes on.
    fn interrupted(&mut self) -> Flow {
        self.session.fail(&Failure::Database(Error::Interrupted), Place::NONE);
        if self.session.way == Way::Prompt { Flow::Continue } else { Flow::Leave }
    }

    /// Looks for the next command.
    fn step(&mut self, may_block: bool) -> Step {
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
                let failure = Failure::Database(Error::io("read", self.name.as_ref(), error));
                self.report(&failure);
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
        match Kind::of(&command) {
            Kind::Write(verb) if self.session.block.is_none() && !self.session.settings.timer => {
                self.group(command, verb)
            }
            _ => {
                let place = Place { origin: Some(self.origin()), source: self.lines.text() };
                self.session.run(command, place)
            }
        }
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
        let db = match self.session.connection.writer() {
            Ok(db) => db,
            Err(error) => return self.report(&error.into()),
        };
        let turn = match db.turn(verb) {
            Ok(turn) => turn,
            Err(error) => return self.report(&error.into()),
        };
        let group = Group::begin(self);
        group.run(first, turn)
    }
}

/// Commands that share a turn and a commit.
struct Group<'s, 'a> {
    script: &'s mut Script<'a>,
    begun: Instant,
    /// Where its replies begin in the output.
    output_start: usize,
    first_line: u64,
    last_line: u64,
    commands: usize,
    value_bytes: usize,
    /// In the order of the lines.
    events: Vec<Event>,
}

impl<'s, 'a> Group<'s, 'a> {
    fn begin(script: &'s mut Script<'a>) -> Self {
        let line = script.lines.number();
        Self {
            begun: Instant::now(),
            output_start: script.session.output.len(),
            first_line: line,
            last_line: line,
            commands: 0,
            value_bytes: 0,
            events: Vec::new(),
            script,
        }
    }

    fn run(mut self, first: Command, mut turn: Box<dyn Turn + '_>) -> Flow {
        let mut next = Some(first);
        while let Some(command) = next {
            self.command(command, &mut turn);
            next = self.next();
        }
        let committed = turn.commit();
        self.settle(committed)
    }

    fn command(&mut self, command: Command, turn: &mut Box<dyn Turn + '_>) {
        self.commands += 1;
        self.last_line = self.script.lines.number();
        self.value_bytes += value_len(&command);
        let session = &mut *self.script.session;
        let out = &mut session.output.buffer;
        if let Err(error) = execute::read_or_write(command, turn, &mut session.renderer, out) {
            self.note(error.into());
        }
    }

    fn note(&mut self, failure: Failure) {
        self.events.push(Event {
            output_len: self.script.session.output.len(),
            line: self.script.lines.number(),
            source: match &failure {
                Failure::Line(_) => self.script.lines.text().to_vec(),
                _ => Vec::new(),
            },
            failure,
        });
    }

    /// The next command, if it is there and may join.
    fn next(&mut self) -> Option<Command> {
        while !self.is_full() {
            match self.script.step(false) {
                Step::Command(command) if Kind::of(&command) != Kind::Alone => return Some(command),
                Step::Command(command) => {
                    self.script.held = Some(command);
                    return None;
                }
                Step::Bad(diagnostic) => self.note(Failure::Line(diagnostic)),
                Step::Nothing => {}
                Step::Wait | Step::End => return None,
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        let session = &self.script.session;
        let reply_bytes = session.output.len() - self.output_start;
        self.commands >= MAX_COMMANDS
            || session.settings.sync == SyncMode::Each
            || self.value_bytes + reply_bytes >= MAX_BYTES
            || self.begun.elapsed() >= MAX_TIME
            || session.interrupt.is_raised()
            || (!self.events.is_empty() && self.script.stops_at_errors())
    }

    /// Writes what the group has to say, now that it is known whether it is durable.
    fn settle(self, committed: Result<(), Error>) -> Flow {
        let Self { script, output_start, first_line, last_line, events, .. } = self;
        let (session, name) = (&mut *script.session, script.name);
        let is_lost = committed.is_err();
        if is_lost {
            session.output.truncate(output_start);
        }
        let mut written = 0;
        for event in events {
            let before = if is_lost { output_start } else { event.output_len };
            if let Err(error) = session.output.flush_first(before - written) {
                return session.fail(&Failure::Output(error), Place::NONE);
            }
            written = before;
            let origin = Some(Origin { name, line: event.line });
            if session.fail_only(&event.failure, Place { origin, source: &event.source }) == Flow::Leave {
                return Flow::Leave;
            }
        }
        let place = Place { origin: Some(Origin { name, line: first_line }), source: b"" };
        let result = match committed {
            Ok(()) => session.output.flush().map_err(Failure::Output),
            Err(error) => Err(lost(error, first_line, last_line)),
        };
        session.settle(result.map(|()| Flow::Continue), place)
    }
}

/// The error of a commit that more than one command shared.
fn lost(error: Error, first_line: u64, last_line: u64) -> Failure {
    if first_line == last_line {
        return Failure::Database(error);
    }
    Failure::Refused {
        message: format!("{error}; nothing of lines {first_line} to {last_line} was applied"),
        help: error.help(),
        exit: super::exit::Exit::of(&error),
    }
}

fn value_len(command: &Command) -> usize {
    match command {
        Command::Set { value, .. } | Command::Append { value, .. } => value.len(),
        _ => 0,
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

#[cfg(test)]
mod tests;
