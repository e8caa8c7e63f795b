//! Every file-system call that kvdb makes, behind the trait [`Fs`]: the seam where tests put a disk that fails,
//! tears and loses power.
//!
//! What is assumed of a real file system:
//!
//! 1. A sync that returned success put the bytes on the device. A failed sync says nothing about them, and a second
//!    try on the same pages proves nothing (Linux marks them clean); see [`File::drop_cache`]. Where notes are kept between
//!    processes (on Linux), a failure is reported to everyone who had the file open, by the next sync of theirs.
//! 2. A file's sync does not make its directory entry durable: [`Fs::sync_dir`] does.
//! 3. `rename` within one directory is atomic: after a crash the name means the old file or the new one.
//! 4. Overwriting bytes inside a file never changes other bytes of the file, beyond the 512-byte sectors touched.
//! 5. `flock` locks belong to the open file description and are released by the kernel when its process dies.

mod anchored;
mod lost;
mod mapping;
mod real;
mod shared;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(test), allow(dead_code, reason = "a fuzzer makes nothing fail"))]
#[allow(clippy::expect_used, clippy::unwrap_used, reason = "it is there for tests")]
pub(crate) mod sim;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use anchored::Anchored;
pub use mapping::Mapping;
pub use real::RealFs;

/// How [`Fs::open`] opens a file. No mode follows a symbolic link at the end of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading.
    Read,
    /// An existing file, for reading and writing.
    Write,
    /// A file that must not exist yet, mode 0600, for reading and writing.
    CreateNew,
    /// A file that is created, mode 0600, when it is missing; for reading and writing.
    OpenOrCreate,
}

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Together with other shared holders.
    Shared,
    /// Alone.
    Exclusive,
}

/// Which file of the machine something is, whatever it is called: no other has the same number as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inode {
    /// The file system's.
    pub device: u64,
    /// The file's in it.
    pub number: u64,
}

/// An open file. All offsets and lengths are in bytes; a clone of the `Arc` shares the open file description.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes at `offset`; may read fewer; 0 means end of file.
    ///
    /// # Errors
    /// The operating system's.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// As [`File::read_at`], for a place that is looked at again and again: what it holds at this moment, whoever wrote it, and
    /// from the second look in a row on without a system call, where the file can be mapped. While some process has the page
    /// mapped, [`File::drop_cache`] does not forget it.
    ///
    /// # Errors
    /// The operating system's.
    fn look_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    /// Writes up to `bytes.len()` bytes at `offset`; may write fewer.
    ///
    /// # Errors
    /// The operating system's, `StorageFull` among them.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// As [`File::write_at`], for a place that is written again and again and looked at by others: without a system call for
    /// little where the file can be mapped. Only whole words of 8 bytes arrive at once: a reader, or whoever comes after a
    /// process that was killed, may find some of the new bytes and some of the old. What is put where somebody has cut the file
    /// meanwhile may be lost, success or not.
    ///
    /// # Errors
    /// As [`File::write_at`].
    fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.write_at(bytes, offset)
    }

    /// Makes an empty file `len` bytes of zeros long, with room on the device for all of them: overwriting them later can't
    /// find the disk full. Unlike zeros that were written, they need not be on the device; the first write to a place
    /// is what costs an update of the file's extents.
    ///
    /// # Errors
    /// `StorageFull`; `Unsupported` where the file system cannot do that; else the operating system's. The file may have
    /// any length then.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes the file's bytes, and its length if that changed, durable (`fdatasync`; `F_FULLFSYNC` on macOS).
    ///
    /// # Errors
    /// After an error the state of the bytes on the device is unknown.
    fn sync_data(&self) -> io::Result<()>;

    /// Which file it is.
    fn inode(&self) -> Inode;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// The operating system's.
    fn size(&self) -> io::Result<u64>;

    /// Takes the lock if that is possible at once; `false` when another open file holds it.
    ///
    /// A lock of the other kind that this file already holds is converted. That is not atomic: when it answers
    /// `false`, the old lock is lost too.
    ///
    /// # Errors
    /// The operating system's, for instance where the file system knows no locks.
    fn try_lock(&self, kind: LockKind) -> io::Result<bool>;

    /// Releases the lock.
    ///
    /// # Errors
    /// The operating system's.
    fn unlock(&self) -> io::Result<()>;

    /// Forgets cached clean pages, so that the next read comes from the device (best effort: pages that some process has mapped
    /// stay).
    ///
    /// # Errors
    /// The operating system's.
    fn drop_cache(&self) -> io::Result<()>;

    /// The file's bytes in memory, as long as it is now, for walks and for picks. Only for files that nobody writes to any
    /// more. Pages that can't be read, because somebody cut the file or the device fails, are zeros: see
    /// [`Mapping::lost_pages`].
    ///
    /// # Errors
    /// The operating system's, for instance where the file system cannot map files.
    fn map(&self) -> io::Result<Mapping>;
}

/// What the system's clocks say at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Since 1970 began, UTC. People and programs set it, also back.
    pub wall: Duration,
    /// Since the machine was started, time asleep included where the system counts it. Nobody sets it.
    pub uptime: Duration,
}

/// A file system. [`RealFs`] in production.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Opens `path`.
    ///
    /// # Errors
    /// The operating system's; `NotFound` and `AlreadyExists` are relied upon.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;

    /// Which file a path leads to. No symbolic link at the end of the path is followed.
    ///
    /// # Errors
    /// The operating system's; `NotFound` is relied upon.
    fn inode(&self, path: &Path) -> io::Result<Inode>;

    /// The path that leads to the same place from whatever directory the process works in later.
    fn absolute(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }

    /// Renames a file or directory within one parent directory, replacing a file of the new name. Replacing a
    /// directory that is not empty fails.
    ///
    /// # Errors
    /// The operating system's.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name, in a directory of the same file system.
    ///
    /// # Errors
    /// The operating system's; `NotFound` and `AlreadyExists` are relied upon. Where files can't be linked, others.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory, mode 0700, whose parent exists.
    ///
    /// # Errors
    /// The operating system's.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// The operating system's.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, without its path and in no order.
    ///
    /// # Errors
    /// The operating system's; `NotFound` is relied upon.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// The operating system's.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What the system's clocks say. The wall clock is read first, so that a process that is stopped in between takes the wall
    /// clock to be late, not early.
    fn now(&self) -> Moment {
        real::now()
    }

    /// A number that changes with every boot of the machine; page-cache contents survive exactly as long as it does.
    /// Zero where the system has none to offer (all but Linux): then nothing may be concluded from two equal numbers.
    ///
    /// # Errors
    /// The operating system's.
    fn boot_id(&self) -> io::Result<u128>;
}

/// Removes a file that may not exist.
///
/// # Errors
/// The file system's.
pub fn remove_if_present(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match fs.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Fills `buffer` from `offset` on, across short reads and interruptions; returns how many bytes there were before
/// the end of the file.
///
/// # Errors
/// The file's.
pub fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    fill(buffer, |rest, done| file.read_at(rest, offset + done))
}

/// The same by [`File::look_at`].
///
/// # Errors
/// The file's.
pub fn look_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    fill(buffer, |rest, done| file.look_at(rest, offset + done))
}

/// Calls `read` with what is not filled yet and how much is, until there is nothing more.
#[inline]
fn fill(buffer: &mut [u8], mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match read(&mut buffer[done..], done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Writes all of `bytes` at `offset`, across short writes and interruptions.
///
/// # Errors
/// The file's; `WriteZero` when it accepts nothing more.
pub fn write_all_at(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    drain(bytes, |rest, done| file.write_at(rest, offset + done))
}

/// The same by [`File::put_at`].
///
/// # Errors
/// The file's; `WriteZero` when it accepts nothing more.
pub fn put_all_at(file: &dyn File, bytes: &[u8], offset: u64) -> io::Result<()> {
    drain(bytes, |rest, done| file.put_at(rest, offset + done))
}

/// Calls `write` with what is not written yet and how much is, until nothing is left.
#[inline]
fn drain(bytes: &[u8], mut write: impl FnMut(&[u8], u64) -> io::Result<usize>) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match write(&bytes[done..], done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
