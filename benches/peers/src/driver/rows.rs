//! The rows of the tables: what each shows, in which unit, and how well kvdb is meant to do.

/// Which way a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Operations or entries per second: more is better.
    PerSecond,
    /// Less is better.
    Milliseconds,
    /// Less is better.
    Microseconds,
    /// Bytes, shown in MiB: less is better.
    Bytes,
    /// A factor: less is better.
    Times,
}

impl Unit {
    /// Whether more is better.
    pub(super) const fn is_rate(self) -> bool {
        matches!(self, Self::PerSecond)
    }

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PerSecond => "/s",
            Self::Milliseconds => "ms",
            Self::Microseconds => "µs",
            Self::Bytes => "MiB",
            Self::Times => "×",
        }
    }
}

/// How well kvdb is meant to do. Advantages are above 1 where kvdb is better.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// At least this advantage over the best peer.
    OverBest(f64),
    /// At least this advantage over one engine.
    Over(&'static str, f64),
    /// At most this figure, in the row's unit.
    AtMost(f64),
}

/// A row.
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) work: &'static str,
    pub(super) figure: &'static str,
    pub(super) unit: Unit,
    pub(super) goals: &'static [Goal],
}

/// A table.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) rows: &'static [Row],
}

const fn row(
    label: &'static str,
    [work, figure]: [&'static str; 2],
    unit: Unit,
    goals: &'static [Goal],
) -> Row {
    Row { label, work, figure, unit, goals }
}

use Goal::{AtMost, Over, OverBest};
use Unit::{Bytes, Microseconds, Milliseconds, PerSecond, Times};

const MIB: f64 = 1_048_576.0;

/// Every table.
pub(super) const GROUPS: &[Group] = &[
    Group { title: "Durable single puts", rows: PUTS },
    Group { title: "Loads and overwrites, in durable batches of 1,000", rows: LOADS },
    Group { title: "Warm reads", rows: READS },
    Group { title: "YCSB, one thread, without syncs", rows: YCSB },
    Group { title: "Cold gets, opening, whole processes", rows: STARTS },
    Group { title: "Memory", rows: MEMORY },
];

const PUTS: &[Row] = &[
    row("1 thread", ["put1", "ops"], PerSecond, &[Over("raw", 0.95), OverBest(1.0)]),
    row("4 threads", ["put4", "ops"], PerSecond, &[OverBest(1.5)]),
    row("4 processes", ["put4p", "ops"], PerSecond, &[OverBest(1.5)]),
    row("1 thread, into the loaded database", ["put1-loaded", "ops"], PerSecond, &[OverBest(1.0)]),
];

const LOADS: &[Row] = &[
    row("random load", ["load-random", "ops"], PerSecond, &[Over("leveldb", 1.5)]),
    row("ordered load", ["load-ordered", "ops"], PerSecond, &[Over("lmdb", 1.0)]),
    row("disk after the random load", ["load-random", "disk"], Bytes, &[Over("rocksdb", 1.0)]),
    row("disk after the ordered load", ["load-ordered", "disk"], Bytes, &[]),
    row("write amplification of the random load", ["load-random", "write-amplification"], Times, &[]),
    row("random overwrites, 2 per key", ["overwrite", "ops"], PerSecond, &[]),
    row("write amplification of them", ["overwrite", "write-amplification"], Times, &[AtMost(6.0)]),
    row("space amplification after them", ["overwrite", "space-amplification"], Times, &[AtMost(1.3)]),
];

const GET_GOALS: &[Goal] = &[Over("lmdb", 2.0), Over("rocksdb", 5.0)];

const READS: &[Row] = &[
    row("random get, 1 thread", ["get1", "ops"], PerSecond, GET_GOALS),
    row("random get, 2 threads", ["get2", "ops"], PerSecond, GET_GOALS),
    row("random get from one view", ["get-view", "ops"], PerSecond, &[]),
    row("zipfian get, 1 thread", ["zipf1", "ops"], PerSecond, GET_GOALS),
    row("zipfian get, 2 threads", ["zipf2", "ops"], PerSecond, GET_GOALS),
    row("absent get", ["absent", "ops"], PerSecond, &[Over("leveldb", 2.0)]),
    row("full scan, entries", ["scan", "ops"], PerSecond, &[Over("lmdb", 1.5)]),
    row("full scan in reverse, entries", ["reverse", "ops"], PerSecond, &[Over("lmdb", 1.0)]),
    row("seek + 100, entries", ["seek", "ops"], PerSecond, &[Over("lmdb", 1.0)]),
];

const YCSB: &[Row] = &[
    row("A: 50 get, 50 put", ["ycsb", "a"], PerSecond, &[OverBest(1.0)]),
    row("B: 95 get, 5 put", ["ycsb", "b"], PerSecond, &[OverBest(1.0)]),
    row("C: get", ["ycsb", "c"], PerSecond, &[OverBest(1.0)]),
    row("D: 95 get of the latest, 5 new", ["ycsb", "d"], PerSecond, &[OverBest(1.0)]),
    row("E: 95 seek + 1–100, 5 new", ["ycsb-e", "e"], PerSecond, &[OverBest(1.0)]),
    row("F: 50 get, 50 get and put", ["ycsb", "f"], PerSecond, &[OverBest(1.0)]),
    row("E after A–D and F", ["ycsb", "e"], PerSecond, &[OverBest(1.0)]),
    row("E on fresh data / E after the others", ["ycsb", "e-slowdown"], Times, &[AtMost(1.25)]),
];

const STARTS: &[Row] = &[
    row("cold get, p50", ["cold", "p50-us"], Microseconds, &[]),
    row("cold get, p99", ["cold", "p99-us"], Microseconds, &[OverBest(1.0)]),
    row("cold open and first get", ["cold", "first-ms"], Milliseconds, &[]),
    row("open, clean", ["open", "open-ms"], Milliseconds, &[AtMost(0.5)]),
    row("open, clean, and first get", ["open", "answer-ms"], Milliseconds, &[AtMost(0.5)]),
    row("open after kill -9", ["open-killed", "open-ms"], Milliseconds, &[AtMost(10.0)]),
    row("open after kill -9, and first get", ["open-killed", "answer-ms"], Milliseconds, &[AtMost(10.0)]),
    row(
        "process that opens and gets once",
        ["once", "ms"],
        Milliseconds,
        &[Over("empty", 1.0 / 1.5), Over("sqlite", 1.0)],
    ),
];

const MEMORY: &[Row] = &[
    row("one get: all, with mapped files", ["memory", "one-peak"], Bytes, &[AtMost(8.0 * MIB)]),
    row("one get: beside mapped files", ["memory", "one-anonymous"], Bytes, &[]),
    row("100,000 gets: beside mapped files", ["memory", "anonymous"], Bytes, &[AtMost(64.0 * MIB)]),
    row("100,000 gets: all, with mapped files", ["memory", "peak"], Bytes, &[]),
    row("random load: most beside mapped files", ["load-random", "anonymous"], Bytes, &[AtMost(128.0 * MIB)]),
    row("random load: most, with mapped files", ["load-random", "peak"], Bytes, &[]),
];
