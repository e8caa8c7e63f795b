//! The new database: filled aside, checked, and renamed into place.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::merge::{Found, Merged};
use crate::engine::wal_engine::Aside;
use crate::engine::{Engine, Progress, check, open_manifest, patience};
use crate::error::{Error, Result};
use crate::options::Options;
use crate::storage::Place;
use crate::storage::fs::{Fs, OpenMode, read_full_at, write_all_at};
use crate::storage::lock::Patience;
use crate::types::{Batch, EngineKind, Op};

/// The settings of a database, which are taken over as they are.
const CONFIG: &str = "config.toml";

/// Bytes of settings that are taken over.
const MAX_CONFIG_LEN: u64 = 1 << 20;

/// Keys between two looks at whether to go on.
const TICK: u64 = 256;

/// Bytes that are written at once where everything is held in memory anyway.
const TURN_BYTES: u64 = 8 << 20;

/// What was written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    pub(super) keys: u64,
    pub(super) bytes: u64,
}

/// Refuses a directory that exists.
pub(super) fn check_is_free(fs: &dyn Fs, new: &Path) -> Result<()> {
    match fs.read_dir(new) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        _ => Err(Error::io("create", new, io::ErrorKind::AlreadyExists.into())),
    }
}

/// Makes a database of this engine in `new` of everything that comes.
///
/// # Errors
/// `Interrupted`, I/O; there is no new directory then.
pub(super) fn write(
    place: &Place,
    new: &Path,
    options: &Options,
    merged: &mut Merged<'_>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Written> {
    let fs = &place.fs;
    let (aside, manifest) = Aside::create_to_use(&**fs, new, options)?;
    let to = Place { fs: Arc::clone(fs), dir: aside.dir.clone() };
    let made = open_manifest(to.clone(), manifest, options)
        .and_then(|engine| fill(&*engine, options.engine, merged, progress))
        .and_then(|written| take_over_config(place, &to.dir).map(|()| written))
        .and_then(|written| verify(&to, patience(options), progress).map(|()| written))
        .and_then(|written| aside.finish(new).map(|()| written));
    if made.is_err() {
        aside.discard();
    }
    made
}

fn fill(
    engine: &dyn Engine,
    kind: EngineKind,
    merged: &mut Merged<'_>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Written> {
    let mut written = Written::default();
    let mut entries = || loop {
        if merged.read().is_multiple_of(TICK)
            && !progress(Progress {
                done: merged.read(),
                written_bytes: written.bytes,
                ..Progress::default()
            })
        {
            return Err(Error::Interrupted);
        }
        match merged.next() {
            None => return Ok(None),
            Some(Found { value: None, .. }) => {}
            Some(Found { key, value: Some(value), expires }) => {
                written.keys += 1;
                written.bytes += (key.len() + value.len()) as u64;
                return Ok(Some(Op::Set { key: key.into(), value: value[..].into(), expires }));
            }
        }
    };
    match kind {
        EngineKind::Kv => fill_bulk(engine, &mut entries)?,
        EngineKind::Simple => fill_turns(engine, &mut entries)?,
    }
    engine.close();
    Ok(written)
}

fn fill_bulk(engine: &dyn Engine, entries: &mut dyn FnMut() -> Result<Option<Op>>) -> Result<()> {
    let mut bulk = engine.bulk()?;
    while let Some(op) = entries()? {
        bulk.apply(op)?;
    }
    bulk.commit()
}

fn fill_turns(engine: &dyn Engine, entries: &mut dyn FnMut() -> Result<Option<Op>>) -> Result<()> {
    loop {
        let (mut batch, mut bytes) = (Batch::new(), 0);
        while bytes < TURN_BYTES
            && let Some(op) = entries()?
        {
            if let Op::Set { key, value, .. } = &op {
                bytes += (key.len() + value.len()) as u64;
            }
            batch.push(op);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let mut turn = engine.turn("repair")?;
        turn.write(batch)?;
        turn.commit()?;
    }
}

/// Copies the settings that lie in a database.
fn take_over_config(place: &Place, dir: &Path) -> Result<()> {
    let from = place.path(CONFIG);
    let file = match place.fs.open(&from, OpenMode::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(|error| Error::io("open", &from, error))?,
    };
    let read = || {
        let size = file.size()?;
        if size > MAX_CONFIG_LEN {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is longer than any settings"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let len = read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(len);
        Ok(bytes)
    };
    let bytes = read().map_err(|error| Error::io("read", &from, error))?;
    let to = dir.join(CONFIG);
    let write = || {
        let file = place.fs.open(&to, OpenMode::CreateNew)?;
        write_all_at(&*file, &bytes, 0)?;
        file.sync_data()
    };
    write().map_err(|error| Error::io("write", &to, error))
}

/// What was written must be without a fault.
fn verify(place: &Place, patience: Patience, progress: &mut dyn FnMut(Progress) -> bool) -> Result<()> {
    match check::check(place, patience, &mut |now, _| progress(now))?.faults.into_iter().next() {
        None => Ok(()),
        Some(fault) => Err(Error::corruption(&fault.file, fault.offset, fault.what)),
    }
}
