//! What a line says while it is still being typed: which part each token plays, and what may come next.
//!
//! Completion, hints and highlighting all look at a line this way, so they never disagree. The rules are those of the parser
//! ([`parse`](crate::shell::parse)), but nothing is refused: a token that has no place is [`Role::Stray`].
//!
//! ```text
//! scan  user:     --limit=    10          --re|
//! Verb  Argument  Option      OptionValue  cursor: an option, or the value of one that waits for it
//! ```
//!
//! 1. What is typed may hold several logical lines (it was pasted, or a quote is open); each is read by itself.
//! 2. A token that can't be read ends the reading: [`Reading::rest`] says where, and [`Reading::error`] why.

use std::ops::Range;

use crate::shell::lexer::{Expected, LexError, LineEnd, Token, tokens};
use crate::shell::table::{self, Arg, Arity, Kind, Opt, Spec};

/// The part that a token plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The command's name; `None` when there is no such command.
    Verb(Option<&'static Spec>),
    /// An option; `None` when the command has none of this name.
    Option(Option<&'static Opt>),
    /// A bare `--`.
    EndOfOptions,
    /// What an option is given.
    OptionValue(Kind),
    /// An argument by position.
    Argument(Kind),
    /// More than the command takes.
    Stray,
}

/// A token and its part.
#[derive(Debug)]
pub(super) struct Word<'a> {
    pub(super) token: Token<'a>,
    pub(super) role: Role,
}

/// What has been said so far, and so what may follow.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// Whether there was a first token.
    pub(super) begun: bool,
    /// The command, if it is one.
    pub(super) spec: Option<&'static Spec>,
    /// The first argument.
    pub(super) first_arg: Option<Vec<u8>>,
    /// How many arguments were given.
    pub(super) args: usize,
    /// Which options were given.
    pub(super) options: Vec<&'static Opt>,
    /// The value that the last token asks for.
    pub(super) awaited: Option<(&'static str, Kind)>,
    /// A bare `--` was seen.
    pub(super) is_literal: bool,
}

impl Said {
    /// Takes note of the next token and tells its part.
    fn take(&mut self, token: &Token<'_>) -> Role {
        if !std::mem::replace(&mut self.begun, true) {
            self.spec = if token.quoted { None } else { table::find(&token.bytes) };
            return Role::Verb(self.spec);
        }
        if self.spec.is_none() {
            // Of a command that does not exist nothing else can be wrong.
            return Role::Argument(Kind::Value);
        }
        let looks_like_option = !self.is_literal && !token.quoted && token.bytes.starts_with(b"--");
        match self.awaited.take() {
            Some((_, kind)) if token.attached || !looks_like_option => return Role::OptionValue(kind),
            _ if token.attached => return Role::Stray,
            _ => {}
        }
        if !looks_like_option {
            return self.argument(token);
        }
        if *token.bytes == *b"--" {
            self.is_literal = true;
            return Role::EndOfOptions;
        }
        let opt = self.options_of_lines().find(|opt| opt.name.as_bytes() == &*token.bytes);
        self.options.extend(opt);
        self.awaited = opt.and_then(|opt| opt.value);
        Role::Option(opt)
    }

    fn argument(&mut self, token: &Token<'_>) -> Role {
        self.first_arg.get_or_insert_with(|| token.bytes.to_vec());
        let arg = self.next_arg();
        self.args += 1;
        arg.map_or(Role::Stray, |arg| Role::Argument(arg.kind))
    }

    /// The argument that comes next by position.
    pub(super) fn next_arg(&self) -> Option<&'static Arg> {
        let args = self.spec?.args;
        let repeated = args.last().filter(|last| last.arity == Arity::Many);
        args.get(self.args).or(repeated)
    }

    /// The options that the command has in a line.
    fn options_of_lines(&self) -> impl Iterator<Item = &'static Opt> + use<> {
        let options = self.spec.map_or(&[][..], |spec| spec.options);
        options.iter().filter(|opt| !opt.replaces_last_arg)
    }

    /// The options that may still be given.
    pub(super) fn options_left(&self) -> Vec<&'static Opt> {
        let given = |opt: &Opt| self.options.iter().any(|known| known.name == opt.name);
        let excluded = |opt: &Opt| {
            let Some(spec) = self.spec else { return false };
            spec.options.windows(2).any(|pair| {
                pair[1].excludes_previous
                    && ((pair[0] == *opt && given(&pair[1])) || (pair[1] == *opt && given(&pair[0])))
            })
        };
        if self.is_literal {
            return Vec::new();
        }
        self.options_of_lines().filter(|opt| !given(opt) && !excluded(opt)).collect()
    }
}

/// One logical line, read as far as it goes.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) words: Vec<Word<'a>>,
    pub(super) said: Said,
    /// Why it goes no further.
    pub(super) error: Option<LexError>,
    /// Where the token begins that can't be read.
    pub(super) rest: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn of(line: &'a [u8]) -> Self {
        let mut reading = Self { words: Vec::new(), said: Said::default(), error: None, rest: line.len() };
        for token in tokens(line) {
            match token {
                Ok(token) => {
                    let role = reading.said.take(&token);
                    reading.words.push(Word { token, role });
                }
                Err(error) => {
                    reading.rest = reading.words.last().map_or(0, |word| behind(line, word.token.span.end));
                    reading.error = Some(error);
                }
            }
        }
        reading
    }

    /// The quote that is open at the end: its offset.
    pub(super) fn open_quote(&self) -> Option<usize> {
        let error = self.error.as_ref()?;
        matches!(error.expected, Expected::ClosingQuote(_)).then_some(error.span.start)
    }
}

/// Where the next token begins: behind blanks, and behind the `=` of an option.
fn behind(line: &[u8], end: usize) -> usize {
    let skipped = line[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'=')).count();
    end + skipped
}

/// The logical lines of what is typed, each with its newline.
pub(super) fn logical_lines(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    while let Some(len) = LineEnd::new().feed(&text.as_bytes()[start..]) {
        lines.push(start..start + len);
        start += len;
    }
    lines.push(start..text.len());
    lines
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quotes {
    None,
    Single,
    Double,
}

/// The token in which the cursor stands, which may be empty, and what was said before it.
#[derive(Debug)]
pub(super) struct AtCursor {
    pub(super) said: Said,
    /// Where the token begins, its quote included.
    pub(super) start: usize,
    /// What it means so far.
    pub(super) bytes: Vec<u8>,
    pub(super) quotes: Quotes,
    /// It is what follows the `=` of an option.
    pub(super) attached: bool,
}

impl AtCursor {
    /// What stands before the end of `text`; `None` where nothing can be completed: behind a closing quote, in a comment, in a
    /// literal that has no completion, behind an error.
    pub(super) fn find(text: &str) -> Option<Self> {
        let line = logical_lines(text).pop()?;
        let offset = line.start;
        let line = &text[line];
        if line.trim_start().starts_with('#') {
            return None;
        }
        let mut reading = Reading::of(line.as_bytes());
        let mut at = match (&reading.error, reading.words.last()) {
            (Some(error), last) => Self::unfinished(line, error, last)?,
            (None, Some(last)) if last.token.span.end == line.len() => {
                let Word { token, .. } = reading.words.pop()?;
                Self::bare(&token)?
            }
            (None, _) => Self::empty(line.len(), false),
        };
        at.start += offset;
        for word in &reading.words {
            at.said.take(&word.token);
        }
        Some(at)
    }

    fn empty(start: usize, attached: bool) -> Self {
        Self { said: Said::default(), start, bytes: Vec::new(), quotes: Quotes::None, attached }
    }

    fn bare(token: &Token<'_>) -> Option<Self> {
        let at = Self::empty(token.span.start, token.attached);
        (!token.quoted).then(|| Self { bytes: token.bytes.to_vec(), ..at })
    }

    /// A token whose quote is open, or `--name=` with nothing behind it.
    fn unfinished(line: &str, error: &LexError, last: Option<&Word<'_>>) -> Option<Self> {
        let start = error.span.start;
        let attached = last.is_some_and(|word| {
            let end = word.token.span.end;
            end < start && line[end..start] == *"=" && matches!(word.role, Role::Option(_))
        });
        let quotes = match error.expected {
            Expected::Value if start == line.len() => return Some(Self::empty(start, true)),
            Expected::ClosingQuote("\"") => Quotes::Double,
            Expected::ClosingQuote("'") => Quotes::Single,
            _ => return None,
        };
        let quote = if quotes == Quotes::Double { '"' } else { '\'' };
        let closed = format!("{}{quote}", &line[start..]);
        let token = tokens(closed.as_bytes()).next()?.ok()?;
        Some(Self { bytes: token.bytes.to_vec(), quotes, ..Self::empty(start, attached) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(line: &str) -> Vec<String> {
        let short = |role: Role| match role {
            Role::Verb(spec) => format!("verb {}", spec.map_or("?", |spec| spec.name)),
            Role::Option(opt) => opt.map_or("option ?", |opt| opt.name).to_owned(),
            Role::EndOfOptions => "--".into(),
            Role::OptionValue(kind) => format!("={kind:?}"),
            Role::Argument(kind) => format!("{kind:?}"),
            Role::Stray => "stray".into(),
        };
        Reading::of(line.as_bytes()).words.iter().map(|word| short(word.role)).collect()
    }

    #[test]
    fn every_token_has_its_part() {
        assert_eq!(roles("SET a b c"), ["verb set", "Key", "Value", "stray"]);
        assert_eq!(roles("get a b c"), ["verb get", "Key", "Key", "Key"]);
        assert_eq!(
            roles("scan --from=a --limit 5 p"),
            ["verb scan", "--from", "=Bound", "--limit", "=Count", "Bound"]
        );
        assert_eq!(roles("scan --limit --keys"), ["verb scan", "--limit", "--keys"]);
        assert_eq!(roles("scan --keys=x"), ["verb scan", "--keys", "stray"]);
        assert_eq!(roles("set -- --a --b"), ["verb set", "--", "Key", "Value"]);
        assert_eq!(roles("scan --lim 5"), ["verb scan", "option ?", "Bound"]);
        assert_eq!(roles("set --value-file f"), ["verb set", "option ?", "Key"]);
        assert_eq!(roles("gte a --b"), ["verb ?", "Value", "Value"]);
        assert_eq!(roles("# get a"), Vec::<String>::new());
    }

    #[test]
    fn options_that_are_given_or_excluded_are_not_left() {
        let left = |line: &str| -> Vec<_> {
            Reading::of(line.as_bytes()).said.options_left().iter().map(|opt| opt.name).collect()
        };
        assert_eq!(left("scan --from a --keys"), ["--to", "--glob", "--reverse", "--limit"]);
        assert_eq!(left("scan --"), Vec::<&str>::new());
        assert_eq!(left("append a b"), Vec::<&str>::new());
    }

    fn at(text: &str) -> Option<(usize, String, Quotes, bool)> {
        let at = AtCursor::find(text)?;
        Some((at.start, String::from_utf8(at.bytes).unwrap(), at.quotes, at.attached))
    }

    #[test]
    fn the_token_at_the_cursor_is_found_with_its_quote() {
        assert_eq!(at(""), Some((0, String::new(), Quotes::None, false)));
        assert_eq!(at("get na"), Some((4, "na".into(), Quotes::None, false)));
        assert_eq!(at("get "), Some((4, String::new(), Quotes::None, false)));
        assert_eq!(at("get \"a b\\n"), Some((4, "a b\n".into(), Quotes::Double, false)));
        assert_eq!(at("get 'it"), Some((4, "it".into(), Quotes::Single, false)));
        assert_eq!(at("scan --from=us"), Some((12, "us".into(), Quotes::None, true)));
        assert_eq!(at("scan --from="), Some((12, String::new(), Quotes::None, true)));
        assert_eq!(at("scan --from=\"u s"), Some((12, "u s".into(), Quotes::Double, true)));
        assert_eq!(at("set a \"x\ny\"\nget b"), Some((16, "b".into(), Quotes::None, false)));
        for text in ["get \"a\"", "# get a", "get \"a\\", "get x\"0", "get it's b", "get \"a\\q b"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    #[test]
    fn lines_are_divided_where_no_quote_is_open() {
        assert_eq!(logical_lines("get a\nset b 'c\nd'\nx"), [0..6, 6..18, 18..19]);
        assert!(logical_lines("").iter().eq([&(0..0)]));
    }
}
