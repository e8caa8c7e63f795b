//! The origin of a backup: which database it was taken of, and up to which batch. A database that was not made by a backup has
//! none.
//!
//! ```text
//!  0                8        12       16               24               32               40               48
//!  ┌────────────────┬────────┬────────┬────────────────┬────────────────┬────────────────┬────────────────┐
//!  │ "kvdbori\n"    │ format │ crc    │ branch         │ source         │ LSN            │ next           │
//!  └────────────────┴────────┴────────┴────────────────┴────────────────┴────────────────┴────────────────┘
//!   crc     CRC-32 over the file with these four bytes left out
//!   branch  a random number that tells this directory from all others that began as the same database
//!   source  the branch of the database that the backup was taken of
//!   LSN     what the manifest says is flushed, as long as nobody has written to the backup
//!   next    the salt of the first segment that the next manifest names, which is about to bring the backup up to date; else 0
//! ```
//!
//! A directory is an untouched backup if its log is empty and its manifest is flushed up to the LSN, or names that segment: the
//! file is replaced before the manifest is, and once more behind it. (The LSN up to which the next manifest is flushed would not
//! do: somebody may write to the old one up to the same.) A file that is missing or does not verify makes a directory that is
//! no backup: it is left alone then.

use std::io;
use std::path::Path;

use super::codec::{crc32, put, u32_at, u64_at};
use super::fs::{Fs, OpenMode, read_full_at};
use super::replace_file;
use crate::error::{Error, Result};
use crate::types::Lsn;

/// Its name in the directory.
pub(crate) const NAME: &str = "ORIGIN";

const FORMAT: u32 = 2;
/// The format that has the LSN twice, or two of them after it was replaced.
const WITH_TWO_LSNS: u32 = 1;
const MAGIC: &[u8; 8] = b"kvdbori\n";
const VERSION: usize = MAGIC.len();
const CRC: usize = VERSION + 4;
const BRANCH: usize = CRC + 4;
const SOURCE: usize = BRANCH + 8;
const LSN: usize = SOURCE + 8;
const NEXT: usize = LSN + 8;
const LEN: usize = NEXT + 8;

/// Where a backup comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub branch: u64,
    pub source: u64,
    /// Up to where it is flushed if nobody has written to it.
    pub lsn: Lsn,
    /// The salt of the first segment of the manifest that brings it up to date.
    pub next: Option<u64>,
}

impl Origin {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, VERSION, &FORMAT.to_le_bytes());
        put(&mut bytes, BRANCH, &self.branch.to_le_bytes());
        put(&mut bytes, SOURCE, &self.source.to_le_bytes());
        put(&mut bytes, LSN, &self.lsn.0.to_le_bytes());
        put(&mut bytes, NEXT, &self.next.unwrap_or(0).to_le_bytes());
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; LEN]) -> Option<Self> {
        if !bytes.starts_with(MAGIC) || u32_at(bytes, CRC)? != checksum(bytes) {
            return None;
        }
        let (lsn, next) = (u64_at(bytes, LSN)?, u64_at(bytes, NEXT)?);
        let next = match u32_at(bytes, VERSION)? {
            WITH_TWO_LSNS if next == lsn => 0,
            FORMAT => next,
            _ => return None,
        };
        let (branch, source) = (u64_at(bytes, BRANCH)?, u64_at(bytes, SOURCE)?);
        Some(Self { branch, source, lsn: Lsn(lsn), next: (next != 0).then_some(next) })
    }

    /// The origin of the database in `dir`; `None` where there is none that can be read.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        let read = || -> io::Result<Option<Self>> {
            let mut bytes = [0; LEN];
            let len = read_full_at(&*fs.open(&path, OpenMode::Read)?, &mut bytes, 0)?;
            Ok(if len == LEN { Self::decode(&bytes) } else { None })
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            read => read.map_err(|error| Error::io("read", &path, error)),
        }
    }

    /// Makes this the origin of the database in `dir`, durably. After an error the old one or the new one is there.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        replace_file(fs, dir, NAME, &self.encode())
    }
}

fn checksum(bytes: &[u8; LEN]) -> u32 {
    crc32(&[&bytes[..CRC], &bytes[BRANCH..]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::sim::SimFs;

    const ORIGIN: Origin = Origin { branch: 7, source: 8, lsn: Lsn(9), next: Some(10) };

    #[test]
    fn an_origin_reads_back_as_it_was_written_and_is_replaced() {
        let (fs, dir) = (SimFs::new().process(), Path::new("/"));
        assert_eq!(Origin::read(&*fs, dir).unwrap(), None);
        for origin in [ORIGIN, Origin { source: 0, next: None, ..ORIGIN }] {
            origin.install(&*fs, dir).unwrap();
            assert_eq!(Origin::read(&*fs, dir).unwrap(), Some(origin));
        }
    }

    /// Of one that was replaced since, nobody can say what it is of.
    #[test]
    fn an_origin_of_the_first_format_is_read_if_it_was_never_replaced() {
        let of_format_1 = |lsn: u64, next: u64| {
            let mut bytes = Origin { lsn: Lsn(lsn), next: Some(next), ..ORIGIN }.encode();
            put(&mut bytes, VERSION, &1_u32.to_le_bytes());
            let crc = checksum(&bytes);
            put(&mut bytes, CRC, &crc.to_le_bytes());
            Origin::decode(&bytes)
        };
        assert_eq!(of_format_1(9, 9), Some(Origin { next: None, ..ORIGIN }));
        assert_eq!(of_format_1(9, 10), None);
    }

    #[test]
    fn every_flipped_bit_makes_it_none() {
        let bytes = ORIGIN.encode();
        assert_eq!(Origin::decode(&bytes), Some(ORIGIN));
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Origin::decode(&flipped), None, "bit {bit}");
        }
    }
}
