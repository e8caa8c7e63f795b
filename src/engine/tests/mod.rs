//! The engine contract, held against a simulated disk.

mod basics;

use std::path::Path;
use std::sync::Arc;

use super::simple_engine::SimpleEngine;
use crate::db::{Db, Options};
use crate::error::Result;
use crate::storage::fs::sim::SimFs;
use crate::types::{Direction, Key, KeyRange, Value};

/// Where the databases of these tests lie.
const DIR: &str = "/db";

fn try_open(disk: &SimFs, options: &Options) -> Result<Db> {
    let engine = SimpleEngine::open(disk.process(), Path::new(DIR), options)?;
    Ok(Db::from_engine(Arc::new(engine)))
}

fn open(disk: &SimFs) -> Db {
    try_open(disk, &Options::new()).unwrap()
}

/// Everything that the database holds, in order.
fn contents(db: &Db) -> Vec<(Key, Value)> {
    db.scan(..).unwrap().map(Result::unwrap).collect()
}
