//! kvdb: an embedded, crash-safe, ordered key-value store that any number of processes share, and the shell over it.

pub mod config;
pub mod db;
pub mod engine;
pub mod error;
mod options;
pub mod shell;
pub mod storage;
pub mod transaction;
pub mod types;

pub use db::{Db, Scan, Snapshot};
pub use error::{Error, ErrorKind, Result};
pub use options::Options;
pub use transaction::Transaction;
pub use types::{
    Batch, Direction, EngineKind, Key, KeyRange, Lsn, MAX_KEY_LEN, MAX_VALUE_LEN, SyncMode, Value,
};
