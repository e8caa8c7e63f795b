//! The walk over one segment, record by record, and the evidence needed where it stops.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{self, HEADER_LEN, Kind, Record};
use super::search::Search;
use super::segment::{self, Link, SegmentHeader};
use crate::error::{Error, Result};
use crate::storage::Life;
use crate::storage::codec::MAX_MENDED_BITS;
use crate::storage::fs::{File, look_full_at, read_full_at};
use crate::types::Lsn;

/// Where the next record of a segment begins and what it must link to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// Offset of the next record.
    pub offset: u64,
    /// Checksum of the record before it.
    pub link: u32,
    /// LSN of the last batch before it.
    pub lsn: Lsn,
}

/// A place to return to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Where the next record begins.
    pub position: Position,
    /// Where the record before it begins; 0 when there is none in the segment.
    pub last_offset: u64,
}

/// What lies behind the place where a reader stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Survey {
    /// The offset of a record that proves that the log did not end here.
    pub proof: Option<u64>,
    /// Where the last byte that is not zero ends; the reader's position when there is none.
    pub stale_end: u64,
}

/// What the reader found at its position.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A record that verifies and links, and what it was read into; the position is behind it now.
    Record(Record<'a>, Held<'a>),
    /// Zeros: nothing was ever written here, as far as these bytes tell.
    Zeros,
    /// Something that is not the next record.
    Broken,
}

/// What a record was read into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    bytes: &'a Arc<[u8]>,
    /// Where the payload begins in them.
    at: usize,
}

impl Held<'_> {
    /// Bytes that have the record's payload and stay, and where it begins in them: shared by the records that were read together,
    /// if they are many.
    pub(crate) fn keep(&self, record: &Record<'_>) -> (Arc<[u8]>, usize) {
        if self.bytes.len() >= SHARED_WINDOW && self.is_mostly_records() {
            (Arc::clone(self.bytes), self.at)
        } else {
            (record.payload.into(), 0)
        }
    }

    /// Whether the zeros behind the end of the log are no more than a quarter of what was read, as far as a look tells.
    fn is_mostly_records(&self) -> bool {
        let rest = &self.bytes[self.bytes.len() / 4 * 3..];
        rest.iter().take(HEADER_LEN).any(|&byte| byte != 0)
    }
}

/// Reads one segment. It never writes and never moves past what does not verify.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Arc<dyn File>,
    path: PathBuf,
    header: SegmentHeader,
    position: Position,
    /// Where the record before the position begins; 0 when the position is at the first.
    last_offset: u64,
    window: Window,
}

impl SegmentReader {
    /// Verifies the segment's header and stands before its first record.
    ///
    /// # Errors
    /// As [`segment::read_header`]; corruption when the file has another identity than `life`.
    pub(crate) fn open(file: Arc<dyn File>, path: PathBuf, life: Life) -> Result<Self> {
        let header = segment::read_header(&*file, &path)?;
        if header.life != life {
            let what = format!("this is segment {}, not the expected {}", header.life.id, life.id);
            return Err(Error::corruption(&path, 0, what));
        }
        Ok(Self::at_start(file, path, header))
    }

    /// A reader of a segment that was just made.
    pub(crate) fn at_start(file: Arc<dyn File>, path: PathBuf, header: SegmentHeader) -> Self {
        let lsn = Lsn(header.first_lsn.0.saturating_sub(1));
        let position = Position { offset: segment::HEADER_LEN as u64, link: header.link(), lsn };
        Self { file, path, header, position, last_offset: 0, window: Window::default() }
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) const fn header(&self) -> &SegmentHeader {
        &self.header
    }

    pub(crate) const fn life(&self) -> Life {
        self.header.life
    }

    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    /// What a successor of this segment must name as its predecessor, if the seal lies at the position.
    pub(crate) const fn link(&self) -> Link {
        Link { id: self.header.life.id, end: self.position.offset, crc: self.position.link }
    }

    /// Bytes from the position to the end of the segment.
    pub(crate) const fn room(&self) -> u64 {
        self.header.capacity.saturating_sub(self.position.offset)
    }

    /// Where the reader stands.
    pub(crate) const fn mark(&self) -> Mark {
        Mark { position: self.position, last_offset: self.last_offset }
    }

    /// Stands where a mark was taken, or behind records that the caller itself wrote.
    pub(crate) fn move_to(&mut self, mark: Mark) {
        self.position = mark.position;
        self.last_offset = mark.last_offset;
    }

    /// Forgets what was read ahead: bytes may have changed since.
    pub(crate) fn refresh(&mut self) {
        self.window.clear();
    }

    /// The bytes where the next record's header would be.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn peek(&self) -> Result<[u8; HEADER_LEN]> {
        let mut bytes = [0; HEADER_LEN];
        read_full_at(&*self.file, &mut bytes, self.position.offset)
            .map_err(|error| self.read_error(error))?;
        Ok(bytes)
    }

    /// Whether the record at the position verifies; the reader stays where it is.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn has_next(&mut self) -> Result<bool> {
        let mark = self.mark();
        let found = matches!(self.next()?, Step::Record(..));
        self.move_to(mark);
        Ok(found)
    }

    /// Whether the record before the position is still the one that was read: another writer replaces it when the device had
    /// lost it.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn last_is_unchanged(&self) -> Result<bool> {
        Self::is_there(&*self.file, self.mark()).map_err(|error| self.read_error(error))
    }

    /// Whether the record before a mark is in its place.
    ///
    /// # Errors
    /// The file's.
    pub(crate) fn is_there(file: &dyn File, mark: Mark) -> std::io::Result<bool> {
        if mark.last_offset == 0 {
            return Ok(true);
        }
        let mut bytes = [0; HEADER_LEN];
        look_full_at(file, &mut bytes, mark.last_offset)?;
        Ok(record::announced_crc(&bytes) == Some(mark.position.link))
    }

    /// The records between `start` and the position, read and verified again; `None` when they are not what they were.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn reread(&mut self, start: Mark) -> Result<Option<Vec<u8>>> {
        let end = self.mark();
        let len = end.position.offset - start.position.offset;
        self.refresh();
        let bytes = self.window.get(&*self.file, start.position.offset, len, len);
        let bytes = bytes.map_err(|error| Error::io("read", &self.path, error))?.to_vec();
        self.move_to(start);
        while self.position.offset < end.position.offset && matches!(self.next()?, Step::Record(..)) {}
        let is_same = self.mark() == end;
        self.move_to(end);
        Ok(is_same.then_some(bytes))
    }

    /// The record at the position, or why there is none.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn next(&mut self) -> Result<Step<'_>> {
        let offset = self.position.offset;
        let room = self.room();
        let (file, path) = (&*self.file, &self.path);
        let read_error = |error| Error::io("read", path, error);
        let header = self.window.get(file, offset, HEADER_LEN as u64, room).map_err(read_error)?;
        if header.iter().all(|&byte| byte == 0) {
            return Ok(Step::Zeros);
        }
        let Some(len) = record::announced_len(header).filter(|&len| len as u64 <= room) else {
            return Ok(Step::Broken);
        };
        // Whoever claims to be that long has to prove it before it gets so much memory.
        if len > LARGE && self.search().verified(offset).map_err(read_error)?.is_none() {
            return Ok(Step::Broken);
        }
        self.window.get(file, offset, len as u64, room).map_err(read_error)?;
        let (place, bytes) = (self.window.place(offset, len as u64), &self.window.bytes);
        let held = Held { bytes, at: place.start + HEADER_LEN };
        let Some(record) = record::decode(&bytes[place], self.header.life, offset) else {
            return Ok(Step::Broken);
        };
        if record.header.link != self.position.link || !follows(&record.header, self.position.lsn) {
            return Ok(Step::Broken);
        }
        let lsn = record.header.lsn;
        self.position = Position { offset: offset + record::padded(len) as u64, link: record.crc, lsn };
        self.last_offset = offset;
        Ok(Step::Record(record, held))
    }

    /// Looks at everything behind the position. A record of this life that says that the next LSN was durable before it proves
    /// that the log does not end at the position.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn survey(&mut self) -> Result<Survey> {
        let lsn = self.position.lsn.next();
        let found = self.search().find(lsn, true, |header| header.durable >= lsn);
        let found = found.map_err(|error| self.read_error(error))?;
        Ok(Survey { proof: found.record.map(|(place, _)| place), stale_end: found.data_end })
    }

    /// The rest of the segment, for a look at whatever is there.
    fn search(&self) -> Search<'_> {
        let (start, end) = (self.position.offset, self.header.capacity);
        Search { file: &*self.file, life: self.header.life, start, end }
    }

    /// Sets a flipped bit of the record at the position right, in memory, if that is all that is wrong with it; returns the
    /// place of its byte in the file. The next step is to read it.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn mend(&mut self) -> Result<Option<u64>> {
        let (offset, room) = (self.position.offset, self.room());
        let (file, path, life) = (&*self.file, &self.path, self.header.life);
        let most = room.min(MAX_MENDED_BITS as u64 / 8);
        let bytes = self.window.get_mut(file, offset, most, room);
        let bytes = bytes.map_err(|error| Error::io("read", path, error))?;
        let place = record::mend(bytes, life, offset);
        Ok(place.map(|place| offset + place as u64))
    }

    /// Stands before the next record of this life that verifies, at the position or behind it, whatever lies between; `false` when
    /// there is none. What the record links to is not asked: it may be lost.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn resync(&mut self) -> Result<bool> {
        let lsn = self.position.lsn;
        // The batch before the one with this header, or the one that it repeats.
        let before = |header: &record::Header| match header.kind {
            Kind::Batch => header.lsn.0.checked_sub(1).map(Lsn),
            Kind::Seal | Kind::Base => Some(header.lsn),
        };
        let found =
            self.search().find(lsn, false, |header| before(header).is_some_and(|before| before >= lsn));
        let record = found.map_err(|error| self.read_error(error))?.record;
        if let Some((offset, header)) = record {
            let lsn = before(&header).unwrap_or(lsn);
            self.move_to(Mark { position: Position { offset, link: header.link, lsn }, last_offset: 0 });
        }
        Ok(record.is_some())
    }

    fn read_error(&self, error: std::io::Error) -> Error {
        Error::io("read", &self.path, error)
    }
}

/// Whether a record can stand behind the batch with LSN `last`.
fn follows(header: &record::Header, last: Lsn) -> bool {
    match header.kind {
        Kind::Batch => header.lsn == last.next(),
        Kind::Seal | Kind::Base => header.lsn == last,
    }
}

/// A part of the file read ahead. It grows with use: small for one record, large for a long walk.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Arc<[u8]>,
    /// How many of them were read.
    len: usize,
    next_len: u64,
}

const WINDOW_MIN: u64 = 4 << 10;
const WINDOW_MAX: u64 = 1 << 20;

/// A record of more bytes is verified before it is read as a whole.
const LARGE: usize = 64 << 20;

/// A window of so many bytes is kept whole by who keeps a record of it: smaller ones were read for a few records, and the rest of
/// them would take memory for nothing.
const SHARED_WINDOW: usize = 64 << 10;

impl Window {
    fn clear(&mut self) {
        self.len = 0;
        self.next_len = WINDOW_MIN;
    }

    /// `len` bytes at `offset`, fewer at the end of the file; reads ahead within `room`.
    fn get(&mut self, file: &dyn File, offset: u64, len: u64, room: u64) -> std::io::Result<&[u8]> {
        let held = self.start..=self.start + self.len as u64;
        if !(held.contains(&offset) && held.contains(&(offset + len))) {
            let ahead = self.next_len.max(WINDOW_MIN);
            self.next_len = (ahead * 4).min(WINDOW_MAX);
            self.load(file, offset, len.max(ahead).min(room.max(len)))?;
        }
        Ok(&self.bytes[self.place(offset, len)])
    }

    /// As [`Window::get`], for who is going to change them.
    fn get_mut(&mut self, file: &dyn File, offset: u64, len: u64, room: u64) -> std::io::Result<&mut [u8]> {
        self.get(file, offset, len, room)?;
        let place = self.place(offset, len);
        Ok(&mut Arc::make_mut(&mut self.bytes)[place])
    }

    /// Where bytes that were read lie, as many as there are.
    fn place(&self, offset: u64, len: u64) -> Range<usize> {
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX).min(self.len);
        from..from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX)).min(self.len)
    }

    fn load(&mut self, file: &dyn File, offset: u64, len: u64) -> std::io::Result<()> {
        let len = usize::try_from(len).map_err(|_| std::io::ErrorKind::OutOfMemory)?;
        (self.start, self.len) = (offset, 0);
        if self.bytes.len() != len || Arc::get_mut(&mut self.bytes).is_none() {
            self.bytes = std::iter::repeat_n(0, len).collect();
        }
        self.len = read_full_at(file, Arc::make_mut(&mut self.bytes), offset)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::FORMAT;
    use crate::storage::fs::sim::SimFs;
    use crate::storage::fs::{Fs, OpenMode, write_all_at};
    use crate::storage::wal::segment::SegmentHeader;
    use crate::types::{FileId, Op};

    /// A reader of a segment that holds these values, each in a record of its own, under the key `k`.
    fn segment(values: &[Vec<u8>]) -> SegmentReader {
        let (life, capacity) = (Life { id: FileId(1), salt: 5 }, 4 << 20);
        let header =
            SegmentHeader { format: FORMAT, life, capacity, first_lsn: Lsn(1), previous: Link::default() };
        let (mut bytes, mut link) = (header.encode().to_vec(), header.link());
        for (lsn, value) in (1..).zip(values) {
            let (kind, durable) = (Kind::Batch, Lsn::ZERO);
            let fields =
                record::Header { kind, lsn: Lsn(lsn), durable, link, nonce: 1, unsynced: false, count: 1 };
            let (offset, value) = (bytes.len() as u64, value.as_slice().into());
            let op = Op::Set { key: "k".into(), value, expires: None };
            link = record::encode(&mut bytes, life, offset, &fields, |out| record::encode_op(out, &op));
        }
        let path = PathBuf::from("/segment");
        let file = SimFs::new().process().open(&path, OpenMode::CreateNew).unwrap();
        file.allocate(capacity).unwrap();
        write_all_at(&*file, &bytes, 0).unwrap();
        SegmentReader::open(file, path, life).unwrap()
    }

    /// Where the values of all records lie, as somebody holds on to them.
    fn kept(reader: &mut SegmentReader) -> Vec<(Arc<[u8]>, Range<usize>)> {
        let mut kept = Vec::new();
        while let Step::Record(record, held) = reader.next().unwrap() {
            let (bytes, start) = held.keep(&record);
            record::for_each_op(&record, |op| {
                let start = start + op.at + op.key.len();
                kept.push((Arc::clone(&bytes), start..start + op.value.unwrap_or_default().len()));
            });
        }
        kept
    }

    #[test]
    fn what_is_kept_stays_as_it_is_while_the_reader_goes_on() {
        let values: Vec<Vec<u8>> = (0..3_000_u32).map(|number| number.to_le_bytes().repeat(200)).collect();
        let mut reader = segment(&values);
        let kept = kept(&mut reader);
        assert!(values.iter().eq(kept.iter().map(|(bytes, place)| &bytes[place.clone()])));
        let buffers = kept.chunk_by(|(one, _), (other, _)| Arc::ptr_eq(one, other)).count();
        assert!(buffers < values.len() / 5, "{buffers} buffers for {} records", values.len());
        let held: usize =
            kept.chunk_by(|(one, _), (other, _)| Arc::ptr_eq(one, other)).map(|chunk| chunk[0].0.len()).sum();
        assert!(held < 2 * 3_000 * 800, "{held} bytes are held");
    }

    #[test]
    fn a_record_read_alone_is_kept_alone() {
        let mut reader = segment(&[vec![7; 100]]);
        let kept = kept(&mut reader);
        assert!(kept[0].0.len() < 128, "{}", kept[0].0.len());
    }

    #[test]
    fn setting_a_bit_right_leaves_alone_what_is_kept() {
        let mut reader = segment(&vec![vec![7; 5_000]; 60]);
        let (at, mut byte) = (5_048 * 40, [0]);
        read_full_at(&**reader.file(), &mut byte, at).unwrap();
        write_all_at(&**reader.file(), &[byte[0] ^ 1], at).unwrap();
        let kept = kept(&mut reader);
        let last = &kept.last().unwrap().0;
        let before = last.to_vec();
        assert_eq!(reader.mend().unwrap(), Some(at));
        let Step::Record(record, held) = reader.next().unwrap() else { panic!("it was set right") };
        assert!(!Arc::ptr_eq(&held.keep(&record).0, last));
        assert_eq!(**last, before);
    }
}
