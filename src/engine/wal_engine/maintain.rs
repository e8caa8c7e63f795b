//! Replacing files: the log by a base or by sorted tables, and tables by others.
//!
//! One process at a time shortens the log, under `MAINT`, and one merges tables, under `MERGE`; all others read and write
//! meanwhile, and neither waits for the other. The order is what makes it safe at every point of a crash:
//!
//! 1. The log is sealed, or was: what is to be replaced ends with a segment.
//! 2. The new files are written and synced, then the directory.
//! 3. The manifest is read again, changed and installed, with `LOCK` held for that moment. It names the new files, and where
//!    the log begins now.
//! 4. Only then what it no longer leads to is unlinked. Who still reads an unlinked file reads on; who looks for one finds the
//!    new manifest.
//!
//! Who writes tables and fails, or dies, leaves some that no manifest came to name. Their numbers are those that come next: only
//! who has the right to write tables of these numbers knows that nobody is at it, and removes them before it writes its own.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, TryLockError};
use std::time::Instant;

use super::chain::{CREATING, Growth, sync_name};
use super::follow::read_manifest;
use super::{Inner, Memory, WalEngine};
use crate::error::Result;
use crate::storage::fs::LockKind;
use crate::storage::lock::{LockFile, Patience};
use crate::storage::manifest::Manifest;
use crate::storage::{Life, Place};
use crate::types::{FileId, Lsn, Timestamp};

/// A lock file that one thread of one process holds at a time. It is opened when it is first asked for.
pub(super) struct Exclusive {
    name: &'static str,
    file: OnceLock<LockFile>,
    /// The lock belongs to the handle: this keeps its threads apart.
    thread: Mutex<()>,
}

/// An [`Exclusive`] lock, until it is dropped.
struct Held<'a> {
    file: &'a LockFile,
    _thread: MutexGuard<'a, ()>,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.file.release();
    }
}

impl Exclusive {
    pub(super) const fn new(name: &'static str) -> Self {
        Self { name, file: OnceLock::new(), thread: Mutex::new(()) }
    }

    fn file(&self, place: &Place) -> Result<&LockFile> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let opened = LockFile::open(&*place.fs, &place.dir, self.name)?;
        Ok(self.file.get_or_init(|| opened))
    }

    /// Another thread may have it as long as another process.
    fn hold(&self, place: &Place, patience: &Patience) -> Result<Held<'_>> {
        patience.wait(self.name, Instant::now(), || None, || self.try_hold(place))
    }

    fn try_hold(&self, place: &Place) -> Result<Option<Held<'_>>> {
        let file = self.file(place)?;
        let thread = match self.thread.try_lock() {
            Ok(thread) => thread,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        let acquired = file.try_acquire(LockKind::Exclusive)?;
        Ok(if acquired { Some(Held { file, _thread: thread }) } else { None })
    }
}

/// The right to replace files of one kind. While it lives no other process and no other thread has it.
pub(crate) struct Maintenance<'a, M: Memory> {
    engine: &'a WalEngine<M>,
    next: NextTable,
    _held: Held<'a>,
}

/// The number of the next table that holders of a right write: the others have every second one from there on.
type NextTable = fn(&Manifest) -> FileId;

/// The log up to a segment boundary.
pub(crate) struct Sealed<S> {
    /// The first segment behind it.
    pub(crate) first: Life,
    /// The last batch in it.
    pub(crate) lsn: Lsn,
    /// Bytes of its records, from the first segment of the manifest on.
    pub(crate) log_bytes: u64,
    /// What was seen of the memory at that point, or later.
    pub(crate) view: S,
}

impl<M: Memory> WalEngine<M> {
    /// Waits for the right to shorten the log.
    ///
    /// # Errors
    /// `ReadOnly`; `Busy` when another process has it for too long; I/O.
    pub(crate) fn maintain(&self) -> Result<Maintenance<'_, M>> {
        self.hold(&self.maintaining, |manifest| manifest.next_flushed)
    }

    /// Takes the right to shorten the log if nobody has it.
    ///
    /// # Errors
    /// As [`WalEngine::maintain`], without `Busy`.
    pub(crate) fn try_maintain(&self) -> Result<Option<Maintenance<'_, M>>> {
        self.try_hold(&self.maintaining, |manifest| manifest.next_flushed)
    }

    /// Waits for the right to merge tables.
    ///
    /// # Errors
    /// As [`WalEngine::maintain`].
    pub(crate) fn merge(&self) -> Result<Maintenance<'_, M>> {
        self.hold(&self.merging, |manifest| manifest.next_merged)
    }

    /// Takes the right to merge tables if nobody has it.
    ///
    /// # Errors
    /// As [`WalEngine::maintain`], without `Busy`.
    pub(crate) fn try_merge(&self) -> Result<Option<Maintenance<'_, M>>> {
        self.try_hold(&self.merging, |manifest| manifest.next_merged)
    }

    fn hold<'a>(&'a self, right: &'a Exclusive, next: NextTable) -> Result<Maintenance<'a, M>> {
        self.check_writable()?;
        Ok(Maintenance { engine: self, next, _held: right.hold(&self.place, &self.patience)? })
    }

    fn try_hold<'a>(&'a self, right: &'a Exclusive, next: NextTable) -> Result<Option<Maintenance<'a, M>>> {
        self.check_writable()?;
        Ok(right.try_hold(&self.place)?.map(|held| Maintenance { engine: self, next, _held: held }))
    }
}

impl<M: Memory> Maintenance<'_, M> {
    /// What is in force. Only holders of the other right replace it meanwhile.
    ///
    /// # Errors
    /// Corruption and I/O errors.
    pub(crate) fn manifest(&self) -> Result<Manifest> {
        read_manifest(self.place())
    }

    /// What has expired by this time can be left out of new files: the manifest that names them will have this clock or a later
    /// one. `None` where nothing expires.
    pub(crate) fn expired_by(&self) -> Option<Timestamp> {
        self.engine.expired_by()
    }

    /// Where the files are.
    pub(crate) const fn place(&self) -> &Place {
        &self.engine.place
    }

    /// Ends the current segment, and looks at the memory there.
    ///
    /// # Errors
    /// As [`Engine::turn`](crate::engine::Engine::turn).
    pub(crate) fn seal<S>(&self, view: impl FnOnce(&M) -> S) -> Result<Sealed<S>> {
        let engine = self.engine;
        let first = self.manifest()?.first.id;
        let mut inner = self.stop_writers("compact")?;
        let rotated = engine.rotate(&mut inner, 0, Growth::Small, 0);
        let mut published = engine.published_mut();
        if rotated.is_ok() {
            published.show(&inner.follower, Some(inner.follower.own_tail()));
            engine.leave_note(&inner);
        }
        drop(published);
        let sealed = rotated.map(|()| self.before_the_segment(&inner, first, view));
        engine.lock.release();
        sealed
    }

    /// The log from the segment `first` up to the one in which the handle stands.
    fn before_the_segment<S>(&self, inner: &Inner, first: FileId, view: impl FnOnce(&M) -> S) -> Sealed<S> {
        let header = inner.follower.segment.header();
        Sealed {
            first: header.life,
            lsn: Lsn(header.first_lsn.0 - 1),
            log_bytes: inner.follower.sealed_bytes(first),
            view: view(&self.engine.published().memory),
        }
    }

    /// The log before the current segment, as this handle knows it, and a look at the memory; `None` when reading broke off and
    /// the memory may be anything.
    ///
    /// # Errors
    /// `Poisoned`.
    pub(crate) fn sealed<S>(&self, view: impl FnOnce(&M) -> S) -> Result<Option<Sealed<S>>> {
        let first = self.manifest()?.first.id;
        let inner = self.engine.inner();
        inner.check_usable()?;
        if inner.adrift {
            return Ok(None);
        }
        Ok(Some(self.before_the_segment(&inner, first, view)))
    }

    /// Changes the manifest that is in force, has the memory take it up, and removes the files that it does not lead to.
    ///
    /// # Errors
    /// That of `edit`, with nothing changed. I/O: the old manifest or the new one is in force. As
    /// [`Engine::turn`](crate::engine::Engine::turn).
    pub(crate) fn install(&self, edit: impl FnOnce(&mut Manifest) -> Result<()>) -> Result<()> {
        let engine = self.engine;
        // What is in force may stand for more of the log than this handle has seen.
        let mut inner = self.stop_writers("compact")?;
        let installed = self.replace(&mut inner, edit);
        engine.lock.release();
        drop(inner);
        self.sweep(&installed?);
        Ok(())
    }

    /// Seals the log and changes the manifest in one moment: nothing is committed in between. `left_out` LSNs behind the last
    /// batch are for the files that `edit` brings in; it should be quick.
    ///
    /// # Errors
    /// As [`Maintenance::seal`] and [`Maintenance::install`].
    pub(crate) fn seal_and_install<S>(
        &self,
        left_out: u64,
        view: impl FnOnce(&M) -> S,
        edit: impl FnOnce(&mut Manifest, Sealed<S>) -> Result<()>,
    ) -> Result<()> {
        let engine = self.engine;
        let first = self.manifest()?.first.id;
        let mut inner = self.stop_writers("load")?;
        let lsn = inner.follower.segment.position().lsn;
        let begun = if lsn == Lsn::ZERO { sync_name(self.place()) } else { Ok(()) };
        let sealed = begun.and_then(|()| engine.rotate(&mut inner, 0, Growth::Small, left_out));
        let installed = sealed.and_then(|()| {
            let sealed = Sealed { lsn, ..self.before_the_segment(&inner, first, view) };
            let manifest = self.replace(&mut inner, |manifest| edit(manifest, sealed))?;
            engine.published_mut().show(&inner.follower, Some(inner.follower.own_tail()));
            engine.leave_note(&inner);
            Ok(manifest)
        });
        if let Err(error) = &installed {
            engine.set_adrift(&mut inner);
            // What was installed and may not be durable must not be built on.
            if self.manifest().map_or(true, |manifest| manifest.bulk > lsn) {
                inner.poisoned = Some(error.to_string());
            }
        }
        engine.lock.release();
        drop(inner);
        self.sweep(&installed?);
        Ok(())
    }

    /// Takes `LOCK`, the whole log read and nothing of this handle on its way to the device. `verb` is for those who wait.
    fn stop_writers(&self, verb: &'static str) -> Result<MutexGuard<'_, Inner>> {
        let engine = self.engine;
        let mut inner = engine.inner();
        inner.check_usable()?;
        engine.flush_group(&mut inner)?;
        engine.catch_up(&mut inner, LockKind::Exclusive, verb)?;
        Ok(inner)
    }

    /// Replaces the manifest and goes on from it. `LOCK` is held, and the log was read to its end.
    fn replace(&self, inner: &mut Inner, edit: impl FnOnce(&mut Manifest) -> Result<()>) -> Result<Manifest> {
        let Place { fs, dir } = self.place();
        let mut manifest = self.manifest()?;
        edit(&mut manifest)?;
        if inner.follower.expires()
            || manifest.runs.iter().flatten().any(|listed| listed.table.expiries.is_some())
        {
            manifest.clock = manifest.clock.max(Some(self.engine.now()));
        }
        manifest.install(&**fs, dir)?;
        self.engine.adopt(inner, &mut self.engine.published_mut(), &manifest)?;
        Ok(manifest)
    }

    /// Removes files that no manifest leads to from now on. What can't be removed now is tried again next time.
    fn sweep(&self, manifest: &Manifest) {
        self.discard_where(|name| is_leftover(name, manifest));
    }

    /// Removes the tables that holders of this right wrote and that no manifest came to name. The caller has none that is still to
    /// be named.
    pub(crate) fn discard_strays(&self) {
        let Ok(manifest) = self.manifest() else { return };
        let next = (self.next)(&manifest);
        let is_next = |id: FileId| id >= next && (id.0 - next.0).is_multiple_of(2);
        self.discard_where(|name| {
            let is_table = name.extension().is_some_and(|extension| extension == "sst");
            is_table && number(name).is_some_and(|id| is_next(id) && !manifest.names_table(id))
        });
    }

    fn discard_where(&self, is_to_go: impl Fn(&Path) -> bool) {
        let place = self.place();
        let names = place.fs.read_dir(&place.dir).unwrap_or_default();
        names.into_iter().filter(|name| is_to_go(name)).for_each(|name| place.discard(name));
    }
}

/// The number of a file whose name is one.
fn number(name: &Path) -> Option<FileId> {
    name.file_stem()?.to_str()?.parse().ok().map(FileId)
}

fn is_leftover(name: &Path, manifest: &Manifest) -> bool {
    if name == Path::new(CREATING) {
        return true;
    }
    let Some(id) = number(name) else { return false };
    match name.extension().and_then(|extension| extension.to_str()) {
        Some("wal") => id < manifest.first.id,
        Some("base") => manifest.base.is_none_or(|base| base.id != id),
        Some("sst") => !manifest.may_need_table(id),
        _ => false,
    }
}
