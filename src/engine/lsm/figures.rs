//! Figures about the runs of a version, for `.stats`.

use super::run::{LazyTable, Run};
use super::version::Version;
use crate::engine::Level;

/// The runs, newest first.
pub(crate) fn levels(version: &Version) -> Vec<Level> {
    version.runs.iter().map(level).collect()
}

fn level(run: &Run) -> Level {
    let sum = |figure: fn(&LazyTable) -> u64| run.tables().iter().map(|table| figure(table)).sum();
    Level {
        tables: run.tables().len() as u64,
        entries: run.entries(),
        tombstones: sum(|table| table.listed().share(table.listed().table.tombstones)),
        bytes: run.bytes(),
        first_key: run.smallest().cloned().unwrap_or_default(),
        last_key: run.largest().cloned().unwrap_or_default(),
    }
}

/// How many tables are open, and their bytes.
pub(crate) fn open_tables(version: &Version) -> (u64, u64) {
    let open = version.tables().filter(|table| table.is_open());
    open.fold((0, 0), |(count, bytes), table| (count + 1, bytes + table.listed().table.len))
}
