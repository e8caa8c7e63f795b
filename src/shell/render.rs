//! Replies as bytes: what every kind of reply looks like in every output mode.
//!
//! | reply | quoted | raw, null | json, jsonl | csv, tsv | table | script |
//! |---|---|---|---|---|---|---|
//! | done | `OK` | `OK` | `{"ok":true}` | `OK` | `OK` | `# OK` |
//! | number | `3` | `3` | `{"deleted":3}`, `count`, `value`, `length` | `3` | `3` | `# 3` |
//! | `get` | `"v"` or `null` | the bytes; nothing if absent | `{"key":"k","value":"v"}` or `null` | rows | rows | `set "k" "v"`; absent: `# "k" is not there` |
//! | condition not met | `null` | `null` | `null` | `null` | `null` | `# null` |
//! | `ttl` | `9m59.5s`, `none` or `null` | as quoted | `{"key":"k","exists":true,"ttl_ms":599500}` | as quoted | as quoted | behind `# ` |
//! | `exists` | `true` | `true` | `{"key":"k","exists":true}` | `true` | `true` | `# true` |
//! | `scan` | `"k" "v"` | `k` TAB `v` | `{"key":"k","value":"v"}` | rows | rows | `set "k" "v"` |
//! | `keys`, `scan --values` | `"k"`, `"v"` | the bytes | `{"key":"k"}`, `{"value":"v"}` | rows | rows | `set "k" "v"` |
//! | figures (`.stats`, `.show`; on a terminal `.stats` is text) | `name  value` | as quoted | one object | rows | as quoted | as quoted, behind `# ` |
//! | text (`help`, `.version`) | as it is | as it is | a JSON string | as it is | as it is | behind `# ` |
//!
//! 1. Every reply ends with a newline and every record is one line, except in `raw`, in `null`, and in `csv` where a cell holds a
//!    line end.
//! 2. `raw` writes the bytes of keys and values and adds nothing. Where several records come out of one run that is not
//!    a session, one newline stands between them and none behind the last; in a session, and in a script that may be waiting for
//!    the answer, each record ends with a newline. `null` ends each key, value, word and number with a NUL instead and adds nothing
//!    else: for `xargs -0`.
//! 3. `json` is one document per command: an object, or an array of objects where a command can answer with several
//!    (`scan`, or more than one key). `jsonl` is the same objects, one a line. What is not UTF-8 stands in base64 in
//!    `key_b64` or `value_b64` instead of `key` or `value`, so the output is valid for every byte string.
//! 4. `csv` and `tsv` are tables for programs, each reply that is made of records with its columns' names: [`csv`], [`tsv`].
//! 5. `script` output is a script: running it stores the records again. Columns are not left out there.
//! 6. `table` cuts to the width of the terminal, and cuts nothing when the output is no terminal; its cells are literals.

mod csv;
mod json;
mod table;
pub(crate) mod tsv;

use std::time::Duration;

use serde_json::Value;

use super::command::{Columns, OutputMode};
use super::duration;
use super::execute::Answer;
use super::literal::{harmless, write_literal};
use super::prefixes::Tally;
use crate::types::Timestamp;
pub(crate) use csv::Binary;
use table::Table;
pub(crate) use table::cut;

pub(super) use json::named as json_field;

/// What kind of thing a number counts: its name in JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quantity {
    Deleted,
    Count,
    Value,
    Length,
    Undone,
    Imported,
    WouldImport,
    Exported,
}

impl Quantity {
    const fn name(self) -> &'static str {
        match self {
            Self::Deleted => "deleted",
            Self::Count => "count",
            Self::Value => "value",
            Self::Length => "length",
            Self::Undone => "undone",
            Self::Imported => "imported",
            Self::WouldImport => "would_import",
            Self::Exported => "exported",
        }
    }
}

/// How long a key will be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It is not.
    Gone,
    /// It stays.
    Forever,
    /// For so long.
    For(Duration),
}

/// Writes replies in one mode.
pub(crate) struct Renderer {
    pub(crate) mode: OutputMode,
    /// Tells the columns of the terminal, if the output is one.
    width: Option<fn() -> usize>,
    /// What is written goes to a file all the same.
    pub(crate) is_redirected: bool,
    /// Raw records end with a newline; else one stands between them.
    raw_lines: bool,
    /// A raw record was written without an end.
    raw_open: bool,
}

impl Renderer {
    pub(crate) const fn new(mode: OutputMode, width: Option<fn() -> usize>, raw_lines: bool) -> Self {
        Self { mode, width, is_redirected: false, raw_lines, raw_open: false }
    }

    /// The columns of the terminal, if the output is one.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.width.filter(|_| !self.is_redirected).map(|width| width())
    }

    const fn is_json(&self) -> bool {
        matches!(self.mode, OutputMode::Json | OutputMode::Jsonl)
    }

    /// A command is done and has nothing else to say.
    pub(crate) fn done(&mut self, out: &mut Vec<u8>) {
        let text: &[u8] = if self.is_json() { br#"{"ok":true}"# } else { b"OK" };
        self.word(out, text);
    }

    /// A command is done, or its condition did not hold: whether it is.
    pub(crate) fn done_or_not(&mut self, out: &mut Vec<u8>, is_done: bool) -> Answer {
        if is_done {
            self.done(out);
            Answer::Yes
        } else {
            self.word(out, b"null");
            Answer::No
        }
    }

    /// A count or a new number.
    pub(crate) fn number(&mut self, out: &mut Vec<u8>, quantity: Quantity, number: impl std::fmt::Display) {
        if self.is_json() {
            self.word(out, format!("{{\"{}\":{number}}}", quantity.name()).as_bytes());
        } else {
            self.word(out, number.to_string().as_bytes());
        }
    }

    /// Whether each of some keys is there.
    pub(crate) fn presence<K: AsRef<[u8]>>(&mut self, out: &mut Vec<u8>, answers: &[(K, bool)]) {
        let word = |there: &bool| there.to_string();
        self.each(out, answers, word, |out, key, there| json::presence(out, key, *there));
    }

    /// How long each of some keys will be there, if it is, and if it does not stay.
    pub(crate) fn lifetimes<K: AsRef<[u8]>>(&mut self, out: &mut Vec<u8>, answers: &[(K, Left)]) {
        let word = |left: &Left| match left {
            Left::For(left) => duration::text(*left),
            Left::Forever => "none".to_owned(),
            Left::Gone => "null".to_owned(),
        };
        self.each(out, answers, word, |out, key, left| json::lifetime(out, key, *left));
    }

    /// An answer for each of some keys: a word, or an object.
    fn each<K: AsRef<[u8]>, T>(
        &mut self,
        out: &mut Vec<u8>,
        answers: &[(K, T)],
        word: impl Fn(&T) -> String,
        object: impl Fn(&mut Vec<u8>, &[u8], &T),
    ) {
        let is_array = self.mode == OutputMode::Json && answers.len() > 1;
        for (index, (key, answer)) in answers.iter().enumerate() {
            if !self.is_json() {
                self.word(out, word(answer).as_bytes());
                continue;
            }
            self.open_element(out, is_array, index == 0);
            object(out, key.as_ref(), answer);
            self.close_element(out, is_array);
        }
        if is_array {
            out.extend_from_slice(b"]\n");
        }
    }

    /// Named figures, aligned.
    pub(crate) fn figures<N: AsRef<str>>(&mut self, out: &mut Vec<u8>, rows: &[(N, Value)]) {
        if self.is_json() {
            json::figures(out, rows);
            out.push(b'\n');
            return;
        }
        if matches!(self.mode, OutputMode::Csv | OutputMode::Tsv) {
            self.figure_rows(out, rows);
            return;
        }
        let width = rows.iter().map(|(name, _)| name.as_ref().len()).max().unwrap_or(0);
        let line = |(name, value): &(N, Value)| match value {
            Value::String(text) => format!("{:width$}  {}\n", name.as_ref(), harmless(text)),
            other => format!("{:width$}  {other}\n", name.as_ref()),
        };
        self.text(out, &rows.iter().map(line).collect::<String>());
    }

    /// Named figures as rows with two columns.
    fn figure_rows<N: AsRef<str>>(&self, out: &mut Vec<u8>, rows: &[(N, Value)]) {
        self.row(out, ["name", "value"]);
        for (name, value) in rows {
            match value {
                Value::String(text) => self.row(out, [name.as_ref(), text]),
                other => self.row(out, [name.as_ref(), &other.to_string()]),
            }
        }
    }

    /// A row of text in CSV or TSV.
    fn row<const N: usize>(&self, out: &mut Vec<u8>, cells: [&str; N]) {
        let is_csv = self.mode == OutputMode::Csv;
        let cell = if is_csv { csv::cell } else { tsv::cell };
        for (index, text) in cells.into_iter().enumerate() {
            if index > 0 {
                out.push(if is_csv { b',' } else { b'\t' });
            }
            cell(out, text.as_bytes());
        }
        out.push(b'\n');
    }

    /// Settings with their values, and where each comes from.
    pub(crate) fn settings(&mut self, out: &mut Vec<u8>, rows: &[(&'static str, String, String)]) {
        match self.mode {
            OutputMode::Json | OutputMode::Jsonl => {
                let value = |text: &str| text.parse::<u64>().map_or_else(|_| text.into(), Value::from);
                let sources =
                    rows.iter().map(|(name, _, source)| ((*name).to_owned(), source.clone().into()));
                let sources = Value::Object(sources.collect());
                let values = rows.iter().map(|(name, text, _)| (*name, value(text)));
                self.figures(out, &values.chain([("sources", sources)]).collect::<Vec<_>>());
            }
            OutputMode::Csv | OutputMode::Tsv => {
                self.row(out, ["name", "value", "source"]);
                for (name, value, source) in rows {
                    self.row(out, [name, value, source]);
                }
            }
            _ => {
                let width = rows.iter().map(|(_, value, _)| value.chars().count()).max().unwrap_or(0);
                let line = |(name, value, source): &(&'static str, String, String)| {
                    (*name, format!("{value:width$}  ({source})").into())
                };
                self.figures(out, &rows.iter().map(line).collect::<Vec<_>>());
            }
        }
    }

    /// Texts, one a line; in JSON an array.
    pub(crate) fn texts(&mut self, out: &mut Vec<u8>, texts: &[String]) {
        if self.mode != OutputMode::Json {
            for text in texts {
                self.text(out, text);
            }
            return;
        }
        out.push(b'[');
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            json::string(out, text);
        }
        out.extend_from_slice(b"]\n");
    }

    /// Prefixes with their keys and bytes, a row each; `None` stands for what has no prefix.
    pub(crate) fn tallies(&mut self, out: &mut Vec<u8>, rows: &[(Option<&[u8]>, &Tally)]) {
        let mut binary = Binary::default();
        for (prefix, _) in rows {
            binary.look(prefix.unwrap_or_default(), b"");
        }
        match self.mode {
            OutputMode::Csv => csv::tally_heading(out, binary),
            OutputMode::Tsv => out.extend_from_slice(b"prefix\tkeys\tbytes\n"),
            _ => {}
        }
        for (index, (prefix, tally)) in rows.iter().enumerate() {
            self.open_element(out, true, index == 0);
            match self.mode {
                OutputMode::Json | OutputMode::Jsonl => json::tally(out, *prefix, tally),
                OutputMode::Csv => csv::tally(out, binary, *prefix, tally),
                OutputMode::Tsv => tsv::tally(out, *prefix, tally),
                _ => {
                    out.extend_from_slice(if self.mode == OutputMode::Script { b"# " } else { b"" });
                    literal_or_null(out, *prefix);
                    out.extend_from_slice(format!(" {} {}", tally.keys, tally.bytes).as_bytes());
                }
            }
            if !matches!(self.mode, OutputMode::Csv | OutputMode::Tsv) {
                self.close_element(out, true);
            }
        }
        if self.mode == OutputMode::Json {
            out.extend_from_slice(if rows.is_empty() { b"[]\n" } else { b"]\n" });
        }
    }

    /// Text for people.
    pub(crate) fn text(&mut self, out: &mut Vec<u8>, text: &str) {
        self.end_raw(out);
        match self.mode {
            OutputMode::Json | OutputMode::Jsonl => {
                json::string(out, text.trim_end());
                out.push(b'\n');
            }
            OutputMode::Script => {
                for line in text.lines() {
                    out.extend_from_slice(if line.is_empty() { b"#" } else { b"# " });
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
            }
            _ if text.is_empty() => {}
            _ => {
                out.extend_from_slice(text.trim_end().as_bytes());
                out.push(b'\n');
            }
        }
    }

    /// Begins a reply made of records. `several` tells whether there may be more than one.
    pub(crate) fn records(&mut self, columns: Columns, several: bool) -> Records<'_> {
        let table =
            (self.mode == OutputMode::Table).then(|| Table::new(table::headings(columns), self.columns()));
        Records {
            renderer: self,
            columns,
            binary: Binary::default(),
            lifetimes: false,
            is_array: several,
            count: 0,
            table,
        }
    }

    /// Whether a record is written with its value even where only keys were asked for.
    pub(crate) fn wants_values(&self) -> bool {
        self.mode == OutputMode::Script
    }

    /// Whether a reply made of records is looked at as a whole before it is written.
    pub(crate) fn looks_ahead(&self) -> bool {
        self.mode == OutputMode::Csv
    }

    /// Begins the reply to `get`: the values alone where they are for people or taken as they are, else with their keys.
    pub(crate) fn answers(&mut self, several: bool) -> Records<'_> {
        let alone = matches!(self.mode, OutputMode::Quoted | OutputMode::Raw | OutputMode::Null);
        self.records(if alone { Columns::Values } else { Columns::Both }, several)
    }

    /// A reply that is one short word of the shell's own.
    fn word(&mut self, out: &mut Vec<u8>, text: &[u8]) {
        self.end_raw(out);
        if self.mode == OutputMode::Script {
            out.extend_from_slice(b"# ");
        }
        out.extend_from_slice(text);
        out.push(if self.mode == OutputMode::Null { 0 } else { b'\n' });
    }

    /// Ends a raw record that was left without its newline.
    fn end_raw(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.raw_open) {
            out.push(b'\n');
        }
    }

    /// Writes what stands before an element of a JSON document.
    fn open_element(&self, out: &mut Vec<u8>, is_array: bool, is_first: bool) {
        if is_array && self.mode == OutputMode::Json {
            out.extend_from_slice(if is_first { b"[" } else { b",\n" });
        }
    }

    /// Writes what stands behind an element.
    fn close_element(&self, out: &mut Vec<u8>, is_array: bool) {
        if !(is_array && self.mode == OutputMode::Json) {
            out.push(b'\n');
        }
    }
}

/// A reply made of records, as it is written.
pub(crate) struct Records<'a> {
    renderer: &'a mut Renderer,
    columns: Columns,
    binary: Binary,
    /// Whether rows and objects say when a value expires.
    lifetimes: bool,
    is_array: bool,
    count: u64,
    table: Option<Table>,
}

impl Records<'_> {
    /// Says what a look at all of the records has found, before the first of them is written.
    pub(crate) fn foresee(&mut self, binary: Binary) {
        self.binary = binary;
    }

    /// Has rows and objects say when a value expires, which a script says anyway.
    pub(crate) fn tell_lifetimes(&mut self) {
        self.lifetimes = true;
    }

    /// Writes a record; `None` stands for a key that is not there.
    pub(crate) fn record(&mut self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
        self.record_until(out, key, value, None);
    }

    /// The same, of a value that may expire.
    pub(crate) fn record_until(
        &mut self,
        out: &mut Vec<u8>,
        key: &[u8],
        value: Option<&[u8]>,
        expires: Option<Timestamp>,
    ) {
        self.begin(out);
        match self.renderer.mode {
            OutputMode::Quoted => self.quoted(out, key, value),
            OutputMode::Raw => self.raw(out, key, value),
            OutputMode::Null => self.null(out, key, value),
            OutputMode::Csv => {
                csv::record(out, self.columns, self.binary, key, value);
                self.moment(out, b",", expires);
            }
            OutputMode::Tsv => {
                tsv::record(out, self.columns, key, value);
                self.moment(out, b"\t", expires);
            }
            OutputMode::Json | OutputMode::Jsonl => self.json(out, key, value, expires),
            OutputMode::Table => self.row(out, key, value),
            OutputMode::Script => match value {
                Some(value) => write_set(out, key, value, expires),
                None => absent(out, key),
            },
        }
        self.count += 1;
    }

    /// Writes the names of the columns before the first record.
    fn begin(&self, out: &mut Vec<u8>) {
        match self.renderer.mode {
            _ if self.count > 0 => {}
            OutputMode::Csv => {
                csv::heading(out, self.columns, self.binary);
                out.extend_from_slice(if self.lifetimes { b",expires\n" } else { b"\n" });
            }
            OutputMode::Tsv => {
                tsv::heading(out, self.columns);
                out.extend_from_slice(if self.lifetimes { b"\texpires\n" } else { b"\n" });
            }
            _ => {}
        }
    }

    /// Ends a row, with the moment at which its value expires where that is asked for.
    fn moment(&self, out: &mut Vec<u8>, gap: &[u8], expires: Option<Timestamp>) {
        if self.lifetimes {
            out.extend_from_slice(gap);
            out.extend(expires.map(|expires| expires.to_string()).unwrap_or_default().bytes());
        }
        out.push(b'\n');
    }

    /// Writes what closes the reply.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        self.begin(out);
        if let Some(table) = self.table {
            table.end(out);
        }
        if self.is_array && self.renderer.mode == OutputMode::Json {
            out.extend_from_slice(if self.count == 0 { b"[]\n" } else { b"]\n" });
        }
    }

    fn quoted(&self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
        if self.columns != Columns::Values {
            write_literal(out, key);
        }
        if self.columns == Columns::Both {
            out.push(b' ');
        }
        if self.columns != Columns::Keys {
            literal_or_null(out, value);
        }
        out.push(b'\n');
    }

    fn raw(&mut self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else { return };
        self.renderer.end_raw(out);
        if self.columns != Columns::Values {
            out.extend_from_slice(key);
        }
        if self.columns == Columns::Both {
            out.push(b'\t');
        }
        if self.columns != Columns::Keys {
            out.extend_from_slice(value);
        }
        self.renderer.raw_open = true;
        if self.renderer.raw_lines {
            self.renderer.end_raw(out);
        }
    }

    fn null(&self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else { return };
        if self.columns != Columns::Values {
            out.extend_from_slice(key);
            out.push(0);
        }
        if self.columns != Columns::Keys {
            out.extend_from_slice(value);
            out.push(0);
        }
    }

    fn json(&self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>, expires: Option<Timestamp>) {
        self.renderer.open_element(out, self.is_array, self.count == 0);
        json::record(out, self.columns, key, value, expires.filter(|_| self.lifetimes));
        self.renderer.close_element(out, self.is_array);
    }

    fn row(&mut self, out: &mut Vec<u8>, key: &[u8], value: Option<&[u8]>) {
        let mut cells = Vec::with_capacity(2);
        if self.columns != Columns::Values {
            cells.push(cell(Some(key)));
        }
        if self.columns != Columns::Keys {
            cells.push(cell(value));
        }
        if let Some(table) = &mut self.table {
            table.row(out, cells);
        }
    }
}

fn literal_or_null(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        Some(value) => write_literal(out, value),
        None => out.extend_from_slice(b"null"),
    }
}

fn cell(value: Option<&[u8]>) -> String {
    let mut literal = Vec::new();
    literal_or_null(&mut literal, value);
    String::from_utf8_lossy(&literal).into_owned()
}

/// Writes the line that stores a record.
pub(super) fn write_set(out: &mut Vec<u8>, key: &[u8], value: &[u8], expires: Option<Timestamp>) {
    out.extend_from_slice(b"set ");
    write_literal(out, key);
    out.push(b' ');
    write_literal(out, value);
    if let Some(expires) = expires {
        out.extend_from_slice(format!(" --expires-at {expires}").as_bytes());
    }
    out.push(b'\n');
}

fn absent(out: &mut Vec<u8>, key: &[u8]) {
    out.extend_from_slice(b"# ");
    write_literal(out, key);
    out.extend_from_slice(b" is not there\n");
}

#[cfg(test)]
mod tests;
