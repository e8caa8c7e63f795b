//! LMDB through heed, with the C sources that heed brings along.
//!
//! A get begins a read transaction of its own, as it must to see the newest commit; a scan and a view have one for all.

use std::path::Path;

use heed::types::Bytes;
use heed::{CommitOrAbort, Database, Env, EnvFlags, EnvOpenOptions};

use crate::data::{Batch, Key};
use crate::store::{Ability, Failure, Result, Role, Session, Setup, Store};

/// Room in the map for each byte of data.
const MAP_FACTOR: usize = 8;

/// Room in the map however little data there is.
const MIN_MAP_BYTES: usize = 4 << 30;

/// An environment with its unnamed database.
pub struct Lmdb {
    env: Env,
    database: Database<'static, Bytes, Bytes>,
}

impl Store for Lmdb {
    const NAME: &'static str = "lmdb";
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] = Ability::SHARED;
    const SETTINGS: &'static str =
        "defaults (no WRITEMAP); it has no cache to set, because it maps its file; unsynced: NOSYNC";

    type Session<'a> = &'a Self;

    fn version() -> Result<String> {
        let version = heed::lmdb_version();
        Ok(format!("{}.{}.{}", version.major, version.minor, version.patch))
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let env = open(dir, setup)?;
        let database = env.create_databases_and_commit(env.write_txn()?, |opener, transaction| {
            let database = opener.create_database::<Bytes, Bytes>(transaction, None)?;
            Ok::<_, Failure>(CommitOrAbort::<_, ()>::Commit(database))
        })?;
        match database {
            CommitOrAbort::Commit(database) => Ok(Self { env, database }),
            CommitOrAbort::Abort(()) => Err("the database was not created".into()),
        }
    }

    fn session(&self) -> Result<&Self> {
        Ok(self)
    }

    fn close(self) -> Result<()> {
        self.env.prepare_for_closing().wait();
        Ok(())
    }
}

#[expect(unsafe_code, reason = "LMDB maps its file, and believes what it was told about it")]
fn open(dir: &Path, setup: &Setup) -> Result<Env> {
    let data = usize::try_from(setup.keys)?.saturating_mul(setup.value_bytes + size_of::<Key>());
    let mut options = EnvOpenOptions::new();
    options.map_size(data.saturating_mul(MAP_FACTOR).max(MIN_MAP_BYTES).next_multiple_of(1 << 20));
    if !setup.is_synced {
        // SAFETY: without syncs a power loss may destroy the file; it is thrown away after the measurement.
        unsafe { options.flags(EnvFlags::NO_SYNC) };
    }
    // SAFETY: nobody but LMDB writes to files in this directory, and a process opens it once at a time.
    Ok(unsafe { options.open(dir)? })
}

impl Session for &Lmdb {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        self.database.put(&mut transaction, key, value)?;
        Ok(transaction.commit()?)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut transaction = self.env.write_txn()?;
        for (key, value) in batch.entries() {
            self.database.put(&mut transaction, key, value)?;
        }
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        let transaction = self.env.read_txn()?;
        Ok(self.database.get(&transaction, key)?.map(found).is_some())
    }

    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for key in keys {
            if let Some(value) = self.database.get(&transaction, &key)? {
                found(value);
            }
        }
        Ok(())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        let range = (std::ops::Bound::Included(start), std::ops::Bound::Unbounded);
        for entry in self.database.range(&transaction, &range)?.take(limit) {
            let (key, value) = entry?;
            visit(key, value);
        }
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let transaction = self.env.read_txn()?;
        for entry in self.database.rev_iter(&transaction)? {
            let (key, value) = entry?;
            visit(key, value);
        }
        Ok(())
    }
}
