//! The files of a database and how they come and go: creation, the next segment, the base.
//!
//! * **Creation** builds a whole directory aside and renames it into place: a crash leaves no half database, and of two
//!   creators the second finds the name taken and opens what the first made. The new name is made durable by whoever
//!   commits the first batch: its creator may be dead by then, or about to sync.
//! * **Rotation** makes the next segment, zero-filled and durable, before the seal that names it is written. A crash in
//!   between leaves a file that nothing refers to and the next rotation replaces.
//! * **A base** is written beside the log while others read and write. It counts from the moment the new manifest is renamed into
//!   place; only then what it stands for is unlinked. Who still reads an unlinked file reads on; who looks for one finds
//!   the new manifest.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Inner, Memory, WalEngine};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::storage::Life;
use crate::storage::codec::random_u64;
use crate::storage::fs::{File, Fs, LockKind, OpenMode, remove_if_present, write_all_at};
use crate::storage::manifest::{self, Base, Manifest};
use crate::storage::wal::reader::{Position, SegmentReader};
use crate::storage::wal::record::{self, Header, Kind};
use crate::storage::wal::segment::{self, Link, SegmentHeader};
use crate::types::{FileId, Lsn};

pub(super) const TURNSTILE: &str = "TURN";
pub(super) const LOCK: &str = "LOCK";
pub(super) const MAINTENANCE: &str = "MAINT";
pub(super) const NOTES: &str = "SHM";

/// The first segment is small, so that the first write to a new database is quick.
const FIRST_CAPACITY: u64 = 64 << 10;
/// Each segment is four times the one before it, up to this.
const FULL_CAPACITY: u64 = 4 << 20;
/// Bytes of entries per record of a base.
const BASE_RECORD_BYTES: usize = 256 << 10;

/// How large the next segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The log goes on: larger than the last, up to the full size.
    Larger,
    /// The log begins anew behind a base: as small as the first.
    Small,
}

/// The file of segment `id`.
pub(super) fn segment_path(dir: &Path, id: FileId) -> PathBuf {
    dir.join(format!("{id}.wal"))
}

/// The file of the base that stands for all segments up to `id`.
pub(super) fn base_path(dir: &Path, id: FileId) -> PathBuf {
    dir.join(format!("{id}.base"))
}

/// The manifest of the database in `dir`, which is created if it is missing and `options` allow it.
pub(super) fn find_or_create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    if let Some(manifest) = Manifest::read(fs, dir)? {
        return Ok(manifest);
    }
    let names = match fs.read_dir(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADatabase { dir: dir.to_owned(), reason: "it is not a directory".into() });
        }
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    if let Some(name) = names.first() {
        return found_instead(fs, dir, name);
    }
    if !options.create || options.read_only {
        return Err(Error::NoDatabase { dir: dir.to_owned() });
    }
    create(fs, dir, options)
}

/// There are files but no manifest: another process may have renamed its database into place just now.
fn found_instead(fs: &dyn Fs, dir: &Path, name: &Path) -> Result<Manifest> {
    Manifest::read(fs, dir)?.ok_or_else(|| {
        let reason = format!("it has no {}, but holds {}", manifest::NAME, name.display());
        Error::NotADatabase { dir: dir.to_owned(), reason }
    })
}

/// Makes a new database, or finds the one that another process made meanwhile.
fn create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    let mut aside = dir.as_os_str().to_owned();
    aside.push(format!(".new-{}-{:08x}", std::process::id(), random_u64() >> 32));
    let aside = PathBuf::from(aside);
    let built = build(fs, &aside, options).and_then(|manifest| {
        fs.rename(&aside, dir).map_err(|error| Error::io("create", dir, error)).map(|()| manifest)
    });
    match built {
        Ok(manifest) => Ok(manifest),
        Err(error) => {
            discard(fs, &aside);
            Manifest::read(fs, dir)?.ok_or(error)
        }
    }
}

/// Makes the name of the database's directory durable.
///
/// # Errors
/// I/O.
pub(super) fn sync_name(fs: &dyn Fs, dir: &Path) -> Result<()> {
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))
}

fn build(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    fs.create_dir(dir).map_err(|error| Error::io("create", dir, error))?;
    for name in [TURNSTILE, LOCK, MAINTENANCE] {
        let path = dir.join(name);
        fs.open(&path, OpenMode::CreateNew).map_err(|error| Error::io("create", &path, error))?;
    }
    let header = SegmentHeader {
        life: Life { id: FileId(1), salt: random_u64() },
        capacity: FIRST_CAPACITY,
        first_lsn: Lsn(1),
        previous: Link::default(),
    };
    segment::create(fs, &segment_path(dir, header.life.id), &header)?;
    let manifest = Manifest { engine: options.engine, base: None, first: header.life };
    manifest.install(fs, dir)?;
    Ok(manifest)
}

/// Removes a database directory that never came into use; what can't be removed harms nobody.
fn discard(fs: &dyn Fs, dir: &Path) {
    for name in fs.read_dir(dir).unwrap_or_default() {
        drop(fs.remove_file(&dir.join(name)));
    }
    drop(fs.remove_dir(dir));
}

impl<M: Memory> WalEngine<M> {
    /// Seals the segment and goes on in a new one with room for `len` bytes of records, larger than the one before it or
    /// as small as the first. `LOCK` is held exclusive.
    ///
    /// # Errors
    /// I/O; when the new segment can't be made, nothing has changed. When the seal can't be written the handle is poisoned.
    pub(super) fn rotate(&self, inner: &mut Inner, len: u64, growth: Growth) -> Result<()> {
        let segment = &inner.follower.segment;
        let least = segment::HEADER_LEN as u64 + len + record::SEAL_LEN as u64;
        let usual = match growth {
            Growth::Larger => (segment.header().capacity * 4).clamp(FIRST_CAPACITY, FULL_CAPACITY),
            Growth::Small => FIRST_CAPACITY,
        };
        let header = SegmentHeader {
            life: Life { id: segment.life().id.next(), salt: random_u64() },
            capacity: least.max(usual),
            first_lsn: segment.position().lsn.next(),
            previous: segment.link(),
        };
        let path = segment_path(&self.dir, header.life.id);
        let file = segment::create(&*self.fs, &path, &header)?;
        let seal = inner.follower.seal_for(header.life, self.nonce);
        self.write(inner, &seal, true)?;
        inner.follower.move_to(SegmentReader::at_start(file, path, header));
        Ok(())
    }

    /// Replaces everything up to now by a base of the entries that `entries` opens a walk over, called with the log sealed.
    /// `progress` is called with the number of entries written and says whether to go on.
    ///
    /// # Errors
    /// `Busy` when another process compacts; `Interrupted`; I/O. The database is as before then.
    pub(crate) fn rebase<S>(
        &self,
        snapshot: impl FnOnce(&M) -> S,
        write: impl FnOnce(&S, &mut BaseWriter) -> Result<()>,
    ) -> Result<()> {
        self.check_writable()?;
        self.maintenance.acquire(LockKind::Exclusive, self.lock_timeout, || None)?;
        let result = self.rebase_alone(snapshot, write);
        self.maintenance.release();
        result
    }

    /// Whether [`WalEngine::rebase`] could start at once.
    pub(crate) fn maintenance_is_free(&self) -> bool {
        let free = self.maintenance.try_acquire(LockKind::Exclusive).unwrap_or(false);
        if free {
            self.maintenance.release();
        }
        free
    }

    fn rebase_alone<S>(
        &self,
        snapshot: impl FnOnce(&M) -> S,
        write: impl FnOnce(&S, &mut BaseWriter) -> Result<()>,
    ) -> Result<()> {
        let (sealed, first, lsn, view) = self.seal(snapshot)?;
        let life = Life { id: sealed, salt: random_u64() };
        let path = base_path(&self.dir, sealed);
        let mut base = BaseWriter::create(&*self.fs, &path, life, lsn)?;
        let written = write(&view, &mut base).and_then(|()| base.finish(&*self.fs, first));
        if let Err(error) = written {
            drop(self.fs.remove_file(&path));
            return Err(error);
        }
        self.install(Manifest { engine: self.engine_kind()?, base: Some(Base { life, lsn }), first })
    }

    /// Ends the current segment, and returns its number, its successor, the last LSN in it and a view of the memory there.
    fn seal<S>(&self, snapshot: impl FnOnce(&M) -> S) -> Result<(FileId, Life, Lsn, S)> {
        let mut inner = self.inner();
        inner.check_usable()?;
        self.flush_group(&mut inner)?;
        self.catch_up(&mut inner, LockKind::Exclusive, "compact")?;
        let sealed = inner.follower.segment.life().id;
        let rotated = self.rotate(&mut inner, 0, Growth::Small);
        let mut published = self.published_mut();
        if rotated.is_ok() {
            published.show(&inner.follower, inner.follower.own_tail());
            self.leave_note(&inner);
        }
        let view = snapshot(&published.memory);
        drop(published);
        self.lock.release();
        rotated?;
        let segment = &inner.follower.segment;
        Ok((sealed, segment.life(), segment.position().lsn, view))
    }

    fn engine_kind(&self) -> Result<crate::types::EngineKind> {
        let manifest = Manifest::read(&*self.fs, &self.dir)?;
        manifest.map(|manifest| manifest.engine).ok_or_else(|| Error::NoDatabase { dir: self.dir.clone() })
    }

    /// Puts a manifest in force and removes what it no longer leads to. `MAINT` is held.
    fn install(&self, manifest: Manifest) -> Result<()> {
        let mut inner = self.inner();
        self.flush_group(&mut inner)?;
        self.acquire(LockKind::Exclusive, "compact")?;
        let installed = manifest.install(&*self.fs, &self.dir);
        if installed.is_ok() {
            inner.follower.rebased();
            self.published_mut().log_bytes = 0;
        }
        self.lock.release();
        drop(inner);
        installed?;
        self.sweep(&manifest);
        Ok(())
    }

    /// Removes log files that the manifest does not lead to. What can't be removed now is tried again next time.
    fn sweep(&self, manifest: &Manifest) {
        for name in self.fs.read_dir(&self.dir).unwrap_or_default() {
            if is_leftover(&name, manifest) {
                drop(self.fs.remove_file(&self.dir.join(name)));
            }
        }
    }
}

/// The files of a database, counted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files {
    /// Bytes of all files.
    pub(crate) bytes: u64,
    /// Bytes of the base.
    pub(crate) base_bytes: u64,
    /// Segments of the log, and the base.
    pub(crate) of_log: u64,
}

impl<M: Memory> WalEngine<M> {
    /// Counts the files of the database; one that goes away meanwhile does not count.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn files(&self) -> Result<Files> {
        let names = self.fs.read_dir(&self.dir).map_err(|error| Error::io("list", &self.dir, error))?;
        let mut files = Files::default();
        for name in names {
            let opened = self.fs.open(&self.dir.join(&name), OpenMode::Read);
            let bytes = opened.and_then(|file| file.size()).unwrap_or(0);
            let is_base = name.extension().is_some_and(|extension| extension == "base");
            files.bytes += bytes;
            files.base_bytes += if is_base { bytes } else { 0 };
            files.of_log +=
                u64::from(is_base || name.extension().is_some_and(|extension| extension == "wal"));
        }
        Ok(files)
    }
}

fn is_leftover(name: &Path, manifest: &Manifest) -> bool {
    let id = name.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok()).map(FileId);
    match (id, name.extension().and_then(|extension| extension.to_str())) {
        (Some(id), Some("wal")) => id < manifest.first.id,
        (Some(id), Some("base")) => manifest.base.is_none_or(|base| base.life.id != id),
        _ => false,
    }
}

/// Writes a base: entries in records, closed by a seal that names the first segment behind it.
pub(crate) struct BaseWriter {
    file: Arc<dyn File>,
    path: PathBuf,
    header: SegmentHeader,
    position: Position,
    /// Entries that are not written yet, encoded.
    pending: Vec<u8>,
    count: u32,
    buffer: Vec<u8>,
}

impl BaseWriter {
    fn create(fs: &dyn Fs, path: &Path, life: Life, lsn: Lsn) -> Result<Self> {
        let open = || {
            remove_if_present(fs, path)?;
            fs.open(path, OpenMode::CreateNew)
        };
        let file = open().map_err(|error| Error::io("create", path, error))?;
        let header = SegmentHeader { life, capacity: 0, first_lsn: lsn.next(), previous: Link::default() };
        let position = Position { offset: segment::HEADER_LEN as u64, link: header.link(), lsn };
        let path = path.to_owned();
        Ok(Self { file, path, header, position, pending: Vec::new(), count: 0, buffer: Vec::new() })
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8], lsn: Lsn) -> Result<()> {
        record::encode_entry(&mut self.pending, key, value, lsn);
        self.count += 1;
        if self.pending.len() >= BASE_RECORD_BYTES { self.flush(Kind::Base) } else { Ok(()) }
    }

    fn flush(&mut self, kind: Kind) -> Result<()> {
        let Position { offset, link, lsn } = self.position;
        let header =
            Header { kind, lsn, durable: Lsn::ZERO, link, nonce: 0, unsynced: false, count: self.count };
        self.buffer.clear();
        let pending = &self.pending;
        let link = record::encode(&mut self.buffer, self.header.life, offset, &header, |out| {
            out.extend_from_slice(pending);
        });
        write_all_at(&*self.file, &self.buffer, offset)
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.position = Position { offset: offset + self.buffer.len() as u64, link, lsn };
        self.pending.clear();
        self.count = 0;
        Ok(())
    }

    fn finish(mut self, fs: &dyn Fs, successor: Life) -> Result<()> {
        if self.count > 0 {
            self.flush(Kind::Base)?;
        }
        record::encode_successor(&mut self.pending, successor);
        self.flush(Kind::Seal)?;
        self.header.capacity = self.position.offset;
        let close = || {
            write_all_at(&*self.file, &self.header.encode(), 0)?;
            self.file.sync_data()?;
            fs.sync_dir(self.path.parent().unwrap_or(Path::new(".")))
        };
        close().map_err(|error| Error::io("write", &self.path, error))
    }
}
