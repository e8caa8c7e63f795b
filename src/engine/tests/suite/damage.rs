//! Damaged files give the right answer or an error that names file and offset, never a wrong value or a silent loss.
//!
//! A small database has a base and a sealed segment, or a table of each, a segment in use, deletes, and behind its last record
//! the beginning of a write that a kill cut short. Every bit of its files is flipped, every file is cut at every byte, every
//! sector filled with zeros, each for processes of the same boot and of the next one. (Inside one large value, and in what was
//! never written, bits and cuts are samples.) Only the last record of the log may be taken for a write that was never
//! acknowledged, only after a boot, and only with a notice: nothing on the disk tells the one from the other.

use std::ops::Range;
use std::path::Path;

use super::repair::used;
use super::{ENGINE, new_world, open, report, try_open};
use crate::engine::tests::oracle::Oracle;
use crate::engine::tests::world::{Step, set, value};
use crate::engine::tests::{DIR, contents};
use crate::error::Error;
use crate::options::Options;
use crate::storage::fs::Fs as _;
use crate::storage::fs::sim::{Fault, Op, SimFs};
use crate::types::{Batch, EngineKind, SyncMode};

const IS_KV: bool = matches!(ENGINE, EngineKind::Kv);
const LARGE: usize = 66_000;
const SECTOR: usize = 512;

struct Sample {
    /// The disk after all processes ended, and after a boot.
    disks: [(&'static str, SimFs); 2],
    oracle: Oracle,
    /// Where the last acknowledged record lies in the last segment.
    last: Range<usize>,
}

/// What the compaction wrote.
const BASE: &str = if IS_KV { "000001.sst" } else { "000001.base" };
/// The segment that was full, or the table that it was flushed to.
const SEALED: &str = if IS_KV { "000003.sst" } else { "000002.wal" };
const CURRENT: &str = "000003.wal";

impl Sample {
    fn new() -> Self {
        let disk = SimFs::new();
        let mut world = new_world(&disk, &[SyncMode::Group]);
        let mut delete = Batch::new();
        delete.delete("b").set("c", "3").delete("none");
        world
            .run(&[
                Step::Write(0, set("a", 9, 1)),
                Step::Write(0, set("b", 20, 2)),
                Step::Write(0, set("d", 300, 3)),
                Step::Compact(0),
                Step::Write(0, delete),
                Step::Turn(0, vec![set("e", 17, 4), set("a", 3, 5)]),
                Step::Write(0, set("large", LARGE, 6)),
                Step::Write(0, set("d", 10, 7)),
                Step::Turn(0, vec![set("e", 40, 8), set("f", 21, 9)]),
                Step::Write(0, set("g", 33, 10)),
            ])
            .unwrap();
        let log = disk.log();
        let written = log.iter().rfind(|call| call.op == Op::Write && call.path.ends_with(CURRENT)).unwrap();
        let start = usize::try_from(written.offset).unwrap();
        let last = start..start + written.len;
        world.faulty = true;
        let torn = disk.clone_disk();
        open(&torn).set("torn", value(600, 11)).unwrap();
        let log = torn.log();
        let number =
            log.iter().rfind(|call| call.op == Op::Write && call.path.ends_with(CURRENT)).unwrap().number;
        let disk = disk.clone_disk();
        disk.fail_at(number, Fault::KillInside);
        assert!(open(&disk).set("torn", value(600, 11)).is_err());
        let disk = disk.clone_disk();
        let [_, rebooted] = disk.power_loss_extremes();
        let oracle = world.oracle().clone();
        Self { disks: [("same boot", disk), ("next boot", rebooted)], oracle, last }
    }

    fn bytes(&self, file: &str) -> Vec<u8> {
        self.disks[0].1.read_file(Path::new(DIR).join(file)).unwrap()
    }

    /// Opens a damaged copy and says what is wrong with what it shows. `may_drop`: how many of the last batches may be missing
    /// after a boot.
    fn judge(&self, boot: &str, disk: &SimFs, file: &str, may_drop: usize) -> Result<(), String> {
        let mut oracle = self.oracle.clone();
        let total = oracle.issued();
        if boot == "next boot" {
            oracle.doubt(may_drop);
        }
        let db = match try_open(disk, &Options::new()) {
            Ok(db) => db,
            Err(error) => return names(&error, file),
        };
        match oracle.observe(&db) {
            Err(error) => return names(&error, file),
            Ok(verdict) => verdict?,
        }
        let dropped = oracle.issued() < total;
        if dropped && db.take_notices().is_empty() {
            return Err(format!("{} batches were dropped without a word", total - oracle.issued()));
        }
        Ok(())
    }
}

/// Whether an error is corruption of this file.
fn names(error: &Error, file: &str) -> Result<(), String> {
    match error {
        Error::Corruption { file: named, .. } if named.ends_with(file) => Ok(()),
        _ => Err(format!("this is no corruption of {file}: {error}")),
    }
}

/// Every place up to the last byte in use, samples behind it and in the large value.
fn places(bytes: &[u8]) -> impl Iterator<Item = usize> {
    let used = used(bytes);
    let large = if used > LARGE { 300..LARGE } else { 0..0 };
    (0..bytes.len()).filter(move |place| {
        let dense = *place < used + 64 && !large.contains(place);
        dense || place.is_multiple_of(1021)
    })
}

fn flip_every_bit(file: &str) {
    let sample = Sample::new();
    let mut flipped = 0;
    for place in places(&sample.bytes(file)) {
        let may_drop = usize::from(file == CURRENT && sample.last.contains(&place));
        for bit in place as u64 * 8..place as u64 * 8 + 8 {
            for (boot, disk) in &sample.disks {
                let disk = disk.clone_disk();
                disk.flip_bit(Path::new(DIR).join(file), bit).unwrap();
                let verdict = sample.judge(boot, &disk, file, may_drop);
                verdict.unwrap_or_else(|what| panic!("{file}, bit {bit} of byte {place}, {boot}: {what}"));
                flipped += 1;
            }
        }
    }
    report("damage", &format!("{file}: {flipped} bits flipped"));
}

#[test]
fn no_flipped_bit_of_a_sealed_segment_goes_unnoticed() {
    flip_every_bit(SEALED);
}

#[test]
fn no_flipped_bit_of_the_current_segment_goes_unnoticed() {
    flip_every_bit(CURRENT);
}

#[test]
fn no_flipped_bit_of_a_base_goes_unnoticed() {
    flip_every_bit(BASE);
}

#[test]
fn no_flipped_bit_of_the_manifest_or_the_notes_does_harm() {
    flip_every_bit("MANIFEST");
    flip_every_bit("SHM");
}

#[test]
fn no_file_can_be_cut_unnoticed() {
    let sample = Sample::new();
    let mut cuts = 0;
    for file in [SEALED, CURRENT, BASE, "MANIFEST", "SHM"] {
        let bytes = sample.bytes(file);
        for len in places(&bytes) {
            for (boot, disk) in &sample.disks {
                let disk = disk.clone_disk();
                disk.write_file(Path::new(DIR).join(file), &bytes[..len]).unwrap();
                let verdict = sample.judge(boot, &disk, file, 0);
                verdict.unwrap_or_else(|what| panic!("{file} cut at {len}, {boot}: {what}"));
                cuts += 1;
            }
        }
    }
    report("damage", &format!("{cuts} cuts"));
}

#[test]
fn a_missing_file_is_named() {
    let sample = Sample::new();
    for file in [SEALED, CURRENT, BASE] {
        for (boot, disk) in &sample.disks {
            let disk = disk.clone_disk();
            disk.process().remove_file(&Path::new(DIR).join(file)).unwrap();
            let verdict = sample.judge(boot, &disk, file, 0);
            verdict.unwrap_or_else(|what| panic!("{file} missing, {boot}: {what}"));
        }
    }
    let disk = sample.disks[0].1.clone_disk();
    disk.process().remove_file(&Path::new(DIR).join("MANIFEST")).unwrap();
    names(&try_open(&disk, &Options::new()).err().unwrap(), "MANIFEST").unwrap();
}

#[test]
fn no_sector_of_zeros_goes_unnoticed_but_the_last() {
    let sample = Sample::new();
    let mut zeroed = 0;
    for file in [SEALED, CURRENT, BASE] {
        let bytes = sample.bytes(file);
        for start in (0..bytes.len()).step_by(SECTOR) {
            let end = bytes.len().min(start + SECTOR);
            let mut damaged = bytes.clone();
            damaged[start..end].fill(0);
            // The end of the large record and all that follow it lie in one sector.
            let may_drop = if file == CURRENT && start + SECTOR > sample.last.start { 5 } else { 0 };
            for (boot, disk) in &sample.disks {
                let disk = disk.clone_disk();
                disk.write_file(Path::new(DIR).join(file), &damaged).unwrap();
                let verdict = sample.judge(boot, &disk, file, may_drop);
                verdict.unwrap_or_else(|what| panic!("{file}, zeros from {start} on, {boot}: {what}"));
                zeroed += 1;
            }
        }
    }
    report("damage", &format!("{zeroed} sectors zeroed"));
}

/// What a power loss leaves of a write whose first sector did not reach the device.
#[test]
fn an_incomplete_write_is_reported_once_and_covered_by_the_next() {
    let disk = SimFs::new();
    open(&disk).set("k", "v").unwrap();
    let [_, disk] = disk.power_loss_extremes();
    let path = Path::new(DIR).join("000001.wal");
    let mut bytes = disk.read_file(&path).unwrap();
    bytes[1024..2048].fill(7);
    disk.write_file(&path, &bytes).unwrap();
    let reader = open(&disk);
    assert_eq!(reader.get("k").unwrap().unwrap(), b"v");
    assert_eq!(reader.take_notices().len(), 1);
    let writer = open(&disk);
    writer.set("k", "w").unwrap();
    assert_eq!(writer.take_notices(), [], "it was reported before");
    let bytes = disk.read_file(&path).unwrap();
    assert!(bytes[1024..].iter().all(|&byte| byte == 0), "the next write was to cover the leftover");
    assert_eq!(reader.get("k").unwrap().unwrap(), b"w");
    assert_eq!(reader.take_notices(), []);
}

/// Of two batches in one write a power loss leaves the second, and another one leaves it again behind the batch that took the
/// place of the first. It has the right place and LSN, but was never acknowledged and must not come back.
#[test]
fn an_old_record_does_not_follow_a_new_one() {
    const START: usize = 72;
    const END: usize = 1024;
    // Header of the record and the operation, and the key.
    let filling = |byte: u8| vec![byte; END - START - 40 - 8 - 1];
    let path = Path::new(DIR).join("000001.wal");
    let disk = SimFs::new();
    let db = open(&disk);
    let mut turn = db.turn("test").unwrap();
    for (key, value) in [("k", filling(1)), ("ghost", vec![2; 600])] {
        let mut batch = Batch::new();
        batch.set(key, value);
        turn.write(batch).unwrap();
    }
    turn.commit().unwrap();
    let old = disk.read_file(&path).unwrap();
    let reboot = |bytes: &[u8]| {
        disk.write_file(&path, bytes).unwrap();
        let [_, disk] = disk.power_loss_extremes();
        disk
    };
    let mut lost = old.clone();
    lost[START..END].fill(0);
    let first = reboot(&lost);
    open(&first).set("k", filling(3)).unwrap();
    let mut lost_again = first.read_file(&path).unwrap();
    assert!(lost_again[END..].iter().all(|&byte| byte == 0), "the record was to end where the old one began");
    lost_again[END..].copy_from_slice(&old[END..]);
    let second = reboot(&lost_again);
    let db = open(&second);
    assert_eq!(contents(&db), [("k".into(), filling(3).into())]);
    assert_eq!(db.stats().unwrap().lsn.0, 1);
}
