//! From a line, or from the arguments of a one-shot, to a [`Command`].
//!
//! ```text
//! line  ── lexer ──▶ tokens ──┐
//!                             ├─ spec of the first ─▶ Call: arguments, options ─▶ build ─▶ Command
//! argv ── taken as it is ─────┘
//! ```
//!
//! 1. An argument of a one-shot is taken byte for byte; nothing in it is ever unquoted or unescaped.
//! 2. An option is an unquoted token that begins with `--`; after a bare `--` everything is an argument. `-5` is a value.
//! 3. Whatever is given, the result is a command or a [`Diagnostic`] whose span lies in the source: the line, or the
//!    [`command_line`] that stands for the arguments.

mod build;
mod call;

use std::borrow::Cow;
use std::ops::Range;
use std::path::PathBuf;

use super::command::Command;
use super::diagnostic::Diagnostic;
use super::lexer::{Expected, LexError, Token, tokens};
use super::literal::{brief, is_hidden, literal};
use super::suggest::nearest;
use super::table::{self, Spec};

use call::Call;

/// Longest piece of input that a message repeats, in bytes.
const QUOTED_LEN: usize = 40;

/// What helps where no name is near.
const LIST_HINT: &str = "help lists the commands";

/// Where a one-shot's value comes from when it is not an argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// `-`: all of standard input.
    Stdin,
    /// `--value-file FILE`: all of that file.
    File(PathBuf),
}

/// Reads the value of a one-shot. Only the message, label and help of its error are used: the place is known here.
pub type ReadValue<'a> = &'a mut dyn FnMut(ValueSource) -> Result<Vec<u8>, Diagnostic>;

/// The command in one logical line, its newline included or not; `None` for a blank line and a comment.
///
/// ```
/// use kvdb::shell::{command::Command, parse};
/// let command = parse::line(b"get name").unwrap();
/// assert_eq!(command, Some(Command::Get { keys: vec!["name".into()], default: None }));
/// assert_eq!(parse::line(b"# a comment").unwrap(), None);
/// ```
///
/// # Errors
/// The line is not in the language; the span is in `line`.
pub fn line(line: &[u8]) -> Result<Option<Command>, Diagnostic> {
    let tokens: Vec<Token<'_>> = match tokens(line).collect() {
        Ok(tokens) => tokens,
        Err(error) => return Err(unreadable(line, error)),
    };
    let mut tokens = tokens.into_iter();
    let Some(verb) = tokens.next() else { return Ok(None) };
    let spec = line_spec(&verb)?;
    if asks_for_help(tokens.as_slice()) {
        return Ok(Some(help_on(spec)));
    }
    Call::new(line, spec, &verb, tokens, None)?.build().map(Some)
}

/// The command in the arguments of a one-shot, the verb first. `read_value` is called at most once, when everything
/// else is right.
///
/// ```
/// use kvdb::shell::{command::Command, parse};
/// let args = [b"get".to_vec(), b"it's \"raw\"".to_vec()];
/// let command = parse::argv(&args, &mut |_| unreachable!()).unwrap();
/// assert_eq!(command, Command::Get { keys: vec!["it's \"raw\"".into()], default: None });
/// ```
///
/// # Errors
/// The arguments make no command; the span is in [`command_line`] of them.
pub fn argv(args: &[Vec<u8>], read_value: ReadValue<'_>) -> Result<Command, Diagnostic> {
    let source = command_line(args);
    let mut tokens = argv_tokens(args).into_iter();
    let Some(verb) = tokens.next() else {
        let span = source.len()..source.len();
        let help = Some("kvdb help lists the commands".into());
        return Err(Diagnostic {
            message: "missing command".into(),
            span,
            label: "expected a command".into(),
            help,
        });
    };
    let spec = table::find_one_shot(&verb.bytes).ok_or_else(|| unknown_one_shot(&verb))?;
    if asks_for_help(tokens.as_slice()) {
        return Ok(help_on(spec));
    }
    Call::new(&source, spec, &verb, tokens, Some(read_value))?.build()
}

/// Whether what follows a command is `--help` and nothing else.
fn asks_for_help(tokens: &[Token<'_>]) -> bool {
    matches!(tokens, [token] if !token.quoted && *token.bytes == *b"--help")
}

fn help_on(spec: &Spec) -> Command {
    Command::Help { topic: Some(spec.name.into()) }
}

/// How the arguments of a one-shot are shown in messages: `kvdb` and the arguments, quoted where needed.
#[must_use]
pub fn command_line(args: &[Vec<u8>]) -> Vec<u8> {
    args.iter().fold(PROGRAM.to_vec(), |mut source, arg| {
        source.push(b' ');
        source.extend_from_slice(&shown(arg));
        source
    })
}

const PROGRAM: &[u8] = b"kvdb";

/// An argument as [`command_line`] writes it.
fn shown(arg: &[u8]) -> Cow<'_, [u8]> {
    let is_plain = |&byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    match arg {
        [_, ..] if arg.iter().all(is_plain) => Cow::Borrowed(arg),
        _ => Cow::Owned(literal(arg).into_bytes()),
    }
}

/// The arguments as tokens of [`command_line`].
fn argv_tokens(args: &[Vec<u8>]) -> Vec<Token<'_>> {
    let mut tokens = Vec::with_capacity(args.len());
    let mut start = PROGRAM.len() + 1;
    let mut is_literal = false;
    for arg in args {
        let span = start..start + shown(arg).len();
        start = span.end + 1;
        is_literal |= arg == b"--";
        let equals = arg.iter().position(|&byte| byte == b'=');
        match equals.filter(|_| !is_literal && arg.starts_with(b"--")) {
            Some(at) => tokens.extend([
                Token { bytes: (&arg[..at]).into(), span: span.clone(), quoted: false, attached: false },
                Token { bytes: (&arg[at + 1..]).into(), span, quoted: false, attached: true },
            ]),
            None => tokens.push(Token { bytes: arg.into(), span, quoted: false, attached: false }),
        }
    }
    tokens
}

fn line_spec(verb: &Token<'_>) -> Result<&'static Spec, Diagnostic> {
    if verb.quoted {
        return Err(Diagnostic {
            message: "quoted command".into(),
            span: verb.span.clone(),
            label: "a command is written without quotes".into(),
            help: table::find(&verb.bytes).map(|spec| spec.name.into()),
        });
    }
    table::find(&verb.bytes).ok_or_else(|| unknown_command(verb, table::names()))
}

fn unknown_command(verb: &Token<'_>, names: impl Iterator<Item = &'static str>) -> Diagnostic {
    let help = did_you_mean(&verb.bytes, names).unwrap_or_else(|| LIST_HINT.into());
    Diagnostic {
        message: format!("unknown command {}", brief(&verb.bytes, QUOTED_LEN)),
        span: verb.span.clone(),
        label: "not a command".into(),
        help: Some(help),
    }
}

/// The same of a one-shot. All of a command may have been quoted as one.
fn unknown_one_shot(verb: &Token<'_>) -> Diagnostic {
    let mut unknown = unknown_command(verb, table::one_shot_names());
    let line = std::str::from_utf8(&verb.bytes).ok().filter(|line| line.len() <= QUOTED_LEN);
    let is_command = |line: &&str| {
        line.split_once(' ').is_some_and(|(name, _)| table::find_one_shot(name.as_bytes()).is_some())
            && !line.chars().any(is_hidden)
    };
    if let Some(line) = line.filter(is_command) {
        unknown.help = Some(format!("without quotes around all of it: kvdb {line}"));
    }
    unknown
}

/// Why a line has no tokens. What is wrong with the name of a command is not mended by quotes.
fn unreadable(line: &[u8], error: LexError) -> Diagnostic {
    let before = line[..error.span.start].trim_ascii_start();
    let is_name = !before.contains(&b' ') && !before.contains(&b'\t');
    let is_misspelt = is_name && matches!(error.expected, Expected::Quotes { .. });
    let mut diagnostic = error.explain(line);
    if is_misspelt {
        diagnostic.label = "not a part of any command's name".into();
        diagnostic.help = Some(LIST_HINT.into());
    }
    diagnostic
}

/// The command that help calls by this name. `span` is where the name stands, for the error.
pub(super) fn topic(name: &[u8], span: Range<usize>) -> Result<&'static Spec, Diagnostic> {
    table::find_one_shot(name).ok_or_else(|| {
        let help = did_you_mean(name, table::one_shot_names());
        Diagnostic {
            message: format!("no help on {}", brief(name, QUOTED_LEN)),
            span,
            label: "expected a command".into(),
            help: Some(help.unwrap_or_else(|| LIST_HINT.into())),
        }
    })
}

/// `did you mean "…"?`, when one name was clearly meant.
fn did_you_mean<'a>(word: &[u8], names: impl Iterator<Item = &'a str>) -> Option<String> {
    let name = nearest(std::str::from_utf8(word).ok()?, names)?;
    Some(format!("did you mean \"{name}\"?"))
}

#[cfg(test)]
mod tests;
