//! libFuzzer over one of kvdb's targets, which the environment names: see `tests/fuzz/run`.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use kvdb::fuzzing::{Target, target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&'static Target> = OnceLock::new();

/// Finds the target, and leaves the inputs that it begins with where libFuzzer looks for some.
fn begin() {
    let name = std::env::var("KVDB_FUZZ").unwrap_or_default();
    let Some(target) = target(&name) else {
        let names: Vec<_> = kvdb::fuzzing::TARGETS.iter().map(|target| target.name).collect();
        panic!("KVDB_FUZZ is none of {}", names.join(", "));
    };
    if let Some(dir) = std::env::var_os("KVDB_SEEDS_DIR") {
        for (number, seed) in (target.seeds)().iter().enumerate() {
            std::fs::write(Path::new(&dir).join(format!("seed-{number}")), seed).unwrap();
        }
    }
    TARGET.set(target).ok();
}

fuzz_target!(init: begin(), |bytes: &[u8]| (TARGET.get().unwrap().run)(bytes));
