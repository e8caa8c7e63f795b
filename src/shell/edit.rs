//! What helps while a line is typed: completion, hints, colours. The line editor asks [`Assistant`] with every key.
//!
//! ```text
//! text so far ── reading ──▶ roles of its tokens ──┬─▶ complete   Tab: names, options, words, files, live keys
//!                                                  ├─▶ hint       grey, behind the cursor
//!                                                  └─▶ highlight  colours, and what is wrong
//! ```
//!
//! 1. Nothing here changes anything or waits for long: keys are looked for with a deadline.
//! 2. Where the terminal shows no colours there are no hints: they could not be told from what was typed.

mod complete;
mod highlight;
mod hint;
mod keys;
mod reading;

use std::borrow::Cow;
use std::cell::{Cell, RefCell};

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use unicode_width::UnicodeWidthStr;

use super::look::{Look, Mark};
use hint::Hint;

pub(crate) use keys::Source;

/// What the line editor asks.
pub(crate) struct Assistant {
    /// Where live keys come from. Lent for as long as a line is typed.
    pub(crate) source: Source,
    /// What was typed on the lines before, where a quote is open.
    pub(crate) before: String,
    /// Columns of the prompt.
    pub(crate) prompt_width: usize,
    look: Look,
    /// Tells the columns of the terminal.
    columns: Option<fn() -> usize>,
    /// How the line is to be painted, a mark for each byte; none where it is not.
    marks: RefCell<Vec<Mark>>,
    /// The history is being searched, with a prompt of its own.
    is_searching: Cell<bool>,
}

impl Assistant {
    pub(crate) fn new(look: Look, columns: Option<fn() -> usize>) -> Self {
        Self {
            source: Source::Nothing,
            before: String::new(),
            prompt_width: 0,
            look,
            columns,
            marks: RefCell::default(),
            is_searching: Cell::new(false),
        }
    }

    fn columns(&self) -> usize {
        self.columns.map_or(80, |columns| columns()).max(1)
    }

    /// Columns that are free behind a text at the prompt.
    fn room(&self, text: &str) -> usize {
        let columns = self.columns();
        let used = match text.rsplit_once('\n') {
            Some((_, last)) => last.width(),
            None => self.prompt_width + text.width(),
        };
        columns - used % columns - 1
    }
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(&self, line: &str, end: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let text = format!("{}{}", self.before, &line[..end]);
        let gap = line[end..].starts_with([' ', '\t']);
        let (start, pairs) = complete::complete(&text, gap, &self.source, self.columns());
        // A token that begins on a line before is out of reach.
        Ok(start.checked_sub(self.before.len()).map_or((end, Vec::new()), |start| (start, pairs)))
    }
}

impl Hinter for Assistant {
    type Hint = Hint;

    fn hint(&self, line: &str, end: usize, context: &Context<'_>) -> Option<Hint> {
        if !self.look.colour || end < line.len() || !self.before.is_empty() || self.is_searching.get() {
            return None;
        }
        let remembered = hint::from_history(line, context.history());
        hint::hint(line, remembered, self.room(line))
    }
}

impl Highlighter for Assistant {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        let marks = self.marks.borrow();
        if marks.len() != line.len() || !self.look.colour {
            return Cow::Borrowed(line);
        }
        highlight::painted(line, &marks, self.look).map_or(Cow::Borrowed(line), Cow::Owned)
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, is_own: bool) -> Cow<'b, str> {
        self.is_searching.set(!is_own);
        self.look.prompt(prompt).into()
    }

    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        self.look.remark(hint).into()
    }

    /// Whether the line must be painted anew, and not only the character that was typed at its end.
    fn highlight_char(&self, line: &str, end: usize, kind: CmdKind) -> bool {
        let cursor = (kind != CmdKind::ForcedRefresh).then_some(end);
        let marks = highlight::marks_behind(&self.before, line, cursor);
        let old = self.marks.replace(marks);
        let marks = self.marks.borrow();
        let added = marks.strip_prefix(&old[..]).filter(|_| !marks.is_empty() || old.is_empty());
        let is_same = added.is_some_and(|added| added.iter().all(|mark| *mark == Mark::Plain));
        self.look.colour && !is_same
    }
}

impl Validator for Assistant {}
impl Helper for Assistant {}
