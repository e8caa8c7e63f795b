//! The lines of a file that is imported, counted for messages, each held in memory by itself.

use std::io::{BufRead, Read};

use super::Wrong;
use crate::shell::exit::Exit;
use crate::shell::failure::Failure;
use crate::shell::files;
use crate::shell::input::MAX_LINE_LEN;
use crate::shell::interrupt::Interrupt;

/// Lines between two looks at the interrupt flag.
const CHECK_LINES: u64 = 256;

/// What some programs put at the start of a file to say that it is UTF-8.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// A file, line by line.
pub(super) struct Lines<'a, R> {
    /// As the user calls it.
    name: &'a str,
    source: R,
    interrupt: &'a Interrupt,
    /// The line, or the lines of a record that goes on, with their ends.
    pub(super) text: Vec<u8>,
    /// Of the first line in `text`, from 1.
    first: u64,
    /// Lines read.
    count: u64,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(name: &'a str, source: R, interrupt: &'a Interrupt) -> Self {
        Self { name, source, interrupt, text: Vec::new(), first: 0, count: 0 }
    }

    /// Reads the next line; `false` at the end.
    pub(super) fn next(&mut self) -> Result<bool, Failure> {
        self.text.clear();
        self.first = self.count + 1;
        let is_there = self.add()?;
        if self.first == 1 && self.text.starts_with(BOM) {
            self.text.drain(..BOM.len());
        }
        Ok(is_there)
    }

    /// Adds the line behind it; `false` when there is none.
    pub(super) fn add(&mut self) -> Result<bool, Failure> {
        if self.count.is_multiple_of(CHECK_LINES) {
            self.interrupt.check()?;
        }
        let room = (MAX_LINE_LEN + 1).saturating_sub(self.text.len());
        let read = self.source.by_ref().take(room as u64).read_until(b'\n', &mut self.text);
        let len = read.map_err(files::failed("read", self.name.as_ref()))?;
        self.count += u64::from(len > 0);
        if self.text.len() > MAX_LINE_LEN {
            return Err(self.wrong(Wrong::new("a record that is too long", "is a quote left open?")));
        }
        Ok(len > 0)
    }

    /// What is wrong with the current record, with its place.
    pub(super) fn wrong(&self, Wrong { what, help }: Wrong) -> Failure {
        Failure::Refused {
            message: format!("{}:{}: {what}", self.name, self.first),
            help: Some(if help.is_empty() { "nothing was imported".to_owned() } else { help }),
            exit: Exit::USAGE,
        }
    }
}
