//! What an engine has to offer to be measured: one file in `engines` implements it for one engine.
//!
//! A [`Store`] is an open database that threads share; each thread works through a [`Session`] of its own, because some
//! engines want a connection per thread. Nothing is called through a pointer: every engine gets its own copy of every loop.
//!
//! * [`Session::put`] and [`Session::write`] return when the entries are on the device, unless [`Setup::is_synced`] says no.
//! * [`Session::get`] sees everything that was written before the call, by any session.
//! * Whoever reads hands the bytes to the closure, in place where the engine allows it; the closure reads all of them.

use std::error::Error;
use std::path::Path;

use crate::data::{Batch, Key};

/// Whatever went wrong: it is told and the engine's cell stays empty.
pub type Failure = Box<dyn Error + Send + Sync>;

/// The result of everything that can fail here.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Memory for cached blocks, where an engine lets it be set.
pub const CACHE_BYTES: usize = 64 << 20;

/// Memory for entries that are not in a table yet, where an engine lets it be set.
pub const MEMTABLE_BYTES: usize = 64 << 20;

/// How a database is to be opened.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Keys in the data.
    pub keys: u64,
    /// Bytes per value.
    pub value_bytes: usize,
    /// Whether a write returns only when it is on the device.
    pub is_synced: bool,
    /// Whether other processes have the database open too.
    pub is_shared: bool,
}

/// What an engine stands for in a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// What is compared with the others.
    Subject,
    /// Another database.
    Peer,
    /// What the machine can do at best.
    Limit,
}

/// What an engine can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Durable single puts.
    Put,
    /// Several processes that write to one database.
    Share,
    /// Writing many entries in batches.
    Load,
    /// Files whose size tells something.
    Files,
    /// A process that opens it, asks it for one key and ends.
    Start,
    /// Reading single keys.
    Get,
    /// Walking over entries in order.
    Scan,
}

impl Ability {
    /// What a database does that many processes may have open.
    pub const SHARED: &[Self] =
        &[Self::Share, Self::Put, Self::Load, Self::Files, Self::Start, Self::Get, Self::Scan];
    /// What a database does that belongs to one process.
    pub const ALONE: &[Self] = Self::SHARED.split_at(1).1;
}

/// An open database.
pub trait Store: Sized + Send + Sync {
    /// What it is called here.
    const NAME: &'static str;
    /// What it stands for.
    const ROLE: Role;
    /// What it can do.
    const ABILITIES: &'static [Ability];
    /// What was set to something else than its default.
    const SETTINGS: &'static str;

    /// One thread's way to it.
    type Session<'a>: Session
    where
        Self: 'a;

    /// Its version; an error when it is not on this machine.
    fn version() -> Result<String>;

    /// Opens the database in `dir` and creates it when there is none.
    fn open(dir: &Path, setup: &Setup) -> Result<Self>;

    /// A way to it for one thread.
    fn session(&self) -> Result<Self::Session<'_>>;

    /// Closes it in the way its documentation asks for.
    fn close(self) -> Result<()> {
        Ok(())
    }
}

/// One thread's way to a database.
pub trait Session: Send {
    /// Stores a value.
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()>;

    /// Stores a batch, all or nothing.
    fn write(&mut self, batch: &Batch) -> Result<()>;

    /// Hands the value of `key` to `found`; returns whether there is one.
    fn get(&mut self, _key: &[u8], _found: impl FnOnce(&[u8])) -> Result<bool> {
        Err("it has no get".into())
    }

    /// Hands the value of every key to `found`, all of them from one frozen view where the engine has one.
    fn get_in_view(&mut self, keys: impl Iterator<Item = Key>, mut found: impl FnMut(&[u8])) -> Result<()> {
        for key in keys {
            self.get(&key, &mut found)?;
        }
        Ok(())
    }

    /// Hands up to `limit` entries from `start` on to `visit`, ascending.
    fn scan(&mut self, _start: &[u8], _limit: usize, _visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        Err("it has no scan".into())
    }

    /// Hands all entries to `visit`, descending.
    fn scan_reverse(&mut self, _visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        Err("it has no scan".into())
    }
}
