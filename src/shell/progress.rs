//! How far long work has come, on one line of a terminal that is gone when the work is done.
//!
//! ```text
//! importing  37% ████▍         1,234,567 records, 12 s left  (Ctrl-C stops it)
//! loading  1,234,567 records, 410,000 a second  (Ctrl-C stops it)
//! ```
//!
//! The line is drawn over itself and erased with blanks, which every terminal understands. The cursor waits at its start, where
//! the echo of Ctrl-C does no harm. The line appears only after a while, so that short work leaves no trace, and changes at most
//! ten times a second. It never wraps: what does not fit is left out. A terminal that was made narrower has wrapped the line that
//! was there; then everything below its start is erased.

use std::io::Write;
use std::time::{Duration, Instant};

use unicode_width::UnicodeWidthStr;

use super::bar::bar;
use super::look::Look;
use super::units;
use crate::engine::Progress;

/// Work that is done before that is not shown.
const DELAY: Duration = Duration::from_millis(200);

/// Time between two lines.
const INTERVAL: Duration = Duration::from_millis(100);

/// Rates are told once they mean something.
const RATE_DELAY: Duration = Duration::from_millis(500);

/// Columns of the bar.
const BAR: usize = 12;

/// Calls of [`Meter::tick`] between two looks at the clock.
const TICKS: u32 = 64;

/// Erases from the cursor to the end of the screen.
const ERASE_BELOW: &str = "\x1b[J";

/// How the work can be stopped.
const HINT: &str = "  (Ctrl-C stops it)";

/// How far some work is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// How much is done, of what the share and the time left are told.
    pub(super) done: u64,
    /// How much there is to do, if that is known.
    pub(super) total: Option<u64>,
    /// What has come of it: `1,234 records`.
    pub(super) count: u64,
    /// What is counted.
    pub(super) unit: &'static str,
    /// What else is to be said: `410 MiB written`.
    pub(super) more: String,
}

impl From<Progress> for Step {
    fn from(Progress { done, total, written_bytes, faults }: Progress) -> Self {
        let more = match (faults, written_bytes) {
            (0, 0) => String::new(),
            (0, _) => format!("{} written", units::bytes(written_bytes)),
            (_, _) => units::counted(faults, "fault"),
        };
        Self { done, total: Some(total), count: done.min(total), unit: "entries", more }
    }
}

/// One line about one piece of work. Dropping it erases the line.
pub(super) struct Meter<'a> {
    sink: &'a mut dyn Write,
    /// Tells the columns of the terminal; `None` when nothing is to be shown.
    columns: Option<fn() -> usize>,
    unicode: bool,
    what: &'static str,
    begun: Instant,
    next: Instant,
    ticks: u32,
    /// Columns that the line takes.
    shown: usize,
}

impl<'a> Meter<'a> {
    pub(super) fn new(sink: &'a mut dyn Write, columns: Option<fn() -> usize>, what: &'static str) -> Self {
        let begun = Instant::now();
        Self { sink, columns, unicode: false, what, begun, next: begun + DELAY, ticks: 0, shown: 0 }
    }

    /// Lets the line have characters beyond ASCII, if the terminal can show them.
    pub(super) fn look(mut self, look: Look) -> Self {
        self.unicode = look.unicode;
        self
    }

    /// Shows how far the work is, if it is time to.
    pub(super) fn show(&mut self, progress: Progress) {
        self.show_step(|| progress.into());
    }

    /// The same for work in many small pieces, of which only some look at the clock.
    pub(super) fn tick(&mut self, step: impl FnOnce() -> Step) {
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS) {
            self.show_step(step);
        }
    }

    fn show_step(&mut self, step: impl FnOnce() -> Step) {
        let Some(columns) = self.columns else { return };
        let now = Instant::now();
        if now < self.next {
            return;
        }
        self.next = now + INTERVAL;
        let line = line(self.what, &step(), now - self.begun, columns(), self.unicode);
        self.draw(&line);
    }

    fn draw(&mut self, line: &str) {
        let width = line.width();
        let columns = self.columns.map_or(0, |columns| columns());
        let (erase, blanks) = if self.shown < columns {
            ("", " ".repeat(self.shown.saturating_sub(width)))
        } else {
            (ERASE_BELOW, String::new())
        };
        // That nobody can be told how far the work is does not stop it.
        drop(write!(self.sink, "\r{erase}{line}{blanks}\r").and_then(|()| self.sink.flush()));
        self.shown = width;
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if self.shown > 0 {
            self.draw("");
        }
    }
}

/// The parts of a line that may be left out, the first of them first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    More,
    Rate,
    Bar,
    Hint,
    Count,
    Left,
}

const PARTS: [Part; 6] = [Part::More, Part::Rate, Part::Bar, Part::Hint, Part::Count, Part::Left];

/// As much as fits before the last column of the terminal.
fn line(what: &str, step: &Step, time: Duration, columns: usize, unicode: bool) -> String {
    let mut left_out = 0;
    loop {
        let line = with_parts(what, step, time, &PARTS[left_out..], unicode);
        if line.width() < columns {
            return line;
        }
        if left_out == PARTS.len() {
            return line.chars().take(columns.saturating_sub(1)).collect();
        }
        left_out += 1;
    }
}

fn with_parts(what: &str, step: &Step, time: Duration, parts: &[Part], unicode: bool) -> String {
    let has = |part| parts.contains(&part);
    let mut line = what.to_owned() + &share(step, has(Part::Bar), unicode);
    let (count, more) = (format!("{} {}", units::grouped(step.count), step.unit), step.more.clone());
    let rate =
        rate(step.count, time).filter(|_| has(Part::Rate)).map(|rate| units::grouped(rate) + " a second");
    let left = time_left(step, time).filter(|_| has(Part::Left)).map(|left| left + " left");
    let said = [
        Some(count).filter(|_| has(Part::Count)),
        Some(more).filter(|more| has(Part::More) && !more.is_empty()),
        rate,
        left,
    ];
    let said: Vec<String> = said.into_iter().flatten().collect();
    if !said.is_empty() {
        line += "  ";
        line += &said.join(", ");
    }
    if has(Part::Hint) {
        line += HINT;
    }
    line
}

/// The share that is done, in hundredths and as a bar.
fn share(step: &Step, with_bar: bool, unicode: bool) -> String {
    let Some(total) = step.total else { return String::new() };
    let done = step.done.min(total);
    let percent = units::percent(done, total);
    if with_bar {
        let bar = bar(done, total, BAR, unicode);
        let rest = BAR - bar.width();
        format!(" {percent:3}% {bar}{:rest$}", "")
    } else {
        format!(" {percent:3}%")
    }
}

/// How many came in a second.
fn rate(count: u64, time: Duration) -> Option<u64> {
    if time < RATE_DELAY {
        return None;
    }
    u64::try_from(u128::from(count) * 1_000 / time.as_millis()).ok()
}

/// How long the rest takes, at the rate so far.
fn time_left(step: &Step, time: Duration) -> Option<String> {
    let rest = step.total?.checked_sub(step.done)?;
    if time < RATE_DELAY || step.done == 0 {
        return None;
    }
    let seconds = time.as_millis() * u128::from(rest) / u128::from(step.done) / 1_000;
    Some(match u64::try_from(seconds).ok()? {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds => units::duration(Duration::from_secs(seconds)),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HALF: Progress = Progress { done: 1_000, total: 2_000, written_bytes: 3 << 20, faults: 0 };

    fn shown(step: impl Into<Step>, millis: u64, columns: usize) -> String {
        line("compacting", &step.into(), Duration::from_millis(millis), columns, true)
    }

    #[test]
    fn a_line_has_what_fits() {
        let whole = "compacting  50% ██████        1,000 entries, 3.0 MiB written, 500 a second, 2 s left  (Ctrl-C stops it)";
        assert_eq!(shown(HALF, 2_000, 200), whole);
        let usual = "compacting  50% ██████        1,000 entries, 2 s left  (Ctrl-C stops it)";
        assert_eq!(shown(HALF, 2_000, 80), usual);
        assert_eq!(shown(HALF, 2_000, 70), "compacting  50%  1,000 entries, 2 s left  (Ctrl-C stops it)");
        assert_eq!(shown(HALF, 2_000, 50), "compacting  50%  1,000 entries, 2 s left");
        assert_eq!(shown(HALF, 2_000, 40), "compacting  50%  2 s left");
        assert_eq!(shown(HALF, 2_000, 20), "compacting  50%");
        assert_eq!(shown(HALF, 2_000, 4), "com");
        assert_eq!(shown(HALF, 2_000, 0), "");
        let damaged = Progress { faults: 2, written_bytes: 0, ..HALF };
        assert!(shown(damaged, 2_000, 200).contains("  1,000 entries, 2 faults, 500 a second,"));
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let step = |total| Step { done: 5, total, count: 5, unit: "records", more: String::new() };
        assert_eq!(shown(step(None), 1_000, 80), "compacting  5 records, 5 a second  (Ctrl-C stops it)");
        let early = "compacting  10% #             5 records  (Ctrl-C stops it)";
        assert_eq!(line("compacting", &step(Some(50)), Duration::ZERO, 80, false), early);
    }

    #[test]
    fn more_than_everything_is_everything_and_nothing_of_nothing_is_none() {
        let text = |done, total| shown(Progress { done, total, ..Progress::default() }, 0, 50);
        assert_eq!(text(9, 5), "compacting 100%  5 entries  (Ctrl-C stops it)");
        assert_eq!(text(0, 0), "compacting   0%  0 entries  (Ctrl-C stops it)");
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
        let first = line("work", &HALF.into(), Duration::ZERO, 80, false);
        let rest = " ".repeat(first.len() - "short".len());
        assert_eq!(String::from_utf8(out).unwrap(), format!("\r{first}\r\rshort{rest}\r\r     \r"));
    }

    #[test]
    fn a_line_that_a_narrower_terminal_has_wrapped_is_erased() {
        static COLUMNS: AtomicUsize = AtomicUsize::new(80);
        let mut out = Vec::new();
        let mut meter = Meter::new(&mut out, Some(|| COLUMNS.load(Ordering::Relaxed)), "work");
        meter.draw("a line of 23 characters");
        COLUMNS.store(10, Ordering::Relaxed);
        meter.draw("shorter");
        drop(meter);
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(shown, "\ra line of 23 characters\r\r\x1b[Jshorter\r\r       \r");
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

    #[test]
    fn of_many_ticks_few_look_at_the_clock() {
        let (mut out, mut looks) = (Vec::new(), 0);
        let mut meter = Meter::new(&mut out, Some(|| 80), "work");
        meter.next = Instant::now();
        for _ in 0..3 * TICKS {
            meter.tick(|| {
                looks += 1;
                Step::default()
            });
        }
        assert_eq!(looks, 1);
    }
}
