//! What every engine must do, run once for each.

mod backups;
mod basics;
mod crash;
mod creation;
mod damage;
mod every_bit;
mod expiry;
mod faults;
mod figures;
mod histories;
mod locking;
mod relay;
mod repair;
mod replaced;
mod threads;

use std::sync::Arc;

use super::ENGINE;
use crate::db::Db;
use crate::engine::tests::{self, DIR, oracle::Oracle, world::World};
use crate::error::Result;
use crate::options::Options;
use crate::storage::fs::sim::{SimFs, SimProcess};
use crate::types::SyncMode;

fn open_as(process: &Arc<SimProcess>, options: &Options) -> Result<Db> {
    tests::open_as(process, &options.clone().engine(ENGINE))
}

fn try_open(disk: &SimFs, options: &Options) -> Result<Db> {
    open_as(&disk.process(), options)
}

fn open(disk: &SimFs) -> Db {
    try_open(disk, &Options::new()).unwrap()
}

/// A world of processes that sync in these modes.
fn new_world(disk: &SimFs, modes: &[SyncMode]) -> World {
    World::new(disk, ENGINE, modes)
}

fn world_with(disk: &SimFs, modes: &[SyncMode], oracle: Oracle) -> World {
    World::with_oracle(disk, ENGINE, modes, oracle)
}

/// The names of the database's files that end so, in order.
fn files(disk: &SimFs, extension: &str) -> Vec<String> {
    let mut names: Vec<String> =
        disk.list(DIR).unwrap().iter().map(|path| path.display().to_string()).collect();
    names.retain(|name| name.ends_with(extension));
    names.sort();
    names
}

/// How many segments the log has had.
fn segments(disk: &SimFs) -> u64 {
    let newest = files(disk, ".wal").pop().unwrap();
    newest.trim_start_matches(DIR).trim_matches('/').trim_end_matches(".wal").parse().unwrap()
}

/// Says what a campaign went through.
fn report(campaign: &str, what: &str) {
    tests::report(&format!("{campaign} on {ENGINE:?}"), what);
}
