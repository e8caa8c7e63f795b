//! The protocol of `src/engine/wal_engine.rs` as a model: every order of steps of two writers, a reader and whoever maintains
//! the files, with a crash at every step, is tried by a model checker.
//!
//! ```text
//!  disk       segments, tables, MANIFEST, SHM: what is in the cache, what is on the device, which names are durable
//!  handle     load, replay, cross, settle, confirm, catch up, adopt: as in follow.rs
//!  canon      which states are the same
//!  process    write, rotate, read, flush, merge, sweep: as in turn.rs, chain.rs, maintain.rs, a step at a time
//! ```
//!
//! What must hold in every state, with the numbers of the invariants in `wal_engine.rs`:
//!
//! * *appended behind what is durable* (1): a record proves that everything before it was on the device.
//! * *shown once durable* (2): what was acknowledged or shown is found after a power loss, whatever that leaves.
//! * *kept when processes die* (3, 6): it is found by the next process as well; what is found is one history, all tables and
//!   segments are there, and nobody is told of damage.
//! * *reads are current*, part of *nothing wrong*: a read sees what was acknowledged before it began, and all reads see one
//!   history.
//!
//! Not in it: the turnstile, which only orders those who wait, and the lock of a segment, which only saves syncs; groups of
//! threads, which are one writer here; bulks; values. A segment has room for one batch, or for two where writers share syncs.
//!
//! The model is checked by breaking it: each [`Defect`] must lead to a state in which something does not hold. `KVDB_DEEP=1
//! cargo test --release --test protocol -- --nocapture` tries more crashes and longer tasks, in about ten minutes; the default
//! is for every run of the tests.

#![allow(clippy::unwrap_used, reason = "a test fails where its surroundings do")]

mod canon;
mod disk;
mod handle;
mod process;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stateright::{Checker as _, HasDiscoveries, Model, Property};

use disk::{Bytes, Disk};
use handle::recovered;
use process::{Process, State, Task};

/// One thing that is done otherwise than it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Defect {
    None,
    /// A write is acknowledged without a sync.
    NotSynced,
    /// What a dead writer left is shown, and built upon, without making it durable.
    OrphanShown,
    /// A seal is followed although it may not be durable.
    SealBelieved,
    /// After a sync that failed another one is believed.
    SyncAskedAgain,
    /// After a sync that failed, what the cache still has is not written once more.
    NotWrittenAgain,
    /// Files are unlinked before the manifest that no longer leads to them is durable.
    UnlinkedEarly,
    /// The manifest is not read again before it is changed.
    InstalledStale,
    /// A segment is overwritten by the next one while somebody reads it.
    Recycled,
    /// Tables that another process is writing are swept.
    SweptTooMuch,
    /// A turn appends to what is not durable without writing that once more.
    NotRepeated,
    /// A sync of all that was written is noted before it is done.
    NotedEarly,
    /// Nobody hears that the sync of another has failed.
    FailureUnheard,
}

/// Counts something that the model should come across.
#[derive(Default)]
struct Count(AtomicU64);

impl Count {
    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What happened on the way: a model in which nothing happens proves nothing.
#[derive(Default)]
struct Sights {
    rotations: Count,
    restarts: Count,
    dropped: Count,
    tables_gone: Count,
    /// Writes that the sync of another made durable.
    shared: Count,
}

/// Who does what, and how often something goes wrong.
#[derive(Clone)]
struct Protocol {
    processes: Vec<Vec<Task>>,
    crashes: u8,
    failures: u8,
    /// So many tables there are to begin with.
    tables: u8,
    mapped: bool,
    room: usize,
    relays: bool,
    defect: Defect,
    sights: Arc<Sights>,
}

#[derive(Clone, Debug, PartialEq)]
enum Action {
    /// A process does what it is at.
    Step(u8, &'static str),
    Kill(u8),
    /// Half of what it writes is there.
    KillInside(u8),
    FailSync(u8),
    /// This one of the disks that it may leave.
    PowerLoss(usize),
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let disk = Disk::new(self.tables, self.mapped);
        let state = State {
            processes: (0..).zip(&self.processes).map(|(name, tasks)| Process::new(name, tasks)).collect(),
            lock: None,
            maint: None,
            merge: None,
            promised: disk.manifest.ghost.clone(),
            room: self.room,
            relays: self.relays,
            disk,
            crashes: self.crashes,
            failures: self.failures,
            wrong: None,
        };
        vec![state.into_canonical()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        for (who, process) in state.processes.iter().enumerate() {
            if state.can_step(who) {
                actions.push(Action::Step(process.name, process.doing()));
            }
            if state.failures > 0 && state.syncs(who) {
                actions.push(Action::FailSync(process.name));
            }
            if state.crashes > 0 && process.handle.is_some() {
                actions.push(Action::Kill(process.name));
                if state.writes(who) {
                    actions.push(Action::KillInside(process.name));
                }
            }
        }
        if state.crashes > 0 {
            actions.extend((0..state.disk.power_losses().len()).map(Action::PowerLoss));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        let place = |name| state.processes.iter().position(|process| process.name == name);
        match action {
            Action::Step(name, _) => next.step(place(name)?, self.defect, &self.sights),
            Action::Kill(name) => next.kill(place(name)?, false),
            Action::KillInside(name) => next.kill(place(name)?, true),
            Action::FailSync(name) => next.fail_sync(place(name)?),
            Action::PowerLoss(which) => next.lose_power(state.disk.power_losses().swap_remove(which)),
        }
        next.failures -= u8::from(matches!(action, Action::FailSync(_)));
        next.crashes -= u8::from(!matches!(action, Action::FailSync(_) | Action::Step(..)));
        Some(next.into_canonical())
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing wrong", |_, state: &State| state.wrong.is_none()),
            Property::always("appended behind what is durable", |_, state: &State| {
                appended_behind_durable(&state.disk)
            }),
            Property::always("kept when processes die", |_, state: &State| is_kept(state, &state.disk)),
            Property::always("shown once durable", |_, state: &State| {
                state.disk.power_losses().iter().all(|disk| is_kept(state, disk))
            }),
        ]
    }
}

/// Whether all that was acknowledged or shown is on a disk.
fn is_kept(state: &State, disk: &Disk) -> bool {
    recovered(disk).is_ok_and(|found| found.starts_with(&state.promised))
}

/// Every record's promise is kept by the device, as far as the segment goes.
fn appended_behind_durable(disk: &Disk) -> bool {
    disk.segments.iter().all(|segment| {
        segment.slots.iter().enumerate().all(|(index, slot)| match slot.live {
            Bytes::Record(record) => segment.slots[..index].iter().all(|before| {
                !matches!(before.live, Bytes::Record(b) if b.lsn <= record.durable)
                    || before.live == before.device
            }),
            _ => true,
        })
    })
}

const DEEP: &str = "KVDB_DEEP";

fn is_deep() -> bool {
    std::env::var_os(DEEP).is_some()
}

fn protocol(processes: &[&[Task]], crashes: u8, failures: u8) -> Protocol {
    Protocol {
        processes: processes.iter().map(|tasks| tasks.to_vec()).collect(),
        crashes: crashes + u8::from(is_deep() && crashes > 0),
        failures,
        tables: 0,
        mapped: false,
        room: 1,
        relays: false,
        defect: Defect::None,
        sights: Arc::default(),
    }
}

use Task::{Flush, Merge, Read, Write};

/// So much of what is done, or less where it is not the long form.
fn tasks(tasks: &'static [Task], few: usize) -> &'static [Task] {
    &tasks[..if is_deep() { tasks.len() } else { few }]
}

/// Two writers, a reader and a maintainer; a crash anywhere.
fn flushing() -> Protocol {
    let (writes, reads, flushes) =
        (tasks(&[Write, Write], 1), tasks(&[Read, Read], 1), tasks(&[Flush, Flush], 1));
    protocol(&[writes, &[Write], reads, flushes], 1, 0)
}

/// A reader that is slower than two flushes.
fn flushing_twice() -> Protocol {
    let writes = tasks(&[Write, Write, Write], 2);
    protocol(&[writes, &[Read, Read], &[Flush, Flush]], u8::from(is_deep()), 0)
}

/// A merge beside a flush.
fn merging() -> Protocol {
    let reads = tasks(&[Read, Read], 1);
    let merging = protocol(&[&[Write], &[Flush], &[Merge], reads], u8::from(is_deep()), 0);
    Protocol { tables: 2, ..merging }
}

/// A sync fails, and then the power, or a process dies.
fn failing(mapped: bool) -> Protocol {
    let (writes, reads) = (tasks(&[Write, Write, Write], 1), tasks(&[Read, Read], 1));
    let failures = 1 + u8::from(is_deep());
    Protocol { mapped, ..protocol(&[writes, tasks(&[Write, Write], 1), reads], 1, failures) }
}

/// Writers that share syncs, one of which may fail.
fn relaying(failures: u8) -> Protocol {
    // A failure is trouble enough.
    let more = if failures == 0 { tasks(&[Write, Write], 1) } else { &[Write] };
    let mut processes = vec![tasks(&[Write, Write], 1), more, &[Write][..]];
    processes.extend((failures == 0 || is_deep()).then_some(tasks(&[Read, Read], 1)));
    let processes = protocol(&processes, 1, failures);
    Protocol { relays: true, room: 2, mapped: true, ..processes }
}

fn holds(name: &str, protocol: Protocol) -> Arc<Sights> {
    let sights = Arc::clone(&protocol.sights);
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    report(&format!("{name}: {} states, {} steps deep", checker.unique_state_count(), checker.max_depth()));
    checker.assert_properties();
    assert!(checker.is_done());
    sights
}

#[expect(
    clippy::print_stdout,
    reason = "the counts are what a model is run for; cargo shows them on request"
)]
fn report(what: &str) {
    println!("protocol: {what}");
}

fn came_across(counts: &[&Count]) {
    assert!(counts.iter().all(|count| count.0.load(Ordering::Relaxed) > 0), "the model does not get there");
}

/// The broken protocol must be found out.
fn is_noticed(defect: Defect, protocol: Protocol) {
    let checker = Protocol { defect, ..protocol }.checker().threads(2);
    let checker = checker.finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let (property, path) = discoveries.iter().next().unwrap_or_else(|| panic!("{defect:?} is not noticed"));
    report(&format!("{defect:?} breaks \"{property}\": {}", story(path.clone().into_actions())));
}

/// What happened, in words; several steps of a process in one.
fn story(actions: Vec<Action>) -> String {
    let mut story: Vec<String> = Vec::new();
    let mut last = None;
    for action in actions {
        match (&action, last) {
            (Action::Step(who, doing), Some(before)) if *who == before => story.push(format!(", {doing}")),
            (Action::Step(who, doing), _) => story.push(format!("; process {who}: {doing}")),
            (other, _) => story.push(format!("; {other:?}")),
        }
        last = if let Action::Step(who, _) = action { Some(who) } else { None };
    }
    story.concat().trim_start_matches("; ").to_owned()
}

/// The state when these processes have done all of their tasks, one after the other.
fn after(protocol: &Protocol, names: &[u8]) -> u64 {
    let mut state = protocol.init_states().remove(0);
    for name in names {
        let mut actions = Vec::new();
        loop {
            protocol.actions(&state, &mut actions);
            let mut steps = actions.drain(..);
            let Some(step) = steps.find(|action| matches!(action, Action::Step(who, _) if who == name))
            else {
                break;
            };
            state = protocol.next_state(&state, step).unwrap();
        }
    }
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn states_are_the_same_whichever_of_two_writers_did_what() {
    let protocol = protocol(&[&[Write], &[Write], &[Flush], &[Read]], 1, 0);
    let after = |names| after(&protocol, names);
    assert_eq!(after(&[0]), after(&[1]));
    assert_eq!(after(&[0, 1, 2]), after(&[1, 0, 2]));
    let others = [&[0][..], &[3], &[0, 1], &[0, 1, 2], &[0, 2, 1], &[0, 1, 2, 3]];
    let states: BTreeSet<u64> = others.into_iter().map(after).collect();
    assert_eq!(states.len(), others.len());
}

#[test]
fn two_writers_a_reader_and_a_flush() {
    let sights = holds("flush", flushing());
    came_across(&[&sights.rotations, &sights.dropped]);
}

#[test]
fn a_reader_slower_than_two_flushes() {
    let sights = holds("two flushes", flushing_twice());
    came_across(&[&sights.rotations, &sights.restarts]);
}

#[test]
fn a_merge_beside_flushes() {
    let sights = holds("merge", merging());
    came_across(&[&sights.tables_gone]);
}

#[test]
fn syncs_that_fail() {
    let sights = holds("failed syncs", failing(false));
    came_across(&[&sights.restarts]);
    holds("failed syncs, mapped", failing(true));
}

#[test]
fn writers_that_share_syncs() {
    let sights = holds("relay", relaying(0));
    came_across(&[&sights.shared, &sights.rotations]);
    holds("relay, failed syncs", relaying(1));
}

#[test]
fn every_defect_is_noticed() {
    is_noticed(Defect::NotSynced, flushing());
    is_noticed(Defect::OrphanShown, flushing());
    is_noticed(Defect::SealBelieved, flushing());
    is_noticed(Defect::SyncAskedAgain, failing(false));
    is_noticed(Defect::NotWrittenAgain, failing(true));
    is_noticed(Defect::UnlinkedEarly, flushing());
    is_noticed(Defect::InstalledStale, merging());
    is_noticed(Defect::Recycled, flushing_twice());
    is_noticed(Defect::SweptTooMuch, merging());
    is_noticed(Defect::NotRepeated, relaying(1));
    is_noticed(Defect::NotedEarly, relaying(0));
    is_noticed(Defect::FailureUnheard, relaying(1));
}
