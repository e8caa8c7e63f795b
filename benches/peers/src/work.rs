//! The work that engines do: what it is called, what it needs, and how often it is repeated.

use crate::store::Ability;

/// What a worker process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Durable single puts from so many threads.
    Put(usize),
    /// A load in durable batches, with ascending keys or with keys in no order.
    Load {
        /// Ascending.
        is_ordered: bool,
    },
    /// Random overwrites in durable batches.
    Overwrite,
    /// Gets of keys that are there.
    Get {
        /// Threads.
        threads: usize,
        /// With YCSB's zipfian distribution instead of an even one.
        is_zipfian: bool,
    },
    /// Gets from one frozen view.
    GetInView,
    /// Gets of keys that are not there.
    Absent,
    /// Walks over all entries.
    Scan,
    /// Walks over all entries, descending.
    ScanReverse,
    /// Walks over 100 entries from a random key on.
    Seek,
    /// The mix E of YCSB.
    YcsbE,
    /// The mixes of YCSB one after the other: A, B, C, D, F, and then E.
    Ycsb,
    /// Gets after nothing is left in memory.
    Cold,
    /// Opening, and the first get.
    Open,
    /// One get in a process of its own.
    Once,
    /// Memory of a process that only gets.
    Memory,
}

/// Where a worker's database comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// There is none yet.
    Nothing,
    /// The loaded and settled one, which is only read.
    Loaded,
    /// A copy of it.
    Copy,
    /// A copy of one whose load was ended by `kill -9`.
    Killed,
}

/// How often a worker does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// In turns with the other engines, so many per round; the first turn is dropped.
    Turns(usize),
    /// Once in a process of its own per round.
    Process,
    /// Once in a process of its own.
    Once,
    /// So many whole processes per round, timed from start to end.
    WholeProcess(usize),
}

/// How a work is run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What the workers do.
    pub work: Work,
    /// What an engine needs for it.
    pub needs: &'static [Ability],
    /// Where its database comes from.
    pub input: Input,
    /// How often it is done.
    pub repeat: Repeat,
    /// How many processes do it at once, in one database.
    pub processes: usize,
}

const fn plan(
    name: &'static str,
    work: Work,
    needs: &'static [Ability],
    input: Input,
    repeat: Repeat,
) -> Plan {
    Plan { name, work, needs, input, repeat, processes: 1 }
}

const fn get(threads: usize, is_zipfian: bool) -> Work {
    Work::Get { threads, is_zipfian }
}

const FILES: &[Ability] = &[Ability::Files, Ability::Get];
const SCANS: &[Ability] = &[Ability::Scan];
const STARTS: &[Ability] = &[Ability::Start];
const GETS: &[Ability] = &[Ability::Get];

/// The shorter a turn, the less the machine changes between neighbours: shortest for syncs, whose latency drifts most, longer
/// for reads, which find the processor's caches full of others' data, whole rounds for what lasts as long as it lasts.
const SHORT_TURNS: Repeat = Repeat::Turns(10);
const READ_TURNS: Repeat = Repeat::Turns(5);
const LONG_TURNS: Repeat = Repeat::Turns(1);

/// Everything that is measured, in order.
pub const PLANS: &[Plan] = &[
    plan("put1", Work::Put(1), &[Ability::Put], Input::Nothing, SHORT_TURNS),
    plan("put4", Work::Put(4), &[Ability::Put], Input::Nothing, SHORT_TURNS),
    Plan {
        processes: 4,
        ..plan("put4p", Work::Put(1), &[Ability::Put, Ability::Share], Input::Nothing, SHORT_TURNS)
    },
    plan("load-random", Work::Load { is_ordered: false }, &[Ability::Load], Input::Nothing, Repeat::Process),
    plan("load-ordered", Work::Load { is_ordered: true }, &[Ability::Load], Input::Nothing, Repeat::Process),
    plan("put1-loaded", Work::Put(1), FILES, Input::Copy, SHORT_TURNS),
    plan("overwrite", Work::Overwrite, FILES, Input::Copy, Repeat::Once),
    plan("get1", get(1, false), GETS, Input::Loaded, READ_TURNS),
    plan("get2", get(2, false), GETS, Input::Loaded, READ_TURNS),
    plan("get-view", Work::GetInView, GETS, Input::Loaded, READ_TURNS),
    plan("zipf1", get(1, true), GETS, Input::Loaded, READ_TURNS),
    plan("zipf2", get(2, true), GETS, Input::Loaded, READ_TURNS),
    plan("absent", Work::Absent, GETS, Input::Loaded, READ_TURNS),
    plan("scan", Work::Scan, SCANS, Input::Loaded, READ_TURNS),
    plan("reverse", Work::ScanReverse, SCANS, Input::Loaded, READ_TURNS),
    plan("seek", Work::Seek, SCANS, Input::Loaded, READ_TURNS),
    plan("ycsb-e", Work::YcsbE, FILES, Input::Copy, Repeat::Process),
    plan("ycsb", Work::Ycsb, FILES, Input::Copy, Repeat::Process),
    plan("cold", Work::Cold, FILES, Input::Loaded, LONG_TURNS),
    plan("open", Work::Open, FILES, Input::Loaded, LONG_TURNS),
    plan("open-killed", Work::Open, FILES, Input::Killed, Repeat::Process),
    plan("once", Work::Once, STARTS, Input::Loaded, Repeat::WholeProcess(10)),
    plan("memory", Work::Memory, STARTS, Input::Loaded, Repeat::Process),
];

/// The plan of that name.
#[must_use]
pub fn named(name: &str) -> Option<&'static Plan> {
    PLANS.iter().find(|plan| plan.name == name)
}
