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
    /// Whether it can be relied on to have characters beyond ASCII to draw with.
    pub unicode: bool,
}

/// What a piece of a line is that somebody types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing in particular.
    Plain,
    /// The name of a command.
    Verb,
    /// The name of a meta-command.
    Meta,
    /// An option.
    Option,
    /// One of several words, or a number.
    Constant,
    /// Between quotes, or a quote.
    String,
    /// An escape between quotes.
    Escape,
    /// A quote that is open, or belongs to the one at the cursor.
    Quote,
    /// A comment.
    Comment,
    /// What is wrong.
    Error,
}

impl Look {
    /// Text and nothing else.
    pub const PLAIN: Self = Self { colour: false, columns: None, unicode: false };

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

    /// What is said beside the point.
    pub(super) fn remark(self, text: &str) -> String {
        self.mark(text, |text| text.dimmed())
    }

    /// A bar of a picture.
    pub(super) fn bar(self, text: &str) -> String {
        self.mark(text, |text| text.cyan())
    }

    /// A piece of a line that is typed.
    pub(super) fn typed(self, text: &str, mark: Mark) -> String {
        match mark {
            Mark::Plain => text.into(),
            Mark::Verb => self.mark(text, |text| text.bold()),
            Mark::Meta => self.mark(text, |text| text.magenta().bold()),
            Mark::Option => self.mark(text, |text| text.magenta()),
            Mark::Constant => self.mark(text, |text| text.cyan()),
            Mark::String => self.mark(text, |text| text.green()),
            Mark::Escape => self.mark(text, |text| text.cyan()),
            Mark::Quote => self.mark(text, |text| text.green().bold().underline()),
            Mark::Comment => self.mark(text, |text| text.dimmed()),
            Mark::Error => self.mark(text, |text| text.red().underline()),
        }
    }

    fn mark(self, text: &str, mark: fn(&str) -> ColoredString) -> String {
        if !self.colour || text.is_empty() {
            return text.into();
        }
        colored::control::set_override(true);
        mark(text).to_string()
    }
}
