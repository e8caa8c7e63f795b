//! A backup of an LSM tree: its tables, linked where that is possible and copied elsewhere.
//!
//! What is in the log only is flushed first, so the tables that a manifest names are all there is. Merges may remove some of
//! them while they are brought: then the manifest that took their place is followed instead.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;

use super::{KvEngine, sealed_memtables};
use crate::engine::lsm::tree::Tree;
use crate::engine::wal_engine::{Report, Supply, WalEngine, is_missing, own_number};
use crate::engine::{Backup, Progress};
use crate::error::{Error, Result};
use crate::storage::fs::{OpenMode, read_full_at, remove_if_present, write_all_at};
use crate::storage::manifest::Manifest;
use crate::storage::sstable::{Table, file_name};
use crate::storage::{Life, Place, TableMeta};
use crate::types::{FileId, Lsn};

/// How often tables that went away meanwhile are looked for again: each time some were brought.
const MAX_RESTARTS: usize = 1_000;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

impl KvEngine {
    pub(super) fn back_up(&self, dir: &Path, report: &mut dyn FnMut(Progress) -> bool) -> Result<Backup> {
        self.flush_all(report)?;
        let log = &self.shared.log;
        let manifest = log.manifest()?;
        let mut tables = Tables { log, manifest, brought: HashMap::new(), verified_bytes: 0 };
        log.back_up(dir, &mut tables, report)
    }

    /// Sees to it that tables stand for everything that was acknowledged before the call.
    fn flush_all(&self, report: Report<'_>) -> Result<()> {
        let log = &self.shared.log;
        self.view()?;
        if log.log_bytes() == 0 {
            return Ok(());
        }
        let maintenance = log.maintain()?;
        let sealed = maintenance.seal(sealed_memtables)?;
        self.shared.flush(&maintenance, &sealed, report)
    }
}

/// How a table came into a backup.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Kept,
    Linked,
    Copied,
}

/// The tables of a manifest.
struct Tables<'a> {
    log: &'a WalEngine<Tree>,
    manifest: Manifest,
    brought: HashMap<FileId, (How, TableMeta)>,
    verified_bytes: u64,
}

impl Tables<'_> {
    fn listed(&self) -> impl Iterator<Item = &TableMeta> {
        self.manifest.runs.iter().flatten().map(|listed| &listed.table)
    }

    fn bring_all(&mut self, to: &Place, existing: Option<&Manifest>, report: Report<'_>) -> Result<()> {
        let total = self.listed().map(|table| table.entries).sum();
        let mut done = 0;
        for table in self.listed().cloned().collect::<Vec<_>>() {
            let written_bytes = self.outcome().copied_bytes;
            let mut copied = |bytes| {
                let written_bytes = written_bytes + bytes;
                report(Progress { done, total, written_bytes, ..Progress::default() })
            };
            if !copied(0) {
                return Err(Error::Interrupted);
            }
            if !self.brought.contains_key(&table.id) {
                let how = match existing_table(existing, &table) {
                    Some(there) if *there == table => How::Kept,
                    Some(_) => return clash(to, &table),
                    None => self.bring_one(to, &table, &mut copied)?,
                };
                self.brought.insert(table.id, (how, table.clone()));
            }
            done += table.entries;
        }
        let written_bytes = self.outcome().copied_bytes;
        report(Progress { done, total, written_bytes, ..Progress::default() });
        Ok(())
    }

    /// Links a table, or copies it where it can't be linked.
    fn bring_one(&self, to: &Place, table: &TableMeta, copied: &mut dyn FnMut(u64) -> bool) -> Result<How> {
        let name = file_name(table.id);
        let (source, path) = (self.log.place().path(&name), to.path(&name));
        remove_if_present(&*to.fs, &path).map_err(|error| Error::io("remove", &path, error))?;
        match to.fs.link(&source, &path) {
            Ok(()) => Ok(How::Linked),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // One of two directories does not have what it had.
                self.log.place().open(&name, OpenMode::Read)?;
                Err(Error::io("link", &path, error))
            }
            Err(_) => {
                let done = copy(self.log.place(), to, table, copied);
                if done.is_err() {
                    to.discard(&name);
                }
                done.map(|()| How::Copied)
            }
        }
    }

    /// Whether a file of the database is missing, and not one of the backup.
    fn is_missing_here(&self, error: &Error) -> bool {
        let is_here = |path: &Path| path.parent() == Some(&*self.log.place().dir);
        is_missing(error) && matches!(error, Error::Io { path, .. } if is_here(path))
    }

    /// Goes over to the manifest that is in force; an error when that is the one that is followed already.
    fn follow(&mut self, missing: Error) -> Result<()> {
        let now = self.log.manifest()?;
        if now.runs == self.manifest.runs {
            let path = match missing {
                Error::Io { path, .. } => path,
                _ => self.log.place().dir.clone(),
            };
            return Err(Error::corruption(&path, 0, "the table is missing, and the manifest needs it"));
        }
        self.manifest = now;
        Ok(())
    }
}

fn existing_table<'m>(existing: Option<&'m Manifest>, table: &TableMeta) -> Option<&'m TableMeta> {
    let mut listed = existing?.runs.iter().flatten().map(|listed| &listed.table);
    listed.find(|there| there.id == table.id)
}

fn clash<T>(to: &Place, table: &TableMeta) -> Result<T> {
    let reason = format!("its table {} is another one than that of the database", table.id);
    Err(Error::BackupTarget { dir: to.dir.clone(), reason })
}

/// Copies a table and makes its bytes durable.
fn copy(from: &Place, to: &Place, table: &TableMeta, copied: &mut dyn FnMut(u64) -> bool) -> Result<()> {
    let name = file_name(table.id);
    let (source, target) = (from.open(&name, OpenMode::Read)?, to.open(&name, OpenMode::CreateNew)?);
    let (source_path, path) = (from.path(&name), to.path(&name));
    let mut bytes = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < table.len {
        if !copied(offset) {
            return Err(Error::Interrupted);
        }
        let len = read_full_at(&*source, &mut bytes, offset)
            .map_err(|error| Error::io("read", &source_path, error))?;
        if len == 0 {
            let what = format!("the file ends here, the manifest says at {}", table.len);
            return Err(Error::corruption(&source_path, offset, what));
        }
        write_all_at(&*target, &bytes[..len], offset).map_err(|error| Error::io("write", &path, error))?;
        offset += len as u64;
    }
    target.sync_data().map_err(|error| Error::io("sync", &path, error))?;
    // So that it is read back from the device.
    drop(target.drop_cache());
    Ok(())
}

impl Supply for Tables<'_> {
    fn lsn(&self) -> Lsn {
        self.manifest.flushed
    }

    fn bring(&mut self, to: &Place, existing: Option<&Manifest>, report: Report<'_>) -> Result<()> {
        for _ in 0..MAX_RESTARTS {
            match self.bring_all(to, existing, report) {
                Err(error) if self.is_missing_here(&error) => self.follow(error)?,
                brought => {
                    brought?;
                    break;
                }
            }
        }
        let listed: HashSet<FileId> = self.listed().map(|table| table.id).collect();
        for (id, _) in self.brought.extract_if(|id, (how, _)| *how != How::Kept && !listed.contains(id)) {
            to.discard(file_name(id));
        }
        to.fs.sync_dir(&to.dir).map_err(|error| Error::io("sync", &to.dir, error))
    }

    fn put_into(
        &mut self,
        manifest: &mut Manifest,
        _to: &Place,
        _first: Life,
        _report: Report<'_>,
    ) -> Result<()> {
        let source = &self.manifest;
        manifest.runs.clone_from(&source.runs);
        (manifest.merging, manifest.totals) = (source.merging, source.totals);
        let clock = source.clock.map(|clock| clock.max(self.log.now()));
        manifest.clock = manifest.clock.max(clock);
        manifest.next_flushed = own_number(manifest.next_flushed, source.next_flushed);
        manifest.next_merged = own_number(manifest.next_merged, source.next_merged);
        Ok(())
    }

    fn take_back(&self, to: &Place) {
        for (id, _) in self.brought.iter().filter(|(_, (how, _))| *how != How::Kept) {
            to.discard(file_name(*id));
        }
    }

    /// All of what was copied; of what is the same file as before, that it is the right one.
    fn verify(&mut self, to: &Place, report: Report<'_>) -> Result<()> {
        let total = self.listed().map(|table| table.entries).sum();
        let (mut done, written_bytes) = (0, self.outcome().copied_bytes);
        for table in self.listed().cloned().collect::<Vec<_>>() {
            if !report(Progress { done, total, written_bytes, ..Progress::default() }) {
                return Err(Error::Interrupted);
            }
            let opened = Table::open(&*to.fs, &to.dir, &table)?;
            if self.brought.get(&table.id).is_some_and(|(how, _)| *how == How::Copied) {
                opened.verify()?;
                self.verified_bytes += table.len;
            }
            done += table.entries;
        }
        Ok(())
    }

    fn outcome(&self) -> Backup {
        let mut backup = Backup { lsn: self.lsn(), verified_bytes: self.verified_bytes, ..Backup::default() };
        for (how, table) in self.listed().filter_map(|table| self.brought.get(&table.id)) {
            let (files, bytes) = match how {
                How::Kept => (&mut backup.kept_files, &mut backup.kept_bytes),
                How::Linked => (&mut backup.linked_files, &mut backup.linked_bytes),
                How::Copied => (&mut backup.copied_files, &mut backup.copied_bytes),
            };
            *files += 1;
            *bytes += table.len;
        }
        backup
    }
}
