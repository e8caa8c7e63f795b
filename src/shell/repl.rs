//! The prompt: read a line, run it, go on until Ctrl-D or `exit`.
//!
//! ```text
//! kvdb>         ready
//! kvdb*>        in a transaction
//! kvdb(ro)>     nothing can be written; kvdb(ro)*> in a transaction, too
//! tutorial>     the tour goes on, on a database of its own
//!     ">        the line goes on: this quote is open
//! ```
//!
//! 1. Nothing that is typed ends the session but `exit`, `quit` and Ctrl-D. Ctrl-C drops what is typed, or stops what runs.
//! 2. A command runs only when it is complete: Ctrl-D and Ctrl-C at an open quote run nothing.
//! 3. At an open quote the up arrow, and backspace at the start of the line, take the lines before back to be edited.
//! 4. A transaction that is open at the end is rolled back, and that is said.

mod keys;
mod plain;

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use rustyline::config::BellStyle;
use rustyline::error::ReadlineError;
use rustyline::{ColorMode, CompletionType, Config, Editor};
use unicode_width::UnicodeWidthStr;

use super::edit::{Assistant, Source};
use super::exit::Exit;
use super::failure::Failure;
use super::history::History;
use super::input::{Lines, Next};
use super::lexer::LineEnd;
use super::literal::harmless;
use super::parse;
use super::session::{Flow, Place, Session};
use super::termination;
use crate::error::Error;
use keys::Keys;

type LineEditor = Editor<Assistant, History>;

/// What came from the keyboard.
enum Typed {
    /// One or more complete lines.
    Text(String),
    /// Ctrl-C.
    Dropped,
    /// Ctrl-D, or a terminal that is gone.
    End,
}

/// Runs a session at the prompt until its end.
pub(crate) fn run(session: &mut Session) {
    match Prompt::open(session) {
        Ok(mut prompt) => prompt.run(session),
        Err(error) => {
            session.flush_and_say(&format!("error: no prompt: {error}"));
            session.raise(Exit::IO);
        }
    }
}

struct Prompt {
    editor: LineEditor,
    keys: Keys,
    /// The terminal is one that lines can't be edited on.
    is_plain: bool,
}

impl Prompt {
    fn open(session: &Session) -> rustyline::Result<Self> {
        termination::restore_the_terminal_first()?;
        // Whether there are colours is not for the editor to decide, see the module `look`.
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .bell_style(BellStyle::None)
            .color_mode(ColorMode::Forced)
            .build();
        let mut editor = LineEditor::with_history(config, History::open(&session.settings))?;
        editor.set_helper(Some(Assistant::new(session.look, session.columns)));
        let keys = Keys::bind(&mut editor);
        Ok(Self { editor, keys, is_plain: plain::is_all_there_is() })
    }

    fn run(&mut self, session: &mut Session) {
        greet(session);
        loop {
            if let Err(failure) = session.output.flush()
                && session.fail(&failure, Place::NONE) == Flow::Leave
            {
                return;
            }
            match self.read_text(session) {
                Typed::Text(text) => {
                    if self.run_text(session, text) == Flow::Leave {
                        return;
                    }
                }
                Typed::Dropped if self.keys.dropped_nothing.load(Ordering::Relaxed) => {
                    session.flush_and_say("(Ctrl-D or exit leaves)");
                }
                Typed::Dropped => {}
                Typed::End if session.leave_tutorial() => {}
                Typed::End => return,
            }
        }
    }

    /// Keeps what was typed and runs it. `.history` finds the history in the session meanwhile.
    fn run_text(&mut self, session: &mut Session, text: String) -> Flow {
        if session.tutorial.is_none() {
            self.editor.history_mut().keep(text.trim_end_matches('\n'));
        }
        session.history = Some(std::mem::take(self.editor.history_mut()));
        let flow = run_text(session, text);
        *self.editor.history_mut() = session.history.take().unwrap_or_default();
        flow
    }

    /// Reads with live keys at hand: those of the open transaction, or of the database.
    fn read_text(&mut self, session: &mut Session) -> Typed {
        let own = prompt(session);
        let database = || session.connection.opened().map_or(Source::Nothing, Source::Database);
        let source = session.block.take().map_or_else(database, |block| Source::Block(Box::new(block)));
        self.lend(source);
        self.editor.history_mut().catch_up();
        let read = self.read_lines(&own, session);
        if let Source::Block(block) = self.lend(Source::Nothing) {
            session.block = Some(*block);
        }
        read
    }

    /// Gives the assistant a source of keys, for the one that it had.
    fn lend(&mut self, source: Source) -> Source {
        self.editor
            .helper_mut()
            .map_or(Source::Nothing, |helper| std::mem::replace(&mut helper.source, source))
    }

    /// Reads until no quote is open. What is pasted may be several commands at once.
    fn read_lines(&mut self, own: &str, session: &mut Session) -> Typed {
        let mut text = String::new();
        let mut rows = 0;
        let mut initial = None;
        loop {
            let shown = shown_prompt(own, &text);
            self.prepare(&text, &shown);
            let (left, right): (String, String) = initial.take().unwrap_or_default();
            let read = if self.is_plain {
                plain::read_line(&shown, session)
            } else {
                self.editor.readline_with_initial(&shown, (&left, &right))
            };
            let line = match read {
                Ok(line) => line,
                Err(error) => {
                    let is_quote_dropped = !text.is_empty() || self.is_plain;
                    self.keys.dropped_nothing.fetch_and(!is_quote_dropped, Ordering::Relaxed);
                    return ended(&error, session);
                }
            };
            // From here on Ctrl-C is about what was typed, before it runs too.
            session.interrupt.clear();
            rows += self.rows(&shown, &line);
            match self.keys.back() {
                Some(back) => {
                    initial = Some(back.rejoined(&text, &line));
                    text.clear();
                    erase(session, std::mem::take(&mut rows));
                }
                None => text += &(line + "\n"),
            }
            if initial.is_none() && open_quote(&text).is_none() {
                return Typed::Text(text);
            }
        }
    }

    fn prepare(&mut self, before: &str, prompt: &str) {
        self.keys.may_go_back.store(!before.is_empty(), Ordering::Relaxed);
        if let Some(helper) = self.editor.helper_mut() {
            before.clone_into(&mut helper.before);
            helper.prompt_width = prompt.width();
        }
    }

    /// Rows of the terminal that a line took behind a prompt.
    fn rows(&mut self, prompt: &str, line: &str) -> usize {
        let columns = self.editor.dimensions().map_or(80, |(columns, _)| usize::from(columns).max(1));
        let rows_of = |(index, part): (usize, &str)| {
            let prompt_width = if index == 0 { prompt.width() } else { 0 };
            1 + (prompt_width + part.width()) / columns
        };
        line.split('\n').enumerate().map(rows_of).sum()
    }
}

/// The prompt itself, or, where a quote is open behind `text`, one that shows which.
fn shown_prompt(own: &str, text: &str) -> String {
    match open_quote(text) {
        Some(quote) => format!("{:>width$}> ", quote, width = own.width().saturating_sub(2)),
        None => own.to_owned(),
    }
}

/// The quote that is open behind a text.
fn open_quote(text: &str) -> Option<char> {
    let (mut finder, mut rest) = (LineEnd::new(), text.as_bytes());
    while let Some(end) = finder.feed(rest) {
        rest = &rest[end..];
    }
    finder.open_quote()
}

/// Takes the last rows off the terminal: what stands there is shown again.
fn erase(session: &mut Session, rows: usize) {
    session.output.buffer.extend_from_slice(format!("\x1b[{rows}A\r\x1b[J").as_bytes());
    // That the rows stay does no harm.
    drop(session.output.flush());
}

fn ended(error: &ReadlineError, session: &mut Session) -> Typed {
    match error {
        ReadlineError::Interrupted => Typed::Dropped,
        ReadlineError::Eof => Typed::End,
        ReadlineError::Io(error) if error.kind() == std::io::ErrorKind::InvalidData => {
            session.flush_and_say("error: what was typed is not UTF-8");
            Typed::Dropped
        }
        other => {
            session.flush_and_say(&format!("error: cannot read from the terminal: {other}"));
            session.raise(Exit::IO);
            Typed::End
        }
    }
}

/// Says what this is, and opens the database if it is there, so that what is wrong with it is known at once.
fn greet(session: &mut Session) {
    let opened = session.connection.reader();
    let is_missing = matches!(opened, Err(Error::NoDatabase { .. }));
    let dir = session.settings.db.display().to_string();
    let columns = session.columns.map_or(usize::MAX, |columns| columns());
    let text = banner(&harmless(&dir), is_missing, columns);
    session.output.buffer.extend_from_slice(text.as_bytes());
    session.say_notices();
    if let Err(error) = opened
        && !matches!(error, Error::NoDatabase { .. })
    {
        session.fail(&error.into(), Place::NONE);
    }
}

/// Two lines of at most so many columns, but for a terminal too narrow for anything.
fn banner(dir: &str, is_missing: bool, columns: usize) -> String {
    let missing = [" (not there yet: the first write creates it)", " (not there yet)"];
    let [long, short] = if is_missing { missing } else { [""; 2] };
    let version = concat!("kvdb ", env!("CARGO_PKG_VERSION"), ", ");
    let room = columns.saturating_sub(version.width() + short.width());
    let first = [format!("{version}database {dir}{long}"), format!("{version}{}{short}", end_of(dir, room))];
    let second =
        ["help lists the commands, .tutorial shows them, Ctrl-D leaves", "help; .tutorial; Ctrl-D leaves"];
    let fits = |line: &&str| line.width() <= columns;
    let [first, second] = [[&*first[0], &*first[1]], second]
        .map(|lines| lines.into_iter().find(fits).unwrap_or(lines[1]).to_owned());
    format!("{first}\n{second}\n")
}

/// The end of a path that fits so many columns.
fn end_of(path: &str, columns: usize) -> Cow<'_, str> {
    if path.width() <= columns {
        return path.into();
    }
    let fits = |rest: &&str| rest.width() < columns;
    let rests = path.char_indices().map(|(at, _)| &path[at..]);
    format!("…{}", rests.into_iter().find(fits).unwrap_or_default()).into()
}

fn prompt(session: &Session) -> String {
    let name = if session.tutorial.is_some() { "tutorial" } else { "kvdb" };
    let state = if session.connection.is_read_only() { "(ro)" } else { "" };
    let block = if session.block.is_some() { "*" } else { "" };
    format!("{name}{state}{block}> ")
}

/// Runs lines until the end, or until Ctrl-C; then says what that stopped.
fn run_text(session: &mut Session, text: String) -> Flow {
    session.stopped = None;
    let mut lines = Lines::from_bytes(text.into_bytes());
    let (mut flow, mut has_begun) = (Flow::Continue, false);
    while flow == Flow::Continue && matches!(lines.next(false, &session.interrupt), Ok(Next::Line)) {
        if session.interrupt.is_raised() {
            let left = session.stopped.take().filter(|left| !left.is_empty()).map(|left| left + "; ");
            let rest = if has_begun { "the rest of what was typed" } else { "what was typed" };
            session.stopped = Some(format!("{}{rest} was not run", left.unwrap_or_default()));
            break;
        }
        has_begun = true;
        flow = run_line(session, lines.text());
    }
    match session.stopped.take() {
        Some(what) if what.is_empty() => session.flush_and_say("interrupted"),
        Some(what) => session.flush_and_say(&format!("interrupted: {what}")),
        None => {}
    }
    flow
}

fn run_line(session: &mut Session, line: &[u8]) -> Flow {
    let place = Place { origin: None, source: line };
    match parse::line(line) {
        Ok(Some(command)) => session.run(command, place),
        Ok(None) => Flow::Continue,
        Err(diagnostic) => session.fail(&Failure::Line(diagnostic), place),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_of_a_line_that_goes_on_shows_the_quote() {
        assert_eq!(shown_prompt("kvdb> ", ""), "kvdb> ");
        assert_eq!(shown_prompt("kvdb> ", "set a \"x\n"), "   \"> ");
        assert_eq!(shown_prompt("kvdb(ro)> ", "set a 'x\n"), "       '> ");
    }

    #[test]
    fn the_banner_takes_two_lines() {
        let dir = "/home/ann/データ/.kvdb";
        let wide = banner(dir, true, usize::MAX);
        assert!(wide.contains("database /home/ann/データ/.kvdb (not there yet: the first write"), "{wide}");
        assert_eq!(banner(dir, false, 40), format!("{}\nhelp; .tutorial; Ctrl-D leaves\n", banner_line(dir)));
        assert_eq!(banner(dir, true, 40).lines().next(), Some(&*banner_line("…ータ/.kvdb (not there yet)")));
        for columns in 40..100 {
            let shown = banner(&dir.repeat(3), true, columns);
            assert_eq!(shown.lines().filter(|line| line.width() <= columns).count(), 2, "{shown}");
        }
    }

    fn banner_line(rest: &str) -> String {
        format!("kvdb {}, {rest}", env!("CARGO_PKG_VERSION"))
    }

    #[test]
    fn text_is_complete_when_no_quote_is_open_behind_it() {
        assert_eq!(open_quote("get a\n"), None);
        assert_eq!(open_quote("set a \"x\n"), Some('"'));
        assert_eq!(open_quote("set a 'x\nit's\n"), None);
        assert_eq!(open_quote("set a 1\nset b 'two\n"), Some('\''));
        assert_eq!(open_quote("set a \"x\ny\"\n"), None);
    }
}
