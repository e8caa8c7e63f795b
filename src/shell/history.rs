//! What was typed, in this session, in earlier ones and in others that run now: for the arrow keys, Ctrl-R, hints, `.history`.
//!
//! ```text
//! #V2
//! set name "Jaya Krishna"
//! set note "two\nlines, and a \\ backslash"      one entry a line: newline is \n, backslash is \\
//! ```
//!
//! 1. The file lies in the state directory of the platform (the data directory where there is none), readable by its owner only.
//! 2. Each command is appended when it is entered, and what others appended is read before each prompt: sessions share one
//!    history in the order of time, a crash loses none of it, and memory holds what the file does.
//! 3. Left out, of the file and of memory: what begins with a blank, what repeats the command before, what is longer than
//!    [`MAX_LINE_LEN`], what holds one of the words that the setting `history_ignore` lists, and everything while history is off.
//! 4. History is a convenience: that it can't be kept never stands in the way of a command. A line is in the file whole or not at
//!    all, unless its session was killed, and then for itself.

use std::io;
use std::path::{Path, PathBuf};

use rustyline::history::{History as LineHistory, MemHistory, SearchDirection, SearchResult};

use super::files;
use crate::config::Settings;

/// Longest command that is kept, in bytes.
const MAX_LINE_LEN: usize = 4 << 10;

/// What the file begins with.
const HEADER: &str = "#V2";

/// What was typed before, oldest first.
#[derive(Default)]
pub(crate) struct History {
    entries: MemHistory,
    /// Where they are kept, if they are.
    path: Option<PathBuf>,
    /// How much of the file is in the entries, in bytes.
    read_len: u64,
    /// Words that keep a command out, in lower case.
    ignored: Vec<String>,
    is_off: bool,
}

impl History {
    /// The history that the settings ask for.
    pub(crate) fn open(settings: &Settings) -> Self {
        let path = if settings.history && settings.history_size > 0 { place() } else { None };
        Self::at(path, settings)
    }

    fn at(path: Option<PathBuf>, settings: &Settings) -> Self {
        let ignored = settings.history_ignore.split_whitespace().map(str::to_lowercase).collect();
        let max_entries = settings.history_size;
        let mut entries = MemHistory::new();
        drop(entries.set_max_len(max_entries));
        drop(entries.ignore_dups(true));
        let is_off = !settings.history;
        let mut history = Self { entries, path, read_len: 0, ignored, is_off };
        let lines = history.catch_up();
        if lines > max_entries.saturating_mul(2) {
            history.shorten();
        }
        history
    }

    /// Reads what was appended to the file since it was read last. Returns the number of lines.
    pub(crate) fn catch_up(&mut self) -> usize {
        let Some(path) = &self.path else { return 0 };
        match files::read_tail(path, self.read_len) {
            Ok(Some(tail)) => self.take_in(&tail),
            Ok(None) => {
                // It was shortened by another session: what is in it now is a part of what was read.
                self.read_len = 0;
                drop(self.entries.clear());
                files::read_tail(path, 0).ok().flatten().map_or(0, |all| self.take_in(&all))
            }
            Err(_) => 0,
        }
    }

    /// Adds whole lines of the file. A line that another session is just writing is left for the next time.
    fn take_in(&mut self, tail: &[u8]) -> usize {
        let Some(end) = tail.iter().rposition(|&byte| byte == b'\n') else { return 0 };
        self.read_len += end as u64 + 1;
        let text = String::from_utf8_lossy(&tail[..end]);
        for line in text.lines().filter(|line| *line != HEADER) {
            drop(self.entries.add_owned(unescaped(line)));
        }
        text.lines().count()
    }

    /// Keeps a command.
    pub(crate) fn keep(&mut self, line: &str) {
        if !self.is_wanted(line) {
            return;
        }
        self.catch_up();
        if self.last() == Some(line) {
            return;
        }
        let appended = self.path.as_ref().map(|path| files::append_private(path, HEADER, &escaped(line)));
        match appended {
            Some(Ok(())) => drop(self.catch_up()),
            _ => drop(self.entries.add(line)),
        }
    }

    fn is_wanted(&self, line: &str) -> bool {
        let begins_with_blank = line.chars().next().is_none_or(char::is_whitespace);
        if self.is_off || begins_with_blank || line.len() > MAX_LINE_LEN {
            return false;
        }
        let line = line.to_lowercase();
        !self.ignored.iter().any(|word| line.contains(word))
    }

    fn last(&self) -> Option<&str> {
        (&self.entries).into_iter().next_back().map(String::as_str)
    }

    /// The newest entries, at most `count`, oldest first.
    pub(crate) fn newest(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.entries.len().saturating_sub(count);
        (&self.entries).into_iter().skip(skipped).map(String::as_str)
    }

    /// Stops keeping commands, or goes on with it.
    pub(crate) const fn turn(&mut self, on: bool) {
        self.is_off = !on;
    }

    /// Leaves of the file what fits the entries.
    fn shorten(&mut self) {
        let Some(path) = &self.path else { return };
        let lines = (&self.entries).into_iter().map(|entry| escaped(entry) + "\n");
        let text: String = std::iter::once(format!("{HEADER}\n")).chain(lines).collect();
        if files::replace_private(path, self.read_len, text.as_bytes()).is_ok() {
            self.read_len = text.len() as u64;
        }
    }
}

/// The file's path; its directory exists.
fn place() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "kvdb")?;
    let dir = dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir());
    files::make_private_dir(dir).ok()?;
    Some(dir.join("history"))
}

fn escaped(entry: &str) -> String {
    entry.replace('\\', "\\\\").replace('\n', "\\n")
}

fn unescaped(line: &str) -> String {
    let mut entry = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => entry.push(match chars.next() {
                Some('n') => '\n',
                Some(other) => other,
                None => '\\',
            }),
            (c, false) => entry.push(c),
        }
    }
    entry
}

/// What the line editor looks up. It never adds entries: [`History::keep`] does.
impl LineHistory for History {
    fn get(&self, index: usize, dir: SearchDirection) -> rustyline::Result<Option<SearchResult<'_>>> {
        self.entries.get(index, dir)
    }

    fn add(&mut self, _: &str) -> rustyline::Result<bool> {
        Ok(false)
    }

    fn add_owned(&mut self, _: String) -> rustyline::Result<bool> {
        Ok(false)
    }

    fn len(&self) -> usize {
        self.entries.len()
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn set_max_len(&mut self, len: usize) -> rustyline::Result<()> {
        self.entries.set_max_len(len)
    }

    fn ignore_dups(&mut self, yes: bool) -> rustyline::Result<()> {
        self.entries.ignore_dups(yes)
    }

    fn ignore_space(&mut self, yes: bool) {
        self.entries.ignore_space(yes);
    }

    fn save(&mut self, _: &Path) -> rustyline::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn append(&mut self, _: &Path) -> rustyline::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn load(&mut self, _: &Path) -> rustyline::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported).into())
    }

    fn clear(&mut self) -> rustyline::Result<()> {
        self.entries.clear()
    }

    fn search(
        &self,
        term: &str,
        start: usize,
        dir: SearchDirection,
    ) -> rustyline::Result<Option<SearchResult<'_>>> {
        self.entries.search(term, start, dir)
    }

    fn starts_with(
        &self,
        term: &str,
        start: usize,
        dir: SearchDirection,
    ) -> rustyline::Result<Option<SearchResult<'_>>> {
        self.entries.starts_with(term, start, dir)
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::faulty::{self, FAULTS, Fault};
    use super::*;
    use crate::engine::tests::report;

    fn settings(size: usize, ignored: &str) -> Settings {
        let mut settings = Settings::default();
        settings.history_size = size;
        settings.history_ignore = ignored.into();
        settings
    }

    fn entries(history: &History) -> Vec<String> {
        history.newest(usize::MAX).map(str::to_owned).collect()
    }

    #[test]
    fn sessions_share_what_they_keep_in_the_order_of_time() {
        let dir = tempfile::tempdir().unwrap();
        let open = || History::at(Some(dir.path().join("history")), &settings(100, ""));
        let (mut one, mut two) = (open(), open());
        one.keep("set a 1");
        two.keep("set b \"x\ny\\\"");
        two.keep("set b \"x\ny\\\"");
        one.keep("set a 1");
        one.catch_up();
        two.catch_up();
        let all = ["set a 1", "set b \"x\ny\\\"", "set a 1"];
        assert_eq!((entries(&one), entries(&two)), (all.map(str::to_owned).to_vec(), entries(&one)));
        assert_eq!(entries(&open()), all);
        assert_eq!(one.newest(1).collect::<Vec<_>>(), ["set a 1"]);
    }

    #[test]
    fn what_is_not_to_be_kept_is_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut history = History::at(Some(path.clone()), &settings(100, "Password token"));
        history.turn(false);
        history.keep("set off 1");
        history.turn(true);
        for line in [" set blank 1", "", "set db:PASSWORD 1", "get mytoken", &"x".repeat(MAX_LINE_LEN + 1)] {
            history.keep(line);
        }
        history.keep("get a");
        assert_eq!(entries(&history), ["get a"]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), "#V2\nget a\n");
    }

    /// Runs `work`, which ends the failing, on a new file of these lines; and once for each call on it that fails in each way.
    /// What is left goes to `judge`.
    fn with_each_failure(
        lines: &[&str],
        work: &dyn Fn(&Path) -> u64,
        judge: &dyn Fn(&Path, &str),
    ) -> (u64, u64) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let run = |failing| {
            std::fs::write(&path, format!("{HEADER}\n{}", lines.concat())).unwrap();
            faulty::begin(failing);
            let calls = work(&path);
            judge(&path, &format!("{failing:?}"));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{failing:?}: something is left");
            calls
        };
        let (calls, mut failed) = (run(None), 0);
        for number in 1..=calls {
            for fault in FAULTS.into_iter().chain([Fault::Full]) {
                run(Some((number, false, fault)));
                failed += 1;
            }
        }
        (calls, failed)
    }

    #[test]
    fn a_call_that_fails_costs_one_line_at_most() {
        let keep = |path: &Path| {
            let mut history = History::at(Some(path.to_owned()), &settings(100, ""));
            history.keep("get 2");
            let calls = faulty::end();
            history.keep("get 3");
            assert_eq!(history.last(), Some("get 3"));
            calls
        };
        let judge = |path: &Path, place: &str| {
            let text = std::fs::read_to_string(path).unwrap();
            let allowed = ["#V2\nget 1\nget 2\nget 3\n", "#V2\nget 1\nget 3\n"];
            assert!(allowed.contains(&&*text), "{place}: {text}");
        };
        let (calls, failed) = with_each_failure(&["get 1\n"], &keep, &judge);
        assert!(calls > 9, "{calls}");
        report("history", &format!("{failed} calls failed while a line was kept"));
    }

    #[test]
    fn a_call_that_fails_leaves_the_long_file_or_the_short_one() {
        let open = |path: &Path| {
            drop(History::at(Some(path.to_owned()), &settings(1, "")));
            faulty::end()
        };
        let judge = |path: &Path, place: &str| {
            let text = std::fs::read_to_string(path).unwrap();
            let allowed = ["#V2\nget 1\nget 2\nget 3\n", "#V2\nget 3\n"];
            assert!(allowed.contains(&&*text), "{place}: {text}");
        };
        let (calls, failed) = with_each_failure(&["get 1\n", "get 2\n", "get 3\n"], &open, &judge);
        assert!(calls > 7, "{calls}");
        report("history", &format!("{failed} calls failed while it was shortened"));
    }

    #[test]
    fn half_a_line_of_a_killed_session_does_not_run_into_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        std::fs::write(&path, "#V2\nget 1\nset half").unwrap();
        let mut history = History::at(Some(path.clone()), &settings(100, ""));
        history.keep("get 2");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#V2\nget 1\nset half\nget 2\n");
    }

    #[test]
    fn a_file_that_grows_too_long_is_shortened_and_others_follow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("history");
        let mut other = History::at(Some(path.clone()), &settings(3, ""));
        (0..9).for_each(|number| other.keep(&format!("get {number}")));
        let shortened = History::at(Some(path.clone()), &settings(3, ""));
        let kept = ["get 6", "get 7", "get 8"];
        assert_eq!(entries(&shortened), kept);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "#V2\nget 6\nget 7\nget 8\n");
        other.keep("get 9");
        assert_eq!(entries(&other), ["get 7", "get 8", "get 9"]);
    }

    #[test]
    fn without_a_file_there_is_memory() {
        let dir = tempfile::tempdir().unwrap();
        let unwritable = dir.path().join("absent/history");
        for path in [None, Some(unwritable)] {
            let mut history = History::at(path, &settings(100, ""));
            history.keep("get a");
            assert_eq!(entries(&history), ["get a"]);
        }
    }
}
