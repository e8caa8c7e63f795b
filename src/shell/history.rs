//! The history file: what was typed in earlier sessions, and what others are typing now.
//!
//! 1. It lies in the state directory of the platform (the data directory where there is none), readable by its owner only.
//! 2. Each command is appended when it is entered, so two sessions keep both their histories and a crash loses none.
//! 3. Left out: what begins with a blank, what repeats the command before, and what is longer than [`MAX_LINE_LEN`].
//! 4. History is a convenience: that it can't be kept never stands in the way of a command.

use std::path::PathBuf;

use rustyline::history::FileHistory;
use rustyline::{Editor, Helper};

use super::files;

/// Longest command that is kept, in bytes.
const MAX_LINE_LEN: usize = 4 << 10;

/// Where history is kept, if it is.
pub(crate) struct HistoryFile {
    path: Option<PathBuf>,
}

impl HistoryFile {
    /// Finds the file and gives the editor what is in it.
    pub(crate) fn open<H: Helper>(wanted: bool, editor: &mut Editor<H, FileHistory>) -> Self {
        let path = if wanted { place() } else { None };
        if let Some(path) = &path {
            drop(editor.load_history(path));
        }
        Self { path }
    }

    /// Keeps a command.
    pub(crate) fn add<H: Helper>(&self, editor: &mut Editor<H, FileHistory>, line: &str) {
        if line.len() > MAX_LINE_LEN || line.trim().is_empty() {
            return;
        }
        let is_new = editor.add_history_entry(line).unwrap_or(false);
        if let Some(path) = self.path.as_ref().filter(|_| is_new) {
            drop(editor.append_history(path));
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
