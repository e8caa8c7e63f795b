//! Files that the user names: scripts, dumps, values, configuration. The only file of the shell that touches the file system.
//!
//! 1. A file is replaced as a whole or not at all: written under another name beside it, synced, renamed.
//! 2. Errors name the file.
//! 3. What is written has the permissions of the file that it replaces; a new file has those that the umask leaves, as with any
//!    other tool.
//! 4. Nothing is read without bounds, and a pipe that nobody writes to is not waited for where nothing could end the wait.

use std::ffi::OsStr;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::calls::{step, transfer};
use super::failure::Failure;
use super::input::Awaited;
use super::interrupt::Interrupt;
use crate::error::Error;

/// What fails here fails because of a file, which the error names as the user did, or because it was interrupted.
type Result<T> = std::result::Result<T, Failure>;

/// What to make of an error with the file `path`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    move |error| match error.downcast() {
        Ok(interrupted) => Failure::Database(interrupted),
        Err(error) => Failure::File(Error::io(action, path, error)),
    }
}

/// Opens a file for reading. A pipe that nobody writes to yet is not waited for here, where nothing could end the wait, but
/// where it is read.
pub(crate) fn open(path: &Path) -> Result<File> {
    let file = open_at_once(path).map_err(failed("open", path))?;
    match file.metadata() {
        Ok(about) if about.is_dir() => Err(failed("read", path)(io::ErrorKind::IsADirectory.into())),
        _ => Ok(file),
    }
}

/// A file that is read from its start to its end, or standard input.
pub(crate) struct Source {
    /// As the user calls it.
    pub(crate) name: String,
    pub(crate) descriptor: OwnedFd,
    /// Its length in bytes, if it has one.
    len: Option<u64>,
}

impl Source {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let len = file.metadata().ok().filter(fs::Metadata::is_file).map(|about| about.len());
        Ok(Self { name: path.display().to_string(), descriptor: file.into(), len })
    }

    /// Standard input.
    pub(crate) fn stdin() -> Result<Self> {
        let name = "stdin".to_owned();
        let descriptor = io::stdin().as_fd().try_clone_to_owned();
        Ok(Self { descriptor: descriptor.map_err(failed("read", name.as_ref()))?, name, len: None })
    }

    /// How much of it is read and how much there is, in bytes, where that is known.
    pub(crate) fn position(&self) -> Option<(u64, u64)> {
        Some((rustix::fs::tell(&self.descriptor).ok()?, self.len?))
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A file that is written to.
pub(crate) struct Written(File);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = transfer(bytes.len())?;
        self.0.write(&bytes[..len])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Opens a file for writing and empties it.
pub(crate) fn overwrite(path: &Path) -> Result<Written> {
    step().and_then(|()| File::create(path)).map(Written).map_err(failed("create", path))
}

/// Whether it can be read again from the start.
pub(crate) fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|about| about.is_file())
}

/// All of a file, or as much of it as shows that it is longer than `limit`.
pub(crate) fn read_up_to(path: &Path, limit: usize, interrupt: &Interrupt) -> Result<Vec<u8>> {
    read_stream_up_to(open(path)?, path, limit, interrupt)
}

/// The same of standard input.
pub(crate) fn read_stdin_up_to(limit: usize, interrupt: &Interrupt) -> Result<Vec<u8>> {
    read_stream_up_to(io::stdin(), Path::new("standard input"), limit, interrupt)
}

fn read_stream_up_to(stream: impl AsFd, name: &Path, limit: usize, interrupt: &Interrupt) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let enough = limit as u64 + 1;
    Awaited::new(stream, interrupt).take(enough).read_to_end(&mut bytes).map_err(failed("read", name))?;
    Ok(bytes)
}

/// Bytes that a file of settings has at most.
const MAX_SETTINGS_LEN: u64 = 1 << 20;

/// The text of a file of settings; `None` when there is no such file, or none that this user could know of.
///
/// # Errors
/// The operating system's; `InvalidData` when it is not UTF-8, or longer than any file of settings.
pub fn read_text_if_any(path: &Path) -> io::Result<Option<String>> {
    let file = match open_at_once(path) {
        Err(error) if is_missing(&error) || is_out_of_sight(path, &error) => return Ok(None),
        opened => opened?,
    };
    let mut text = String::new();
    file.take(MAX_SETTINGS_LEN + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SETTINGS_LEN {
        let what = format!("it has more than {MAX_SETTINGS_LEN} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(Some(text))
}

/// Opens a file for reading, and waits for nobody.
fn open_at_once(path: &Path) -> io::Result<File> {
    let at_once = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    step()?;
    File::options().read(true).custom_flags(at_once).open(path)
}

/// Whether a file can't be opened because its directory can't be entered.
fn is_out_of_sight(path: &Path, error: &io::Error) -> bool {
    let is_denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    is_denied(error) && fs::symlink_metadata(path).is_err_and(|error| is_denied(&error))
}

/// Whether there is no such file, or no directory where it would be.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The user's configuration file, where the platform keeps such files.
#[must_use]
pub fn user_config_file() -> Option<PathBuf> {
    let dirs = directories::ProjectDirs::from("", "", "kvdb")?;
    Some(dirs.config_dir().join("config.toml"))
}

/// Writes a file that is not there yet, and the directories above it, for this user alone.
pub(crate) fn create_private(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), make_private_dir).map_err(failed("create", path))?;
    let created = step().and_then(|()| private().create_new(true).open(path));
    let mut file = created.map(Written).map_err(failed("create", path))?;
    let written = file.write_all(text.as_bytes());
    written.inspect_err(|_| drop(fs::remove_file(path))).map_err(failed("write", path))
}

/// Makes a directory among the temporary ones, for this user alone.
pub(crate) fn make_scratch_dir(name: &str) -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("{name}-{}", std::process::id()));
    fs::DirBuilder::new().mode(0o700).create(&path).map_err(failed("create", &path))?;
    Ok(path)
}

/// Removes such a directory and what is in it. What can't be removed is left to whoever tidies up temporary files.
pub(crate) fn remove_scratch_dir(path: &Path) {
    drop(fs::remove_dir_all(path));
}

/// Whether a program of this name lies in one of the directories of a search path.
pub(crate) fn has_program(search_path: &OsStr, name: &str) -> bool {
    std::env::split_paths(search_path).any(|dir| dir.join(name).is_file())
}

/// Makes a directory and those above it, for this user alone.
pub(crate) fn make_private_dir(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The names in a directory, and whether each is a directory; none when it can't be read.
pub(crate) fn names_in(dir: &Path) -> Vec<(OsString, bool)> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let named = |entry: fs::DirEntry| (entry.file_name(), entry.path().is_dir());
    entries.filter_map(io::Result::ok).map(named).collect()
}

/// What a file holds from `offset` on, nothing when it is not there; `None` when it is shorter.
pub(crate) fn read_tail(path: &Path, offset: u64) -> io::Result<Option<Vec<u8>>> {
    let mut file = match step().and_then(|()| File::open(path)) {
        Err(error) if is_missing(&error) => return Ok((offset == 0).then(Vec::new)),
        opened => opened?,
    };
    if file.metadata()?.len() < offset {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(offset))?;
    let mut tail = Vec::new();
    step().and_then(|()| file.read_to_end(&mut tail))?;
    Ok(Some(tail))
}

/// Appends a line to a file of this user alone, which begins with the line `header`. All of it, or nothing; and what a process left
/// half that was killed meanwhile does not run into it.
pub(crate) fn append_private(path: &Path, header: &str, line: &str) -> io::Result<()> {
    let mut file = Written(locked(path)?);
    let len = file.0.metadata()?.len();
    let before = match len {
        0 => format!("{header}\n"),
        _ if ends_a_line(&file.0, len)? => String::new(),
        _ => "\n".to_owned(),
    };
    let written = file.write_all(format!("{before}{line}\n").as_bytes());
    written.inspect_err(|_| drop(file.0.set_len(len)))
}

/// Whether the last of so many bytes is a newline.
fn ends_a_line(file: &File, len: u64) -> io::Result<bool> {
    let mut last = [0];
    step().and_then(|()| file.read_exact_at(&mut last, len - 1))?;
    Ok(last == *b"\n")
}

/// Replaces a file of this user alone, unless it is not `len` bytes long any more: then others have appended to it.
pub(crate) fn replace_private(path: &Path, len: u64, bytes: &[u8]) -> io::Result<()> {
    let file = locked(path)?;
    if file.metadata()?.len() != len {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    let (temporary, new) = create_beside(path, &mut private())?;
    let written = Written(new).write_all(bytes);
    let renamed = written.and_then(|()| step()).and_then(|()| fs::rename(&temporary, path));
    renamed.inspect_err(|_| drop(fs::remove_file(&temporary)))
}

/// A file of this user alone for appending, which nobody else appends to or replaces meanwhile.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = step().and_then(|()| private().create(true).open(path))?;
        step().and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o600)))?;
        step().and_then(|()| file.lock())?;
        let (ours, named) = (file.metadata()?, fs::metadata(path)?);
        if (ours.dev(), ours.ino()) == (named.dev(), named.ino()) {
            return Ok(file);
        }
    }
}

fn private() -> fs::OpenOptions {
    let mut options = File::options();
    options.read(true).append(true).mode(0o600);
    options
}

/// A file that appears under its name only when it is complete.
///
/// What is named may also be there and no regular file: a pipe, a terminal, `/dev/null`. That is written to as it is, for it
/// must not be replaced. A symbolic link stays, and the file that it leads to is replaced.
pub(crate) struct NewFile {
    /// What the user called it.
    name: PathBuf,
    /// Where that leads.
    path: PathBuf,
    /// The name under which it is written first.
    temporary: Option<PathBuf>,
    file: Written,
    /// What is still to be written.
    waiting: Vec<u8>,
}

/// Bytes of a new file that are written at once.
const PIECE_BYTES: usize = 64 << 10;

impl NewFile {
    /// Begins a file that will be `name`.
    pub(crate) fn create(name: &Path) -> Result<Self> {
        let path = fs::canonicalize(name).unwrap_or_else(|_| name.to_owned());
        let replaced = fs::metadata(&path).ok();
        let is_special = replaced.as_ref().is_some_and(|about| !about.is_file() && !about.is_dir());
        let opened = if is_special {
            step().and_then(|()| File::options().write(true).open(&path)).map(|file| (None, file))
        } else {
            create_beside(&path, File::options().write(true)).map(|(temporary, file)| (Some(temporary), file))
        };
        let (temporary, file) = opened.map_err(failed("create", name))?;
        let new = Self { name: name.to_owned(), path, temporary, file: Written(file), waiting: Vec::new() };
        if let Some(replaced) = replaced.filter(fs::Metadata::is_file) {
            let set = step().and_then(|()| new.file.0.set_permissions(replaced.permissions()));
            set.map_err(failed("create", name))?;
        }
        Ok(new)
    }

    /// Appends to the file, sooner or later: what can't be written is told here or by [`NewFile::install`].
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE_BYTES { self.write_waiting() } else { Ok(()) }
    }

    fn write_waiting(&mut self) -> Result<()> {
        self.file.write_all(&self.waiting).map_err(failed("write", &self.name))?;
        self.waiting.clear();
        Ok(())
    }

    /// Makes the file durable and gives it its name.
    pub(crate) fn install(mut self) -> Result<()> {
        self.write_waiting()?;
        let Some(temporary) = &self.temporary else { return Ok(()) };
        step().and_then(|()| self.file.0.sync_all()).map_err(failed("sync", &self.name))?;
        step().and_then(|()| fs::rename(temporary, &self.path)).map_err(failed("replace", &self.name))?;
        self.temporary = None;
        let parent = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let synced = step().and_then(|()| File::open(parent)).and_then(|dir| dir.sync_all());
        synced.map_err(failed("sync", parent))
    }
}

/// Names that are tried for a file beside another.
const MAX_NAMES: u32 = 100;

/// Makes a file that is to become `path`. Where others may write too, nobody can have put something else under its name.
fn create_beside(path: &Path, options: &mut fs::OpenOptions) -> io::Result<(PathBuf, File)> {
    let mut attempt = 0;
    loop {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}-{attempt}.tmp", std::process::id()));
        let temporary = path.with_file_name(name);
        step()?;
        match options.create_new(true).open(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < MAX_NAMES => attempt += 1,
            made => return made.map(|file| (temporary, file)),
        }
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            drop(fs::remove_file(temporary));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::calls::faulty;
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn a_file_appears_when_it_is_complete_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let mut file = NewFile::create(&path).unwrap();
        file.write(b"new").unwrap();
        assert!(!path.exists());
        drop(file);
        assert_eq!(names(), 0);
        let mut file = NewFile::create(&path).unwrap();
        file.write(b"new").unwrap();
        file.install().unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"new".to_vec(), 1));
    }

    #[test]
    fn little_is_written_at_once_and_a_failure_is_told_by_the_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let write = |failing| {
            faulty::begin(failing);
            let mut file = NewFile::create(&path).unwrap();
            let lines = (0..10_000).try_for_each(|number| file.write(format!("{number:9}\n").as_bytes()));
            let installed = lines.and_then(|()| file.install());
            (installed, faulty::end())
        };
        assert_eq!(write(None).1, 6, "to create, write twice, sync, rename, sync the directory");
        fs::write(&path, "old").unwrap();
        for call in [3, 4] {
            let (failed, _) = write(Some((call, false, faulty::Fault::Enospc)));
            let message = failed.unwrap_err().message();
            assert!(message.contains(&path.display().to_string()), "{message}");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
    }

    #[test]
    fn a_replaced_file_keeps_its_permissions_and_nothing_planted_is_written_to() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let [path, victim] = ["f", "victim"].map(|name| dir.path().join(name));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let planted = dir.path().join(format!("f.{}-0.tmp", std::process::id()));
        std::os::unix::fs::symlink(&victim, planted).unwrap();
        let mut new = NewFile::create(&path).unwrap();
        new.write(b"new").unwrap();
        new.install().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!victim.exists());
    }

    #[test]
    fn settings_that_can_not_be_written_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config/config.toml");
        let begun = |call| faulty::begin(Some((call, false, faulty::Fault::Enospc)));
        for call in 1..=2 {
            begun(call);
            let failure = create_private(&path, "[settings]").unwrap_err();
            assert_eq!((failure.exit(), path.exists()), (Exit::IO, false), "{}", failure.message());
        }
        begun(3);
        create_private(&path, "[settings]").unwrap();
        assert_eq!((faulty::end(), fs::read(&path).unwrap()), (2, b"[settings]".to_vec()));
        assert_eq!(create_private(&path, "").unwrap_err().exit(), Exit::IO);
        assert_eq!(fs::read(&path).unwrap(), b"[settings]");
    }

    #[test]
    fn settings_are_read_within_bounds_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let [huge, pipe] = ["huge", "pipe"].map(|name| dir.path().join(name));
        File::create(&huge).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(read_text_if_any(&huge).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        assert_eq!(read_text_if_any(&pipe).unwrap().as_deref(), Some(""));
    }

    #[test]
    fn a_link_and_a_device_stay_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let [file, link] = ["f", "l"].map(|name| dir.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for path in [&link, Path::new("/dev/null")] {
            let mut new = NewFile::create(path).unwrap();
            new.write(b"new").unwrap();
            new.install().unwrap();
        }
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }

    #[test]
    fn what_is_missing_is_none_and_what_is_no_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_text_if_any(&dir.path().join("absent/config.toml")).unwrap(), None);
        assert!(read_text_if_any(dir.path()).is_err());
        let error = open(dir.path()).unwrap_err().message();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}
