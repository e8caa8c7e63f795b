//! A handle: what a process knows of the database, and how it catches up. The names are those of `wal_engine/follow.rs`.

use crate::Defect;
use crate::disk::{Bytes, Content, Disk, HEADER, Life, Lsn, Manifest, Note, Record, What};

/// What must never be said of a disk that only ever lost power: that something is damaged.
pub(crate) type Result<T> = std::result::Result<T, &'static str>;

/// Not damage: a sync has failed, and the handle ends.
pub(crate) const POISONED: &str = "a sync failed";

/// A place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) index: usize,
    pub(crate) link: u8,
    pub(crate) lsn: Lsn,
}

#[expect(clippy::struct_excessive_bools, reason = "they are what the handle in the engine knows")]
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Handle {
    /// The open file, and whose life it is to have.
    pub(crate) file: usize,
    pub(crate) life: Life,
    pub(crate) at: Mark,
    pub(crate) first: Life,
    pub(crate) durable: Lsn,
    synced: Lsn,
    pub(crate) confirmed: Mark,
    crossed: bool,
    adrift: bool,
    /// The memory may be shown: it was brought up to date, and nothing was read since.
    pub(crate) tail: bool,
    pub(crate) tables: Vec<u8>,
    pub(crate) flushed: Lsn,
    /// The batches behind `flushed`.
    pub(crate) memory: Vec<Content>,
    /// What the tables should hold. No process looks at it.
    pub(crate) ghost: Vec<Content>,
    /// The sync of another has failed since the file was opened: the next sync says so.
    pub(crate) failure: bool,
}

/// What a process needs the log for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Show,
    /// What is in it may be durable together with what is appended.
    Append,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Zeros,
    Broken,
    Gone,
}

const MAX_RESTARTS: usize = 4;

impl Handle {
    /// Loads what a manifest leads to; `None` when a file is not there.
    pub(crate) fn load(disk: &Disk, manifest: &Manifest) -> Result<Option<Self>> {
        let Some(file) = disk.named(manifest.first.id) else { return Ok(None) };
        let segment = &disk.segments[file];
        if segment.life != manifest.first {
            return Err("the first segment is another one");
        }
        if segment.first_lsn != manifest.flushed + 1 {
            return Err("the first segment does not begin behind what was flushed");
        }
        let at = Mark { index: 0, link: HEADER, lsn: manifest.flushed };
        Ok(Some(Self {
            file,
            life: segment.life,
            at,
            first: manifest.first,
            durable: manifest.flushed,
            synced: manifest.flushed,
            confirmed: at,
            crossed: false,
            adrift: false,
            tail: false,
            tables: manifest.tables.clone(),
            flushed: manifest.flushed,
            memory: Vec::new(),
            ghost: manifest.ghost.clone(),
            failure: false,
        }))
    }

    /// Whether something was written behind the end of the log that is shown.
    pub(crate) fn is_behind(&self, disk: &Disk) -> bool {
        !self.tail || disk.slot(self.file, self.at.index) != Bytes::Zeros
    }

    /// Everything, if all tables are still there; each is looked up when it is needed.
    pub(crate) fn contents(&self, disk: &Disk) -> Result<Option<Vec<Content>>> {
        let mut contents = Vec::new();
        for id in &self.tables {
            let Some(table) = disk.table(*id) else { return Ok(None) };
            if table.torn {
                return Err("a table is damaged");
            }
            if usize::from(table.from) != contents.len() {
                return Err("tables leave a gap or overlap");
            }
            contents.extend(&table.contents);
        }
        contents.extend(&self.memory);
        Ok(Some(contents))
    }

    fn next(&self, disk: &Disk) -> std::result::Result<Record, Stop> {
        if disk.slot(self.file, self.at.index) == Bytes::Zeros {
            return Err(Stop::Zeros);
        }
        let record = disk.record(self.file, self.at.index, self.life).ok_or(Stop::Broken)?;
        let follows = match record.what {
            What::Batch(_) => record.lsn == self.at.lsn + 1,
            What::Seal(_) => record.lsn == self.at.lsn,
        };
        if record.link == self.at.link && follows { Ok(record) } else { Err(Stop::Broken) }
    }

    fn last_is_unchanged(&self, disk: &Disk) -> bool {
        let Some(last) = self.at.index.checked_sub(1) else { return true };
        matches!(disk.slot(self.file, last), Bytes::Record(record) if record.crc == self.at.link)
    }

    fn replay(&mut self, disk: &mut Disk, locked: bool, note: Option<Note>, defect: Defect) -> Result<Stop> {
        loop {
            let before = self.at;
            let record = match self.next(disk) {
                Ok(record) => record,
                Err(stop) => return Ok(stop),
            };
            self.at = Mark { index: before.index + 1, link: record.crc, lsn: record.lsn };
            if record.durable >= before.lsn {
                self.confirmed = before;
            }
            self.durable = self.durable.max(record.durable);
            self.synced = record.lsn;
            let is_noted = note.is_some_and(|note| note.life == self.life && note.lsn >= record.lsn);
            if is_noted && matches!(record.what, What::Batch(_)) {
                self.confirmed = self.at;
            }
            match record.what {
                What::Batch(content) => self.memory.push(content),
                What::Seal(life) => {
                    if let Some(stop) = self.cross(disk, before, life, locked, note, defect)? {
                        return Ok(stop);
                    }
                }
            }
        }
    }

    /// Goes from a seal, which was just read, to the segment that it names.
    fn cross(
        &mut self,
        disk: &mut Disk,
        before: Mark,
        life: Life,
        locked: bool,
        note: Option<Note>,
        defect: Defect,
    ) -> Result<Option<Stop>> {
        let Some(file) = disk.named(life.id) else {
            let is_gone = disk.manifest.first != self.first;
            return if is_gone { Ok(Some(Stop::Gone)) } else { Err("a segment is missing") };
        };
        let segment = &disk.segments[file];
        if segment.life != life {
            return Err("this is another segment than the seal names");
        }
        if segment.previous != (self.life.id, u8::try_from(before.index).unwrap(), before.link) {
            return Err("it does not follow the segment that names it");
        }
        let mark = Mark { index: 0, link: HEADER, lsn: segment.first_lsn - 1 };
        let seal_is_durable =
            disk.record(file, 0, life).is_some() || note.is_some_and(|note| note.life == life);
        if !seal_is_durable && !locked && defect != Defect::SealBelieved {
            self.at = before;
            return Ok(Some(Stop::Zeros));
        }
        if !seal_is_durable && defect != Defect::SealBelieved && !self.confirm(disk, defect) {
            return Ok(Some(Stop::Gone));
        }
        self.move_to(file, life, mark);
        self.crossed = true;
        Ok(None)
    }

    /// Goes on in a segment whose predecessor is durable.
    pub(crate) fn move_to(&mut self, file: usize, life: Life, mark: Mark) {
        (self.file, self.life, self.at, self.failure) = (file, life, mark, false);
        self.durable = mark.lsn;
        self.confirmed = mark;
    }

    /// Makes sure that what was not known to be durable is on the device; `false` when it is not there.
    fn confirm(&mut self, disk: &mut Disk, defect: Defect) -> bool {
        if defect == Defect::OrphanShown {
            self.durable = self.at.lsn;
            return true;
        }
        let end = self.at;
        disk.sync(self.file);
        self.failure = false;
        if defect != Defect::SyncAskedAgain {
            disk.drop_cache(self.file);
        }
        self.at = self.confirmed;
        while self.at != end {
            let Ok(record) = self.next(disk) else { return false };
            self.at = Mark { index: self.at.index + 1, link: record.crc, lsn: record.lsn };
        }
        if defect != Defect::SyncAskedAgain && defect != Defect::NotWrittenAgain {
            for index in self.confirmed.index..end.index {
                let bytes = disk.slot(self.file, index);
                disk.write(self.file, index, bytes);
            }
            disk.sync(self.file);
        }
        self.confirmed = end;
        self.durable = end.lsn;
        true
    }

    /// Decides whether the log ends where reading stopped. Returns whether an incomplete write lies there.
    fn settle(&self, disk: &Disk, stop: Stop, note: Option<Note>, suspicious: bool) -> Result<bool> {
        let here = note.filter(|note| note.life == self.life);
        if here.is_some_and(|note| note.lsn > self.at.lsn) {
            return Err("a note says that more was durable");
        }
        if stop == Stop::Zeros && here.is_some_and(|note| !note.dropped) && !suspicious {
            return Ok(false);
        }
        let slots = disk.segments[self.file].slots.len();
        let behind = |index: &usize| disk.record(self.file, *index, self.life);
        if (self.at.index..slots)
            .filter_map(|index| behind(&index))
            .any(|record| record.durable > self.at.lsn)
        {
            return Err("a later record says that more was durable");
        }
        let successor = disk.named(self.life.id + 1).map(|file| (file, &disk.segments[file]));
        if let Some((file, next)) = successor
            && next.previous.0 == self.life.id
            && disk.record(file, 0, next.life).is_some_and(|record| record.link == HEADER)
        {
            return Err("another segment continues the log");
        }
        Ok((self.at.index..slots).any(|index| disk.slot(self.file, index) != Bytes::Zeros))
    }

    /// Takes up what a note says. Returns whether everything is on the device.
    fn heed(&mut self, note: Option<Note>) -> bool {
        if let Some(note) = note.filter(|note| note.life == self.life) {
            self.durable = self.durable.max(note.lsn.min(self.at.lsn));
        }
        if self.durable == self.at.lsn {
            self.confirmed = self.at;
        }
        !self.is_pending()
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.synced > self.durable
    }

    pub(crate) fn is_full(&self, room: usize) -> bool {
        self.at.index >= room
    }

    /// What is pending was written by who has it synced behind `LOCK`.
    fn is_relayed(&self, disk: &Disk) -> bool {
        disk.written.is_some_and(|(life, lsn)| life == self.life && lsn >= self.at.lsn)
    }

    /// Waits for who syncs what is pending, or does it; `false` when it is not there.
    fn settle_pending(&mut self, disk: &mut Disk, defect: Defect) -> Result<bool> {
        if !self.is_relayed(disk) {
            return Ok(self.confirm(disk, defect));
        }
        if self.heed(disk.note) {
            return Ok(true);
        }
        self.repeat(disk);
        disk.sync(self.file);
        if std::mem::take(&mut self.failure) {
            return Err(POISONED);
        }
        (self.confirmed, self.durable) = (self.at, self.at.lsn);
        Ok(true)
    }

    /// Writes what is pending over itself.
    pub(crate) fn repeat(&self, disk: &mut Disk) {
        for index in self.confirmed.index..self.at.index {
            let bytes = disk.slot(self.file, index);
            disk.write(self.file, index, bytes);
        }
    }

    /// Step 1: what can be read without the lock. Nothing is decided here.
    pub(crate) fn read_ahead(&mut self, disk: &mut Disk, defect: Defect) {
        if self.adrift {
            return;
        }
        let before = self.at;
        let stop = self.replay(disk, false, None, defect);
        self.adrift |= !matches!(stop, Ok(Stop::Zeros | Stop::Broken));
        self.tail &= !self.adrift && self.at == before;
    }

    fn restart(&mut self, disk: &Disk) -> Result<()> {
        *self = Self::load(disk, &disk.manifest)?.ok_or("the manifest needs a segment that is missing")?;
        Ok(())
    }

    /// Steps 2 to 4, with `LOCK` held. Returns whether the handle had to begin again.
    pub(crate) fn catch_up_locked(
        &mut self,
        purpose: Purpose,
        disk: &mut Disk,
        defect: Defect,
    ) -> Result<Caught> {
        let mut caught = Caught::default();
        if !self.adrift && !self.is_behind(disk) && self.last_is_unchanged(disk) {
            return Ok(caught);
        }
        let note = disk.note;
        let mut suspicious = self.adrift || !self.last_is_unchanged(disk);
        for round in 0..MAX_RESTARTS {
            if suspicious || round > 0 {
                suspicious = true;
                caught.restarted = true;
                self.restart(disk)?;
            }
            let stop = self.replay(disk, true, note, defect)?;
            if stop == Stop::Gone {
                continue;
            }
            let dropped = self.settle(disk, stop, note, suspicious)?;
            let may_wait = purpose == Purpose::Append && self.is_relayed(disk);
            let is_settled = self.heed(note) || may_wait || self.settle_pending(disk, defect)?;
            if !is_settled {
                continue;
            }
            if std::mem::take(&mut self.crossed) && disk.manifest.first != self.first {
                let manifest = disk.manifest.clone();
                self.adopt(&manifest);
            }
            caught.dropped = dropped;
            self.tail = !self.is_pending();
            if self.tail || dropped {
                disk.note = Some(Note { life: self.life, lsn: self.durable, dropped });
            }
            return Ok(caught);
        }
        Err("the log changes while it is locked")
    }

    /// Goes on from a manifest. The log was read to its end.
    pub(crate) fn adopt(&mut self, manifest: &Manifest) {
        let flushed = usize::from(manifest.flushed.saturating_sub(self.flushed)).min(self.memory.len());
        self.memory.drain(..flushed);
        self.first = manifest.first;
        self.flushed = manifest.flushed;
        self.tables.clone_from(&manifest.tables);
        self.ghost.clone_from(&manifest.ghost);
    }

    /// Moves behind a record that this handle wrote and synced.
    pub(crate) fn wrote(&mut self, record: Record) {
        self.at = Mark { index: self.at.index + 1, link: record.crc, lsn: record.lsn };
        self.durable = record.lsn;
        self.synced = record.lsn;
        self.confirmed = self.at;
        if let What::Batch(content) = record.what {
            self.memory.push(content);
        }
    }
}

/// What catching up met.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caught {
    pub(crate) restarted: bool,
    pub(crate) dropped: bool,
}

/// What a process finds that opens the database now and sees no lock held.
pub(crate) fn recovered(disk: &Disk) -> Result<Vec<Content>> {
    let mut disk = disk.clone();
    let manifest = disk.manifest.clone();
    let mut handle = Handle::load(&disk, &manifest)?.ok_or("the manifest needs a segment that is missing")?;
    handle.catch_up_locked(Purpose::Show, &mut disk, Defect::None)?;
    handle.contents(&disk)?.ok_or("the manifest needs a table that is missing")
}
