//! What a handle knows of its database: the tables of the manifest, and above them a memtable for each segment of the log.

use std::sync::Arc;

use super::memtable::{Memtable, Slot};
use super::version::Version;
use crate::engine::wal_engine::Memory;
use crate::error::Result;
use crate::storage::Place;
use crate::storage::manifest::Manifest;
use crate::types::{Entry, FileId, Lsn, Op, Value};

/// What the log and the tables add up to.
pub(crate) struct Tree {
    pub(crate) version: Arc<Version>,
    /// Memtables of segments that are full, oldest first, with the number of their segment.
    pub(crate) sealed: Vec<(FileId, Arc<Memtable>)>,
    active: Arc<Memtable>,
    /// The segment that the active memtable is of.
    segment: FileId,
}

impl Memory for Tree {
    fn load(place: &Place, manifest: &Manifest) -> Result<Self> {
        let version = Version::new(&manifest.runs, manifest.seed, place, None)?;
        Ok(Self {
            version: Arc::new(version),
            sealed: Vec::new(),
            active: Arc::default(),
            segment: manifest.first.id,
        })
    }

    fn segment_begins(&mut self, id: FileId) {
        if self.active.len() > 0 {
            self.sealed.push((self.segment, std::mem::take(&mut self.active)));
        }
        self.segment = id;
    }

    fn adopt(&mut self, place: &Place, manifest: &Manifest) -> Result<()> {
        self.version = Arc::new(Version::new(&manifest.runs, manifest.seed, place, Some(&self.version))?);
        self.sealed.retain(|(segment, _)| *segment >= manifest.first.id);
        Ok(())
    }

    fn apply(&mut self, lsn: Lsn, op: Op) {
        Arc::make_mut(&mut self.active).apply(lsn, op);
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        find(self.memtables(), &self.version, key)
    }
}

impl Tree {
    /// About how many bytes of memory the memtables of full segments take.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, memtable)| memtable.memory()).sum()
    }

    /// Newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.sealed.iter().rev().map(|(_, memtable)| memtable))
    }
}

/// The newest version of `key` in memtables, newest first, and below them in tables.
pub(super) fn find<'a>(
    mut memtables: impl Iterator<Item = &'a Arc<Memtable>>,
    version: &Version,
    key: &[u8],
) -> Result<Option<Entry>> {
    if let Some(Slot { lsn, value }) = memtables.find_map(|memtable| memtable.get(key)) {
        return Ok(value.clone().map(|value| Entry { value, lsn: *lsn }));
    }
    let entry = version.get(key, |found| {
        let value = found.value.map(Value::from);
        value.map(|value| Entry { value, lsn: found.lsn })
    })?;
    Ok(entry.flatten())
}
