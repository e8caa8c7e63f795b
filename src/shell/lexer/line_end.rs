//! Where a logical line of a script ends, found in one pass however the input is cut into chunks.
//!
//! A newline ends a line unless a `"…"` or `'…'` is open. Whether a quote character opens anything depends on what
//! stands before it in its token, so the finder follows just as much of the grammar as it needs for that:
//!
//! ```text
//!            blank                  x  b64        "           "
//! Start ───────────▶ Gap ──────────────────▶ Code ──▶ Coded ────┐
//!   │ #               │ --name=                                 ▼
//!   ▼                 ▼          "           "                Word ── blank ──▶ Gap
//! Comment         Attached ─────────▶ Double ──▶ ───────────────▲
//!                     └─────────────▶ Single ──▶ ───────────────┘
//!                                '           '
//! ```
//!
//! 1. Only a quote that begins a value opens: one inside a word (`it's`) is an error of that line and swallows no other.
//! 2. `x"…"` and `b64"…"` hold no newline, so an unclosed one ends with its line.
//! 3. In a comment nothing opens. After a bare `--` no token is an option, so `--name="` opens nothing.
//! 4. Every byte is looked at once: all that is kept between chunks is [`LineEnd`] itself.

/// Finds the end of a logical line in input that arrives in chunks.
///
/// ```
/// use kvdb::shell::lexer::LineEnd;
/// let mut finder = LineEnd::new();
/// assert_eq!(finder.feed(b"set note \"first"), None);
/// assert_eq!(finder.open_quote(), Some('"'));
/// assert_eq!(finder.feed(b"\nsecond\"\nget note\n"), Some(9));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineEnd {
    state: State,
    /// A bare `--` was seen: no token is an option any more.
    is_literal: bool,
}

/// What stands before the next byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Nothing but blanks.
    #[default]
    Start,
    Comment,
    /// A blank: a token may begin.
    Gap,
    /// `--name=`: a value may begin.
    Attached,
    /// `x`, or `b64`.
    Code,
    /// `b`.
    B,
    /// `b6`.
    B6,
    Dash,
    DashDash,
    /// `--` and part of a name.
    Name,
    /// A token in which no quote can open any more.
    Word,
    Double,
    /// `"…\`.
    Escape,
    Single,
    /// Inside `x"…` or `b64"…`.
    Coded,
}

impl LineEnd {
    /// A finder at the start of a line.
    #[must_use]
    pub const fn new() -> Self {
        Self { state: State::Start, is_literal: false }
    }

    /// Looks at the next chunk. `Some(n)`: the line ends with byte `n - 1` of it, the newline; the finder is then at
    /// the start of the next line, which begins at byte `n`. `None`: the whole chunk belongs to the line.
    pub fn feed(&mut self, chunk: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < chunk.len() {
            at += self.uninteresting(&chunk[at..]);
            let &byte = chunk.get(at)?;
            at += 1;
            if byte == b'\n' && self.open_quote().is_none() {
                *self = Self::new();
                return Some(at);
            }
            self.step(byte);
        }
        None
    }

    /// The quote that is open and makes the next line part of this one.
    #[must_use]
    pub const fn open_quote(&self) -> Option<char> {
        match self.state {
            State::Double | State::Escape => Some('"'),
            State::Single => Some('\''),
            _ => None,
        }
    }

    /// How many of the next bytes change nothing.
    fn uninteresting(self, bytes: &[u8]) -> usize {
        let next = match self.state {
            State::Comment => bytes.iter().position(|&byte| byte == b'\n'),
            State::Double => bytes.iter().position(|&byte| byte == b'"' || byte == b'\\'),
            State::Single => bytes.iter().position(|&byte| byte == b'\''),
            State::Word => bytes.iter().position(|&byte| matches!(byte, b' ' | b'\t' | b'\n')),
            _ => Some(0),
        };
        next.unwrap_or(bytes.len())
    }

    fn step(&mut self, byte: u8) {
        self.state = match self.state {
            State::Comment => State::Comment,
            State::Double | State::Escape | State::Single | State::Coded => self.inside_quote(byte),
            _ if matches!(byte, b' ' | b'\t') => self.blank(),
            State::Start if byte == b'#' => State::Comment,
            State::Start | State::Gap if byte == b'-' && !self.is_literal => State::Dash,
            State::Start | State::Gap | State::Attached => value_begins(byte),
            _ => self.inside_token(byte),
        };
    }

    const fn inside_quote(self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Double, b'\\') => State::Escape,
            (State::Escape, _) => State::Double,
            (State::Double | State::Coded, b'"') | (State::Single, b'\'') => State::Word,
            (state, _) => state,
        }
    }

    fn blank(&mut self) -> State {
        self.is_literal |= self.state == State::DashDash;
        if self.state == State::Start { State::Start } else { State::Gap }
    }

    const fn inside_token(self, byte: u8) -> State {
        match (self.state, byte) {
            (State::Code, b'"') => State::Coded,
            (State::B, b'6') => State::B6,
            (State::B6, b'4') => State::Code,
            (State::Dash, b'-') => State::DashDash,
            (State::Name, b'=') => State::Attached,
            (State::DashDash | State::Name, _) if super::is_name_byte(byte) => State::Name,
            _ => State::Word,
        }
    }
}

const fn value_begins(byte: u8) -> State {
    match byte {
        b'"' => State::Double,
        b'\'' => State::Single,
        b'x' => State::Code,
        b'b' => State::B,
        _ => State::Word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines of a script, newline included, found in chunks of `size` bytes; then the quote open at its end.
    fn lines(script: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<char>) {
        let mut finder = LineEnd::new();
        let (mut lines, mut line) = (Vec::new(), Vec::new());
        for mut chunk in script.chunks(size) {
            while let Some(end) = finder.feed(chunk) {
                line.extend_from_slice(&chunk[..end]);
                lines.push(std::mem::take(&mut line));
                chunk = &chunk[end..];
            }
            line.extend_from_slice(chunk);
        }
        if !line.is_empty() {
            lines.push(line);
        }
        (lines, finder.open_quote())
    }

    fn check(script: &str, expected: &[&str], open: Option<char>) {
        let (lines, quote) = lines(script.as_bytes(), usize::MAX);
        let lines: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
        assert_eq!(lines, expected, "{script:?}");
        assert_eq!(quote, open, "{script:?}");
    }

    #[test]
    fn only_an_open_quote_continues_a_line() {
        check("get a\nget b", &["get a\n", "get b"], None);
        check("get a\r\nget b\r\n", &["get a\r\n", "get b\r\n"], None);
        check("set a \"x\ny\" \nget a\n", &["set a \"x\ny\" \n", "get a\n"], None);
        check("set a 'x\n\"y\n'\nget a", &["set a 'x\n\"y\n'\n", "get a"], None);
        check("set a \"x\\\"\ny", &["set a \"x\\\"\ny"], Some('"'));
        check("set a \"x\\\\\"\ny", &["set a \"x\\\\\"\n", "y"], None);
        check("set a 'x\\'\ny", &["set a 'x\\'\n", "y"], None);
        check("count --from=\"a\nb\"\nx", &["count --from=\"a\nb\"\n", "x"], None);
        check("count --from='a\nb", &["count --from='a\nb"], Some('\''));
        check("\"\n", &["\"\n"], Some('"'));
        check("\n\n", &["\n", "\n"], None);
    }

    #[test]
    fn a_quote_that_opens_nothing_swallows_nothing() {
        check("set a it's\nget b\n", &["set a it's\n", "get b\n"], None);
        check("set a 5\"\nget b\n", &["set a 5\"\n", "get b\n"], None);
        check("set a \"b\"'c\nget b\n", &["set a \"b\"'c\n", "get b\n"], None);
        check("# it's \"\n# '\nget a\n", &["# it's \"\n", "# '\n", "get a\n"], None);
        check("  # '\nget a", &["  # '\n", "get a"], None);
        check("get -- --from=\"a\nget b", &["get -- --from=\"a\n", "get b"], None);
        check("get --x!=\"a\nget b", &["get --x!=\"a\n", "get b"], None);
        check("get a\\\"b\nget b", &["get a\\\"b\n", "get b"], None);
    }

    #[test]
    fn codes_hold_no_newline() {
        check("get x\"61\nget b\n", &["get x\"61\n", "get b\n"], None);
        check("get b64\"\nget b\n", &["get b64\"\n", "get b\n"], None);
        check("get --from=x\"'\nget b\n", &["get --from=x\"'\n", "get b\n"], None);
        check("get xx\"\nget b6\"\n", &["get xx\"\n", "get b6\"\n"], None);
    }

    proptest! {
        #[test]
        fn chunks_change_nothing(script in "([ab64x=#\n\r \t\"'\\\\-]|--|--a=){0,40}") {
            let whole = lines(script.as_bytes(), usize::MAX);
            for size in 1..=script.len().max(1) {
                prop_assert_eq!(&lines(script.as_bytes(), size), &whole);
            }
        }

        #[test]
        fn lexer_and_finder_agree_on_open_quotes(script in "([ab64x=#\n\r \t\"'\\\\-]|--|--a=){0,40}") {
            use crate::shell::lexer::{Expected, tokens};
            let (lines, open) = lines(script.as_bytes(), usize::MAX);
            for (index, line) in lines.iter().enumerate() {
                let error = tokens(line).find_map(Result::err);
                let is_last_and_open = index + 1 == lines.len() && open.is_some();
                let lexer_says_open = matches!(&error, Some(error)
                    if matches!(error.expected, Expected::ClosingQuote("\"" | "'")));
                prop_assert!(!lexer_says_open || is_last_and_open);
                prop_assert!(!is_last_and_open || error.is_some());
            }
        }
    }

    #[test]
    fn a_long_line_in_chunks_is_not_looked_at_again() {
        let chunk = vec![b'v'; 64 << 10];
        let mut finder = LineEnd::new();
        assert_eq!(finder.feed(b"set k \""), None);
        for _ in 0..256 {
            assert_eq!(finder.feed(&chunk), None);
        }
        assert_eq!(finder.feed(b"\"\n"), Some(2));
    }
}
