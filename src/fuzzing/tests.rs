//! The short form of fuzzing: the inputs that are kept, and random changes to them.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{TARGETS, Target};
use crate::engine::tests::{Random, report, seeds};

/// Changed inputs for each target, times `KVDB_SEEDS`.
const CHANGED: u64 = 1_500;

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target.name);
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

fn index(random: &mut Random, len: usize) -> usize {
    usize::try_from(random.below(len.max(1) as u64)).unwrap()
}

/// One random change: a bit, a run of bytes, a cut, a number, or a piece of another input.
fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = index(random, bytes.len() + 1);
    let end = bytes.len().min(at + index(random, 9));
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at..end].fill([0, 1, 0x7f, 0xff][index(random, 4)]),
        2 => drop(bytes.drain(at..end)),
        3 => bytes.truncate(at),
        4 => {
            let number = (bytes.len() as u64).wrapping_sub(random.below(16)).to_le_bytes();
            let len = number.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&number[..len]);
        }
        5 => {
            let from = index(random, other.len() + 1);
            let to = other.len().min(from + index(random, 64));
            drop(bytes.splice(at..end, other[from..to].iter().copied()));
        }
        _ => drop(bytes.splice(at..end, random.next().to_le_bytes())),
    }
}

/// Runs a target, and says on which input it failed.
fn run(target: &Target, bytes: &[u8], what: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        let file = std::env::temp_dir().join(format!("kvdb-{}-{:08x}", target.name, crc32fast::hash(bytes)));
        fs::write(&file, bytes).unwrap();
        report("fuzzing", &format!("{} fails on {what}: {}", target.name, file.display()));
        std::panic::resume_unwind(panic);
    }
}

fn run_short_form(name: &str) {
    let target = super::target(name).unwrap();
    let mut inputs = corpus(target);
    let kept = inputs.len();
    assert!(kept > 0, "{name} has no inputs");
    inputs.extend((target.seeds)());
    inputs.iter().enumerate().for_each(|(number, input)| run(target, input, &format!("input {number}")));
    let count = CHANGED * seeds(1);
    let mut random = Random(7);
    for number in 0..count {
        let mut bytes = inputs[index(&mut random, inputs.len())].clone();
        let other = inputs[index(&mut random, inputs.len())].clone();
        (0..=random.below(4)).for_each(|_| change(&mut random, &mut bytes, &other));
        run(target, &bytes, &format!("changed input {number}"));
    }
    report("fuzzing", &format!("{name}: {kept} inputs that are kept, {count} changed ones"));
}

/// A test for each target, so that they run side by side.
macro_rules! short_forms {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run_short_form(stringify!($name));
        })*

        #[test]
        fn every_target_has_a_short_form() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

short_forms! { language dump import config log manifest shm table }
