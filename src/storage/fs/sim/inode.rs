//! What one file and one directory consist of, each twice: *live*, as processes see it, and *durable*, as it is on
//! the device.
//!
//! A file's sector that was written since the last sync is *dirty*. A sync that succeeds copies dirty sectors to the
//! device. A sync that fails does what Linux does: the sectors count as clean from then on, although the device never
//! got them. They are *abandoned*: reads still see them, no later sync writes them, and dropping the cache reveals
//! what the device has.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::fate::Fate;
use super::image::{BLOCK, Image, SECTOR, index};

/// Names an inode of one disk.
pub(super) type InodeId = u64;

/// How a live sector that the device does not have came about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsynced {
    Dirty,
    Abandoned,
}

/// A file's bytes and length.
#[derive(Clone, Default)]
pub(super) struct FileState {
    live: Image,
    durable: Image,
    len: u64,
    durable_len: u64,
    /// Whether the next sync makes the length durable.
    len_is_dirty: bool,
    unsynced: BTreeMap<u64, Unsynced>,
}

impl FileState {
    /// A file of which everything is durable.
    pub(super) fn settled(image: Image, len: u64) -> Self {
        Self { live: image.clone(), durable: image, len, durable_len: len, ..Self::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn live(&self) -> &Image {
        &self.live
    }

    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> usize {
        let count = buffer.len().min(index(self.len.saturating_sub(offset)));
        self.live.read(&mut buffer[..count], offset);
        count
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        self.live.write(bytes, offset);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.unsynced.insert(sector, Unsynced::Dirty);
        }
        if end > self.len {
            self.len = end;
            self.len_is_dirty = true;
        }
    }

    /// A sync that succeeds.
    pub(super) fn sync(&mut self) {
        let abandoned: BTreeMap<_, _> =
            self.unsynced.extract_if(.., |_, state| *state == Unsynced::Abandoned).collect();
        let dirty = std::mem::replace(&mut self.unsynced, abandoned);
        for &sector in dirty.keys() {
            let block = sector * SECTOR / BLOCK;
            let sectors = block * BLOCK / SECTOR..(block + 1) * BLOCK / SECTOR;
            if self.unsynced.range(sectors).next().is_none() {
                self.durable.share_block(&self.live, block);
            } else {
                self.durable.copy_sector(&self.live, sector);
            }
        }
        let written_end = dirty.last_key_value().map_or(0, |(sector, _)| (sector + 1) * SECTOR);
        self.durable_len =
            if self.len_is_dirty { self.len } else { self.durable_len.max(written_end.min(self.len)) };
        self.len_is_dirty = false;
    }

    /// A sync that fails.
    pub(super) fn abandon(&mut self) {
        for state in self.unsynced.values_mut() {
            *state = Unsynced::Abandoned;
        }
        self.len_is_dirty = false;
    }

    /// Forgets clean sectors. The length stays: the kernel keeps it apart from the page cache.
    pub(super) fn drop_cache(&mut self) {
        for (sector, _) in self.unsynced.extract_if(.., |_, state| *state == Unsynced::Abandoned) {
            self.live.copy_sector(&self.durable, sector);
        }
    }

    /// Inverts a bit in memory and on the device.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        self.live.flip_bit(bit);
        self.durable.flip_bit(bit);
    }

    /// The file as a power loss may leave it.
    pub(super) fn after_power_loss(&self, fate: &mut Fate) -> Self {
        fate.begin();
        let mut image = self.durable.clone();
        for &sector in self.unsynced.keys() {
            if fate.keeps() {
                image.copy_sector(&self.live, sector);
            }
        }
        let len = self.len_after_power_loss(fate);
        image.truncate(len);
        Self::settled(image, len)
    }

    /// The durable length, the live one, or a sector boundary between: a long append reaches the device in parts.
    fn len_after_power_loss(&self, fate: &mut Fate) -> u64 {
        let first = self.durable_len / SECTOR + 1;
        let last = self.len / SECTOR;
        match fate.up_to(2) {
            0 => self.durable_len,
            1 if first <= last => (first + fate.up_to(last - first)) * SECTOR,
            _ => self.len,
        }
    }
}

/// What happened to a directory since its last sync.
#[derive(Clone)]
pub(super) enum DirChange {
    Link { name: OsString, inode: InodeId },
    Unlink { name: OsString, inode: InodeId },
    Rename { to: OsString, inode: InodeId },
}

/// A directory's entries.
#[derive(Clone, Default)]
pub(super) struct DirState {
    live: BTreeMap<OsString, InodeId>,
    durable: BTreeMap<OsString, InodeId>,
    pending: Vec<DirChange>,
}

impl DirState {
    pub(super) fn live(&self) -> &BTreeMap<OsString, InodeId> {
        &self.live
    }

    pub(super) fn change(&mut self, change: DirChange) {
        apply(&mut self.live, &change);
        self.pending.push(change);
    }

    /// Adds or keeps an entry that is durable at once.
    pub(super) fn link_durably(&mut self, name: OsString, inode: InodeId) {
        self.live.insert(name.clone(), inode);
        self.durable.insert(name, inode);
    }

    pub(super) fn sync(&mut self) {
        self.durable.clone_from(&self.live);
        self.pending.clear();
    }

    /// Every inode that the directory has a name for or may have one for after a power loss.
    pub(super) fn mentioned(&self) -> impl Iterator<Item = InodeId> {
        let pending = self.pending.iter().map(|change| match change {
            DirChange::Link { inode, .. }
            | DirChange::Unlink { inode, .. }
            | DirChange::Rename { inode, .. } => *inode,
        });
        self.live.values().chain(self.durable.values()).copied().chain(pending)
    }

    /// The directory as a power loss may leave it.
    pub(super) fn after_power_loss(&self, fate: &mut Fate) -> Self {
        fate.begin();
        let mut entries = self.durable.clone();
        if fate.journal() {
            let kept = index(fate.up_to(self.pending.len() as u64));
            self.pending[..kept].iter().for_each(|change| apply(&mut entries, change));
        } else {
            self.pending.iter().filter(|_| fate.keeps()).for_each(|change| apply(&mut entries, change));
        }
        Self { live: entries.clone(), durable: entries, pending: Vec::new() }
    }
}

/// Carries out one change, also where the changes before it were lost.
fn apply(entries: &mut BTreeMap<OsString, InodeId>, change: &DirChange) {
    match change {
        DirChange::Link { name, inode } => {
            entries.insert(name.clone(), *inode);
        }
        DirChange::Unlink { name, inode } => {
            if entries.get(name) == Some(inode) {
                entries.remove(name);
            }
        }
        DirChange::Rename { to, inode } => {
            entries.retain(|_, entry| entry != inode);
            entries.insert(to.clone(), *inode);
        }
    }
}
