//! One state for all that differ in nothing that matters, so that the checker goes on from one of them.
//!
//! 1. Numbers that are only ever compared for being the same (checksums, salts, what batches store) are given anew, in the order in
//!    which they are come across.
//! 2. What nobody can reach any more is forgotten: files without a name that nobody has open, records before every place where
//!    the log may begin for anybody, the handle of a process that has nothing more to do.
//! 3. Processes are put in order: which of two that are to do the same did what does not matter. They keep their names, which are
//!    no part of the state.

use crate::disk::{Bytes, Content, Disk, HEADER, Life, Manifest, Record, Segment, Table, What};
use crate::handle::Handle;
use crate::process::{At, Job, Process, State, Task};

/// New numbers for old ones.
struct Numbers {
    new: [u8; 256],
    count: u8,
}

impl Numbers {
    const fn new() -> Self {
        Self { new: [0; 256], count: 0 }
    }

    /// 0 and [`HEADER`] stay what they are.
    fn put(&mut self, number: &mut u8) {
        if matches!(*number, 0 | HEADER) {
            return;
        }
        let new = &mut self.new[usize::from(*number)];
        if *new == 0 {
            self.count += 1;
            *new = self.count;
        }
        *number = *new;
    }
}

struct Renaming {
    crcs: Numbers,
    salts: Numbers,
    contents: Numbers,
}

impl Renaming {
    fn contents(&mut self, contents: &mut [Content]) {
        for content in contents {
            self.contents.put(content);
        }
    }

    fn life(&mut self, life: &mut Life) {
        self.salts.put(&mut life.salt);
    }

    fn record(&mut self, record: &mut Record) {
        self.crcs.put(&mut record.crc);
        self.crcs.put(&mut record.link);
        self.salts.put(&mut record.salt);
        match &mut record.what {
            What::Batch(content) => self.contents.put(content),
            What::Seal(life) => self.life(life),
        }
    }

    fn segment(&mut self, segment: &mut Segment) {
        self.life(&mut segment.life);
        self.crcs.put(&mut segment.previous.2);
        for bytes in segment.slots.iter_mut().flat_map(|slot| [&mut slot.live, &mut slot.device]) {
            if let Bytes::Record(record) = bytes {
                self.record(record);
            }
        }
    }

    fn table(&mut self, table: &mut Table) {
        self.contents(&mut table.contents);
    }

    fn manifest(&mut self, manifest: &mut Manifest) {
        self.life(&mut manifest.first);
        self.contents(&mut manifest.ghost);
    }

    fn disk(&mut self, disk: &mut Disk) {
        disk.segments.iter_mut().for_each(|segment| self.segment(segment));
        disk.tables.iter_mut().for_each(|table| self.table(table));
        self.manifest(&mut disk.manifest);
        self.manifest(&mut disk.manifest_device);
        disk.note.iter_mut().for_each(|note| self.life(&mut note.life));
        disk.written.iter_mut().for_each(|(life, _)| self.life(life));
    }

    fn handle(&mut self, handle: &mut Handle) {
        self.life(&mut handle.life);
        self.life(&mut handle.first);
        self.crcs.put(&mut handle.at.link);
        self.crcs.put(&mut handle.confirmed.link);
        self.contents(&mut handle.memory);
        self.contents(&mut handle.ghost);
    }

    fn job(&mut self, job: &mut Job) {
        self.table(&mut job.table);
        self.life(&mut job.first);
        self.manifest(&mut job.manifest);
    }

    fn process(&mut self, process: &mut Process) {
        process.handle.iter_mut().for_each(|handle| self.handle(handle));
        match &mut process.at {
            At::Opening(manifest) | At::Renamed(manifest) | At::Sweeping(manifest) => self.manifest(manifest),
            At::Written(record)
            | At::Synced(record)
            | At::Relayed(record)
            | At::Syncing(record, _)
            | At::SyncedFor(record, _) => self.record(record),
            At::Tabling(job) | At::TableWritten(job) | At::Installing(job) | At::Replacing(job) => {
                self.job(job);
            }
            At::Idle
            | At::Begin
            | At::Locking
            | At::Serving
            | At::TakingUp
            | At::Full
            | At::NextMade(_)
            | At::SealWritten(_)
            | At::Ready => {}
        }
    }
}

impl State {
    /// The state that stands for this one.
    pub(crate) fn into_canonical(mut self) -> Self {
        self.forget();
        self.rename();
        self.put_in_order();
        self
    }

    fn forget(&mut self) {
        for process in &mut self.processes {
            if process.at == At::Idle && process.tasks.is_empty() {
                process.handle = None;
            }
            if process.at == At::Idle || process.tasks.last() != Some(&Task::Read) {
                process.must_see = 0;
            }
        }
        self.disk.tables.retain(|table| table.name.live || table.name.device);
        self.disk.tables.sort_unstable_by_key(|table| table.id);
        self.forget_segments();
        let first = self.first_id();
        for segment in self.disk.segments.iter_mut().filter(|segment| segment.life.id < first) {
            segment.slots.clear();
        }
    }

    fn forget_segments(&mut self) {
        let mut index = 0;
        while index < self.disk.segments.len() {
            let name = self.disk.segments[index].name;
            if name.live || name.device || self.files().any(|file| *file == index) {
                index += 1;
            } else {
                self.disk.segments.remove(index);
                self.files().filter(|file| **file > index).for_each(|file| *file -= 1);
            }
        }
    }

    /// The files that processes have open.
    fn files(&mut self) -> impl Iterator<Item = &mut usize> {
        self.processes.iter_mut().flat_map(|process| {
            let next = match &mut process.at {
                At::NextMade(next) | At::SealWritten(next) => Some(next),
                _ => None,
            };
            next.into_iter().chain(process.handle.as_mut().map(|handle| &mut handle.file))
        })
    }

    /// The first segment that anybody may read.
    fn first_id(&self) -> u8 {
        let of_process = |process: &Process| {
            let handle = process.handle.as_ref().map(|handle| handle.life.id);
            let opening = match &process.at {
                At::Opening(manifest) => Some(manifest.first.id),
                _ => None,
            };
            handle.into_iter().chain(opening)
        };
        let manifests = [self.disk.manifest.first.id, self.disk.manifest_device.first.id];
        self.processes.iter().flat_map(of_process).chain(manifests).min().unwrap_or(0)
    }

    fn rename(&mut self) {
        let mut renaming = Renaming { crcs: Numbers::new(), salts: Numbers::new(), contents: Numbers::new() };
        renaming.contents(&mut self.promised);
        renaming.disk(&mut self.disk);
        self.processes.iter_mut().for_each(|process| renaming.process(process));
        self.disk.crcs = renaming.crcs.count;
        self.disk.salts = renaming.salts.count;
        self.disk.contents = renaming.contents.count;
    }

    fn put_in_order(&mut self) {
        let holders =
            [self.lock, self.maint, self.merge].map(|holder| holder.map(|who| self.processes[who].name));
        self.processes.sort_by(Process::order);
        let place = |name: u8| self.processes.iter().position(|process| process.name == name);
        [self.lock, self.maint, self.merge] = holders.map(|holder| holder.and_then(place));
    }
}
