//! What processes do, a step at a time: between any two steps another process may take one, or something crashes. Reading is a step
//! together with what it leads to; everything that changes the disk is a step by itself.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::disk::{
    Bytes, Content, Disk, HEADER, Life, Lsn, Manifest, Name, Note, Record, Segment, Table, What,
};
use crate::handle::{Caught, Handle, Mark, POISONED, Purpose, Result};
use crate::{Defect, Sights};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Task {
    Write,
    Read,
    /// Seals the log, writes a table of what is before it, and lets the log begin behind it.
    Flush,
    /// Replaces all tables by one.
    Merge,
}

/// The new table of a flush or a merge, and what its manifest is to say.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Job {
    pub(crate) table: Table,
    /// Of a flush: where the log goes on.
    pub(crate) first: Life,
    flushed: Lsn,
    /// Of a merge: the tables that go.
    merged: Vec<u8>,
    /// What was in force when it began, for who goes by that.
    pub(crate) manifest: Manifest,
}

/// Where in its task a process is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum At {
    Idle,
    Opening(Manifest),
    Begin,
    /// Read ahead; goes on when it gets `LOCK`.
    Locking,
    Serving,
    /// A table is gone: takes up the manifest when it gets `LOCK`.
    TakingUp,
    /// Has `LOCK`. The segment has no room.
    Full,
    NextMade(usize),
    SealWritten(usize),
    Ready,
    Written(Record),
    Synced(Record),
    /// `LOCK` was given back.
    Relayed(Record),
    /// About to sync everything up to a batch.
    Syncing(Record, Lsn),
    SyncedFor(Record, Lsn),
    /// Has `MAINT` or `MERGE` from here on.
    Tabling(Job),
    TableWritten(Job),
    /// Installs when it gets `LOCK`.
    Installing(Job),
    Replacing(Job),
    Renamed(Manifest),
    Sweeping(Manifest),
}

#[derive(Clone, Debug)]
pub(crate) struct Process {
    /// What it is called in stories. It is no part of the state.
    pub(crate) name: u8,
    pub(crate) tasks: Vec<Task>,
    pub(crate) at: At,
    pub(crate) handle: Option<Handle>,
    /// How much was promised when the task began.
    pub(crate) must_see: usize,
}

impl Process {
    fn state(&self) -> (&[Task], &At, Option<&Handle>, usize) {
        (&self.tasks, &self.at, self.handle.as_ref(), self.must_see)
    }

    /// The order of processes by what they are at.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        self.state().cmp(&other.state())
    }
}

impl Hash for Process {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.state().hash(hasher);
    }
}

/// All there is.
#[derive(Clone, Debug, Hash)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    pub(crate) processes: Vec<Process>,
    pub(crate) lock: Option<usize>,
    pub(crate) maint: Option<usize>,
    pub(crate) merge: Option<usize>,
    /// The longest history that was acknowledged or shown to anybody.
    pub(crate) promised: Vec<Content>,
    /// Batches that a segment has room for; there is always room for a seal.
    pub(crate) room: usize,
    /// Writers give `LOCK` back before they sync.
    pub(crate) relays: bool,
    pub(crate) crashes: u8,
    pub(crate) failures: u8,
    pub(crate) wrong: Option<&'static str>,
}

impl Process {
    pub(crate) fn new(name: u8, tasks: &[Task]) -> Self {
        Self { name, tasks: tasks.iter().rev().copied().collect(), at: At::Idle, handle: None, must_see: 0 }
    }

    /// What it does next.
    pub(crate) fn doing(&self) -> &'static str {
        match self.at {
            At::Idle if self.handle.is_none() => "read the manifest",
            At::Idle => "have another command",
            At::Opening(_) => "open the first segment",
            At::Begin => match self.tasks.last() {
                Some(Task::Flush) => "take MAINT",
                Some(Task::Merge) => "take MERGE",
                _ => "look at the log",
            },
            At::Locking => "take LOCK and catch up",
            At::Serving => "show what there is",
            At::TakingUp => "catch up and take up the manifest",
            At::Full => "make the next segment",
            At::NextMade(_) => "write the seal",
            At::SealWritten(_) => "sync the seal",
            At::Ready => "write the record",
            At::Written(_) => "sync the record",
            At::Synced(_) => "leave a note, unlock and acknowledge",
            At::Relayed(_) => "look for a note, or for what was written",
            At::Syncing(..) => "sync for all",
            At::SyncedFor(..) => "leave a note and acknowledge",
            At::Tabling(_) => "write a table",
            At::TableWritten(_) => "sync the table and its name",
            At::Installing(_) => "take LOCK and catch up to install",
            At::Replacing(_) => "rename the manifest into place",
            At::Renamed(_) => "sync its name and unlock",
            At::Sweeping(_) => "unlink a file, if one is left over",
        }
    }

    /// The process ends, and one that goes on with the next task takes its place.
    fn end(&mut self) {
        if self.at != At::Idle {
            self.tasks.pop();
        }
        (self.at, self.handle) = (At::Idle, None);
    }
}

impl State {
    /// Whether the process can take a step.
    pub(crate) fn can_step(&self, who: usize) -> bool {
        let process = &self.processes[who];
        match (&process.at, process.tasks.last()) {
            (At::Locking | At::TakingUp | At::Installing(_), _) => self.lock.is_none(),
            (At::Begin, Some(Task::Flush)) => self.maint.is_none(),
            (At::Begin, Some(Task::Merge)) => self.merge.is_none(),
            (At::Idle, None) => false,
            _ => true,
        }
    }

    /// Takes a step. What must not be is noted in the state.
    pub(crate) fn step(&mut self, who: usize, defect: Defect, sights: &Sights) {
        let at = std::mem::replace(&mut self.processes[who].at, At::Idle);
        match self.try_step(who, at, defect, sights) {
            Ok(at) => self.processes[who].at = at,
            Err(POISONED) => {
                self.release(who);
                self.processes[who].end();
            }
            Err(wrong) => self.wrong = Some(wrong),
        }
    }

    fn try_step(&mut self, who: usize, at: At, defect: Defect, sights: &Sights) -> Result<At> {
        let process = &mut self.processes[who];
        let Some(&task) = process.tasks.last() else { return Ok(At::Idle) };
        let Some(handle) = &mut process.handle else {
            return match at {
                At::Opening(manifest) => self.open(who, &manifest),
                _ => Ok(At::Opening(self.disk.manifest.clone())),
            };
        };
        Ok(match at {
            At::Idle | At::Opening(_) | At::Begin => return self.begin(who, task, defect),
            At::Locking => return self.locked(who, task, defect, sights),
            At::Serving => return self.serve(who, sights),
            At::TakingUp => {
                sights.note(handle.catch_up_locked(Purpose::Show, &mut self.disk, defect)?);
                handle.adopt(&self.disk.manifest.clone());
                At::Serving
            }
            At::Full => At::NextMade(self.make_next(who, defect)),
            At::NextMade(next) => {
                let seal = self.record(who, What::Seal(self.disk.segments[next].life));
                self.append(who, Bytes::Record(seal));
                At::SealWritten(next)
            }
            At::SealWritten(next) => return self.go_on_in(who, next, task, defect, sights),
            At::Ready => {
                if defect != Defect::NotRepeated {
                    handle.repeat(&mut self.disk);
                }
                self.disk.contents += 1;
                let record = self.record(who, What::Batch(self.disk.contents));
                self.append(who, Bytes::Record(record));
                At::Written(record)
            }
            At::Written(record) if self.relays => {
                self.disk.written = Some((handle.life, record.lsn));
                self.lock = None;
                At::Relayed(record)
            }
            At::Relayed(record) => return self.look_for_a_sync(who, record, defect, sights),
            At::Syncing(record, up_to) => {
                self.disk.sync(handle.file);
                if std::mem::take(&mut handle.failure) && defect != Defect::FailureUnheard {
                    return Err(POISONED);
                }
                At::SyncedFor(record, up_to)
            }
            At::SyncedFor(record, up_to) => {
                let life = handle.life;
                self.note_sync(life, up_to);
                return self.acknowledge_relayed(who, record);
            }
            At::Written(record) => {
                if defect != Defect::NotSynced {
                    self.disk.sync(handle.file);
                }
                At::Synced(record)
            }
            At::Synced(record) => return self.acknowledge(who, record),
            At::Tabling(job) => {
                self.disk.tables.retain(|table| table.id != job.table.id);
                self.disk.tables.push(job.table.clone());
                At::TableWritten(job)
            }
            At::TableWritten(job) => {
                let tables = self.disk.tables.iter_mut();
                tables.filter(|table| table.id == job.table.id).for_each(|table| table.synced = true);
                self.disk.sync_dir();
                At::Installing(job)
            }
            At::Installing(job) => {
                self.lock = Some(who);
                sights.note(handle.catch_up_locked(Purpose::Show, &mut self.disk, defect)?);
                At::Replacing(job)
            }
            At::Replacing(job) => {
                self.replace(job, defect);
                At::Renamed(self.disk.manifest.clone())
            }
            At::Renamed(manifest) => {
                if defect != Defect::UnlinkedEarly {
                    self.disk.sync_dir();
                }
                handle.adopt(&manifest);
                self.lock = None;
                At::Sweeping(manifest)
            }
            At::Sweeping(manifest) => self.sweep(who, manifest, defect),
        })
    }

    fn open(&mut self, who: usize, manifest: &Manifest) -> Result<At> {
        if let Some(handle) = Handle::load(&self.disk, manifest)? {
            self.processes[who].handle = Some(handle);
            return Ok(At::Begin);
        }
        if *manifest == self.disk.manifest {
            return Err("the manifest needs a segment that is missing");
        }
        Ok(At::Opening(self.disk.manifest.clone()))
    }

    fn begin(&mut self, who: usize, task: Task, defect: Defect) -> Result<At> {
        let process = &mut self.processes[who];
        process.must_see = self.promised.len();
        let Some(handle) = &mut process.handle else { return Ok(At::Idle) };
        match task {
            Task::Read if !handle.is_behind(&self.disk) => return Ok(At::Serving),
            Task::Read | Task::Write => handle.read_ahead(&mut self.disk, defect),
            Task::Flush => self.maint = Some(who),
            Task::Merge => {
                let manifest = self.disk.manifest.clone();
                if manifest.tables.len() < 2 {
                    process.tasks.pop();
                    return Ok(At::Idle);
                }
                self.merge = Some(who);
                return self.merge_of(manifest, defect).map(At::Tabling);
            }
        }
        Ok(At::Locking)
    }

    fn merge_of(&self, manifest: Manifest, defect: Defect) -> Result<Job> {
        let mut contents = Vec::new();
        for id in &manifest.tables {
            let table = self.disk.table(*id).ok_or("a table that is to be merged is missing")?;
            contents.extend(&table.contents);
        }
        let table = new_table(manifest.next_merged, 0, contents);
        let merged = manifest.tables.clone();
        Ok(Job { table, first: Life::default(), flushed: 0, merged, manifest: defect.remembered(manifest) })
    }

    fn locked(&mut self, who: usize, task: Task, defect: Defect, sights: &Sights) -> Result<At> {
        let Some(handle) = &mut self.processes[who].handle else { return Ok(At::Idle) };
        let may_append = self.relays && matches!(task, Task::Write) && !handle.is_full(self.room);
        let purpose = if may_append { Purpose::Append } else { Purpose::Show };
        sights.note(handle.catch_up_locked(purpose, &mut self.disk, defect)?);
        if handle.is_full(self.room) && handle.is_pending() {
            sights.note(handle.catch_up_locked(Purpose::Show, &mut self.disk, defect)?);
        }
        if task == Task::Read {
            return Ok(At::Serving);
        }
        if task == Task::Flush && handle.memory.is_empty() {
            return Ok(self.done(who));
        }
        self.lock = Some(who);
        Ok(if task == Task::Flush || handle.is_full(self.room) { At::Full } else { At::Ready })
    }

    /// The task is done, and the rights that it took are given back.
    fn done(&mut self, who: usize) -> At {
        self.processes[who].tasks.pop();
        self.release(who);
        At::Idle
    }

    fn release(&mut self, who: usize) {
        for right in [&mut self.lock, &mut self.maint, &mut self.merge] {
            right.take_if(|holder| *holder == who);
        }
    }

    fn serve(&mut self, who: usize, sights: &Sights) -> Result<At> {
        let process = &self.processes[who];
        let Some(handle) = &process.handle else { return Ok(At::Idle) };
        let Some(seen) = handle.contents(&self.disk)? else {
            sights.tables_gone.add();
            return Ok(At::TakingUp);
        };
        if seen.len() < process.must_see {
            return Err("a read does not see what was acknowledged before it began");
        }
        self.promise(&seen)?;
        Ok(self.done(who))
    }

    /// Somebody is told that this is the history.
    fn promise(&mut self, history: &[Content]) -> Result<()> {
        let common = history.len().min(self.promised.len());
        if history[..common] != self.promised[..common] {
            return Err("two histories were shown");
        }
        if history.len() > common {
            self.promised = history.to_vec();
        }
        Ok(())
    }

    fn make_next(&mut self, who: usize, defect: Defect) -> usize {
        let Some(handle) = &self.processes[who].handle else { return 0 };
        self.disk.salts += 1;
        let life = Life { id: handle.life.id + 1, salt: self.disk.salts };
        let previous = (handle.life.id, u8::try_from(handle.at.index).unwrap(), handle.at.link);
        let name = Name { live: true, device: true };
        let segment = Segment { life, first_lsn: handle.at.lsn + 1, previous, slots: Vec::new(), name };
        if let Some(leftover) = self.disk.named(life.id) {
            self.disk.segments[leftover].name = Name::default();
        }
        let swept = self.disk.segments.iter().position(|segment| !segment.name.live);
        if let Some(file) = swept.filter(|_| defect == Defect::Recycled) {
            self.disk.segments[file] = segment;
            return file;
        }
        self.disk.segments.push(segment);
        self.disk.segments.len() - 1
    }

    fn record(&mut self, who: usize, what: What) -> Record {
        let (at, durable, salt) = match &self.processes[who].handle {
            Some(handle) => (handle.at, handle.durable, handle.life.salt),
            None => (Mark { index: 0, link: HEADER, lsn: 0 }, 0, 0),
        };
        self.disk.crcs += 1;
        let lsn = at.lsn + u8::from(matches!(what, What::Batch(_)));
        Record { crc: self.disk.crcs, link: at.link, salt, lsn, durable, what }
    }

    fn append(&mut self, who: usize, bytes: Bytes) {
        if let Some(handle) = &self.processes[who].handle {
            self.disk.write(handle.file, handle.at.index, bytes);
        }
    }

    /// The seal is synced: the log goes on in the next segment.
    fn go_on_in(
        &mut self,
        who: usize,
        next: usize,
        task: Task,
        defect: Defect,
        sights: &Sights,
    ) -> Result<At> {
        sights.rotations.add();
        let Some(handle) = &mut self.processes[who].handle else { return Ok(At::Idle) };
        self.disk.sync(handle.file);
        if self.relays && std::mem::take(&mut handle.failure) {
            return Err(POISONED);
        }
        let segment = &self.disk.segments[next];
        let mark = Mark { index: 0, link: HEADER, lsn: handle.at.lsn };
        handle.move_to(next, segment.life, mark);
        if task != Task::Flush {
            return Ok(At::Ready);
        }
        handle.tail = true;
        self.disk.note = Some(Note { life: handle.life, lsn: handle.durable, dropped: false });
        self.lock = None;
        let manifest = self.disk.manifest.clone();
        let table = new_table(manifest.next_flushed, handle.flushed, handle.memory.clone());
        let (first, manifest) = (handle.life, defect.remembered(manifest));
        Ok(At::Tabling(Job { table, first, flushed: mark.lsn, merged: Vec::new(), manifest }))
    }

    /// Whether a note says that the record is durable; else its process syncs.
    fn look_for_a_sync(&mut self, who: usize, record: Record, defect: Defect, sights: &Sights) -> Result<At> {
        let Some(handle) = &self.processes[who].handle else { return Ok(At::Idle) };
        let life = handle.life;
        if self.disk.note.is_some_and(|note| note.life == life && note.lsn >= record.lsn) {
            if self.disk.slot(handle.file, handle.at.index) != Bytes::Record(record) {
                return Err(POISONED);
            }
            sights.shared.add();
            return self.acknowledge_relayed(who, record);
        }
        let written = self.disk.written.filter(|(written, lsn)| *written == life && *lsn >= record.lsn);
        let up_to = written.map_or(record.lsn, |(_, lsn)| lsn);
        if defect == Defect::NotedEarly {
            self.note_sync(life, up_to);
        }
        Ok(At::Syncing(record, up_to))
    }

    fn note_sync(&mut self, life: Life, lsn: Lsn) {
        if self.disk.note.is_none_or(|note| note.lsn < lsn) {
            self.disk.note = Some(Note { life, lsn, dropped: false });
        }
    }

    /// The record is durable, and `LOCK` is another's.
    fn acknowledge_relayed(&mut self, who: usize, record: Record) -> Result<At> {
        let Some(handle) = &mut self.processes[who].handle else { return Ok(At::Idle) };
        handle.wrote(record);
        handle.tail = true;
        let history = [&handle.ghost[..], &handle.memory].concat();
        self.promise(&history)?;
        Ok(self.done(who))
    }

    fn acknowledge(&mut self, who: usize, record: Record) -> Result<At> {
        let Some(handle) = &mut self.processes[who].handle else { return Ok(At::Idle) };
        handle.wrote(record);
        self.disk.note = Some(Note { life: handle.life, lsn: handle.durable, dropped: false });
        let history = [&handle.ghost[..], &handle.memory].concat();
        self.promise(&history)?;
        Ok(self.done(who))
    }

    /// Reads the manifest again, changes it, and renames it into place.
    fn replace(&mut self, job: Job, defect: Defect) {
        let mut manifest =
            if defect == Defect::InstalledStale { job.manifest } else { self.disk.manifest.clone() };
        if job.merged.is_empty() {
            manifest.ghost.extend(&job.table.contents);
            (manifest.first, manifest.flushed) = (job.first, job.flushed);
            manifest.next_flushed = job.table.id + 2;
            manifest.tables.push(job.table.id);
        } else {
            manifest.next_merged = job.table.id + 2;
            manifest.tables.retain(|id| !job.merged.contains(id));
            manifest.tables.insert(0, job.table.id);
        }
        self.disk.manifest = manifest;
    }

    /// Removes one of the files that the manifest does not lead to.
    fn sweep(&mut self, who: usize, manifest: Manifest, defect: Defect) -> At {
        let is_needed = |id| match defect {
            Defect::SweptTooMuch => manifest.tables.contains(&id),
            _ => manifest.may_need_table(id),
        };
        let segments = self.disk.segments.iter_mut();
        let segments = segments.filter(|segment| segment.life.id < manifest.first.id);
        let tables = self.disk.tables.iter_mut().filter(|table| !is_needed(table.id));
        let mut names = segments.map(|segment| &mut segment.name).chain(tables.map(|table| &mut table.name));
        if let Some(name) = names.find(|name| name.live) {
            name.live = false;
            return At::Sweeping(manifest);
        }
        self.done(who)
    }

    /// The process is killed: before a step, or inside the write that it makes.
    pub(crate) fn kill(&mut self, who: usize, inside: bool) {
        if inside {
            self.append(who, Bytes::Torn);
        }
        self.release(who);
        self.processes[who].end();
        self.collect();
    }

    /// Whether the next step is a write to the log.
    pub(crate) fn writes(&self, who: usize) -> bool {
        matches!(self.processes[who].at, At::Ready | At::NextMade(_))
    }

    /// Whether the next step is a sync of the log.
    pub(crate) fn syncs(&self, who: usize) -> bool {
        match self.processes[who].at {
            At::Written(_) => !self.relays,
            At::SealWritten(_) | At::Syncing(..) => true,
            _ => false,
        }
    }

    /// The sync of a process fails: the handle is poisoned.
    pub(crate) fn fail_sync(&mut self, who: usize) {
        if let Some(file) = self.processes[who].handle.as_ref().map(|handle| handle.file) {
            self.disk.fail_sync(file);
            let handles = self.processes.iter_mut().filter_map(|process| process.handle.as_mut());
            handles.filter(|handle| handle.file == file).for_each(|handle| handle.failure = true);
        }
        self.release(who);
        self.processes[who].end();
    }

    pub(crate) fn lose_power(&mut self, disk: Disk) {
        (self.lock, self.maint, self.merge) = (None, None, None);
        self.processes.iter_mut().for_each(Process::end);
        self.disk = disk;
    }

    /// Where nobody has a file open, files without a name are gone.
    fn collect(&mut self) {
        if self.processes.iter().all(|process| process.handle.is_none() && process.at == At::Idle) {
            self.disk.forget_the_unnamed();
        }
    }
}

impl Defect {
    /// What is kept of the manifest that was in force: only who goes by it later needs it.
    fn remembered(self, manifest: Manifest) -> Manifest {
        if self == Self::InstalledStale { manifest } else { Manifest::default() }
    }
}

fn new_table(id: u8, from: Lsn, contents: Vec<Content>) -> Table {
    Table { id, from, contents, synced: false, torn: false, name: Name { live: true, device: false } }
}

impl Sights {
    fn note(&self, caught: Caught) {
        if caught.restarted {
            self.restarts.add();
        }
        if caught.dropped {
            self.dropped.add();
        }
    }
}
