//! Writing a table: records come in key order, bytes leave in file order, and everything else is collected on the way.
//!
//! ```text
//!  add ──► page ──► Output ──► file          memory held, beside one page and one buffer:
//!   │        └───► places ─┐                    12 bytes per record; at the end 8.5 more for the hash section
//!   ├──► hashes ───────────┴──► finish          16 bytes and a separator (at most 256 bytes) per page
//!   └──► separators ───────────►                4 bytes per block
//!                                               a value that is packed or was: twice its bytes
//! ```
//!
//! A distant value is written when its record comes in, so it lies before the page that has the record. The file counts as a
//! table once the footer is there and synced; one without is a leftover that nothing refers to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocks::{BLOCK_LEN, append_sums, sums_len};
use super::fences::FenceBuilder;
use super::footer::{FOOTER_LEN, Footer, Layout, MAGIC, footer_start};
use super::hash::{self, BUCKET_LEN, HashBuilder, KeyHash};
use super::page::PageBuilder;
use super::record::{self, Content, Extent, MAX_HEADER_LEN};
use super::value::{self, Packer};
use super::{Change, StoredValue, TableMeta, file_name};
use crate::error::{Error, Result};
use crate::storage::fs::{File, Fs, OpenMode, write_all_at};
use crate::storage::{Expiries, FORMAT};
use crate::types::{FileId, Key, Lsn, MAX_KEY_LEN, MAX_VALUE_LEN};

/// Longest value that lies in its record.
pub(super) const MAX_NEAR_VALUE_LEN: usize = 2 << 10;

/// Writes one table.
#[derive(Debug)]
pub struct TableWriter {
    path: PathBuf,
    id: FileId,
    seed: u64,
    output: Output,
    page: PageBuilder,
    hashes: HashBuilder,
    fences: FenceBuilder,
    /// Packs values, if they are packed.
    packer: Option<Packer>,
    /// A value that another table has packed.
    unpacked: Vec<u8>,
    smallest: Option<Key>,
    last: Vec<u8>,
    entries: usize,
    tombstones: u64,
    payload_bytes: u64,
    lsns: Option<(Lsn, Lsn)>,
    expiries: Option<Expiries>,
}

impl TableWriter {
    /// Begins the table file of this number in `dir`; a file that has its name already is a leftover and makes it fail.
    /// `seed` is for the hashes of keys: tables that share it share the hash of a key, so a database draws one at random
    /// and keeps it.
    ///
    /// # Errors
    /// I/O.
    pub fn create(fs: &dyn Fs, dir: &Path, id: FileId, seed: u64) -> Result<Self> {
        let path = dir.join(file_name(id));
        let file = fs.open(&path, OpenMode::CreateNew).map_err(|error| Error::io("create", &path, error))?;
        let mut output =
            Output { file, written: 0, buffer: Vec::with_capacity(BUFFER_LEN), sums: Vec::new() };
        let header = [MAGIC.as_slice(), &FORMAT.to_le_bytes()].concat();
        output.push(&header).map_err(|error| Error::io("write", &path, error))?;
        Ok(Self {
            path,
            id,
            seed,
            output,
            page: PageBuilder::default(),
            hashes: HashBuilder::default(),
            fences: FenceBuilder::default(),
            packer: None,
            unpacked: Vec::new(),
            smallest: None,
            last: Vec::new(),
            entries: 0,
            tombstones: 0,
            payload_bytes: 0,
            lsns: None,
            expiries: None,
        })
    }

    /// Packs the values of a table that has no record yet. `dictionary` is what they may have in common: the first 2 KiB of it
    /// are used.
    ///
    /// # Errors
    /// I/O.
    pub fn packing(mut self, dictionary: &[u8]) -> Result<Self> {
        let packer = Packer::new(dictionary);
        self.output.push(packer.dictionary()).map_err(|error| Error::io("write", &self.path, error))?;
        self.packer = Some(packer);
        Ok(self)
    }

    /// Adds a record: the value that batch `lsn` stored under `key` for good, or its deletion when `value` is `None`.
    ///
    /// # Errors
    /// As [`TableWriter::add_change`].
    pub fn add(&mut self, key: &[u8], value: Option<&[u8]>, lsn: Lsn) -> Result<()> {
        self.add_change(&Change { key, value: value.map(StoredValue::from), lsn, expires: None })
    }

    /// Adds a record. A deletion does not expire.
    ///
    /// # Errors
    /// `KeyTooLong`, `ValueTooLong`; `InvalidInput` when the key is not above the one before, `FileTooLarge` when the table
    /// would pass 4 GiB: then the record is not added. Other I/O errors leave the table of no use.
    pub fn add_change(&mut self, change: &Change<'_>) -> Result<()> {
        let mut unpacked = std::mem::take(&mut self.unpacked);
        let value = change.value.map(|value| value.read(&mut unpacked)).transpose()?;
        let added = self
            .check(change.key, value)
            .and_then(|()| self.append(change, value).map_err(|error| Error::io("write", &self.path, error)));
        unpacked.clear();
        unpacked.shrink_to(value::MAX_KEPT);
        self.unpacked = unpacked;
        added
    }

    /// Bytes that the table would have if it were finished now, at most.
    #[must_use]
    pub fn len(&self) -> u64 {
        let parts = [
            self.output.len(),
            self.page.len(),
            BUCKET_LEN,
            hash::section_len_for(self.entries),
            self.fences.len(),
            self.packer.as_ref().map_or(0, |packer| packer.dictionary().len()),
        ];
        let covered = parts.iter().sum();
        (footer_start(covered) + FOOTER_LEN) as u64
    }

    /// Whether no record was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    fn check(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let value_len = value.map_or(0, <[u8]>::len);
        if key.len() > MAX_KEY_LEN {
            return Err(Error::KeyTooLong { len: key.len() });
        }
        if value_len > MAX_VALUE_LEN {
            return Err(Error::ValueTooLong { len: value_len });
        }
        let refused =
            |kind, why: &'static str| Err(Error::io("write", &self.path, io::Error::new(kind, why)));
        if self.smallest.is_some() && key <= self.last.as_slice() {
            return refused(
                io::ErrorKind::InvalidInput,
                "its records must come in ascending order of their keys",
            );
        }
        if self.len() + self.growth(key.len(), value_len) > u64::from(u32::MAX) {
            return refused(io::ErrorKind::FileTooLarge, "a table has at most 4 GiB");
        }
        Ok(())
    }

    /// An upper bound for what a record adds to [`TableWriter::len`].
    fn growth(&self, key_len: usize, value_len: usize) -> u64 {
        let own = MAX_HEADER_LEN + key_len + value::MAX_GROWTH + value_len;
        let hash = hash::section_len_for(self.entries + 1) - hash::section_len_for(self.entries);
        (own + hash + FenceBuilder::MAX_GROWTH + sums_len(own) + 2 * BUCKET_LEN) as u64
    }

    fn append(&mut self, change: &Change<'_>, value: Option<&[u8]>) -> io::Result<()> {
        let Change { key, lsn, expires, .. } = *change;
        let expires = expires.filter(|_| value.is_some());
        let mut packer = self.packer.take();
        let content = match value {
            None => Content::Tombstone,
            Some(value) if value.len() <= MAX_NEAR_VALUE_LEN => {
                Content::Value(packer.as_mut().map_or(value, |packer| packer.near(value)))
            }
            Some(value) => {
                let extent = Extent { offset: offset(self.output.len()), len: offset(value.len()) };
                self.output.push(packer.as_mut().map_or(value, |packer| packer.distant(value)))?;
                Content::Distant(extent)
            }
        };
        if self.page.is_full_for(record::encoded_len(key, content, lsn, expires)) {
            self.flush_page()?;
        }
        if self.page.is_empty() {
            let last = self.smallest.is_some().then_some(self.last.as_slice());
            self.fences.push_separator(last, key);
        }
        self.page.add(|out| record::encode(out, key, content, lsn, expires));
        self.hashes.push_hash(KeyHash::new(key, self.seed));
        self.packer = packer;
        self.count(key, value, lsn);
        Expiries::count(&mut self.expiries, expires);
        Ok(())
    }

    fn count(&mut self, key: &[u8], value: Option<&[u8]>, lsn: Lsn) {
        self.entries += 1;
        self.tombstones += u64::from(value.is_none());
        self.payload_bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
        self.lsns = Some(self.lsns.map_or((lsn, lsn), |(least, most)| (least.min(lsn), most.max(lsn))));
        self.smallest.get_or_insert_with(|| key.into());
        self.last.clear();
        self.last.extend_from_slice(key);
    }

    fn flush_page(&mut self) -> io::Result<()> {
        let start = offset(self.output.len());
        self.fences.push_page(start);
        let (hashes, output) = (&mut self.hashes, &mut self.output);
        self.page.flush(|at| hashes.push_place(start + at), |bytes| output.push(bytes))
    }

    /// Completes the file and syncs it. Its name is durable once the caller has synced the directory.
    ///
    /// # Errors
    /// I/O; the file is of no use then.
    pub fn finish(mut self) -> Result<TableMeta> {
        let finished = self.write_rest();
        let (len, checksum) = finished.map_err(|error| Error::io("write", &self.path, error))?;
        self.output.file.sync_data().map_err(|error| Error::io("sync", &self.path, error))?;
        let (smallest_lsn, largest_lsn) = self.lsns.unwrap_or_default();
        Ok(TableMeta {
            id: self.id,
            len,
            entries: self.entries as u64,
            tombstones: self.tombstones,
            payload_bytes: self.payload_bytes,
            smallest: self.smallest.unwrap_or_else(|| b"".into()),
            largest: self.last.into(),
            smallest_lsn,
            largest_lsn,
            checksum,
            expiries: self.expiries,
        })
    }

    /// Writes what follows the records. Returns the file's length and the footer's checksum.
    fn write_rest(&mut self) -> io::Result<(u64, u32)> {
        if !self.page.is_empty() {
            self.flush_page()?;
        }
        let dictionary_len = match &self.packer {
            None => None,
            Some(packer) => {
                self.output.push(packer.dictionary())?;
                Some(packer.dictionary().len())
            }
        };
        let data_end = self.output.len();
        self.output.pad_to(BUCKET_LEN)?;
        let hash = self.output.len();
        let (section, homes) = std::mem::take(&mut self.hashes).build();
        self.output.push(&section)?;
        let (section, fences) = std::mem::take(&mut self.fences).build(self.output.len());
        self.output.push(&section)?;
        let sums = self.output.len();
        let hash = hash::HashSection { start: hash, homes };
        self.write_footer(Layout { data_end, hash, fences, dictionary_len, sums })
    }

    fn write_footer(&mut self, layout: Layout) -> io::Result<(u64, u32)> {
        let leaves = self.output.take_sums()?;
        let mut roots = Vec::new();
        append_sums(&mut roots, &leaves);
        let (smallest_lsn, largest_lsn) = self.lsns.unwrap_or_default();
        let footer = Footer {
            id: self.id,
            seed: self.seed,
            entries: self.entries as u64,
            tombstones: self.tombstones,
            payload_bytes: self.payload_bytes,
            smallest_lsn,
            largest_lsn,
            layout,
        };
        let (footer, checksum) = footer.encode(&roots);
        let rest = [leaves.as_slice(), &roots, &footer].concat();
        write_all_at(&*self.output.file, &rest, layout.sums as u64)?;
        Ok(((layout.sums + rest.len()) as u64, checksum))
    }
}

/// An offset or length in the file: 32 bits, because [`TableWriter::check`] refuses what would lead further.
fn offset(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// Bytes that are written at once: whole blocks, and as many as a huge page has. Linux keeps what was written as one aligned
/// piece as one folio where the file system can (ext4 since 6.16), and maps it as a whole: then reading a warm table misses
/// the TLB as rarely as memory can.
const BUFFER_LEN: usize = 2 << 20;

/// The part of the file that checksums cover, written from its beginning on.
#[derive(Debug)]
struct Output {
    file: Arc<dyn File>,
    /// Bytes in the file: whole blocks.
    written: usize,
    buffer: Vec<u8>,
    /// The checksums of the blocks in the file.
    sums: Vec<u8>,
}

impl Output {
    /// Bytes pushed so far.
    fn len(&self) -> usize {
        self.written + self.buffer.len()
    }

    fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.buffer.len() + bytes.len() >= BUFFER_LEN {
            let (now, later) = bytes.split_at(BUFFER_LEN - self.buffer.len());
            self.buffer.extend_from_slice(now);
            self.write_out()?;
            bytes = later;
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn pad_to(&mut self, alignment: usize) -> io::Result<()> {
        let zeros = self.len().next_multiple_of(alignment) - self.len();
        self.push(&[0; BLOCK_LEN][..zeros])
    }

    fn write_out(&mut self) -> io::Result<()> {
        append_sums(&mut self.sums, &self.buffer);
        write_all_at(&*self.file, &self.buffer, self.written as u64)?;
        self.written += self.buffer.len();
        self.buffer.clear();
        Ok(())
    }

    /// Writes what is left and returns the checksums of all blocks.
    fn take_sums(&mut self) -> io::Result<Vec<u8>> {
        self.write_out()?;
        Ok(std::mem::take(&mut self.sums))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::sim::SimFs;

    #[test]
    fn a_table_never_passes_four_gib() {
        let disk = SimFs::new();
        let mut writer = TableWriter::create(&*disk.process(), Path::new("/"), FileId(1), 0).unwrap();
        writer.output.written = (4 << 30) - (BUFFER_LEN + (8 << 20));
        writer.add(b"a", Some(&[0; 100]), Lsn(1)).unwrap();
        let refused = writer.add(b"b", Some(&vec![0; 8 << 20]), Lsn(1)).unwrap_err();
        assert!(matches!(refused, Error::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge));
        writer.add(b"b", Some(&[0; 100]), Lsn(1)).unwrap();
    }
}
