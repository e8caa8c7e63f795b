//! Opening segments and bases whose header may not verify.
//!
//! What the header says is known otherwise where nothing else is damaged: its salt from the seal or the manifest that names the
//! file, its length from the file, its first LSN from what comes before. Where nobody else knows the salt, the header's is
//! tried: it is right if records verify with it.

use std::io;
use std::sync::Arc;

use super::look::LogStart;
use super::{Loss, MENDED, Sink};
use crate::error::{Error, Fault, Result};
use crate::storage::fs::{File, OpenMode};
use crate::storage::wal::reader::SegmentReader;
use crate::storage::wal::segment::{self, HEADER_LEN, Link, SegmentHeader};
use crate::storage::{FORMAT, Life, Place};
use crate::types::{FileId, Lsn};

/// What a file is that records are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment,
    Base,
}

impl FileKind {
    pub(super) fn name(self, id: FileId) -> String {
        match self {
            Self::Segment => format!("{id}.wal"),
            Self::Base => format!("{id}.base"),
        }
    }
}

/// A segment or base to read records from.
pub(super) struct Opened {
    pub(super) reader: SegmentReader,
    /// The header verified.
    pub(super) header: bool,
}

/// Opens the file for reading records behind `start.lsn`; `None`, with a fault, when it is missing or nothing of it can be read.
///
/// # Errors
/// `Format`, I/O; `NotFound` too.
pub(super) fn open(
    place: &Place,
    kind: FileKind,
    start: LogStart,
    previous: Link,
    mends: bool,
    sink: &mut dyn Sink,
) -> Result<Option<Opened>> {
    let path = place.path(kind.name(start.id));
    let file = place.open(kind.name(start.id), OpenMode::Read)?;
    let damage = match segment::read_header(&*file, &path) {
        Ok(header) if is_expected(&header, start) => {
            return Ok(Some(Opened { reader: SegmentReader::at_start(file, path, header), header: true }));
        }
        Ok(header) => {
            let what = format!("this is segment {}, not the expected {}", header.life.id, start.id);
            sink.fault(Fault::new(path, 0, what), Loss::Records);
            return Ok(None);
        }
        Err(Error::Corruption { offset, what, .. }) => (offset, what),
        Err(error) => return Err(error),
    };
    if mends
        && let Some((header, at)) = segment::mended_header(&*file, &path)?
        && is_expected(&header, start)
    {
        sink.fault(Fault::new(path.clone(), at as u64, MENDED), Loss::Nothing);
        return Ok(Some(Opened { reader: SegmentReader::at_start(file, path, header), header: true }));
    }
    let len = if damage.0 == 0 { HEADER_LEN as u64 } else { 0 };
    let fault = Fault { len, ..Fault::new(path, damage.0, damage.1) };
    guess(&file, &fault, start, previous).map(|reader| {
        let loss = if reader.is_some() { Loss::Nothing } else { Loss::Records };
        sink.fault(fault, loss);
        reader.map(|reader| Opened { reader, header: false })
    })
}

fn is_expected(header: &SegmentHeader, start: LogStart) -> bool {
    header.life.id == start.id && start.salt.is_none_or(|salt| header.life.salt == salt)
}

/// A reader with the header as it must have been; `None` when no record verifies with it.
fn guess(
    file: &Arc<dyn File>,
    fault: &Fault,
    start: LogStart,
    previous: Link,
) -> Result<Option<SegmentReader>> {
    let salt = match start.salt {
        Some(salt) => salt,
        None => segment::read_salt(&**file, &fault.file)?,
    };
    let capacity = file.size().map_err(|error| Error::io("read the length of", &fault.file, error))?;
    let header = SegmentHeader {
        format: FORMAT,
        life: Life { id: start.id, salt },
        capacity,
        first_lsn: start.lsn.unwrap_or_default().next(),
        previous,
    };
    let mut reader = SegmentReader::at_start(Arc::clone(file), fault.file.clone(), header);
    let is_used = reader.has_next()? || {
        let mark = reader.mark();
        let found = reader.resync()?;
        reader.move_to(mark);
        found
    };
    Ok((is_used || start.salt.is_some()).then_some(reader))
}

/// The header of segment `id`, if it verifies.
///
/// # Errors
/// `Format`, I/O.
pub(super) fn header(place: &Place, kind: FileKind, id: FileId) -> Result<Option<SegmentHeader>> {
    let path = place.path(kind.name(id));
    let file = match place.fs.open(&path, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(|error| Error::io("open", &path, error))?,
    };
    match segment::read_header(&*file, &path) {
        Err(Error::Corruption { .. }) => Ok(None),
        read => read.map(Some),
    }
}

/// The newest base: an older one may hold what was deleted since.
pub(super) fn newest_base(place: &Place, ids: &[FileId]) -> Result<Option<LogStart>> {
    for &id in ids.iter().rev() {
        if let Some(header) = header(place, FileKind::Base, id)?.filter(|header| header.capacity > 0) {
            let lsn = Lsn(header.first_lsn.0.saturating_sub(1));
            return Ok(Some(LogStart { id, salt: Some(header.life.salt), lsn: Some(lsn) }));
        }
    }
    Ok(ids.last().map(|&id| LogStart { id, salt: None, lsn: None }))
}

/// The first of the segments that follow one another up to the newest, behind what a base stands for.
pub(super) fn first_of_suffix(
    place: &Place,
    ids: &[FileId],
    base: Option<FileId>,
) -> Result<Option<LogStart>> {
    let behind_base = |id: FileId| base.is_none_or(|base| id > base);
    let Some(&newest) = ids.iter().rev().find(|id| behind_base(**id)) else { return Ok(None) };
    let mut first = newest;
    while first.0 > 0 && behind_base(FileId(first.0 - 1)) && ids.contains(&FileId(first.0 - 1)) {
        first = FileId(first.0 - 1);
    }
    let header = header(place, FileKind::Segment, first)?;
    let lsn = header.map(|header| Lsn(header.first_lsn.0.saturating_sub(1)));
    Ok(Some(LogStart { id: first, salt: header.map(|header| header.life.salt), lsn }))
}
