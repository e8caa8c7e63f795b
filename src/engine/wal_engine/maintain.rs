//! Replacing what the log adds up to by other files: a base, or sorted tables.
//!
//! One process at a time does so, under `MAINT`; all others read and write meanwhile. The order is what makes it safe
//! at every point of a crash:
//!
//! 1. The log is sealed, or was: what is to be replaced ends with a segment.
//! 2. The new files are written and synced, then the directory.
//! 3. The manifest that names them, and a later first segment, is installed, with `LOCK` held for that moment.
//! 4. Only then what it no longer leads to is unlinked. Who still reads an unlinked file reads on; who looks for one finds the
//!    new manifest.

use std::path::Path;
use std::sync::{MutexGuard, PoisonError, TryLockError};
use std::time::Instant;

use super::chain::Growth;
use super::follow::read_manifest;
use super::{Inner, Memory, WalEngine};
use crate::error::Result;
use crate::storage::fs::LockKind;
use crate::storage::manifest::Manifest;
use crate::storage::{Life, Place};
use crate::types::{FileId, Lsn};

/// The right to replace files. While it lives no other process and no other thread has it.
pub(crate) struct Maintenance<'a, M: Memory> {
    engine: &'a WalEngine<M>,
    manifest: Manifest,
    _alone: MutexGuard<'a, ()>,
}

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
    /// Waits for the right to replace files.
    ///
    /// # Errors
    /// `ReadOnly`; `Busy` when another process has it for too long; corruption and I/O errors.
    pub(crate) fn maintain(&self) -> Result<Maintenance<'_, M>> {
        self.check_writable()?;
        let alone = self.maintaining.lock().unwrap_or_else(PoisonError::into_inner);
        self.maintenance.acquire(LockKind::Exclusive, &self.patience, Instant::now(), || None)?;
        Maintenance::begin(self, alone)
    }

    /// Takes the right to replace files if nobody has it.
    ///
    /// # Errors
    /// As [`WalEngine::maintain`], without `Busy`.
    pub(crate) fn try_maintain(&self) -> Result<Option<Maintenance<'_, M>>> {
        self.check_writable()?;
        let alone = match self.maintaining.try_lock() {
            Ok(alone) => alone,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if !self.maintenance.try_acquire(LockKind::Exclusive)? {
            return Ok(None);
        }
        Maintenance::begin(self, alone).map(Some)
    }
}

impl<'a, M: Memory> Maintenance<'a, M> {
    /// Reads the manifest, which nobody else replaces from now on. `MAINT` is held.
    fn begin(engine: &'a WalEngine<M>, alone: MutexGuard<'a, ()>) -> Result<Self> {
        let place = &engine.place;
        let manifest = read_manifest(place).inspect_err(|_| engine.maintenance.release())?;
        Ok(Self { engine, manifest, _alone: alone })
    }

    /// What is in force.
    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
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
        let mut inner = engine.inner();
        inner.check_usable()?;
        engine.flush_group(&mut inner)?;
        engine.catch_up(&mut inner, LockKind::Exclusive, "compact")?;
        let rotated = engine.rotate(&mut inner, 0, Growth::Small);
        let mut published = engine.published_mut();
        if rotated.is_ok() {
            published.show(&inner.follower, inner.follower.own_tail());
            engine.leave_note(&inner);
        }
        let view = view(&published.memory);
        drop(published);
        engine.lock.release();
        rotated?;
        let log_bytes = inner.follower.sealed_bytes(self.manifest.first.id);
        let segment = &inner.follower.segment;
        Ok(Sealed { first: segment.life(), lsn: segment.position().lsn, log_bytes, view })
    }

    /// The log before the current segment, as this handle knows it, and a look at the memory; `None` when reading broke off and
    /// the memory may be anything.
    ///
    /// # Errors
    /// `Poisoned`.
    pub(crate) fn sealed<S>(&self, view: impl FnOnce(&M) -> S) -> Result<Option<Sealed<S>>> {
        let inner = self.engine.inner();
        inner.check_usable()?;
        if inner.adrift {
            return Ok(None);
        }
        let header = *inner.follower.segment.header();
        let log_bytes = inner.follower.sealed_bytes(self.manifest.first.id);
        let view = view(&self.engine.published().memory);
        Ok(Some(Sealed { first: header.life, lsn: Lsn(header.first_lsn.0 - 1), log_bytes, view }))
    }

    /// Puts a manifest in force, has the memory take it up, and removes the files that it does not lead to.
    ///
    /// # Errors
    /// I/O: the old manifest or the new one is in force.
    pub(crate) fn install(&mut self, manifest: Manifest) -> Result<()> {
        let engine = self.engine;
        let mut inner = engine.inner();
        inner.check_usable()?;
        engine.flush_group(&mut inner)?;
        engine.acquire(LockKind::Exclusive, "compact")?;
        let installed = manifest.install(&*engine.place.fs, &engine.place.dir);
        engine.lock.release();
        installed?;
        self.take_up(&mut inner, &manifest)?;
        drop(inner);
        self.manifest = manifest;
        self.sweep();
        Ok(())
    }

    /// Goes on from a manifest that stands for more of the log than the one before.
    fn take_up(&self, inner: &mut Inner, manifest: &Manifest) -> Result<()> {
        let mut published = self.engine.published_mut();
        inner.follower.rebased(manifest);
        published.log_bytes = inner.follower.log_bytes();
        published.totals = manifest.totals;
        published.memory.adopt(&self.engine.place, manifest)
    }

    /// Removes files that the manifest does not lead to. What can't be removed now is tried again next time.
    fn sweep(&self) {
        let place = &self.engine.place;
        for name in place.fs.read_dir(&place.dir).unwrap_or_default() {
            if is_leftover(&name, &self.manifest) {
                place.discard(name);
            }
        }
    }
}

impl<M: Memory> Drop for Maintenance<'_, M> {
    fn drop(&mut self) {
        self.engine.maintenance.release();
    }
}

fn is_leftover(name: &Path, manifest: &Manifest) -> bool {
    let number = name.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
    let Some(id) = number.map(FileId) else { return false };
    match name.extension().and_then(|extension| extension.to_str()) {
        Some("wal") => id < manifest.first.id,
        Some("base") => manifest.base.is_none_or(|base| base.id != id),
        Some("sst") => !manifest.runs.iter().flatten().any(|table| table.id == id),
        _ => false,
    }
}
