//! How a byte string is printed: as a literal that reads back to exactly the same bytes.
//!
//! Every key and value that a person or a program sees goes through [`write_literal`], so that no stored byte can
//! drive a terminal, break a line or be mistaken for something else.
//!
//! ```text
//! printed          for
//! "               one at each end, always
//! \" \\           " and \
//! \n \r \t        LF, CR, TAB
//! \xHH            the other bytes below 0x20, 0x7f, and every byte that is not part of valid UTF-8
//! \u{H…}          characters that draw nothing or steer the text around them: see is_hidden
//! the character   everything else: é stays é
//! ```
//!
//! 1. `parse(literal(b)) == b` for every byte string `b`.
//! 2. A literal is one line of valid UTF-8.
//! 3. Equal bytes give equal literals, on a terminal and in a pipe.

use std::borrow::Cow;

/// Appends the literal of `bytes` to `out`. Linear; nothing else is allocated.
pub fn write_literal(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        let (valid, invalid) = rest.split_at(error.valid_up_to());
        write_text(out, std::str::from_utf8(valid).unwrap_or_default());
        let (invalid, behind) = invalid.split_at(error.error_len().unwrap_or(invalid.len()));
        for &byte in invalid {
            write_hex_escape(out, byte);
        }
        rest = behind;
    }
    write_text(out, std::str::from_utf8(rest).unwrap_or_default());
    out.push(b'"');
}

/// The literal of `bytes`.
///
/// ```
/// use kvdb::shell::literal::literal;
/// assert_eq!(literal("é \"q\"\n".as_bytes()), r#""é \"q\"\n""#);
/// assert_eq!(literal(&[0x00, 0xff]), r#""\x00\xff""#);
/// ```
#[must_use]
pub fn literal(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len() + 2);
    write_literal(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

/// The literal of `bytes` for use in a message: cut to about `max_len` bytes of content, the cut shown by `…`.
#[must_use]
pub fn brief(bytes: &[u8], max_len: usize) -> String {
    if bytes.len() <= max_len {
        return literal(bytes);
    }
    let is_inside_char = |&at: &usize| bytes[at] & 0xc0 == 0x80;
    let end = (max_len.saturating_sub(3)..=max_len).rev().find(|at| !is_inside_char(at)).unwrap_or(max_len);
    format!("{}…", literal(&bytes[..end]))
}

/// Text of a message as it may be shown: a name in it can't drive the terminal or forge a line. Hidden characters are escaped as
/// in literals, everything else is as it is.
///
/// ```
/// use kvdb::shell::literal::harmless;
/// assert_eq!(harmless("cannot open \x1b[2J\n\"é\""), "cannot open \\x1b[2J\\x0a\"é\"");
/// ```
#[must_use]
pub fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return text.into();
    }
    let mut out = Vec::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            write_hidden(&mut out, c);
        } else {
            out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    String::from_utf8_lossy(&out).into_owned().into()
}

/// Whether a character draws nothing by itself or steers the text around it: controls, bidirectional marks,
/// zero-width and format characters, line separators, fillers, tags. Combining marks and emoji variation selectors
/// belong to the character before them and are not hidden.
#[must_use]
pub const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Appends the escape of a hidden character: `\xHH` below U+0080, `\u{…}` above.
pub(super) fn write_hidden(out: &mut Vec<u8>, c: char) {
    match u8::try_from(c) {
        Ok(byte) if byte.is_ascii() => write_hex_escape(out, byte),
        _ => out.extend(c.escape_unicode().map(|ascii| ascii as u8)),
    }
}

/// Appends `\xHH`.
pub(crate) fn write_hex_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend([b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
}

/// Copies runs of plain ASCII whole and looks closer at the rest.
fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut chars = rest[at..].chars();
        if let Some(c) = chars.next() {
            write_char(out, c);
        }
        rest = chars.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Printable ASCII that stands for itself.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn write_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend(b"\\\""),
        '\\' => out.extend(b"\\\\"),
        '\n' => out.extend(b"\\n"),
        '\r' => out.extend(b"\\r"),
        '\t' => out.extend(b"\\t"),
        _ if is_hidden(c) => write_hidden(out, c),
        _ => out.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::lexer::tokens;
    use proptest::prelude::*;

    #[test]
    fn every_class_of_byte_prints_as_the_table_says() {
        for (bytes, printed) in [
            (&b""[..], r#""""#),
            (b"plain text", r#""plain text""#),
            (b"say \"hi\" \\o/", r#""say \"hi\" \\o/""#),
            (b"it's", r#""it's""#),
            (b"a\nb\rc\td", r#""a\nb\rc\td""#),
            (b"\0\x1b[2J\x7f", r#""\x00\x1b[2J\x7f""#),
            ("é 漢 🦀 e\u{301}".as_bytes(), "\"é 漢 🦀 e\u{301}\""),
            ("\u{85}\u{9b}31m".as_bytes(), r#""\u{85}\u{9b}31m""#),
            ("a\u{202e}b\u{2066}".as_bytes(), r#""a\u{202e}b\u{2066}""#),
            ("\u{200b}\u{feff}\u{2028}\u{ad}".as_bytes(), r#""\u{200b}\u{feff}\u{2028}\u{ad}""#),
            ("\u{e0041}".as_bytes(), r#""\u{e0041}""#),
            (b"\xff\xc3(\xc3", r#""\xff\xc3(\xc3""#),
            (b"\xe2\x82", r#""\xe2\x82""#),
            (b"\xed\xa0\x80", r#""\xed\xa0\x80""#),
        ] {
            assert_eq!(literal(bytes), printed);
        }
    }

    #[test]
    fn a_brief_literal_is_cut_between_characters() {
        assert_eq!(brief(b"abc", 3), r#""abc""#);
        assert_eq!(brief(b"abcd", 3), r#""abc"…"#);
        assert_eq!(brief("ééé".as_bytes(), 3), r#""é"…"#);
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let printed = literal(&bytes);
            let read: Vec<_> = tokens(printed.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(&*read[0].bytes, &bytes[..]);
        }

        #[test]
        fn text_reads_back_and_prints_on_one_harmless_line(text in "\\PC*|[\\x00-\\x20\u{80}-\u{ad}\u{2000}-\u{2070}\"'\\\\x]*") {
            let printed = literal(text.as_bytes());
            prop_assert!(!printed.chars().any(is_hidden));
            let read: Vec<_> = tokens(printed.as_bytes()).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(&*read[0].bytes, text.as_bytes());
        }
    }
}
