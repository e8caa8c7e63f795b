//! The footer: the last bytes of a table. It says where everything is, and vouches for it all.
//!
//! ```text
//!  0                8        12       16               24               32               40
//!  ┌────────────────┬────────┬────────┬────────────────┬────────────────┬────────────────┐
//!  │ "kvdbsst\n"    │ format │ crc    │ table id       │ seed           │ entries        │
//!  ├────────────────┼────────┴────────┼────────────────┼────────────────┼────────────────┘
//!  │ tombstones     │ payload bytes   │ smallest LSN   │ largest LSN    │
//!  ├────────┬───────┼────────┬────────┼────────┬───────┼────────┬───────┤
//!  │ data   │ hash  │ homes  │ fences │ pages  │ seps  │ s │ p  │ sums  │
//!  └────────┴───────┴────────┴────────┴────────┴───────┴────────┴───────┘
//!  72                80                88              96             104
//!   crc      CRC-32 over the roots (which lie before the footer) and the footer, with these four bytes left out
//!   payload  bytes of all keys and values
//!   data     where pages and values end          hash    where the hash section begins
//!   homes    its buckets that are homes          fences  where they begin
//!   pages    how many there are                  seps    bytes of all separators
//!   s        bytes that all separators begin with, 2     sums    where the leaves of the checksums begin
//!   p        0, or one more than the bytes of the dictionary by which values are packed, 2 (since format 3)
//! ```
//!
//! The crc depends on the roots, these on the leaves and those on every block: it stands for the whole file, and the
//! manifest has it too.

use std::ops::Range;

use super::HEADER_LEN;
use super::blocks::sums_len;
use super::fences::FenceSection;
use super::hash::{self, BUCKET_LEN, HashSection};
use crate::storage::codec::{crc32, put, u16_at, u32_at, u64_at};
use crate::storage::{FORMAT, TableMeta};
use crate::types::{FileId, Key, Lsn};

/// What the file and its footer begin with.
pub(super) const MAGIC: &[u8; 8] = b"kvdbsst\n";

const VERSION: usize = MAGIC.len();
const CRC: usize = VERSION + 4;
const ID: usize = CRC + 4;
const SEED: usize = ID + 8;
const ENTRIES: usize = SEED + 8;
const TOMBSTONES: usize = ENTRIES + 8;
const PAYLOAD: usize = TOMBSTONES + 8;
const SMALLEST_LSN: usize = PAYLOAD + 8;
const LARGEST_LSN: usize = SMALLEST_LSN + 8;
const DATA_END: usize = LARGEST_LSN + 8;
const HASH: usize = DATA_END + 4;
const HOMES: usize = HASH + 4;
const FENCES: usize = HOMES + 4;
const PAGES: usize = FENCES + 4;
const SEPARATORS: usize = PAGES + 4;
const SHARED: usize = SEPARATORS + 4;
const PACKING: usize = SHARED + 2;
const SUMS: usize = PACKING + 2;

/// Bytes of the footer.
pub(super) const FOOTER_LEN: usize = SUMS + 4;

/// What a footer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    pub id: FileId,
    pub seed: u64,
    pub entries: u64,
    pub tombstones: u64,
    pub payload_bytes: u64,
    pub smallest_lsn: Lsn,
    pub largest_lsn: Lsn,
    pub layout: Layout,
}

/// Where the parts of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub data_end: usize,
    pub hash: HashSection,
    pub fences: FenceSection,
    /// Bytes of the dictionary; `None` where values are not packed.
    pub dictionary_len: Option<usize>,
    /// Where the leaves of the checksums begin: all bytes before are covered by them.
    pub sums: usize,
}

/// Why a footer was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It does not verify.
    Damaged,
    /// It verifies and has this format, which is unknown.
    Format(u32),
}

/// Where the roots begin, given where the leaves do.
const fn roots(sums: usize) -> usize {
    sums + sums_len(sums)
}

/// Where the footer begins, given where the leaves do.
pub(super) const fn footer_start(sums: usize) -> usize {
    roots(sums) + sums_len(sums_len(sums))
}

impl Footer {
    /// The footer's bytes and its checksum. No offset has more than 32 bits: the writer saw to that.
    pub(super) fn encode(&self, roots: &[u8]) -> ([u8; FOOTER_LEN], u32) {
        let mut bytes = [0; FOOTER_LEN];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, VERSION, &FORMAT.to_le_bytes());
        let wide = [
            (ID, self.id.0),
            (SEED, self.seed),
            (ENTRIES, self.entries),
            (TOMBSTONES, self.tombstones),
            (PAYLOAD, self.payload_bytes),
            (SMALLEST_LSN, self.smallest_lsn.0),
            (LARGEST_LSN, self.largest_lsn.0),
        ];
        for (at, field) in wide {
            put(&mut bytes, at, &field.to_le_bytes());
        }
        let layout = &self.layout;
        let narrow = [
            (DATA_END, layout.data_end),
            (HASH, layout.hash.start),
            (HOMES, layout.hash.homes),
            (FENCES, layout.fences.start),
            (PAGES, layout.fences.count),
            (SEPARATORS, layout.fences.separators_len),
            (SUMS, layout.sums),
        ];
        for (at, field) in narrow {
            put(&mut bytes, at, &u32::try_from(field).unwrap_or(u32::MAX).to_le_bytes());
        }
        let packing = layout.dictionary_len.map_or(0, |len| len + 1);
        for (at, field) in [(SHARED, layout.fences.shared), (PACKING, packing)] {
            put(&mut bytes, at, &u16::try_from(field).unwrap_or(u16::MAX).to_le_bytes());
        }
        let crc = checksum(roots, &bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        (bytes, crc)
    }

    /// What can be known of a table of `len` bytes that nobody has listed: its keys are left empty.
    pub(super) fn meta(&self, len: u64, checksum: u32) -> TableMeta {
        TableMeta {
            id: self.id,
            len,
            entries: self.entries,
            tombstones: self.tombstones,
            payload_bytes: self.payload_bytes,
            smallest: Key::from(b""),
            largest: Key::from(b""),
            smallest_lsn: self.smallest_lsn,
            largest_lsn: self.largest_lsn,
            checksum,
            expiries: None,
        }
    }

    /// Verifies and reads the footer at the end of a table, and returns its checksum too. The work does not depend on the
    /// table's length, except that there are 4 bytes of roots per 4 MiB.
    pub(super) fn decode(table: &[u8]) -> Result<(Self, u32), Refusal> {
        Self::read(table).ok_or(Refusal::Damaged).and_then(|(format, crc, footer)| match footer {
            _ if format > FORMAT => Err(Refusal::Format(format)),
            Some(footer) if footer.layout.is_possible(table.len()) => Ok((footer, crc)),
            _ => Err(Refusal::Damaged),
        })
    }

    /// The format and the checksum of a footer that verifies, and its fields.
    fn read(table: &[u8]) -> Option<(u32, u32, Option<Self>)> {
        let start = table.len().checked_sub(FOOTER_LEN)?;
        let footer = table.get(start..)?;
        let sums = u32_at(footer, SUMS)? as usize;
        let crc = u32_at(footer, CRC)?;
        if !footer.starts_with(MAGIC) || crc != checksum(table.get(roots(sums)..start)?, footer) {
            return None;
        }
        Some((u32_at(footer, VERSION)?, crc, Self::read_fields(footer)))
    }

    pub(super) fn read_fields(footer: &[u8]) -> Option<Self> {
        let offset = |at| u32_at(footer, at).map(|field| field as usize);
        let layout = Layout {
            data_end: offset(DATA_END)?,
            hash: HashSection { start: offset(HASH)?, homes: offset(HOMES)? },
            fences: FenceSection {
                start: offset(FENCES)?,
                count: offset(PAGES)?,
                separators_len: offset(SEPARATORS)?,
                shared: u16_at(footer, SHARED)?.into(),
            },
            dictionary_len: usize::from(u16_at(footer, PACKING)?).checked_sub(1),
            sums: offset(SUMS)?,
        };
        Some(Self {
            id: FileId(u64_at(footer, ID)?),
            seed: u64_at(footer, SEED)?,
            entries: u64_at(footer, ENTRIES)?,
            tombstones: u64_at(footer, TOMBSTONES)?,
            payload_bytes: u64_at(footer, PAYLOAD)?,
            smallest_lsn: Lsn(u64_at(footer, SMALLEST_LSN)?),
            largest_lsn: Lsn(u64_at(footer, LARGEST_LSN)?),
            layout,
        })
    }
}

impl Layout {
    /// Where the first page or distant value begins.
    pub(super) fn data_start(&self) -> usize {
        HEADER_LEN + self.dictionary_len.unwrap_or(0)
    }

    /// Where the dictionary is, both times.
    pub(super) fn dictionaries(&self) -> [Range<usize>; 2] {
        [self.data_start(), self.data_end]
            .map(|end| end.saturating_sub(self.dictionary_len.unwrap_or(0))..end)
    }

    /// Whether the parts follow one another and fill a file of `len` bytes.
    fn is_possible(&self, len: usize) -> bool {
        let hash_end = self.hash.start as u64 + hash::section_len(self.hash.homes) as u64;
        let pages_end = self.data_end.checked_sub(self.dictionary_len.unwrap_or(0));
        pages_end.is_some_and(|end| self.data_start() <= end)
            && self.data_end <= self.hash.start
            && self.hash.start.is_multiple_of(BUCKET_LEN)
            && self.hash.homes > 0
            && hash_end == self.fences.start as u64
            && self.fences.end() == self.sums as u64
            && footer_start(self.sums) + FOOTER_LEN == len
    }
}

fn checksum(roots: &[u8], footer: &[u8]) -> u32 {
    crc32(&[roots, footer.get(..CRC).unwrap_or_default(), footer.get(ID..).unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use super::super::blocks::{BLOCK_LEN, append_sums};
    use super::*;

    /// A table that consists of an empty hash section.
    fn table() -> (Vec<u8>, Footer) {
        let sums = 64 + hash::section_len(1);
        let layout = Layout {
            data_end: 12,
            hash: HashSection { start: 64, homes: 1 },
            fences: FenceSection { start: sums, count: 0, separators_len: 0, shared: 0 },
            dictionary_len: None,
            sums,
        };
        let (id, smallest_lsn, largest_lsn) = (FileId(7), Lsn(3), Lsn(u64::MAX));
        let footer = Footer {
            id,
            seed: 5,
            entries: 1,
            tombstones: 2,
            payload_bytes: 3,
            smallest_lsn,
            largest_lsn,
            layout,
        };
        let mut bytes = vec![0; sums];
        let (mut leaves, mut roots) = (Vec::new(), Vec::new());
        append_sums(&mut leaves, &bytes);
        append_sums(&mut roots, &leaves);
        bytes.extend(leaves);
        bytes.extend(&roots);
        bytes.extend(footer.encode(&roots).0);
        (bytes, footer)
    }

    #[test]
    fn a_footer_reads_back_as_it_was_written() {
        let (bytes, footer) = table();
        assert_eq!(Footer::decode(&bytes).unwrap().0, footer);
    }

    #[test]
    fn every_flipped_bit_of_footer_and_roots_and_every_cut_is_noticed() {
        let (bytes, footer) = table();
        for bit in roots(footer.layout.sums) * 8..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Footer::decode(&flipped), Err(Refusal::Damaged), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Footer::decode(&bytes[..len]), Err(Refusal::Damaged), "cut at {len}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let (mut bytes, footer) = table();
        let start = bytes.len() - FOOTER_LEN;
        put(&mut bytes, start + VERSION, &(FORMAT + 1).to_le_bytes());
        assert_eq!(Footer::decode(&bytes), Err(Refusal::Damaged));
        let crc = checksum(&bytes[roots(footer.layout.sums)..start], &bytes[start..]);
        put(&mut bytes, start + CRC, &crc.to_le_bytes());
        assert_eq!(Footer::decode(&bytes), Err(Refusal::Format(FORMAT + 1)));
    }

    #[test]
    fn impossible_layouts_are_refused() {
        let (bytes, footer) = table();
        let layout = footer.layout;
        assert!(layout.is_possible(bytes.len()));
        let homeless = HashSection { homes: 0, ..layout.hash };
        let pages = FenceSection { count: 1, ..layout.fences };
        let too_long = [
            Layout { data_end: 65, ..layout },
            Layout { hash: homeless, ..layout },
            Layout { fences: pages, ..layout },
            Layout { sums: layout.sums + BLOCK_LEN, ..layout },
        ];
        assert!(too_long.iter().all(|layout| !layout.is_possible(bytes.len())));
    }
}
