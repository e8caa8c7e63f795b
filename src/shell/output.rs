//! Standard output, in one place: buffered, and answerable for what could not be written.
//!
//! 1. Replies are appended to [`Output::buffer`]; nothing reaches the descriptor before [`Output::flush`], so replies that
//!    wait for a commit can be taken back with [`Output::truncate`].
//! 2. Whoever streams calls [`Output::make_room`] now and then; it flushes once there is enough to be worth a system call.
//! 3. A write that fails is an error of the run: exit code 5, or 141 in silence when the reader of a pipe has left.

use std::io::{self, Write};

/// Bytes that make a write to the descriptor worth while.
const FLUSH_BYTES: usize = 64 << 10;

/// Capacity that the buffer may keep after a flush.
const KEEP_BYTES: usize = 1 << 20;

/// Where results go.
pub(crate) struct Output {
    /// What waits to be written.
    pub(crate) buffer: Vec<u8>,
    sink: Box<dyn Write>,
}

impl Output {
    pub(crate) fn new(sink: Box<dyn Write>) -> Self {
        Self { buffer: Vec::new(), sink }
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
    pub(crate) fn make_room(&mut self) -> io::Result<()> {
        if self.buffer.len() >= FLUSH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what waits. What could not be written is dropped: it would fail again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.flush_first(self.buffer.len())
    }

    /// Writes the first `len` bytes of what waits.
    pub(crate) fn flush_first(&mut self, len: usize) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let written = self.sink.write_all(&self.buffer[..len]).and_then(|()| self.sink.flush());
        self.buffer.drain(..len);
        if self.buffer.is_empty() && self.buffer.capacity() > KEEP_BYTES {
            self.buffer = Vec::new();
        }
        written
    }
}
