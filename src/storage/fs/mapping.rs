//! A finished file in memory, twice: once for reading on from where it begins, once for picking a little here and there.
//!
//! ```text
//!             walk                                   pick
//!  ┌───────────────────────────┐          ┌───────────────────────────┐     addresses
//!  └──────┬────────────────────┘          └──────┬────────────────────┘
//!         └── a page and those around it         └── this page alone        what the first touch reads
//!                    └──────────────┬───────────────┘
//!  ┌────────────────────────────────┴─────────────────────────────────┐     the page cache: one copy of the bytes
//!  └──────────────────────────────────────────────────────────────────┘
//! ```
//!
//! 1. Both have the same bytes, and what one of them brought into memory is there for the other. They differ in what a touch of
//!    a page waits for that is not in memory: the system reads ahead and around for a walk (32 pages by default, on some machines
//!    megabytes), and what is asked for by a pick.
//! 2. A page that is lost in either is counted ([`Mapping::lost_pages`]). It may be there in the other one still.
//! 3. Asking for pages ([`Mapping::ask_for`]) is advice: nothing but time depends on what becomes of it.

use std::fmt;
use std::io;
use std::ops::{Deref, Range};

use memmap2::{Advice, Mmap};

use super::lost::{self, Access, Watch};

/// A finished file's bytes in memory, for reading on from where one begins. They stay readable when the file is closed or its name
/// removed.
pub struct Mapping(Bytes);

enum Bytes {
    Mapped { walked: Mapped, picked: Mapped },
    Copied(Vec<u8>),
}

impl Mapping {
    /// The bytes that `map` maps the file to, each time it is called.
    ///
    /// # Errors
    /// The operating system's.
    pub(super) fn of(map: impl Fn() -> io::Result<Mmap>) -> io::Result<Self> {
        let (walked, picked) = (Mapped::watched(map()?)?, Mapped::watched(map()?)?);
        // Without that, picks wait for more than they need.
        drop(picked.map.advise(Advice::Random));
        Ok(Self(Bytes::Mapped { walked, picked }))
    }

    /// Bytes that stand for a file's, for who has to read them otherwise than they are in the file.
    pub(crate) const fn copied(bytes: Vec<u8>) -> Self {
        Self(Bytes::Copied(bytes))
    }

    /// The same bytes, for reading a few of them here and there.
    #[inline]
    #[must_use]
    pub fn picked(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped { picked, .. } => &picked.map,
            Bytes::Copied(copied) => copied,
        }
    }

    /// Starts reading the pages that hold these bytes, those that are not in memory and that the file has, and does not wait for
    /// them. It costs a system call.
    pub fn ask_for(&self, bytes: Range<usize>) {
        if let Bytes::Mapped { picked, .. } = &self.0 {
            let end = bytes.end.min(picked.map.len());
            if bytes.start < end {
                // It is advice: who touches the pages gets them in any case.
                drop(picked.map.advise_range(Advice::WillNeed, bytes.start, end - bytes.start));
            }
        }
    }

    /// How many pages could not be read so far: they are zeros now. What was read between two calls that return the same is what
    /// the file holds.
    #[inline]
    #[must_use]
    pub fn lost_pages(&self) -> usize {
        match &self.0 {
            Bytes::Mapped { walked, picked } if lost::are_any() => {
                walked.watch.lost_pages() + picked.watch.lost_pages()
            }
            _ => 0,
        }
    }

    /// Where the page begins that was lost last, in bytes; where both ways of reading lost some, the last one of a walk.
    #[must_use]
    pub fn last_lost(&self) -> usize {
        match &self.0 {
            Bytes::Mapped { walked, picked } => {
                let watch = if walked.watch.lost_pages() > 0 { &walked.watch } else { &picked.watch };
                watch.last_lost()
            }
            Bytes::Copied(_) => 0,
        }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped { walked, .. } => &walked.map,
            Bytes::Copied(copied) => copied,
        }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len()).finish()
    }
}

/// A file's bytes in memory, watched as long as they are there.
struct Mapped {
    // Dropped before the memory is given back.
    watch: Watch,
    map: Mmap,
}

impl Mapped {
    fn watched(map: Mmap) -> io::Result<Self> {
        Ok(Self { watch: Watch::over(map.as_ptr(), map.len(), Access::Read)?, map })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::hint::black_box;

    use super::super::{Fs, OpenMode, RealFs};
    use super::*;

    const LEN: usize = 300_000;

    fn mapped() -> (tempfile::TempDir, File, Mapping) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, bytes()).unwrap();
        let mapping = RealFs.open(&path, OpenMode::Read).unwrap().map().unwrap();
        (dir, File::options().write(true).open(&path).unwrap(), mapping)
    }

    fn bytes() -> Vec<u8> {
        (0..=250).cycle().take(LEN).collect()
    }

    #[test]
    fn walks_and_picks_read_the_same_whatever_was_asked_for() {
        let (_dir, _file, mapped) = mapped();
        for mapping in [mapped, Mapping::copied(bytes())] {
            for range in [0..0, 0..1, 5000..LEN, 7..usize::MAX, LEN..LEN + 1, usize::MAX - 1..usize::MAX] {
                mapping.ask_for(range);
            }
            let backwards = Range { start: 9, end: 3 };
            mapping.ask_for(backwards);
            assert_eq!((&*mapping, mapping.picked()), (&bytes()[..], &bytes()[..]));
            assert_eq!(mapping.lost_pages(), 0);
        }
    }

    #[test]
    fn a_file_without_bytes_is_mapped() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "").unwrap();
        let mapping = RealFs.open(&dir.path().join("f"), OpenMode::Read).unwrap().map().unwrap();
        mapping.ask_for(0..10);
        assert!(mapping.is_empty() && mapping.picked().is_empty());
    }

    #[test]
    fn what_either_loses_is_noticed() {
        let page = rustix::param::page_size();
        for walks in [false, true] {
            let (_dir, file, mapping) = mapped();
            let load = |at: usize| black_box(if walks { &mapping[..] } else { mapping.picked() })[at];
            assert_eq!((load(0), load(LEN - 1)), (0, bytes()[LEN - 1]));
            file.set_len(page as u64).unwrap();
            mapping.ask_for(0..LEN);
            assert_eq!((load(1), mapping.lost_pages()), (1, 0), "asking loses nothing");
            assert_eq!((load(3 * page), mapping.lost_pages()), (0, 1));
            assert_eq!(mapping.last_lost(), 3 * page);
        }
    }

    #[test]
    fn losses_of_both_add_up() {
        let (_dir, file, mapping) = mapped();
        file.set_len(0).unwrap();
        let page = rustix::param::page_size();
        assert_eq!(black_box(mapping.picked())[2 * page], 0);
        assert_eq!((mapping.lost_pages(), mapping.last_lost()), (1, 2 * page));
        assert_eq!(black_box(&mapping[..])[page], 0);
        assert_eq!((mapping.lost_pages(), mapping.last_lost()), (2, page));
    }
}
