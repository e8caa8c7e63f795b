//! kvdb: an embedded, crash-safe, ordered key-value store that any number of processes share, and the shell over it.
//!
//! ```
//! # let dir = tempfile::tempdir().unwrap();
//! # let path = dir.path().join("state");
//! let db = kvdb::Db::open(path)?;
//! db.set("user:1", "Ann")?; // durable when it returns
//! assert_eq!(db.get("user:1")?.unwrap(), b"Ann");
//! # Ok::<(), kvdb::Error>(())
//! ```
//!
//! * [`Db`] is the front door: [`Db::get`], [`Db::set`], [`Db::delete`], [`Db::scan`], [`Db::write`] for a [`Batch`],
//!   [`Db::begin`] for a [`Transaction`], [`Db::bulk`] for more than fits in memory, [`Db::snapshot`], [`Db::turn`] for changes
//!   that depend on what is there, [`Db::stats`], [`Db::compact`], [`Db::check`]; [`Options::repair`] saves what is left of a
//!   damaged one. [`Options`] opens it otherwise than by default. Threads share a handle.
//! * [`engine`] is the contract of what keeps the data: what is acknowledged is durable, whole, and seen by every process.
//! * [`shell`] is the command language with its three ways in, [`config`] its settings; the binary is a thin `main` over
//!   them.
//!
//! ```text
//!  main, cli ──► shell ──► db, transaction ──► engine ──► storage ──► types, error
//! ```
//!
//! Dependencies point to the right only, one file owns each structure on disk, and every file begins with what it is for.

pub mod config;
pub mod db;
pub mod engine;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod options;
pub mod shell;
pub mod storage;
pub mod transaction;
pub mod types;

pub use db::{Bulk, Db, Scan, Snapshot};
pub use error::{Error, ErrorKind, Result};
pub use options::Options;
pub use transaction::Transaction;
pub use types::{
    Batch, Compression, Condition, Direction, EngineKind, Entry, Key, KeyRange, Lifetime, Lsn, MAX_KEY_LEN,
    MAX_VALUE_LEN, SetOptions, SyncMode, Timestamp, Value,
};

/// The example of the README is compiled; `examples/embed.rs` is one that runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
