//! The files of a database and how they come to be: creation, and the next segment.
//!
//! * **Creation** builds a whole directory aside and renames it into place: a crash leaves no half database, and of two
//!   creators the second finds the name taken and opens what the first made. The new name is made durable by whoever
//!   commits the first batch: its creator may be dead by then, or about to sync.
//! * **Rotation** makes the next segment, zero-filled and durable, before the seal that names it is written. A crash in
//!   between leaves a file that nothing refers to and the next rotation replaces.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use super::{Inner, Memory, WalEngine};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::storage::codec::random_u64;
use crate::storage::fs::{Fs, OpenMode};
use crate::storage::manifest::{self, Manifest};
use crate::storage::wal::reader::SegmentReader;
use crate::storage::wal::record;
use crate::storage::wal::segment::{self, Link, SegmentHeader};
use crate::storage::{Life, Place};
use crate::types::{FileId, Lsn};

pub(crate) const TURNSTILE: &str = "TURN";
pub(crate) const LOCK: &str = "LOCK";
pub(crate) const MAINTENANCE: &str = "MAINT";
pub(crate) const MERGING: &str = "MERGE";
pub(crate) const NOTES: &str = "SHM";

/// The first segment is small, so that the first write to a new database is quick.
const FIRST_CAPACITY: u64 = 64 << 10;
/// Each segment is four times the one before it, up to this.
const FULL_CAPACITY: u64 = 4 << 20;

/// How large the next segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// The log goes on: larger than the last, up to the full size.
    Larger,
    /// The log begins anew behind a base: as small as the first.
    Small,
}

/// The file of segment `id`.
pub(super) fn segment_name(id: FileId) -> String {
    format!("{id}.wal")
}

/// The manifest of the database in `dir`, which is created if it is missing and `options` allow it.
pub(crate) fn find_or_create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    match Manifest::read(fs, dir) {
        Ok(Some(manifest)) => return Ok(manifest),
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotADirectory => {
            return Err(Error::NotADatabase { dir: dir.to_owned(), reason: "it is a file".into() });
        }
        read => read?,
    };
    let names = match fs.read_dir(dir) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("list", dir, error)),
    };
    if !names.is_empty() {
        return found_instead(fs, dir, &names);
    }
    if !options.create || options.read_only {
        return Err(Error::NoDatabase { dir: dir.to_owned() });
    }
    create(fs, dir, options)
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
    let other = names.first().map(|name| name.display().to_string()).unwrap_or_default();
    let reason = format!("it has no {}, but holds {other}", manifest::NAME);
    Err(Error::NotADatabase { dir: dir.to_owned(), reason })
}

/// Makes a new database, or finds the one that another process made meanwhile.
fn create(fs: &dyn Fs, dir: &Path, options: &Options) -> Result<Manifest> {
    let mut aside = dir.as_os_str().to_owned();
    aside.push(format!(".new-{}-{:08x}", std::process::id(), random_u64() >> 32));
    let aside = PathBuf::from(aside);
    let built = build(fs, dir, &aside, options).and_then(|manifest| {
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
pub(super) fn sync_name(place: &Place) -> Result<()> {
    let parent = place.dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    place.fs.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))
}

/// Builds the database that is wanted in one directory in another.
fn build(fs: &dyn Fs, wanted: &Path, dir: &Path, options: &Options) -> Result<Manifest> {
    match fs.create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = "the directory that it would be in does not exist".into();
            return Err(Error::NotADatabase { dir: wanted.to_owned(), reason });
        }
        made => made.map_err(|error| Error::io("create a database in", wanted, error))?,
    }
    for name in [TURNSTILE, LOCK, MAINTENANCE, MERGING] {
        let path = dir.join(name);
        fs.open(&path, OpenMode::CreateNew).map_err(|error| Error::io("create", &path, error))?;
    }
    let header = SegmentHeader {
        life: Life { id: FileId(1), salt: random_u64() },
        capacity: FIRST_CAPACITY,
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
        let least = segment::HEADER_LEN as u64 + len + record::SEAL_LEN as u64;
        let usual = match growth {
            Growth::Larger => (segment.header().capacity * 4).clamp(FIRST_CAPACITY, FULL_CAPACITY),
            Growth::Small => FIRST_CAPACITY,
        };
        let mut header = SegmentHeader {
            life: Life { id: segment.life().id.next(), salt: random_u64() },
            capacity: least.max(usual),
            first_lsn: Lsn(segment.position().lsn.next().0 + left_out),
            previous: segment.link(),
        };
        let path = self.place.path(segment_name(header.life.id));
        let fs = &*self.place.fs;
        let file = segment::create(fs, &path, &header).or_else(|error| {
            // A disk that is nearly full may have room for a small one.
            header.capacity = least.max(FIRST_CAPACITY);
            if is_disk_full(&error) { segment::create(fs, &path, &header) } else { Err(error) }
        })?;
        let seal = inner.follower.seal_for(header.life, self.nonce);
        self.write(inner, &seal, true)?;
        inner.follower.move_to(SegmentReader::at_start(file, path, header));
        self.published_mut().memory.segment_begins(header.life.id);
        Ok(())
    }
}
