//! Runs the built binary in a directory of its own, cut off from the settings of whoever runs the tests.

#![allow(dead_code, reason = "each test binary uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

/// A home and working directory for the binary.
pub(crate) struct Sandbox {
    dir: TempDir,
}

/// What a run printed and ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) out: Vec<u8>,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Ran {
    /// Standard output as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.out).unwrap()
    }

    /// Fails unless the run printed this and ended with this code.
    #[track_caller]
    pub(crate) fn expect(&self, out: &str, code: i32) -> &Self {
        assert_eq!(
            (String::from_utf8_lossy(&self.out).as_ref(), self.code),
            (out, Some(code)),
            "{}",
            self.err
        );
        self
    }

    /// Fails unless standard error has this in it.
    #[track_caller]
    pub(crate) fn complains(&self, part: &str) -> &Self {
        assert!(self.err.contains(part), "{part:?} is not in:\n{}", self.err);
        self
    }

    /// Fails unless standard error is empty.
    #[track_caller]
    pub(crate) fn quiet(&self) -> &Self {
        assert_eq!(self.err, "");
        self
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            out: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves the directory for whoever wants to look into it.
    pub(crate) fn keep(self) -> PathBuf {
        self.dir.keep()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The binary, with nothing around it but this directory.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kvdb"));
        command.args(args).current_dir(self.path()).env_clear().stdin(Stdio::null());
        for (name, value) in self.environment() {
            command.env(name, value);
        }
        command
    }

    /// The variables that keep the user's own files out.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let names = [("HOME", "home"), ("XDG_CONFIG_HOME", "config"), ("XDG_STATE_HOME", "state")];
        names.into_iter().map(|(name, dir)| (name, self.file(dir))).collect()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs with `input` on standard input.
    pub(crate) fn feed(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        let mut child = self.spawn(args);
        let mut stdin = child.stdin.take().unwrap();
        let input = input.into();
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let ran = child.wait_with_output().unwrap().into();
        writer.join().unwrap();
        ran
    }

    /// Runs a script on standard input.
    pub(crate) fn script(&self, script: impl Into<Vec<u8>>) -> Ran {
        self.feed(&[], script)
    }

    /// Starts with pipes on all three streams.
    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}
