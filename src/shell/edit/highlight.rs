//! The line in colour while it is typed: what each part is, and what is wrong already.
//!
//! 1. The text is never changed, only marked: its width is what the editor reckons with.
//! 2. What may still become right is not marked as wrong: a name that a command begins with, a token in which the cursor stands.
//!    What can't be mended by typing on is marked at once: a bad escape, a second value, an option that does not exist.
//! 3. A quote that is open is marked, and so are both quotes of a value when the cursor is at the second.

use std::ops::Range;

use super::reading::{Reading, Role, logical_lines};
use crate::shell::lexer::Expected;
use crate::shell::look::{Look, Mark};
use crate::shell::parse;
use crate::shell::table::{self, Kind};

/// Longest text that is marked, in bytes: a pasted dump is not coloured anew with every key.
const MAX_LEN: usize = 2 << 10;

/// A text with its marks.
pub(super) fn painted(text: &str, marks: &[Mark], look: Look) -> Option<String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut start = 0;
    for run in marks.chunk_by(PartialEq::eq) {
        let end = start + run.len();
        out += &look.typed(text.get(start..end)?, run[0]);
        start = end;
    }
    Some(out)
}

/// The marks of a text that goes on where `before` ends; none when it is too long. `cursor` is where it is in the text, unless
/// the line is done.
pub(super) fn marks_behind(before: &str, text: &str, cursor: Option<usize>) -> Vec<Mark> {
    if before.len() + text.len() > MAX_LEN {
        return Vec::new();
    }
    marks(&format!("{before}{text}"), cursor.map(|at| before.len() + at)).split_off(before.len())
}

/// The mark of each byte.
fn marks(text: &str, cursor: Option<usize>) -> Vec<Mark> {
    let mut marks = vec![Mark::Plain; text.len()];
    for line in logical_lines(text) {
        let inside = |at: &usize| (line.start..=line.end).contains(at);
        let cursor = cursor.filter(inside).map(|at| at - line.start);
        mark_line(&text[line.clone()], cursor, &mut marks[line]);
    }
    marks
}

fn mark_line(line: &str, cursor: Option<usize>, marks: &mut [Mark]) {
    if line.trim_start().starts_with('#') {
        marks.fill(Mark::Comment);
        return;
    }
    let reading = Reading::of(line.as_bytes());
    for word in &reading.words {
        let span = word.token.span.clone();
        if word.token.quoted {
            mark_quoted(line, span.clone(), marks);
            if cursor.is_some_and(|at| at == span.end || at + 1 == span.end) {
                mark_pair(line, span.clone(), marks);
            }
        }
        match mark_of(word.role, &word.token.bytes, cursor.is_some_and(|at| at == span.end)) {
            Mark::Plain => {}
            Mark::Constant if word.token.quoted => {}
            mark => marks[span].fill(mark),
        }
    }
    mark_rest(line, &reading, cursor, marks);
    mark_refusal(line, &reading, cursor, marks);
}

fn mark_of(role: Role, bytes: &[u8], is_being_typed: bool) -> Mark {
    let begins = |name: &str| {
        name.as_bytes().get(..bytes.len()).is_some_and(|start| start.eq_ignore_ascii_case(bytes))
    };
    match role {
        Role::Verb(Some(spec)) if spec.is_meta() => Mark::Meta,
        Role::Verb(Some(_)) => Mark::Verb,
        Role::Verb(None) if is_being_typed && table::names().any(begins) => Mark::Plain,
        Role::Option(None) if is_being_typed => Mark::Plain,
        Role::Verb(None) | Role::Option(None) | Role::Stray => Mark::Error,
        Role::Option(Some(_)) | Role::EndOfOptions => Mark::Option,
        Role::Argument(kind) | Role::OptionValue(kind) => match kind {
            Kind::Integer | Kind::Count | Kind::Duration | Kind::Moment | Kind::Choice(_) | Kind::Topic => {
                Mark::Constant
            }
            Kind::Key | Kind::Value | Kind::Bound | Kind::File => Mark::Plain,
        },
    }
}

/// A value with its quotes; escapes stand out.
fn mark_quoted(line: &str, span: Range<usize>, marks: &mut [Mark]) {
    marks[span.clone()].fill(Mark::String);
    if !line[span.clone()].starts_with('"') {
        return;
    }
    let bytes = line.as_bytes();
    let mut at = span.start;
    while at < span.end {
        let len = if bytes[at] == b'\\' { escape_len(&bytes[at..span.end]) } else { 0 };
        marks[at..at + len].fill(Mark::Escape);
        at += len.max(1);
    }
}

/// Where a string in double quotes ends whose escapes may be wrong.
fn string_end(line: &str, start: usize) -> usize {
    let mut is_escaped = false;
    let quote = line[start..].char_indices().skip(1).find(|&(_, c)| {
        let ends = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    quote.map_or(line.len(), |(at, _)| start + at + 1)
}

/// How long the escape is with which this begins. A character that is no ASCII is left to the error that it is.
fn escape_len(bytes: &[u8]) -> usize {
    let len = match bytes.get(1) {
        Some(b'x') => 2 + bytes[2..].iter().take(2).take_while(|byte| byte.is_ascii_hexdigit()).count(),
        Some(b'u') => bytes.iter().position(|&byte| byte == b'}').map_or(2, |at| at + 1),
        Some(byte) if byte.is_ascii() => 2,
        _ => 1,
    };
    let whole = len.min(bytes.len());
    if bytes[..whole].is_ascii() { whole } else { 1 }
}

/// The quotes at both ends.
fn mark_pair(line: &str, span: Range<usize>, marks: &mut [Mark]) {
    let open = line[span.clone()].find(['"', '\'']).map_or(span.start, |at| span.start + at);
    marks[span.start..=open].fill(Mark::Quote);
    marks[span.end - 1] = Mark::Quote;
}

/// What begins with a token that can't be read.
fn mark_rest(line: &str, reading: &Reading<'_>, cursor: Option<usize>, marks: &mut [Mark]) {
    let Some(error) = &reading.error else { return };
    if line[reading.rest..].starts_with('"') {
        mark_quoted(line, reading.rest..string_end(line, reading.rest), marks);
    }
    if let Some(open) = reading.open_quote() {
        mark_quoted(line, open..line.len(), marks);
        marks[open] = Mark::Quote;
        return;
    }
    let may_be_unfinished = matches!(
        error.expected,
        Expected::Value
            | Expected::HexEscape
            | Expected::UnicodeEscape
            | Expected::HexPair
            | Expected::Base64Length
            | Expected::Base64Bits
    );
    if !may_be_unfinished || cursor.is_none_or(|at| at < error.span.start || at > error.span.end + 1) {
        marks[error.span.clone()].fill(Mark::Error);
    }
}

/// What the parser refuses, unless the cursor is there.
fn mark_refusal(line: &str, reading: &Reading<'_>, cursor: Option<usize>, marks: &mut [Mark]) {
    if reading.error.is_some() {
        return;
    }
    let Err(diagnostic) = parse::line(line.as_bytes()) else { return };
    let touches = |at: usize| (diagnostic.span.start..=diagnostic.span.end).contains(&at);
    if !cursor.is_some_and(touches) {
        marks[diagnostic.span].fill(Mark::Error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One letter a character: what each belongs to.
    fn letters(text: &str, cursor: Option<usize>) -> String {
        let marks = marks(text, cursor);
        let letter = |(at, _)| match marks[at] {
            Mark::Plain => '.',
            Mark::Verb => 'v',
            Mark::Meta => 'm',
            Mark::Option => 'o',
            Mark::Constant => 'c',
            Mark::String => 's',
            Mark::Escape => 'e',
            Mark::Quote => 'q',
            Mark::Comment => '#',
            Mark::Error => 'E',
        };
        text.char_indices().map(letter).collect()
    }

    #[track_caller]
    fn typed(text: &str, expected: &str) {
        assert_eq!(letters(text, Some(text.len())), expected, "{text}");
    }

    #[track_caller]
    fn done(text: &str, expected: &str) {
        assert_eq!(letters(text, None), expected, "{text}");
    }

    #[test]
    fn every_part_has_its_mark() {
        done("set name \"J K\"", "vvv......sssss");
        done("scan --limit 5 us", "vvvv.ooooooo.c...");
        done(".mode json", "mmmmm.cccc");
        done("# get a", "#######");
        done("set a \"x\\ty\\x00é\\u{e9}\"", "vvv...sseeseeeeseeeeees");
        done("set a 'x\\t'", "vvv...sssss");
        done("set a \"1\n2\"\nget b", "vvv...sssss.vvv..");
    }

    #[test]
    fn what_is_wrong_is_marked_when_it_is_certain() {
        typed("ge", "..");
        typed("gte", "EEE");
        done("ge", "EE");
        typed("get --al", "vvv.....");
        typed("get --all ", "vvv.EEEEE.");
        typed("set a b c", "vvv.....E");
        typed("incr a x", "vvvv...c");
        typed("incr a x ", "vvvv...E.");
        typed("set a \"\\q", "vvv...sEE");
        typed("set a \"\\qy\\\"\" b ", "vvv...sEEsees...");
        typed("gte name --x ", "EEE..........");
        typed("set a \"\\x", "vvv...see");
        typed("set a \"\\x4g\"", "vvv...sEEEss");
        typed("set a \"b\"c", "vvv...sssE");
        typed("get it's", "vvv...E.");
        typed("scan --keys --values ", "vvvv.oooooo.EEEEEEEE.");
    }

    #[test]
    fn quotes_that_belong_together_are_marked() {
        typed("set a \"b c", "vvv...qsss");
        typed("set a 'b", "vvv...qs");
        typed("set a \"b\"", "vvv...qsq");
        assert_eq!(letters("set a \"b\" ", Some(8)), "vvv...qsq.");
        assert_eq!(letters("set a \"b\"", Some(7)), "vvv...sss");
        typed("set a x\"00\"", "vvv...qqssq");
    }

    #[test]
    fn a_line_goes_on_in_the_quote_of_the_one_before() {
        assert_eq!(marks_behind("set a \"x\n", "y\"", None), [Mark::String; 2]);
        assert_eq!(marks_behind("", &"x".repeat(MAX_LEN + 1), None), []);
    }

    #[test]
    fn every_text_keeps_its_characters() {
        let look = Look { colour: true, ..Look::PLAIN };
        for text in
            ["set é \"漢\\é\"", "\\", "\"\\", "x\"é", "b64\"é=", "get 'é\n漢", "--é=\"", "set a \"\\u{é"]
        {
            for cursor in 0..=text.len() {
                let shown = painted(text, &marks_behind("", text, Some(cursor)), look).unwrap();
                let mut plain = String::new();
                let mut rest = shown.as_str();
                while let Some((before, after)) = rest.split_once("\x1b[") {
                    plain += before;
                    rest = after.split_once('m').unwrap().1;
                }
                assert_eq!(plain + rest, text);
            }
        }
        assert_eq!(painted("get a", &marks_behind("", "get a", None), Look::PLAIN).unwrap(), "get a");
    }
}
