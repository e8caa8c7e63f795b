//! Keys that a prompt with quotes over several lines wants otherwise than the line editor binds them.
//!
//! | key | does |
//! |---|---|
//! | Ctrl-C | drops the line, and notes whether there was anything on it |
//! | up, Ctrl-P | at an open quote, on the first row: takes the lines before back |
//! | backspace | at an open quote, at the start of the line: the same, and joins the two lines |
//! | Alt-F, Ctrl-Right | at the end of the line: takes one word of the hint |
//!
//! A key can only do what the editor has a command for. So going back ends the line, and [`Keys::back`] tells how.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustyline::{
    Cmd, ConditionalEventHandler, Event, EventContext, EventHandler, KeyCode, KeyEvent, Modifiers,
    RepeatCount,
};

use super::LineEditor;

/// How a line is left to go back to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// To the line above.
    Up,
    /// To the line above, without the newline between.
    Join,
}

impl Back {
    /// What stands before and behind the cursor when `line` was left, which goes on where `before` ends.
    pub(super) fn rejoined(self, before: &str, line: &str) -> (String, String) {
        let left = before.strip_suffix('\n').unwrap_or(before).to_owned();
        let newline = if self == Self::Up { "\n" } else { "" };
        (left, format!("{newline}{line}"))
    }
}

/// What the keys have to say.
#[derive(Clone, Default)]
pub(super) struct Keys {
    /// Whether there was nothing on the line when Ctrl-C was pressed.
    pub(super) dropped_nothing: Arc<AtomicBool>,
    /// Whether there are lines before this one to go back to.
    pub(super) may_go_back: Arc<AtomicBool>,
    back: Arc<Mutex<Option<Back>>>,
}

impl Keys {
    pub(super) fn bind(editor: &mut LineEditor) -> Self {
        let keys = Self::default();
        let mut bind = |code, modifiers, key: Key| {
            let handler = Handler { key, keys: keys.clone() };
            let event = Event::from(KeyEvent(code, modifiers));
            editor.bind_sequence(event, EventHandler::Conditional(Box::new(handler)));
        };
        bind(KeyCode::Char('C'), Modifiers::CTRL, Key::Drop);
        bind(KeyCode::Up, Modifiers::NONE, Key::Back(Back::Up));
        bind(KeyCode::Char('P'), Modifiers::CTRL, Key::Back(Back::Up));
        bind(KeyCode::Backspace, Modifiers::NONE, Key::Back(Back::Join));
        bind(KeyCode::Char('f'), Modifiers::ALT, Key::HintWord);
        bind(KeyCode::Right, Modifiers::CTRL, Key::HintWord);
        keys
    }

    /// How the last line was left, if it was left to go back.
    pub(super) fn back(&self) -> Option<Back> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn go_back(&self, back: Back, context: &EventContext<'_>) -> Option<Cmd> {
        let above = &context.line()[..context.pos()];
        let is_there = if back == Back::Up { !above.contains('\n') } else { above.is_empty() };
        if !is_there || !self.may_go_back.load(Ordering::Relaxed) {
            return None;
        }
        *self.back.lock().unwrap_or_else(PoisonError::into_inner) = Some(back);
        Some(Cmd::AcceptLine)
    }
}

/// What a key does.
#[derive(Clone, Copy)]
enum Key {
    Drop,
    Back(Back),
    HintWord,
}

struct Handler {
    key: Key,
    keys: Keys,
}

impl ConditionalEventHandler for Handler {
    fn handle(&self, _: &Event, _: RepeatCount, _: bool, context: &EventContext<'_>) -> Option<Cmd> {
        match self.key {
            Key::Drop => {
                self.keys.dropped_nothing.store(context.line().is_empty(), Ordering::Relaxed);
                Some(Cmd::Interrupt)
            }
            Key::Back(back) => self.keys.go_back(back, context),
            Key::HintWord => {
                let hint = context.hint_text().filter(|_| context.pos() == context.line().len())?;
                Some(Cmd::Insert(1, first_word(hint).to_owned()))
            }
        }
    }
}

/// The blanks at the start of a text and the word behind them.
fn first_word(text: &str) -> &str {
    let word = text.len() - text.trim_start().len();
    let end = text[word..].find(char::is_whitespace).map_or(text.len(), |len| word + len);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_back_with_the_cursor_at_the_end_of_the_one_above() {
        let both = |left: &str, right: &str| (left.to_owned(), right.to_owned());
        assert_eq!(Back::Up.rejoined("set a 'x\n", "y"), both("set a 'x", "\ny"));
        assert_eq!(Back::Join.rejoined("set a 'x\ny\n", "z"), both("set a 'x\ny", "z"));
    }

    #[test]
    fn a_word_of_a_hint_has_the_blanks_before_it() {
        assert_eq!(first_word("me \"J K\""), "me");
        assert_eq!(first_word(" \"J K\""), " \"J");
        assert_eq!(first_word("  "), "  ");
        assert_eq!(first_word(""), "");
    }
}
