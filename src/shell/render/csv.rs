//! Comma-separated records that every reader of RFC 4180 takes, for every byte string.
//!
//! ```text
//! key,value,value_b64
//! name,"Jaya ""JK"" Krishna",
//! blob,,AP8=
//! ```
//!
//! 1. The first line names the columns: `key` and `value`, or the one of them that was asked for.
//! 2. A cell is text: UTF-8 without controls but TAB, LF and CR. What is not stands in base64 in a further column, `key_b64` or
//!    `value_b64`, and leaves its own cell empty. That column is there only if something in the reply needs it, so whoever
//!    writes looks at all of the reply before the first record: see [`Binary`].
//! 3. A cell with a comma, a quote, a line end, or blanks at an end is quoted. So is one that is empty text: an empty cell
//!    without quotes is something that is not there.
//! 4. Lines end with LF.

use super::json::base64;
use crate::shell::command::Columns;
use crate::shell::prefixes::Tally;

/// Which columns of a reply hold something that is no text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Binary {
    pub(crate) keys: bool,
    pub(crate) values: bool,
}

impl Binary {
    /// Takes note of a record.
    pub(crate) fn look(&mut self, key: &[u8], value: &[u8]) {
        self.keys |= !is_text(key);
        self.values |= !is_text(value);
    }
}

/// Whether a cell can hold it as it is.
fn is_text(bytes: &[u8]) -> bool {
    let is_shown = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r');
    std::str::from_utf8(bytes).is_ok_and(|text| text.chars().all(is_shown))
}

/// The names of the columns, without the end of the line.
pub(super) fn heading(out: &mut Vec<u8>, columns: Columns, binary: Binary) {
    let both = columns == Columns::Both;
    let names: &[&str] = match columns {
        Columns::Both => &["key", "value"],
        Columns::Keys => &["key"],
        Columns::Values => &["value"],
    };
    let mut line = names.join(",");
    if binary.keys && (both || columns == Columns::Keys) {
        line += ",key_b64";
    }
    if binary.values && (both || columns == Columns::Values) {
        line += ",value_b64";
    }
    out.extend_from_slice(line.as_bytes());
}

/// A record, with the columns of its [`heading`], without the end of the line.
pub(super) fn record(out: &mut Vec<u8>, columns: Columns, binary: Binary, key: &[u8], value: Option<&[u8]>) {
    let (keys, values) = (columns != Columns::Values, columns != Columns::Keys);
    let mut gap = Gap::default();
    if keys {
        gap.cell(out, |out| text_cell(out, Some(key)));
    }
    if values {
        gap.cell(out, |out| text_cell(out, value));
    }
    if keys && binary.keys {
        gap.cell(out, |out| base64_cell(out, Some(key)));
    }
    if values && binary.values {
        gap.cell(out, |out| base64_cell(out, value));
    }
}

/// The names of the columns of a [`tally`].
pub(super) fn tally_heading(out: &mut Vec<u8>, binary: Binary) {
    out.extend_from_slice(if binary.keys {
        b"prefix,keys,bytes,prefix_b64\n"
    } else {
        b"prefix,keys,bytes\n"
    });
}

/// What the keys with a prefix come to.
pub(super) fn tally(out: &mut Vec<u8>, binary: Binary, prefix: Option<&[u8]>, tally: &Tally) {
    text_cell(out, prefix);
    out.extend_from_slice(format!(",{},{}", tally.keys, tally.bytes).as_bytes());
    if binary.keys {
        out.push(b',');
        base64_cell(out, prefix);
    }
    out.push(b'\n');
}

/// Puts a comma between cells.
#[derive(Default)]
struct Gap {
    is_due: bool,
}

impl Gap {
    fn cell(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if std::mem::replace(&mut self.is_due, true) {
            out.push(b',');
        }
        write(out);
    }
}

fn text_cell(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    if let Some(text) = bytes.filter(|bytes| is_text(bytes)) {
        cell(out, text);
    }
}

fn base64_cell(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes.filter(|bytes| !is_text(bytes)) {
        base64(out, bytes);
    }
}

/// A cell of text, quoted where it has to be.
pub(super) fn cell(out: &mut Vec<u8>, text: &[u8]) {
    let is_blank = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_whitespace);
    let is_plain = !is_blank(text.first())
        && !is_blank(text.last())
        && !text.iter().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r'));
    if is_plain {
        out.extend_from_slice(text);
        return;
    }
    out.push(b'"');
    for &byte in text {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}
