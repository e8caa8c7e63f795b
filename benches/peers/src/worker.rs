//! A process that does one kind of work on one engine, whenever the driver says so.
//!
//! ```text
//! driver                    worker
//!                ◄─ ready   the database is open
//! go ─►                     one turn
//!                ◄─ ops=81234.5 …
//! (end of input) ─►         closes; loads settle first
//!                ◄─ disk=1048576 …, and the process ends
//! ```

mod mixes;
mod reads;
mod starts;
mod writes;

use std::io::{Write, stdin, stdout};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::data::{self, float};
use crate::engines::{self, Visitor};
use crate::store::{Result, Session, Setup, Store};
use crate::work::{self, Input, Plan, Work};

/// First argument of a worker.
pub const COMMAND: &str = "worker";

/// What a worker is to do.
pub struct Job {
    plan: &'static Plan,
    dir: PathBuf,
    setup: Setup,
    turn: Duration,
    /// Which one it is of several processes that work together.
    part: u64,
}

impl Job {
    /// A job for workers that are told so by these arguments.
    pub fn arguments(
        plan: &Plan,
        dir: &Path,
        keys: u64,
        value_bytes: usize,
        turn: Duration,
        part: usize,
    ) -> Vec<String> {
        let numbers =
            [keys.to_string(), value_bytes.to_string(), turn.as_millis().to_string(), part.to_string()];
        [vec![plan.name.to_owned(), dir.to_string_lossy().into_owned()], numbers.to_vec()].concat()
    }

    fn parse(arguments: &[String]) -> Result<Self> {
        let [plan, dir, keys, value_bytes, turn, part] = arguments else {
            return Err("a worker is started by the driver".into());
        };
        let plan = work::named(plan).ok_or("there is no such work")?;
        let setup = Setup {
            keys: keys.parse()?,
            value_bytes: value_bytes.parse()?,
            is_synced: !matches!(plan.work, Work::Ycsb | Work::YcsbE),
            is_shared: plan.processes > 1,
        };
        let turn = Duration::from_millis(turn.parse()?);
        Ok(Self { plan, dir: dir.into(), setup, turn, part: part.parse()? })
    }
}

/// Does what the arguments say: the engine's name and what [`Job::arguments`] made.
pub fn run(arguments: &[String]) -> Result<()> {
    let (engine, rest) = arguments.split_first().ok_or("a worker needs an engine")?;
    let job = Job::parse(rest)?;
    let name = job.plan.name;
    engines::with(engine, job)?.map_err(|error| format!("{engine} {name}: {error}").into())
}

impl Visitor for Job {
    type Output = Result<()>;

    fn visit<S: Store>(self) -> Result<()> {
        match self.plan.work {
            Work::Put(threads) => writes::put::<S>(&self, threads),
            Work::Load { is_ordered } => writes::load::<S>(&self, is_ordered),
            Work::Overwrite => writes::overwrite::<S>(&self),
            Work::Get { threads, is_zipfian } => reads::get::<S>(&self, threads, is_zipfian),
            Work::GetInView => reads::get_in_view::<S>(&self),
            Work::Absent => reads::absent::<S>(&self),
            Work::Scan => reads::scan::<S>(&self, false),
            Work::ScanReverse => reads::scan::<S>(&self, true),
            Work::Seek => reads::seek::<S>(&self),
            Work::YcsbE => mixes::run::<S>(&self, &[mixes::E]),
            Work::Ycsb => mixes::run::<S>(&self, mixes::ALL),
            Work::Cold => starts::cold::<S>(&self),
            Work::Open => starts::open::<S>(&self, if self.plan.input == Input::Killed { 1 } else { 10 }),
            Work::Once => starts::once::<S>(&self),
            Work::Memory => starts::memory::<S>(&self),
        }
    }
}

/// A figure by its name.
type Figure = (&'static str, f64);

/// Says that the worker is ready, then does a turn and tells its figures whenever it is asked to.
fn serve(mut turn: impl FnMut() -> Result<Vec<Figure>>) -> Result<()> {
    writeln!(stdout(), "ready")?;
    let mut line = String::new();
    while stdin().read_line(&mut line)? > 0 {
        tell(&turn()?)?;
        line.clear();
    }
    Ok(())
}

fn tell(figures: &[Figure]) -> Result<()> {
    let words: Vec<String> = figures.iter().map(|(name, figure)| format!("{name}={figure}")).collect();
    Ok(writeln!(stdout(), "{}", words.join(" "))?)
}

/// Until when something is repeated.
#[derive(Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    /// A clock is read once in so many operations.
    const OPERATIONS_PER_LOOK: u64 = 32;

    /// Whether it is not over yet, after `count` operations too short to look at the clock after each.
    fn is_ahead_after(self, count: u64) -> bool {
        !count.is_multiple_of(Self::OPERATIONS_PER_LOOK) || self.is_ahead()
    }

    fn is_ahead(self) -> bool {
        Instant::now() < self.0
    }
}

/// Lets a thread for each state work for one turn; returns operations per second of all together.
fn rate_of_all<T: Send>(
    job: &Job,
    states: &mut [T],
    work: impl Fn(&mut T, Deadline) -> Result<u64> + Sync,
) -> Result<f64> {
    let timed = |state: &mut T| {
        let start = Instant::now();
        let operations = work(state, Deadline(start + job.turn))?;
        Ok(float(operations) / start.elapsed().as_secs_f64())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = states.iter_mut().map(|state| scope.spawn(|| timed(state))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a thread died")?).sum()
    })
}

/// Gets the value of key `number`, reads all of it, and sees whether it is the right one.
fn get_checked(session: &mut impl Session, number: u64) -> Result<()> {
    let mut is_right = false;
    session.get(&data::key(number), |value| {
        std::hint::black_box(data::sum(value));
        is_right = data::is_value_of(value, number);
    })?;
    if is_right { Ok(()) } else { Err(format!("the value of key {number} is missing or wrong").into()) }
}

/// Closes a database and opens it again until nothing goes on in the background any more, which is as long as an engine that is
/// left alone takes to bring its files into shape.
fn settle<S: Store>(store: S, job: &Job) -> Result<()> {
    store.close()?;
    let store = S::open(&job.dir, &job.setup)?;
    crate::proc::wait_until_idle()?;
    store.close()
}
