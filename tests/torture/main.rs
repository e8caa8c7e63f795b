//! Many processes on one database, each killed at random moments, while oracles know what must be there.
//!
//! ```text
//!  3 writers     pipe sets and deletes, each to keys of its own           killed, or left to end
//!  1 loader      loads dumps that replace each other, small and large     killed, or refused
//!  2 readers     a long-lived session with snapshots, and one-shots       killed
//!  1 compactor   .compact, again and again                                killed
//! ```
//!
//! 1. Change number `n` of a writer is a function of `n`, and so is the state after it. So replies say how much must be there,
//!    and what is found after a kill has to be the state after at least so many changes, exactly.
//! 2. A dump replaces all records of the one before: what is found is one of them, whole.
//! 3. What a reader saw is there from then on, and what a snapshot shows stays as it is.
//!
//! The campaign runs a few seconds. The long form, with large dumps, and another course of events for each seed, where even ones
//! have values packed:
//!
//! ```sh
//! KVDB_SECONDS=300 KVDB_SEED=2 cargo test --release --test torture -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

#[path = "../common/mod.rs"]
mod common;
mod history;
mod loader;
mod process;
mod reader;
mod writer;

use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use common::Sandbox;
use history::{History, Model, OVERWRITTEN};
use kvdb::{Db, Options};

const DEFAULT_SECONDS: u64 = 5;

/// From so many seconds on, dumps are now and then larger than what a bulk holds in memory, and `.compact` is rare.
const LONG_SECONDS: u64 = 30;

/// Right, or what is wrong.
type Verdict<T = ()> = Result<T, String>;

/// Sebastiano Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_micros(self.below(bound * 1_000))
    }
}

/// What happened, for the report.
#[derive(Default)]
struct Tally {
    acknowledged: AtomicU64,
    kills: AtomicU64,
    clean_ends: AtomicU64,
    checks: AtomicU64,
    loads: AtomicU64,
    large_loads: AtomicU64,
    refused_loads: AtomicU64,
    compactions: AtomicU64,
    one_shots: AtomicU64,
    session_reads: AtomicU64,
    scanned: AtomicU64,
    snapshots: AtomicU64,
    /// The longest that a `get` took.
    slowest_micros: AtomicU64,
}

fn count(counter: &AtomicU64, by: u64) {
    counter.fetch_add(by, Ordering::Relaxed);
}

/// The database, and what every process on it may know.
struct Campaign {
    sandbox: Sandbox,
    seed: u64,
    end: Instant,
    is_long: bool,
    failed: AtomicBool,
    violations: Mutex<Vec<String>>,
    /// How many changes of each writer were acknowledged.
    acknowledged: [AtomicU64; 3],
    /// The number of the newest change of each writer that a reader saw, plus one.
    seen: [AtomicU64; 3],
    /// The same of each key that is overwritten.
    seen_at: Vec<AtomicU64>,
    /// The dump that must have been loaded at least, of each kind.
    loaded: [AtomicU64; 2],
    tally: Tally,
}

impl Campaign {
    fn new(seconds: u64, seed: u64) -> Self {
        let sandbox = Sandbox::new();
        if seed.is_multiple_of(2) {
            sandbox.write("config/kvdb/config.toml", "compression = \"lz4\"\n");
        }
        Self {
            sandbox,
            seed,
            end: Instant::now() + Duration::from_secs(seconds),
            is_long: seconds >= LONG_SECONDS,
            failed: AtomicBool::new(false),
            violations: Mutex::default(),
            acknowledged: Default::default(),
            seen: Default::default(),
            seen_at: (0..OVERWRITTEN).map(|_| AtomicU64::new(0)).collect(),
            loaded: Default::default(),
            tally: Tally::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || Instant::now() >= self.end
    }

    fn random(&self, who: u64) -> Random {
        Random(self.seed.wrapping_mul(1_000_003).wrapping_add(who))
    }

    /// The database as this process sees it.
    fn open(&self) -> Verdict<Db> {
        let patient = Options::new().create(false).lock_timeout(process::PATIENCE);
        patient.open(self.sandbox.file(".kvdb")).map_err(|error| format!("it can't be opened: {error}"))
    }

    /// Does something again and again until the campaign is over, or it goes wrong.
    fn repeat(&self, name: &str, mut once: impl FnMut() -> Verdict) {
        while !self.is_over() {
            if let Err(what) = once() {
                self.failed.store(true, Ordering::Relaxed);
                let mut violations = self.violations.lock().unwrap_or_else(PoisonError::into_inner);
                violations.push(format!("{name}: {what}"));
            }
        }
    }

    fn run(&self) -> Vec<Model> {
        assert!(self.sandbox.run(&["set", "first", "1"]).code == Some(0), "it can't be created");
        thread::scope(|scope| {
            let write = |history| move || writer::write(self, history);
            let writers = History::ALL.map(|history| scope.spawn(write(history)));
            scope.spawn(|| loader::load(self));
            scope.spawn(|| reader::hold_sessions(self));
            scope.spawn(|| reader::ask_once(self));
            scope.spawn(|| loader::compact(self));
            writers.map(|writer| writer.join().unwrap()).into()
        })
    }

    /// What must hold once all is quiet, and again when all is in one run.
    fn check_at_last(&self, models: &mut [Model]) -> Verdict {
        for round in 0..2 {
            let db = self.open()?;
            for model in &mut *models {
                let next = model.next();
                model.settle(&db, next, 0).map_err(|what| format!("at last, round {round}: {what}"))?;
            }
            loader::check_at_last(self, &db)?;
            if round == 0 {
                let ran = self.sandbox.run(&["--lock-timeout", "60", ".compact"]);
                ran.expect(ran.text(), 0).quiet();
            }
        }
        Ok(())
    }

    fn report(&self, seconds: u64) {
        let stats = self.sandbox.run(&[".stats"]);
        let figure = |name: &str| {
            let line = stats.text().lines().find(|line| line.split_whitespace().next() == Some(name));
            line.and_then(|line| line.split_whitespace().nth(1)).unwrap_or("?").to_owned()
        };
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Tally { acknowledged, kills, clean_ends, checks, loads, large_loads, refused_loads, .. } =
            &self.tally;
        let Tally { compactions, one_shots, session_reads, scanned, snapshots, slowest_micros, .. } =
            &self.tally;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{seconds} s of 7 processes, seed {}: {} acknowledged, {} kills, {} clean ends, {} checks\n\
             loads: {} small, {} large, {} refused; .compact: {}; by all: {} flushes, {} compactions\n\
             reads: {} one-shots, {} in sessions, {} records scanned, {} snapshots, the slowest get {} ms\n\
             {} keys, {} runs, {} tables at the end: 0 lost, 0 wrong",
            self.seed,
            of(acknowledged),
            of(kills),
            of(clean_ends),
            of(checks),
            of(loads),
            of(large_loads),
            of(refused_loads),
            of(compactions),
            figure("flushes"),
            figure("compactions"),
            of(one_shots),
            of(session_reads),
            of(scanned),
            of(snapshots),
            of(slowest_micros) / 1_000,
            figure("keys"),
            figure("runs"),
            figure("tables"),
        )
        .unwrap();
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn processes_that_are_killed_lose_nothing_and_show_nothing_wrong() {
    let seconds = setting("KVDB_SECONDS", DEFAULT_SECONDS);
    let campaign = Campaign::new(seconds, setting("KVDB_SEED", 1));
    let mut models = campaign.run();
    let mut violations = std::mem::take(&mut *campaign.violations.lock().unwrap());
    if violations.is_empty() {
        violations.extend(campaign.check_at_last(&mut models).err());
    }
    if violations.is_empty() {
        campaign.report(seconds);
        let acknowledged = campaign.tally.acknowledged.load(Ordering::Relaxed);
        assert!(acknowledged > 0, "no writer lived long enough to be acknowledged");
    } else {
        let left = campaign.sandbox.keep();
        panic!(
            "seed {}, the database is kept in {}:\n{}",
            campaign.seed,
            left.display(),
            violations.join("\n")
        );
    }
}
