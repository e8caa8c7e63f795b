//! The door for fuzzers: everything that reads bytes which somebody else may have written, as functions of those bytes.
//!
//! A [`Target`] takes any bytes and returns, or panics where a promise is broken. Its input is what is on disk, or on a line;
//! where checksums would keep every change out, the target mends them first, so that what lies behind them is reached. Every target
//! has a few inputs that are right to begin with. What fuzzing has found to lead somewhere new is kept in `tests/fuzz/corpus`.
//!
//! This module is only there in tests and under `--cfg fuzzing`, where `tests/fuzz/run TARGET [SECONDS]` has libFuzzer follow the
//! coverage. `cargo test` runs every input that is kept, and a bounded number of random changes to them.

/// One thing to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line and of its directory of kept inputs.
    pub name: &'static str,
    /// Panics when `bytes` make it break a promise.
    pub run: fn(&[u8]),
    /// Inputs that are right, to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    crate::shell::fuzzing::LANGUAGE,
    crate::shell::fuzzing::DUMP,
    crate::shell::fuzzing::IMPORT,
    crate::config::fuzzing::CONFIG,
    crate::engine::fuzzing::LOG,
    crate::engine::fuzzing::MANIFEST,
    crate::engine::fuzzing::SHM,
    crate::storage::sstable::fuzzing::TABLE,
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// For an error where there must be none.
pub(crate) fn told<E: std::fmt::Display, T>(error: E) -> T {
    panic!("{error}")
}

#[cfg(test)]
mod tests;
