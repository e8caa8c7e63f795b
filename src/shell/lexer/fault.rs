//! What can be wrong with the tokens of a line, and how it is said.
//!
//! Inside the nom parsers an error is a [`Fault`]: the rest of the line where something else was expected, which nom
//! can pass on without knowing the whole line. [`LexError::locate`] turns it into a place in the line, and
//! [`LexError::explain`] into the [`Diagnostic`] that a person reads.

use std::ops::Range;

use nom::error::{ErrorKind, ParseError};
use nom::{Err, Parser};

use crate::shell::diagnostic::Diagnostic;
use crate::shell::literal::{brief, literal};

/// What the grammar expects where a line is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anything that is a value.
    Value,
    /// The closing quote that belongs to this opening: `"`, `'`, `x"` or `b64"`.
    ClosingQuote(&'static str),
    /// A blank or the end of the line behind a closing quote.
    BlankAfterQuote,
    /// Quotes around a word with a character that no word can hold.
    Quotes {
        /// What is wrong with the character.
        problem: String,
        /// The word as it should be written, when it is short.
        quoted: Option<String>,
    },
    /// A known character behind a backslash.
    Escape,
    /// Two hex digits behind `\x`.
    HexEscape,
    /// Hex digits in braces behind `\u`.
    UnicodeEscape,
    /// The number of a Unicode character in `\u{…}`.
    Character,
    /// A hex digit in `x"…"`.
    HexDigit,
    /// The second digit of a pair in `x"…"`.
    HexPair,
    /// A character of the base64 alphabet.
    Base64Digit,
    /// As many base64 characters as whole bytes need.
    Base64Length,
    /// A last base64 character without stray bits.
    Base64Bits,
}

/// What is wrong with a line's tokens, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LexError {
    /// The bytes of the line that are wrong.
    pub span: Range<usize>,
    /// What should be there.
    pub expected: Expected,
}

/// An error inside nom: `len` bytes at the start of `at` are wrong.
pub(super) struct Fault<'a> {
    at: &'a [u8],
    len: usize,
    expected: Expected,
}

impl<'a> Fault<'a> {
    pub(super) const fn new(at: &'a [u8], len: usize, expected: Expected) -> Self {
        Self { at, len, expected }
    }
}

impl<'a> ParseError<&'a [u8]> for Fault<'a> {
    fn from_error_kind(at: &'a [u8], _: ErrorKind) -> Self {
        Self::new(at, 0, Expected::Value)
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// `parser`, but when it does not match, `len` bytes at `at` are wrong and no other alternative is tried.
pub(super) fn expect<'a, T>(
    at: &'a [u8],
    len: usize,
    expected: Expected,
    mut parser: impl Parser<&'a [u8], Output = T, Error = Fault<'a>>,
) -> impl Parser<&'a [u8], Output = T, Error = Fault<'a>> {
    move |input| {
        parser.parse(input).map_err(|error| match error {
            Err::Error(_) => Err::Failure(Fault::new(at, len, expected.clone())),
            failure => failure,
        })
    }
}

/// Whether `run`, the bytes up to the next blank at the start of `input`, can stand without quotes.
pub(super) fn check_word<'a>(input: &'a [u8], run: &[u8]) -> Result<(), Err<Fault<'a>>> {
    const LONGEST_EXAMPLE: usize = 60;
    let Some((at, len, problem)) = misplaced(run) else { return Ok(()) };
    let quoted = (run.len() <= LONGEST_EXAMPLE).then(|| literal(run));
    Err(Err::Failure(Fault::new(&input[at..], len, Expected::Quotes { problem, quoted })))
}

/// The first character that no word can hold: offset, length and what is wrong with it.
fn misplaced(run: &[u8]) -> Option<(usize, usize, String)> {
    let mut offset = 0;
    for chunk in run.utf8_chunks() {
        for (at, c) in chunk.valid().char_indices() {
            if let Some(problem) = problem(c) {
                return Some((offset + at, c.len_utf8(), problem));
            }
        }
        offset += chunk.valid().len();
        if !chunk.invalid().is_empty() {
            return Some((offset, 1, format!("byte 0x{:02x}, not UTF-8,", run[offset])));
        }
    }
    None
}

fn problem(c: char) -> Option<String> {
    match c {
        '"' | '\'' => Some("quote".into()),
        '\\' => Some("backslash".into()),
        '\n' => Some("newline".into()),
        '\0'..='\u{7f}' if c.is_control() => Some(format!("control byte 0x{:02x}", u32::from(c))),
        _ if c.is_control() => Some(format!("control character U+{:04X}", u32::from(c))),
        _ if c.is_whitespace() => Some(format!("blank U+{:04X}", u32::from(c))),
        _ => None,
    }
}

impl LexError {
    /// The error as a place in `line`.
    pub(super) fn locate(error: Err<Fault<'_>>, line: &[u8]) -> Self {
        match error {
            Err::Error(fault) | Err::Failure(fault) => {
                let start = line.len() - fault.at.len();
                Self { span: start..start + fault.len, expected: fault.expected }
            }
            Err::Incomplete(_) => Self { span: line.len()..line.len(), expected: Expected::Value },
        }
    }

    /// The error as a person reads it. `line` is the line that was given to the lexer.
    #[must_use]
    pub fn explain(self, line: &[u8]) -> Diagnostic {
        const LONGEST_EXCERPT: usize = 24;
        let wrong = brief(&line[self.span.clone()], LONGEST_EXCERPT);
        let (message, label, help) = self.expected.wording(&wrong);
        Diagnostic { message, span: self.span, label: label.into(), help }
    }
}

/// Message, label and help.
type Wording = (String, &'static str, Option<String>);

fn say(message: impl Into<String>, label: &'static str, help: Option<&str>) -> Wording {
    (message.into(), label, help.map(Into::into))
}

impl Expected {
    /// `wrong` is the literal of what stands there instead.
    fn wording(&self, wrong: &str) -> Wording {
        match self {
            Self::Value => say("missing value", "expected a value", Some(r#"an empty value is """#)),
            Self::ClosingQuote("\"" | "'") => say("unterminated quote", "this quote is never closed", None),
            Self::ClosingQuote(_) => say(
                "unterminated quote",
                "this quote is never closed",
                Some("hex and base64 literals end on the line on which they begin"),
            ),
            Self::BlankAfterQuote => say(
                "text right after a closing quote",
                "expected a blank or the end of the line",
                Some("put all of the value into one pair of quotes"),
            ),
            Self::Quotes { problem, quoted } => {
                let help = quoted
                    .as_deref()
                    .unwrap_or(r#"write it as "…", with \" for a quote and \\ for a backslash"#);
                say(format!("{problem} in an unquoted word"), "the value needs quotes", Some(help))
            }
            Self::Escape | Self::HexEscape | Self::UnicodeEscape | Self::Character => {
                self.escape_wording(wrong)
            }
            _ => self.code_wording(wrong),
        }
    }

    fn escape_wording(&self, wrong: &str) -> Wording {
        match self {
            Self::HexEscape => say(r"incomplete \x escape", r"expected two hex digits after \x", None),
            Self::UnicodeEscape => {
                say(r"incomplete \u escape", "expected hex digits in braces", Some(r"for example \u{e9}"))
            }
            Self::Character => say(
                "not a Unicode character",
                r"expected at most \u{10ffff}, and nothing from \u{d800} to \u{dfff}",
                Some(r"single bytes are written \xHH"),
            ),
            _ => say(
                format!("unknown escape {}", wrong.replace(r"\\", r"\")),
                "not an escape",
                Some(r#"a backslash is \\; the other escapes are \" \n \r \t \0 \xHH \u{H…}"#),
            ),
        }
    }

    fn code_wording(&self, wrong: &str) -> Wording {
        match self {
            Self::HexDigit => say(format!("{wrong} in a hex literal"), "expected a hex digit", None),
            Self::HexPair => say("half a byte in a hex literal", "expected a second hex digit", None),
            Self::Base64Digit => {
                say(format!("{wrong} in a base64 literal"), "expected one of A-Z a-z 0-9 + /", None)
            }
            Self::Base64Bits => {
                say("inexact base64 literal", "this character has bits that belong to no byte", None)
            }
            _ => say("incomplete base64 literal", "expected groups of four characters", None),
        }
    }
}
