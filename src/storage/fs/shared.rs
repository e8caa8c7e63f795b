//! Places of a file that several processes look at and write to again and again, without a system call: the file is mapped, and
//! a look or a note is a copy of words.
//!
//! 1. Mapped memory and the file are one, as the page cache is: whoever reads or writes the file otherwise sees the same
//!    (Linux and macOS).
//! 2. Nothing here is atomic beyond a word of 8 bytes. Who copies while another one writes can get some of both, and so can
//!    everybody once a writer was killed in between: what is put here needs a checksum that its readers look at.
//! 3. What is at no multiple of 8, or behind the end of the file, is not touched here: the caller makes a system call instead.
//!    A file that has grown is asked for its length again, one that was cut is not: what was cut off reads as zeros, and what is
//!    put there may be lost.
//! 4. Pages that are gone or can't be had never end the process: see [`super::lost`]. Once that was seen, nothing of the file is
//!    touched here any more.

use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use memmap2::{MmapOptions, MmapRaw};

use super::lost::{Access, Watch};

/// The beginning of a file, or all of it, in memory.
#[derive(Debug)]
pub(super) struct Shared {
    // Dropped before the memory is given back.
    watch: Watch,
    map: MmapRaw,
    /// How long the file was when it was last asked.
    len: AtomicUsize,
}

impl Shared {
    /// Maps a file as long as it is now, and a page at least; `None` where that can't be done.
    pub(super) fn map(file: &File, access: Access) -> Option<Self> {
        let len = len_of(file)?;
        let mut options = MmapOptions::new();
        options.len(len.max(rustix::param::page_size()));
        let map = match access {
            Access::Read => options.map_raw_read_only(file),
            Access::Write => options.map_raw(file),
        };
        let map = map.ok()?;
        let watch = Watch::over(map.as_ptr(), map.len(), access).ok()?;
        Some(Self { watch, map, len: AtomicUsize::new(len) })
    }

    /// Copies what the file holds at `offset` at this moment; `false` when `buffer` has to be read otherwise.
    #[inline]
    pub(super) fn look(&self, file: &File, buffer: &mut [u8], offset: u64) -> bool {
        let Some(from) = self.words(file, offset, buffer.len()) else { return false };
        for (index, word) in buffer.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            // SAFETY: the words lie in the mapping, which lives as long as the borrow, and are aligned: `words` saw to it.
            // Other processes write there at any time, so no reference is made, and every word is read exactly here. A page
            // that can't be read becomes zeros, because the mapping is watched.
            *word = unsafe { from.add(index).read_volatile() }.to_ne_bytes();
        }
        // What is read from now on is at least as new.
        fence(Ordering::Acquire);
        self.watch.lost_pages() == 0
    }

    /// Copies `bytes` to `offset`; `false` when they have to be written otherwise. The file was mapped for [`Access::Write`].
    #[inline]
    pub(super) fn put(&self, file: &File, bytes: &[u8], offset: u64) -> bool {
        let Some(to) = self.words(file, offset, bytes.len()) else { return false };
        // What was written before is there for whoever sees this.
        fence(Ordering::Release);
        for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
            // SAFETY: as in `look`; the mapping is one for writing, and so is what replaces a page that can't be had.
            unsafe { to.add(index).write_volatile(u64::from_ne_bytes(*word)) };
        }
        // A page that was lost has been counted before it took anything.
        fence(Ordering::SeqCst);
        self.watch.lost_pages() == 0
    }

    /// The words of `len` bytes at `offset`, if they are whole ones that the file has.
    #[inline]
    fn words(&self, file: &File, offset: u64, len: usize) -> Option<*mut u64> {
        let start = usize::try_from(offset).ok()?;
        let end = start.checked_add(len)?;
        let is_whole = start.is_multiple_of(8) && len.is_multiple_of(8);
        #[expect(
            clippy::cast_ptr_alignment,
            reason = "a mapping begins at a page, and `start` is a multiple of 8"
        )]
        let words = self.map.as_mut_ptr().wrapping_add(start).cast::<u64>();
        (is_whole && end <= self.map.len() && self.reaches(file, end)).then_some(words)
    }

    /// Whether the file has `end` bytes.
    #[inline]
    fn reaches(&self, file: &File, end: usize) -> bool {
        end <= self.len.load(Ordering::Relaxed) || self.has_grown(file, end)
    }

    #[cold]
    fn has_grown(&self, file: &File, end: usize) -> bool {
        let len = len_of(file).unwrap_or(0);
        self.len.store(len, Ordering::Relaxed);
        end <= len
    }
}

fn len_of(file: &File) -> Option<usize> {
    usize::try_from(file.metadata().ok()?.len()).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::Arc;

    use tempfile::TempDir;

    use crate::storage::fs::{File, Fs, OpenMode, RealFs, read_full_at, write_all_at};

    /// More looks, or puts, than are made before a file is mapped.
    const MANY: usize = 8;

    fn scratch(content: &[u8]) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    fn open(path: &Path, mode: OpenMode) -> Arc<dyn File> {
        RealFs.open(path, mode).unwrap()
    }

    fn cut(path: &Path, len: u64) {
        fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
    }

    /// What two looks see: the second one is by way of the mapping, if there is one.
    fn look(file: &dyn File, offset: u64) -> Vec<u8> {
        let looks = [(); 2].map(|()| {
            let mut seen = [0xff; 16];
            let count = file.look_at(&mut seen, offset).unwrap();
            seen[..count].to_vec()
        });
        assert_eq!(looks[0], looks[1]);
        looks[0].clone()
    }

    fn read(file: &dyn File, offset: u64) -> Vec<u8> {
        let mut seen = [0xff; 16];
        let count = read_full_at(file, &mut seen, offset).unwrap();
        seen[..count].to_vec()
    }

    #[test]
    fn a_look_sees_what_another_descriptor_wrote_since() {
        let (_dir, path) = scratch(&[0; 8192]);
        let (file, other) = (open(&path, OpenMode::Read), open(&path, OpenMode::Write));
        for round in 1..=3 {
            // In one page, across two, at no multiple of 8, at the end, behind the end of the mapping.
            for offset in [0, 4088, 4091, 8176, 8192 + 32 * (round - 1), 16] {
                let bytes = [u8::try_from(round).unwrap(); 16];
                write_all_at(&*other, &bytes, offset).unwrap();
                assert_eq!(look(&*file, offset), bytes, "at {offset}");
            }
        }
        assert_eq!(look(&*file, 1 << 20), b"");
        fs::remove_file(&path).unwrap();
        write_all_at(&*other, &[9; 16], 0).unwrap();
        assert_eq!(look(&*file, 0), [9; 16], "also when the name is gone");
    }

    #[test]
    fn an_empty_file_can_be_looked_at() {
        let (_dir, path) = scratch(b"");
        let file = open(&path, OpenMode::Write);
        assert_eq!(file.look_at(&mut [0; 8], 0).unwrap(), 0);
        write_all_at(&*file, b"12345678", 0).unwrap();
        assert_eq!(file.look_at(&mut [0; 8], 0).unwrap(), 8);
    }

    #[test]
    fn a_file_that_was_cut_is_looked_at_as_it_is_now() {
        let (_dir, path) = scratch(&[7; 8192]);
        let file = open(&path, OpenMode::Read);
        let look = || file.look_at(&mut [0; 8], 4096).unwrap();
        (0..MANY).for_each(|_| assert_eq!(look(), 8));
        cut(&path, 100);
        assert_eq!((look(), look()), (0, 0));
    }

    #[test]
    fn what_is_put_is_there_for_everybody_at_once() {
        let (_dir, path) = scratch(&[0; 8192]);
        let (file, other) = (open(&path, OpenMode::Write), open(&path, OpenMode::Read));
        for round in 1..=u8::try_from(MANY).unwrap() {
            // In one page, across two, at no multiple of 8, at the end.
            for (index, offset) in [0, 4088, 5003, 8176].into_iter().enumerate() {
                let bytes = [round + 16 * u8::try_from(index).unwrap(); 16];
                assert_eq!(file.put_at(&bytes, offset).unwrap(), 16);
                assert_eq!((read(&*file, offset), look(&*file, offset)), (bytes.to_vec(), bytes.to_vec()));
                assert_eq!((read(&*other, offset), look(&*other, offset)), (bytes.to_vec(), bytes.to_vec()));
                assert_eq!(&fs::read(&path).unwrap()[offset.try_into().unwrap()..][..16], bytes);
            }
        }
        let much = [7; 8000];
        assert_eq!(file.put_at(&much, 96).unwrap(), much.len());
        assert_eq!((look(&*file, 96), look(&*other, 8080)), (vec![7; 16], vec![7; 16]));
        assert_eq!(fs::read(&path).unwrap()[96..][..8000], much);
        assert_eq!(fs::metadata(&path).unwrap().len(), 8192);
    }

    #[test]
    fn what_is_put_behind_the_end_makes_the_file_longer() {
        let (_dir, path) = scratch(b"");
        let file = open(&path, OpenMode::Write);
        for index in 0..1_000 {
            let bytes = [u8::try_from(index % 251).unwrap() + 1; 16];
            file.put_at(&bytes, index * 16).unwrap();
            assert_eq!(look(&*file, index * 16), bytes, "{index}");
            assert_eq!(fs::metadata(&path).unwrap().len(), (index + 1) * 16);
        }
    }

    #[test]
    fn what_is_put_where_the_file_was_cut_off_is_written() {
        let (_dir, path) = scratch(&[7; 8192]);
        let file = open(&path, OpenMode::Write);
        (0..MANY).for_each(|_| assert_eq!(file.put_at(&[1; 16], 4096).unwrap(), 16));
        cut(&path, 0);
        for round in 2..4 {
            assert_eq!(file.put_at(&[round; 16], 4096).unwrap(), 16);
            assert_eq!((read(&*file, 4096), look(&*file, 4096)), (vec![round; 16], vec![round; 16]));
            assert_eq!(fs::metadata(&path).unwrap().len(), 4112);
        }
    }

    #[test]
    fn what_is_put_is_durable_like_what_is_written() {
        let (_dir, path) = scratch(&[0; 64]);
        let file = open(&path, OpenMode::Write);
        (0..MANY).for_each(|_| assert_eq!(file.put_at(&[3; 16], 16).unwrap(), 16));
        file.sync_data().unwrap();
        drop(file);
        let again = open(&path, OpenMode::Read);
        again.drop_cache().unwrap();
        assert_eq!(read(&*again, 16), [3; 16]);
    }

    #[test]
    fn nothing_is_put_into_a_file_opened_for_reading() {
        let (_dir, path) = scratch(&[7; 64]);
        let file = open(&path, OpenMode::Read);
        (0..MANY).for_each(|_| assert!(file.put_at(&[1; 16], 0).is_err()));
        assert_eq!(fs::read(&path).unwrap(), [7; 64]);
    }
}
