//! Comma-separated records, read strictly: what RFC 4180 does not allow is an error with its line, not a guess.
//!
//! ```text
//! key,value                       a record ends at a line end that is not between quotes
//! a,"x, ""y"""                    a quoted cell: commas and line ends are data, two quotes are one
//! ```
//!
//! Readers that take everything make one cell of half a file when a quote is missing. Whoever imports wants to know.

use std::io::BufRead;

use super::lines::Lines;
use super::{Cells, Wrong};
use crate::shell::failure::Failure;

/// Reads the next record into `cells`; `false` at the end. Empty lines are passed over.
pub(super) fn next(lines: &mut Lines<'_, impl BufRead>, cells: &mut Cells) -> Result<bool, Failure> {
    loop {
        if !lines.next()? {
            return Ok(false);
        }
        let (mut seen, mut is_open) = (0, false);
        loop {
            is_open ^= has_odd_quotes(&lines.text[seen..]);
            if !is_open {
                break;
            }
            if seen == 0 {
                // What opens the quote may be wrong already, and what follows it no part of the record.
                split(&lines.text, cells).map_err(|wrong| lines.wrong(wrong))?;
            }
            seen = lines.text.len();
            if !lines.add()? {
                return Err(lines.wrong(Wrong::new(
                    "a quote that is never closed",
                    "two quotes stand for one inside a quoted cell",
                )));
            }
        }
        let record = without_end(&lines.text);
        if !record.is_empty() {
            return split(record, cells).map(|()| true).map_err(|wrong| lines.wrong(wrong));
        }
    }
}

/// Whether quotes are opened or closed in the text, all in all: every quote opens or closes, a doubled one does both.
fn has_odd_quotes(text: &[u8]) -> bool {
    text.iter().fold(false, |is_odd, &byte| is_odd ^ (byte == b'"'))
}

pub(super) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn split(mut rest: &[u8], cells: &mut Cells) -> Result<(), Wrong> {
    cells.clear();
    loop {
        let (cell, behind) = match rest.strip_prefix(b"\"") {
            Some(quoted) => unquoted(quoted),
            None => plain(rest)?,
        };
        cells.push(Some(cell));
        match behind {
            [] => return Ok(()),
            [b',', next @ ..] => rest = next,
            _ => {
                let help = "a quote inside a quoted cell is doubled: \"\"";
                return Err(Wrong::new("text behind a closing quote", help));
            }
        }
    }
}

/// A cell without quotes, and what stands behind it.
fn plain(rest: &[u8]) -> Result<(Vec<u8>, &[u8]), Wrong> {
    let end = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
    let (cell, behind) = rest.split_at(end);
    if cell.contains(&b'"') {
        let help = "a cell with a quote is quoted as a whole, and the quote doubled: \"a \"\"b\"\"\"";
        return Err(Wrong::new("a quote inside a cell that is not quoted", help));
    }
    Ok((cell.to_vec(), behind))
}

/// What stands before the closing quote, and what behind it.
fn unquoted(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut cell = Vec::new();
    loop {
        let end = rest.iter().position(|&byte| byte == b'"').unwrap_or(rest.len());
        cell.extend_from_slice(&rest[..end]);
        match &rest[end..] {
            [_, b'"', behind @ ..] => {
                cell.push(b'"');
                rest = behind;
            }
            behind => return (cell, behind.get(1..).unwrap_or_default()),
        }
    }
}
