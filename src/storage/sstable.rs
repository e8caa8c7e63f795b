//! A sorted table (`nnnnnn.sst`): one version of each of its keys, in key order, immutable once written.
//!
//! ```text
//!  ┌────────┬─────────────────────────────────┬─────────┬────────┬────────┬───────┬────────┐
//!  │ header │ page, page, values, page, …     │ buckets │ fences │ leaves │ roots │ footer │
//!  └────────┴─────────────────────────────────┴─────────┴────────┴────────┴───────┴────────┘
//!  0        12      data                      hash      fences   sums                      length
//!
//!  header  "kvdbsst\n" and the format number, for whoever looks at the file; in a table that packs its
//!          values a dictionary follows, which stands once more where the data ends   (this file, value)
//!  page    records of neighbouring keys and where each begins                      page, record
//!  values  over 2 KiB: outside of their records, so that pages stay dense          record
//!  buckets from a key's hash to its record: filter, index and search in one        hash
//!  fences  what separates each page from the one before: where a seek goes          fences
//!  leaves, roots  checksums of every 4096 bytes, and of the leaves                  blocks
//!  footer  where everything is, counts, and a checksum that stands for the file    footer
//! ```
//!
//! All integers are little-endian, all offsets 32 bits: a table has at most 4 GiB. The file is mapped and used where it lies.
//! A table is valid when
//!
//! 1. the footer verifies, and with it the roots, every part of the leaves, and every block;
//! 2. keys ascend strictly from the first record of the first page to the last of the last;
//! 3. a lookup in the hash section of every record's key leads to that record, or says that it does not know;
//! 4. a seek in the fences of every key leads to the page that has it, or would have it.
//!
//! Opening verifies the footer and maps the rest, at a cost that does not depend on the table's size (but for 4 bytes of roots
//! and 128 of bits in memory per 4 MiB). From then on no byte is used before the block it lies in has verified in this process.
//! So a bit that was flipped anywhere in the file is either never looked at, or reported; it does not make a key absent or a
//! value another one. [`Table::verify`] looks at everything.
//!
//! * **get**: hash the key; read its bucket (one cache line); at the place of each matching fingerprint compare the whole key
//!   (a second line, and those of the value, asked for together). Absent keys end at the bucket but for 1 in 1,000. Many tables
//!   share one hash, and the misses of their buckets overlap: see [`Table::prefetch`].
//! * **scan**: binary search in the fences, binary search in the page, then from record to record without copying; in
//!   reverse the same, because a page knows where its records begin.
//! * **first gets**: until the buckets are in memory, a get goes by the fences, which are 0.3 % of the file and soon there: it
//!   waits for one read of the device, that of the page (see `thaw`). Gets read single blocks; walks are read ahead for.
//! * **first touch** of a block: a CRC-32 over 4096 bytes, a fraction of a microsecond, beside reading it from the device.
//! * **space** beside keys and values, per record of a small key: 6 bytes of record header, 2 of its place in the page, 8.5
//!   in the buckets; 0.1 % of checksums.

mod blocks;
mod cursor;
mod fences;
mod footer;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hash;
mod mend;
mod page;
mod reader;
mod record;
mod salvage;
#[cfg(test)]
mod tests;
mod thaw;
mod value;
mod verify;
mod writer;

pub use self::cursor::{Change, TableCursor};
pub use self::hash::KeyHash;
pub use self::reader::{Found, Table};
pub(crate) use self::salvage::{Lost, Salvage, Salvaged};
pub(crate) use self::value::MAX_DICTIONARY_LEN;
pub use self::value::StoredValue;
#[cfg(any(test, fuzzing))]
pub(crate) use self::value::copied;
pub(crate) use self::verify::Flaw;
pub use self::writer::TableWriter;

use crate::types::FileId;

pub use super::TableMeta;

/// The name of the table file of this number.
#[must_use]
pub fn file_name(id: FileId) -> String {
    format!("{id}.sst")
}

/// Bytes before the first record or value: the magic and the format.
const HEADER_LEN: usize = footer::MAGIC.len() + 4;

/// What is said of a block that does not have its checksum.
const BLOCK_DAMAGE: &str = "a checksum does not match";

/// Bytes of the file that are not as they should be. Small, because everything that reads returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Damage {
    start: usize,
    end: usize,
    what: &'static str,
}

impl Damage {
    /// At `start`, something does not make sense.
    #[cold]
    const fn new(start: usize, what: &'static str) -> Self {
        Self { start, end: start + 1, what }
    }

    /// The bytes `start..end` do not have the checksum that they had.
    #[cold]
    const fn of_block(start: usize, end: usize) -> Self {
        Self { start, end, what: BLOCK_DAMAGE }
    }

    /// Whether the bytes do not have the checksum that they had, rather than making no sense.
    fn is_block(&self) -> bool {
        self.what == BLOCK_DAMAGE
    }
}

/// What reading returns, within this module.
type Checked<T> = Result<T, Damage>;

/// How many of the numbers from 0 on, below `count`, are `before`: those come first.
#[inline]
fn partition_point(count: usize, mut before: impl FnMut(usize) -> Checked<bool>) -> Checked<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}
