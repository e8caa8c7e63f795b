//! The logical lines of a script, from a descriptor or from memory, without reading ahead of what is there.
//!
//! ```text
//! buffer:  | done lines | current line | complete or incomplete lines | room for the next read |
//!                       ^ start        ^ next                         ^ len
//! ```
//!
//! 1. [`Lines::next`] blocks only when it is allowed to; [`Next::Wait`] says that more may come, but has not come yet. So a
//!    caller can do what must be done before waiting: commit, and answer. A long line that keeps coming is waited for too:
//!    whoever must not block can't read it to its end.
//! 2. Memory is that of the longest line plus one read, and a line ends by force at [`MAX_LINE_LEN`].
//! 3. A line is found in one pass over its bytes, however many reads it takes.
//! 4. A raised interrupt ends a wait; it is not an error of the input.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use super::calls::transfer;
use super::interrupt::Interrupt;
use super::lexer::{BOM, LineEnd};
use crate::error::Error;
use crate::types::{MAX_KEY_LEN, MAX_VALUE_LEN};

/// Bytes asked for with one read.
pub(crate) const READ_BYTES: usize = 128 << 10;

/// Reads after which a line that is still incomplete counts as one to wait for.
const MAX_EAGER_READS: usize = 4;

/// Longest logical line: a command with the longest key and value fits, every byte of it escaped as `\xHH`.
pub(crate) const MAX_LINE_LEN: usize = 4 * (MAX_KEY_LEN + MAX_VALUE_LEN) + (64 << 10);

/// What [`Lines::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A line; [`Lines::text`] is its text.
    Line,
    /// The beginning of a line that is longer than [`MAX_LINE_LEN`]; [`Lines::text`] is that much of it.
    TooLong,
    /// No complete line is there now.
    Wait,
    /// There are no more lines.
    End,
}

/// A source of lines.
pub(crate) struct Lines {
    /// `None` when everything is in the buffer.
    source: Option<OwnedFd>,
    buffer: Vec<u8>,
    /// Where the current line begins.
    start: usize,
    /// Where the line after it begins; equal to `start` when there is no current line.
    next: usize,
    /// Up to where the line from `next` on was looked at.
    seen: usize,
    finder: LineEnd,
    /// Number of the physical line at `next`, from 1.
    next_number: u64,
    /// Number of the physical line at `start`.
    number: u64,
    /// The rest of a line that is too long is being left out.
    skipping: bool,
    /// Something was read, or nothing is to be: a byte order mark has been left out.
    begun: bool,
    ended: bool,
}

impl Lines {
    /// The lines of an open file, pipe or terminal.
    pub(crate) fn from_fd(source: OwnedFd) -> Self {
        Self { source: Some(source), ..Self::from_bytes(Vec::new()) }
    }

    /// The lines of a text.
    pub(crate) fn from_bytes(buffer: Vec<u8>) -> Self {
        Self {
            source: None,
            buffer,
            start: 0,
            next: 0,
            seen: 0,
            finder: LineEnd::new(),
            next_number: 1,
            number: 1,
            skipping: false,
            begun: false,
            ended: false,
        }
    }

    /// The current line, its newline included.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[self.start..self.next]
    }

    /// The number of the physical line that the current line begins with.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    /// Moves on to the next line. With `may_block` it waits for one and never returns [`Next::Wait`], unless the interrupt is
    /// raised.
    pub(crate) fn next(&mut self, may_block: bool, interrupt: &Interrupt) -> io::Result<Next> {
        let mut reads = 0;
        loop {
            if let Some(next) = self.buffered() {
                return Ok(next);
            }
            if self.is_exhausted() {
                return Ok(self.last());
            }
            let is_patient = may_block || reads < MAX_EAGER_READS;
            if !is_patient || !self.is_ready(may_block, interrupt)? {
                return Ok(Next::Wait);
            }
            self.read()?;
            reads += 1;
        }
    }

    /// The next line if the buffer holds all of it.
    fn buffered(&mut self) -> Option<Next> {
        let found = self.finder.feed(&self.buffer[self.seen..]);
        let end = found.map_or(self.buffer.len(), |len| self.seen + len);
        self.seen = end;
        if found.is_some() && std::mem::take(&mut self.skipping) {
            self.take(end);
            return self.buffered();
        }
        if self.skipping {
            self.take(end);
            return None;
        }
        if found.is_some() {
            return Some(self.take(end));
        }
        if end - self.next > MAX_LINE_LEN {
            self.skipping = true;
            self.take(end);
            return Some(Next::TooLong);
        }
        None
    }

    /// Makes what lies before `end` the current line.
    fn take(&mut self, end: usize) -> Next {
        self.start = self.next;
        self.next = end;
        self.number = self.next_number;
        let pieces = self.buffer[self.start..end].split(|&byte| byte == b'\n').count();
        self.next_number += pieces as u64 - 1;
        Next::Line
    }

    const fn is_exhausted(&self) -> bool {
        self.source.is_none() || self.ended
    }

    /// What is left behind the last newline.
    fn last(&mut self) -> Next {
        let end = self.buffer.len();
        if end == self.next || self.skipping { Next::End } else { self.take(end) }
    }

    /// Whether a read would return at once.
    fn is_ready(&self, may_block: bool, interrupt: &Interrupt) -> io::Result<bool> {
        self.source.as_ref().map_or(Ok(false), |source| is_ready(source.as_fd(), may_block, interrupt))
    }

    /// Reads what is there into the buffer, from which the lines that are done are removed first.
    fn read(&mut self) -> io::Result<()> {
        let Some(source) = &self.source else { return Ok(()) };
        self.buffer.drain(..self.next);
        self.seen -= self.next;
        (self.start, self.next) = (0, 0);
        self.number = self.next_number;
        self.buffer.reserve(READ_BYTES);
        let is_first = !self.begun;
        let read = transfer(READ_BYTES)
            .and_then(|_| Ok(rustix::io::read(source, rustix::buffer::spare_capacity(&mut self.buffer))?));
        match read {
            Err(error) if is_passing(&error) => {}
            result => self.ended = result? == 0,
        }
        self.begun = self.ended || !self.buffer.is_empty();
        if is_first && self.buffer.starts_with(&BOM) {
            self.buffer.drain(..BOM.len());
        }
        Ok(())
    }
}

/// A descriptor that is read to its end; a raised interrupt ends a wait for more, with [`Error::Interrupted`].
pub(crate) struct Awaited<'a, F> {
    source: F,
    interrupt: &'a Interrupt,
}

impl<'a, F: AsFd> Awaited<'a, F> {
    pub(crate) const fn new(source: F, interrupt: &'a Interrupt) -> Self {
        Self { source, interrupt }
    }
}

impl<F: AsFd> io::Read for Awaited<'_, F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !is_ready(self.source.as_fd(), true, self.interrupt)? {
                return Err(io::Error::other(Error::Interrupted));
            }
            let read = transfer(buffer.len())
                .and_then(|len| Ok(rustix::io::read(&self.source, &mut buffer[..len])?));
            match read {
                Err(error) if is_passing(&error) => {}
                result => return result,
            }
        }
    }
}

/// Whether a read is to be made again.
fn is_passing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INTR | Errno::AGAIN))
}

/// Whether a read would return at once. With `may_block` it waits until one would, or the interrupt is raised.
fn is_ready(source: BorrowedFd<'_>, may_block: bool, interrupt: &Interrupt) -> io::Result<bool> {
    let wake = if may_block { Some(interrupt.wake()?) } else { None };
    loop {
        if interrupt.is_raised() {
            return Ok(false);
        }
        match poll(source, wake) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(false) if may_block => {}
            ready => return ready,
        }
    }
}

/// Whether `source` can be read: now, or with `wake` once one of the two can be read.
fn poll(source: BorrowedFd<'_>, wake: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
    let watch = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
    let mut watched = [watch(source), watch(wake.unwrap_or(source))];
    rustix::event::poll(&mut watched, if wake.is_some() { None } else { Some(&NOW) })?;
    Ok(!watched[0].revents().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn interrupt() -> Interrupt {
        Interrupt::for_prompt().unwrap()
    }

    fn step(lines: &mut Lines, may_block: bool) -> (Next, u64, String) {
        let next = lines.next(may_block, &interrupt()).unwrap();
        let text = if next == Next::Line {
            String::from_utf8_lossy(lines.text()).into_owned()
        } else {
            String::new()
        };
        (next, lines.number(), text)
    }

    #[test]
    fn lines_are_numbered_by_where_they_begin() {
        let mut lines = Lines::from_bytes(b"set a \"x\ny\"\nget a\n\nget b".to_vec());
        assert_eq!(step(&mut lines, true), (Next::Line, 1, "set a \"x\ny\"\n".into()));
        assert_eq!(step(&mut lines, true), (Next::Line, 3, "get a\n".into()));
        assert_eq!(step(&mut lines, true), (Next::Line, 4, "\n".into()));
        assert_eq!(step(&mut lines, true), (Next::Line, 5, "get b".into()));
        assert_eq!(step(&mut lines, true).0, Next::End);
        assert_eq!(step(&mut lines, true).0, Next::End);
    }

    #[test]
    fn what_has_not_come_yet_is_not_waited_for() {
        let (reader, mut writer) = io::pipe().unwrap();
        let mut lines = Lines::from_fd(reader.into());
        assert_eq!(step(&mut lines, false).0, Next::Wait);
        writer.write_all(b"\xef\xbb\xbfget a\nge").unwrap();
        assert_eq!(step(&mut lines, false), (Next::Line, 1, "get a\n".into()));
        assert_eq!(step(&mut lines, false).0, Next::Wait);
        writer.write_all(b"t b\n").unwrap();
        assert_eq!(step(&mut lines, true), (Next::Line, 2, "get b\n".into()));
        drop(writer);
        assert_eq!(step(&mut lines, false).0, Next::End);
    }

    #[test]
    fn a_line_that_keeps_coming_does_not_hold_up_who_must_not_wait() {
        let (reader, mut writer) = io::pipe().unwrap();
        let endless = std::thread::spawn(move || while writer.write_all(&vec![b'v'; 1 << 16]).is_ok() {});
        let mut lines = Lines::from_fd(reader.into());
        for _ in 0..20 {
            assert_eq!(step(&mut lines, false).0, Next::Wait);
        }
        drop(lines);
        endless.join().unwrap();
    }

    #[test]
    fn memory_does_not_grow_with_the_script() {
        let (reader, mut writer) = io::pipe().unwrap();
        let feeder = std::thread::spawn(move || {
            (0..20_000).try_for_each(|_| writer.write_all(&[&[b'#'; 99][..], b"\n"].concat()))
        });
        let mut lines = Lines::from_fd(reader.into());
        let (mut count, interrupt) = (0, interrupt());
        while lines.next(true, &interrupt).unwrap() == Next::Line {
            count += 1;
        }
        feeder.join().unwrap().unwrap();
        assert_eq!(count, 20_000);
        assert!(lines.buffer.capacity() <= 4 * READ_BYTES, "{}", lines.buffer.capacity());
    }
}
