//! Completion with Tab: what may stand at the cursor, written so that it can be run.
//!
//! | at the cursor | offered |
//! |---|---|
//! | the command | names; aliases when something is typed already |
//! | an option (`-…`), or nothing where no argument is expected | the options that may still be given |
//! | a choice, a topic | the words |
//! | a file | names in that directory, directories with a `/` |
//! | a key | live keys, see [`keys`](super::keys) |
//! | the new value of a key | its present value, to be edited |
//!
//! 1. What is offered is quoted when it must be, in the quotes that the user began. If one needs quotes all get them where they
//!    go on alike, so that what they have in common can be completed.
//! 2. A finished word is followed by a blank, a directory or group of keys is left open.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustyline::completion::Pair;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::keys::{MAX_FOUND, Name, Source};
use super::reading::{AtCursor, Quotes, Said};
use crate::shell::files;
use crate::shell::lexer::tokens;
use crate::shell::literal::literal;
use crate::shell::table::{self, Kind};

/// Longest value that is offered to be edited, in bytes.
const MAX_VALUE_LEN: usize = 500;

/// What the list shows in the place of all that it leaves out.
const GAP: &str = "… and more";

/// Something that may stand at the cursor.
#[derive(Clone, Debug)]
struct Offer {
    bytes: Vec<u8>,
    /// What the list shows instead of all of it.
    shown: Option<String>,
    /// Whether the word ends with it.
    is_whole: bool,
}

/// Where the token at the end of `text` begins, and what it may become. `columns` are those of the terminal, `gap` is whether a
/// blank follows already.
pub(super) fn complete(text: &str, gap: bool, source: &Source, columns: usize) -> (usize, Vec<Pair>) {
    let Some(at) = AtCursor::find(text) else { return (text.len(), Vec::new()) };
    let start = at.start;
    let pairs = match words(&at) {
        Some(words) => words.into_iter().map(|word| word_pair(word, gap)).collect(),
        None => pairs(&values(&at, source), &at, gap, columns),
    };
    (start, pairs)
}

fn word_pair(word: &str, gap: bool) -> Pair {
    let blank = if gap { "" } else { " " };
    Pair { display: word.to_owned(), replacement: format!("{word}{blank}") }
}

/// What is written without quotes: names, options, choices.
fn words(at: &AtCursor) -> Option<Vec<&'static str>> {
    let typed = &at.bytes;
    if at.quotes != Quotes::None {
        return None;
    }
    if !at.said.begun {
        return Some(beginning(typed, commands(typed.is_empty())));
    }
    let expects_value = at.attached || at.said.awaited.is_some();
    if !expects_value && (typed.starts_with(b"-") || (typed.is_empty() && at.said.next_arg().is_none())) {
        return Some(beginning(typed, at.said.options_left().iter().map(|opt| opt.name)));
    }
    match expected(&at.said)? {
        Kind::Choice(words) => Some(beginning(typed, words.iter().copied())),
        Kind::Topic => Some(beginning(typed, table::one_shot_names())),
        _ => None,
    }
}

/// The names of commands. A list of everything is short enough without aliases.
fn commands(without_aliases: bool) -> impl Iterator<Item = &'static str> {
    let names =
        move |spec: &'static table::Spec| spec.names().take(if without_aliases { 1 } else { usize::MAX });
    table::specs().flat_map(names)
}

/// What kind of value the token at the cursor is.
fn expected(said: &Said) -> Option<Kind> {
    said.awaited.map(|(_, kind)| kind).or_else(|| Some(said.next_arg()?.kind))
}

/// The words that begin with what is typed, in any case.
fn beginning(typed: &[u8], words: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let begins = |word: &&str| {
        word.as_bytes().get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
    };
    words.filter(begins).collect()
}

/// What is written as a value: keys, files, the value that a key has.
fn values(at: &AtCursor, source: &Source) -> Vec<Offer> {
    match expected(&at.said) {
        Some(Kind::Key | Kind::Bound) => keys(at, source),
        Some(Kind::File) => files(&at.bytes),
        Some(Kind::Value) if at.bytes.is_empty() => present_value(at, source).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn keys(at: &AtCursor, source: &Source) -> Vec<Offer> {
    let names = source.keys(&at.bytes).into_iter();
    let offer = |name: Name| Offer {
        bytes: name.bytes,
        shown: name.is_gap.then(|| GAP.to_owned()),
        is_whole: name.is_whole,
    };
    names.map(offer).collect()
}

/// The value of the key that was given first.
fn present_value(at: &AtCursor, source: &Source) -> Option<Offer> {
    let bytes = source.value(at.said.first_arg.as_deref()?, MAX_VALUE_LEN)?;
    Some(Offer { bytes, shown: None, is_whole: true })
}

/// The files whose path begins with what is typed. Hidden ones are offered to those who type their dot.
fn files(typed: &[u8]) -> Vec<Offer> {
    let split = typed.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let (dir, start) = typed.split_at(split);
    let path = Path::new(std::ffi::OsStr::from_bytes(if dir.is_empty() { b"." } else { dir }));
    let mut names = files::names_in(path);
    names.retain(|(name, _)| {
        name.as_bytes().starts_with(start) && (!start.is_empty() || !name.as_bytes().starts_with(b"."))
    });
    names.sort();
    let last = names.last().cloned().filter(|_| names.len() > MAX_FOUND);
    names.truncate(if last.is_some() { MAX_FOUND - 1 } else { MAX_FOUND });
    let offer = |(name, is_dir): (std::ffi::OsString, bool)| {
        let slash: &[u8] = if is_dir { b"/" } else { b"" };
        let shown = [name.as_bytes(), slash].concat();
        Offer { bytes: [dir, &shown].concat(), shown: Some(written(&shown, Quotes::None)), is_whole: !is_dir }
    };
    let rest = last.map(offer).map(|last| Offer { shown: Some(GAP.to_owned()), ..last });
    names.into_iter().map(offer).chain(rest).collect()
}

fn pairs(offers: &[Offer], at: &AtCursor, gap: bool, columns: usize) -> Vec<Pair> {
    let quotes = common_quotes(offers, at);
    let pair = |offer: &Offer| {
        let mut replacement = written(&offer.bytes, quotes);
        let display = shortened(offer.shown.as_deref().unwrap_or(&replacement), columns);
        if !offer.is_whole && replacement.ends_with(['"', '\'']) {
            replacement.pop();
        } else if offer.is_whole && !gap {
            replacement.push(' ');
        }
        Pair { display, replacement }
    };
    offers.iter().map(pair).collect()
}

/// The quotes in which offers are written: as the user began; otherwise the same for all where they have something in common
/// that is still to be typed.
fn common_quotes(offers: &[Offer], at: &AtCursor) -> Quotes {
    let fits = |fits: fn(&[u8]) -> bool| offers.iter().all(|offer| fits(&offer.bytes));
    let goes_on = |offer: &Offer| offers[0].bytes.get(at.bytes.len()) == offer.bytes.get(at.bytes.len());
    match at.quotes {
        Quotes::None if offers.iter().all(goes_on) && !fits(is_bare) => Quotes::Double,
        Quotes::Single if !fits(fits_single_quotes) => Quotes::Double,
        quotes => quotes,
    }
}

/// As much as fits on a line of the terminal.
fn shortened(text: &str, columns: usize) -> String {
    let room = columns.saturating_sub(2).max(10);
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut width = 0;
    for c in text.chars() {
        width += c.width().unwrap_or(0);
        if width + 3 > room {
            break;
        }
        short.push(c);
    }
    short + "..."
}

/// Whether this is an argument when it is written without quotes.
fn is_bare(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let mut read = tokens(bytes);
    let is_one_word = matches!(
        (read.next(), read.next()),
        (Some(Ok(token)), None) if !token.quoted && token.bytes == bytes
    );
    is_one_word && !bytes.starts_with(b"--") && literal(bytes).len() == text.len() + 2
}

fn fits_single_quotes(bytes: &[u8]) -> bool {
    let is_harmless =
        std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(crate::shell::literal::is_hidden));
    is_harmless && !bytes.contains(&b'\'')
}

/// The bytes as they are typed, in quotes of this kind where it can hold them.
fn written(bytes: &[u8], quotes: Quotes) -> String {
    let text = String::from_utf8_lossy(bytes);
    match quotes {
        Quotes::None if is_bare(bytes) => text.into_owned(),
        Quotes::Single if fits_single_quotes(bytes) => format!("'{text}'"),
        _ => literal(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn offered(source: &Source, text: &str) -> Vec<String> {
        let (start, pairs) = complete(text, false, source, 80);
        pairs.into_iter().map(|pair| format!("{}{}", &text[..start], pair.replacement)).collect()
    }

    fn words(text: &str) -> Vec<String> {
        offered(&Source::Nothing, text)
    }

    #[test]
    fn what_fits_at_the_cursor_is_offered() {
        assert_eq!(words("se"), ["set "]);
        assert_eq!(words("SC"), ["scan "]);
        assert_eq!(words(".mo"), [".mode "]);
        assert_eq!(words("qu"), ["quit "]);
        assert!(!words("").contains(&"quit ".to_owned()) && words("").contains(&"exit ".to_owned()));
        assert_eq!(words(".mode js"), [".mode json ", ".mode jsonl "]);
        assert_eq!(words("scan --re"), ["scan --reverse "]);
        assert_eq!(
            words("scan --keys --"),
            ["--from", "--to", "--glob", "--reverse", "--limit"].map(|o| format!("scan --keys {o} "))
        );
        assert_eq!(
            words("scan user: --keys -"),
            words("scan user: --keys --").iter().map(String::as_str).collect::<Vec<_>>()
        );
        assert_eq!(words("begin "), Vec::<String>::new());
        assert_eq!(words("help rollb"), ["help rollback "]);
        for nothing in ["get na", "nonsense x", "append a b --", "\"se", "incr a ", "scan --limit "] {
            assert_eq!(words(nothing), Vec::<String>::new(), "{nothing}");
        }
    }

    #[test]
    fn keys_are_quoted_when_they_must_be_and_as_the_user_began() {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().open(dir.path().join("db")).unwrap();
        for key in ["name", "two words", "it's", "tab\there", "--flag"] {
            db.set(key, "v\"v").unwrap();
        }
        let source = Source::Block(Box::new(crate::shell::block::Block::new(
            db.begin().unwrap(),
            String::new(),
            true,
        )));
        assert_eq!(offered(&source, "get na"), ["get name "]);
        assert_eq!(offered(&source, "get \"na"), ["get \"name\" "]);
        assert_eq!(offered(&source, "get 'na"), ["get 'name' "]);
        assert_eq!(offered(&source, "get t"), ["get \"tab\\there\" ", "get \"two words\" "]);
        assert_eq!(offered(&source, "get ")[2..4], ["get name ", "get \"tab\\there\" "]);
        assert_eq!(offered(&source, "get 'tw"), ["get 'two words' "]);
        assert_eq!(offered(&source, "get 'it"), ["get \"it's\" "]);
        assert_eq!(offered(&source, "get \"--"), ["get \"--flag\" "]);
        assert_eq!(offered(&source, "scan --from=tw"), ["scan --from=\"two words\" "]);
        assert_eq!(offered(&source, "scan --from tw"), ["scan --from \"two words\" "]);
        assert_eq!(offered(&source, "set name "), [r#"set name "v\"v" "#]);
        assert_eq!(offered(&source, "get name tw"), ["get name \"two words\" "]);
        assert_eq!(offered(&source, "get \"two words\""), Vec::<String>::new());
        for text in offered(&source, "get ") {
            assert!(crate::shell::parse::line(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn files_are_offered_with_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a b.kv", "abc.kv", ".hidden"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("abdir")).unwrap();
        let base = dir.path().display().to_string();
        let after = |text: &str| -> Vec<String> {
            words(&format!(".load {base}/{text}")).iter().map(|word| word.replace(&base, "")).collect()
        };
        assert_eq!(after("ab"), [".load /abc.kv ", ".load /abdir/"]);
        assert_eq!(after("a"), [".load \"/a b.kv\" ", ".load /abc.kv ", ".load /abdir/"]);
        assert_eq!(after(".h"), [".load /.hidden "]);
        assert_eq!(after("").len(), 3);
        assert_eq!(after("x/"), Vec::<String>::new());
    }

    #[test]
    fn long_names_are_cut_where_they_are_listed() {
        assert_eq!(shortened("short", 40), "short");
        assert_eq!(shortened(&"x".repeat(50), 20).width(), 18);
        assert_eq!(shortened(&"漢".repeat(50), 20).width(), 17);
    }
}
