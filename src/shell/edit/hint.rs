//! What is shown in grey behind the cursor: what was typed before, or what the command still takes.
//!
//! | typed so far | shown | the right arrow |
//! |---|---|---|
//! | `sca` | the newest line of the history that goes on like this; else the name and its signature | takes it |
//! | `scan ` | what may follow: `[PREFIX] [--from KEY] …` | does nothing |
//! | `scan us` | the newest line of the history that goes on like this; else what may follow | takes the line |
//! | a quote is open on an earlier line | which one | does nothing |
//!
//! A hint never makes the line longer than the terminal is wide.

use rustyline::history::SearchDirection;
use unicode_width::UnicodeWidthStr;

use super::reading::{Reading, Role, Said, logical_lines};
use crate::shell::literal::is_hidden;
use crate::shell::table::{self, Arity, Spec};

/// Text behind the cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hint {
    shown: String,
    /// What the right arrow types.
    taken: Option<String>,
}

impl rustyline::hint::Hint for Hint {
    fn display(&self) -> &str {
        &self.shown
    }

    fn completion(&self) -> Option<&str> {
        self.taken.as_deref()
    }
}

/// Finds what was typed before: the newest line that begins with this and is longer.
pub(super) fn from_history(line: &str, history: &dyn rustyline::history::History) -> Option<String> {
    let mut from = history.len().checked_sub(1)?;
    loop {
        let found = history.starts_with(line, from, SearchDirection::Reverse).ok()??;
        if found.entry.len() > line.len() {
            return Some(found.entry[line.len()..].to_owned());
        }
        from = found.idx.checked_sub(1)?;
    }
}

/// The hint behind `line`, in at most `room` columns. `remembered` is what goes on from here in the history.
pub(super) fn hint(line: &str, remembered: Option<String>, room: usize) -> Option<Hint> {
    let last = &line[logical_lines(line).pop()?];
    if last.trim_start().is_empty() {
        return None;
    }
    let begins_word = last.ends_with([' ', '\t']);
    let reading = Reading::of(last.as_bytes());
    let whole = match remembered.filter(|_| !begins_word || reading.open_quote().is_some()) {
        Some(rest) => Some(Hint { shown: first_line(&rest), taken: Some(rest) }),
        None => described(last, &reading, begins_word),
    };
    let shown = fitted(&whole.as_ref()?.shown, room);
    whole.filter(|_| !shown.is_empty()).map(|hint| Hint { shown, ..hint })
}

/// What can be said without a history.
fn described(line: &str, reading: &Reading<'_>, begins_word: bool) -> Option<Hint> {
    if let Some(at) = reading.open_quote() {
        let quote = if line[at..].starts_with('\'') { '\'' } else { '"' };
        return line.contains('\n').then(|| Hint { shown: format!("   ({quote} is open)"), taken: None });
    }
    if reading.error.is_some() {
        return None;
    }
    let blank = if begins_word { "" } else { " " };
    match reading.words.last()?.role {
        Role::Verb(None) if !begins_word => only_name(line.trim_start()),
        Role::Option(None) if !begins_word => only_option(reading),
        Role::EndOfOptions if !begins_word => None,
        _ => {
            let parts = following(&reading.said).join(" ");
            (!parts.is_empty()).then(|| Hint { shown: format!("{blank}{parts}"), taken: None })
        }
    }
}

/// The rest of the one name that begins so.
fn only_name(typed: &str) -> Option<Hint> {
    let begins = |spec: &&&'static Spec| {
        spec.name.get(..typed.len()).is_some_and(|start| start.eq_ignore_ascii_case(typed))
    };
    let found: Vec<_> = table::specs().collect();
    let mut matching = found.iter().filter(begins);
    let (spec, None) = (matching.next()?, matching.next()) else { return None };
    let rest = &spec.name[typed.len()..];
    let said = Said { begun: true, spec: Some(spec), ..Said::default() };
    let shown = [vec![rest.to_owned()], following(&said)].concat().join(" ");
    Some(Hint { shown, taken: Some(rest.to_owned()) })
}

/// The rest of the one option that begins so.
fn only_option(reading: &Reading<'_>) -> Option<Hint> {
    let typed = &reading.words.last()?.token.bytes;
    let left = reading.said.options_left();
    let mut matching = left.iter().filter(|opt| opt.name.as_bytes().starts_with(typed) && typed.len() > 2);
    let (opt, None) = (matching.next()?, matching.next()) else { return None };
    let rest = |text: &str| text.get(typed.len()..).map(str::to_owned);
    Some(Hint { shown: rest(&opt.signature())?, taken: rest(opt.name) })
}

/// What may follow, as signatures write it.
fn following(said: &Said) -> Vec<String> {
    let mut parts: Vec<String> = said.awaited.iter().map(|(name, _)| (*name).to_owned()).collect();
    let args = said.spec.map_or(&[][..], |spec| spec.args);
    parts.extend(args.iter().skip(said.args).map(table::Arg::signature));
    if let Some(last) = args.last().filter(|last| last.arity == Arity::Many && said.args >= args.len()) {
        parts.push(format!("[{}...]", last.name));
    }
    parts.extend(said.options_left().iter().map(|opt| format!("[{}]", opt.signature())));
    parts
}

/// The first line, with nothing in it that a terminal would obey.
fn first_line(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default().replace(is_hidden, "?");
    if lines.next().is_some() { first + " ..." } else { first }
}

/// As many words as fit.
fn fitted(text: &str, room: usize) -> String {
    const MORE: &str = " ...";
    if text.width() <= room {
        return text.to_owned();
    }
    let mut short = String::new();
    for c in text.chars() {
        if short.width() + 2 + MORE.len() > room {
            break;
        }
        short.push(c);
    }
    let end = short.rfind(' ').unwrap_or(0);
    short.truncate(end);
    if short.trim().is_empty() { String::new() } else { short + MORE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(line: &str) -> String {
        hint(line, None, 200).map_or_else(String::new, |hint| hint.shown)
    }

    fn taken(line: &str) -> Option<String> {
        hint(line, None, 200)?.taken
    }

    #[test]
    fn what_may_follow_is_shown() {
        assert_eq!(shown("append "), "KEY VALUE");
        assert_eq!(shown("append name"), " VALUE");
        assert_eq!(shown("append name "), "VALUE");
        assert_eq!(shown("append name v"), "");
        assert_eq!(shown("exists a "), "[KEY...]");
        assert_eq!(
            shown("scan --from"),
            " KEY [PREFIX] [--to KEY] [--glob PATTERN] [--reverse] [--limit N] [--keys] [--values]"
        );
        assert_eq!(shown("scan p --from a --keys "), "[--to KEY] [--glob PATTERN] [--reverse] [--limit N]");
        assert_eq!(shown(".mode"), " [MODE]");
        for nothing in ["", " ", "# comment", "nonsense x", "begin ", "set a \"v", "set a \"\\q\""] {
            assert_eq!(shown(nothing), "", "{nothing}");
        }
    }

    #[test]
    fn a_name_that_can_only_be_one_is_completed() {
        assert_eq!((shown("roll"), taken("roll")), ("back".into(), Some("back".into())));
        assert_eq!((shown("EXIS"), taken("EXIS")), ("ts KEY...".into(), Some("ts".into())));
        assert_eq!((shown("scan --fr"), taken("scan --fr")), ("om KEY".into(), Some("om".into())));
        assert_eq!(shown("c"), "");
        assert_eq!(shown("scan --"), "");
    }

    #[test]
    fn an_open_quote_of_an_earlier_line_is_named() {
        assert_eq!(shown("set a \"x\ny "), "   (\" is open)");
        assert_eq!(shown("set a 'x\ny"), "   (' is open)");
        assert_eq!(shown("set a 'x\ny'\nexists "), "KEY...");
    }

    #[test]
    fn the_history_goes_before_except_where_a_word_begins() {
        let from = |line: &str, rest: &str| hint(line, Some(rest.into()), 200).unwrap();
        let whole = from("set n", "ame \"Jaya\nKrishna\"");
        assert_eq!(
            (whole.shown.as_str(), whole.taken.as_deref()),
            ("ame \"Jaya ...", Some("ame \"Jaya\nKrishna\""))
        );
        assert_eq!(from("append ", "name 1").shown, "KEY VALUE");
        assert_eq!(from("set n", "\u{1b}[2J").shown, "?[2J");
    }

    #[test]
    fn a_hint_is_cut_between_words() {
        let cut = |room| hint("scan ", None, room).map_or_else(String::new, |hint| hint.shown);
        assert_eq!(cut(30), "[PREFIX] [--from KEY] ...");
        assert_eq!(cut(12), "");
        assert_eq!(cut(0), "");
    }
}
