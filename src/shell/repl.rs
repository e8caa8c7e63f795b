//! The prompt: read a line, run it, go on until Ctrl-D or `exit`.
//!
//! ```text
//! kvdb>         ready
//! kvdb*>        in a transaction
//! kvdb(ro)>     nothing can be written
//!     ">        the line goes on: this quote is open
//! ```
//!
//! 1. Nothing that is typed ends the session but `exit`, `quit` and Ctrl-D. Ctrl-C drops what is typed, or stops what runs.
//! 2. A command runs only when it is complete: Ctrl-D and Ctrl-C at an open quote run nothing.
//! 3. A transaction that is open at the end is rolled back, and that is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{
    Cmd, CompletionType, ConditionalEventHandler, Config, Editor, Event, EventContext, EventHandler,
    KeyEvent, RepeatCount,
};

use super::complete::Completion;
use super::exit::Exit;
use super::failure::Failure;
use super::history::HistoryFile;
use super::input::{Lines, Next};
use super::lexer::LineEnd;
use super::parse;
use super::session::{Flow, Place, Session};
use super::termination;
use crate::error::Error;

type LineEditor = Editor<Completion, FileHistory>;

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
    history: HistoryFile,
    /// Whether there was nothing on the line when Ctrl-C was pressed.
    dropped_nothing: Arc<AtomicBool>,
}

impl Prompt {
    fn open(session: &Session) -> rustyline::Result<Self> {
        termination::restore_the_terminal_first()?;
        let settings = &session.settings;
        let config = Config::builder()
            .max_history_size(settings.history_size)?
            .history_ignore_dups(true)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .build();
        let mut editor = LineEditor::with_config(config)?;
        editor.set_helper(Some(Completion::new(session.look)));
        let dropped_nothing = Arc::new(AtomicBool::new(false));
        let on_ctrl_c = NoteEmptyLine(Arc::clone(&dropped_nothing));
        editor
            .bind_sequence(Event::from(KeyEvent::ctrl('c')), EventHandler::Conditional(Box::new(on_ctrl_c)));
        let history = HistoryFile::open(settings.history && settings.history_size > 0, &mut editor);
        Ok(Self { editor, history, dropped_nothing })
    }

    fn run(&mut self, session: &mut Session) {
        greet(session);
        loop {
            if session.output.flush().is_err() {
                return session.raise(Exit::IO);
            }
            match self.read_text(session) {
                Typed::Text(text) => {
                    self.history.add(&mut self.editor, text.trim_end_matches('\n'));
                    if run_text(session, text) == Flow::Leave {
                        return;
                    }
                }
                Typed::Dropped if self.dropped_nothing.load(Ordering::Relaxed) => {
                    session.flush_and_say("(Ctrl-D or exit leaves)");
                }
                Typed::Dropped => {}
                Typed::End => return,
            }
        }
    }

    /// Reads until no quote is open. What is pasted may be several commands at once.
    fn read_text(&mut self, session: &mut Session) -> Typed {
        let mut text = String::new();
        let mut finder = LineEnd::new();
        let mut prompt = prompt(session);
        loop {
            let line = match self.editor.readline(&prompt) {
                Ok(line) => line + "\n",
                Err(error) => return ended(&error, session),
            };
            text += &line;
            match quote_left_open(&mut finder, line.as_bytes()) {
                None => return Typed::Text(text),
                Some(quote) => {
                    let indent = prompt.chars().count().saturating_sub(3);
                    prompt = format!("{}{quote}> ", " ".repeat(indent));
                }
            }
        }
    }
}

/// The quote that is open behind some more input.
fn quote_left_open(finder: &mut LineEnd, mut input: &[u8]) -> Option<char> {
    while let Some(end) = finder.feed(input) {
        input = &input[end..];
    }
    finder.open_quote()
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
    let state = match &opened {
        Err(Error::NoDatabase { .. }) => " (not there yet: the first write creates it)",
        _ => "",
    };
    let text = format!(
        "kvdb {}, database {}{state}\nhelp lists the commands, Ctrl-D leaves\n",
        env!("CARGO_PKG_VERSION"),
        session.settings.db.display()
    );
    session.output.buffer.extend_from_slice(text.as_bytes());
    session.say_notices();
    if let Err(error) = opened
        && !matches!(error, Error::NoDatabase { .. })
    {
        session.fail(&error.into(), Place::NONE);
    }
}

fn prompt(session: &Session) -> String {
    let state = match (&session.block, session.connection.is_read_only()) {
        (Some(_), _) => "*",
        (None, true) => "(ro)",
        (None, false) => "",
    };
    format!("kvdb{state}> ")
}

fn run_text(session: &mut Session, text: String) -> Flow {
    session.interrupt.clear();
    let mut lines = Lines::from_bytes(text.into_bytes());
    let mut flow = Flow::Continue;
    while flow == Flow::Continue
        && !session.interrupt.is_raised()
        && matches!(lines.next(false, &session.interrupt), Ok(Next::Line))
    {
        flow = run_line(session, lines.text());
    }
    if session.interrupt.is_raised() {
        session.flush_and_say("interrupted");
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

/// Ctrl-C, with a look at the line that it drops.
struct NoteEmptyLine(Arc<AtomicBool>);

impl ConditionalEventHandler for NoteEmptyLine {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        self.0.store(context.line().is_empty(), Ordering::Relaxed);
        Some(Cmd::Interrupt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_complete_when_no_quote_is_open_behind_it() {
        let open = |pieces: &[&str]| {
            let mut finder = LineEnd::new();
            pieces.iter().map(|piece| quote_left_open(&mut finder, piece.as_bytes())).last().flatten()
        };
        assert_eq!(open(&["get a\n"]), None);
        assert_eq!(open(&["set a \"x\n"]), Some('"'));
        assert_eq!(open(&["set a 'x\n", "it's\n"]), None);
        assert_eq!(open(&["set a 1\nset b 'two\n"]), Some('\''));
        assert_eq!(open(&["set a \"x\n", "y\"\n"]), None);
    }
}
