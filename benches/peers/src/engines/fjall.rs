//! fjall: a put is an insert and a sync of the journal, a batch brings its sync along.

use std::path::Path;

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode, Readable};

use crate::data::{Batch, Key};
use crate::store::{Ability, CACHE_BYTES, MEMTABLE_BYTES, Result, Role, Session, Setup, Store};
use crate::versions;

/// A database with one keyspace.
pub struct Fjall {
    database: Database,
    keyspace: Keyspace,
    persist: Option<PersistMode>,
}

impl Store for Fjall {
    const NAME: &'static str = "fjall";
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] = Ability::ALONE;
    const SETTINGS: &'static str = "cache 64 MiB, memtable 64 MiB, else defaults (lz4, bloom filters); \
         PersistMode::SyncData, unsynced: none";

    type Session<'a> = &'a Self;

    fn version() -> Result<String> {
        versions::locked("fjall")
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let database = Database::builder(dir).cache_size(CACHE_BYTES as u64).open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES as u64);
        let keyspace = database.keyspace("entries", options)?;
        Ok(Self { database, keyspace, persist: setup.is_synced.then_some(PersistMode::SyncData) })
    }

    fn session(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl Session for &Fjall {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.keyspace.insert(key, value)?;
        if let Some(mode) = self.persist {
            self.database.persist(mode)?;
        }
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut writes = self.database.batch().durability(self.persist);
        for (key, value) in batch.entries() {
            writes.insert(&self.keyspace, key, value);
        }
        Ok(writes.commit()?)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.keyspace.get(key)?.map(|value| found(&value)).is_some())
    }

    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        let view = self.database.snapshot();
        for key in keys {
            if let Some(value) = view.get(&self.keyspace, key)? {
                found(&value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.keyspace.range(start..).take(limit) {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
        }
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.keyspace.iter().rev() {
            let (key, value) = entry.into_inner()?;
            visit(&key, &value);
        }
        Ok(())
    }
}
