//! The four quoted forms of a value.
//!
//! ```ebnf
//! dquoted  = '"' , { dchar | escape } , '"' ;       (* dchar: any byte but " and \ , a newline too *)
//! squoted  = "'" , { any byte but ' } , "'" ;       (* no escapes *)
//! hex      = 'x"' , { hexdigit , hexdigit } , '"' ;
//! base64   = 'b64"' , { b64char } , [ "=" , [ "=" ] ] , '"' ;
//! escape   = "\" , ( '"' | "\" | "n" | "r" | "t" | "0" | "x" hexdigit hexdigit
//!                  | "u{" hexdigit { hexdigit } "}" ) ;
//! ```
//!
//! 1. A form has one meaning or is refused: base64 whose last character has stray bits is not read as something else.
//! 2. A missing closing quote is reported at the opening one, everything else at the byte that is wrong.
//! 3. `\xHH` is a byte, `\u{…}` the UTF-8 of a Unicode character, at most six digits.

use std::borrow::Cow;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::combinator::{cut, peek};
use nom::multi::fold_many0;
use nom::sequence::{delimited, preceded, terminated};
use nom::{Err, Parser};

use super::fault::{Expected, Fault, expect};
use super::{Parsed, is_blank};

/// Any of the quoted forms, with its quotes.
pub(super) fn quoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    alt((dquoted, squoted, |input| coded("x\"", from_hex, input), |input| coded("b64\"", from_base64, input)))
        .parse(input)
}

/// A blank or the end of the line, left in place.
pub(super) fn end_of_token(input: &[u8]) -> Parsed<'_, ()> {
    let (_, glued) = peek(take_till(is_blank)).parse(input)?;
    match glued {
        [] => Ok((input, ())),
        _ => Err(Err::Failure(Fault::new(input, glued.len(), Expected::BlankAfterQuote))),
    }
}

fn dquoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let unescaped = terminated(take_while(is_dchar), tag("\"")).map(Cow::Borrowed);
    let escaped = terminated(escaped, tag("\"")).map(Cow::Owned);
    let body = expect(input, 1, Expected::ClosingQuote("\""), alt((unescaped, escaped)));
    preceded(tag("\""), body).parse(input)
}

const fn is_dchar(byte: u8) -> bool {
    byte != b'"' && byte != b'\\'
}

fn squoted(input: &[u8]) -> Parsed<'_, Cow<'_, [u8]>> {
    let body = expect(
        input,
        1,
        Expected::ClosingQuote("'"),
        terminated(take_till(|byte| byte == b'\''), tag("'")).map(Cow::Borrowed),
    );
    preceded(tag("'"), body).parse(input)
}

/// What stands between double quotes, piece by piece.
enum Piece<'a> {
    Run(&'a [u8]),
    Byte(u8),
    Char(char),
}

fn escaped(input: &[u8]) -> Parsed<'_, Vec<u8>> {
    let run = take_while1(is_dchar).map(Piece::Run);
    fold_many0(alt((run, escape)), Vec::new, |mut bytes, piece| {
        match piece {
            Piece::Run(run) => bytes.extend_from_slice(run),
            Piece::Byte(byte) => bytes.push(byte),
            Piece::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        bytes
    })
    .parse(input)
}

/// One escape. A backslash at the very end is no escape yet: there the closing quote is what is missing.
fn escape(input: &[u8]) -> Parsed<'_, Piece<'_>> {
    let (rest, _) = tag("\\").parse(input)?;
    let (&kind, rest) = rest.split_first().ok_or(Err::Error(Fault::new(input, 1, Expected::Escape)))?;
    let byte = match kind {
        b'"' | b'\\' => kind,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'0' => 0,
        b'x' => return hex_escape(input, rest),
        b'u' => return unicode_escape(input, rest),
        _ => return Err(Err::Failure(Fault::new(input, 1 + char_len(&input[1..]), Expected::Escape))),
    };
    Ok((rest, Piece::Byte(byte)))
}

/// `rest` is what follows `\x`, `input` begins at the backslash.
fn hex_escape<'a>(input: &'a [u8], rest: &'a [u8]) -> Parsed<'a, Piece<'a>> {
    match rest {
        [high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Ok((rest, Piece::Byte(digit(*high) << 4 | digit(*low))))
        }
        _ => {
            let digits = rest.iter().take(1).take_while(|byte| byte.is_ascii_hexdigit()).count();
            Err(Err::Failure(Fault::new(input, 2 + digits, Expected::HexEscape)))
        }
    }
}

/// `after` is what follows `\u`, `input` begins at the backslash.
fn unicode_escape<'a>(input: &'a [u8], after: &'a [u8]) -> Parsed<'a, Piece<'a>> {
    let digits = take_while1(|byte: u8| byte.is_ascii_hexdigit());
    let braced = expect(input, 2, Expected::UnicodeEscape, delimited(tag("{"), digits, tag("}")));
    let (rest, digits) = cut(braced).parse(after)?;
    let value = digits
        .iter()
        .try_fold(0_u32, |value, &hex| value.checked_mul(16).map(|shifted| shifted | u32::from(digit(hex))));
    match value.filter(|_| digits.len() <= 6).and_then(char::from_u32) {
        Some(c) => Ok((rest, Piece::Char(c))),
        None => Err(Err::Failure(Fault::new(input, input.len() - rest.len(), Expected::Character))),
    }
}

/// What a decoder finds wrong, and at which byte.
type Wrong = (usize, Expected);

fn coded<'a>(
    open: &'static str,
    decode: fn(&[u8]) -> Result<Vec<u8>, Wrong>,
    input: &'a [u8],
) -> Parsed<'a, Cow<'a, [u8]>> {
    let body = terminated(take_till(|byte| byte == b'"' || byte == b'\n'), tag("\""));
    let body = expect(input, open.len(), Expected::ClosingQuote(open), body);
    let (rest, body) = preceded(tag(open), body).parse(input)?;
    match decode(body) {
        Ok(bytes) => Ok((rest, Cow::Owned(bytes))),
        Err((at, expected)) => {
            let wrong = &input[open.len() + at..];
            Err(Err::Failure(Fault::new(wrong, char_len(wrong), expected)))
        }
    }
}

fn from_hex(digits: &[u8]) -> Result<Vec<u8>, Wrong> {
    if let Some(at) = digits.iter().position(|byte| !byte.is_ascii_hexdigit()) {
        return Err((at, Expected::HexDigit));
    }
    let pairs = digits.chunks_exact(2);
    match pairs.remainder() {
        [] => Ok(pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()),
        _ => Err((digits.len() - 1, Expected::HexPair)),
    }
}

/// The value of a hex digit.
const fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => (hex | 0x20) - b'a' + 10,
    }
}

/// The bytes that base64 stands for; `None` when it is none.
pub(crate) fn base64(text: &[u8]) -> Option<Vec<u8>> {
    from_base64(text).ok()
}

/// Standard alphabet; padding may be left out, but not be wrong.
fn from_base64(text: &[u8]) -> Result<Vec<u8>, Wrong> {
    let padding = text.iter().rev().take(2).take_while(|&&byte| byte == b'=').count();
    let chars = &text[..text.len() - padding];
    if padding > 0 && !text.len().is_multiple_of(4) {
        return Err((chars.len(), Expected::Base64Length));
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for (index, group) in chars.chunks(4).enumerate() {
        base64_group(group, &mut bytes).map_err(|(at, expected)| (index * 4 + at, expected))?;
    }
    Ok(bytes)
}

/// Two to four characters: one to three bytes.
fn base64_group(group: &[u8], bytes: &mut Vec<u8>) -> Result<(), Wrong> {
    let mut bits = 0_u32;
    for (at, &c) in group.iter().enumerate() {
        let six = base64_digit(c).ok_or((at, Expected::Base64Digit))?;
        bits |= u32::from(six) << (26 - 6 * at);
    }
    let whole = group.len() * 6 / 8;
    let all = bits.to_be_bytes();
    if whole == 0 {
        return Err((0, Expected::Base64Length));
    }
    if all[whole..].iter().any(|&left_over| left_over != 0) {
        return Err((group.len() - 1, Expected::Base64Bits));
    }
    bytes.extend_from_slice(&all[..whole]);
    Ok(())
}

const fn base64_digit(c: u8) -> Option<u8> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Length of the character that `bytes` begin with; 1 where it is none, 0 at the end.
fn char_len(bytes: &[u8]) -> usize {
    match bytes.get(..4).unwrap_or(bytes).utf8_chunks().next() {
        Some(chunk) => chunk.valid().chars().next().map_or(1, char::len_utf8),
        None => 0,
    }
}
