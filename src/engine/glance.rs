//! Looking at a few keys of a database that is not open otherwise, for processes that do nothing else.
//!
//! Where another process writes, or was killed while it did, megabytes of log may not have been flushed yet. Whoever wants to
//! know a few keys need not have the rest of that in memory: the log is read, and verified, all the same, but only changes to
//! those keys are kept, and of those the newest. Such a memory stands for no table and is never flushed: a [`Glance`] has
//! nothing to do that with.

use std::path::Path;
use std::sync::Arc;

use super::lsm::version::Version;
use super::wal_engine::{self, Memory, WalEngine};
use crate::error::{Notice, Result};
use crate::options::Options;
use crate::storage::Place;
use crate::storage::fs::Fs;
use crate::storage::manifest::Manifest;
use crate::storage::sstable::KeyHash;
use crate::storage::wal::record::OpRef;
use crate::types::{EngineKind, Entry, FileId, Key, Lsn, Value};

/// A glance is at this many keys at most: each change in the log is held against each of them.
const MAX_KEYS: usize = 8;

/// The batch that changed a key last, if one in the log did, and what it left.
type Newest = Option<(Lsn, Option<Entry>)>;

/// What is known of a few keys: the newest change to each that is in the log, above the tables.
struct Few {
    keys: Arc<[Key]>,
    /// One for each key.
    newest: Vec<Newest>,
    version: Arc<Version>,
}

impl Few {
    fn of(keys: &Arc<[Key]>, place: &Place, manifest: &Manifest) -> Result<Self> {
        let version = Version::new(&manifest.runs, manifest.seed, place, None)?;
        Ok(Self { keys: Arc::clone(keys), newest: vec![None; keys.len()], version: Arc::new(version) })
    }

    fn position(&self, key: &[u8]) -> Option<usize> {
        self.keys.iter().position(|own| own[..] == *key)
    }
}

impl Memory for Few {
    const NEEDS_EVERY_BATCH: bool = false;
    const KEEPS_BYTES: bool = false;

    fn load(place: &Place, manifest: &Manifest) -> Result<Self> {
        Self::of(&Arc::default(), place, manifest)
    }

    fn load_again(&self, place: &Place, manifest: &Manifest) -> Result<Self> {
        Self::of(&self.keys, place, manifest)
    }

    fn segment_begins(&mut self, _id: FileId) {}

    fn adopt(&mut self, place: &Place, manifest: &Manifest) -> Result<()> {
        self.version = Arc::new(Version::new(&manifest.runs, manifest.seed, place, Some(&self.version))?);
        // That is in the tables now, and a bulk may have brought something newer there.
        for newest in &mut self.newest {
            newest.take_if(|(lsn, _)| *lsn <= manifest.flushed);
        }
        Ok(())
    }

    fn apply(&mut self, op: OpRef<'_>, _bytes: &Arc<[u8]>) {
        let OpRef { lsn, key, value, expires, .. } = op;
        if let Some(index) = self.position(key) {
            let entry = value.map(|value| Entry { value: value.into(), lsn, expires });
            self.newest[index] = Some((lsn, entry));
        }
    }

    /// # Panics
    /// When the key is not one of the few: nothing is known of others.
    fn entry(&self, key: &[u8]) -> Result<Option<Entry>> {
        let index = self.position(key);
        assert!(index.is_some(), "the glance is not at this key");
        match index.and_then(|index| self.newest[index].as_ref()) {
            Some((_, entry)) => Ok(entry.clone()),
            None => self.version.entry(KeyHash::new(key, self.version.seed), key),
        }
    }
}

/// A view of a few keys.
pub(crate) struct Glance(WalEngine<Few>);

impl Glance {
    /// The value of one of the keys.
    ///
    /// # Errors
    /// As [`Engine::get`](super::Engine::get).
    ///
    /// # Panics
    /// When the glance is not at this key: nothing is known of others.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        Ok(self.0.entry(key)?.map(|entry| entry.value))
    }

    /// What the user should be told since the last call.
    pub(crate) fn take_notices(&self) -> Vec<Notice> {
        self.0.take_notices()
    }
}

/// Opens the database in `dir` for a look at `keys`; `None` when that is no less work than opening it for everything: they are
/// more than [`MAX_KEYS`], or the engine has everything in memory anyway.
///
/// # Errors
/// As [`Options::open`] of a database that is not to be created.
pub(crate) fn glance_on(
    fs: Arc<dyn Fs>,
    dir: &Path,
    options: &Options,
    keys: &[Key],
) -> Result<Option<Glance>> {
    if keys.len() > MAX_KEYS {
        return Ok(None);
    }
    let manifest = wal_engine::find_or_create(&*fs, dir, &options.clone().create(false))?;
    if manifest.engine != EngineKind::Kv {
        return Ok(None);
    }
    let keys = Arc::from(keys);
    let load = |place: &Place, manifest: &Manifest| Few::of(&keys, place, manifest);
    WalEngine::open_with(super::place(fs, dir), manifest, options, &load).map(|log| Some(Glance(log)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::engine::open_on;
    use crate::options::Pace;
    use crate::storage::fs::sim::{Fault, SimFs};
    use crate::types::{Batch, Op, Timestamp};

    const DIR: &str = "/db";

    fn options() -> Options {
        Options { pace: Pace::SMALL, ..Options::new() }
    }

    fn open(disk: &SimFs) -> Db {
        Db::from_engine(open_on(disk.process(), Path::new(DIR), &options()).unwrap())
    }

    fn try_glance(disk: &SimFs, keys: &[Key]) -> Result<Glance> {
        Ok(glance_on(disk.process(), Path::new(DIR), &options(), keys)?.unwrap())
    }

    fn keys(numbers: impl IntoIterator<Item = u64>) -> Vec<Key> {
        numbers.into_iter().map(|number| format!("k{number}").into()).collect()
    }

    /// A batch that sets, deletes and lets expire some of 30 keys.
    fn batch(seed: u64) -> Batch {
        let op = |index: u64| {
            let mixed = (seed * 7 + index).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            let key = format!("k{}", mixed % 30).into();
            match mixed / 30 % 6 {
                0 => Op::Delete { key },
                1 => Op::Set { key, value: "gone".into(), expires: Some(Timestamp::MIN) },
                2 => Op::Set { key, value: "lasts".into(), expires: Some(Timestamp::MAX) },
                _ => Op::Set { key, value: vec![b'v'; (mixed % 900) as usize].into(), expires: None },
            }
        };
        (0..5).map(op).collect()
    }

    #[test]
    fn a_glance_sees_what_an_open_handle_sees_whatever_is_in_the_log() {
        let disk = SimFs::new();
        let db = open(&disk);
        let (mut found, mut in_log) = (0, 0);
        for seed in 0..200 {
            db.write(batch(seed)).unwrap();
            if seed % 60 == 59 {
                db.compact().unwrap();
            }
            in_log += db.stats().unwrap().memtable_keys;
            for disk in [disk.clone_disk(), disk.power_loss(seed)] {
                let (keys, full) = (keys((0..8).map(|index| (seed + index * 5) % 33)), open(&disk));
                let glance = try_glance(&disk, &keys).unwrap();
                for key in &keys {
                    let value = glance.get(key).unwrap();
                    assert_eq!(value, full.get(key).unwrap(), "{key:?} after {seed}");
                    found += usize::from(value.is_some());
                }
            }
        }
        assert!(found > 1_000 && in_log > 1_000, "{found} {in_log}");
    }

    #[test]
    fn a_glance_goes_on_when_others_replace_what_it_stood_in() {
        let disk = SimFs::new();
        let db = open(&disk);
        db.set("k1", "first").unwrap();
        let glance = try_glance(&disk, &keys([1, 2])).unwrap();
        assert_eq!(glance.get(b"k1").unwrap().unwrap(), b"first");
        for seed in 0..100 {
            db.write(batch(seed)).unwrap();
            db.compact().unwrap();
            db.set("k1", format!("{seed}")).unwrap();
            db.set("k2", format!("{seed}")).unwrap();
            if seed % 7 == 0 {
                for key in [b"k1", b"k2"] {
                    assert_eq!(glance.get(key).unwrap().unwrap(), seed.to_string().as_bytes());
                }
                let mut bulk = db.bulk().unwrap();
                bulk.set("k1", "bulk").unwrap();
                bulk.commit().unwrap();
                assert_eq!(glance.get(b"k1").unwrap().unwrap(), b"bulk", "the log has an older one");
            }
        }
    }

    #[test]
    fn whatever_call_fails_a_glance_says_so_or_is_right() {
        let disk = SimFs::new();
        let db = open(&disk);
        for seed in 0..30 {
            db.write(batch(seed)).unwrap();
        }
        db.compact().unwrap();
        for seed in 30..60 {
            db.write(batch(seed)).unwrap();
        }
        let keys = keys([1, 2, 3, 50]);
        let right: Vec<_> = keys.iter().map(|key| db.get(key).unwrap()).collect();
        drop(db);
        let (mut failed, mut number) = (0, 0);
        loop {
            number += 1;
            let disk = disk.clone_disk();
            disk.fail_at(number, Fault::Eio);
            let values = try_glance(&disk, &keys)
                .and_then(|glance| keys.iter().map(|key| glance.get(key)).collect::<Result<Vec<_>>>());
            let is_over = disk.calls() < number;
            match values {
                Ok(values) => assert_eq!(values, right, "call {number}"),
                Err(_) => failed += 1,
            }
            if is_over {
                break;
            }
        }
        assert!(failed > 5 && failed < number, "{failed} of {number}");
    }

    #[test]
    #[should_panic(expected = "not at this key")]
    fn a_glance_does_not_answer_for_other_keys() {
        let disk = SimFs::new();
        open(&disk).set("k1", "v").unwrap();
        drop(try_glance(&disk, &keys([1])).unwrap().get(b"k2"));
    }

    #[test]
    fn more_keys_than_a_few_are_no_glance_and_no_database_is_made_by_one() {
        let disk = SimFs::new();
        let missing = glance_on(disk.process(), Path::new(DIR), &options(), &keys([1]));
        assert!(matches!(missing, Err(crate::error::Error::NoDatabase { .. })));
        open(&disk).set("k1", "v").unwrap();
        assert!(glance_on(disk.process(), Path::new(DIR), &options(), &keys(0..9)).unwrap().is_none());
    }
}
