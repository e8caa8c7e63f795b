//! How far long work has come, on one line of a terminal that is gone when the work is done.
//!
//! ```text
//! compacting  37%  1,234,567 of 3,336,667 entries, 410 MiB written  (Ctrl-C stops it)
//! ```
//!
//! The line is drawn over itself and erased with blanks, which every terminal understands. The cursor waits at its start, where
//! the echo of Ctrl-C does no harm. The line appears only after a while, so that short work leaves no trace, and changes at most
//! ten times a second. It never wraps: what does not fit is left out.

use std::io::Write;
use std::time::{Duration, Instant};

use super::units;
use crate::engine::Progress;

/// Work that is done before that is not shown.
const DELAY: Duration = Duration::from_millis(200);

/// Time between two lines.
const INTERVAL: Duration = Duration::from_millis(100);

/// How the work can be stopped: the last thing that is left out.
const HINT: &str = "  (Ctrl-C stops it)";

/// One line about one piece of work. Dropping it erases the line.
pub(super) struct Meter<'a> {
    sink: &'a mut dyn Write,
    /// Tells the columns of the terminal; `None` when nothing is to be shown.
    columns: Option<fn() -> usize>,
    what: &'static str,
    next: Instant,
    /// Columns that the line takes.
    shown: usize,
}

impl<'a> Meter<'a> {
    pub(super) fn new(sink: &'a mut dyn Write, columns: Option<fn() -> usize>, what: &'static str) -> Self {
        Self { sink, columns, what, next: Instant::now() + DELAY, shown: 0 }
    }

    /// Shows how far the work is, if it is time to.
    pub(super) fn show(&mut self, progress: Progress) {
        let Some(columns) = self.columns else { return };
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        self.draw(&line(self.what, progress, columns()));
    }

    fn draw(&mut self, line: &str) {
        let blanks = " ".repeat(self.shown.saturating_sub(line.len()));
        // That nobody can be told how far the work is does not stop it.
        drop(write!(self.sink, "\r{line}{blanks}\r").and_then(|()| self.sink.flush()));
        self.shown = line.len();
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if self.shown > 0 {
            self.draw("");
        }
    }
}

/// As much as fits before the last column of the terminal.
fn line(what: &str, progress: Progress, columns: usize) -> String {
    let Progress { done, total, written_bytes } = progress;
    let percent = units::percent(done.min(total), total);
    let mut line = format!("{what} {percent:3}%");
    let more = [
        format!("  {} of {} entries", units::grouped(done.min(total)), units::grouped(total)),
        format!(", {} written", units::bytes(written_bytes)),
    ];
    for part in more.into_iter().take(if written_bytes == 0 { 1 } else { 2 }) {
        if line.len() + part.len() + HINT.len() >= columns {
            break;
        }
        line += &part;
    }
    if line.len() + HINT.len() < columns {
        line += HINT;
    }
    line.truncate(columns.saturating_sub(1));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: Progress = Progress { done: 1_000, total: 2_000, written_bytes: 3 << 20 };

    #[test]
    fn a_line_has_what_fits() {
        let whole = "compacting  50%  1,000 of 2,000 entries, 3.0 MiB written  (Ctrl-C stops it)";
        assert_eq!(line("compacting", HALF, 80), whole);
        let narrow = "compacting  50%  1,000 of 2,000 entries  (Ctrl-C stops it)";
        assert_eq!(line("compacting", HALF, whole.len()), narrow);
        assert_eq!(line("compacting", HALF, 40), "compacting  50%  (Ctrl-C stops it)");
        assert_eq!(line("compacting", HALF, 20), "compacting  50%");
        assert_eq!(line("compacting", HALF, 4), "com");
        assert_eq!(line("compacting", HALF, 0), "");
    }

    #[test]
    fn more_than_everything_is_everything_and_nothing_of_nothing_is_none() {
        let text = |done, total| line("work", Progress { done, total, written_bytes: 0 }, 50);
        assert_eq!(text(9, 5), "work 100%  5 of 5 entries  (Ctrl-C stops it)");
        assert_eq!(text(0, 0), "work   0%  0 of 0 entries  (Ctrl-C stops it)");
    }

    #[test]
    fn lines_replace_each_other_come_seldom_and_are_erased() {
        let mut out = Vec::new();
        let mut meter = Meter::new(&mut out, Some(|| 80), "work");
        meter.show(HALF);
        assert_eq!(meter.shown, 0, "too early");
        meter.next = Instant::now();
        meter.show(HALF);
        meter.show(Progress::default());
        meter.draw("short");
        drop(meter);
        let first = line("work", HALF, 80);
        let rest = " ".repeat(first.len() - "short".len());
        assert_eq!(String::from_utf8(out).unwrap(), format!("\r{first}\r\rshort{rest}\r\r     \r"));
    }

    #[test]
    fn without_a_terminal_nothing_is_shown() {
        let mut out = Vec::new();
        let mut meter = Meter::new(&mut out, None, "work");
        meter.next = Instant::now();
        meter.show(HALF);
        drop(meter);
        assert!(out.is_empty());
    }
}
