//! Backups: another directory that holds what the database holds, as a database of its own.
//!
//! * **A new one** is built aside and renamed into place like any new database, and its name is durable before it counts.
//! * **An older one** takes up what is newer as it would take up a batch that never was in its log: by its own protocol, under
//!   its own locks. The files that it lacks come first and nothing leads to them; then its log is sealed, and a manifest that
//!   names them installed. So a crash leaves the old backup or the new one, and who has it open goes on with what is in
//!   force. Files that the new manifest does not lead to go away last.
//!
//! What a backup is made of is never written to again by either side: tables are immutable and may be one file with two names;
//! logs are not shared, a backup begins with an empty one. Its own tables get numbers that the source will not reach, so that
//! files of the source always find their names free.
//!
//! An older backup may be replaced if nothing in it would be lost: it is of this database ([`Origin`]), nobody has written to
//! it, and it does not know more than the source does.

use std::io;
use std::path::Path;

use super::chain::{self, Aside};
use super::follow::read_manifest;
use super::{Memory, WalEngine};
use crate::engine::{Backup, Progress};
use crate::error::{Error, Result};
use crate::options::{Options, Pace};
use crate::storage::codec::random_u64;
use crate::storage::fs::Fs;
use crate::storage::manifest::Manifest;
use crate::storage::origin::Origin;
use crate::storage::wal::segment::{self, Link, SegmentHeader};
use crate::storage::{FORMAT, Life, Place};
use crate::types::{FileId, Lsn};

/// What a backup's own tables are numbered from, counted from the next table of its source.
const OWN_NUMBERS: u64 = 1 << 32;

/// The first segment of a new backup: a base has the number before it.
const FIRST_SEGMENT: FileId = FileId(2);

/// Told how far a backup has come; returns whether to go on.
pub(crate) type Report<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// What an engine puts into a backup: the state of the database after one batch.
pub(crate) trait Supply {
    /// The batch.
    fn lsn(&self) -> Lsn;

    /// Brings the files that `existing`, the manifest of an older backup, does not have, and makes them durable. Nothing leads to
    /// them yet.
    ///
    /// # Errors
    /// `Interrupted`; `BackupTarget`; corruption; I/O.
    fn bring(&mut self, to: &Place, existing: Option<&Manifest>, report: Report<'_>) -> Result<()>;

    /// Says in a manifest what stands for the log before the segment `first`, and brings what depends on that.
    ///
    /// # Errors
    /// As [`Supply::bring`].
    fn put_into(
        &mut self,
        manifest: &mut Manifest,
        to: &Place,
        first: Life,
        report: Report<'_>,
    ) -> Result<()>;

    /// Removes from an older backup what was brought to it in vain.
    fn take_back(&self, to: &Place);

    /// Reads back what was brought.
    ///
    /// # Errors
    /// As [`Supply::bring`].
    fn verify(&mut self, to: &Place, report: Report<'_>) -> Result<()>;

    /// What was done.
    fn outcome(&self) -> Backup;
}

/// Numbers for the tables that a backup makes itself: none that it has, or that its source makes.
pub(crate) fn own_number(next: FileId, of_source: FileId) -> FileId {
    next.max(FileId(of_source.0 + OWN_NUMBERS))
}

/// Which of all directories that began as the same database one is.
struct Identity {
    branch: u64,
    origin: Option<Origin>,
}

impl Identity {
    fn of(fs: &dyn Fs, dir: &Path, manifest: &Manifest) -> Result<Self> {
        let origin = Origin::read(fs, dir)?;
        Ok(Self { branch: origin.map_or(manifest.seed, |origin| origin.branch), origin })
    }

    /// Why a directory is no older backup of this one, if it is not.
    fn refusal(&self, manifest: &Manifest, origin: Option<&Origin>) -> Option<&'static str> {
        let Some(origin) = origin else { return Some("it is a database, and no backup of this one") };
        // Before this directory went its own way, it was what its source was.
        let is_forerunner = |own: &Origin| own.source == origin.source && manifest.flushed <= own.lsn;
        if origin.branch == self.branch {
            Some("it is the database itself, or a copy of it")
        } else if origin.source == self.branch || self.origin.as_ref().is_some_and(is_forerunner) {
            None
        } else {
            Some("it is a backup of another database")
        }
    }
}

/// Why a backup may not be replaced: somebody has written to it.
fn written_to(manifest: &Manifest, origin: &Origin, log_bytes: u64) -> Option<&'static str> {
    let is_as_it_was = manifest.flushed == origin.lsn || Some(manifest.first.salt) == origin.next;
    let is_untouched = log_bytes == 0 && is_as_it_was;
    (!is_untouched).then_some("it has been written to since it was made")
}

impl<M: Memory> WalEngine<M> {
    /// Makes the database in `dir` one that holds what `supply` brings.
    ///
    /// # Errors
    /// `BackupTarget` when something else is in `dir`; `Interrupted` when `report` says stop; `Busy`; corruption; I/O. What was in
    /// `dir` is there as before then, or the backup is complete.
    pub(crate) fn back_up(&self, dir: &Path, supply: &mut dyn Supply, report: Report<'_>) -> Result<Backup> {
        let fs = &*self.place.fs;
        let source = read_manifest(&self.place)?;
        let identity = Identity::of(fs, &self.place.dir, &source)?;
        let to = Place { fs: self.place.fs.clone(), dir: dir.to_owned() };
        match find(fs, dir, &self.place.dir)? {
            Some(existing) if (existing.seed, existing.engine) == (source.seed, source.engine) => {
                self.renew(&to, existing, &identity, supply, report)?;
            }
            Some(_) => return refuse(dir, "it is another database"),
            None => create(&to, &source, identity.branch, supply, report)?,
        }
        verify::<M>(&to, supply, report)?;
        Ok(supply.outcome())
    }

    /// Brings an older backup up to date.
    fn renew(
        &self,
        to: &Place,
        existing: Manifest,
        identity: &Identity,
        supply: &mut dyn Supply,
        report: Report<'_>,
    ) -> Result<()> {
        let fs = &*to.fs;
        let origin = Origin::read(fs, &to.dir)?;
        let refusal = identity.refusal(&existing, origin.as_ref());
        let (None, Some(origin)) = (refusal, origin) else { return refuse(&to.dir, refusal.unwrap_or("")) };
        let mut options = Options::new().lock_timeout(self.patience.timeout);
        options.interrupt.clone_from(&self.patience.interrupt);
        let target = Self::open(to.clone(), existing, &options)?;
        let _merging = target.merge()?;
        let right = target.maintain()?;
        let last = target.read(|_, lsn| lsn)?;
        let manifest = right.manifest()?;
        if let Some(why) = written_to(&manifest, &origin, target.log_bytes()) {
            return refuse(&to.dir, why);
        }
        if last > supply.lsn() {
            return refuse(&to.dir, "it is a backup of a later state of this database");
        }
        let brought = supply.bring(to, Some(&manifest), report);
        let renewed = brought.and_then(|()| {
            right.seal_and_install(
                supply.lsn().0 - last.0,
                |_| (),
                |manifest, sealed| {
                    if let Some(why) = written_to(manifest, &origin, sealed.log_bytes) {
                        return refuse(&to.dir, why);
                    }
                    supply.put_into(manifest, to, sealed.first, report)?;
                    let (lsn, next) = (manifest.flushed, Some(sealed.first.salt));
                    Origin { lsn, next, ..origin }.install(fs, &to.dir)?;
                    manifest.first = sealed.first;
                    manifest.flushed = supply.lsn();
                    manifest.bulk = supply.lsn();
                    Ok(())
                },
            )
        });
        if renewed.is_err() && right.manifest().is_ok_and(|now| now == manifest) {
            supply.take_back(to);
        }
        renewed?;
        Origin { lsn: supply.lsn(), next: None, ..origin }.install(fs, &to.dir)
    }
}

fn refuse<T>(dir: &Path, reason: impl Into<String>) -> Result<T> {
    Err(Error::BackupTarget { dir: dir.to_owned(), reason: reason.into() })
}

/// The manifest of what is in `dir`; `None` when a backup can be created there.
fn find(fs: &dyn Fs, dir: &Path, source: &Path) -> Result<Option<Manifest>> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if absolute(dir) == absolute(source) {
        return refuse(dir, "it is the database itself");
    }
    match Manifest::read(fs, dir) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            return refuse(dir, "it is a file");
        }
        Ok(None) => {}
        found => return found,
    }
    match fs.read_dir(dir) {
        Ok(names) if names.is_empty() => Ok(None),
        Ok(names) => refuse(dir, format!("it is no backup, but holds {}", names[0].display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("list", dir, error)),
    }
}

/// Creates a backup where there is none.
fn create(
    to: &Place,
    source: &Manifest,
    branch: u64,
    supply: &mut dyn Supply,
    report: Report<'_>,
) -> Result<()> {
    let fs = &*to.fs;
    chain::remove_abandoned(fs, &to.dir);
    let aside = Aside::create(fs, &to.dir)?;
    let place = Place { fs: to.fs.clone(), dir: aside.dir.clone() };
    let built = build(&place, source, branch, supply, report).and_then(|()| aside.install(&to.dir));
    if built.is_err() {
        aside.discard();
    }
    built?;
    chain::sync_name(to)
}

fn build(
    place: &Place,
    source: &Manifest,
    branch: u64,
    supply: &mut dyn Supply,
    report: Report<'_>,
) -> Result<()> {
    let Place { fs, dir } = place;
    chain::create_locks(&**fs, dir)?;
    supply.bring(place, None, report)?;
    let first = Life { id: FIRST_SEGMENT, salt: random_u64() };
    let mut manifest = Manifest::new(source.engine, first, source.seed);
    supply.put_into(&mut manifest, place, first, report)?;
    (manifest.flushed, manifest.bulk) = (supply.lsn(), supply.lsn());
    let header = SegmentHeader {
        format: FORMAT,
        life: first,
        capacity: Pace::USUAL.first_segment,
        first_lsn: supply.lsn().next(),
        previous: Link::default(),
    };
    segment::create(&**fs, &place.path(chain::segment_name(first.id)), &header)?;
    Origin { branch: random_u64(), source: branch, lsn: supply.lsn(), next: None }.install(&**fs, dir)?;
    manifest.install(&**fs, dir)
}

/// Reads back what was brought, and opens the backup as its users will.
fn verify<M: Memory>(to: &Place, supply: &mut dyn Supply, report: Report<'_>) -> Result<()> {
    supply.verify(to, report)?;
    let manifest = read_manifest(to)?;
    let opened = WalEngine::<M>::open(to.clone(), manifest, &Options::new().read_only(true))?;
    let found = opened.read(|_, lsn| lsn)?;
    if found < supply.lsn() {
        let what = format!("the backup ends at LSN {found}, and {} was to be in it", supply.lsn());
        return Err(Error::corruption(&to.dir, 0, what));
    }
    Ok(())
}
