//! A position in the log, and what is known about what is before it: reading on, and deciding where the log ends.
//!
//! What was read may be durable or not. It is known to be by a later record, which says how far the log was durable when it was
//! written, by a note, or because it was synced and read back ([`Follower::confirm`]). Where reading stops, the log ends, or
//! something is lost: [`Follower::settle`] decides. How a handle catches up by these means: [`catch_up`](super::catch_up).

use std::io;
use std::sync::Arc;

use super::chain::segment_name;
use super::{Load, Memory, Tail};
use crate::error::{Error, Result};
use crate::storage::fs::{File, OpenMode, write_all_at};
use crate::storage::manifest::{self, Manifest};
use crate::storage::shm::{Durable, Extent};
use crate::storage::totals::Totals;
use crate::storage::wal::reader::{Held, Mark, SegmentReader, Step};
use crate::storage::wal::record::{self, Header, Kind, OpRef, Record};
use crate::storage::wal::segment;
use crate::storage::{Life, Place};
use crate::types::{FileId, Lsn, Timestamp};

/// How often a reader starts again before it takes a missing file for a lost one.
pub(super) const MAX_RESTARTS: usize = 20;

/// A turn repeats no more than this of what others have written and is not known to be durable.
const MAX_REPEATED: u64 = 64 << 10;

/// A position in the log and what is known about it.
pub(super) struct Follower {
    place: Place,
    writable: bool,
    /// The first segment of the log when the follower began. Segments go away only after another one is first.
    pub(super) first: Life,
    pub(super) segment: SegmentReader,
    /// Every batch up to here is known to be on the device.
    durable: Lsn,
    /// Every batch up to here was written to be synced.
    synced: Lsn,
    /// The last place in the segment up to which everything is known to be on the device.
    confirmed: Mark,
    /// Where bytes of an incomplete write end; the next write covers them.
    stale_end: u64,
    log_bytes: u64,
    /// The batch that the manifest brought in, as long as nothing proves that the manifest is durable.
    pub(super) unproven: Lsn,
    /// The last batch that the known manifest brought in.
    pub(super) bulk: Lsn,
    /// Went on to another segment since the manifest was read: others may have replaced it.
    pub(super) crossed: bool,
    /// The segments of the log, each with the bytes of records before it.
    starts: Vec<(FileId, u64)>,
    totals: Totals,
    /// That of the manifest.
    clock: Option<Timestamp>,
    expiring: Expiring,
}

/// Whether something in the database expires, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Expiring {
    /// Not as far as is known.
    Nothing,
    /// The manifest has a clock. That may not be durable.
    Listed,
    /// It has, durably: an operation that expires is in the log, or may be.
    Proven,
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Nothing but zeros follows.
    Zeros,
    /// Something follows that is not the next record.
    Broken,
    /// The position is on no log any more: start again from the manifest.
    Gone,
}

impl Follower {
    /// Loads what the manifest's files hold and stands at the start of the log behind it.
    pub(super) fn load<M: Memory>(
        place: &Place,
        writable: bool,
        mut manifest: Manifest,
        load: Load<'_, M>,
    ) -> Result<(Self, M)> {
        for _ in 0..MAX_RESTARTS {
            match Self::load_once(place, writable, &manifest, load) {
                Err(Error::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    let now = read_manifest(place)?;
                    if now == manifest {
                        let what = "the file is missing, and the manifest needs it";
                        return Err(Error::corruption(&path, 0, what));
                    }
                    manifest = now;
                }
                loaded => return loaded,
            }
        }
        let what = "the manifest keeps changing faster than it can be followed";
        Err(Error::corruption(&place.path(manifest::NAME), 0, what))
    }

    fn load_once<M: Memory>(
        place: &Place,
        writable: bool,
        manifest: &Manifest,
        load: Load<'_, M>,
    ) -> Result<(Self, M)> {
        let memory = load(place, manifest)?;
        let segment = open_segment(place, manifest.first, writable)?;
        let flushed = manifest.flushed;
        if segment.position().lsn != flushed {
            let lsn = segment.position().lsn;
            let what = format!("it begins behind LSN {lsn}, what the manifest names ends at {flushed}");
            return Err(Error::corruption(segment.path(), 0, what));
        }
        let follower = Self {
            place: place.clone(),
            writable,
            first: manifest.first,
            durable: flushed,
            synced: flushed,
            confirmed: segment.mark(),
            stale_end: 0,
            log_bytes: 0,
            unproven: manifest.bulk,
            bulk: manifest.bulk,
            crossed: false,
            starts: vec![(manifest.first.id, 0)],
            totals: manifest.totals,
            clock: manifest.clock,
            expiring: if manifest.clock.is_some() { Expiring::Listed } else { Expiring::Nothing },
            segment,
        };
        Ok((follower, memory))
    }

    /// Reads on until something is not the next record. With the lock held the seal before an empty segment is made sure of;
    /// without it, such a seal is left alone.
    pub(super) fn replay<M: Memory>(
        &mut self,
        memory: &mut M,
        locked: bool,
        note: Option<&Durable>,
    ) -> Result<Stop> {
        self.segment.refresh();
        loop {
            let before = self.segment.mark();
            let step = match self.segment.next()? {
                Step::Zeros => return Ok(Stop::Zeros),
                Step::Broken => return Ok(Stop::Broken),
                Step::Record(record, held) => take_in(&record, held, memory),
            };
            let Some(taken) = step else {
                return Err(self.corruption(format!("LSN {} is malformed", self.segment.position().lsn)));
            };
            self.account(before, &taken, note);
            if let Some(successor) = taken.successor {
                if let Some(stop) = self.cross(before, successor, locked, note)? {
                    return Ok(stop);
                }
                memory.segment_begins(successor.id);
            }
        }
    }

    /// Draws the conclusions from a record that was read.
    fn account(&mut self, before: Mark, taken: &Taken, note: Option<&Durable>) {
        if taken.successor.is_none() {
            self.log_bytes += self.segment.position().offset - before.position.offset;
        }
        if taken.header.durable >= before.position.lsn {
            self.confirmed = before;
        }
        let is_noted = |note: &&Durable| note.to.covers(self.segment.life(), taken.header.lsn);
        if taken.successor.is_none() && note.is_some_and(|note| is_noted(&note)) {
            self.confirmed = self.segment.mark();
        }
        self.durable = self.durable.max(taken.header.durable);
        if taken.expires {
            self.expiring = Expiring::Proven;
        }
        if !taken.header.unsynced {
            self.synced = taken.header.lsn;
        }
    }

    /// Goes from a seal, which was just read, to the segment that it names.
    fn cross(
        &mut self,
        before: Mark,
        life: Life,
        locked: bool,
        note: Option<&Durable>,
    ) -> Result<Option<Stop>> {
        let mut next = match open_segment(&self.place, life, self.writable) {
            Err(Error::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
                if read_manifest(&self.place)?.first == self.first {
                    return Err(Error::corruption(
                        &path,
                        0,
                        "the file is missing, and the log goes on in it",
                    ));
                }
                return Ok(Some(Stop::Gone));
            }
            opened => opened?,
        };
        let previous = next.header().previous;
        if life.id != self.segment.life().id.next() {
            return Err(Error::corruption(
                next.path(),
                0,
                "it is not the segment after the one that names it",
            ));
        }
        if (previous.id, previous.end, previous.crc)
            != (self.segment.life().id, before.position.offset, before.position.link)
        {
            return Err(Error::corruption(next.path(), 0, "it does not follow the segment that names it"));
        }
        if next.header().first_lsn <= before.position.lsn {
            return Err(Error::corruption(next.path(), 0, "it begins with what is before it already"));
        }
        // A record in the next segment was written after the seal was durable; so was a note about it.
        let seal_is_durable = next.has_next()? || note.is_some_and(|note| note.to.life == life);
        if !seal_is_durable && !locked {
            self.segment.move_to(before);
            return Ok(Some(Stop::Zeros));
        }
        if !seal_is_durable && !self.confirm()? {
            return Ok(Some(Stop::Gone));
        }
        self.move_to(next);
        self.crossed = true;
        Ok(None)
    }

    /// Goes on in a segment whose predecessor is durable.
    pub(super) fn move_to(&mut self, segment: SegmentReader) {
        self.durable = segment.position().lsn;
        self.confirmed = segment.mark();
        self.stale_end = 0;
        self.starts.push((segment.life().id, self.log_bytes));
        self.segment = segment;
    }

    /// Makes sure that what was not known to be durable is on the device; `false` when it is not there.
    ///
    /// A sync that succeeds proves nothing where one before it failed, so the bytes are read back. But pages that some process
    /// has mapped are not read from the device: so what is still there is written once more and synced, like a record of this
    /// handle. (A handle that can't write believes what it reads.) That proves it whatever the first sync said: it may have
    /// reported the failure of another.
    ///
    /// The system tells a handle of a failure once, so that the first sync may use up what the second would have said. Nothing
    /// is lost by that: a failure before the first is about bytes before `confirmed`, which are on the device, or about bytes
    /// behind it, all of which are written once more, so that the second sync is for them.
    pub(super) fn confirm(&mut self) -> Result<bool> {
        let synced = self.on_device(|file| file.sync_data());
        if !self.writable {
            synced?;
        }
        self.on_device(|file| file.drop_cache())?;
        self.write_again()
    }

    /// The same for what a handle that is alive has written and has not failed to sync.
    pub(super) fn write_again(&mut self) -> Result<bool> {
        let Some(bytes) = self.unconfirmed()? else { return Ok(false) };
        if self.writable {
            let start = self.confirmed.position.offset;
            self.on_device(|file| write_all_at(file, &bytes, start).and_then(|()| file.sync_data()))?;
        }
        self.confirmed = self.segment.mark();
        self.durable = self.segment.position().lsn;
        Ok(true)
    }

    /// The records between what is known to be durable and the position, read again; `None` when they are not what they were.
    pub(super) fn unconfirmed(&mut self) -> Result<Option<Vec<u8>>> {
        self.segment.reread(self.confirmed)
    }

    /// Works on the segment's file. An error leaves open what is on the device.
    fn on_device(&self, work: impl FnOnce(&dyn File) -> io::Result<()>) -> Result<()> {
        work(&**self.segment.file()).map_err(|error| Error::Poisoned {
            cause: Error::io("sync", self.segment.path(), error).to_string(),
        })
    }

    /// Takes up what a note says. Returns whether everything that was to be synced is on the device.
    pub(super) fn heed(&mut self, note: Option<&Durable>) -> bool {
        if let Some(note) = note.filter(|note| note.to.life == self.segment.life()) {
            self.durable = self.durable.max(note.to.lsn.min(self.segment.position().lsn));
        }
        if self.durable == self.segment.position().lsn {
            self.confirmed = self.segment.mark();
        }
        !self.is_pending()
    }

    /// Whether something that was to be synced is not known to be on the device.
    pub(super) fn is_pending(&self) -> bool {
        self.synced > self.durable
    }

    /// Whether a turn may write what is pending once more, together with what it appends: what others `wrote` and are about to
    /// have synced.
    pub(super) fn may_repeat(&self, wrote: Option<&Extent>) -> bool {
        let is_little = self.segment.position().offset - self.confirmed.position.offset <= MAX_REPEATED;
        is_little && self.is_relayed(wrote)
    }

    /// Whether what is pending was written by handles that have it synced behind `LOCK`, as far as a note tells.
    pub(super) fn is_relayed(&self, wrote: Option<&Extent>) -> bool {
        wrote.is_some_and(|wrote| wrote.covers(self.segment.life(), self.segment.position().lsn))
    }

    /// Decides, with the lock held, whether the log ends where reading stopped. Returns whether an incomplete write lies there.
    /// `suspicious`: something that was there before is gone.
    ///
    /// The end is believed unless something shows that there was more: a note of this boot, a later record in the segment that
    /// says so, or a next segment that is in use. After zeros, and with a note of this boot that the log ends cleanly in this
    /// segment, nothing is looked for: holes are made by power losses and failed syncs, and who met one looked and noted it.
    pub(super) fn settle(&mut self, stop: Stop, note: Option<&Durable>, suspicious: bool) -> Result<bool> {
        let end = self.segment.position();
        let note_here = note.filter(|note| note.to.life == self.segment.life());
        if let Some(note) = note_here
            && note.to.lsn > end.lsn
        {
            return Err(self.lost(&format!("LSNs {} to {} were durable", end.lsn.next(), note.to.lsn)));
        }
        if stop == Stop::Zeros && note_here.is_some_and(|note| !note.dropped) && !suspicious {
            self.stale_end = end.offset;
            return Ok(false);
        }
        let survey = self.segment.survey()?;
        if let Some(proof) = survey.proof {
            let why = format!("the record at offset {proof} says that LSN {} was durable", end.lsn.next());
            return Err(self.lost(&why));
        }
        if self.successor_is_in_use()? {
            return Err(self.lost(&format!("segment {} continues the log", self.segment.life().id.next())));
        }
        self.stale_end = survey.stale_end;
        Ok(survey.stale_end > end.offset)
    }

    /// Whether the next segment's file continues this one and holds records: then this one was sealed. A file that does not
    /// verify is the leftover of a rotation that was cut short.
    fn successor_is_in_use(&self) -> Result<bool> {
        let path = self.place.path(segment_name(self.segment.life().id.next()));
        let file = match self.place.fs.open(&path, OpenMode::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|error| Error::io("open", &path, error))?,
        };
        let header = match segment::read_header(&*file, &path) {
            Err(Error::Corruption { .. }) => return Ok(false),
            read => read?,
        };
        let mut next = SegmentReader::at_start(file, path, header);
        Ok(header.previous.id == self.segment.life().id && next.has_next()?)
    }

    fn lost(&self, why: &str) -> Error {
        self.corruption(format!("LSN {} can't be read, but {why}", self.segment.position().lsn.next()))
    }

    pub(super) fn corruption(&self, what: String) -> Error {
        Error::corruption(self.segment.path(), self.segment.position().offset, what)
    }

    /// The end of the log as readers compare it.
    pub(super) fn tail(&self) -> Result<Tail> {
        let offset = self.segment.position().offset;
        Ok(Tail { file: Arc::clone(self.segment.file()), offset, seen: self.segment.peek()? })
    }

    /// The end of the log behind what this handle wrote last: its write covered whatever lay there.
    pub(super) fn own_tail(&self) -> Tail {
        let offset = self.segment.position().offset;
        Tail { file: Arc::clone(self.segment.file()), offset, seen: [0; record::HEADER_LEN] }
    }

    pub(super) const fn log_bytes(&self) -> u64 {
        self.log_bytes
    }

    pub(super) const fn durable(&self) -> Lsn {
        self.durable
    }

    pub(super) const fn stale_end(&self) -> u64 {
        self.stale_end
    }

    /// What was written up to the manifest that the follower knows.
    pub(super) const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// Bytes of records from the segment `from` up to the current one.
    pub(super) fn sealed_bytes(&self, from: FileId) -> u64 {
        self.bytes_before(self.segment.life().id) - self.bytes_before(from)
    }

    /// Bytes of records before a segment; none before one that is not known any more.
    fn bytes_before(&self, id: FileId) -> u64 {
        self.starts.iter().find(|(start, _)| *start == id).map_or(0, |(_, bytes)| *bytes)
    }

    /// Takes note that other files now stand for the log before the first segment of `manifest`.
    pub(super) fn rebased(&mut self, manifest: &Manifest) {
        let gone = self.bytes_before(manifest.first.id);
        self.starts.retain(|(id, _)| *id >= manifest.first.id);
        self.starts.iter_mut().for_each(|(_, bytes)| *bytes -= gone);
        self.log_bytes -= gone;
        self.first = manifest.first;
        self.bulk = manifest.bulk;
        self.totals = manifest.totals;
        self.clock = manifest.clock;
        if manifest.clock.is_some() {
            self.expiring = self.expiring.max(Expiring::Listed);
        }
    }

    /// Takes note that the clock of the manifest is durable.
    pub(super) fn begin_to_expire(&mut self, clock: Option<Timestamp>) {
        (self.clock, self.expiring) = (clock, Expiring::Proven);
    }

    /// Whether operations that expire may be written to the log.
    pub(super) fn clock_is_durable(&self) -> bool {
        self.expiring == Expiring::Proven
    }

    /// The clock of the manifest.
    pub(super) const fn clock(&self) -> Option<Timestamp> {
        self.clock
    }

    /// Whether something in the database expires, or did.
    pub(super) fn expires(&self) -> bool {
        self.expiring > Expiring::Nothing
    }

    /// The bytes of a seal at the position.
    pub(super) fn seal_for(&self, successor: Life, nonce: u32) -> Vec<u8> {
        let position = self.segment.position();
        let (lsn, link) = (position.lsn, position.link);
        let header =
            Header { kind: Kind::Seal, lsn, durable: self.durable, link, nonce, unsynced: false, count: 0 };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, self.segment.life(), position.offset, &header, |out| {
            record::encode_successor(out, successor);
        });
        bytes
    }

    /// Moves behind records that this handle wrote at the position.
    pub(super) fn wrote(&mut self, mark: Mark, durable: bool) {
        self.log_bytes += mark.position.offset - self.segment.position().offset;
        self.segment.move_to(mark);
        self.stale_end = mark.position.offset;
        if durable {
            self.durable = mark.position.lsn;
            self.synced = mark.position.lsn;
            self.confirmed = mark;
        }
    }
}

/// What a record came to.
struct Taken {
    header: Header,
    successor: Option<Life>,
    /// Something in it expires.
    expires: bool,
}

/// Applies a batch, or reads a seal; `None` when it is neither.
fn take_in<M: Memory>(record: &Record<'_>, held: Held<'_>, memory: &mut M) -> Option<Taken> {
    let (mut successor, mut expires) = (None, false);
    match record.header.kind {
        Kind::Seal => successor = Some(record::decode_successor(record.payload)?),
        Kind::Batch => {
            let (bytes, start) = if M::KEEPS_BYTES { held.keep(record) } else { (Arc::default(), 0) };
            if record.header.count > 1 {
                record::for_each_op(record, |op| memory.prefetch(op.key))?;
            }
            record::for_each_op(record, |op| {
                expires |= op.expires.is_some();
                memory.apply(OpRef { at: start + op.at, ..op }, &bytes);
            })?;
        }
        Kind::Base => return None,
    }
    Some(Taken { header: record.header, successor, expires })
}

fn open_segment(place: &Place, life: Life, writable: bool) -> Result<SegmentReader> {
    let path = place.path(segment_name(life.id));
    let mode = if writable { OpenMode::Write } else { OpenMode::Read };
    let file = place.fs.open(&path, mode).map_err(|error| Error::io("open", &path, error))?;
    SegmentReader::open(file, path, life)
}

pub(super) fn read_manifest(place: &Place) -> Result<Manifest> {
    Manifest::read(&*place.fs, &place.dir)?.ok_or_else(|| Error::NoDatabase { dir: place.dir.clone() })
}
