//! Writing tables: a walk over changes becomes tables of one run.

use super::dictionary::{Samples, Walks};
use super::merge::Source;
use super::run::{LazyTable, Run};
use crate::engine::wal_engine::is_missing;
use crate::error::{Error, Result};
use crate::storage::sstable::{Change, MAX_DICTIONARY_LEN, StoredValue, TableWriter, file_name};
use crate::storage::{Place, RunTable, TableMeta};
use crate::types::{Compression, FileId, Key, Timestamp};

/// Changes between two reports of progress: few, because values may be large, and who wants to stop should not wait.
const PROGRESS_STEP: u64 = 256;

/// Keys of a table that are looked up to estimate how much it outdates.
const SAMPLE_KEYS: usize = 128;

/// Bytes that a record takes in a table beside a sixteenth more than its key and value, at most.
const MAX_OVERHEAD: u64 = 64;

/// Bytes that a table takes beside its records, at most.
const MAX_FIXED_LEN: u64 = 2 * MAX_DICTIONARY_LEN as u64 + 1024;

/// How tables are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Bytes that a merge takes up at once, about.
    pub(crate) slice: u64,
    /// Bytes of a table, about.
    pub(crate) table: u64,
    /// How values are packed.
    pub(crate) compression: Compression,
}

impl Manner {
    /// Whether a table is packed as it would be if it were written now.
    ///
    /// # Errors
    /// As [`LazyTable::open`].
    pub(crate) fn is_that_of(self, table: &LazyTable) -> Result<bool> {
        Ok(table.open()?.packs() == (self.compression == Compression::Lz4))
    }
}

/// Where tables are written to, and how.
pub(crate) struct Target<'a> {
    pub(crate) place: &'a Place,
    /// Seeds the hashes of keys.
    pub(crate) seed: u64,
    /// The number of the first table; the others have every second one from there on.
    pub(crate) first: FileId,
    /// Tombstones have something to hide.
    pub(crate) keep_tombstones: bool,
    /// What has expired by then becomes a tombstone; see
    /// [`Maintenance::expired_by`](crate::engine::wal_engine::Maintenance::expired_by).
    pub(crate) expired_by: Option<Timestamp>,
    pub(crate) manner: Manner,
    /// Writing stops when the changes that were read amount to this many bytes, at keys below the second.
    pub(crate) limit: Option<(u64, &'a Key)>,
}

/// Tables that were written.
pub(crate) struct Written {
    pub(crate) tables: Vec<TableMeta>,
    /// The number of the next table.
    pub(crate) next: FileId,
    /// The last key that was read, if writing stopped there. `None`: the walk was read to its end.
    pub(crate) stopped_at: Option<Key>,
}

impl Target<'_> {
    /// Writes changes to tables, and makes these and their names durable. After an error nothing is left of them.
    ///
    /// # Errors
    /// `Interrupted` when `progress`, which is told how many changes were read and how many bytes written, says stop; corruption
    /// of what is read; I/O.
    pub(crate) fn write(
        &self,
        walks: Walks<'_>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Written> {
        let mut written = Written { tables: Vec::new(), next: self.first, stopped_at: None };
        let done = self.write_tables(&mut written, walks, progress).and_then(|()| {
            let Place { fs, dir } = self.place;
            fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
        });
        if let Err(error) = done {
            for id in (self.first.0..written.next.0).step_by(2) {
                self.place.discard(file_name(FileId(id)));
            }
            return Err(error);
        }
        Ok(written)
    }

    fn write_tables(
        &self,
        written: &mut Written,
        walks: Walks<'_>,
        progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let mut source = walks(None)?;
        let mut table: Option<TableWriter> = None;
        let mut bytes = 0;
        for done in 0.. {
            let so_far = || total_len(&written.tables) + table.as_ref().map_or(0, TableWriter::len);
            if done % PROGRESS_STEP == 0 && !progress(done, so_far()) {
                return Err(Error::Interrupted);
            }
            if !source.advance()? {
                break;
            }
            let (expires, value) = (source.expires(), self.live_value(&*source)?);
            let before = bytes;
            bytes += payload_bytes(&*source, value);
            if value.is_some() || self.keep_tombstones {
                let mut writer = if let Some(writer) = table.take() {
                    writer
                } else {
                    let mut goes_on = || progress(done, total_len(&written.tables));
                    let dictionary = self.dictionary(&*source, before, walks, &mut goes_on)?;
                    self.begin(written, dictionary)?
                };
                writer.add_change(&Change { key: source.key(), value, lsn: source.lsn(), expires })?;
                if writer.len() >= self.manner.table {
                    written.tables.push(writer.finish()?);
                } else {
                    table = Some(writer);
                }
            }
            if self.is_at_limit(bytes, source.key()) {
                written.stopped_at = Some(source.key().into());
                // Says whether the last value was what its file holds.
                source.advance()?;
                break;
            }
        }
        if let Some(writer) = table {
            written.tables.push(writer.finish()?);
        }
        Ok(())
    }

    /// The value of the current change, if it is to be written.
    fn live_value<'s>(&self, source: &'s dyn Source) -> Result<Option<StoredValue<'s>>> {
        if self.has_expired(source.expires()) { Ok(None) } else { source.value() }
    }

    fn is_at_limit(&self, bytes: u64, key: &[u8]) -> bool {
        self.limit.is_some_and(|(most, end)| bytes >= most && key < &end[..])
    }

    /// What the values of a table are packed behind that begins with the current change of a walk, before which so many bytes
    /// were read; `None`: they are not packed. Walks over what will be in it for certain.
    fn dictionary(
        &self,
        begin: &dyn Source,
        mut bytes: u64,
        walks: Walks<'_>,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<u8>>> {
        if self.manner.compression == Compression::None {
            return Ok(None);
        }
        let mut samples = Samples::new();
        let mut ahead = walks(Some(begin.key()))?;
        let (mut source, mut most_bytes) = (begin, MAX_FIXED_LEN);
        for done in 1.. {
            let value = self.live_value(source)?;
            if let Some(value) = value {
                samples.count(source.key().len(), value)?;
            }
            let record_bytes = payload_bytes(source, value);
            bytes += record_bytes;
            most_bytes += record_bytes + record_bytes / 16 + MAX_OVERHEAD;
            if most_bytes >= self.manner.table || self.is_at_limit(bytes, source.key()) || !ahead.advance()? {
                break;
            }
            if done % PROGRESS_STEP == 0 && !goes_on() {
                return Err(Error::Interrupted);
            }
            source = &*ahead;
        }
        Ok(Some(samples.dictionary()))
    }

    fn has_expired(&self, expires: Option<Timestamp>) -> bool {
        expires.is_some_and(|expires| self.expired_by.is_some_and(|now| expires <= now))
    }

    fn begin(&self, written: &mut Written, dictionary: Option<Vec<u8>>) -> Result<TableWriter> {
        let id = written.next;
        written.next = FileId(id.0 + 2);
        self.place.discard(file_name(id));
        let writer = TableWriter::create(&*self.place.fs, &self.place.dir, id, self.seed)?;
        match dictionary {
            Some(dictionary) => writer.packing(&dictionary),
            None => Ok(writer),
        }
    }
}

/// Bytes of the key of the current change, and of its value.
fn payload_bytes(source: &dyn Source, value: Option<StoredValue<'_>>) -> u64 {
    source.key().len() as u64 + value.map_or(0, |value| value.value_len())
}

/// Bytes of some tables.
pub(crate) fn total_len(tables: &[TableMeta]) -> u64 {
    tables.iter().map(|table| table.len).sum()
}

/// New tables as a run will have them, above the `older` runs.
///
/// # Errors
/// Corruption and I/O errors.
pub(crate) fn list(place: &Place, tables: Vec<TableMeta>, older: &[Run]) -> Result<Vec<RunTable>> {
    let list = |table| {
        let listed = RunTable::whole(table);
        let outdating = if older.is_empty() { 0 } else { estimate_outdating(place, &listed, older)? };
        Ok(RunTable { outdating, ..listed })
    };
    tables.into_iter().map(list).collect()
}

/// About how many records of a new table outdate one in the `older` runs: looks a sample up, as far as others leave the tables
/// there that it may be in.
fn estimate_outdating(place: &Place, table: &RunTable, older: &[Run]) -> Result<u64> {
    let opened = LazyTable::new(table.clone(), place.clone());
    let (mut known, mut outdating) = (0, 0);
    for key in opened.open()?.sample(SAMPLE_KEYS)? {
        match is_stored(older, key) {
            // It was merged meanwhile. That is no reason to write the new table once more.
            Err(error) if is_missing(&error) => {}
            stored => {
                outdating += u64::from(stored?);
                known += 1;
            }
        }
    }
    Ok(table.table.entries * outdating / known.max(1))
}

/// Whether the runs, newest first, hold a value of `key`.
fn is_stored(runs: &[Run], key: &[u8]) -> Result<bool> {
    for run in runs {
        if let Some(table) = run.table_for(key)
            && let Some(found) = table.open()?.get(key)?
        {
            return Ok(found.value.is_some());
        }
    }
    Ok(false)
}
