//! The header of a log segment, and the making of a segment file.
//!
//! ```text
//!  0                8        12       16               24               32               40
//!  ┌────────────────┬────────┬────────┬────────────────┬────────────────┬────────────────┐
//!  │ "kvdbwal\n"    │ format │ crc    │ segment id     │ salt           │ capacity       │
//!  ├────────────────┼────────┴────────┼────────────────┼────────┬───────┼────────────────┘
//!  │ first LSN      │ previous id     │ previous end   │ link   │   0   │  then records from 72 on
//!  └────────────────┴─────────────────┴────────────────┴────────┴───────┘
//!  40               48                56               64       68      72
//!   crc       CRC-32 over the header with these four bytes left out
//!   capacity  the file's length in bytes; a shorter file has been cut
//!   previous  the segment before this one, the offset of its seal, and the checksum of the record before that seal
//! ```
//!
//! The file has its full length, and room on the device for it, from the beginning: a full disk can't surprise a commit. What is
//! overwritten in place needs no update of the file's extents when it is synced, if zeros were written there before. That
//! is done ahead of small writes, [`PREPARED`] bytes at a time ([`with_zeros_ahead`]); large ones are better off without,
//! because it would double what they write.
//!
//! A base (`nnnnnn.base`) has the same header and stands for all segments up to its number; its `first LSN` is the one
//! behind it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::codec::{crc32, flipped_bit, put, u32_at, u64_at};
use crate::storage::fs::{File, Fs, OpenMode, read_full_at, remove_if_present, write_all_at};
use crate::storage::{FORMAT, Life};
use crate::types::{FileId, Lsn};

const MAGIC: &[u8; 8] = b"kvdbwal\n";
const VERSION: usize = MAGIC.len();
const CRC: usize = VERSION + 4;
const ID: usize = CRC + 4;
const SALT: usize = ID + 8;
const CAPACITY: usize = SALT + 8;
const FIRST_LSN: usize = CAPACITY + 8;
const PREVIOUS_ID: usize = FIRST_LSN + 8;
const PREVIOUS_END: usize = PREVIOUS_ID + 8;
const PREVIOUS_LINK: usize = PREVIOUS_END + 8;

/// Bytes of the header; the first record follows.
pub(crate) const HEADER_LEN: usize = PREVIOUS_LINK + 8;

/// Bytes of a segment that are filled with zeros at once.
const PREPARED: usize = 32 << 10;

/// Bytes written at once when a whole segment has to be filled with zeros.
const FILL_CHUNK: usize = 256 << 10;

/// Where a segment was sealed and what its last record was: its successor must name exactly this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub id: FileId,
    pub end: u64,
    pub crc: u32,
}

/// No segment begins with a larger LSN: what follows in it, and in those behind it, has to find room in a manifest.
const MAX_FIRST_LSN: u64 = 1 << 61;

/// A segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The format of who made the file.
    pub format: u32,
    pub life: Life,
    pub capacity: u64,
    pub first_lsn: Lsn,
    pub previous: Link,
}

impl SegmentHeader {
    /// The header's bytes.
    pub(crate) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, VERSION, &self.format.to_le_bytes());
        put(&mut bytes, ID, &self.life.id.0.to_le_bytes());
        put(&mut bytes, SALT, &self.life.salt.to_le_bytes());
        put(&mut bytes, CAPACITY, &self.capacity.to_le_bytes());
        put(&mut bytes, FIRST_LSN, &self.first_lsn.0.to_le_bytes());
        put(&mut bytes, PREVIOUS_ID, &self.previous.id.0.to_le_bytes());
        put(&mut bytes, PREVIOUS_END, &self.previous.end.to_le_bytes());
        put(&mut bytes, PREVIOUS_LINK, &self.previous.crc.to_le_bytes());
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    /// What the first record links to: the header's checksum as if the capacity were 0, because a base learns its length last.
    pub(crate) fn link(&self) -> u32 {
        checksum(&Self { capacity: 0, ..*self }.encode())
    }

    /// Refuses a header that a reader would refuse.
    ///
    /// # Errors
    /// Corruption: no database comes to such an LSN.
    pub(crate) fn check(&self, path: &Path) -> Result<()> {
        if self.first_lsn.0 <= MAX_FIRST_LSN {
            return Ok(());
        }
        Err(Error::corruption(path, 0, "the segment begins with an LSN that no database comes to"))
    }

    fn decode(bytes: &[u8; HEADER_LEN]) -> Option<Self> {
        if u32_at(bytes, CRC)? != checksum(bytes) {
            return None;
        }
        Some(Self {
            format: u32_at(bytes, VERSION)?,
            life: Life { id: FileId(u64_at(bytes, ID)?), salt: u64_at(bytes, SALT)? },
            capacity: u64_at(bytes, CAPACITY)?,
            first_lsn: Lsn(u64_at(bytes, FIRST_LSN)?),
            previous: Link {
                id: FileId(u64_at(bytes, PREVIOUS_ID)?),
                end: u64_at(bytes, PREVIOUS_END)?,
                crc: u32_at(bytes, PREVIOUS_LINK)?,
            },
        })
    }
}

fn checksum(bytes: &[u8; HEADER_LEN]) -> u32 {
    crc32(&[&bytes[..CRC], &bytes[ID..]])
}

/// Gives changed bytes of a header the checksum that a writer would have given them.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(bytes: &mut [u8]) -> Option<SegmentHeader> {
    let header = bytes.first_chunk_mut()?;
    let crc = checksum(header);
    put(header, CRC, &crc.to_le_bytes());
    SegmentHeader::decode(header)
}

/// Reads and verifies the header of an open segment or base.
///
/// # Errors
/// `Format` for a newer one; corruption when it does not verify or the file was cut; I/O.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<SegmentHeader> {
    let mut bytes = [0; HEADER_LEN];
    let len = read_full_at(file, &mut bytes, 0).map_err(|error| Error::io("read", path, error))?;
    if len < HEADER_LEN || !bytes.starts_with(MAGIC) {
        return Err(Error::corruption(path, 0, "this is not a log segment: its header is damaged"));
    }
    let Some(header) = SegmentHeader::decode(&bytes) else {
        return Err(Error::corruption(path, 0, "the segment's header does not verify"));
    };
    match u32_at(&bytes, VERSION) {
        Some(found) if found > FORMAT => {
            return Err(Error::Format { file: path.to_owned(), found, supported: FORMAT });
        }
        _ => {}
    }
    header.check(path)?;
    let size = file.size().map_err(|error| Error::io("read the length of", path, error))?;
    if size < header.capacity {
        let what = format!("the file has been cut: {size} bytes of {} are left", header.capacity);
        return Err(Error::corruption(path, size, what));
    }
    Ok(header)
}

/// The header of a segment or base of which a single bit was flipped, and the place of that bit's byte.
///
/// # Errors
/// I/O.
pub(crate) fn mended_header(file: &dyn File, path: &Path) -> Result<Option<(SegmentHeader, usize)>> {
    let mut bytes = [0; HEADER_LEN];
    read_full_at(file, &mut bytes, 0).map_err(|error| Error::io("read", path, error))?;
    Ok(mend(&mut bytes).and_then(|at| Some((SegmentHeader::decode(&bytes)?, at))))
}

/// Flips the only bit back that was flipped; returns the place of its byte.
fn mend(bytes: &mut [u8; HEADER_LEN]) -> Option<usize> {
    let difference = u32_at(bytes, CRC)? ^ checksum(bytes);
    let bit = if difference.is_power_of_two() {
        CRC * 8 + difference.trailing_zeros() as usize
    } else {
        let bit = flipped_bit(HEADER_LEN - 4, difference)?;
        if bit < CRC * 8 { bit } else { bit + 32 }
    };
    bytes[bit / 8] ^= 1 << (bit % 8);
    bytes.starts_with(MAGIC).then_some(bit / 8)
}

/// The salt that a header has which may not verify.
///
/// # Errors
/// I/O.
pub(crate) fn read_salt(file: &dyn File, path: &Path) -> Result<u64> {
    let mut bytes = [0; HEADER_LEN];
    read_full_at(file, &mut bytes, 0).map_err(|error| Error::io("read", path, error))?;
    Ok(u64_at(&bytes, SALT).unwrap_or_default())
}

/// Adds zeros to the `bytes` that are to be written at `offset` if they are few and enter a part of the segment that may not
/// have been written to yet: up to the end of that part.
pub(crate) fn with_zeros_ahead(bytes: &mut Vec<u8>, offset: u64, capacity: u64) {
    let end = offset + bytes.len() as u64;
    let part = |at: u64| at / PREPARED as u64;
    if bytes.len() < PREPARED && part(offset.saturating_sub(1)) != part(end.saturating_sub(1)) {
        let prepared = end.next_multiple_of(PREPARED as u64).min(capacity);
        bytes.resize(bytes.len() + usize::try_from(prepared.saturating_sub(end)).unwrap_or(0), 0);
    }
}

/// Makes a segment file full of zeros behind its header, and makes it and its name durable. A file of this name is a leftover
/// that nothing refers to, and is replaced.
///
/// # Errors
/// I/O, `StorageFull` among them: the file is gone again then. As [`SegmentHeader::check`].
pub(crate) fn create(fs: &dyn Fs, path: &Path, header: &SegmentHeader) -> Result<Arc<dyn File>> {
    header.check(path)?;
    let made = remove_if_present(fs, path).and_then(|()| fill(fs, path, header));
    made.map_err(|error| {
        // The error that matters is the first one; the leftover is replaced or swept later.
        drop(fs.remove_file(path));
        Error::io("create", path, error)
    })
}

fn fill(fs: &dyn Fs, path: &Path, header: &SegmentHeader) -> io::Result<Arc<dyn File>> {
    let file = fs.open(path, OpenMode::CreateNew)?;
    let mut capacity = usize::try_from(header.capacity).unwrap_or(usize::MAX);
    match file.allocate(header.capacity) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(error) => return Err(error),
        Ok(()) => capacity = capacity.min(PREPARED),
    }
    let mut chunk = vec![0; FILL_CHUNK.min(capacity)];
    put(&mut chunk, 0, &header.encode());
    write_all_at(&*file, &chunk, 0)?;
    chunk[..HEADER_LEN].fill(0);
    let mut offset = chunk.len();
    while offset < capacity {
        let len = chunk.len().min(capacity - offset);
        write_all_at(&*file, &chunk[..len], offset as u64)?;
        offset += len;
    }
    file.sync_data()?;
    if let Some(dir) = path.parent() {
        fs.sync_dir(dir)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::sim::SimFs;
    use crate::storage::fs::{Fs, OpenMode, write_all_at};

    fn header() -> SegmentHeader {
        SegmentHeader {
            format: FORMAT,
            life: Life { id: FileId(3), salt: 77 },
            capacity: 4096,
            first_lsn: Lsn(12),
            previous: Link { id: FileId(2), end: 4000, crc: 99 },
        }
    }

    #[test]
    fn a_header_reads_back_as_it_was_written() {
        assert_eq!(SegmentHeader::decode(&header().encode()), Some(header()));
    }

    #[test]
    fn a_header_with_an_lsn_that_no_manifest_takes_is_refused() {
        let path = Path::new("/segment");
        let file = SimFs::new().process().open(path, OpenMode::CreateNew).unwrap();
        file.allocate(4096).unwrap();
        for (first_lsn, is_right) in [(1 << 61, true), ((1 << 61) + 1, false), (u64::MAX, false)] {
            let header = SegmentHeader { first_lsn: Lsn(first_lsn), ..header() };
            write_all_at(&*file, &header.encode(), 0).unwrap();
            assert_eq!(read_header(&*file, path).is_ok(), is_right, "{first_lsn}");
            let made = create(&*SimFs::new().process(), path, &header);
            assert_eq!(made.is_ok(), is_right, "{first_lsn}");
        }
    }

    /// The records of a segment that an older kvdb made link to the header as that made it.
    #[test]
    fn a_header_of_the_first_format_links_as_it_did() {
        let mut bytes = SegmentHeader { capacity: 0, ..header() }.encode();
        put(&mut bytes, VERSION, &1_u32.to_le_bytes());
        let link = checksum(&bytes);
        put(&mut bytes, CRC, &link.to_le_bytes());
        let first = SegmentHeader::decode(&bytes).unwrap();
        assert_eq!((first.format, first.link()), (1, link));
        assert_ne!(header().link(), link);
    }

    #[test]
    fn small_writes_are_padded_where_they_enter_another_part() {
        let padded = |offset: usize, len: usize| {
            let mut bytes = vec![1; len];
            with_zeros_ahead(&mut bytes, offset as u64, 3 * PREPARED as u64 + 100);
            assert!(bytes[..len].iter().all(|&byte| byte == 1) && bytes[len..].iter().all(|&byte| byte == 0));
            offset + bytes.len()
        };
        assert_eq!(padded(72, 100), 172);
        assert_eq!(padded(PREPARED - 100, 100), PREPARED);
        assert_eq!(padded(PREPARED - 100, 101), 2 * PREPARED);
        assert_eq!(padded(PREPARED, 8), 2 * PREPARED);
        assert_eq!(padded(3 * PREPARED - 1, 9), 3 * PREPARED + 100);
        assert_eq!(padded(72, PREPARED), 72 + PREPARED);
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = header().encode();
        for bit in 0..HEADER_LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&flipped), None, "bit {bit}");
            assert_eq!((mend(&mut flipped), flipped), (Some(bit / 8), bytes), "bit {bit}");
        }
    }
}
