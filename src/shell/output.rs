//! Where results go, in one place: buffered, and answerable for what could not be written.
//!
//! That is standard output, a file that `.output` or `.once` named, or a [pager](super::pager).
//!
//! 1. Replies are appended to [`Output::buffer`]; nothing reaches the descriptor before [`Output::flush`], so replies that
//!    wait for a commit can be taken back with [`Output::truncate`].
//! 2. Whoever streams calls [`Output::make_room`] now and then; it flushes once there is enough to be worth a system call.
//! 3. A write to standard output that fails is an error of the run: exit code 5, or 141 in silence when the reader of a pipe has
//!    left. A write to a file that fails is an error that names it, and what comes behind it goes to standard output again.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::files;
use super::pager::Pager;

/// Bytes that make a write to the descriptor worth while.
const FLUSH_BYTES: usize = 64 << 10;

/// Capacity that the buffer may keep after a flush.
const KEEP_BYTES: usize = 1 << 20;

/// Where results go.
pub(crate) struct Output {
    /// What waits to be written.
    pub(crate) buffer: Vec<u8>,
    /// Standard output.
    sink: Box<dyn Write>,
    redirected: Option<Redirected>,
    /// What takes the results of the command that runs, if they are too tall for the screen.
    pager: Option<Pager>,
}

/// A file that results go to.
struct Redirected {
    path: PathBuf,
    file: Box<dyn Write>,
    /// Only those of the next command.
    once: bool,
}

impl Output {
    pub(crate) fn new(sink: Box<dyn Write>) -> Self {
        Self { buffer: Vec::new(), sink, redirected: None, pager: None }
    }

    /// Sends what comes from here on to a file; with `once`, the results of one command.
    pub(crate) fn redirect(
        &mut self,
        path: PathBuf,
        file: Box<dyn Write>,
        once: bool,
    ) -> Result<(), Failure> {
        self.restore()?;
        self.redirected = Some(Redirected { path, file, once });
        Ok(())
    }

    /// Sends what comes from here on to standard output.
    pub(crate) fn restore(&mut self) -> Result<(), Failure> {
        let flushed = self.flush();
        self.redirected = None;
        flushed
    }

    /// Whether only the next command's results go to a file.
    pub(crate) fn is_for_one_command(&self) -> bool {
        self.redirected.as_ref().is_some_and(|redirected| redirected.once)
    }

    /// The file that results go to, if they do.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.redirected.as_ref().map(|redirected| &*redirected.path)
    }

    /// Shows what comes from here on with a pager if it is too tall for the screen.
    pub(crate) fn page(&mut self, pager: Pager) {
        self.pager = Some(pager);
    }

    /// Ends that, when the user has seen everything; returns whether the pager was needed.
    pub(crate) fn end_paging(&mut self) -> Result<bool, Failure> {
        let Some(pager) = self.pager.take() else { return Ok(false) };
        match pager.end(&self.buffer) {
            Ok(true) => self.buffer.clear(),
            Ok(false) => return self.flush().map(|()| false),
            Err(failure) => {
                self.buffer.clear();
                return Err(failure);
            }
        }
        Ok(true)
    }

    /// Bytes that wait to be written.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Forgets what was appended behind `len`.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.buffer.truncate(len);
    }

    /// Writes what waits if it is much.
    pub(crate) fn make_room(&mut self) -> Result<(), Failure> {
        if self.buffer.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what waits. What could not be written is dropped: it would fail again.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.flush_first(self.buffer.len())
    }

    /// Writes the first `len` bytes of what waits.
    pub(crate) fn flush_first(&mut self, len: usize) -> Result<(), Failure> {
        if len == 0 {
            return Ok(());
        }
        let written = match &mut self.pager {
            Some(pager) => match pager.write(&self.buffer[..len]) {
                Ok(false) => return Ok(()),
                taken => taken.map(drop),
            },
            None => self.write(len),
        };
        self.buffer.drain(..len);
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        written
    }

    fn write(&mut self, len: usize) -> Result<(), Failure> {
        let bytes = &self.buffer[..len];
        let Some(Redirected { path, file, .. }) = &mut self.redirected else {
            return self.sink.write_all(bytes).and_then(|()| self.sink.flush()).map_err(Failure::Output);
        };
        let written = file.write_all(bytes).map_err(files::failed("write", path));
        if written.is_err() {
            self.redirected = None;
        }
        written
    }
}
