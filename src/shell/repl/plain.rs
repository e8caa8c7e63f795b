//! The prompt on a terminal that can't move its cursor, `TERM=dumb` for one: lines as the terminal hands them over.
//!
//! The line editor has no keys there and would read on after a Ctrl-C, for which the terminal drops what is typed on the line
//! and nothing else: an open quote would stay open, and take up whatever is typed next.

use std::io::{self, BufRead, BufReader};

use rustyline::error::ReadlineError;

use crate::error::Error;
use crate::shell::input::Awaited;
use crate::shell::session::Session;

/// What terminals call themselves that the line editor leaves alone.
const PLAIN: [&str; 3] = ["dumb", "cons25", "emacs"];

/// Whether this is how lines are read here.
pub(super) fn is_all_there_is() -> bool {
    std::env::var("TERM").is_ok_and(|term| PLAIN.iter().any(|plain| term.eq_ignore_ascii_case(plain)))
}

/// Shows the prompt and reads a line, without its newline.
pub(super) fn read_line(prompt: &str, session: &mut Session) -> rustyline::Result<String> {
    session.interrupt.clear();
    session.output.buffer.extend_from_slice(prompt.as_bytes());
    // That it is not shown is found again when there are results to show.
    drop(session.output.flush());
    let mut line = Vec::new();
    // One byte at a time: what is typed behind the line may be the answer to a question.
    let stdin = BufReader::with_capacity(1, Awaited::new(io::stdin(), &session.interrupt));
    let read = { stdin }.read_until(b'\n', &mut line).map_err(interrupted);
    if !line.ends_with(b"\n") {
        session.output.buffer.push(b'\n');
    }
    if read? == 0 {
        return Err(ReadlineError::Eof);
    }
    line.pop_if(|last| *last == b'\n');
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error).into())
}

fn interrupted(error: io::Error) -> ReadlineError {
    match error.downcast::<Error>() {
        Ok(_) => ReadlineError::Interrupted,
        Err(error) => error.into(),
    }
}
