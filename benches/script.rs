//! A script of `set` lines on standard input, every reply durable before it is printed, beside the sqlite3 shell on
//! autocommit (WAL, synchronous=FULL), which syncs once a line.
//!
//! `cargo bench --bench script [-- LINES [SQLITE_LINES]]`. The sqlite3 shell does fewer lines by default, because it takes
//! minutes for all; rates are compared. The two take turns; medians of the rounds are printed. Without sqlite3 on the PATH only
//! kvdb is measured.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const DEFAULT_LINES: u32 = 100_000;
const DEFAULT_SQLITE_LINES: u32 = 5_000;
const ROUNDS: usize = 5;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut numbers = std::env::args().skip(1).filter_map(|arg| arg.parse().ok());
    let lines = numbers.next().unwrap_or(DEFAULT_LINES);
    let sqlite_lines = numbers.next().unwrap_or(DEFAULT_SQLITE_LINES);
    let dir = tempfile::tempdir_in(".")?;
    let (kvdb_script, sqlite_script) = (dir.path().join("script.kv"), dir.path().join("script.sql"));
    fs::write(&kvdb_script, script(lines, |out, key, value| writeln!(out, "set key:{key:012} {value}"))?)?;
    let sql = script(sqlite_lines, |out, key, value| {
        writeln!(out, "insert or replace into kv values('key:{key:012}','{value}');")
    })?;
    fs::write(&sqlite_script, format!("{SQLITE_SETUP}{sql}"))?;
    let (mut kvdb, mut sqlite) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        kvdb.push(f64::from(lines) / run_kvdb(dir.path(), &kvdb_script, round)?);
        if let Ok(seconds) = run_sqlite(dir.path(), &sqlite_script, round) {
            sqlite.push(f64::from(sqlite_lines) / seconds);
        }
    }
    report(&mut kvdb, &mut sqlite)
}

const SQLITE_SETUP: &str = "pragma journal_mode=wal;\npragma synchronous=full;\n\
                            create table kv(k text primary key, v text) without rowid;\n";

/// Lines with 16-byte keys in a scattered order and 100-byte values.
fn script(
    lines: u32,
    line: impl Fn(&mut String, u64, &str) -> std::fmt::Result,
) -> Result<String, std::fmt::Error> {
    let value = "v".repeat(100);
    let mut script = String::new();
    for number in 0..lines {
        let scattered = u64::from(number) * 7_919 % u64::from(lines);
        line(&mut script, scattered, &value)?;
    }
    Ok(script)
}

fn run_kvdb(dir: &Path, script: &Path, round: usize) -> Result<f64, Failure> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvdb"));
    command.arg("--db").arg(dir.join(format!("kvdb-{round}")));
    time(&mut command, script, dir)
}

fn run_sqlite(dir: &Path, script: &Path, round: usize) -> Result<f64, Failure> {
    let mut command = Command::new("sqlite3");
    command.arg(dir.join(format!("sqlite-{round}")));
    time(&mut command, script, dir)
}

fn time(command: &mut Command, script: &Path, dir: &Path) -> Result<f64, Failure> {
    let out = File::create(dir.join("out"))?;
    let start = Instant::now();
    let status = command.stdin(File::open(script)?).stdout(out).stderr(Stdio::inherit()).status()?;
    if !status.success() {
        return Err(format!("{command:?} ended with {status}").into());
    }
    Ok(start.elapsed().as_secs_f64())
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN)
}

fn report(kvdb: &mut [f64], sqlite: &mut [f64]) -> Result<(), Failure> {
    let (kvdb, sqlite) = (median(kvdb), median(sqlite));
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "| durable lines on stdin, lines/s | kvdb | sqlite3 | kvdb / sqlite3 |\n|---|---|---|---|"
    )?;
    writeln!(out, "| median of {ROUNDS} rounds | {kvdb:.0} | {sqlite:.0} | {:.1} |", kvdb / sqlite)?;
    Ok(())
}
