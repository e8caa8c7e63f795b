//! A run of the shell: its settings, its database, an open transaction, its two output streams, and what it will exit with.
//!
//! The three ways in (one command, a script, a prompt) all run commands through [`Session::run`]; only scripts add groups
//! of commands that share a commit, in [`script`](super::script).
//!
//! 1. A reply is written after its command is durable. Replies are buffered; before an error is written they are flushed,
//!    so that on a terminal both streams read in the order of the commands.
//! 2. An error is reported once, with its place, on standard error; it sets the exit code and poisons an open block.
//! 3. A failed write to standard output ends the run.

use std::io::Write;
use std::time::Instant;

use super::block::Block;
use super::command::Command;
use super::connection::Connection;
use super::diagnostic::Origin;
use super::execute::{self, Answer, Kind};
use super::exit::Exit;
use super::failure::Failure;
use super::history::History;
use super::interrupt::{self, Interrupt};
use super::look::Look;
use super::output::Output;
use super::pager::{self, Pager};
use super::render::{Quantity, Renderer};
use super::tutorial::Tutorial;
use super::undo::Noting;
use super::walk::{self, Walk};
use crate::config::{Paging, Settings};
use crate::db::{Db, Snapshot};
use crate::error::Error;
use crate::transaction::Transaction;
use crate::types::Key;

/// What comes after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flow {
    /// The next one.
    Continue,
    /// The end: `exit`, or a failure that ends the run.
    Leave,
}

/// Which of the ways in a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Commands from the command line: a negative answer is an exit code.
    OneShot,
    /// Commands from a pipe or file.
    Script,
    /// Commands from a person.
    Prompt,
}

/// Where a command stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The script and the line in it; not at the prompt.
    pub(crate) origin: Option<Origin<'a>>,
    /// The text of the line, for errors in it.
    pub(crate) source: &'a [u8],
}

impl Place<'_> {
    /// The place of a command that was not typed as a line.
    pub(crate) const NONE: Self = Self { origin: None, source: b"" };

    /// ` at name:line` or nothing.
    pub(crate) fn text(&self) -> String {
        self.origin.map_or_else(String::new, |origin| format!(" at {}:{}", origin.name, origin.line))
    }
}

/// How many errors were reported, and where the first was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) count: u64,
    pub(crate) first: String,
}

impl Tally {
    /// Counts an error.
    pub(crate) fn add(&mut self, place: Place<'_>) {
        if self.count == 0 {
            self.first = place.text();
        }
        self.count += 1;
    }
}

/// An output stream of a run, as the process found it.
pub struct Stream {
    /// Where it goes.
    pub sink: Box<dyn Write>,
    /// Tells the columns of the terminal that it is, if it is one; asked anew for each table and error.
    pub width: Option<fn() -> usize>,
    /// Tells its rows in the same way.
    pub height: Option<fn() -> usize>,
    /// Whether it is coloured.
    pub colour: bool,
    /// Whether it is a terminal that shows UTF-8.
    pub unicode: bool,
}

impl Stream {
    /// What it can show now.
    pub(crate) fn look(&self) -> Look {
        Look { colour: self.colour, columns: self.width.map(|width| width()), unicode: self.unicode }
    }
}

/// The streams of a run.
pub struct Streams {
    /// For results.
    pub output: Stream,
    /// For errors and notices.
    pub errors: Stream,
}

/// A run of the shell.
pub(crate) struct Session {
    pub(crate) settings: Settings,
    pub(crate) way: Way,
    pub(crate) connection: Connection,
    pub(crate) block: Option<Block>,
    pub(crate) renderer: Renderer,
    pub(crate) output: Output,
    pub(crate) interrupt: Interrupt,
    pub(crate) tally: Tally,
    pub(super) errors: Stream,
    /// What standard output could show at the start.
    pub(crate) look: Look,
    /// Tells the columns of the terminal that standard output is, if it is one.
    pub(crate) columns: Option<fn() -> usize>,
    /// Tells its rows.
    rows: Option<fn() -> usize>,
    /// The tour that is under way.
    pub(crate) tutorial: Option<Tutorial>,
    /// What was interrupted, and what became of it, until the prompt says so.
    pub(crate) stopped: Option<String>,
    /// What was typed before, while the prompt lends it.
    pub(crate) history: Option<History>,
    exit: Exit,
    /// How deep `.read` is nested.
    pub(crate) depth: usize,
}

impl Session {
    pub(crate) fn new(settings: Settings, way: Way, streams: Streams, interrupt: Interrupt) -> Self {
        Self {
            connection: Connection::new(&settings, interrupt.flag(), way != Way::OneShot),
            renderer: Renderer::new(settings.mode, streams.output.width, way != Way::OneShot),
            settings,
            way,
            block: None,
            look: streams.output.look(),
            columns: streams.output.width,
            rows: streams.output.height,
            tutorial: None,
            stopped: None,
            history: None,
            output: Output::new(streams.output.sink),
            interrupt,
            tally: Tally::default(),
            errors: streams.errors,
            exit: Exit::DONE,
            depth: 0,
        }
    }

    /// Runs a command by itself, and reports its failure.
    pub(crate) fn run(&mut self, command: Command, place: Place<'_>) -> Flow {
        let begun = Instant::now();
        let ends_once = self.output.is_for_one_command() && !matches!(command, Command::Output { .. });
        self.look_where_results_go();
        let left = interrupt::left_behind(&command);
        let step = self.tutorial.as_ref().map(|tutorial| (tutorial.is_done_by(&command), command.clone()));
        self.begin_paging(&command);
        let result = self.execute(command, place);
        if let Err(Failure::Database(Error::Interrupted)) = result {
            self.stopped.get_or_insert_with(|| left.to_owned());
        }
        let result = self.end_paging(result);
        let result = match self.end_of_results(ends_once) {
            Ok(()) => result,
            Err(failure) => result.and(Err(failure)),
        };
        let has_succeeded = result.is_ok();
        let flow = self.settle(result, place);
        if let Some((is_step, command)) = step {
            if let Some(tutorial) = self.tutorial.as_mut().filter(|_| has_succeeded) {
                tutorial.note(&command);
            }
            self.go_on_with_tutorial(is_step && has_succeeded);
        }
        if self.settings.timer {
            self.note(&format!("{:.6} s", begun.elapsed().as_secs_f64()));
        }
        flow
    }

    /// Reports a failure, takes note of an answer, and tells what comes next.
    pub(crate) fn settle(&mut self, result: Result<Flow, Failure>, place: Place<'_>) -> Flow {
        self.say_notices();
        match result {
            Ok(flow) => flow,
            Err(failure) => self.fail(&failure, place),
        }
    }

    /// Holds back what the command says until it is known whether it fits the screen: at a prompt on a terminal only.
    fn begin_paging(&mut self, command: &Command) {
        let is_at_prompt = self.way == Way::Prompt && self.depth == 0 && self.output.file().is_none();
        let has_results = !matches!(command, Command::Read { .. } | Command::Output { .. } | Command::Exit);
        let setting = &self.settings.pager;
        if !is_at_prompt || !has_results || *setting == Paging::Off {
            return;
        }
        if let (Some(columns), Some(rows)) = (self.renderer.columns(), self.rows)
            && let Some(program) = pager::program(setting)
        {
            self.output.page(Pager::new(program, (rows(), columns), *setting == Paging::On));
        }
    }

    /// Shows what is held back. A pager that was left ends a command that has not failed, and a Ctrl-C that it was there to see
    /// is no interrupt any more.
    fn end_paging(&mut self, result: Result<Flow, Failure>) -> Result<Flow, Failure> {
        let shown = self.output.end_paging();
        match (result, shown) {
            (Err(Failure::PagerLeft), _) | (Ok(_), Err(Failure::PagerLeft)) => Ok(Flow::Continue),
            (Ok(_), Err(failure)) => Err(failure),
            (Ok(flow), Ok(true)) => {
                self.interrupt.clear();
                Ok(flow)
            }
            (result, _) => result,
        }
    }

    /// Writes results that go to a file, so that it is the command's failure when they can't be written.
    fn end_of_results(&mut self, ends_once: bool) -> Result<(), Failure> {
        match self.output.file() {
            Some(_) if ends_once => self.output.restore(),
            Some(_) => self.output.flush(),
            None => Ok(()),
        }
    }

    /// Lays results out for a terminal, or for a file.
    pub(crate) fn look_where_results_go(&mut self) {
        self.renderer.is_redirected = self.output.file().is_some();
    }

    fn execute(&mut self, command: Command, place: Place<'_>) -> Result<Flow, Failure> {
        match Kind::of(&command) {
            Kind::Read => self.read(&command).map(|answer| self.answered(answer)),
            Kind::Write(verb) => self.write(command, verb).map(|answer| self.answered(answer)),
            Kind::Alone => self.alone(command, place),
        }
    }

    fn answered(&mut self, answer: Answer) -> Flow {
        if answer == Answer::No && self.way == Way::OneShot {
            self.raise(Exit::NEGATIVE);
        }
        Flow::Continue
    }

    fn read(&mut self, command: &Command) -> Result<Answer, Failure> {
        if let Command::Ttl { keys } = command {
            return self.ttl(keys);
        }
        let out = &mut self.output.buffer;
        let answer = match &self.block {
            Some(block) => execute::read(command, &block.transaction, &mut self.renderer, out),
            None => match self.connection.glance(execute::keys(command))? {
                Some(glance) => execute::read(command, glance, &mut self.renderer, out),
                None => execute::read(command, &self.connection.reader()?, &mut self.renderer, out),
            },
        };
        self.output.make_room()?;
        Ok(answer?)
    }

    fn write(&mut self, command: Command, verb: &'static str) -> Result<Answer, Failure> {
        self.connection.check_writable()?;
        if let Some(block) = &mut self.block {
            return Ok(execute::read_or_write(command, block, &mut self.renderer, &mut self.output.buffer)?);
        }
        let db = self.writer_for(&command)?;
        let start = self.output.len();
        let mut turn = db.turn(verb)?;
        let out = &mut self.output.buffer;
        if self.way != Way::Prompt {
            let answer = execute::read_or_write(command, &mut turn, &mut self.renderer, out)?;
            turn.commit().inspect_err(|_| self.output.truncate(start))?;
            return Ok(answer);
        }
        let mut noting = Noting::new(turn);
        let answer = execute::read_or_write(command, &mut noting, &mut self.renderer, out)?;
        let Noting { turn, change } = noting;
        turn.commit().inspect_err(|_| self.output.truncate(start))?;
        self.connection.past.keep(change);
        Ok(answer)
    }

    /// The database for a command that writes: only one that can store something new creates it.
    pub(super) fn writer_for(&mut self, command: &Command) -> Result<Db, Error> {
        if execute::may_store_anew(command) { self.connection.writer() } else { self.connection.changer() }
    }

    /// Runs a command that no group takes up.
    fn alone(&mut self, command: Command, place: Place<'_>) -> Result<Flow, Failure> {
        match command {
            Command::Begin => self.begin(place)?,
            Command::Commit => self.commit()?,
            Command::Rollback => self.rollback()?,
            Command::Exit if self.leave_tutorial() => {}
            Command::Exit => return Ok(Flow::Leave),
            Command::Read { file } => return self.read_script(&file),
            Command::Get { .. } | Command::Exists { .. } | Command::Delete { .. } => {
                let answer = self.read_many(&command)?;
                return Ok(self.answered(answer));
            }
            Command::Ttl { keys } => {
                let answer = self.ttl(&keys)?;
                return Ok(self.answered(answer));
            }
            Command::Undo { count } => self.undo(count)?,
            Command::DeletePrefix { prefix, dry_run } => self.delete_prefix(&prefix, dry_run)?,
            Command::Count { selection } => {
                let mut slot = None;
                let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
                let count = walk::count(&selection, source, &self.interrupt)?;
                self.renderer.number(&mut self.output.buffer, Quantity::Count, count);
            }
            Command::Scan { selection, columns } => {
                let mut slot = None;
                let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
                let (renderer, output) = (&mut self.renderer, &mut self.output);
                walk::scan(&selection, columns, source, renderer, output, &self.interrupt)?;
            }
            Command::Dump { file } => self.dump(file.as_deref())?,
            Command::Load { file } => self.load(&file)?,
            Command::Import { file, format, import } => self.import(&file, format, &import)?,
            Command::Export { file, format, export } => self.export(&file, format, &export)?,
            other => self.settings_and_figures(other)?,
        }
        Ok(Flow::Continue)
    }

    fn begin(&mut self, place: Place<'_>) -> Result<(), Failure> {
        if let Some(block) = &self.block {
            return Err(Failure::refused(
                format!("a transaction is open already, begun{}", block.begun_at),
                "commit or rollback ends it",
            ));
        }
        let is_read_only = self.connection.is_read_only();
        let transaction = match self.connection.reader() {
            Ok(db) => db.begin()?,
            Err(Error::NoDatabase { dir }) if !is_read_only => Transaction::without_database(dir),
            Err(error) => return Err(error.into()),
        };
        self.block = Some(Block::new(transaction, place.text(), self.way == Way::Prompt));
        self.renderer.done(&mut self.output.buffer);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        let block = self.block.take().ok_or_else(|| no_transaction("commit"))?;
        let mut change = Vec::new();
        let noted = (self.way == Way::Prompt).then_some(&mut change);
        let mut transaction = block.into_healthy()?;
        if transaction.needs_database() {
            self.connection.writer()?.take_in(&mut transaction);
        }
        transaction.commit_and_note(noted)?;
        self.connection.past.keep(change);
        self.renderer.done(&mut self.output.buffer);
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), Failure> {
        self.block.take().ok_or_else(|| no_transaction("rollback"))?;
        self.renderer.done(&mut self.output.buffer);
        Ok(())
    }

    /// `ttl`, by the time of the block or of a snapshot.
    fn ttl(&mut self, keys: &[Key]) -> Result<Answer, Failure> {
        let out = &mut self.output.buffer;
        Ok(match &self.block {
            Some(block) => execute::ttl(keys, &block.transaction, &mut self.renderer, out)?,
            None => execute::ttl(keys, &self.connection.reader()?.snapshot()?, &mut self.renderer, out)?,
        })
    }

    /// What only reads, of more keys than a group takes: from one snapshot.
    fn read_many(&mut self, command: &Command) -> Result<Answer, Failure> {
        let out = &mut self.output.buffer;
        Ok(match &self.block {
            Some(block) => execute::read(command, &block.transaction, &mut self.renderer, out)?,
            None => execute::read(command, &self.connection.reader()?.snapshot()?, &mut self.renderer, out)?,
        })
    }

    pub(crate) fn refuse_in_block(&self, verb: &str) -> Result<(), Failure> {
        match &self.block {
            Some(_) => Err(Failure::refused(
                format!("{verb} can't run inside a transaction"),
                "commit or rollback first",
            )),
            None => Ok(()),
        }
    }

    /// Raises the exit code.
    pub(crate) fn raise(&mut self, exit: Exit) {
        self.exit = self.exit.max(exit);
    }

    pub(crate) const fn exit(&self) -> Exit {
        self.exit
    }

    /// Rolls back a transaction that was left open, and says so.
    pub(crate) fn close_block(&mut self) {
        let Some(block) = self.block.take() else { return };
        let begun =
            if block.begun_at.is_empty() { String::new() } else { format!(" begun{}", block.begun_at) };
        let text = format!("the transaction{begun} was left open and has been rolled back");
        if self.way == Way::Prompt {
            self.note(&text);
        } else {
            self.fail(&Failure::refused(text, "commit makes its writes durable"), Place::NONE);
        }
    }

    /// Ends the run: rolls back what is open and writes what waits.
    pub(crate) fn finish(&mut self) -> Exit {
        self.leave_tutorial();
        self.close_block();
        if let Err(failure) = self.output.flush() {
            self.fail(&failure, Place::NONE);
        }
        self.connection.close();
        if self.exit == Exit::INTERRUPTED { self.interrupt.exit() } else { self.exit }
    }
}

/// What a walk over many records goes over: the open block, or a snapshot, which is kept in `slot`.
pub(crate) fn walk_source<'a>(
    block: Option<&'a Block>,
    connection: &mut Connection,
    slot: &'a mut Option<Snapshot>,
) -> Result<&'a dyn Walk, Error> {
    match block {
        Some(block) => Ok(&block.transaction),
        None => Ok(slot.insert(connection.reader()?.snapshot()?)),
    }
}

fn no_transaction(verb: &str) -> Failure {
    Failure::refused(format!("{verb} without a transaction"), "begin starts one")
}
