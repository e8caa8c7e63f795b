//! SQLite: one table without row ids, a connection per session, statements that are prepared once.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use crate::data::{Batch, Key};
use crate::store::{Ability, CACHE_BYTES, Result, Role, Session, Setup, Store};

const CREATE: &str =
    "CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
const PUT: &str = "INSERT OR REPLACE INTO entries VALUES (?1, ?2)";
const GET: &str = "SELECT value FROM entries WHERE key = ?1";
const SCAN: &str = "SELECT key, value FROM entries WHERE key >= ?1 ORDER BY key LIMIT ?2";
const SCAN_REVERSE: &str = "SELECT key, value FROM entries ORDER BY key DESC";

/// How long a session waits for another's lock.
const BUSY: Duration = Duration::from_mins(1);

/// A database file.
pub struct Sqlite {
    file: PathBuf,
    is_synced: bool,
    /// The connection of the first session.
    first: Mutex<Option<Connection>>,
}

impl Store for Sqlite {
    const NAME: &'static str = "sqlite";
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] = Ability::SHARED;
    const SETTINGS: &'static str =
        "WAL, synchronous=FULL, unsynced: OFF; cache 64 MiB per connection; WITHOUT ROWID";

    type Session<'a> = SqliteSession;

    fn version() -> Result<String> {
        Ok(rusqlite::version().to_owned())
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        let file = dir.join("sqlite");
        let first = connect(&file, setup.is_synced)?;
        first.execute_batch(CREATE)?;
        Ok(Self { file, is_synced: setup.is_synced, first: Mutex::new(Some(first)) })
    }

    fn session(&self) -> Result<SqliteSession> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let connection = first.map_or_else(|| connect(&self.file, self.is_synced), Ok)?;
        Ok(SqliteSession { connection })
    }
}

fn connect(file: &Path, is_synced: bool) -> Result<Connection> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", if is_synced { "FULL" } else { "OFF" })?;
    // A negative size is in KiB.
    connection.pragma_update(None, "cache_size", -i64::try_from(CACHE_BYTES >> 10)?)?;
    Ok(connection)
}

/// A connection.
pub struct SqliteSession {
    connection: Connection,
}

impl Session for SqliteSession {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.connection.prepare_cached(PUT)?.execute((key, value))?;
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut put = transaction.prepare_cached(PUT)?;
        for (key, value) in batch.entries() {
            put.execute((key, value))?;
        }
        drop(put);
        Ok(transaction.commit()?)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        let mut get = self.connection.prepare_cached(GET)?;
        let mut rows = get.query([key])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        found(row.get_ref(0)?.as_blob()?);
        Ok(true)
    }

    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        let view = self.connection.transaction()?;
        let mut get = view.prepare_cached(GET)?;
        for key in keys {
            if let Some(row) = get.query([&key[..]])?.next()? {
                found(row.get_ref(0)?.as_blob()?);
            }
        }
        Ok(())
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scan = self.connection.prepare_cached(SCAN)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut rows = scan.query((start, limit))?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut scan = self.connection.prepare_cached(SCAN_REVERSE)?;
        let mut rows = scan.query(())?;
        while let Some(row) = rows.next()? {
            visit(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?);
        }
        Ok(())
    }
}
