//! Commands of a script that share a commit.
//!
//! Every acknowledged command is durable, and a sync is by far the dearest part of a small write. The pipe is the queue:
//! what the writer has sent ahead needs no answer yet. So a command that writes opens a turn, and those that wait
//! behind it join it while all of this holds; then one commit makes them durable and their replies are written.
//!
//! 1. A group takes a line only if that does not block. Before the shell waits for input everything is committed and
//!    answered, so that a writer who waits for each answer gets it.
//! 2. A group ends at [`MAX_COMMANDS`], at [`MAX_TIME`] or at [`MAX_BYTES`] of values and replies, for others wait for
//!    the turn; at a command that walks over many records, which then runs on a snapshot without the turn; at `begin`,
//!    which has its own commit. With `--sync each`, and when commands are timed, it ends at once.
//! 3. Replies and errors keep the order of the lines, and are written as soon as the commit is done, none before. Reads
//!    inside the group see the group's writes, so their replies wait too.
//! 4. When the commit fails, nothing of the group is applied: its replies are dropped, and one error names its lines.
//! 5. A group is opened by a write only. Reads before it go to the database directly.

use std::time::{Duration, Instant};

use super::command::Command;
use super::diagnostic::Origin;
use super::execute::{self, Kind};
use super::exit::Exit;
use super::failure::Failure;
use super::script::{Script, Step};
use super::session::{Flow, Place};
use crate::engine::Turn;
use crate::error::Error;
use crate::types::SyncMode;

/// Commands that may share a commit.
const MAX_COMMANDS: usize = 1_000;

/// How long a group may hold the right to write before its commit.
#[cfg(not(test))]
const MAX_TIME: Duration = Duration::from_millis(4);

/// Where groups end must not depend on how busy the machine is that tests run on.
#[cfg(test)]
const MAX_TIME: Duration = Duration::from_hours(24);

/// Bytes of values and replies in a group.
const MAX_BYTES: usize = 16 << 20;

/// What happened in a group and is to be said once it is committed.
struct Event {
    /// Replies before it.
    output_len: usize,
    line: u64,
    source: Vec<u8>,
    failure: Failure,
}

/// Commands that share a turn and a commit.
pub(super) struct Group<'s, 'a> {
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
    /// Begins a group at the current line.
    pub(super) fn begin(script: &'s mut Script<'a>) -> Self {
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

    /// Runs the command of the current line and those that may join it, commits, and says what they answered.
    pub(super) fn run(mut self, first: Command, mut turn: Box<dyn Turn + '_>) -> Flow {
        let mut next = Some(first);
        while let Some(command) = next {
            self.command(command, &mut turn);
            next = self.next();
        }
        let committed = turn.commit();
        self.settle(committed)
    }

    fn command(&mut self, command: Command, turn: &mut Box<dyn Turn + '_>) {
        if self.commands > 0 {
            self.script.session.echo(self.script.lines.text());
        }
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
            if let Err(failure) = session.output.flush_first(before - written)
                && session.fail(&failure, Place::NONE) == Flow::Leave
            {
                return Flow::Leave;
            }
            written = before;
            let origin = Some(Origin { name, line: event.line });
            if session.fail_only(&event.failure, Place { origin, source: &event.source }) == Flow::Leave {
                return Flow::Leave;
            }
        }
        let place = Place { origin: Some(Origin { name, line: first_line }), source: b"" };
        let result = match committed {
            Ok(()) => session.output.flush(),
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
    let outcome = if error.is_undecided() { "may be applied" } else { "was applied" };
    let amount = if error.is_undecided() { "all, some or nothing" } else { "nothing" };
    Failure::Refused {
        message: format!("{error}; {amount} of lines {first_line} to {last_line} {outcome}"),
        help: error.help(),
        exit: Exit::of(&error),
    }
}

fn value_len(command: &Command) -> usize {
    match command {
        Command::Set { value, .. } | Command::Append { value, .. } => value.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
