//! The walk over the log: every record that verifies, in order, and what lies between them that does not.
//!
//! Where the next record does not verify, the log ends, or it goes on behind damage. It goes on if something shows that more was
//! durable there, as it does for a process that catches up: a later record that says so, a next segment that is in use, a note of
//! this boot. Then the walk resumes at the next record of the segment that verifies, or in the next segment. Else what lies there
//! is an incomplete write that was never acknowledged, and is left out.

use std::io;

use super::look::{LogStart, ids};
use super::segments::{self, FileKind, Opened};
use super::{Gate, Look, Loss, MENDED, Sink, Walked};
use crate::error::{Error, Fault, Notice, Result};
use crate::storage::fs::OpenMode;
use crate::storage::manifest::Manifest;
use crate::storage::wal::reader::{SegmentReader, Step};
use crate::storage::wal::record::{self, Kind, Record};
use crate::storage::wal::segment::Link;
use crate::storage::{Life, Place};
use crate::types::{FileId, Lsn};

/// Reads the log of what is looked at.
///
/// # Errors
/// `Interrupted`, `Busy`, `Format`, I/O.
pub(super) fn walk(place: &Place, gate: &Gate, look: &Look, sink: &mut dyn Sink) -> Result<Walked> {
    let Some(start) = look.log else { return Ok(Walked::Done(Lsn::ZERO)) };
    let mut walk =
        Walk { place, gate, manifest: look.manifest.as_ref(), mends: look.mends, sink, lsn: start.lsn };
    let mut next = Some((start, Link::default()));
    while let Some((start, previous)) = next {
        next = match walk.segment(start, previous)? {
            Next::Segment(start, previous) => Some((start, previous)),
            Next::End => None,
            Next::Anew => return Ok(Walked::Anew),
        };
    }
    Ok(Walked::Done(walk.lsn.unwrap_or_default()))
}

/// Where a segment leads.
enum Next {
    Segment(LogStart, Link),
    End,
    Anew,
}

struct Walk<'a> {
    place: &'a Place,
    gate: &'a Gate,
    manifest: Option<&'a Manifest>,
    mends: bool,
    sink: &'a mut dyn Sink,
    /// The last batch so far; `None` before the first one of a log whose beginning is not known.
    lsn: Option<Lsn>,
}

/// What a record came to.
enum Taken {
    Batch,
    Seal(Option<Life>),
    Nonsense,
}

impl Walk<'_> {
    /// Reads a segment to its end, over damage.
    fn segment(&mut self, start: LogStart, previous: Link) -> Result<Next> {
        let opened =
            match segments::open(self.place, FileKind::Segment, start, previous, self.mends, self.sink) {
                Err(Error::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    if self.is_outdated() {
                        return Ok(Next::Anew);
                    }
                    let what = "the file is missing, and the log goes on in it";
                    self.sink.fault(Fault::new(path, 0, what), Loss::Nothing);
                    None
                }
                opened => opened?,
            };
        match opened {
            Some(opened) => self.records(opened),
            None => self.behind(start.id),
        }
    }

    fn records(&mut self, Opened { mut reader, header }: Opened) -> Result<Next> {
        if header {
            self.begin(&reader);
        }
        let gate = self.gate;
        let mut held = None;
        loop {
            let before = reader.position();
            let sink = &mut *self.sink;
            let taken = match reader.next()? {
                Step::Record(record, _) => Some(take_in(&record, sink)),
                Step::Zeros | Step::Broken => None,
            };
            match taken {
                Some(Taken::Seal(Some(life))) => {
                    let start = LogStart { id: life.id, salt: Some(life.salt), lsn: self.lsn };
                    let previous = Link { id: reader.life().id, end: before.offset, crc: before.link };
                    return Ok(Next::Segment(start, previous));
                }
                Some(Taken::Batch) => self.lsn = Some(reader.position().lsn),
                Some(Taken::Seal(None) | Taken::Nonsense) => {
                    let what = "a record verifies and makes no sense";
                    let fault = Fault::new(reader.path().to_owned(), before.offset, what);
                    self.sink
                        .fault(fault.of_lsns(reader.position().lsn, reader.position().lsn), Loss::Records);
                }
                // Somebody may be writing here just now.
                None if held.is_none() => {
                    held = Some(gate.hold()?);
                    reader.refresh();
                }
                None => {
                    if let Some(next) = self.resume(&mut reader)? {
                        return Ok(next);
                    }
                }
            }
            self.sink.check(0)?;
        }
    }

    /// A segment begins, and its header can be believed.
    fn begin(&mut self, reader: &SegmentReader) {
        let before = Lsn(reader.header().first_lsn.0.saturating_sub(1));
        // A bulk has the LSN that is left out between two segments.
        self.lsn = Some(self.lsn.map_or(before, |lsn| lsn.max(before)));
    }

    /// Decides what it means that nothing verifies at the position. `None`: the reader stands before the next record.
    fn resume(&mut self, reader: &mut SegmentReader) -> Result<Option<Next>> {
        let at = reader.position();
        let wanted = at.lsn.next();
        let survey = reader.survey()?;
        let path = reader.path().to_owned();
        let id = reader.life().id;
        let note = self.gate.durable().filter(|note| note.to.covers(reader.life(), wanted));
        let successor = self.successor_in_use(id)?;
        let why = match (survey.proof, &note, &successor) {
            (Some(proof), _, _) => format!("the record at offset {proof} says that LSN {wanted} was durable"),
            (None, Some(note), _) => format!("LSNs {wanted} to {} were durable", note.to.lsn),
            (None, None, Some(_)) => format!("segment {} continues the log", id.next()),
            (None, None, None) => {
                if survey.stale_end > at.offset {
                    self.sink.notice(Notice::TornTail { file: path, offset: at.offset, lsn: wanted });
                }
                return Ok(Some(Next::End));
            }
        };
        if self.mends
            && let Some(at) = reader.mend()?
            && reader.has_next()?
        {
            self.sink.fault(Fault::new(path, at, MENDED), Loss::Nothing);
            return Ok(None);
        }
        let fault = Fault::new(path, at.offset, format!("LSN {wanted} can't be read, but {why}"));
        if reader.resync()? {
            let len = reader.position().offset - at.offset;
            self.lose(Fault { len, ..fault }, wanted, Some(reader.position().lsn));
            self.lsn = Some(reader.position().lsn);
            return Ok(None);
        }
        let last = successor.map(|start| start.lsn.unwrap_or_default()).or(note.map(|note| note.to.lsn));
        self.lose(fault, wanted, last);
        self.lsn = self.lsn.max(last);
        Ok(Some(successor.map_or(Next::End, |start| Next::Segment(start, Link::default()))))
    }

    /// Tells of batches from `first` to `last` that are lost. There are none where only a seal is.
    fn lose(&mut self, fault: Fault, first: Lsn, last: Option<Lsn>) {
        match last {
            Some(last) if last < first => self.sink.fault(fault, Loss::Nothing),
            Some(last) => self.sink.fault(fault.of_lsns(first, last), Loss::Records),
            None => self.sink.fault(fault, Loss::Records),
        }
    }

    /// The next segment, if it continues this one and holds records: this one was sealed then.
    fn successor_in_use(&self, id: FileId) -> Result<Option<LogStart>> {
        let Some(header) = segments::header(self.place, FileKind::Segment, id.next())? else {
            return Ok(None);
        };
        let name = FileKind::Segment.name(id.next());
        let (path, file) = (self.place.path(&name), self.place.open(&name, OpenMode::Read)?);
        let is_used = SegmentReader::at_start(file, path, header).has_next()?;
        let lsn = Some(Lsn(header.first_lsn.0.saturating_sub(1)));
        let start = LogStart { id: id.next(), salt: Some(header.life.salt), lsn };
        Ok((header.previous.id == id && is_used).then_some(start))
    }

    /// Goes on behind a segment of which nothing can be read: in the next one that there is.
    fn behind(&mut self, id: FileId) -> Result<Next> {
        let wanted = self.lsn.unwrap_or_default().next();
        let path = self.place.path(FileKind::Segment.name(id));
        for next in ids(self.place, "wal")?.into_iter().filter(|next| *next > id) {
            if let Some(header) = segments::header(self.place, FileKind::Segment, next)? {
                let last = Some(Lsn(header.first_lsn.0.saturating_sub(1)));
                let what = "what was written to this segment can't be read";
                self.lose(Fault::new(path, 0, what), wanted, last);
                self.lsn = last;
                let start = LogStart { id: next, salt: Some(header.life.salt), lsn: last };
                return Ok(Next::Segment(start, Link::default()));
            }
        }
        let what = format!("what was written to this segment, from LSN {wanted} on, can't be read");
        self.lose(Fault::new(path, 0, what), wanted, None);
        Ok(Next::End)
    }

    /// Whether another manifest is in force by now.
    fn is_outdated(&self) -> bool {
        let now = Manifest::read(&*self.place.fs, &self.place.dir).ok().flatten();
        self.manifest.is_some() && now.as_ref() != self.manifest
    }
}

fn take_in(record: &Record<'_>, sink: &mut dyn Sink) -> Taken {
    sink.log_record();
    match record.header.kind {
        Kind::Seal => Taken::Seal(record::decode_successor(record.payload)),
        Kind::Batch => match record::for_each_op(record, |op| sink.change(op.lsn, op.to_op())) {
            Some(()) => Taken::Batch,
            None => Taken::Nonsense,
        },
        Kind::Base => Taken::Nonsense,
    }
}
