//! A system call of the database that fails, in any command of the language: the command says so and the exit code is 5, nothing
//! that was acknowledged is lost, nothing is half done, and the next process works.
//!
//! Each script runs once to learn what it replies and what the database holds after each of its commands; then once for every
//! call that the engine makes on the simulated disk, with that call made to fail. A script ends at its first error. So whatever
//! failed, the output is that of a number of commands, and the database holds what it held after so many of them, or after
//! more: those may have been done when nobody could be told. Calls that are interrupted or do half of the work make no
//! difference at all. Files that the user names fail in [`user_files`](super::user_files).
//!
//! The short form makes every third call fail, in one way. `KVDB_SEEDS=1 cargo test --release --lib shell::tests` makes every
//! call fail in every way, and for good.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::super::command::Bail;
use super::super::connection::{Connection, Databases};
use super::super::exit::Exit;
use super::super::interrupt::Interrupt;
use super::super::parse;
use super::super::run;
use super::super::session::{Place, Session, Streams, Way};
use super::super::table;
use super::captured::Captured;
use crate::config::Settings;
use crate::db::Db;
use crate::engine::{Check, Glance, Progress, Repair, check_on, glance_on, open_on, repair_on};
use crate::error::Result;
use crate::options::{Options, Pace};
use crate::storage::fs::Fs;
use crate::storage::fs::sim::{Fault, Op, SimFs, SimProcess};
use crate::types::{Batch, EngineKind, Key, Value};

const DIR: &str = "/db";
const REPAIR: &str = ".repair /saved";
const SAVED: &str = "/saved";

/// What happens in a script: one command a line. `@` stands for a directory of files.
pub(super) struct Script {
    pub(super) lines: &'static [&'static str],
    /// The database is not there before.
    is_new: bool,
    /// The replies depend on more than the data, so they are not compared.
    is_unsteady: bool,
    given: Given,
}

/// How a script comes to the shell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Text,
    /// The commands are those of a prompt.
    Typed,
    /// The only line is a command of its own process, its words set apart by blanks.
    Words,
}

pub(super) const fn script(lines: &'static [&'static str]) -> Script {
    Script { lines, is_new: false, is_unsteady: false, given: Given::Text }
}

const fn unsteady(lines: &'static [&'static str]) -> Script {
    Script { is_unsteady: true, ..script(lines) }
}

pub(super) const fn on_nothing(lines: &'static [&'static str]) -> Script {
    Script { is_new: true, ..script(lines) }
}

pub(super) const fn one_shot(lines: &'static [&'static str]) -> Script {
    Script { given: Given::Words, ..script(lines) }
}

const fn typed(lines: &'static [&'static str]) -> Script {
    Script { given: Given::Typed, ..script(lines) }
}

/// What works afterwards.
const PROBE: Script = script(&["set probe 1", "get probe"]);

/// Every command that reads or writes the database.
const SCRIPTS: &[Script] = &[
    on_nothing(&["set a 1", "get a b", "set b 2", "count"]),
    on_nothing(&[".load @/dump.kv", "get k00"]),
    on_nothing(&["begin", "set a 1", "commit"]),
    script(&[
        "set k00 new",
        "set added 1 --ttl 10m",
        "set k01 x --if-value old",
        "set k02 x --xx",
        "set k03 x --nx",
    ]),
    script(&["get k00 k05 absent", "get absent --default none"]),
    script(&["get k00 k05 absent"]),
    script(&[
        "exists k00 absent",
        "delete k00 absent k07",
        "delete --prefix k1",
        "delete --prefix k --dry-run",
    ]),
    script(&["incr n", "incr n 41", "append k03 suffix", "rename k04 renamed"]),
    unsteady(&["expire k05 10m", "ttl k05 k06", "persist k05"]),
    script(&["count", "count k1", "keys --limit 3", "keys k2 --reverse"]),
    script(&["scan", "scan --from k05 --to k09", "scan --reverse --limit 2"]),
    script(&["begin", "get k00", "set k00 mine", "delete k01", "scan k0", "commit", "get k00"]),
    script(&["begin", "set k00 mine", "rollback", "get k00"]),
    unsteady(&[".stats"]),
    script(&[".levels"]),
    unsteady(&[".compact", "set after 1"]),
    unsteady(&[".backup /copy", "set k00 new", ".backup /copy"]),
    script(&[".dump", ".dump @/out.kv"]),
    script(&[".load @/dump.kv", "get k00 loaded"]),
    script(&[".import @/rows.csv", "get imported"]),
    script(&[".export @/out.csv"]),
    script(&[".read @/script.kv"]),
    script(&["get k00", ".open /db", "set k00 new"]),
    script(&[".prefixes"]),
    script(&["get k00", ".check", "set k00 new"]),
    script(&[".check", REPAIR]),
    typed(&[
        "set k00 new",
        "delete k01 k02",
        ".undo",
        "begin",
        "append k03 x",
        "set new 1",
        "commit",
        ".undo 2",
    ]),
];

/// Commands that know nothing of the database.
const OTHERS: &[&str] = &[
    ".output",
    ".echo",
    ".pager",
    ".once",
    ".mode",
    ".timer",
    ".bail",
    ".history",
    ".config",
    ".show",
    ".version",
    ".completions",
    ".man",
    ".tutorial",
    "help",
    "exit",
];

/// Files that scripts name, outside of the simulated disk.
fn files() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let source = tempfile::tempdir().unwrap();
    let mut settings = Settings::default();
    settings.db = source.path().join("db");
    let db = Db::open(&settings.db).unwrap();
    db.set("k00", "loaded").unwrap();
    (0..40).for_each(|number| db.set(format!("loaded{number}"), vec![7; 300]).unwrap());
    let run = Run::of(&settings, format!(".dump {}/dump.kv\n", dir.path().display()), None);
    assert_eq!(run.exit, Exit::DONE, "{}", run.err);
    std::fs::write(dir.path().join("rows.csv"), "key,value\nimported,1\nk00,2\n").unwrap();
    std::fs::write(dir.path().join("value"), vec![b'v'; 300]).unwrap();
    std::fs::write(dir.path().join("script.kv"), "set k00 read\nget k00\ncount\n").unwrap();
    dir
}

/// What came of a run of the shell.
pub(super) struct Run {
    pub(super) out: String,
    pub(super) err: String,
    pub(super) exit: Exit,
}

impl Run {
    fn of(settings: &Settings, text: String, databases: Option<Rc<dyn Databases>>) -> Self {
        Self::on(Way::OneShot, settings, databases, |session| {
            if text.lines().count() == 1 {
                session.connection.expect_one_command();
            }
            session.run_text("-c", text.into_bytes());
            session.finish()
        })
    }

    fn one_shot(settings: &Settings, line: &str, databases: Option<Rc<dyn Databases>>) -> Self {
        Self::on(Way::OneShot, settings, databases, |session| {
            let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            run::command(session, &words);
            session.finish()
        })
    }

    /// As a person types it who stops at the first error, which for want of an exit code counts as one of I/O.
    fn typed(settings: &Settings, lines: &[&str], databases: Option<Rc<dyn Databases>>) -> Self {
        Self::on(Way::Prompt, settings, databases, |session| {
            for line in lines {
                let command = parse::line(line.as_bytes()).unwrap().unwrap();
                session.run(command, Place::NONE);
                if session.tally.count > 0 {
                    break;
                }
            }
            let exit = session.finish();
            if session.tally.count > 0 { Exit::IO } else { exit }
        })
    }

    fn on(
        way: Way,
        settings: &Settings,
        databases: Option<Rc<dyn Databases>>,
        work: impl FnOnce(&mut Session) -> Exit,
    ) -> Self {
        let (out, err) = (Captured::default(), Captured::default());
        let streams = Streams { output: out.stream(), errors: err.stream() };
        let mut session = Session::new(settings.clone(), way, streams, Interrupt::never());
        let connection = Connection::new(settings, session.interrupt.flag(), false);
        session.connection = match databases {
            Some(databases) => connection.among(databases),
            None => connection,
        };
        let exit = work(&mut session);
        drop(session);
        Self { out: out.text(), err: err.text(), exit }
    }
}

/// The databases of a simulated disk.
struct OnSim(Arc<SimProcess>, EngineKind);

impl OnSim {
    fn fs(&self) -> Arc<dyn Fs> {
        Arc::clone(&self.0) as _
    }
}

impl Databases for OnSim {
    fn open(&self, options: &Options, dir: &Path) -> Result<Db> {
        let options = Options { pace: Pace::SMALL, ..options.clone().engine(self.1) };
        Ok(Db::from_engine(open_on(self.fs(), dir, &options)?))
    }

    fn glance(&self, options: &Options, dir: &Path, keys: &[Key]) -> Result<Option<Glance>> {
        glance_on(self.fs(), dir, options, keys)
    }

    fn check(
        &self,
        options: &Options,
        dir: &Path,
        progress: &mut dyn FnMut(Progress, &[crate::error::Fault]) -> bool,
    ) -> Result<Check> {
        check_on(self.fs(), dir, options, progress)
    }

    fn repair(
        &self,
        options: &Options,
        dirs: (&Path, &Path),
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Repair> {
        let options = Options { pace: Pace::SMALL, ..options.clone() };
        repair_on(self.fs(), dirs, &options, progress)
    }
}

/// A disk, the engine that databases are made with on it, and where the user's files are.
pub(super) struct Bench {
    engine: EngineKind,
    pub(super) files: tempfile::TempDir,
    filled: SimFs,
}

impl Bench {
    pub(super) fn new(engine: EngineKind) -> Self {
        let disk = SimFs::new();
        let db = open(&disk, engine, &Options::new());
        for round in 0..3 {
            let mut batch = Batch::new();
            for number in 0..30 {
                batch.set(format!("k{number:02}"), format!("{round:0200}"));
            }
            db.write(batch).unwrap();
            db.set("round", vec![b'0' + round; 70_000]).unwrap();
        }
        db.set("k01", "old").unwrap();
        drop(db);
        Self { engine, files: files(), filled: disk }
    }

    pub(super) fn disk(&self, script: &Script) -> SimFs {
        if script.is_new { SimFs::new() } else { self.filled.clone_disk() }
    }

    pub(super) fn run(&self, disk: &SimFs, script: &Script) -> Run {
        self.run_first(disk, script, script.lines.len())
    }

    /// Runs so many of the lines.
    fn run_first(&self, disk: &SimFs, script: &Script, count: usize) -> Run {
        let mut settings = Settings::default();
        (settings.db, settings.engine, settings.bail) = (DIR.into(), self.engine, Bail::On);
        let databases: Option<Rc<dyn Databases>> = Some(Rc::new(OnSim(disk.process(), self.engine)));
        let lines = &script.lines[..count];
        if script.given == Given::Typed {
            return Run::typed(&settings, lines, databases);
        }
        let text = lines.join("\n").replace('@', &self.files.path().display().to_string());
        if script.given == Given::Words && count == 1 {
            return Run::one_shot(&settings, &text, databases);
        }
        Run::of(&settings, text + "\n", databases)
    }

    /// What the database holds; nothing when it is not there.
    fn contents(&self, disk: &SimFs) -> Vec<(Key, Value)> {
        self.contents_of(disk, DIR)
    }

    fn contents_of(&self, disk: &SimFs, dir: &str) -> Vec<(Key, Value)> {
        let options = Options::new().create(false);
        match try_open(disk, dir, self.engine, &options) {
            Err(crate::Error::NoDatabase { .. }) => Vec::new(),
            opened => opened.unwrap().scan(..).unwrap().map(Result::unwrap).collect(),
        }
    }
}

fn open(disk: &SimFs, engine: EngineKind, options: &Options) -> Db {
    try_open(disk, DIR, engine, options).unwrap()
}

fn try_open(disk: &SimFs, dir: &str, engine: EngineKind, options: &Options) -> Result<Db> {
    let options = Options { pace: Pace::SMALL, ..options.clone().engine(engine) };
    Ok(Db::from_engine(open_on(disk.process(), Path::new(dir), &options)?))
}

/// What a script comes to when nothing fails.
pub(super) struct Expected {
    pub(super) run: Run,
    calls: u64,
    /// How long the output is, and what the database holds, after so many of its commands.
    steps: Vec<(usize, Vec<(Key, Value)>)>,
}

impl Expected {
    pub(super) fn of(bench: &Bench, script: &Script) -> Self {
        let steps = (0..=script.lines.len()).map(|count| {
            let disk = bench.disk(script);
            let run = bench.run_first(&disk, script, count);
            (run.out.len(), bench.contents(&disk))
        });
        let steps = steps.collect();
        let disk = bench.disk(script);
        disk.reset_calls();
        let run = bench.run(&disk, script);
        Self { run, calls: disk.calls(), steps }
    }

    /// The states that may be found behind this output.
    fn allowed(&self, script: &Script, out: &str) -> &[(usize, Vec<(Key, Value)>)] {
        let is_said = |len: usize| {
            if script.is_unsteady {
                out.len() >= len && len == 0
            } else {
                out.len() >= len && out[..len] == self.run.out[..len]
            }
        };
        let said = self.steps.iter().rposition(|(len, _)| is_said(*len)).unwrap_or(0);
        // Inside a transaction nothing counts before its commit.
        &self.steps[said..]
    }

    pub(super) fn judge(&self, bench: &Bench, script: &Script, disk: &SimFs, run: &Run, place: &str) {
        let failed = run.exit == Exit::IO && !run.err.is_empty();
        let as_ever = run.exit == self.run.exit && run.err == self.run.err;
        assert!(failed || as_ever, "{place}: exit {:?}\n{}{}", run.exit, run.out, run.err);
        if as_ever && !script.is_unsteady {
            assert_eq!(run.out, self.run.out, "{place}");
        }
        let allowed = self.allowed(script, &run.out);
        let check = |disk: &SimFs, what: &str| {
            let found = bench.contents(disk);
            let is_allowed = allowed.iter().any(|(_, state)| *state == found);
            assert!(is_allowed, "{place}: {what} with {} keys behind {:?}", found.len(), run.out);
        };
        check(&disk.clone_disk(), "a kill leaves a state");
        for disk in disk.power_loss_extremes() {
            check(&disk, "a power loss leaves a state");
        }
        if script.lines.contains(&REPAIR) {
            check_saved(bench, disk, run, place);
        }
        let next = bench.run(disk, &PROBE);
        assert_eq!(
            (next.out.as_str(), next.exit),
            ("OK\n\"1\"\n", Exit::DONE),
            "{place}: then: {}",
            next.err
        );
    }
}

/// A repair that failed has left nothing, but where only the last sync failed: then the new database is complete.
fn check_saved(bench: &Bench, disk: &SimFs, run: &Run, place: &str) {
    let names = disk.list("/").unwrap();
    let is_there = names.iter().any(|name| name.ends_with("saved"));
    assert!(is_there || run.exit == Exit::IO, "{place}: there is no new database");
    if is_there {
        assert_eq!(bench.contents_of(disk, SAVED), bench.contents(disk), "{place}: the new database");
    }
}

fn is_long() -> bool {
    std::env::var_os("KVDB_SEEDS").is_some()
}

/// How a call is made to fail: every third in one way, or in the long form each in each.
fn ways(number: u64) -> Vec<Fault> {
    let mut all = vec![Fault::Eio, Fault::Enospc, Fault::Short, Fault::Eio, Fault::Eintr];
    if !is_long() {
        all.rotate_left(usize::try_from(number % 5).unwrap());
        all.truncate(usize::from(number.is_multiple_of(3)));
    }
    all
}

#[expect(
    clippy::print_stdout,
    reason = "the counts are what a campaign is run for; cargo shows them on request"
)]
fn campaign(engine: EngineKind) {
    let bench = Bench::new(engine);
    let (mut failed, mut told) = (0, 0);
    for script in SCRIPTS {
        let expected = Expected::of(&bench, script);
        assert!(expected.run.exit <= Exit::NEGATIVE, "{:?}: {}", script.lines, expected.run.err);
        for number in 1..=expected.calls {
            for fault in ways(number) {
                let disk = bench.disk(script);
                disk.reset_calls();
                disk.fail_at(number, fault);
                let run = bench.run(&disk, script);
                disk.clear_faults();
                let call = disk.log().into_iter().find(|call| call.number == number);
                if call.as_ref().is_some_and(|call| call.op == Op::Unlock) {
                    continue;
                }
                // Half of an allocation is a full disk.
                let is_hidden = matches!(fault, Fault::Short | Fault::Eintr)
                    && call.as_ref().is_some_and(|call| call.op != Op::Allocate);
                let call = call.map(|call| call.to_string()).unwrap_or_default();
                let place = format!("{engine:?}: {:?}: {fault:?} at {call}", script.lines);
                expected.judge(&bench, script, &disk, &run, &place);
                assert!(!is_hidden || run.exit == expected.run.exit, "{place}: {}", run.err);
                failed += 1;
                told += u64::from(run.exit == Exit::IO);
            }
            if is_long() {
                let disk = bench.disk(script);
                disk.reset_calls();
                disk.fail_from(number, Fault::Eio);
                let run = bench.run(&disk, script);
                disk.clear_faults();
                let place = format!("{engine:?}: {:?}: everything from call {number} on", script.lines);
                expected.judge(&bench, script, &disk, &run, &place);
                failed += 1;
            }
        }
    }
    assert!(told > failed / 5, "{told} of {failed}");
    println!("shell on {engine:?}: {failed} calls failed in {} scripts, {told} with exit 5", SCRIPTS.len());
}

#[test]
fn every_call_can_fail_in_every_command_on_the_lsm_engine() {
    campaign(EngineKind::Kv);
}

#[test]
fn every_call_can_fail_in_every_command_on_the_simple_engine() {
    campaign(EngineKind::Simple);
}

#[test]
fn no_command_is_left_out() {
    for spec in table::specs() {
        let mut lines = SCRIPTS.iter().flat_map(|script| script.lines);
        let is_run = lines.any(|line| line.split(' ').next() == Some(spec.name));
        assert_ne!(is_run, OTHERS.contains(&spec.name), "{}", spec.name);
    }
}

#[test]
fn after_a_failed_sync_the_session_stops_writing_and_says_what_to_do() {
    let bench = Bench::new(EngineKind::Kv);
    let disk = bench.filled.clone_disk();
    fail_next_sync(&disk);
    let mut settings = Settings::default();
    settings.db = DIR.into();
    let databases = Rc::new(OnSim(disk.process(), bench.engine));
    let text = "set a 1\nset b 2\nget k01\n.timer off\nset c 3\n";
    let run = Run::of(&settings, text.into(), Some(databases));
    assert_eq!(run.exit, Exit::IO);
    let said = "error: cannot sync the log in /db/000002.wal: ";
    assert!(run.err.starts_with(said), "{}", run.err);
    assert!(run.err.contains("; all, some or nothing of lines 1 to 3 may be applied"), "{}", run.err);
    assert!(run.err.contains("= help: this process writes no more; start kvdb again"), "{}", run.err);
    assert!(run.err.contains("error: the database handle stopped after a failed write"), "{}", run.err);
}

/// Makes the next sync of the log fail.
fn fail_next_sync(disk: &SimFs) {
    let done = std::sync::atomic::AtomicBool::new(false);
    disk.set_observer(Arc::new(move |call, disk| {
        let applies = call.op == Op::SyncData && call.path.extension().is_some_and(|found| found == "wal");
        if applies && !done.swap(true, std::sync::atomic::Ordering::Relaxed) {
            disk.fail_at(call.number, Fault::Eio);
        }
    }));
}
