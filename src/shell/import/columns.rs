//! Which cells of a row are the key and the value.
//!
//! | given | the key is | the value is |
//! |---|---|---|
//! | `--key NAME`, `--value NAME` | the column that the first line calls so, else the column of that number, from 1 | the same |
//! | nothing, and the first line has a column `key`; `value` | that column | that column |
//! | nothing | the first column that is not the value | the first that is not the key |
//!
//! A column `expires` says when the value expires, if key and value were found as `.export` names them.
//!
//! Beside a column `NAME` there may be one `NAME_b64`, or it alone: where that is not empty it counts, and the other must be.

use super::{Cells, Record, Wrong, from_base64, is_usual, moment};
use crate::shell::command::Import;
use crate::shell::literal::brief;

/// Bytes of a name that messages show.
const SHOWN_LEN: usize = 40;

/// A column, by its text, by base64, or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Column {
    text: Option<usize>,
    base64: Option<usize>,
}

impl Column {
    const fn only(index: usize) -> Self {
        Self { text: Some(index), base64: None }
    }

    fn has(self, index: usize) -> bool {
        self.text == Some(index) || self.base64 == Some(index)
    }
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns {
    key: Column,
    value: Column,
    /// Where it says when the value expires.
    expires: Option<usize>,
    /// How many cells a row has.
    count: usize,
    /// What the user should know about the choice.
    pub(super) notice: Option<String>,
}

impl Columns {
    /// Finds the columns in the first row.
    pub(super) fn find(first: &Cells, import: &Import) -> Result<Self, Wrong> {
        let header = if import.no_header { &[][..] } else { &first[..] };
        let count = first.len();
        let chosen = |given: &Option<String>, usual: &str| match given {
            Some(name) => named(header, name)
                .or_else(|| numbered(name, count))
                .map(Some)
                .ok_or_else(|| unknown(name, header, count)),
            None => Ok(named(header, usual)),
        };
        let (key, value) = (chosen(&import.key, "key")?, chosen(&import.value, "value")?);
        let other_than = |other: Option<Column>| {
            let free = (0..count).find(|&index| other.is_none_or(|other| !other.has(index)));
            free.map(Column::only).ok_or_else(|| only_one(first))
        };
        let is_guessed = key.is_none() && value.is_none();
        let key = key.map_or_else(|| other_than(value), Ok)?;
        let value = value.map_or_else(|| other_than(Some(key)), Ok)?;
        let notice = (is_guessed && !import.no_header).then(|| taken_for_names(first));
        let expires = named(header, "expires").and_then(|column| column.text);
        let expires = expires.filter(|_| is_usual(import) && !is_guessed);
        Ok(Self { key, value, expires, count, notice })
    }

    /// Takes key and value out of a row.
    pub(super) fn take(&self, cells: &mut Cells) -> Result<Record, Wrong> {
        if cells.len() != self.count {
            let (found, expected) = (cells.len(), self.count);
            let cells = if found == 1 { "cell" } else { "cells" };
            return Err(Wrong::new(format!("{found} {cells}, but the first line has {expected}"), ""));
        }
        let expires = self.expires.and_then(|index| cells[index].take()).unwrap_or_default();
        Ok((take(cells, self.key, "key")?, take(cells, self.value, "value")?, moment(&expires)?))
    }
}

/// The column that the first line calls `name`.
fn named(header: &[Option<Vec<u8>>], name: &str) -> Option<Column> {
    let find = |name: &str| header.iter().position(|cell| cell.as_deref() == Some(name.as_bytes()));
    let column = Column { text: find(name), base64: find(&format!("{name}_b64")) };
    (column.text.is_some() || column.base64.is_some()).then_some(column)
}

fn numbered(name: &str, count: usize) -> Option<Column> {
    let number = name.parse::<usize>().ok().filter(|number| (1..=count).contains(number))?;
    Some(Column::only(number - 1))
}

fn take(cells: &mut Cells, column: Column, what: &str) -> Result<Vec<u8>, Wrong> {
    let base64 = column.base64.and_then(|index| cells[index].take()).filter(|text| !text.is_empty());
    // A column may be both key and value.
    let text = column.text.and_then(|index| cells[index].clone());
    match (text, base64) {
        (Some(text), Some(_)) if !text.is_empty() => Err(Wrong::new(
            format!("the {what} stands in two columns, as text and in base64"),
            "leave one of them empty",
        )),
        (_, Some(base64)) => from_base64(&base64, &format!("{what}_b64")),
        (Some(text), None) => Ok(text),
        (None, None) if column.text.is_none() => Ok(Vec::new()),
        (None, None) => Err(Wrong::new(
            format!("the {what} is \\N: nothing is there"),
            "leave the line out, or its cell empty",
        )),
    }
}

fn unknown(name: &str, header: &[Option<Vec<u8>>], count: usize) -> Wrong {
    let what = format!("no column {}", brief(name.as_bytes(), SHOWN_LEN));
    let columns = if count == 1 { "one column".to_owned() } else { format!("columns 1 to {count}") };
    Wrong::new(
        what,
        if header.is_empty() {
            format!("there are {columns}")
        } else {
            format!("the columns are {}", names(header))
        },
    )
}

fn only_one(first: &Cells) -> Wrong {
    Wrong::new(
        format!("only one column: {}", names(first)),
        "if it is another format, give --format csv, tsv or jsonl",
    )
}

fn taken_for_names(first: &Cells) -> String {
    format!(
        "the first line was taken for the names of the columns: {}; if it is a record, use --no-header",
        names(first)
    )
}

fn names(header: &[Option<Vec<u8>>]) -> String {
    let shown: Vec<String> =
        header.iter().take(8).map(|cell| brief(cell.as_deref().unwrap_or_default(), SHOWN_LEN)).collect();
    shown.join(", ") + if header.len() > 8 { ", …" } else { "" }
}
