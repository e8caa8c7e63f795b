//! Importing records from the formats that other programs write: CSV, TSV and JSON lines.
//!
//! ```text
//! bytes ── lines ──▶ csv, tsv ──▶ cells ── Columns ──┐
//!                                                    ├─▶ key, value ──▶ one bulk
//!                └─▶ jsonl ──▶ fields ───────────────┘
//! ```
//!
//! 1. Records are handed on as they are read: memory is that of one record, whatever the length of the file.
//! 2. The first line that can't be understood ends it, with `FILE:LINE`; nothing is applied then. Nothing is guessed.
//! 3. Of two records with one key the later wins.
//! 4. What `.export` writes comes back exactly.

mod columns;
mod csv;
mod jsonl;
mod lines;
mod tsv;

use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;

use super::command::{Format, Import};
use super::dump::Sink;
use super::failure::Failure;
use super::input::{Awaited, READ_BYTES};
use super::interrupt::Interrupt;
use super::lexer;
use super::literal::brief;
use crate::types::{Key, MAX_KEY_LEN, MAX_VALUE_LEN, Timestamp};
use columns::Columns;
use lines::Lines;

/// The cells of a record; `None` is one that says that nothing is there.
type Cells = Vec<Option<Vec<u8>>>;

/// A key, its value, and when that expires, if it does.
type Record = (Vec<u8>, Vec<u8>, Option<Timestamp>);

/// Whether the file is read as `.export` writes it, so that `expires` is what it says.
const fn is_usual(import: &Import) -> bool {
    import.key.is_none() && import.value.is_none()
}

/// The moment that a column or field `expires` names; nothing in it is none.
fn moment(text: &[u8]) -> Result<Option<Timestamp>, Wrong> {
    if text.is_empty() {
        return Ok(None);
    }
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(|| {
        let what = format!("{} in \"expires\" is not a valid time", brief(text, 40));
        Wrong::new(
            what,
            "a time is written 2026-11-22T14:05:09.250Z; with --key and --value the column does not count",
        )
    })
}

/// What is wrong with a record, and what would be right.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    what: String,
    /// Empty when there is nothing to say.
    help: String,
}

impl Wrong {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { what: what.into(), help: help.into() }
    }
}

/// What came out of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Records, those included that a later one replaced.
    pub(crate) records: u64,
    /// What the user should know.
    pub(crate) notice: Option<String>,
}

/// Reads a file in a format and hands its records to `sink`.
pub(crate) fn read(
    name: &str,
    source: impl AsFd,
    (format, import): (Format, &Import),
    interrupt: &Interrupt,
    sink: Sink<'_>,
) -> Result<Imported, Failure> {
    let source = BufReader::with_capacity(READ_BYTES, Awaited::new(source, interrupt));
    read_from(name, source, (format, import), interrupt, sink)
}

pub(super) fn read_from(
    name: &str,
    source: impl BufRead,
    (format, import): (Format, &Import),
    interrupt: &Interrupt,
    sink: Sink<'_>,
) -> Result<Imported, Failure> {
    let mut records = Records { lines: Lines::new(name, source, interrupt), import, sink, count: 0 };
    let notice = match format {
        Format::Csv => records.rows(csv::next)?,
        Format::Tsv => records.rows(tsv::next)?,
        Format::Jsonl => records.objects()?,
    };
    Ok(Imported { records: records.count, notice })
}

/// The records of a file, on their way.
struct Records<'a, R> {
    lines: Lines<'a, R>,
    import: &'a Import,
    sink: Sink<'a>,
    count: u64,
}

impl<R: BufRead> Records<'_, R> {
    /// Takes rows of cells, the first of them the names of the columns unless there are none. Returns what should be said.
    fn rows(
        &mut self,
        next: impl Fn(&mut Lines<'_, R>, &mut Cells) -> Result<bool, Failure>,
    ) -> Result<Option<String>, Failure> {
        let mut cells = Cells::new();
        if !next(&mut self.lines, &mut cells)? {
            return Ok(None);
        }
        let columns = Columns::find(&cells, self.import).map_err(|wrong| self.lines.wrong(wrong))?;
        if self.import.no_header {
            self.row(&columns, &mut cells)?;
        }
        while next(&mut self.lines, &mut cells)? {
            self.row(&columns, &mut cells)?;
        }
        Ok(columns.notice)
    }

    fn row(&mut self, columns: &Columns, cells: &mut Cells) -> Result<(), Failure> {
        let record = columns.take(cells).map_err(|wrong| self.lines.wrong(wrong))?;
        self.record(record)
    }

    fn objects(&mut self) -> Result<Option<String>, Failure> {
        let Import { key, value, .. } = self.import;
        let name = |given: &Option<String>, usual: &str| given.clone().unwrap_or_else(|| usual.to_owned());
        let (has_lifetime, names) = (is_usual(self.import), [name(key, "key"), name(value, "value")]);
        while let Some(record) = jsonl::next(&mut self.lines, [&names[0], &names[1]], has_lifetime)? {
            self.record(record)?;
        }
        Ok(None)
    }

    fn record(&mut self, (key, value, expires): Record) -> Result<(), Failure> {
        let key = [&self.import.prefix[..], &key].concat();
        let too_long =
            |what, len, max| Wrong::new(format!("a {what} of {len} bytes is too long: at most {max}"), "");
        if key.len() > MAX_KEY_LEN {
            return Err(self.lines.wrong(too_long("key", key.len(), MAX_KEY_LEN)));
        }
        if value.len() > MAX_VALUE_LEN {
            return Err(self.lines.wrong(too_long("value", value.len(), MAX_VALUE_LEN)));
        }
        self.count += 1;
        (self.sink)(Key::from(key), value.into(), expires)
    }
}

/// What the base64 in a column or field stands for.
fn from_base64(text: &[u8], name: &str) -> Result<Vec<u8>, Wrong> {
    lexer::from_base64(text).ok_or_else(|| Wrong::new(format!("what \"{name}\" holds is not base64"), ""))
}

#[cfg(test)]
mod tests;
