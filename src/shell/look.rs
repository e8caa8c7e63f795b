//! How text looks where it is shown: which marks it carries and how much room it has.
//!
//! Whether a stream is coloured is decided for each stream by whoever opens it. The crate `colored` looks at standard output
//! alone, so it is told never to decide: it only knows the codes.

use colored::{ColoredString, Colorize};

/// What a stream can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Whether text is marked up for a terminal.
    pub colour: bool,
    /// The columns of the terminal, where there is one.
    pub columns: Option<usize>,
}

impl Look {
    /// Text and nothing else.
    pub const PLAIN: Self = Self { colour: false, columns: None };

    /// What is wrong.
    pub(super) fn error(self, text: &str) -> String {
        self.mark(text, |text| text.red().bold())
    }

    /// What frames a piece of source.
    pub(super) fn frame(self, text: &str) -> String {
        self.mark(text, |text| text.blue().bold())
    }

    /// The prompt.
    pub(super) fn prompt(self, text: &str) -> String {
        self.mark(text, |text| text.bold())
    }

    fn mark(self, text: &str, mark: fn(&str) -> ColoredString) -> String {
        if !self.colour {
            return text.into();
        }
        colored::control::set_override(true);
        mark(text).to_string()
    }
}
