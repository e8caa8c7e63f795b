//! The device's limit: a bare file that is written over in place and synced after every record.
//!
//! The file is full of zeros from the start, so that a sync has no metadata to write; every session has one of its own, and
//! begins again at the front when it is at the end. A record is as long as the one that kvdb would write to its log.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::data::Batch;
use crate::store::{Ability, Result, Role, Session, Setup, Store};

/// Length of each file.
const FILE_BYTES: usize = 16 << 20;

/// What kvdb adds to an entry in its log.
const HEADER_BYTES: usize = 48;

/// A directory of bare files.
pub struct Raw {
    dir: PathBuf,
    files: AtomicU32,
}

/// One of the files, and where it is to be written next.
pub struct RawSession {
    file: File,
    offset: u64,
    record: Vec<u8>,
}

impl Store for Raw {
    const NAME: &'static str = "raw";
    const ROLE: Role = Role::Limit;
    const ABILITIES: &'static [Ability] = &[Ability::Put, Ability::Share, Ability::Load];
    const SETTINGS: &'static str =
        "pwrite over zeros in place, fdatasync; each thread and process has a file of its own";

    type Session<'a> = RawSession;

    fn version() -> Result<String> {
        Ok(String::new())
    }

    fn open(dir: &Path, _setup: &Setup) -> Result<Self> {
        std::fs::create_dir_all(dir)?;
        Ok(Self { dir: dir.to_owned(), files: AtomicU32::new(0) })
    }

    fn session(&self) -> Result<RawSession> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self.dir.join(format!("{}-{number}", std::process::id()));
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(&vec![0; FILE_BYTES])?;
        file.sync_all()?;
        Ok(RawSession { file, offset: 0, record: Vec::new() })
    }
}

impl RawSession {
    fn overwrite(&mut self, bytes: &[u8]) -> Result<()> {
        if self.offset + bytes.len() as u64 > FILE_BYTES as u64 {
            self.offset = 0;
        }
        self.file.write_all_at(bytes, self.offset)?;
        self.file.sync_data()?;
        self.offset += bytes.len() as u64;
        Ok(())
    }
}

impl Session for RawSession {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let mut record = std::mem::take(&mut self.record);
        record.clear();
        record.resize(HEADER_BYTES, 1);
        record.extend_from_slice(key);
        record.extend_from_slice(value);
        let done = self.overwrite(&record);
        self.record = record;
        done
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.overwrite(batch.bytes())
    }
}
