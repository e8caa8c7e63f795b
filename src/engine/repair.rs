//! Repairing: a new database of everything that verifies in a damaged one, which stays as it is.
//!
//! ```text
//!  tables ─► records that verify ─┐
//!                                 ├─► of each key the newest ─► a new database aside ─► checked ─► renamed into place
//!  base, log ─► changes ──────────┘
//!         └───► what can't be read ─► the list of what was lost
//! ```
//!
//! 1. Nothing is written to the damaged database, and nothing is kept there that was not.
//! 2. Every record that verifies is in the new database, unless a newer one of its key is, or its key was deleted later.
//! 3. Everything else is listed: where it was, and which keys or batches it may concern. Where something older may have taken the
//!    place of what was lost, a deleted key that came back included, the list says so.
//! 4. A single flipped bit of the manifest, of a block of a table, of a header or a record of the log is set right, and told, where
//!    so few bytes share a checksum that no two flipped bits could be taken for it. What was set right has to verify.
//! 5. The new directory appears under its name when it is complete, durable and checked, or not at all. What is left of one
//!    that was killed nobody opens, and the next repair to that name removes it.
//!
//! Without a manifest nothing says in which order tables were written, but for the LSNs of their records, which are enough while
//! nothing was merged or loaded: so then the list says that older values may have come back.

mod merge;
mod output;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};

use super::inspect::{Gate, Listed, Look, Loss, MENDED, Sink, Walked, walk_changes};
use super::{Progress, patience};
use crate::error::{Error, Fault, Notice, Result};
use crate::options::Options;
use crate::storage::manifest;
use crate::storage::sstable::file_name;
use crate::storage::{Place, RunTable};
use crate::types::{Key, KeyRange, Lsn, Op, Timestamp, Value};
use merge::{Merged, TableSource};

/// How often a repair begins anew because files go away under it.
const MAX_RESTARTS: usize = 20;

/// What a repair came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The new database.
    pub dir: PathBuf,
    /// What could not be read, and is not in the new database.
    pub lost: Vec<Lost>,
    /// Damage that cost nothing, flipped bits that were set right included.
    pub harmless: Vec<Fault>,
    /// What the user should know beside that.
    pub notices: Vec<Notice>,
    /// Keys in the new database.
    pub keys: u64,
    /// Bytes of these keys and their values.
    pub bytes: u64,
}

/// Something that a repair could not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// Where it was, and what it concerns.
    pub fault: Fault,
    /// It may have held newer values, or deletions, of keys that something older is there of: that may have come back.
    pub older_may_be_back: bool,
}

impl Repair {
    /// Whether the new database holds everything that the damaged one did.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.lost.is_empty()
    }
}

/// Of each key the newest change that the base and the log hold.
type Newest = BTreeMap<Key, (Lsn, Option<Stored>)>;

/// A value, and when it expires.
type Stored = (Value, Option<Timestamp>);

/// What is saved, and what is not.
struct Saving<'a> {
    lost: Vec<Fault>,
    harmless: Vec<Fault>,
    notices: Vec<Notice>,
    newest: Newest,
    progress: Progress,
    tell: &'a mut dyn FnMut(Progress) -> bool,
}

impl Sink for Saving<'_> {
    fn fault(&mut self, fault: Fault, loss: Loss) {
        match loss {
            Loss::Nothing => self.harmless.push(fault),
            Loss::Records => self.lost.push(fault),
        }
    }

    fn change(&mut self, lsn: Lsn, op: Op) {
        let (key, value) = match op {
            Op::Set { key, value, expires } => (key, Some((value, expires))),
            Op::Delete { key } => (key, None),
        };
        if self.newest.get(&key).is_none_or(|(known, _)| *known <= lsn) {
            self.newest.insert(key, (lsn, value));
        }
    }

    fn log_record(&mut self) {}

    fn notice(&mut self, notice: Notice) {
        self.notices.push(notice);
    }

    fn go_on(&mut self, records: u64) -> bool {
        self.progress.done += records;
        (self.tell)(self.progress)
    }
}

/// Writes what can be read of the database at `place` to `new`, a directory that does not exist. `progress` is told of every step
/// and returns whether to go on.
///
/// # Errors
/// `Interrupted`; `NoDatabase`, `NotADatabase`, `Format`; `Busy`, I/O, `AlreadyExists` when `new` exists. There is no new directory
/// then.
pub(super) fn repair(
    place: &Place,
    new: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Repair> {
    output::check_is_free(&*place.fs, new)?;
    let gate = Gate::new(place, patience(options));
    for _ in 0..MAX_RESTARTS {
        let mut saving = Saving {
            lost: Vec::new(),
            harmless: Vec::new(),
            notices: Vec::new(),
            newest: Newest::new(),
            progress: Progress::default(),
            tell: &mut *progress,
        };
        let look = Look::at(place, &gate, true, &mut saving)?;
        if let Walked::Done(_) = walk_changes(place, &gate, &look, &mut saving)? {
            let of_manifest = look.manifest.as_ref().and_then(|manifest| manifest.clock);
            return save(place, new, options, &look, of_manifest.max(gate.clock()), saving);
        }
    }
    Err(Error::corruption(
        &place.path(manifest::NAME),
        0,
        "the files keep changing faster than they can be read",
    ))
}

/// What had expired by `expired_by` is not saved: the new database has a clock of its own.
fn save(
    place: &Place,
    new: &Path,
    options: &Options,
    look: &Look,
    expired_by: Option<Timestamp>,
    mut saving: Saving<'_>,
) -> Result<Repair> {
    let entries: u64 = look.tables.iter().map(|listed| listed.run.entries()).sum();
    saving.progress = Progress { total: entries + saving.newest.len() as u64, ..Progress::default() };
    let newest = std::mem::take(&mut saving.newest);
    let bases = merge::lsn_bases(look);
    let sources = look.tables.iter().zip(bases);
    let sources = sources.map(|(listed, base)| TableSource::new(listed, base, place)).collect();
    let mut merged = Merged::new(&newest, sources, expired_by);
    // Whatever the damaged one was to be opened for.
    let options = Options {
        engine: look.engine,
        pace: options.pace,
        compression: options.compression,
        lock_timeout: options.lock_timeout,
        interrupt: options.interrupt.clone(),
        ..Options::new()
    };
    let options = options.background(false);
    let written = output::write(place, new, &options, &mut merged, &mut |progress| {
        (saving.tell)(Progress { total: saving.progress.total, ..progress })
    })?;
    for listed in &look.tables {
        let path = place.path(file_name(listed.run.table.id));
        let mended = |at: &usize| Fault::new(path.clone(), *at as u64, MENDED);
        saving.harmless.extend(listed.mended.iter().map(mended));
    }
    let mut lost: Vec<Lost> = saving.lost.into_iter().map(|fault| judge(look, fault)).collect();
    lost.extend(merged.into_lost().into_iter().map(|(age, fault)| judge_table(look, age, fault)));
    lost.extend(uncertainty(place, look));
    lost.sort_by(|a, b| (&a.fault.file, a.fault.offset).cmp(&(&b.fault.file, b.fault.offset)));
    Ok(Repair {
        dir: new.to_owned(),
        lost,
        harmless: saving.harmless,
        notices: saving.notices,
        keys: written.keys,
        bytes: written.bytes,
    })
}

/// Whether something older may have taken the place of what is lost of the log, of a base or of a whole table.
fn judge(look: &Look, fault: Fault) -> Lost {
    let of_base = fault.file.extension().is_some_and(|extension| extension == "base");
    let listed = look.manifest.iter().flat_map(|manifest| manifest.runs.iter().enumerate());
    let age = listed.into_iter().find_map(|(age, run)| {
        run.iter().any(|table| fault.file.ends_with(file_name(table.table.id))).then_some(age)
    });
    if let Some(age) = age {
        return judge_table(look, age, fault);
    }
    let is_oldest = fault.lsns.is_some_and(|(first, _)| first == Lsn(1));
    Lost { fault, older_may_be_back: !of_base && !is_oldest }
}

/// The same of what is lost of a table whose run has this number.
fn judge_table(look: &Look, age: usize, fault: Fault) -> Lost {
    let is_older = |listed: &&Listed| look.manifest.is_none() || listed.age > age;
    let all = KeyRange::all();
    let keys = fault.keys.as_ref().unwrap_or(&all);
    let shares = |listed: &Listed| {
        let own = keys_of(&listed.run);
        !fault.file.ends_with(file_name(listed.run.table.id)) && !own.intersect(keys.clone()).is_empty()
    };
    let older_may_be_back = look.tables.iter().filter(is_older).any(shares);
    Lost { fault, older_may_be_back }
}

/// The keys that a table may hold; all, where nobody has listed it.
fn keys_of(run: &RunTable) -> KeyRange {
    if run.largest().is_empty() && run.table.entries > 0 {
        return KeyRange::all();
    }
    KeyRange { start: Bound::Included(run.smallest().clone()), end: Bound::Included(run.largest().clone()) }
}

/// What a missing manifest leaves open.
fn uncertainty(place: &Place, look: &Look) -> Option<Lost> {
    if look.manifest.is_some() || look.tables.is_empty() {
        return None;
    }
    let what = "without it, nothing says which tables were replaced, and in which order they were loaded";
    Some(Lost { fault: Fault::new(place.path(manifest::NAME), 0, what), older_may_be_back: true })
}
