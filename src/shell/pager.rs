//! Results that are taller than the screen, shown by a pager: the program in the setting `pager`, in `PAGER`, or `less`.
//!
//! ```text
//! results ──▶ held while they fit the screen ──▶ standard output
//!                         └── they do not ──▶ pager's standard input, as they come
//! ```
//!
//! 1. Nothing is read ahead for the pager: who looks at the first page of a large scan waits for that page only, and the scan
//!    waits for whoever looks.
//! 2. A pager that ends early ends the command, which has not failed; the session goes on.
//! 3. Whatever the pager does with the terminal, it has ended before anything else is written there.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};

use unicode_width::UnicodeWidthStr;

use super::failure::Failure;
use super::files;
use crate::config::Paging;

/// What `less` is told where the user has not told it anything: leave if all fits, take colours, leave the screen as it is.
const LESS: &str = "FRX";

/// Exit codes with which the system's shell says that there is no such program.
const NOT_RUN: [i32; 2] = [126, 127];

/// The command of the pager, if there is one: that of the setting, else `PAGER`, else `less` where that is installed.
pub(super) fn program(setting: &Paging) -> Option<OsString> {
    let named = |name| std::env::var_os(name).filter(|value: &OsString| !value.is_empty());
    let usual = || named("PATH").filter(|path| files::has_program(path, "less")).map(|_| "less".into());
    match setting {
        Paging::Off => None,
        Paging::Command(command) => Some(command.into()),
        Paging::On | Paging::Auto => {
            named("PAGER").or_else(|| usual().filter(|_| named("TERM").is_some_and(|term| term != "dumb")))
        }
    }
}

/// Results of one command on their way to a screen.
pub(super) struct Pager {
    command: OsString,
    /// Rows and columns of the screen.
    screen: (usize, usize),
    /// Even if all fits.
    always: bool,
    child: Option<Child>,
}

impl Pager {
    /// For the results of one command. With `always` they are paged even if they fit the screen of so many rows and columns.
    pub(super) const fn new(command: OsString, screen: (usize, usize), always: bool) -> Self {
        Self { command, screen, always, child: None }
    }

    /// Takes the results that wait, or says with `false` that they are to be held.
    pub(super) fn write(&mut self, waiting: &[u8]) -> Result<bool, Failure> {
        if self.child.is_none() {
            if !is_taller(waiting, self.screen) {
                return Ok(false);
            }
            self.child = Some(start(&self.command).map_err(|error| self.not_run(&error.to_string()))?);
        }
        let Some(stdin) = self.child.as_mut().and_then(|child| child.stdin.as_mut()) else { return Ok(true) };
        match stdin.write_all(waiting).and_then(|()| stdin.flush()) {
            Ok(()) => Ok(true),
            Err(_) => Err(self.ended()),
        }
    }

    /// Shows the rest and waits for the user to have seen it; `false` when the results are still to be written.
    pub(super) fn end(mut self, waiting: &[u8]) -> Result<bool, Failure> {
        if self.always && !waiting.is_empty() {
            self.screen.0 = 0;
        }
        let is_taken = self.write(waiting)?;
        match self.wait() {
            Some(code) if NOT_RUN.contains(&code) => Err(self.not_run(&format!("exit code {code}"))),
            _ => Ok(is_taken),
        }
    }

    /// Why it takes nothing any more.
    fn ended(&mut self) -> Failure {
        match self.wait() {
            Some(code) if NOT_RUN.contains(&code) => self.not_run(&format!("exit code {code}")),
            _ => Failure::PagerLeft,
        }
    }

    fn not_run(&self, why: &str) -> Failure {
        let command = self.command.to_string_lossy();
        Failure::refused(
            format!("cannot run the pager \"{}\": {why}", command.escape_debug()),
            ".pager off shows results without one; KVDB_PAGER or PAGER name another",
        )
    }

    fn wait(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        drop(child.stdin.take());
        child.wait().ok()?.code()
    }
}

impl Drop for Pager {
    fn drop(&mut self) {
        self.wait();
    }
}

fn start(command: &OsString) -> io::Result<Child> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(command).stdin(Stdio::piped());
    if std::env::var_os("LESS").is_none() {
        shell.env("LESS", LESS);
    }
    shell.spawn()
}

/// Whether text and the prompt behind it take more rows than a screen has.
fn is_taller(text: &[u8], (rows, columns): (usize, usize)) -> bool {
    let mut taken = 1;
    let lines = text.split_inclusive(|&byte| byte == b'\n');
    lines.into_iter().any(|line| {
        taken += row_count(line, columns);
        taken > rows
    })
}

fn row_count(line: &[u8], columns: usize) -> usize {
    // Marks for colours are counted too: a line that is coloured is never longer than the screen is wide.
    let width = std::str::from_utf8(line).map_or(line.len(), UnicodeWidthStr::width);
    if line.contains(&0x1b) { 1 } else { width.div_ceil(columns.max(1)).max(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pager(command: &str, rows: usize) -> Pager {
        Pager::new(command.into(), (rows, 10), false)
    }

    #[test]
    fn rows_are_counted_as_a_terminal_wraps() {
        assert!(!is_taller(b"a\nb\n", (3, 10)));
        assert!(is_taller(b"a\nb\nc\n", (3, 10)));
        assert!(!is_taller(b"0123456789\n", (2, 11)));
        assert!(is_taller(b"0123456789a\n", (2, 10)));
        assert!(is_taller("漢字漢字漢字\n".as_bytes(), (2, 10)));
        assert!(!is_taller(b"", (1, 10)));
        assert!(is_taller(b"\n", (1, 0)));
    }

    #[test]
    fn what_fits_is_left_to_the_terminal_and_what_does_not_is_taken() {
        let mut small = pager("exit 1", 5);
        assert!(matches!(small.write(b"a\n"), Ok(false)));
        assert!(matches!(small.end(b"a\n"), Ok(false)));
        let dir = tempfile::tempdir().unwrap();
        let seen = dir.path().join("seen");
        let mut large = pager(&format!("cat > {}", seen.display()), 2);
        assert!(matches!(large.write(b"a\nb\n"), Ok(true)));
        assert!(matches!(large.end(b"c\n"), Ok(true)));
        assert_eq!(std::fs::read(&seen).unwrap(), b"a\nb\nc\n");
    }

    #[test]
    fn a_pager_that_leaves_ends_the_command_and_one_that_is_not_there_is_named() {
        let mut left = pager("exec true", 1);
        let failure = (0..1_000).find_map(|_| left.write(&[b'\n'; 10_000]).err());
        assert!(matches!(failure, Some(Failure::PagerLeft)));
        let failure = pager("exec no-such-pager 2>/dev/null", 1).end(b"a\nb\n").unwrap_err();
        assert!(failure.message().contains("no-such-pager"), "{}", failure.message());
    }
}
