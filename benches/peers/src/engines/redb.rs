//! redb: a get begins a read transaction of its own, as it must to see the newest commit; a scan and a view have one for all.

use std::path::Path;

use redb::{
    ConcurrencyMode, Database, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use crate::data::{Batch, Key};
use crate::store::{Ability, CACHE_BYTES, Result, Role, Session, Setup, Store};
use crate::versions;

type Bytes = &'static [u8];

const TABLE: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("entries");

/// A database with one table.
pub struct Redb {
    database: Database,
    durability: Durability,
}

impl Store for Redb {
    const NAME: &'static str = "redb";
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] = Ability::SHARED;
    const SETTINGS: &'static str =
        "cache 64 MiB; Durability::Immediate, unsynced: None; MultiWriter where processes share it";

    type Session<'a> = &'a Self;

    fn version() -> Result<String> {
        versions::locked("redb")
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut builder = Database::builder();
        builder.set_cache_size(CACHE_BYTES);
        if setup.is_shared {
            builder.set_concurrency_mode(ConcurrencyMode::MultiWriter);
        }
        let file = dir.join("redb");
        let is_new = !file.exists();
        let durability = if setup.is_synced { Durability::Immediate } else { Durability::None };
        let store = Self { database: builder.create(file)?, durability };
        if is_new {
            store.commit(|_| Ok(()))?;
        }
        Ok(store)
    }

    fn session(&self) -> Result<&Self> {
        Ok(self)
    }
}

impl Redb {
    fn commit(&self, change: impl FnOnce(&mut redb::Table<'_, Bytes, Bytes>) -> Result<()>) -> Result<()> {
        let mut transaction: WriteTransaction = self.database.begin_write()?;
        transaction.set_durability(self.durability)?;
        change(&mut transaction.open_table(TABLE)?)?;
        Ok(transaction.commit()?)
    }

    fn table(&self) -> Result<ReadOnlyTable<Bytes, Bytes>> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }
}

impl Session for &Redb {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.commit(|table| {
            table.insert(key, value)?;
            Ok(())
        })
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.commit(|table| {
            for (key, value) in batch.entries() {
                table.insert(key, value)?;
            }
            Ok(())
        })
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(self.table()?.get(key)?.map(|value| found(value.value())).is_some())
    }

    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        let table = self.table()?;
        for key in keys {
            if let Some(value) = table.get(&key[..])? {
                found(value.value());
            }
        }
        Ok(())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.table()?.range(start..)?.take(limit) {
            let (key, value) = entry?;
            visit(key.value(), value.value());
        }
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        for entry in self.table()?.iter()?.rev() {
            let (key, value) = entry?;
            visit(key.value(), value.value());
        }
        Ok(())
    }
}
