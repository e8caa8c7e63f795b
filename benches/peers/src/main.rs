//! The same work on kvdb and on its peers, side by side, as medians and ratios in Markdown.
//!
//! ```text
//! driver ──"go"──► worker: one engine, one work, one process        (an engine's turn; the next engine has the next)
//!        ◄─figures─
//! ```
//!
//! The driver starts this program again for every engine. Where a work lasts as long as one likes, the engines' processes
//! live side by side and have turns, so that a machine whose speed drifts moves all of them; the first turn warms up and is
//! dropped. Loads, and whatever else changes a database for good, have a process and a directory of their own each time.
//!
//! Rules that make it fair:
//! * Equal memory, where it can be set: 64 MiB of cache, 64 MiB of memtable. What else is set is printed under the tables.
//! * Every value that is read is read in full, and compared with what was stored there.
//! * Reads come after a load has settled: the database is closed, opened, left alone until its process has neither computed
//!   nor written for half a second, and closed again. Nobody is asked to compact.
//! * Ratios are medians of the ratios of neighbouring turns, so that they hold when the figures drift.
//!
//! `README.md` has the command.

#![cfg_attr(
    not(all(feature = "lmdb", feature = "redb", feature = "fjall", feature = "sqlite", feature = "debian")),
    allow(dead_code, reason = "what only an engine uses that is left out")
)]

mod data;
mod driver;
mod engines;
mod files;
mod options;
mod proc;
mod store;
mod versions;
mod work;
mod worker;

use std::io::{Write, stderr};
use std::process::ExitCode;

use options::Options;
use store::Result;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell when this fails.
            drop(writeln!(stderr(), "peers: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == worker::COMMAND => worker::run(rest),
        _ => match Options::parse(&arguments)? {
            Some(options) => driver::run(&options),
            None => Ok(Options::help()?),
        },
    }
}
