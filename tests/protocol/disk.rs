//! The device, the page cache over it, and the names in the directory, as far as the protocol can tell them apart.
//!
//! A slot of a segment has one record, which is written with one write. What is in the cache and what is on the device differ until
//! a sync; after one that failed they go on to differ, and the next sync says that all is well.

/// Numbers of batches, as in the log.
pub(crate) type Lsn = u8;

/// What a batch stores. Every batch that is issued has another.
pub(crate) type Content = u8;

/// The identity of one segment file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Life {
    pub(crate) id: u8,
    pub(crate) salt: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum What {
    Batch(Content),
    Seal(Life),
}

/// A record. Its checksum is as good as a number that no other record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) crc: u8,
    pub(crate) link: u8,
    /// The salt that its checksum covers.
    pub(crate) salt: u8,
    pub(crate) lsn: Lsn,
    /// How far the log was durable before it was written.
    pub(crate) durable: Lsn,
    pub(crate) what: What,
}

/// What the bytes of a slot are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Bytes {
    #[default]
    Zeros,
    /// Something that does not verify.
    Torn,
    Record(Record),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot {
    /// In the page cache: what every process sees.
    pub(crate) live: Bytes,
    pub(crate) device: Bytes,
    /// A sync failed: the page counts as clean.
    pub(crate) abandoned: bool,
}

/// A name, as every process sees it and as it would be found after a power loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) live: bool,
    pub(crate) device: bool,
}

/// A segment file. Who has it open reads on when its name is gone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Segment {
    pub(crate) life: Life,
    pub(crate) first_lsn: Lsn,
    /// The segment before it, where that was sealed, and the checksum of the record before the seal.
    pub(crate) previous: (u8, u8, u8),
    pub(crate) slots: Vec<Slot>,
    pub(crate) name: Name,
}

/// A table: what the batches behind `from` add up to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Table {
    pub(crate) id: u8,
    pub(crate) from: Lsn,
    pub(crate) contents: Vec<Content>,
    pub(crate) synced: bool,
    pub(crate) torn: bool,
    pub(crate) name: Name,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Manifest {
    pub(crate) first: Life,
    pub(crate) flushed: Lsn,
    /// Oldest first.
    pub(crate) tables: Vec<u8>,
    /// Flushes write tables with odd numbers, merges with even ones.
    pub(crate) next_flushed: u8,
    pub(crate) next_merged: u8,
    /// What the tables should hold. No process looks at it.
    pub(crate) ghost: Vec<Content>,
}

impl Manifest {
    /// Whether a file of this number may be, or become, a table that this manifest or a later one names.
    pub(crate) fn may_need_table(&self, id: u8) -> bool {
        let next = if id.is_multiple_of(2) { self.next_merged } else { self.next_flushed };
        id >= next || self.tables.contains(&id)
    }
}

/// How far the log was durable when somebody left the note.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Note {
    pub(crate) life: Life,
    pub(crate) lsn: Lsn,
    pub(crate) dropped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Disk {
    pub(crate) manifest: Manifest,
    pub(crate) manifest_device: Manifest,
    pub(crate) segments: Vec<Segment>,
    pub(crate) tables: Vec<Table>,
    /// `SHM`.
    pub(crate) note: Option<Note>,
    /// In it too: how far the log was written by who has it synced behind `LOCK`.
    pub(crate) written: Option<(Life, Lsn)>,
    /// Some process has the log mapped: the cache forgets nothing.
    pub(crate) mapped: bool,
    /// How many checksums there are, salts, and batches.
    pub(crate) crcs: u8,
    pub(crate) salts: u8,
    pub(crate) contents: Content,
}

/// A checksum that no record has: what the first record of a segment links to.
pub(crate) const HEADER: u8 = 200;

impl Disk {
    /// A disk with so many tables of one batch each, and an empty log.
    pub(crate) fn new(count: u8, mapped: bool) -> Self {
        let life = Life { id: 1, salt: 1 };
        let name = Name { live: true, device: true };
        let segment = Segment { life, first_lsn: count + 1, previous: (0, 0, 0), slots: Vec::new(), name };
        let table = |from| Table {
            id: 2 * from + 1,
            from,
            contents: vec![from + 1],
            synced: true,
            torn: false,
            name,
        };
        let tables: Vec<Table> = (0..count).map(table).collect();
        let manifest = Manifest {
            first: life,
            flushed: segment.first_lsn - 1,
            tables: tables.iter().map(|table| table.id).collect(),
            next_flushed: 2 * segment.first_lsn - 1,
            next_merged: 2,
            ghost: tables.iter().flat_map(|table| table.contents.clone()).collect(),
        };
        Self {
            manifest: manifest.clone(),
            manifest_device: manifest,
            segments: vec![segment],
            tables,
            note: None,
            written: None,
            mapped,
            crcs: 0,
            salts: 1,
            contents: count,
        }
    }

    /// The file that has the name of this segment number.
    pub(crate) fn named(&self, id: u8) -> Option<usize> {
        self.segments.iter().position(|segment| segment.name.live && segment.life.id == id)
    }

    pub(crate) fn table(&self, id: u8) -> Option<&Table> {
        self.tables.iter().find(|table| table.name.live && table.id == id)
    }

    pub(crate) fn slot(&self, file: usize, index: usize) -> Bytes {
        self.segments[file].slots.get(index).map_or(Bytes::Zeros, |slot| slot.live)
    }

    /// The record in a slot, if it verifies there.
    pub(crate) fn record(&self, file: usize, index: usize, life: Life) -> Option<Record> {
        match self.slot(file, index) {
            Bytes::Record(record) if record.salt == life.salt => Some(record),
            _ => None,
        }
    }

    /// One write.
    pub(crate) fn write(&mut self, file: usize, index: usize, bytes: Bytes) {
        let slots = &mut self.segments[file].slots;
        slots.resize(slots.len().max(index + 1), Slot::default());
        slots[index].live = bytes;
        slots[index].abandoned = false;
    }

    /// `fdatasync` of a segment.
    pub(crate) fn sync(&mut self, file: usize) {
        for slot in self.segments[file].slots.iter_mut().filter(|slot| !slot.abandoned) {
            slot.device = slot.live;
        }
    }

    /// An `fdatasync` that fails: the pages are clean now.
    pub(crate) fn fail_sync(&mut self, file: usize) {
        for slot in self.segments[file].slots.iter_mut().filter(|slot| slot.live != slot.device) {
            slot.abandoned = true;
        }
    }

    /// Forgets clean pages, unless they are mapped.
    pub(crate) fn drop_cache(&mut self, file: usize) {
        if !self.mapped {
            for slot in self.segments[file].slots.iter_mut().filter(|slot| slot.abandoned) {
                (slot.live, slot.abandoned) = (slot.device, false);
            }
        }
    }

    /// Makes names, and the file that `MANIFEST` names, durable.
    pub(crate) fn sync_dir(&mut self) {
        self.manifest_device = self.manifest.clone();
        let names = self.segments.iter_mut().map(|segment| &mut segment.name);
        names
            .chain(self.tables.iter_mut().map(|table| &mut table.name))
            .for_each(|name| name.device = name.live);
    }

    /// Every disk that a power loss may leave.
    pub(crate) fn power_losses(&self) -> Vec<Self> {
        let mut calm = self.clone();
        (calm.note, calm.written) = (None, None);
        let mut disks = vec![calm];
        for file in 0..self.segments.len() {
            for index in 0..self.segments[file].slots.len() {
                let Slot { live, device, .. } = self.segments[file].slots[index];
                let fates: &[Bytes] = if live == device { &[live] } else { &[device, live, Bytes::Torn] };
                disks = with_each(&disks, fates, |disk, bytes| {
                    disk.segments[file].slots[index] =
                        Slot { live: *bytes, device: *bytes, abandoned: false };
                });
            }
            let fates = fates_of(self.segments[file].name);
            disks = with_each(&disks, &fates, |disk, name| disk.segments[file].name = *name);
        }
        for file in 0..self.tables.len() {
            let table = &self.tables[file];
            disks = with_each(&disks, &fates_of(table.name), |disk, name| disk.tables[file].name = *name);
            let torn: &[bool] = if table.synced { &[false] } else { &[false, true] };
            disks = with_each(&disks, torn, |disk, torn| {
                (disk.tables[file].synced, disk.tables[file].torn) = (true, *torn);
            });
        }
        let manifests = if self.manifest == self.manifest_device {
            vec![self.manifest.clone()]
        } else {
            vec![self.manifest_device.clone(), self.manifest.clone()]
        };
        let mut disks = with_each(&disks, &manifests, |disk, manifest| {
            disk.manifest = manifest.clone();
            disk.manifest_device = manifest.clone();
        });
        disks.iter_mut().for_each(Self::forget_the_unnamed);
        disks
    }

    /// Nobody has a file open any more.
    pub(crate) fn forget_the_unnamed(&mut self) {
        self.segments.retain(|segment| segment.name.live || segment.name.device);
        self.tables.retain(|table| table.name.live || table.name.device);
    }
}

fn fates_of(name: Name) -> Vec<Name> {
    let certain = |there| Name { live: there, device: there };
    if name.live == name.device { vec![name] } else { vec![certain(true), certain(false)] }
}

fn with_each<T>(disks: &[Disk], fates: &[T], happen: impl Fn(&mut Disk, &T)) -> Vec<Disk> {
    let pairs = disks.iter().flat_map(|disk| fates.iter().map(move |fate| (disk.clone(), fate)));
    pairs
        .map(|(mut disk, fate)| {
            happen(&mut disk, fate);
            disk
        })
        .collect()
}
