//! Replies as JSON that is valid for every byte string.
//!
//! Characters that would steer a terminal are escaped, which means the same to whoever reads it. A key or value that is UTF-8
//! is a string under its name; any other stands in padded base64 (RFC 4648) under its name with `_b64`.

use serde_json::Value;

use super::Left;
use crate::shell::command::Columns;
use crate::shell::literal::is_hidden;
use crate::shell::prefixes::Tally;
use crate::types::Timestamp;

/// A record: the fields that the columns ask for.
pub(super) fn record(
    out: &mut Vec<u8>,
    columns: Columns,
    key: &[u8],
    value: Option<&[u8]>,
    expires: Option<Timestamp>,
) {
    out.push(b'{');
    if columns != Columns::Values {
        field(out, "key", Some(key));
    }
    if columns == Columns::Both {
        out.push(b',');
    }
    if columns != Columns::Keys {
        field(out, "value", value);
    }
    if let Some(expires) = expires {
        out.extend_from_slice(format!(",\"expires\":\"{expires}\"").as_bytes());
    }
    out.push(b'}');
}

/// Whether a key is there.
pub(super) fn presence(out: &mut Vec<u8>, key: &[u8], there: bool) {
    out.push(b'{');
    field(out, "key", Some(key));
    out.extend_from_slice(if there { b",\"exists\":true}" } else { b",\"exists\":false}" });
}

/// How long a key will be there, if it is, and if it does not stay: in milliseconds.
pub(super) fn lifetime(out: &mut Vec<u8>, key: &[u8], left: Left) {
    out.push(b'{');
    field(out, "key", Some(key));
    let millis = match left {
        Left::For(left) => left.as_millis().to_string(),
        Left::Forever | Left::Gone => "null".to_owned(),
    };
    let there = left != Left::Gone;
    out.extend_from_slice(format!(",\"exists\":{there},\"ttl_ms\":{millis}}}").as_bytes());
}

/// What the keys with a prefix come to.
pub(super) fn tally(out: &mut Vec<u8>, prefix: Option<&[u8]>, tally: &Tally) {
    out.push(b'{');
    field(out, "prefix", prefix);
    out.extend_from_slice(format!(",\"keys\":{},\"bytes\":{}}}", tally.keys, tally.bytes).as_bytes());
}

/// An object of named figures.
pub(super) fn figures<N: AsRef<str>>(out: &mut Vec<u8>, rows: &[(N, Value)]) {
    out.push(b'{');
    for (index, (name, value)) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, name.as_ref());
        out.push(b':');
        out.extend_from_slice(value.to_string().as_bytes());
    }
    out.push(b'}');
}

/// A JSON string. Characters that draw nothing or steer a terminal are escaped.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| character(out, c));
    }
    out.push(b'"');
}

fn character(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend(br#"\""#),
        '\\' => out.extend(br"\\"),
        '\n' => out.extend(br"\n"),
        '\r' => out.extend(br"\r"),
        '\t' => out.extend(br"\t"),
        _ if is_hidden(c) => {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
            }
        }
        _ => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn field(out: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => out.extend_from_slice(b"\":null"),
        Some((_, Ok(text))) => {
            out.extend_from_slice(b"\":");
            string(out, text);
        }
        Some((bytes, Err(_))) => {
            out.extend_from_slice(b"_b64\":\"");
            base64(out, bytes);
            out.push(b'"');
        }
    }
}

/// Bytes as the value of a field, with the field's name.
pub(crate) fn named(name: &str, bytes: &[u8]) -> (String, Value) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (name.to_owned(), text.into());
    }
    let mut encoded = Vec::new();
    base64(&mut encoded, bytes);
    (format!("{name}_b64"), String::from_utf8_lossy(&encoded).into())
}

pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let is_padding = digit > group.len();
            let index = (bits >> (18 - 6 * digit)) & 63;
            out.push(if is_padding { b'=' } else { ALPHABET[index as usize] });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_matches_the_vectors_of_its_rfc() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (bytes, expected) in vectors {
            let mut out = Vec::new();
            base64(&mut out, bytes.as_bytes());
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn every_byte_string_makes_valid_json() {
        for bytes in [&b"plain"[..], b"\"\\\n\x00", b"\xff\xfe", "\u{2028}é".as_bytes(), b""] {
            let mut out = Vec::new();
            record(&mut out, Columns::Both, bytes, Some(bytes), None);
            let parsed: serde_json::Value = serde_json::from_slice(&out).unwrap();
            match std::str::from_utf8(bytes) {
                Ok(text) => assert_eq!((&parsed["key"], &parsed["value"]), (&text.into(), &text.into())),
                Err(_) => assert_eq!(parsed["value_b64"], "//4="),
            }
        }
    }
}
