//! A command's name with what was given to it, held against its [`Spec`].
//!
//! 1. An option's value is attached with `=` or is the next token, which must not look like an option itself.
//! 2. An option is given at most once, and not together with one that excludes it.
//! 3. There are as many arguments as the signature says. An option that stands for the last argument takes its place.

use std::ops::Range;

use super::super::diagnostic::Diagnostic;
use super::super::lexer::Token;
use super::super::literal::{brief, is_hidden, literal};
use super::super::table::{Arg, Arity, Kind, Opt, Spec, Verb};
use super::{QUOTED_LEN, ReadValue, did_you_mean};
use crate::config::FLAGS;

/// Longest joined value that a help line shows.
const LONGEST_EXAMPLE: usize = 60;

/// Arguments and options of one command, checked against its signature but not read yet.
pub(super) struct Call<'a, 'r> {
    /// The line, or what stands for the arguments of a one-shot.
    pub(super) source: &'a [u8],
    pub(super) spec: &'static Spec,
    /// Where the next token would be.
    pub(super) end: usize,
    pub(super) args: Vec<Token<'a>>,
    pub(super) options: Vec<Given<'a>>,
    /// How a one-shot reads a value from elsewhere. A line can't.
    pub(super) read_value: Option<ReadValue<'r>>,
}

/// An option that was given.
pub(super) struct Given<'a> {
    pub(super) opt: &'static Opt,
    span: Range<usize>,
    pub(super) value: Option<Token<'a>>,
}

impl<'a, 'r> Call<'a, 'r> {
    pub(super) fn new(
        source: &'a [u8],
        spec: &'static Spec,
        verb: &Token<'a>,
        tokens: impl Iterator<Item = Token<'a>>,
        read_value: Option<ReadValue<'r>>,
    ) -> Result<Self, Diagnostic> {
        let end = verb.span.end;
        let mut call = Self { source, spec, end, args: Vec::new(), options: Vec::new(), read_value };
        call.sort(tokens)?;
        call.check_count()?;
        Ok(call)
    }

    /// Divides the tokens into arguments and options.
    fn sort(&mut self, tokens: impl Iterator<Item = Token<'a>>) -> Result<(), Diagnostic> {
        let mut tokens = tokens.peekable();
        let mut is_literal = false;
        while let Some(mut token) = tokens.next() {
            self.end = token.span.end;
            if is_literal || !looks_like_option(&token) {
                token.quoted |= is_literal;
                self.args.push(token);
            } else if *token.bytes == *b"--" {
                is_literal = true;
            } else {
                let opt = self.find_option(&token)?;
                let is_value =
                    |next: &Token<'_>| next.attached || (opt.value.is_some() && !looks_like_option(next));
                let given = Given { opt, span: token.span, value: tokens.next_if(is_value) };
                self.end = given.value.as_ref().map_or(self.end, |value| value.span.end);
                self.add_option(given)?;
            }
        }
        Ok(())
    }

    fn find_option(&self, token: &Token<'_>) -> Result<&'static Opt, Diagnostic> {
        let found = self.spec.options.iter().find(|opt| opt.name.as_bytes() == &*token.bytes);
        match found {
            Some(opt) if opt.replaces_last_arg && self.read_value.is_none() => Err(Diagnostic {
                message: format!("{} is for one-shot commands only", opt.name),
                span: token.span.clone(),
                label: "not available in a line".into(),
                help: Some(format!("write the value after the key: {}", self.spec.signature())),
            }),
            Some(opt) => Ok(opt),
            None => Err(self.unknown_option(token)),
        }
    }

    fn unknown_option(&self, token: &Token<'_>) -> Diagnostic {
        let as_value = || match self.read_value {
            Some(_) => "to use it as a value, write -- before it: everything after -- is a value".into(),
            None => format!("to use it as a value, put it in quotes: {}", brief(&token.bytes, QUOTED_LEN)),
        };
        let misplaced = || {
            let flag = FLAGS.iter().find(|flag| flag.name.as_bytes() == &*token.bytes)?;
            let place = format!("kvdb {} {} …", flag.signature(), self.spec.name);
            self.read_value.as_ref().map(|_| format!("options of kvdb stand before the command: {place}"))
        };
        let nearest = || did_you_mean(&token.bytes, self.spec.options.iter().map(|opt| opt.name));
        Diagnostic {
            message: format!("unknown option {}", brief(&token.bytes, QUOTED_LEN)),
            span: token.span.clone(),
            label: format!("not an option of {}", self.spec.name),
            help: Some(misplaced().or_else(nearest).unwrap_or_else(as_value)),
        }
    }

    fn add_option(&mut self, given: Given<'a>) -> Result<(), Diagnostic> {
        let name = given.opt.name;
        let wrong = |message: String, span: &Range<usize>, label: String| {
            Err(Diagnostic { message, span: span.clone(), label, help: Some(self.usage()) })
        };
        match (given.opt.value, &given.value) {
            (Some((value, _)), None) => {
                let end = given.span.end..given.span.end;
                return wrong(format!("missing value for {name}"), &end, format!("expected {value}"));
            }
            (None, Some(value)) => {
                return wrong(format!("{name} takes no value"), &value.span, "not expected".into());
            }
            _ => {}
        }
        if self.option(name).is_some() {
            return wrong(format!("{name} is given twice"), &given.span, "the second time".into());
        }
        if let Some(other) = self.options.iter().find(|other| self.excludes(other.opt, given.opt)) {
            let label = format!("not together with {}", other.opt.name);
            return wrong(format!("{} and {name} exclude each other", other.opt.name), &given.span, label);
        }
        self.options.push(given);
        Ok(())
    }

    fn excludes(&self, a: &Opt, b: &Opt) -> bool {
        let groups = self.spec.options.chunk_by(|_, next| next.excludes_previous);
        a != b && groups.into_iter().any(|group| group.contains(a) && group.contains(b))
    }

    /// The option of this name, if it was given.
    pub(super) fn option(&self, name: &str) -> Option<&Given<'a>> {
        self.options.iter().find(|given| given.opt.name == name)
    }

    /// The option that stands for the last argument, if it was given.
    pub(super) fn replacement(&self) -> Option<&Given<'a>> {
        self.options.iter().find(|given| given.opt.replaces_last_arg)
    }

    fn check_count(&self) -> Result<(), Diagnostic> {
        let expected = &self.spec.args[..self.spec.args.len() - usize::from(self.replacement().is_some())];
        let given = self.args.len();
        let is_needed = |arg: &&Arg| matches!(arg.arity, Arity::One | Arity::Many);
        if let Some(missing) = expected.get(given).filter(is_needed) {
            return Err(self.missing(missing.name));
        }
        let takes_any_number =
            expected.last().is_some_and(|arg| matches!(arg.arity, Arity::Many | Arity::Any));
        if given > expected.len() && !takes_any_number {
            return Err(self.unexpected(expected.len()));
        }
        Ok(())
    }

    /// An argument is not there.
    pub(super) fn missing(&self, name: &str) -> Diagnostic {
        Diagnostic {
            message: format!("missing argument {name}"),
            span: self.end..self.end,
            label: format!("expected {name}"),
            help: Some(self.usage()),
        }
    }

    /// There are more arguments than `expected`.
    fn unexpected(&self, expected: usize) -> Diagnostic {
        let extra = &self.args[expected..];
        let (first, last) = (&extra[0].span, &extra[extra.len() - 1].span);
        let takes_value = self.spec.args.last().is_some_and(|arg| arg.kind == Kind::Value);
        let (span, label, help) = match self.replacement() {
            Some(given) => (first.clone(), format!("{} gives the value", given.opt.name), None),
            None if let Some(help) = self.translated(extra) => {
                (first.start..last.end, "an option is written with --".into(), Some(help))
            }
            None if takes_value && self.options.is_empty() => {
                (first.start..last.end, "a value with spaces needs quotes".into(), self.joined(expected - 1))
            }
            None if expected == 0 => (first.clone(), format!("{} takes no arguments", self.spec.name), None),
            None => (first.clone(), "not expected".into(), None),
        };
        let help = Some(help.unwrap_or_else(|| self.usage()));
        Diagnostic { message: "unexpected argument".into(), span, label, help }
    }

    /// What other databases have behind the value of `set`, as it is written here.
    fn translated(&self, extra: &[Token<'_>]) -> Option<String> {
        if self.spec.verb != Verb::Set {
            return None;
        }
        let words = extra.iter().map(|token| std::str::from_utf8(&token.bytes).ok());
        let words: Vec<String> =
            words.map(|word| word.map(str::to_ascii_lowercase)).collect::<Option<_>>()?;
        let number = words.get(1).filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        let option = match (words[0].as_str(), number, words.len()) {
            ("ex", Some(number), 2) => format!("--ttl {number}s"),
            ("px", Some(number), 2) => format!("--ttl {number}ms"),
            ("nx", None, 1) => "--nx".to_owned(),
            ("xx", None, 1) => "--xx".to_owned(),
            _ => return None,
        };
        Some(format!("{} {option}", self.shown_before(&extra[0])?.trim()))
    }

    /// What stands before a token, when that is short enough to show.
    fn shown_before(&self, token: &Token<'_>) -> Option<&str> {
        let before = std::str::from_utf8(self.source.get(..token.span.start)?).ok()?;
        (before.len() <= LONGEST_EXAMPLE && !before.chars().any(is_hidden)).then_some(before)
    }

    /// The source with its arguments from `first` on written as one, when that is short enough to show.
    fn joined(&self, first: usize) -> Option<String> {
        let parts: Vec<&[u8]> = self.args[first..].iter().map(|arg| &*arg.bytes).collect();
        let joined = parts.join(&b' ');
        let before = self.shown_before(&self.args[first])?;
        (joined.len() <= LONGEST_EXAMPLE).then(|| format!("{}{}", before.trim_start(), literal(&joined)))
    }

    /// How the command is written.
    pub(super) fn usage(&self) -> String {
        format!("usage: {}", self.spec.signature())
    }
}

fn looks_like_option(token: &Token<'_>) -> bool {
    !token.quoted && !token.attached && token.bytes.starts_with(b"--")
}
