//! What is said on standard error: failures with their place, notices, and nothing twice.
//!
//! 1. Before anything is written here, the replies before it are flushed: on a terminal both streams read in order.
//! 2. With `json` or `jsonl` output every line here is a JSON object: `error` with its place and `help`, or `notice`.
//! 3. Nothing that a message quotes, a file's name for instance, drives the terminal or begins a line.
//! 4. An interrupt and a closed pipe are silent: the exit code says them.

use std::io::{self, BufRead, BufReader, Read};

use super::command::OutputMode;
use super::diagnostic::Origin;
use super::failure::Failure;
use super::files;
use super::input::Awaited;
use super::literal::{harmless, literal};
use super::session::{Flow, Place, Session, Way};
use crate::error::Error;

/// Bytes of an answer that are read.
const MAX_ANSWER_LEN: u64 = 1_000;

impl Session {
    /// Reports a failure behind all replies so far.
    pub(crate) fn fail(&mut self, failure: &Failure, place: Place<'_>) -> Flow {
        let flushed = match failure {
            Failure::Output(_) => Ok(()),
            _ => self.output.flush(),
        };
        let flow = self.fail_only(failure, place);
        match flushed {
            Ok(()) => flow,
            Err(failure) => self.fail_only(&failure, Place::NONE).max(flow),
        }
    }

    /// Reports a failure: notes its code, its count and what it does to an open block, and writes its text.
    pub(crate) fn fail_only(&mut self, failure: &Failure, place: Place<'_>) -> Flow {
        self.raise_for(failure);
        if let Some(block) = &mut self.block {
            block.poison(&place.text(), &failure.message());
        }
        if !failure.is_silent() {
            self.tally.add(place);
            let text = self.error_text(failure, place);
            self.say(&text);
        }
        if failure.ends_the_run(self.way == Way::Prompt) { Flow::Leave } else { Flow::Continue }
    }

    fn raise_for(&mut self, failure: &Failure) {
        if self.way != Way::Prompt || matches!(failure, Failure::Output(_)) {
            self.raise(failure.exit());
        }
    }

    fn error_text(&self, failure: &Failure, place: Place<'_>) -> String {
        if self.speaks_json() {
            return error_json(failure, place) + "\n";
        }
        let look = self.errors.look();
        if let Failure::Line(diagnostic) = failure {
            return diagnostic.render(place.source, place.origin, look);
        }
        let label = look.error("error");
        let arrow = place.origin.map(|Origin { name, line }| format!("  --> {}:{line}\n", harmless(name)));
        let help = failure.help().map(|help| format!("  = help: {}\n", harmless(&help)));
        let message = failure.message();
        let message = harmless(&message);
        format!("{label}: {message}\n{}{}", arrow.unwrap_or_default(), help.unwrap_or_default())
    }

    /// Writes what the library wants said.
    pub(crate) fn say_notices(&mut self) {
        for notice in self.connection.take_notices() {
            self.note(&notice.to_string());
        }
    }

    pub(super) const fn speaks_json(&self) -> bool {
        matches!(self.settings.mode, OutputMode::Json | OutputMode::Jsonl)
    }

    /// Says something that is not an error: `kvdb: …`, or an object with `notice` where errors are JSON.
    pub(crate) fn note(&mut self, text: &str) {
        let line = if self.speaks_json() {
            serde_json::json!({ "notice": text }).to_string()
        } else {
            format!("kvdb: {}", harmless(text))
        };
        self.flush_and_say(&line);
    }

    /// Asks the person at the prompt; the answer is a line, or nothing at its end.
    pub(super) fn ask(&mut self, question: &str) -> Result<String, Failure> {
        self.output.flush()?;
        self.say(question);
        let mut answer = String::new();
        // One byte at a time: what is typed behind the answer is for the prompt.
        let stdin = BufReader::with_capacity(1, Awaited::new(io::stdin(), &self.interrupt));
        match stdin.take(MAX_ANSWER_LEN).read_line(&mut answer) {
            Ok(_) => Ok(answer),
            Err(error) => Err(files::failed("read", "the answer".as_ref())(error)),
        }
    }

    /// Writes a line to standard error, behind all replies so far.
    pub(crate) fn flush_and_say(&mut self, line: &str) {
        let flushed = self.output.end_paging().and_then(|_| self.output.flush());
        self.say(&format!("{line}\n"));
        if let Err(failure) = flushed {
            self.fail(&failure, Place::NONE);
        }
    }

    /// Writes to standard error. That nobody can be told that this failed is no reason to fail.
    fn say(&mut self, text: &str) {
        drop(self.errors.sink.write_all(text.as_bytes()).and_then(|()| self.errors.sink.flush()));
    }
}

/// An error as one JSON object.
fn error_json(failure: &Failure, place: Place<'_>) -> String {
    if let Failure::Line(diagnostic) = failure {
        return diagnostic.to_json(place.source, place.origin);
    }
    let mut object = serde_json::json!({
        "error": failure.message(), "kind": failure.kind(), "exit": failure.exit().0,
    });
    if let Failure::Database(error) | Failure::File(error) = failure {
        add_details(&mut object, error);
    }
    if let Some(Origin { name, line }) = place.origin {
        object["file"] = name.into();
        object["line"] = line.into();
    }
    if let Some(help) = failure.help() {
        object["help"] = help.into();
    }
    object.to_string()
}

/// What a program may want to act on: the file and place of damage, the holder of a lock, the key of a conflict.
fn add_details(object: &mut serde_json::Value, error: &Error) {
    match error {
        Error::Corruption { file, offset, .. } => {
            object["path"] = file.display().to_string().into();
            object["offset"] = (*offset).into();
        }
        Error::Io { path, .. } => object["path"] = path.display().to_string().into(),
        Error::Busy { holder: Some(holder), .. } => object["pid"] = holder.pid.into(),
        Error::Conflict { key } => object["key"] = literal(key).into(),
        _ => {}
    }
}
