//! Checking a database: every record, page, bucket and fence of every table, every entry of the base, every record of the log, and
//! what they say of one another.
//!
//! * The manifest verifies, its numbers agree with one another, and every file that it names is there.
//! * Each table has the footer, the records, the counts, the keys and the LSNs that the manifest lists; runs lie in the order of
//!   their LSNs, tables of a run beside one another.
//! * The log begins where the tables or the base end, and every record links to the one before it up to the end.
//!
//! Everything is read from the files, not through an open engine: so a database that can't be opened can be checked as well, and
//! the check goes on behind the first fault. Without a manifest, the files are checked each by itself.

use super::Progress;
use super::inspect::{Gate, Listed, Look, Loss, Sink, Walked, walk_changes};
use super::lsm::version::violations;
use crate::error::{Error, Fault, Notice, Result};
use crate::storage::lock::Patience;
use crate::storage::manifest::{self, Manifest};
use crate::storage::sstable::{Flaw, file_name};
use crate::storage::{Place, RunTable};
use crate::types::{Lsn, Op};

/// How often a check begins anew because files go away under it.
const MAX_RESTARTS: usize = 20;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Check {
    /// Everything that is wrong, file by file.
    pub faults: Vec<Fault>,
    /// What the user should know that is no fault.
    pub notices: Vec<Notice>,
    /// Sorted tables that were read.
    pub tables: u64,
    /// Records in them, deletions included.
    pub table_records: u64,
    /// Records of the log; each is a batch, or the end of a file of the log.
    pub log_records: u64,
    /// Changes in those batches, and entries of the base.
    pub changes: u64,
    /// Bytes of tables.
    pub table_bytes: u64,
    /// The newest batch that can be read.
    pub lsn: Lsn,
}

impl Check {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

/// A check under way.
struct Checking<'a> {
    found: Check,
    progress: Progress,
    tell: &'a mut dyn FnMut(Progress, &[Fault]) -> bool,
}

impl Sink for Checking<'_> {
    fn fault(&mut self, fault: Fault, _loss: Loss) {
        self.found.faults.push(fault);
    }

    fn change(&mut self, _lsn: Lsn, _op: Op) {
        self.found.changes += 1;
        self.progress.done += 1;
    }

    fn log_record(&mut self) {
        self.found.log_records += 1;
    }

    fn notice(&mut self, notice: Notice) {
        self.found.notices.push(notice);
    }

    fn go_on(&mut self, records: u64) -> bool {
        self.progress.done += records;
        self.progress.total = self.progress.total.max(self.progress.done);
        self.progress.faults = self.found.faults.len() as u64;
        (self.tell)(self.progress, &self.found.faults)
    }
}

/// Checks the database at `place`. `progress` is told of every step, and of all faults so far, in no order, and returns
/// whether to go on. When somebody else ends the check it is told once more.
///
/// # Errors
/// `Interrupted`; `NoDatabase`, `NotADatabase`, `Format`; `Busy`, I/O. Damage is none: it is what is found.
pub(super) fn check(
    place: &Place,
    patience: Patience,
    progress: &mut dyn FnMut(Progress, &[Fault]) -> bool,
) -> Result<Check> {
    let gate = Gate::new(place, patience);
    for _ in 0..MAX_RESTARTS {
        let mut checking =
            Checking { found: Check::default(), progress: Progress::default(), tell: progress };
        let walked = check_once(place, &gate, &mut checking);
        if let Err(Error::Interrupted) = walked {
            checking.go_on(0);
        }
        if let Walked::Done(lsn) = walked? {
            let mut found = checking.found;
            found.lsn = lsn;
            found.faults.sort_by(|a, b| (&a.file, a.offset).cmp(&(&b.file, b.offset)));
            return Ok(found);
        }
    }
    Err(Error::corruption(
        &place.path(manifest::NAME),
        0,
        "the files keep changing faster than they can be read",
    ))
}

fn check_once(place: &Place, gate: &Gate, checking: &mut Checking<'_>) -> Result<Walked> {
    let look = Look::at(place, gate, false, checking)?;
    checking.progress.total = look.tables.iter().map(|listed| listed.run.table.entries).sum();
    if let Some(manifest) = &look.manifest {
        let path = place.path(manifest::NAME);
        let wrong = violations(&manifest.runs, place).into_iter().chain(contradictions(manifest));
        checking.found.faults.extend(wrong.map(|what| Fault::new(path.clone(), 0, what)));
    }
    for listed in &look.tables {
        check_table(place, listed, checking)?;
    }
    walk_changes(place, gate, &look, checking)
}

fn check_table(place: &Place, listed: &Listed, checking: &mut Checking<'_>) -> Result<()> {
    let RunTable { table, .. } = &listed.run;
    let path = place.path(file_name(table.id));
    let size = listed.size;
    if size != table.len {
        let what = format!("the file has {size} bytes, the manifest says {}", table.len);
        checking.fault(Fault::new(path.clone(), size.min(table.len), what), Loss::Nothing);
    }
    let found = listed.table.inspect(&mut |records| checking.go_on(records)).ok_or(Error::Interrupted)?;
    checking.found.tables += 1;
    checking.found.table_bytes += size;
    checking.found.table_records += found.records;
    for Flaw { offset, len, what, keys } in found.flaws {
        checking.fault(Fault { len, keys, ..Fault::new(path.clone(), offset, what) }, Loss::Nothing);
    }
    Ok(())
}

/// Numbers of a manifest that can't all be right.
fn contradictions(manifest: &Manifest) -> Vec<String> {
    let mut wrong = Vec::new();
    for listed in manifest.runs.iter().flatten() {
        let id = listed.table.id;
        let next = if id.0.is_multiple_of(2) { manifest.next_merged } else { manifest.next_flushed };
        if id >= next {
            wrong.push(format!("table {id} has a number that is still to be given"));
        }
        if listed.table.expiries.is_some() && manifest.clock.is_none() {
            wrong.push(format!("something in table {id} expires, and there is no clock"));
        }
        if listed.lsn(listed.table.largest_lsn) > manifest.flushed {
            wrong.push(format!("table {id} is newer than the log's beginning"));
        }
    }
    if manifest.bulk > manifest.flushed {
        wrong.push("a load is newer than the log's beginning".into());
    }
    let merging = manifest.merging.map_or(0, |merging| merging.below as usize + merging.count as usize);
    if merging > manifest.runs.len() {
        wrong.push("it merges more runs than there are".into());
    }
    wrong
}
