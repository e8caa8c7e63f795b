//! Patterns for keys: `scan --glob 'user:*:name'`.
//!
//! | in a pattern | stands for |
//! |---|---|
//! | `*` | any bytes, or none |
//! | `?` | one character, or one byte that is not a part of any |
//! | `[abc]` `[a-z]` | one of these characters |
//! | `[!a-z]` | one character, or byte, that is none of these |
//! | `\` and a character | that character |
//! | everything else | itself |
//!
//! 1. All of a key must match. A pattern of N parts looks at a key of M bytes at most N × M times, whatever they are: of the stars
//!    passed only the last is ever gone back to.
//! 2. The prefix of a pattern is how every key that matches begins, so only those are walked over.

use std::ops::RangeInclusive;

/// A pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    parts: Vec<Part>,
}

/// What one place of a key is held against.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Any,
    /// `[…]`
    Set {
        ranges: Vec<RangeInclusive<char>>,
        is_negated: bool,
    },
}

/// What is wrong with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// A `[` that is never closed, or holds what is not UTF-8.
    Set,
    /// A `\` at the end.
    Escape,
}

impl Glob {
    /// Reads a pattern.
    pub(crate) fn read(mut text: &[u8]) -> Result<Self, Wrong> {
        let mut parts = Vec::new();
        while let Some((&first, rest)) = text.split_first() {
            text = rest;
            parts.push(match first {
                b'*' => Part::Any,
                b'?' => Part::One,
                b'[' => {
                    let (set, behind) = set(rest).ok_or(Wrong::Set)?;
                    text = behind;
                    set
                }
                b'\\' => {
                    let (&escaped, behind) = rest.split_first().ok_or(Wrong::Escape)?;
                    text = behind;
                    Part::Byte(escaped)
                }
                byte => Part::Byte(byte),
            });
        }
        Ok(Self { parts })
    }

    /// What every key that matches begins with.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        let byte = |part: &Part| if let Part::Byte(byte) = part { Some(*byte) } else { None };
        self.parts.iter().map_while(byte).collect()
    }

    /// Whether all of a key matches.
    pub(crate) fn matches(&self, key: &[u8]) -> bool {
        let (mut part, mut at) = (0, 0);
        // Behind the last star, and where in the key what it stands for ends.
        let mut star: Option<(usize, usize)> = None;
        while part < self.parts.len() || at < key.len() {
            match self.parts.get(part) {
                Some(Part::Any) => star = Some((part + 1, at)),
                Some(one) if let Some(len) = one.len_at(&key[at..]) => at += len,
                _ => match &mut star {
                    Some((behind, end)) if *end < key.len() => {
                        *end += first(&key[*end..]).1;
                        (part, at) = (*behind, *end);
                        continue;
                    }
                    _ => return false,
                },
            }
            part += 1;
        }
        true
    }
}

impl Part {
    /// How many bytes at the start of `rest` match; `None` if it does not. Never asked of a star.
    fn len_at(&self, rest: &[u8]) -> Option<usize> {
        let (c, len) = if rest.is_empty() { return None } else { first(rest) };
        match self {
            Self::Byte(byte) => (rest[0] == *byte).then_some(1),
            Self::One => Some(len),
            Self::Set { ranges, is_negated } => {
                let is_in = c.is_some_and(|c| ranges.iter().any(|range| range.contains(&c)));
                (is_in != *is_negated).then_some(len)
            }
            Self::Any => None,
        }
    }
}

/// The character that some bytes begin with, if they do, and the length of that; of a byte that is not a part of any, 1.
fn first(bytes: &[u8]) -> (Option<char>, usize) {
    let start = &bytes[..bytes.len().min(4)];
    let c = start.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    (c, c.map_or(1, char::len_utf8))
}

/// The set that follows a `[`, and what is behind it.
fn set(text: &[u8]) -> Option<(Part, &[u8])> {
    let is_negated = matches!(text.first(), Some(b'!' | b'^'));
    let mut rest = &text[usize::from(is_negated)..];
    let mut ranges = Vec::new();
    // A bracket that comes first is one of the characters.
    while rest.first() != Some(&b']') || ranges.is_empty() {
        let low = member(&mut rest)?;
        let is_range = matches!(rest, [b'-', end, ..] if *end != b']');
        if is_range {
            rest = &rest[1..];
        }
        ranges.push(low..=if is_range { member(&mut rest)? } else { low });
    }
    Some((Part::Set { ranges, is_negated }, &rest[1..]))
}

/// A character of a set, which may be escaped.
fn member(rest: &mut &[u8]) -> Option<char> {
    if rest.first() == Some(&b'\\') {
        *rest = &rest[1..];
    }
    let (c, len) = if rest.is_empty() { return None } else { first(rest) };
    *rest = &rest[len..];
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, key: &[u8]) -> bool {
        let glob = Glob::read(pattern.as_bytes()).unwrap();
        let found = glob.matches(key);
        assert!(!found || key.starts_with(&glob.prefix()), "{pattern}");
        found
    }

    #[test]
    fn keys_match_as_a_whole() {
        for (pattern, keys) in [
            ("", &[""][..]),
            ("*", &["", "a", "a:b"]),
            ("user:*", &["user:", "user:1", "user:1:x"]),
            ("user:*:name", &["user:1:name", "user::name", "user:a:name:name"]),
            ("*b*b*", &["bb", "abab", "xbxxbx"]),
            ("a?c", &["abc", "aéc", "a*c"]),
            ("[a-c][!0-9]x", &["abx", "céx"]),
            ("[]-]", &["]", "-"]),
            ("[^]]", &["a"]),
            (r"\*\[", &["*["]),
            (r"[\]a]", &["]", "a"]),
        ] {
            for key in keys {
                assert!(matches(pattern, key.as_bytes()), "{pattern} {key}");
            }
        }
        for (pattern, key) in [
            ("", "a"),
            ("user:*", "user"),
            ("a", "ab"),
            ("*b", "ba"),
            ("a?c", "ac"),
            ("[a-c]", "d"),
            ("?", "ab"),
        ] {
            assert!(!matches(pattern, key.as_bytes()), "{pattern} {key}");
        }
    }

    #[test]
    fn bytes_that_are_no_characters_count_one_by_one() {
        assert!(matches("??", b"\xff\xc3") && !matches("?", b"\xff\xc3"));
        assert!(
            matches("*\u{e9}", b"\xc3\xc3\xa9") && matches("[!a]", b"\xff") && !matches("[a-z]", b"\xff")
        );
        assert!(!matches("??", "é".as_bytes()) && !matches("*??", "é".as_bytes()));
    }

    #[test]
    fn what_is_not_finished_is_wrong() {
        for pattern in ["[", "[a", "[]", "[a-", "a[!]"] {
            assert_eq!(Glob::read(pattern.as_bytes()), Err(Wrong::Set), "{pattern}");
        }
        assert_eq!(Glob::read(b"[\xff]"), Err(Wrong::Set));
        assert_eq!(Glob::read(b"a\\"), Err(Wrong::Escape));
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = "a*".repeat(500) + "b";
        let key = "a".repeat(20_000);
        assert!(!matches(&pattern, key.as_bytes()));
        assert!(matches(&pattern, (key + "b").as_bytes()));
    }

    #[test]
    fn the_prefix_ends_where_the_pattern_is_no_byte() {
        let prefix = |pattern: &str| Glob::read(pattern.as_bytes()).unwrap().prefix();
        assert_eq!(prefix("user:*:name"), b"user:");
        assert_eq!(prefix(r"a\*b?"), b"a*b");
        assert_eq!(prefix("*a"), b"");
    }
}
