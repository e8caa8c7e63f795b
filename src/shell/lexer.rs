//! The tokens of one line. This is the only place where quoting and escaping are undone.
//!
//! ```ebnf
//! line     = [ blanks ] , [ comment | token , { blanks , token } ] , [ blanks ] , [ CR ] , [ LF ] ;
//! comment  = "#" , { byte } ;                       (* only as the first non-blank *)
//! token    = option | value ;
//! option   = "--" , name , [ "=" , value ] ;        (* not after a bare -- *)
//! value    = dquoted | squoted | hex | base64 | word ;
//! word     = wchar , { wchar } ;                    (* a Unicode character, but no blank, control, " ' \ *)
//! ```
//!
//! 1. Bytes between quotes mean themselves, whatever they are, except for escapes in `"…"`.
//! 2. After a closing quote comes a blank or the end: tokens are never joined.
//! 3. Spans are byte ranges of the line as it was given, quotes included.
//! 4. Cost is linear; a token without escapes borrows its bytes from the line.
//!
//! `--from="a b"` gives two tokens, `--from` and an [attached](Token::attached) `a b`, so that the quoted part stays
//! recognizable as such.

mod fault;
mod line_end;
mod quoted;

pub(crate) use quoted::base64 as from_base64;

use std::borrow::Cow;
use std::ops::Range;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::combinator::{consumed, peek, recognize};
use nom::sequence::terminated;
use nom::{IResult, Parser};

pub use fault::{Expected, LexError};
pub use line_end::LineEnd;

use fault::Fault;

/// What a part of the grammar gives: the rest of the line and the part's meaning.
type Parsed<'a, T> = IResult<&'a [u8], T, Fault<'a>>;

/// The mark that some editors put at the start of a text file.
pub const BOM: [u8; 3] = [0xef, 0xbb, 0xbf];

/// The script without the byte order mark that it may start with.
#[must_use]
pub fn skip_bom(script: &[u8]) -> &[u8] {
    script.strip_prefix(&BOM).unwrap_or(script)
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it means: quotes removed, escapes and codes resolved.
    pub bytes: Cow<'a, [u8]>,
    /// Where it is written, in bytes of the line.
    pub span: Range<usize>,
    /// Whether it is written in quotes of any kind: then it is a value and nothing else.
    pub quoted: bool,
    /// Whether it is what follows the `=` of the option before it.
    pub attached: bool,
}

/// The tokens of one logical line, its newline included or not. A comment line has none.
///
/// ```
/// use kvdb::shell::lexer::tokens;
/// let read: Vec<_> = tokens(br#"set name "Jaya Krishna""#).collect::<Result<_, _>>().unwrap();
/// assert_eq!(&*read[2].bytes, b"Jaya Krishna");
/// assert_eq!(read[2].span, 9..23);
/// ```
#[must_use]
pub fn tokens(line: &[u8]) -> Tokens<'_> {
    let line = without_line_end(line);
    let is_comment = skip_blanks(line).first() == Some(&b'#');
    Tokens { line, rest: if is_comment { &[] } else { line }, is_attached: false, is_literal: false }
}

/// Gives the tokens of a line one after the other. Nothing follows an error.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    line: &'a [u8],
    rest: &'a [u8],
    /// The token before ended in `=`.
    is_attached: bool,
    /// A bare `--` was seen: nothing is an option any more.
    is_literal: bool,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Result<Token<'a>, LexError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.is_attached {
            self.rest = skip_blanks(self.rest);
            if self.rest.is_empty() {
                return None;
            }
        }
        Some(self.token())
    }
}

impl<'a> Tokens<'a> {
    fn token(&mut self) -> Result<Token<'a>, LexError> {
        let parsed = if self.is_attached || self.is_literal {
            value(self.rest)
        } else {
            alt((option_name, value)).parse(self.rest)
        };
        match parsed {
            Ok((rest, piece)) => Ok(self.advance(rest, piece)),
            Err(error) => {
                self.rest = &[];
                self.is_attached = false;
                Err(LexError::locate(error, self.line))
            }
        }
    }

    fn advance(&mut self, rest: &'a [u8], piece: Piece<'a>) -> Token<'a> {
        let start = self.line.len() - self.rest.len();
        let token = Token {
            span: start..start + piece.written_len,
            quoted: piece.quoted,
            attached: self.is_attached,
            bytes: piece.bytes,
        };
        self.is_literal |= !token.quoted && !token.attached && *token.bytes == *b"--";
        self.is_attached = piece.takes_value;
        self.rest = rest;
        token
    }
}

/// A token that does not know its place yet.
struct Piece<'a> {
    bytes: Cow<'a, [u8]>,
    written_len: usize,
    quoted: bool,
    /// `--name=`: the value follows at once.
    takes_value: bool,
}

/// `--name` before `=`, which is taken too. Without `=` an option is a word like any other.
fn option_name(input: &[u8]) -> Parsed<'_, Piece<'_>> {
    let (rest, name) =
        terminated(recognize((tag("--"), take_while1(is_name_byte))), tag("=")).parse(input)?;
    let piece =
        Piece { bytes: Cow::Borrowed(name), written_len: name.len(), quoted: false, takes_value: true };
    Ok((rest, piece))
}

fn value(input: &[u8]) -> Parsed<'_, Piece<'_>> {
    let quoted = terminated(quoted::quoted, quoted::end_of_token).map(|bytes| (bytes, true));
    let plain = word.map(|bytes| (Cow::Borrowed(bytes), false));
    let (rest, (written, (bytes, quoted))) = consumed(alt((quoted, plain))).parse(input)?;
    Ok((rest, Piece { bytes, written_len: written.len(), quoted, takes_value: false }))
}

fn word(input: &[u8]) -> Parsed<'_, &[u8]> {
    let (_, run) = peek(take_while1(|byte| !is_blank(byte))).parse(input)?;
    let (_, graphic) = take_while(is_word_ascii).parse(input)?;
    if graphic.len() < run.len() {
        fault::check_word(input, run)?;
    }
    Ok((&input[run.len()..], run))
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

const fn is_word_ascii(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\')
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn skip_blanks(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|&&byte| is_blank(byte)).count()..]
}

fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
