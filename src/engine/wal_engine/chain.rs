//! The files of a database and how they come to be: creation, and the next segment.
//!
//! * **Creation** builds a whole directory aside and renames it into place: a crash leaves no half database, and of two
//!   creators the second finds the name taken and opens what the first made. The new name is made durable by whoever
//!   commits the first batch: its creator may be dead by then, or about to sync. While a directory is built, its `LOCK` is held.
//!   So the next creator can tell what a crash left behind, and removes it. A repair uses the database that it builds, and
//!   its `LOCK` with it: it holds the file `UNFINISHED` in its stead. What has that is opened by nobody else.
//! * **Creation in a directory that is there** can't replace it: it may hold a `config.toml`, or be where a file system is mounted.
//!   So the database is built in it, under the lock `CREATING`. As long as that file is there and the manifest is not, there
//!   never was a database.
//! * **Rotation** makes the next segment, zero-filled and durable, before the seal that names it is written. A crash in
//!   between leaves a file that nothing refers to and the next rotation replaces.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::{Inner, Memory, WalEngine};
use crate::error::{Error, Result, shell_word};
use crate::options::{Options, Pace};
use crate::storage::codec::random_u64;
use crate::storage::fs::{File, Fs, LockKind, OpenMode, remove_if_present};
use crate::storage::lock::{LockFile, Patience};
use crate::storage::manifest::{self, Manifest};
use crate::storage::wal::reader::SegmentReader;
use crate::storage::wal::record;
use crate::storage::wal::segment::{self, Link, SegmentHeader};
use crate::storage::{FORMAT, Life, Place};
use crate::types::{FileId, Lsn};

pub(crate) const TURNSTILE: &str = "TURN";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const MAINTENANCE: &str = "MAINT";
pub(crate) const MERGING: &str = "MERGE";
pub(crate) const NOTES: &str = "SHM";
pub(crate) const CREATING: &str = "CREATING";
const UNFINISHED: &str = "UNFINISHED";

/// What may be in a directory before there is a database: settings, and what a file system keeps where it is mounted.
const NEUTRAL: [&str; 2] = ["config.toml", "lost+found"];

/// Between the name that is wanted and what makes the name of a directory unique that is built beside it.
const ASIDE: &str = ".new-";

/// How often a creator begins such a directory that others take for abandoned.
const BEGINNINGS: usize = 100;

/// How large the next segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The log goes on: larger than the last, up to the full size.
    Larger,
    /// The log begins anew behind a base: as small as the first.
    Small,
}

/// What a database is called where nothing else is said.
const USUAL_NAME: &str = ".kvdb";

/// The file of segment `id`.
pub(super) fn segment_name(id: FileId) -> String {
    format!("{id}.wal")
}

/// The manifest of the database in `dir`, which is created if it is missing and `options` allow it.
pub(crate) fn find_or_create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    if is_unfinished(fs, dir) {
        let reason = "a repair that broke off, or is not done, has left it".into();
        return Err(Error::NotADatabase { dir: dir.to_owned(), reason });
    }
    match Manifest::read(fs, dir) {
        Ok(Some(manifest)) => return Ok(manifest),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADatabase { dir: dir.to_owned(), reason: "it is a file".into() });
        }
        read => read?,
    };
    let names = match fs.read_dir(dir) {
        Ok(names) => Some(names),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    let listed = names.as_deref().unwrap_or_default();
    let is_begun = listed.iter().any(|name| name == Path::new(CREATING));
    let is_foreign = |name: &PathBuf| !NEUTRAL.iter().any(|neutral| name.as_path() == Path::new(neutral));
    let foreign: Vec<PathBuf> = listed.iter().filter(|name| is_foreign(name)).cloned().collect();
    if !is_begun && !foreign.is_empty() {
        return found_instead(fs, dir, &foreign);
    }
    if !options.create || options.read_only {
        return Err(Error::NoDatabase { dir: dir.to_owned() });
    }
    if names.is_none() { create(fs, dir, options) } else { create_inside(fs, dir, options) }
}

/// There are files but no manifest: another process may have renamed its database into place just now.
fn found_instead(fs: &dyn Fs, dir: &Path, names: &[PathBuf]) -> Result<Manifest> {
    if let Some(manifest) = Manifest::read(fs, dir)? {
        return Ok(manifest);
    }
    let extensions = ["wal", "sst", "base"].map(OsStr::new);
    let is_ours = |name: &&PathBuf| name.extension().is_some_and(|found| extensions.contains(&found));
    if let Some(name) = names.iter().find(is_ours) {
        let what = format!("the manifest is missing, and there are files of a database: {}", name.display());
        return Err(Error::corruption(&dir.join(manifest::NAME), 0, what));
    }
    let usual = Path::new(USUAL_NAME);
    let reason = if names.iter().any(|name| name == usual) {
        format!("it has no {}, but holds {USUAL_NAME}: --db {}", manifest::NAME, shell_word(&dir.join(usual)))
    } else {
        let other = names.first().map(|name| name.display().to_string()).unwrap_or_default();
        format!("it has no {}, but holds {other}", manifest::NAME)
    };
    Err(Error::NotADatabase { dir: dir.to_owned(), reason })
}

/// Makes a new database, or finds the one that another process made meanwhile.
fn create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    remove_abandoned(fs, dir);
    let aside = Aside::create(fs, dir)?;
    let built = build(fs, &aside.dir, options).and_then(|manifest| aside.install(dir).map(|()| manifest));
    match built {
        Ok(manifest) => Ok(manifest),
        Err(error) => {
            aside.discard();
            Manifest::read(fs, dir)?.ok_or(error)
        }
    }
}

/// A directory that is built beside the place where it is wanted. A file in it is locked, so that nobody takes it for abandoned.
pub(crate) struct Aside<'a> {
    fs: &'a dyn Fs,
    pub(crate) dir: PathBuf,
    locked: &'static str,
    _lock: Arc<dyn File>,
}

impl<'a> Aside<'a> {
    /// Begins the directory that will be `wanted`.
    ///
    /// # Errors
    /// I/O; `NoParent` when the directory above `wanted` does not exist.
    pub(super) fn create(fs: &'a dyn Fs, wanted: &Path) -> Result<Self> {
        Self::create_locked(fs, wanted, LOCK)
    }

    /// The same of a new database that its maker uses before it is where it is wanted.
    ///
    /// # Errors
    /// As [`Aside::create`].
    pub(crate) fn create_to_use(
        fs: &'a dyn Fs,
        wanted: &Path,
        options: &Options,
    ) -> Result<(Self, Manifest)> {
        remove_abandoned(fs, wanted);
        let aside = Self::create_locked(fs, wanted, UNFINISHED)?;
        let lock = create_file(fs, &aside.dir.join(LOCK));
        match lock.and_then(|()| build(fs, &aside.dir, options)) {
            Ok(manifest) => Ok((aside, manifest)),
            Err(error) => {
                aside.discard();
                Err(error)
            }
        }
    }

    fn create_locked(fs: &'a dyn Fs, wanted: &Path, locked: &'static str) -> Result<Self> {
        for _ in 0..BEGINNINGS {
            if let Some(aside) = Self::begin(fs, wanted, locked)? {
                return Ok(aside);
            }
        }
        Err(Error::io("create a database in", wanted, io::ErrorKind::ResourceBusy.into()))
    }

    /// `None` when somebody took the directory for abandoned, before it was locked.
    fn begin(fs: &'a dyn Fs, wanted: &Path, locked: &'static str) -> Result<Option<Self>> {
        let mut name = wanted.file_name().unwrap_or_default().to_owned();
        name.push(format!("{ASIDE}{}-{:08x}", std::process::id(), random_u64() >> 32));
        let dir = parent(wanted).join(name);
        match fs.create_dir(&dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoParent { dir: wanted.to_owned() });
            }
            made => made.map_err(|error| Error::io("create a database in", wanted, error))?,
        }
        let path = dir.join(locked);
        match create_locked(fs, &path) {
            Ok(lock) => Ok(lock.map(|lock| Self { fs, dir, locked, _lock: lock })),
            Err(error) => {
                discard(fs, &dir);
                Err(Error::io("create", &path, error))
            }
        }
    }

    /// Puts the directory where it is wanted, if nothing or an empty directory is there.
    ///
    /// # Errors
    /// I/O.
    pub(super) fn install(&self, wanted: &Path) -> Result<()> {
        self.fs.rename(&self.dir, wanted).map_err(|error| Error::io("create", wanted, error))
    }

    /// Puts a database that was used where it is wanted, durably.
    ///
    /// # Errors
    /// I/O: it may be there.
    pub(crate) fn finish(&self, wanted: &Path) -> Result<()> {
        let path = self.dir.join(self.locked);
        self.fs.remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
        let sync = |dir: &Path| self.fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error));
        sync(&self.dir)?;
        self.install(wanted)?;
        sync(parent(wanted))
    }

    /// Gives the directory up. What can't be removed harms nobody.
    pub(crate) fn discard(&self) {
        discard(self.fs, &self.dir);
    }
}

/// A new file that is locked; `None` when another process locked it first, which then removes it before it lets go.
fn create_locked(fs: &dyn Fs, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
    let lock = fs.open(path, OpenMode::CreateNew)?;
    let is_ours = lock.try_lock(LockKind::Exclusive)?;
    match fs.open(path, OpenMode::Read) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        found => Ok(found.ok().filter(|_| is_ours).map(|_| lock)),
    }
}

/// Removes what others began to build beside `wanted` and never will finish. What can't be removed harms nobody.
pub(super) fn remove_abandoned(fs: &dyn Fs, wanted: &Path) {
    let Some(wanted_name) = wanted.file_name() else { return };
    let parent = parent(wanted);
    for name in fs.read_dir(parent).unwrap_or_default() {
        if is_aside(&name, wanted_name) {
            remove_if_abandoned(fs, &parent.join(name));
        }
    }
}

/// Whether `name` is one that [`Aside::create`] gives.
fn is_aside(name: &Path, wanted: &OsStr) -> bool {
    let rest = name.as_os_str().as_bytes().strip_prefix(wanted.as_bytes());
    let rest = rest.and_then(|rest| std::str::from_utf8(rest).ok());
    rest.and_then(|rest| rest.strip_prefix(ASIDE)).is_some_and(makes_unique)
}

/// Whether [`Aside::create`] makes names unique by something like this.
fn makes_unique(rest: &str) -> bool {
    rest.split_once('-').is_some_and(|(pid, random)| {
        !pid.is_empty()
            && pid.bytes().all(|byte| byte.is_ascii_digit())
            && random.len() == 8
            && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

/// Whether it is what a repair builds, or left when it broke off.
fn is_unfinished(fs: &dyn Fs, dir: &Path) -> bool {
    let name = dir.file_name().and_then(OsStr::to_str);
    let is_aside = name.and_then(|name| name.rsplit_once(ASIDE)).is_some_and(|(_, rest)| makes_unique(rest));
    is_aside && fs.open(&dir.join(UNFINISHED), OpenMode::Read).is_ok()
}

fn remove_if_abandoned(fs: &dyn Fs, aside: &Path) {
    let open = |name| fs.open(&aside.join(name), OpenMode::Read);
    let locked = open(UNFINISHED).or_else(|error| if open(NOTES).is_ok() { Err(error) } else { open(LOCK) });
    if locked.is_ok_and(|lock| lock.try_lock(LockKind::Exclusive).unwrap_or(false)) {
        // Under the lock: its maker may be about to take it.
        discard(fs, aside);
    }
}

/// Makes a new database in a directory that is there, or finds the one that another process made meanwhile.
fn create_inside(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    let path = dir.join(CREATING);
    let made = fs.open(&path, OpenMode::OpenOrCreate);
    made.and_then(|_| fs.sync_dir(dir)).map_err(|error| Error::io("create", &path, error))?;
    let lock = match LockFile::open(fs, dir, CREATING) {
        // Another process was done in this moment.
        Err(error) => return Manifest::read(fs, dir)?.ok_or(error),
        Ok(lock) => lock,
    };
    let patience = Patience { timeout: options.lock_timeout, interrupt: options.interrupt.clone() };
    lock.acquire(LockKind::Exclusive, &patience, Instant::now(), || None)?;
    if let Some(manifest) = Manifest::read(fs, dir)? {
        return Ok(manifest);
    }
    let begun = [TURNSTILE, LOCK, MAINTENANCE, MERGING].map(|name| remove_if_present(fs, &dir.join(name)));
    begun.into_iter().collect::<io::Result<()>>().map_err(|error| Error::io("create", dir, error))?;
    create_file(fs, &dir.join(LOCK))?;
    let manifest = build(fs, dir, options)?;
    drop(fs.remove_file(&path));
    Ok(manifest)
}

fn create_file(fs: &dyn Fs, path: &Path) -> Result<()> {
    fs.open(path, OpenMode::CreateNew).map(drop).map_err(|error| Error::io("create", path, error))
}

fn parent(dir: &Path) -> &Path {
    dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes the name of the database's directory durable, and in it that of its manifest.
///
/// # Errors
/// I/O.
pub(super) fn sync_name(place: &Place) -> Result<()> {
    let sync = |dir: &Path| place.fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error));
    // Whoever made the manifest there is perhaps not done.
    let is_created_inside = place.fs.open(&place.path(CREATING), OpenMode::Read).is_ok();
    if is_created_inside {
        sync(&place.dir)?;
    }
    sync(parent(&place.fs.absolute(&place.dir)))
}

/// Makes the files that are locked, but for `LOCK`.
///
/// # Errors
/// I/O.
pub(super) fn create_locks(fs: &dyn Fs, dir: &Path) -> Result<()> {
    [TURNSTILE, MAINTENANCE, MERGING].into_iter().try_for_each(|name| create_file(fs, &dir.join(name)))
}

/// Builds a database in a directory that has a `LOCK` already.
fn build(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    create_locks(fs, dir)?;
    let header = SegmentHeader {
        format: FORMAT,
        life: Life { id: FileId(1), salt: random_u64() },
        capacity: options.pace.first_segment,
        first_lsn: Lsn(1),
        previous: Link::default(),
    };
    segment::create(fs, &dir.join(segment_name(header.life.id)), &header)?;
    let manifest = Manifest::new(options.engine, header.life, random_u64());
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

fn is_disk_full(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
}

impl<M: Memory> WalEngine<M> {
    /// Seals the segment and goes on in a new one with room for `len` bytes of records, larger than the one before it or
    /// as small as the first. So many LSNs are left out: files that stand for the log will use them. `LOCK` is held exclusive.
    ///
    /// # Errors
    /// I/O; when the new segment can't be made, nothing has changed. When the seal can't be written the handle is poisoned.
    pub(super) fn rotate(&self, inner: &mut Inner, len: u64, growth: Growth, left_out: u64) -> Result<()> {
        let segment = &inner.follower.segment;
        if segment.room() < record::SEAL_LEN as u64 {
            let what = "the segment has no room for its end";
            return Err(Error::corruption(segment.path(), segment.position().offset, what));
        }
        let least = segment::HEADER_LEN as u64 + len + record::SEAL_LEN as u64;
        let Pace { first_segment, full_segment, .. } = self.pace;
        let usual = match growth {
            Growth::Larger => (segment.header().capacity * 4).clamp(first_segment, full_segment),
            Growth::Small => first_segment,
        };
        let mut header = SegmentHeader {
            format: FORMAT,
            life: Life { id: segment.life().id.next(), salt: random_u64() },
            capacity: least.max(usual),
            first_lsn: Lsn(segment.position().lsn.next().0 + left_out),
            previous: segment.link(),
        };
        let path = self.place.path(segment_name(header.life.id));
        let fs = &*self.place.fs;
        let file = segment::create(fs, &path, &header).or_else(|error| {
            // A disk that is nearly full may have room for a small one.
            header.capacity = least.max(first_segment);
            if is_disk_full(&error) { segment::create(fs, &path, &header) } else { Err(error) }
        })?;
        let seal = inner.follower.seal_for(header.life, self.nonce);
        self.write(inner, &seal, true)?;
        inner.follower.move_to(SegmentReader::at_start(file, path, header));
        self.published_mut().memory.segment_begins(header.life.id);
        Ok(())
    }
}
