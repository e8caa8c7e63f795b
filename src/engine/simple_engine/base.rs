//! A base: one file of entries that stands for all of the log up to a segment boundary.
//!
//! It is written in the records of a log segment (`nnnnnn.base`, numbered as the last segment that it stands for): a header,
//! records of entries that each keep the LSN that wrote them, and a seal that names the segment behind it. Unlike a log it
//! was complete before anything referred to it, so whatever does not verify in it is corruption.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::codec::random_u64;
use crate::storage::fs::{File, OpenMode, remove_if_present, write_all_at};
use crate::storage::manifest::Manifest;
use crate::storage::wal::reader::{Position, SegmentReader, Step};
use crate::storage::wal::record::{self, Header, Kind, OpRef};
use crate::storage::wal::segment::{self, Link, SegmentHeader};
use crate::storage::{FORMAT, Life, Place};
use crate::types::{Entry, FileId, Lsn};

/// Bytes of entries per record.
const RECORD_BYTES: usize = 256 << 10;

/// The file of the base that stands for all segments up to `id`.
pub(super) fn file_name(id: FileId) -> String {
    format!("{id}.base")
}

/// Writes a base.
pub(super) struct BaseWriter<'a> {
    place: &'a Place,
    file: Arc<dyn File>,
    path: PathBuf,
    header: SegmentHeader,
    position: Position,
    /// Entries that are not written yet, encoded.
    pending: Vec<u8>,
    count: u32,
    buffer: Vec<u8>,
}

impl<'a> BaseWriter<'a> {
    /// Begins the base that stands for the log up to `lsn`, which ends before the segment `first`.
    ///
    /// # Errors
    /// I/O; as [`SegmentHeader::check`].
    pub(super) fn create(place: &'a Place, first: Life, lsn: Lsn) -> Result<Self> {
        let life = Life { id: FileId(first.id.0 - 1), salt: random_u64() };
        let path = place.path(file_name(life.id));
        let header = SegmentHeader {
            format: FORMAT,
            life,
            capacity: 0,
            first_lsn: lsn.next(),
            previous: Link::default(),
        };
        header.check(&path)?;
        let open = || {
            remove_if_present(&*place.fs, &path)?;
            place.fs.open(&path, OpenMode::CreateNew)
        };
        let file = open().map_err(|error| Error::io("create", &path, error))?;
        let position = Position { offset: segment::HEADER_LEN as u64, link: header.link(), lsn };
        Ok(Self { place, file, path, header, position, pending: Vec::new(), count: 0, buffer: Vec::new() })
    }

    /// Bytes written so far.
    pub(super) const fn written_bytes(&self) -> u64 {
        self.position.offset
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// I/O.
    pub(super) fn add(&mut self, key: &[u8], entry: &Entry) -> Result<()> {
        record::encode_entry(&mut self.pending, key, entry);
        self.count += 1;
        if self.pending.len() >= RECORD_BYTES { self.flush(Kind::Base) } else { Ok(()) }
    }

    fn flush(&mut self, kind: Kind) -> Result<()> {
        let Position { offset, link, lsn } = self.position;
        let header =
            Header { kind, lsn, durable: Lsn::ZERO, link, nonce: 0, unsynced: false, count: self.count };
        self.buffer.clear();
        let pending = &self.pending;
        let link = record::encode(&mut self.buffer, self.header.life, offset, &header, |out| {
            out.extend_from_slice(pending);
        });
        write_all_at(&*self.file, &self.buffer, offset)
            .map_err(|error| Error::io("write", &self.path, error))?;
        self.position = Position { offset: offset + self.buffer.len() as u64, link, lsn };
        self.pending.clear();
        self.count = 0;
        Ok(())
    }

    /// Completes the base and makes it durable; returns what the manifest names it by.
    ///
    /// # Errors
    /// I/O.
    pub(super) fn finish(mut self, first: Life) -> Result<Life> {
        if self.count > 0 {
            self.flush(Kind::Base)?;
        }
        record::encode_successor(&mut self.pending, first);
        self.flush(Kind::Seal)?;
        self.header.capacity = self.position.offset;
        let close = || {
            write_all_at(&*self.file, &self.header.encode(), 0)?;
            self.file.sync_data()?;
            self.place.fs.sync_dir(&self.place.dir)
        };
        close().map_err(|error| Error::io("write", &self.path, error))?;
        Ok(self.header.life)
    }
}

/// Removes a base that was not completed.
pub(super) fn discard(place: &Place, first: Life) {
    place.discard(file_name(FileId(first.id.0 - 1)));
}

/// Bytes of a base, if there is one.
pub(super) fn len(place: &Place, base: Option<Life>) -> u64 {
    let size = |base: Life| place.open(file_name(base.id), OpenMode::Read).ok()?.size().ok();
    base.and_then(size).unwrap_or(0)
}

/// Reads the base of a manifest, if it names one.
///
/// # Errors
/// Corruption; I/O, `NotFound` when another process replaced it meanwhile.
pub(super) fn load(place: &Place, manifest: &Manifest, mut apply: impl FnMut(OpRef<'_>)) -> Result<()> {
    let Some(life) = manifest.base else { return Ok(()) };
    let file = place.open(file_name(life.id), OpenMode::Read)?;
    let path = place.path(file_name(life.id));
    let mut base = SegmentReader::open(file, path.clone(), life)?;
    loop {
        let offset = base.position().offset;
        let damaged = |what: &str| Error::corruption(&path, offset, what);
        let Step::Record(record, _) = base.next()? else {
            return Err(damaged("the base breaks off here: entries behind this place can't be read"));
        };
        match record.header.kind {
            Kind::Base => record::for_each_op(&record, &mut apply),
            Kind::Seal if record::decode_successor(record.payload) == Some(manifest.first) => return Ok(()),
            _ => None,
        }
        .ok_or_else(|| damaged("this record does not belong into a base of this manifest"))?;
    }
}
