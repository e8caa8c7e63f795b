//! Completion with Tab, from the table of commands: names, options, fixed words, topics, files.

use std::borrow::Cow;

use rustyline::completion::{Completer, FilenameCompleter, Pair, unescape};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};

use super::literal::literal;
use super::look::Look;
use super::table::{self, Kind, Spec};

/// What the editor asks when Tab is pressed.
pub(crate) struct Completion {
    files: FilenameCompleter,
    /// Of the prompt.
    look: Look,
}

impl Completion {
    pub(crate) fn new(look: Look) -> Self {
        Self { files: FilenameCompleter::new(), look }
    }

    fn paths(&self, line: &str, end: usize) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, pairs) = self.files.complete_path(line, end)?;
        Ok((start, pairs.into_iter().map(in_our_quotes).collect()))
    }
}

/// The editor library escapes blanks in names with backslashes; the language quotes.
fn in_our_quotes(pair: Pair) -> Pair {
    if !pair.replacement.contains('\\') {
        return pair;
    }
    let name = unescape(&pair.replacement, Some('\\')).into_owned();
    Pair { replacement: literal(name.as_bytes()), ..pair }
}

impl Completer for Completion {
    type Candidate = Pair;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, wanted) = wanted(&line[..end]);
        match wanted {
            Wanted::Words(words) => Ok((start, matching(&line[start..end], &words))),
            Wanted::Files => self.paths(line, end),
        }
    }
}

impl Hinter for Completion {
    type Hint = String;
}

impl Highlighter for Completion {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, _: bool) -> Cow<'b, str> {
        self.look.prompt(prompt).into()
    }
}

impl Validator for Completion {}
impl Helper for Completion {}

/// What may stand at the cursor.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Words(Vec<&'static str>),
    Files,
}

/// Where the word at the end of `line` begins, and what it may become.
fn wanted(line: &str) -> (usize, Wanted) {
    let start = line.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let mut before = line[..start].split_ascii_whitespace();
    let Some(verb) = before.next() else { return (start, Wanted::Words(table::names().collect())) };
    let wanted = match table::find(verb.as_bytes()) {
        None => Wanted::Words(Vec::new()),
        Some(spec) if line[start..].starts_with('-') => Wanted::Words(options(spec)),
        Some(spec) => argument(spec, &before.collect::<Vec<_>>()),
    };
    (start, wanted)
}

fn options(spec: &Spec) -> Vec<&'static str> {
    let typed_in_lines = spec.options.iter().filter(|option| !option.replaces_last_arg);
    typed_in_lines.map(|option| option.name).collect()
}

/// What may follow some arguments: an option's value, or the next argument by position.
fn argument(spec: &Spec, before: &[&str]) -> Wanted {
    let value_of = |name: &&str| spec.options.iter().find(|option| option.name == *name)?.value;
    if let Some((_, kind)) = before.last().and_then(value_of) {
        return of_kind(kind);
    }
    let with_value = before.iter().filter_map(value_of).count();
    let position = before.iter().filter(|word| !word.starts_with("--")).count().saturating_sub(with_value);
    match spec.args.get(position) {
        Some(arg) => of_kind(arg.kind),
        None => Wanted::Words(Vec::new()),
    }
}

fn of_kind(kind: Kind) -> Wanted {
    match kind {
        Kind::File => Wanted::Files,
        Kind::Choice(words) => Wanted::Words(words.to_vec()),
        Kind::Topic => Wanted::Words(table::one_shot_names().collect()),
        Kind::Key | Kind::Value | Kind::Bound | Kind::Integer | Kind::Count => Wanted::Words(Vec::new()),
    }
}

/// The words that begin with what is typed, in any case.
fn matching(typed: &str, words: &[&'static str]) -> Vec<Pair> {
    let begins =
        |word: &&&str| word.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed));
    let pair = |word: &&str| Pair { display: (*word).to_owned(), replacement: format!("{word} ") };
    words.iter().filter(begins).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> Vec<String> {
        let (start, wanted) = wanted(line);
        match wanted {
            Wanted::Words(words) => {
                matching(&line[start..], &words).into_iter().map(|pair| pair.display).collect()
            }
            Wanted::Files => vec!["(files)".into()],
        }
    }

    #[test]
    fn what_fits_at_the_cursor_is_offered() {
        assert_eq!(offered("se"), ["set"]);
        assert_eq!(offered("SC"), ["scan"]);
        assert_eq!(offered(".mo"), [".mode"]);
        assert_eq!(offered(".mode j"), ["json", "jsonl"]);
        assert_eq!(offered("scan --re"), ["--reverse"]);
        assert_eq!(offered("help rollb"), ["rollback"]);
        assert_eq!(offered(".load "), ["(files)"]);
        assert_eq!(offered("get na"), Vec::<String>::new());
        assert_eq!(offered("nonsense x"), Vec::<String>::new());
    }
}
