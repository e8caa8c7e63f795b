//! What a handle knows of its database: the tables of the manifest, and above them a memtable for each segment of the log.

use std::sync::Arc;

use super::memtable::Memtable;
use super::plan::RunShape;
use super::version::Version;
use crate::engine::wal_engine::Memory;
use crate::error::Result;
use crate::storage::Place;
use crate::storage::manifest::Manifest;
use crate::storage::sstable::KeyHash;
use crate::storage::wal::record::OpRef;
use crate::types::{Entry, FileId};

/// A new memtable makes room for no more keys than this before it has them: one of the segments may have been a large one.
const MOST_EXPECTED: u64 = 1 << 16;

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
    const NEEDS_EVERY_BATCH: bool = false;
    const KEEPS_BYTES: bool = true;

    fn load(place: &Place, manifest: &Manifest) -> Result<Self> {
        let version = Version::new(&manifest.runs, manifest.seed, place, None)?;
        Ok(Self {
            version: Arc::new(version),
            sealed: Vec::new(),
            active: Arc::new(Memtable::new(manifest.seed, 0)),
            segment: manifest.first.id,
        })
    }

    fn load_again(&self, place: &Place, manifest: &Manifest) -> Result<Self> {
        Self::load(place, manifest)
    }

    fn segment_begins(&mut self, id: FileId) {
        if self.active.len() > 0 {
            // Most segments are alike.
            let expected = self.active.keys().min(MOST_EXPECTED);
            let next = Arc::new(Memtable::new(self.version.seed, expected));
            self.sealed.push((self.segment, std::mem::replace(&mut self.active, next)));
        }
        self.segment = id;
    }

    fn adopt(&mut self, place: &Place, manifest: &Manifest) -> Result<()> {
        self.version = Arc::new(Version::new(&manifest.runs, manifest.seed, place, Some(&self.version))?);
        self.sealed.retain(|(segment, _)| *segment >= manifest.first.id);
        Ok(())
    }

    fn prefetch(&self, key: &[u8]) {
        self.active.prefetch(key);
    }

    fn apply(&mut self, op: OpRef<'_>, bytes: &Arc<[u8]>) {
        self.active.apply(op, bytes);
    }

    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let hash = KeyHash::new(key, self.version.seed);
        match self.memtables().find_map(|memtable| memtable.get(hash, key)) {
            Some(slot) => Ok(slot.entry()),
            None => self.version.entry(hash, key),
        }
    }
}

impl Tree {
    /// About how many bytes of memory the memtables of full segments take.
    pub(crate) fn sealed_bytes(&self) -> u64 {
        self.sealed.iter().map(|(_, memtable)| memtable.memory()).sum()
    }

    /// The run that the memtables of full segments would become, about.
    pub(crate) fn sealed_shape(&self) -> RunShape {
        let sum = |of: fn(&Memtable) -> u64| self.sealed.iter().map(|(_, memtable)| of(memtable)).sum();
        let bytes = sum(Memtable::bytes);
        RunShape { bytes, payload_bytes: bytes, entries: sum(Memtable::keys), outdated_bytes: 0 }
    }

    /// Newest first.
    pub(crate) fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        std::iter::once(&self.active).chain(self.sealed.iter().rev().map(|(_, memtable)| memtable))
    }
}
