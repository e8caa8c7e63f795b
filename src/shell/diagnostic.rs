//! An error in what was typed: said with its place, a caret and one way out.
//!
//! ```text
//! error: unexpected argument
//!   --> import.kv:12:15                  only with an origin; line:column, both from 1, columns in characters
//!    |
//! 12 | set name Jaya Krishna             the line of the error, cut around it when it is long
//!    |               ^^^^^^^ a value with spaces needs quotes
//!    = help: set name "Jaya Krishna"
//! ```
//!
//! 1. What is shown never carries a control, hidden or invalid byte of the source: a script can't drive the terminal.
//! 2. Carets stand below what they point at: positions count the columns that characters take.
//! 3. The text is short however long the source is, and building it allocates nothing in proportion to it.
//! 4. On a terminal the source and its carets stay within its columns; where what is said next to the carets would not, it stands
//!    below them.

use std::ops::Range;

use serde_json::json;
use unicode_width::UnicodeWidthChar;

use super::exit::Exit;
use super::literal::{is_hidden, write_hex_escape, write_hidden};
use super::look::Look;

/// Widest piece of source shown, in columns.
const EXCERPT_COLUMNS: usize = 72;

/// The same on the narrowest terminal.
const MIN_EXCERPT_COLUMNS: usize = 16;

/// Columns that ` | ` takes, behind the number of the line.
const BAR_COLUMNS: usize = 3;

/// Most bytes of source looked at on either side of the place: enough for [`EXCERPT_COLUMNS`] characters.
const EXCERPT_BYTES: usize = 4 * EXCERPT_COLUMNS;

/// What is wrong with a piece of source text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, in a few words.
    pub message: String,
    /// Which bytes of the source; empty where something is missing.
    pub span: Range<usize>,
    /// What is said next to the caret.
    pub label: String,
    /// What to write or do instead.
    pub help: Option<String>,
}

/// Where source text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// A file name.
    pub name: &'a str,
    /// Number of the first line of the source text in the file, from 1.
    pub line: u64,
}

impl Diagnostic {
    /// The error as text that ends in a newline. `source` is the text that was parsed; without `origin` (at the prompt)
    /// no file is named.
    ///
    /// ```
    /// use kvdb::shell::{look::Look, parse};
    /// let source = b"gte name";
    /// let error = parse::line(source).unwrap_err();
    /// assert_eq!(error.render(source, None, Look::PLAIN), r#"error: unknown command "gte"
    ///   |
    /// 1 | gte name
    ///   | ^^^ not a command
    ///   = help: did you mean "get"?
    /// "#);
    /// ```
    #[must_use]
    pub fn render(&self, source: &[u8], origin: Option<Origin<'_>>, look: Look) -> String {
        let place = Place::find(source, &self.span, origin.map_or(1, |origin| origin.line));
        let line = place.line.to_string();
        let room = look.columns.map(|columns| columns.saturating_sub(line.len() + BAR_COLUMNS));
        let excerpt = Excerpt::cut(place.text, &place.span, room);
        let gutter = " ".repeat(line.len());
        let bar = look.frame("|");
        let arrow = origin.map(|origin| {
            let name = harmless(origin.name.as_bytes());
            format!("{gutter}{} {name}:{}:{}\n", look.frame("-->"), place.line, place.column)
        });
        let below = self.below(&excerpt, room).into_iter().map(|(indent, text)| {
            format!("{gutter} {bar} {}{}\n", " ".repeat(indent), look.error(text.trim_end()))
        });
        let help = self.help.as_ref().map(|help| format!("{gutter} {} help: {help}\n", look.frame("=")));
        [
            format!("{}: {}\n", look.error("error"), self.message),
            arrow.unwrap_or_default(),
            format!("{gutter} {bar}\n{} {bar} {}\n", look.frame(&line), excerpt.text),
            below.collect(),
            help.unwrap_or_default(),
        ]
        .concat()
    }

    /// The carets and what is said about them, with the columns before each: in one line, or two where one is too long.
    fn below(&self, excerpt: &Excerpt, room: Option<usize>) -> Vec<(usize, String)> {
        let carets = "^".repeat(excerpt.span_columns);
        let label_columns = self.label.chars().count();
        let whole = excerpt.indent_columns + excerpt.span_columns + 1 + label_columns;
        match room {
            Some(room) if whole > room && label_columns > 0 => {
                let indent = excerpt.indent_columns.min(room.saturating_sub(label_columns));
                vec![(excerpt.indent_columns, carets), (indent, self.label.clone())]
            }
            _ => vec![(excerpt.indent_columns, format!("{carets} {}", self.label))],
        }
    }

    /// The error as one line of JSON without a newline: `error`, `line`, `column`, `label`, and where known `file` and
    /// `help`.
    #[must_use]
    pub fn to_json(&self, source: &[u8], origin: Option<Origin<'_>>) -> String {
        let place = Place::find(source, &self.span, origin.map_or(1, |origin| origin.line));
        let mut object = json!({
            "error": self.message, "kind": "invalid", "exit": Exit::USAGE.0,
            "line": place.line, "column": place.column, "label": self.label,
        });
        if let Some(Origin { name, .. }) = origin {
            object["file"] = name.into();
        }
        if let Some(help) = &self.help {
            object["help"] = help.as_str().into();
        }
        object.to_string()
    }
}

/// Where a span lies, as people count.
struct Place<'a> {
    line: u64,
    column: usize,
    /// The line, without its end.
    text: &'a [u8],
    /// The span within that line.
    span: Range<usize>,
}

impl<'a> Place<'a> {
    fn find(source: &'a [u8], span: &Range<usize>, first_line: u64) -> Self {
        let start = span.start.min(source.len());
        let (before, after) = source.split_at(start);
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let line_end = start + after.iter().position(|&byte| byte == b'\n').unwrap_or(after.len());
        let text = &source[line_start..line_end];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let from = (start - line_start).min(text.len());
        let to = span.end.saturating_sub(line_start).clamp(from, text.len());
        let line = first_line + before.split(|&byte| byte == b'\n').skip(1).map(|_| 1).sum::<u64>();
        Self { line, column: count_chars(&text[..from]) + 1, text, span: from..to }
    }
}

/// Characters, with every byte that begins none and continues none counted too.
fn count_chars(text: &[u8]) -> usize {
    text.iter().filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// The part of a line that is shown.
struct Excerpt {
    text: String,
    indent_columns: usize,
    span_columns: usize,
}

/// What a character or an invalid byte looks like.
struct Cell {
    shown: String,
    columns: usize,
    source_len: usize,
}

impl Excerpt {
    /// What is shown of `text` around `span`. `room` is the widest that fits, where the output has a width.
    fn cut(text: &[u8], span: &Range<usize>, room: Option<usize>) -> Self {
        const MARKS: usize = 2;
        let wanted = room.map_or(EXCERPT_COLUMNS, |room| {
            room.saturating_sub(MARKS).clamp(MIN_EXCERPT_COLUMNS, EXCERPT_COLUMNS)
        });
        let left_end = char_start(text, span.start.saturating_sub(EXCERPT_BYTES));
        let right_end = (span.start + EXCERPT_BYTES).min(text.len());
        let left = cells(&text[left_end..span.start]);
        let right = cells(&text[span.start..right_end]);
        let right_wanted = columns(&right).min(wanted / 2);
        let left_taken = fitting(left.iter().rev(), wanted - right_wanted);
        let left_shown = &left[left.len() - left_taken..];
        let right_taken = fitting(right.iter(), wanted - columns(left_shown));
        let right_shown = &right[..right_taken];
        let before = if left_end > 0 || left_taken < left.len() { "…" } else { "" };
        let after = if right_end < text.len() || right_taken < right.len() { "…" } else { "" };
        Self {
            text: format!("{before}{}{}{after}", joined(left_shown), joined(right_shown)),
            indent_columns: columns(left_shown) + before.chars().count(),
            span_columns: columns(within(right_shown, span.len())).max(1),
        }
    }
}

/// How many cells fit into `room` columns.
fn fitting<'a>(cells: impl Iterator<Item = &'a Cell>, room: usize) -> usize {
    let mut used = 0;
    cells
        .take_while(|cell| {
            used += cell.columns;
            used <= room
        })
        .count()
}

/// The cells that begin in the first `len` bytes.
fn within(cells: &[Cell], len: usize) -> &[Cell] {
    let mut at = 0;
    let count = cells
        .iter()
        .take_while(|cell| {
            at += cell.source_len;
            at - cell.source_len < len
        })
        .count();
    &cells[..count]
}

fn columns(cells: &[Cell]) -> usize {
    cells.iter().map(|cell| cell.columns).sum()
}

fn joined(cells: &[Cell]) -> String {
    cells.iter().map(|cell| cell.shown.as_str()).collect()
}

fn cells(bytes: &[u8]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for chunk in bytes.utf8_chunks() {
        cells.extend(chunk.valid().chars().map(char_cell));
        cells.extend(chunk.invalid().iter().map(|&byte| escaped_cell(1, |out| write_hex_escape(out, byte))));
    }
    cells
}

fn char_cell(c: char) -> Cell {
    match c {
        '\t' => Cell { shown: "    ".into(), columns: 4, source_len: 1 },
        _ if is_hidden(c) => escaped_cell(c.len_utf8(), |out| write_hidden(out, c)),
        _ => Cell { shown: c.into(), columns: c.width().unwrap_or(0), source_len: c.len_utf8() },
    }
}

fn escaped_cell(source_len: usize, write: impl Fn(&mut Vec<u8>)) -> Cell {
    let mut escape = Vec::new();
    write(&mut escape);
    Cell { columns: escape.len(), shown: String::from_utf8_lossy(&escape).into_owned(), source_len }
}

/// Text that is safe to show and otherwise as it is.
fn harmless(bytes: &[u8]) -> String {
    joined(&cells(bytes))
}

/// The first start of a character at or behind `at`, as far as bytes tell.
fn char_start(text: &[u8], at: usize) -> usize {
    let continuation = text[at..].iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count();
    if at == 0 { 0 } else { at + continuation }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(span: Range<usize>) -> Diagnostic {
        Diagnostic {
            message: "unexpected argument".into(),
            span,
            label: "a value with spaces needs quotes".into(),
            help: Some(r#"set name "Jaya Krishna""#.into()),
        }
    }

    /// The line of source and the line of carets, of a plain rendering.
    fn shown(source: &[u8], span: Range<usize>) -> (String, String) {
        let text =
            Diagnostic { label: String::new(), help: None, ..sample(span) }.render(source, None, Look::PLAIN);
        let mut lines = text.lines().skip(2).map(|line| line[4..].to_owned());
        (lines.next().unwrap(), lines.next().unwrap())
    }

    #[test]
    fn looks_exactly_as_documented() {
        let source = b"set name Jaya Krishna";
        let expected = "\
error: unexpected argument
  --> import.kv:12:15
   |
12 | set name Jaya Krishna
   |               ^^^^^^^ a value with spaces needs quotes
   = help: set name \"Jaya Krishna\"
";
        let origin = Origin { name: "import.kv", line: 12 };
        assert_eq!(sample(14..21).render(source, Some(origin), Look::PLAIN), expected);
        let at_prompt = sample(14..21).render(source, None, Look::PLAIN);
        assert_eq!(
            at_prompt,
            "\
error: unexpected argument
  |
1 | set name Jaya Krishna
  |               ^^^^^^^ a value with spaces needs quotes
  = help: set name \"Jaya Krishna\"
"
        );
    }

    #[test]
    fn colour_adds_marks_and_changes_no_text() {
        let source = b"set name Jaya Krishna";
        let plain = sample(14..21).render(source, None, Look::PLAIN);
        let coloured = sample(14..21).render(source, None, Look { colour: true, ..Look::PLAIN });
        assert!(coloured.contains("\x1b[1;31merror\x1b[0m"));
        let stripped = coloured.replace("\x1b[1;31m", "").replace("\x1b[1;34m", "").replace("\x1b[0m", "");
        assert_eq!(stripped, plain);
    }

    #[test]
    fn carets_count_columns_not_bytes() {
        assert_eq!(shown("get 漢字 é x".as_bytes(), 14..15).1, "           ^");
        assert_eq!(shown("get 漢字".as_bytes(), 4..10).1, "    ^^^^");
        assert_eq!(shown("get e\u{301}x".as_bytes(), 7..8).1, "     ^");
        assert_eq!(shown(b"get", 3..3).1, "   ^");
        assert_eq!(shown(b"", 0..0).1, "^");
    }

    #[test]
    fn nothing_in_the_source_reaches_the_terminal_raw() {
        let (line, carets) = shown(b"get\t\x1b[2Jx\xff y", 3 + 1..5);
        assert_eq!(line, r"get    \x1b[2Jx\xff y");
        assert_eq!(carets, "       ^^^^");
        assert_eq!(shown("a\u{202e}b".as_bytes(), 4..5), (r"a\u{202e}b".into(), "         ^".into()));
        let origin = Origin { name: "a\x1b\nb", line: 1 };
        assert!(sample(0..1).render(b"x", Some(origin), Look::PLAIN).contains(r" --> a\x1b\x0ab:1:1"));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let mut source = vec![b'a'; 1 << 20];
        source[500_000] = b'!';
        let (line, carets) = shown(&source, 500_000..500_001);
        assert_eq!(line, format!("…{}!{}…", "a".repeat(36), "a".repeat(35)));
        assert_eq!(carets, format!("{}^", " ".repeat(37)));
        let (line, carets) = shown(&source, 0..1 << 20);
        assert_eq!((line.chars().count(), carets.len()), (73, 72));
        let (line, carets) = shown(&source, 1 << 20..1 << 20);
        assert_eq!((line.chars().count(), carets.len()), (73, 74));
        assert!(sample(500_000..500_001).render(&source, None, Look::PLAIN).contains("1 | …"));
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let narrow = Look { columns: Some(40), ..Look::PLAIN };
        let source = b"set name Jaya Krishna and some more words to make it long";
        let text = Diagnostic { help: None, ..sample(9..57) }.render(source, None, narrow);
        assert_eq!(
            text,
            "\
error: unexpected argument
  |
1 | set name Jaya Krishna and some mor…
  |          ^^^^^^^^^^^^^^^^^^^^^^^^^
  |     a value with spaces needs quotes
"
        );
        for columns in 24..100 {
            let look = Look { columns: Some(columns), ..Look::PLAIN };
            for at in 0..source.len() {
                let text = Diagnostic { label: "not here".into(), help: None, ..sample(at..at + 1) }
                    .render(source, None, look);
                let widest = text.lines().skip(1).map(|line| line.chars().count()).max();
                assert!(widest.unwrap() <= columns, "{columns}: {text}");
            }
        }
    }

    #[test]
    fn the_line_of_the_error_is_shown_in_a_command_of_several() {
        let source = b"set a \"x\ny\" \"z\"q\r\nget b";
        let text = sample(15..16).render(source, Some(Origin { name: "s", line: 7 }), Look::PLAIN);
        assert!(text.contains(" --> s:8:7\n  |\n8 | y\" \"z\"q\n  |       ^ "), "{text}");
    }

    #[test]
    fn json_is_one_line_with_the_place() {
        let origin = Origin { name: "a \"b\".kv", line: 12 };
        let text = sample(14..21).to_json(b"set name Jaya Krishna", Some(origin));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            json!({
                "error": "unexpected argument", "kind": "invalid", "exit": 2, "file": "a \"b\".kv", "line": 12, "column": 15,
                "label": "a value with spaces needs quotes", "help": "set name \"Jaya Krishna\"",
            })
        );
        assert!(!text.contains('\n'));
        let at_prompt = Diagnostic { help: None, ..sample(0..0) }.to_json(b"", None);
        assert!(!at_prompt.contains("file") && !at_prompt.contains("help"));
    }
}
