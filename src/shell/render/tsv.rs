//! Records as lines of cells with a TAB between them, for every byte string: what `cut`, `awk` and `COPY` of Postgres take.
//!
//! | in a cell | stands for |
//! |---|---|
//! | `\\` `\t` `\n` `\r` | a backslash, TAB, LF, CR |
//! | `\xHH` | the byte with these hex digits: one of another control, or one that is not part of valid UTF-8 |
//! | `\N`, and nothing else in the cell | nothing is there |
//! | anything else | itself |
//!
//! The first line names the columns. Lines end with LF; a cell is one piece of UTF-8 and holds no TAB.

use std::ops::Range;

use crate::shell::command::Columns;
use crate::shell::literal::write_hex_escape;
use crate::shell::prefixes::Tally;

/// What stands for nothing.
pub(crate) const NOTHING: &[u8] = br"\N";

/// The names of the columns, without the end of the line.
pub(super) fn heading(out: &mut Vec<u8>, columns: Columns) {
    let line: &[u8] = match columns {
        Columns::Both => b"key\tvalue",
        Columns::Keys => b"key",
        Columns::Values => b"value",
    };
    out.extend_from_slice(line);
}

/// A record, the columns that were asked for, without the end of the line.
pub(super) fn record(out: &mut Vec<u8>, columns: Columns, key: &[u8], value: Option<&[u8]>) {
    if columns != Columns::Values {
        cell(out, key);
    }
    if columns == Columns::Both {
        out.push(b'\t');
    }
    if columns != Columns::Keys {
        match value {
            Some(value) => cell(out, value),
            None => out.extend_from_slice(NOTHING),
        }
    }
}

/// What the keys with a prefix come to.
pub(super) fn tally(out: &mut Vec<u8>, prefix: Option<&[u8]>, tally: &Tally) {
    match prefix {
        Some(prefix) => cell(out, prefix),
        None => out.extend_from_slice(NOTHING),
    }
    out.extend_from_slice(format!("\t{}\t{}\n", tally.keys, tally.bytes).as_bytes());
}

/// A cell.
pub(super) fn cell(out: &mut Vec<u8>, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.extend(br"\\"),
                '\t' => out.extend(br"\t"),
                '\n' => out.extend(br"\n"),
                '\r' => out.extend(br"\r"),
                _ => {
                    let mut buffer = [0; 4];
                    let encoded = c.encode_utf8(&mut buffer).as_bytes();
                    if c.is_control() {
                        write_hex(out, encoded);
                    } else {
                        out.extend_from_slice(encoded);
                    }
                }
            }
        }
        write_hex(out, chunk.invalid());
    }
}

fn write_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    for &byte in bytes {
        write_hex_escape(out, byte);
    }
}

/// The bytes that a cell stands for.
///
/// # Errors
/// Where in the cell there is a backslash that begins no escape.
pub(crate) fn read_cell(cell: &[u8]) -> Result<Vec<u8>, Range<usize>> {
    let mut bytes = Vec::with_capacity(cell.len());
    let mut rest = cell;
    while let Some(at) = rest.iter().position(|&byte| byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        let start = cell.len() - rest.len() + at;
        let (byte, len) = escaped(&rest[at + 1..]).ok_or(start..cell.len().min(start + 2))?;
        bytes.push(byte);
        rest = &rest[at + 1 + len..];
    }
    bytes.extend_from_slice(rest);
    Ok(bytes)
}

/// The byte that the text behind a backslash stands for, and how much of the text that takes.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match *text {
        [b'\\', ..] => Some((b'\\', 1)),
        [b't', ..] => Some((b'\t', 1)),
        [b'n', ..] => Some((b'\n', 1)),
        [b'r', ..] => Some((b'\r', 1)),
        [b'x', high, low, ..] => Some((hex(high)? << 4 | hex(low)?, 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_written_as_the_table_says() {
        let mut out = Vec::new();
        cell(&mut out, b"a\\b\tc\nd\re\x00\x7f\xc2\x9b\xff\xc3\xa9");
        assert_eq!(String::from_utf8(out).unwrap(), r"a\\b\tc\nd\re\x00\x7f\xc2\x9b\xffé");
    }

    #[test]
    fn a_backslash_that_begins_no_escape_is_found() {
        for (wrong, at) in
            [(&b"ab\\q"[..], 2..4), (b"\\", 0..1), (b"\\x0", 0..2), (b"\\xg0", 0..2), (NOTHING, 0..2)]
        {
            assert_eq!(read_cell(wrong), Err(at), "{}", wrong.escape_ascii());
        }
        assert_eq!(read_cell(br"\x4a\\"), Ok(b"J\\".to_vec()));
    }
}
