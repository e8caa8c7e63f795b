//! [`RealFs`]: the operating system's file system.
//!
//! Four habits hold for every call. No descriptor leaks into a child process (std opens everything `O_CLOEXEC`),
//! because a `flock` lives until the last copy of its descriptor is closed. No final symbolic link is followed
//! (`O_NOFOLLOW`), so a planted link cannot redirect a write. Nothing but a regular file is opened as a file, and a pipe that was
//! planted in its place is not waited for (`O_NONBLOCK`). What is created belongs to its owner alone, whatever the umask
//! would allow others: files 0600, directories 0700.
//!
//! A call that a signal interrupts is made again: by std, by rustix where it is asked to, or, where a part may have been done,
//! by [`read_full_at`](super::read_full_at) and [`write_all_at`](super::write_all_at).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{ClockId, clock_gettime};

use super::lost::Access;
use super::shared::Shared;
use super::{File, Fs, Inode, LockKind, Mapping, Moment, OpenMode};

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true).mode(0o600);
        options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        match mode {
            OpenMode::Read => &mut options,
            OpenMode::Write => options.write(true),
            OpenMode::CreateNew => options.write(true).create_new(true),
            OpenMode::OpenOrCreate => options.write(true).create(true).truncate(false),
        };
        let file = options.open(path).map_err(|error| explain_refusal(path, error))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file"));
        }
        Ok(Arc::new(RealFile {
            file,
            inode: inode(&metadata),
            uses: AtomicU32::new(0),
            last_look: AtomicU64::new(u64::MAX),
            looked_at: OnceLock::new(),
            put_to: OnceLock::new(),
        }))
    }

    fn inode(&self, path: &Path) -> io::Result<Inode> {
        fs::symlink_metadata(path).map(|metadata| inode(&metadata))
    }

    fn absolute(&self, path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        fs::read_dir(path)?.map(|entry| Ok(PathBuf::from(entry?.file_name()))).collect()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let directory_only = OFlags::DIRECTORY.bits().cast_signed();
        fs::OpenOptions::new().read(true).custom_flags(directory_only).open(path)?.sync_all()
    }

    fn boot_id(&self) -> io::Result<u128> {
        boot_id()
    }
}

/// The clock that goes on while the machine sleeps.
#[cfg(target_os = "linux")]
const UPTIME: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const UPTIME: ClockId = ClockId::Monotonic;

/// What the system's clocks say.
pub(super) fn now() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let uptime = clock_gettime(UPTIME);
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    let uptime = Duration::from_secs(part(uptime.tv_sec)) + Duration::from_nanos(part(uptime.tv_nsec));
    Moment { wall, uptime }
}

fn inode(metadata: &fs::Metadata) -> Inode {
    Inode { device: metadata.dev(), number: metadata.ino() }
}

/// Says it in words when a file can't be opened because something else is there.
fn explain_refusal(path: &Path, error: io::Error) -> io::Error {
    let what = match Errno::from_io_error(&error) {
        Some(Errno::LOOP) if path.is_symlink() => "it is a symbolic link, and none is followed here",
        // What a socket answers, and a pipe without a reader.
        Some(Errno::NXIO | Errno::ISDIR) => "it is no regular file",
        _ => return error,
    };
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

/// The kernel's random number of this boot.
#[cfg(target_os = "linux")]
fn boot_id() -> io::Result<u128> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    parse_uuid(&uuid).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "boot_id is not a UUID"))
}

/// Unknown: no such number can be had here without `unsafe`.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "it stands in for the Linux function, which can fail")]
fn boot_id() -> io::Result<u128> {
    Ok(0)
}

/// The number behind a UUID's 32 hexadecimal digits.
#[cfg(any(target_os = "linux", test))]
fn parse_uuid(text: &str) -> Option<u128> {
    let digits: String = text.trim().chars().filter(|&character| character != '-').collect();
    if digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        u128::from_str_radix(&digits, 16).ok()
    } else {
        None
    }
}

/// Mapping a file costs as much as a few reads, and a process that makes one and ends has nothing of it.
const FEW_USES: u32 = 4;

/// What is looked at by way of a mapping has been looked at just before, at this distance at most: the first touch of a page
/// costs much more than a read.
const LOOK_LEN: u64 = 4 << 10;

/// More than this is written, not put by way of a mapping: it would touch page after page for the first time.
const MOST_PUT: usize = 4 << 10;

/// An open file of the operating system.
#[derive(Debug)]
struct RealFile {
    file: fs::File,
    inode: Inode,
    /// How often it was looked at or put to before it was mapped.
    uses: AtomicU32,
    /// Where it was looked at last, in units of [`LOOK_LEN`].
    last_look: AtomicU64,
    /// The file in memory, once that is worth it; `None` where it can't be mapped.
    looked_at: OnceLock<Option<Shared>>,
    /// The same for writing: only what is put to is ever mapped so.
    put_to: OnceLock<Option<Shared>>,
}

impl RealFile {
    /// The mapping in `place`, once that is worth it.
    fn shared<'a>(&self, place: &'a OnceLock<Option<Shared>>, access: Access) -> Option<&'a Shared> {
        match place.get() {
            None if self.uses.fetch_add(1, Ordering::Relaxed) < FEW_USES => None,
            known => known.unwrap_or_else(|| place.get_or_init(|| Shared::map(&self.file, access))).as_ref(),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn look_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let place = offset / LOOK_LEN;
        if self.last_look.load(Ordering::Relaxed) != place {
            self.last_look.store(place, Ordering::Relaxed);
            return self.read_at(buffer, offset);
        }
        match self.shared(&self.looked_at, Access::Read) {
            Some(shared) if shared.look(&self.file, buffer, offset) => Ok(buffer.len()),
            // Of a file that was cut, what is left is what a read finds.
            _ => self.read_at(buffer, offset),
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn put_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        if bytes.len() > MOST_PUT {
            return self.write_at(bytes, offset);
        }
        match self.shared(&self.put_to, Access::Write) {
            Some(shared) if shared.put(&self.file, bytes, offset) => Ok(bytes.len()),
            _ => self.write_at(bytes, offset),
        }
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, len: u64) -> io::Result<()> {
        let allocate = || rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, len);
        Ok(retry_on_intr(allocate)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// std calls `fdatasync` on Linux and `fcntl(F_FULLFSYNC)` on Apple systems, where `fsync` stops at the drive's
    /// cache.
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn inode(&self) -> Inode {
        self.inode
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        let outcome = match kind {
            LockKind::Shared => self.file.try_lock_shared(),
            LockKind::Exclusive => self.file.try_lock(),
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    #[cfg(target_os = "linux")]
    fn drop_cache(&self) -> io::Result<()> {
        Ok(rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    fn map(&self) -> io::Result<Mapping> {
        // SAFETY: bytes that change under a mapping are what makes mapping unsafe. `File::map` is for finished files: tables
        // are written once, to a file that was created for it, by a process that maps them afterwards if at all, and then only
        // ever unlinked, which leaves mapped pages alone: where a number is used again, it is for another file. If somebody
        // else cuts the file all the same, the pages that it loses become zeros under the mapping: who reads asks
        // `Mapping::lost_pages` before it believes them.
        Mapping::of(|| unsafe { memmap2::Mmap::map(&self.file) })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tempfile::TempDir;

    use super::*;
    use crate::storage::fs::{read_full_at, write_all_at};

    const ALL_MODES: [OpenMode; 4] =
        [OpenMode::Read, OpenMode::Write, OpenMode::CreateNew, OpenMode::OpenOrCreate];

    fn scratch() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        (dir, path)
    }

    fn permissions(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open_error(path: &Path, mode: OpenMode) -> io::ErrorKind {
        RealFs.open(path, mode).unwrap_err().kind()
    }

    #[test]
    fn missing_files_are_created_only_by_the_creating_modes() {
        let (_dir, path) = scratch();
        assert_eq!(open_error(&path, OpenMode::Read), io::ErrorKind::NotFound);
        assert_eq!(open_error(&path, OpenMode::Write), io::ErrorKind::NotFound);
        RealFs.open(&path, OpenMode::CreateNew).unwrap();
        assert_eq!(open_error(&path, OpenMode::CreateNew), io::ErrorKind::AlreadyExists);
        let other = path.with_file_name("other");
        RealFs.open(&other, OpenMode::OpenOrCreate).unwrap();
        assert_eq!((permissions(&path), permissions(&other)), (0o600, 0o600));
    }

    #[test]
    fn open_or_create_keeps_what_is_there() {
        let (_dir, path) = scratch();
        fs::write(&path, b"kept").unwrap();
        assert_eq!(RealFs.open(&path, OpenMode::OpenOrCreate).unwrap().size().unwrap(), 4);
    }

    #[test]
    fn allocated_bytes_are_zeros() {
        let (_dir, path) = scratch();
        let file = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        match file.allocate(10_000) {
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
            Ok(()) => assert_eq!(fs::read(&path).unwrap(), vec![0; 10_000]),
        }
    }

    #[test]
    fn reads_and_writes_are_positional() {
        let (_dir, path) = scratch();
        let file = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        write_all_at(&*file, b"value", 3).unwrap();
        file.sync_data().unwrap();
        file.drop_cache().unwrap();
        assert_eq!(file.size().unwrap(), 8);
        let mut buffer = [0xff; 16];
        assert_eq!(read_full_at(&*file, &mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"\0\0\0value");
        assert_eq!(file.read_at(&mut buffer, 8).unwrap(), 0);
    }

    #[test]
    fn a_file_opened_for_reading_refuses_writes() {
        let (_dir, path) = scratch();
        fs::write(&path, b"old").unwrap();
        let file = RealFs.open(&path, OpenMode::Read).unwrap();
        assert!(file.write_at(b"new", 0).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn no_mode_follows_a_symbolic_link() {
        let (_dir, path) = scratch();
        fs::write(&path, b"target").unwrap();
        let link = path.with_file_name("link");
        symlink(&path, &link).unwrap();
        for mode in ALL_MODES {
            assert!(RealFs.open(&link, mode).is_err(), "{mode:?}");
        }
        let dangling = path.with_file_name("dangling");
        symlink(path.with_file_name("nowhere"), &dangling).unwrap();
        assert!(RealFs.open(&dangling, OpenMode::OpenOrCreate).is_err());
        assert!(!path.with_file_name("nowhere").exists());
        let error = RealFs.open(&link, OpenMode::Read).unwrap_err().to_string();
        assert_eq!(error, "it is a symbolic link, and none is followed here");
    }

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_is_waited_for() {
        let (dir, path) = scratch();
        let [pipe, socket] = ["pipe", "socket"].map(|name| path.with_file_name(name));
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR)
            .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for other in [&pipe, &socket, Path::new("/dev/zero"), dir.path()] {
            for mode in [OpenMode::Read, OpenMode::Write, OpenMode::OpenOrCreate] {
                let error = RealFs.open(other, mode).unwrap_err().to_string();
                assert_eq!(error, "it is no regular file", "{} {mode:?}", other.display());
            }
        }
    }

    #[test]
    fn what_is_created_is_private_whatever_the_umask() {
        const NAME: &str = "storage::fs::real::tests::what_is_created_is_private_whatever_the_umask";
        const INSIDE: &str = "KVDB_TEST_UMASK";
        // The umask belongs to the process, so another one plays with it.
        if std::env::var_os(INSIDE).is_none() {
            let mut again = std::process::Command::new(std::env::current_exe().unwrap());
            assert!(again.args(["--exact", NAME]).env(INSIDE, "1").output().unwrap().status.success());
            return;
        }
        rustix::process::umask(rustix::fs::Mode::empty());
        let (dir, path) = scratch();
        RealFs.open(&path, OpenMode::CreateNew).unwrap();
        let other = dir.path().join("dir");
        RealFs.create_dir(&other).unwrap();
        assert_eq!((permissions(&path), permissions(&other)), (0o600, 0o700));
    }

    #[test]
    fn two_opens_are_two_lock_holders_even_in_one_process() {
        let (_dir, path) = scratch();
        let first = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        let second = RealFs.open(&path, OpenMode::Write).unwrap();
        assert!(first.try_lock(LockKind::Shared).unwrap());
        assert!(second.try_lock(LockKind::Shared).unwrap());
        assert!(!first.try_lock(LockKind::Exclusive).unwrap());
        second.unlock().unwrap();
        assert!(first.try_lock(LockKind::Exclusive).unwrap());
        assert!(!second.try_lock(LockKind::Shared).unwrap());
        assert!(first.try_lock(LockKind::Shared).unwrap(), "an exclusive lock becomes a shared one");
        assert!(second.try_lock(LockKind::Shared).unwrap());
    }

    #[test]
    fn a_lock_ends_with_the_last_clone_of_its_file() {
        let (_dir, path) = scratch();
        let first = RealFs.open(&path, OpenMode::CreateNew).unwrap();
        let clone = Arc::clone(&first);
        let second = RealFs.open(&path, OpenMode::Read).unwrap();
        assert!(first.try_lock(LockKind::Exclusive).unwrap());
        drop(first);
        assert!(!second.try_lock(LockKind::Exclusive).unwrap());
        drop(clone);
        assert!(second.try_lock(LockKind::Exclusive).unwrap());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failed_conversion_loses_the_lock_it_started_from() {
        let (_dir, path) = scratch();
        let files = [OpenMode::CreateNew, OpenMode::Read, OpenMode::Read];
        let [first, second, third] = files.map(|mode| RealFs.open(&path, mode).unwrap());
        assert!(first.try_lock(LockKind::Shared).unwrap() && second.try_lock(LockKind::Shared).unwrap());
        assert!(!first.try_lock(LockKind::Exclusive).unwrap());
        second.unlock().unwrap();
        assert!(third.try_lock(LockKind::Exclusive).unwrap(), "nobody holds the lock any more");
    }

    #[test]
    fn directories_are_made_private_listed_and_removed() {
        let (_dir, path) = scratch();
        assert_eq!(RealFs.read_dir(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        RealFs.create_dir(&path).unwrap();
        assert_eq!(permissions(&path), 0o700);
        assert_eq!(RealFs.create_dir(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealFs.open(&path.join("entry"), OpenMode::CreateNew).unwrap();
        RealFs.sync_dir(&path).unwrap();
        assert_eq!(RealFs.read_dir(&path).unwrap(), [PathBuf::from("entry")]);
        assert_eq!(RealFs.remove_dir(&path).unwrap_err().kind(), io::ErrorKind::DirectoryNotEmpty);
        RealFs.remove_file(&path.join("entry")).unwrap();
        RealFs.remove_dir(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn only_directories_are_synced_as_directories() {
        let (_dir, path) = scratch();
        assert_eq!(RealFs.sync_dir(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, b"").unwrap();
        assert_eq!(RealFs.sync_dir(&path).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }

    #[test]
    fn a_rename_replaces_a_file_but_not_a_filled_directory() {
        let (dir, path) = scratch();
        let (other, filled) = (path.with_file_name("other"), path.with_file_name("filled"));
        fs::write(&path, b"new").unwrap();
        fs::write(&other, b"old").unwrap();
        RealFs.rename(&path, &other).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"new");
        assert!(!path.exists());
        let fresh = dir.path().join("fresh");
        RealFs.create_dir(&fresh).unwrap();
        RealFs.create_dir(&filled).unwrap();
        fs::write(filled.join("entry"), b"").unwrap();
        assert!(RealFs.rename(&fresh, &filled).is_err());
        assert!(filled.join("entry").exists());
    }

    #[test]
    fn a_link_is_the_same_file_under_another_name() {
        let (_dir, path) = scratch();
        let other = path.with_file_name("other");
        assert_eq!(RealFs.link(&path, &other).unwrap_err().kind(), io::ErrorKind::NotFound);
        fs::write(&path, b"table").unwrap();
        RealFs.link(&path, &other).unwrap();
        assert_eq!(RealFs.link(&path, &other).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        RealFs.remove_file(&path).unwrap();
        assert_eq!(fs::read(&other).unwrap(), b"table");
    }

    #[test]
    fn a_mapping_outlives_its_file() {
        let (_dir, path) = scratch();
        fs::write(&path, b"table").unwrap();
        let mapping = RealFs.open(&path, OpenMode::Read).unwrap().map().unwrap();
        RealFs.remove_file(&path).unwrap();
        assert_eq!(&*mapping, b"table");
        fs::write(&path, b"").unwrap();
        assert!(RealFs.open(&path, OpenMode::Read).unwrap().map().unwrap().is_empty());
    }

    #[test]
    fn the_boot_id_stays_the_same_while_the_machine_runs() {
        assert_eq!(RealFs.boot_id().unwrap(), RealFs.boot_id().unwrap());
        assert_eq!(RealFs.boot_id().unwrap() != 0, cfg!(target_os = "linux"));
    }

    #[test]
    fn a_uuid_is_32_hexadecimal_digits() {
        assert_eq!(parse_uuid("00000000-0000-0000-0001-00000000000a\n"), Some((1 << 48) + 10));
        assert_eq!(parse_uuid("00000000-0000-0000-0001-0000000000"), None);
        assert_eq!(parse_uuid("+0000000-0000-0000-0001-00000000000a"), None);
        assert_eq!(parse_uuid(""), None);
    }
}
