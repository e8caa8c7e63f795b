//! Reading the memory where it reaches to files that other processes replace.
//!
//! A table that is gone was merged into others, and the manifest that names those is in force: the handle takes it up and looks
//! again. Only a table that is missing after many such tries is lost.

use std::io;

use super::{Memory, WalEngine};
use crate::error::{Error, Result};
use crate::types::{Entry, Lsn, Timestamp};

/// How often a reader looks again before it takes a missing table for a lost one.
const MAX_RESTARTS: usize = 20;

impl<M: Memory> WalEngine<M> {
    /// The newest version of a key: see [`Engine::entry`](crate::engine::Engine::entry).
    #[inline]
    pub(crate) fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        match self.retry(|| self.read(|memory, _| memory.entry(key)))? {
            Some(entry) if entry.expires.is_some() => self.expiring_entry(key, entry),
            found => Ok(found),
        }
    }

    /// The newest version of a key, given what was found.
    #[cold]
    fn expiring_entry(&self, key: &[u8], found: Entry) -> Result<Option<Entry>> {
        if found.is_there(self.common_now()?) {
            return Ok(Some(found));
        }
        // What was found may be older than the time: it could have been made to stay in between.
        let look = |memory: &M, _, now| Ok(memory.entry(key)?.filter(|entry: &Entry| entry.is_there(now)));
        self.lasting_view(look, |found| found)
    }

    /// What `look` takes from the memory, with a time by which to judge what is in it (see [`WalEngine::view`]), and `finish`
    /// makes of that when nobody waits for the memory any more.
    ///
    /// # Errors
    /// Those of `finish`, and as [`WalEngine::view`].
    pub(crate) fn lasting_view<V, R>(
        &self,
        look: impl Fn(&M, Lsn, Timestamp) -> V,
        finish: impl Fn(V) -> Result<R>,
    ) -> Result<R> {
        self.retry(|| self.view(&look).map(&finish))
    }

    fn retry<R>(&self, read: impl Fn() -> Result<Result<R>>) -> Result<R> {
        let mut restarts = 0;
        loop {
            match read()? {
                Err(error) if is_missing(&error) && restarts < MAX_RESTARTS => {
                    self.take_up_manifest()?;
                    restarts += 1;
                }
                done => return done.map_err(lost),
            }
        }
    }
}

/// What it means that a table can't be found where nobody else may remove it.
pub(crate) fn lost(error: Error) -> Error {
    match error {
        Error::Io { path, .. }
            if is_missing(&error) && path.extension().is_some_and(|name| name == "sst") =>
        {
            Error::corruption(&path, 0, "the table is missing, and the manifest needs it")
        }
        error => error,
    }
}

pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}
