//! `.tutorial`: a tour in short steps, each of which is done when a command that does it has succeeded.
//!
//! ```text
//! .tutorial ──▶ step 1 ──(a command that does it)──▶ step 2 … ──▶ the end ─┐
//!                 └────────── .tutorial, exit, Ctrl-D, at any time ────────┴─▶ the database that was open
//! ```
//!
//! 1. The tour has a database of its own, in a temporary directory that is removed when it ends. What the user has is closed to
//!    it: the session's connection is put aside, and `.open` waits.
//! 2. Any other command runs as always; the step is then said again. A mistake gets the message that it always gets.
//! 3. What is typed meanwhile is not kept in the history.

use std::path::PathBuf;

use super::command::{Columns, Command};
use super::connection::Connection;
use super::failure::Failure;
use super::session::{Session, Way};
use super::{files, help, parse};
use crate::types::KeyRange;

/// One thing to try.
struct Step {
    /// What to know, and what to type.
    text: &'static str,
    /// Whether this command is it.
    is_done: fn(&Command) -> bool,
}

impl Step {
    /// What to type.
    fn lines(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.text.lines().filter_map(|line| line.strip_prefix("    "))
    }
}

const STEPS: &[Step] = &[
    Step {
        text: "kvdb stores values under keys. Store one; a value with blanks needs quotes:\n\n    set name \"Jaya Krishna\"",
        is_done: |command| matches!(command, Command::Set { value, .. } if value.contains(&b' ')),
    },
    Step {
        text: "OK means that it is on the device. Read it back. Type  get n  and press Tab, which completes keys:\n\n    get name",
        is_done: |command| matches!(command, Command::Get { .. }),
    },
    Step {
        text: "What is printed can be typed again as it is. What is not there is a bare null:\n\n    get nobody",
        is_done: |command| matches!(command, Command::Get { .. }),
    },
    Step {
        text: "Keys are kept in order, so a common prefix makes a group. Store two users, one after the other:\n\n    \
               set user:1 Ann\n    set user:2 Bob",
        is_done: |command| matches!(command, Command::Set { key, .. } if key.ends_with(b"2")),
    },
    Step {
        text: "List the group. The grey text behind the cursor shows what scan takes besides:\n\n    scan user:",
        is_done: |command| matches!(command, Command::Scan { selection, columns: Columns::Both } if selection.range != KeyRange::all()),
    },
    Step {
        text: "A value can be a number that is counted up, also from many terminals at once:\n\n    incr visits",
        is_done: |command| matches!(command, Command::Incr { .. }),
    },
    Step {
        text: "Several commands can count as one: all of them or none. Begin a transaction:\n\n    begin",
        is_done: |command| matches!(command, Command::Begin),
    },
    Step {
        text: "The * in the prompt says so. Change something, then think better of it:\n\n    delete user:1 user:2\n    rollback",
        is_done: |command| matches!(command, Command::Rollback),
    },
    Step {
        text: "Are they still there? Up arrow and Ctrl-R find what you typed before.\n\n    count user:",
        is_done: |command| matches!(command, Command::Count { .. }),
    },
    Step {
        text: "All of it as text, which any kvdb can load again:\n\n    .dump",
        is_done: |command| matches!(command, Command::Dump { .. }),
    },
    Step {
        text: "Every command explains itself. A typo is answered with what you may have meant:\n\n    help scan",
        is_done: |command| matches!(command, Command::Help { topic: Some(_) }),
    },
];

const BEGINNING: &str =
    "A tour of five minutes, on a database of its own: nothing here touches your data. .tutorial leaves it.";

const END: &str = "That was all of it. help lists the commands; from your shell,  kvdb get KEY  and  kvdb < FILE  do the same without a prompt.";

/// A tour that is under way.
pub(crate) struct Tutorial {
    step: usize,
    /// Lines of the step that were typed.
    typed: usize,
    /// Of its own database, and everything else of it.
    dir: PathBuf,
    /// What was open before.
    aside: Connection,
    /// Where that is.
    db: PathBuf,
}

impl Drop for Tutorial {
    fn drop(&mut self) {
        files::remove_scratch_dir(&self.dir);
    }
}

impl Tutorial {
    /// Whether a command is the one that is asked for.
    pub(super) fn is_done_by(&self, command: &Command) -> bool {
        (STEPS[self.step].is_done)(command)
    }

    /// Takes note of a command that has succeeded: of several that a step asks for, the one that is next may be behind it.
    pub(super) fn note(&mut self, command: &Command) {
        let is_it =
            |line: &&str| matches!(parse::line(line.as_bytes()), Ok(Some(asked)) if asked == *command);
        if let Some(at) = STEPS[self.step].lines().position(|line| is_it(&line)) {
            self.typed = at + 1;
        }
    }
}

impl Session {
    /// Begins the tour, or leaves it.
    pub(super) fn tutorial(&mut self) -> Result<(), Failure> {
        if self.leave_tutorial() {
            return Ok(());
        }
        if self.way != Way::Prompt || self.depth > 0 {
            return Err(Failure::refused("the tutorial needs a prompt", "start kvdb, then type .tutorial"));
        }
        self.refuse_in_block(".tutorial")?;
        let dir = files::make_scratch_dir("kvdb-tutorial")?;
        let db = std::mem::replace(&mut self.settings.db, dir.join("tutorial.kvdb"));
        let mut settings = self.settings.clone();
        settings.readonly = false;
        let own = Connection::new(&settings, self.interrupt.flag(), true);
        let aside = std::mem::replace(&mut self.connection, own);
        self.tutorial = Some(Tutorial { step: 0, typed: 0, dir, aside, db });
        self.explain(&format!("{BEGINNING}\n\n{}", STEPS[0].text));
        Ok(())
    }

    /// Says what comes next in the tour, `did_step` when what was asked for has been done.
    pub(super) fn go_on_with_tutorial(&mut self, did_step: bool) {
        let Some(tutorial) = &mut self.tutorial else { return };
        if did_step {
            (tutorial.step, tutorial.typed) = (tutorial.step + 1, 0);
        }
        match STEPS.get(tutorial.step) {
            None => {
                self.leave_tutorial();
                self.explain(END);
            }
            Some(step) if did_step => self.explain(step.text),
            Some(step) => {
                let lines = step.lines().skip(tutorial.typed);
                let next = format!("The tour goes on with:  {}", lines.collect::<Vec<_>>().join("  then  "));
                self.explain(&next);
            }
        }
    }

    /// Ends the tour, if there is one: the database that was open is open again.
    pub(crate) fn leave_tutorial(&mut self) -> bool {
        if self.tutorial.is_some() {
            self.close_block();
        }
        let Some(tutorial) = &mut self.tutorial else { return false };
        std::mem::swap(&mut self.connection, &mut tutorial.aside);
        std::mem::swap(&mut self.settings.db, &mut tutorial.db);
        tutorial.aside.close();
        self.tutorial = None;
        self.explain("The tour is over, and your database is the one that is open.");
        true
    }

    /// A paragraph of the tour, between blank lines. Lines to type stand apart as they are.
    fn explain(&mut self, text: &str) {
        let columns = self.columns.map_or(80, |columns| columns().min(80));
        let line = |line: &str| match line.strip_prefix("    ") {
            Some(typed) => format!("    {}\n", self.look.prompt(typed)),
            None => help::wrapped(line, columns),
        };
        let text: String = text.lines().map(line).collect();
        self.output.buffer.extend_from_slice(format!("\n{text}\n").as_bytes());
    }
}
