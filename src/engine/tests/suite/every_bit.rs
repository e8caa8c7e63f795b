//! Every bit of every file of a database is flipped, and everything is asked of it: a scan, a get of every key, a count, a
//! check, and a write.
//!
//! | what comes of a flip | where it may |
//! |---|---|
//! | the right answers, and the check says so: unused space | anywhere |
//! | the right answers, and the check names the file | anywhere |
//! | corruption of that file | anywhere but in `SHM` and in what is no part of the database any more |
//! | the batches of the last write are missing, and that is said | in the last write of the log, after a boot |
//!
//! Each flip is tried on a disk of the same boot, where the notes in `SHM` count, and of the next one; and, with real files,
//! under a process that has the database open and its tables mapped. (What such a process has verified it does not verify
//! again: the blocks that are flipped there are those that it has not used yet.)
//!
//! Two databases are flipped: one with segments of 8 KiB, and one with segments as they usually are, which is mostly zeros. By
//! default a few bits of each are. `KVDB_EVERY_BIT=1 cargo test --release --lib every_bit -- --nocapture` takes
//!
//! * of the first every bit of every file, zeros included;
//! * of the second every bit of what is used, of the zeros in the 512 bytes behind it and of those within 8 bytes of the end of a
//!   page; and one bit of every 13th byte of the one value of 64,000 bytes and of the other zeros;
//!
//! and counts what came of it, file by file, and how many bits there are of each part. The judge is put to the test too: with a
//! checksum that is not looked at it must find something.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::repair::{last_batch, sample_of, used};
use super::{open, report, try_open};
use crate::db::Db;
use crate::engine::check;
use crate::engine::tests::DIR;
use crate::engine::tests::oracle::Oracle;
use crate::error::Error;
use crate::options::{Options, Pace};
use crate::storage::Place;
use crate::storage::codec::skip_checksums_of;
use crate::storage::fs::RealFs;
use crate::storage::fs::sim::SimFs;
use crate::storage::lock::Patience;
use crate::storage::wal::record;

/// What came of a flipped bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Unused,
    Right,
    Corruption,
    Dropped,
}

/// A file of the last life of the log, which nothing leads to any more.
const LEFTOVER: &str = "000001.wal";

struct Sample {
    name: &'static str,
    options: Options,
    disks: [(&'static str, SimFs); 2],
    oracle: Oracle,
    /// The last segment, and its last record.
    last: (String, Range<usize>),
    /// How the bits of a file are chosen where not all of them are flipped.
    spread: Spread,
}

impl Sample {
    /// Segments of a few KiB: everything can be flipped.
    fn small() -> Self {
        let pace = Pace { first_segment: 8 << 10, full_segment: 8 << 10, ..Pace::SMALL };
        Self::new("short segments", pace, 6_000, if is_full() { Spread::EVERYTHING } else { Spread::A_FEW })
    }

    /// Segments as they are, of which most is zeros.
    fn usual() -> Self {
        let spread = if is_full() { Spread::WHAT_MATTERS } else { Spread::A_FEW };
        Self::new("usual segments", Pace::SMALL, 64_000, spread)
    }

    fn new(name: &'static str, pace: Pace, large: usize, spread: Spread) -> Self {
        let (disk, oracle) = sample_of(pace, large);
        let last = super::files(&disk, ".wal").pop().unwrap();
        let segment = Path::new(&last).file_name().unwrap().to_string_lossy().into_owned();
        let bytes = disk.read_file(Path::new(DIR).join(&segment)).unwrap();
        // A process that died before it could remove a segment leaves one.
        disk.write_file(Path::new(DIR).join(LEFTOVER), &bytes).unwrap();
        let end = used(&bytes).next_multiple_of(8);
        let len = usize::try_from(record::encoded_len(last_batch().ops())).unwrap();
        let last = (segment, end - len..end);
        let disk = disk.clone_disk();
        let [_, rebooted] = disk.power_loss_extremes();
        let disks = [("same boot", disk), ("next boot", rebooted)];
        Self { name, options: Options { pace, ..Options::new() }, disks, oracle, last, spread }
    }

    /// Every file of the database, and the kind that it is of.
    fn files(&self) -> Vec<(String, Vec<u8>)> {
        let disk = &self.disks[0].1;
        let names = disk.list(DIR).unwrap();
        let read = |name: &PathBuf| disk.read_file(Path::new(DIR).join(name)).unwrap();
        let files = names.iter().map(|name| (name.display().to_string(), read(name)));
        let mut files: Vec<_> = files.filter(|(_, bytes)| !bytes.is_empty()).collect();
        files.sort();
        files
    }

    /// What comes of opening a damaged disk and asking it everything.
    fn judge(&self, boot: &str, disk: &SimFs, file: &str, place: usize) -> Result<Outcome, String> {
        let faults = faults(disk)?;
        if let Some(other) = faults.iter().find(|fault| !fault.ends_with(file)) {
            return Err(format!("the check blames {}", other.display()));
        }
        let mut oracle = self.oracle.clone();
        let total = oracle.issued();
        if boot == "next boot" && self.last.0 == file && self.last.1.contains(&place) {
            oracle.doubt(1);
        }
        let db = match try_open(disk, &self.options) {
            Ok(db) => db,
            Err(error) => return corrupt(&error, file, &faults),
        };
        match ask(&db, &mut oracle) {
            Err(error) => return corrupt(&error, file, &faults),
            Ok(verdict) => verdict?,
        }
        if oracle.issued() < total {
            let is_said = !db.take_notices().is_empty();
            return if is_said { Ok(Outcome::Dropped) } else { Err("dropped without a word".into()) };
        }
        Ok(if faults.is_empty() { Outcome::Unused } else { Outcome::Right })
    }
}

/// The files that a check blames.
fn faults(disk: &SimFs) -> Result<Vec<PathBuf>, String> {
    let place = Place { fs: disk.process(), dir: DIR.into() };
    let patience = Patience { timeout: std::time::Duration::from_secs(5), interrupt: None };
    let check = check::check(&place, patience, &mut |_, _| true);
    let check = check.map_err(|error| format!("it can't be checked: {error}"))?;
    Ok(check.faults.into_iter().map(|fault| fault.file).collect())
}

/// Corruption of this file is allowed if the check sees it too.
fn corrupt(error: &Error, file: &str, faults: &[PathBuf]) -> Result<Outcome, String> {
    match error {
        Error::Corruption { file: named, .. } if named.ends_with(file) => match faults {
            [] => Err(format!("the check does not see it: {error}")),
            _ => Ok(Outcome::Corruption),
        },
        _ => Err(format!("this is no corruption of {file}: {error}")),
    }
}

/// Scans, gets every key, counts, and writes.
fn ask(db: &Db, oracle: &mut Oracle) -> crate::Result<Result<(), String>> {
    let verdict = oracle.observe(db)?;
    if verdict.is_err() {
        return Ok(verdict);
    }
    let keys = oracle.latest().len() as u64;
    if db.stats()?.keys != keys {
        return Ok(Err(format!("it counts {} keys, not {keys}", db.stats()?.keys)));
    }
    db.set("probe", "written")?;
    let read = db.get("probe")?;
    Ok(if read.as_deref() == Some(b"written") { Ok(()) } else { Err("the write is not there".into()) })
}

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Used,
    /// Inside of one value of 64,000 bytes.
    Large,
    /// Zeros where a record would begin, or a page of the device does.
    Edge,
    Zeros,
}

const PARTS: [(Part, &str); 4] = [
    (Part::Used, "of what is used"),
    (Part::Large, "of a large value"),
    (Part::Edge, "of zeros close to it or to where a page ends"),
    (Part::Zeros, "of other zeros"),
];

impl Part {
    fn of(place: usize, used: usize) -> Self {
        if place < used {
            let is_large = used > 60_000 && (200..64_000).contains(&place);
            return if is_large { Self::Large } else { Self::Used };
        }
        let from_page = place % 4096;
        let is_edge = place < used + 512 || !(8..4096 - 8).contains(&from_page);
        if is_edge { Self::Edge } else { Self::Zeros }
    }
}

/// One bit of each so many bytes is flipped, of each of the parts; 0: every bit.
#[derive(Clone, Copy)]
struct Spread([usize; 4]);

impl Spread {
    const EVERYTHING: Self = Self([0; 4]);
    const WHAT_MATTERS: Self = Self([0, 13, 0, 13]);
    const A_FEW: Self = Self([23, 1021, 101, 1021]);

    fn has(self, part: Part, place: usize, bit: u64) -> bool {
        match self.0[part as usize] {
            0 => true,
            step => place.is_multiple_of(step) && (place / step) as u64 % 8 == bit,
        }
    }

    /// The bits that are flipped, by byte.
    fn bits(self, bytes: &[u8]) -> impl Iterator<Item = (usize, u64)> {
        let used = used(bytes);
        let all = (0..bytes.len()).flat_map(|place| (0..8).map(move |bit| (place, bit)));
        all.filter(move |&(place, bit)| self.has(Part::of(place, used), place, bit))
    }

    /// How many bits of each part are flipped, and how many there are.
    fn count(self, bytes: &[u8]) -> BTreeMap<Part, (u64, u64)> {
        let used = used(bytes);
        let mut counts = BTreeMap::<_, (u64, u64)>::new();
        for place in 0..bytes.len() {
            let part = Part::of(place, used);
            let count = counts.entry(part).or_default();
            count.0 += (0..8).filter(|&bit| self.has(part, place, bit)).count() as u64;
            count.1 += 8;
        }
        counts
    }
}

const FULL: &str = "KVDB_EVERY_BIT";

fn is_full() -> bool {
    std::env::var_os(FULL).is_some()
}

/// Counts what came of flips.
#[derive(Default)]
struct Tally(BTreeMap<(String, Outcome), u64>);

impl Tally {
    fn add(&mut self, file: &str, outcome: Outcome) {
        *self.0.entry((file.to_owned(), outcome)).or_default() += 1;
    }

    fn of(&self, outcome: Outcome) -> u64 {
        self.0.iter().filter(|((_, of), _)| *of == outcome).map(|(_, count)| count).sum()
    }

    fn report(&self, campaign: &str, sample: &Sample) {
        let campaign = format!("{campaign}, {}", sample.name);
        for ((file, outcome), count) in &self.0 {
            report(&campaign, &format!("{file}: {count} × {outcome:?}"));
        }
        let counts: Vec<_> = sample.files().iter().map(|(_, bytes)| sample.spread.count(bytes)).collect();
        for (part, name) in PARTS {
            let of_part = counts.iter().filter_map(|counts| counts.get(&part));
            let (flipped, all) = of_part.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
            report(&campaign, &format!("{flipped} of {all} bits {name}"));
        }
    }
}

/// Flips bits of the files that `wanted` names; the first violation ends it.
fn campaign(sample: &Sample, wanted: impl Fn(&str) -> bool) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for (file, bytes) in sample.files().into_iter().filter(|(file, _)| wanted(file)) {
        for (place, bit) in sample.spread.bits(&bytes) {
            for (boot, disk) in &sample.disks {
                let disk = disk.clone_disk();
                disk.flip_bit(Path::new(DIR).join(&file), place as u64 * 8 + bit).unwrap();
                let outcome = sample.judge(boot, &disk, &file, place);
                let outcome = outcome.map_err(|what| {
                    format!("{}, {file}, bit {bit} of byte {place}, {boot}: {what}", sample.name)
                })?;
                tally.add(&file, outcome);
            }
        }
    }
    Ok(tally)
}

#[test]
fn every_bit_of_every_file_is_right_unused_or_reported() {
    for sample in [Sample::small(), Sample::usual()] {
        every_file_is_right_unused_or_reported(&sample);
    }
}

fn every_file_is_right_unused_or_reported(sample: &Sample) {
    let tally = campaign(sample, |_| true).unwrap_or_else(|what| panic!("{what}"));
    tally.report("every_bit", sample);
    let harmless = |file: &str| ["SHM", "config.toml", LEFTOVER].contains(&file);
    let reported = tally.0.keys().filter(|(_, outcome)| *outcome == Outcome::Corruption);
    assert!(reported.clone().all(|(file, _)| !harmless(file)), "{:?}", tally.0);
    assert!(tally.of(Outcome::Corruption) > 300 && tally.of(Outcome::Unused) > 100, "{:?}", tally.0);
    assert!(tally.of(Outcome::Dropped) > 0, "{:?}", tally.0);
}

/// With a kind of checksum that is not looked at, flips must turn up that go unnoticed.
#[test]
fn the_judge_notices_a_checksum_that_is_not_looked_at() {
    [Sample::small(), Sample::usual()].iter().for_each(the_judge_notices);
}

fn the_judge_notices(sample: &Sample) {
    let segment = sample.last.0.clone();
    let kinds: &[(&str, &str)] = if super::super::ENGINE == crate::EngineKind::Kv {
        &[("block", ".sst"), ("record", &segment)]
    } else {
        &[("record", ".base"), ("record", &segment)]
    };
    for (kind, file) in kinds {
        skip_checksums_of(Some(kind));
        let found = campaign(sample, |name| name.ends_with(file)).err();
        skip_checksums_of(None);
        assert!(found.is_some(), "nothing was found without the checksums of a {kind}");
    }
}

/// A process that has the database open, all its tables mapped and none of them used.
#[test]
fn every_bit_that_flips_under_an_open_database_is_right_or_reported() {
    for sample in [Sample::small(), Sample::usual()] {
        open_files_are_right_or_reported(&sample);
    }
}

fn open_files_are_right_or_reported(sample: &Sample) {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("db");
    fs::create_dir(&dir).unwrap();
    for name in sample.disks[0].1.list(DIR).unwrap() {
        let bytes = sample.disks[0].1.read_file(Path::new(DIR).join(&name)).unwrap();
        fs::write(dir.join(name), bytes).unwrap();
    }
    let mut tally = Tally::default();
    for (file, bytes) in sample.files() {
        for (place, bit) in sample.spread.bits(&bytes) {
            let db =
                Db::from_engine(crate::engine::open_on(Arc::new(RealFs), &dir, &sample.options).unwrap());
            drop(db.snapshot().unwrap());
            let mut flipped = fs::read(dir.join(&file)).unwrap();
            let before = flipped[place];
            flipped[place] ^= 1 << bit;
            write_byte(&dir.join(&file), place, flipped[place]);
            let outcome = match sample.oracle.clone().observe(&db) {
                Ok(verdict) => verdict.map(|()| Outcome::Right),
                Err(error) => match &error {
                    Error::Corruption { file: named, .. } if named.ends_with(&file) => {
                        Ok(Outcome::Corruption)
                    }
                    _ => Err(format!("this is no corruption of {file}: {error}")),
                },
            };
            write_byte(&dir.join(&file), place, before);
            let outcome = outcome.unwrap_or_else(|what| panic!("{file}, bit {bit} of byte {place}: {what}"));
            tally.add(&file, outcome);
        }
    }
    tally.report("every_bit, open", sample);
    assert!(super::super::ENGINE == crate::EngineKind::Simple || tally.of(Outcome::Corruption) > 100);
    assert!(open(&sample.disks[0].1.clone_disk()).check().unwrap().is_clean());
}

/// Changes a byte in place: the file that others have mapped.
fn write_byte(path: &Path, place: usize, byte: u8) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(&[byte], place as u64).unwrap();
}
