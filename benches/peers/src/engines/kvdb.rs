//! kvdb through its public library interface: `Db::get`, `Db::set`, `Db::write`, and a cursor for scans.

use std::path::Path;

use kvdb::{Compression, Db, Direction, Key as KvdbKey, KeyRange, Options, SyncMode};

use crate::data::{Batch, Key};
use crate::store::{Ability, Result, Role, Session, Setup, Store};
use crate::versions;

/// A database of kvdb.
pub struct Kvdb {
    db: Db,
}

impl Store for Kvdb {
    const NAME: &'static str = "kvdb";
    const ROLE: Role = Role::Subject;
    const ABILITIES: &'static [Ability] = Ability::SHARED;
    const SETTINGS: &'static str =
        "defaults, or lz4 where KVDB_COMPRESSION says so; it has no cache to set, because it maps its tables";

    type Session<'a> = &'a Db;

    fn version() -> Result<String> {
        versions::locked("kvdb")
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let sync = if setup.is_synced { SyncMode::Group } else { SyncMode::None };
        let packs = std::env::var("KVDB_COMPRESSION").is_ok_and(|compression| compression == "lz4");
        let compression = if packs { Compression::Lz4 } else { Compression::None };
        Ok(Self { db: Options::new().sync(sync).compression(compression).open(dir)? })
    }

    fn session(&self) -> Result<&Db> {
        Ok(&self.db)
    }
}

impl Session for &Db {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.set(key, value)?)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut writes = kvdb::Batch::new();
        for (key, value) in batch.entries() {
            writes.set(key, value);
        }
        Ok(Db::write(self, writes)?)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(Db::get(self, key)?.map(|value| found(&value)).is_some())
    }

    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        let view = self.snapshot()?;
        for key in keys {
            if let Some(value) = view.get(key)? {
                found(&value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let view = self.snapshot()?;
        let mut cursor = view.cursor(&KeyRange::from(KvdbKey::from(start)..), Direction::Forward)?;
        for _ in 0..limit {
            let Some((key, value)) = cursor.next()? else { break };
            visit(key, value);
        }
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let view = self.snapshot()?;
        let mut cursor = view.cursor(&KeyRange::all(), Direction::Reverse)?;
        while let Some((key, value)) = cursor.next()? {
            visit(key, value);
        }
        Ok(())
    }
}
