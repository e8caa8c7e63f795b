//! Lets the engines work in turns, and collects what they tell.

mod crew;
mod report;
mod rows;
mod samples;

use std::fs;
use std::io::{Write, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::data::Random;
use crate::engines::{self, Profile};
use crate::files;
use crate::options::Options;
use crate::proc;
use crate::store::{Ability, Result, Role};
use crate::work::{self, Input, PLANS, Plan, Repeat};
use crew::{Crew, Figures};
use samples::Samples;

/// The plan whose result is the loaded database.
const LOAD: &str = "load-random";

/// Time for a dozen syncs of a slow device.
const SHORTEST_TURN: Duration = Duration::from_millis(50);

/// Measures what the options ask for and prints it.
pub fn run(options: &Options) -> Result<()> {
    let (engines, missing) = engines::all()
        .into_iter()
        .filter(|engine| options.engines.is_empty() || options.engines.iter().any(|name| name == engine.name))
        .partition(|engine| engine.version.is_ok());
    let root = Root::create(&options.dir)?;
    let machine = proc::machine(&root.0);
    let mut driver = Driver { options, engines, root, samples: Samples::default() };
    for plan in PLANS {
        if options.works.is_empty() || options.works.iter().any(|name| name == plan.name) {
            driver.run(plan)?;
        }
    }
    driver.samples.add_slowdown("ycsb", "e-slowdown", [("ycsb-e", "e"), ("ycsb", "e")]);
    let Driver { engines, samples, .. } = &driver;
    report::print(&report::Report { options, machine, engines, missing, samples })
}

/// A directory that is removed in the end.
struct Root(PathBuf);

impl Root {
    fn create(dir: &Path) -> Result<Self> {
        let root = dir.join(format!("peers-{}", std::process::id()));
        fs::create_dir_all(&root)?;
        Ok(Self(root))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // Whoever looks into the directory sees what is left.
        drop(fs::remove_dir_all(&self.0));
    }
}

struct Driver<'o> {
    options: &'o Options,
    engines: Vec<Profile>,
    root: Root,
    samples: Samples,
}

impl Driver<'_> {
    /// Lets every engine that can do this work.
    fn run(&mut self, plan: &'static Plan) -> Result<()> {
        let can = |engine: &&Profile| plan.needs.iter().all(|need| engine.abilities.contains(need));
        let engines: Vec<Profile> = self.engines.iter().filter(can).cloned().collect();
        if engines.iter().all(|engine| engine.role == Role::Limit) {
            return Ok(());
        }
        let start = Instant::now();
        match plan.repeat {
            Repeat::Turns(turns) => self.run_turns(plan, turns, &engines),
            Repeat::Process => self.run_processes(plan, self.options.rounds, &engines),
            Repeat::Once => self.run_processes(plan, 1, &engines),
            Repeat::WholeProcess(times) => self.time_processes(plan, times, &engines),
        }
        Ok(writeln!(stderr(), "{}: {:.1?}", plan.name, start.elapsed())?)
    }

    /// Lets one crew per engine live through all rounds.
    fn run_turns(&mut self, plan: &'static Plan, turns: usize, engines: &[Profile]) {
        let mut crews = Vec::new();
        for engine in engines {
            let turn = self.options.turn / u32::try_from(turns).unwrap_or(1);
            let turn = turn.max(SHORTEST_TURN);
            let started = self.input(plan, engine).and_then(|dir| {
                Ok((engine.clone(), Crew::start(plan, engine.name, &dir, self.options, turn)?, dir))
            });
            crews.extend(self.kept(plan, engine, started));
        }
        let mut order = Random::new(0);
        // One more for the warm-up, which does not count.
        for round in 0..=self.options.rounds * turns {
            let mut going = Vec::new();
            // Nobody always works behind the same neighbour.
            crews.sort_by_cached_key(|_| order.next());
            for (engine, mut crew, dir) in crews {
                let figures = crew.turn();
                if let Some(figures) = self.kept(plan, &engine, figures) {
                    if round > 0 {
                        self.samples.add(plan, &engine, round, &figures);
                    }
                    going.push((engine, crew, dir));
                }
            }
            crews = going;
        }
        for (engine, crew, dir) in crews {
            let finished = crew.finish().and_then(|_| discard(plan, &dir));
            self.kept(plan, &engine, finished);
        }
    }

    /// Lets a new process of every engine work in each round.
    fn run_processes(&mut self, plan: &'static Plan, rounds: usize, engines: &[Profile]) {
        for round in 1..=rounds {
            for engine in engines {
                let figures = self.run_process(plan, engine);
                if let Some(figures) = self.kept(plan, engine, figures) {
                    self.samples.add(plan, engine, round, &figures);
                }
            }
        }
    }

    fn run_process(&self, plan: &'static Plan, engine: &Profile) -> Result<Figures> {
        let dir = self.input(plan, engine)?;
        let mut crew = Crew::start(plan, engine.name, &dir, self.options, self.options.turn)?;
        let mut figures = crew.turn()?;
        figures.extend(crew.finish()?);
        let loaded = self.loaded_dir(engine);
        if plan.name == LOAD && engine.abilities.contains(&Ability::Files) && !loaded.exists() {
            fs::rename(&dir, loaded)?;
        } else {
            discard(plan, &dir)?;
        }
        Ok(figures)
    }

    /// Times whole processes.
    fn time_processes(&mut self, plan: &'static Plan, times: usize, engines: &[Profile]) {
        for round in 0..=self.options.rounds * times {
            for engine in engines {
                let time = self.input(plan, engine).and_then(|dir| {
                    files::warm(&dir)?;
                    crew::time_process(plan, engine.name, &dir, self.options)
                });
                if let Some(time) = self.kept(plan, engine, time)
                    && round > 0
                {
                    let figures = Figures::from([("ms".to_owned(), time.as_secs_f64() * 1e3)]);
                    self.samples.add(plan, engine, round, &figures);
                }
            }
        }
    }

    /// What came out, or nothing and a note of what went wrong.
    fn kept<T>(&mut self, plan: &Plan, engine: &Profile, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.samples.fail(plan, engine, &error.to_string())).ok()
    }

    fn engine_dir(&self, engine: &Profile) -> PathBuf {
        self.root.0.join(engine.name)
    }

    fn loaded_dir(&self, engine: &Profile) -> PathBuf {
        self.engine_dir(engine).join("loaded")
    }

    /// The directory in which an engine is to do this work.
    fn input(&self, plan: &Plan, engine: &Profile) -> Result<PathBuf> {
        fs::create_dir_all(self.engine_dir(engine))?;
        let own = self.engine_dir(engine).join(plan.name);
        if own.exists() {
            // The last round went wrong.
            fs::remove_dir_all(&own)?;
        }
        match plan.input {
            Input::Nothing => {}
            _ if !engine.abilities.contains(&Ability::Files) => {}
            Input::Loaded => return self.loaded(engine),
            Input::Copy => files::copy(&self.loaded(engine)?, &own)?,
            Input::Killed => files::copy(&self.killed(engine)?, &own)?,
        }
        Ok(own)
    }

    /// The loaded and settled database of an engine.
    fn loaded(&self, engine: &Profile) -> Result<PathBuf> {
        let dir = self.loaded_dir(engine);
        if !dir.exists() {
            self.load(engine, &dir)?.finish()?;
        }
        Ok(dir)
    }

    /// The database of an engine whose load was ended by `kill -9` after the last batch was acknowledged.
    fn killed(&self, engine: &Profile) -> Result<PathBuf> {
        let dir = self.engine_dir(engine).join("killed");
        if !dir.exists() {
            self.load(engine, &dir)?.kill()?;
        }
        Ok(dir)
    }

    fn load(&self, engine: &Profile, dir: &Path) -> Result<Crew> {
        let plan = work::named(LOAD).ok_or("there is no plan for loading")?;
        let mut crew = Crew::start(plan, engine.name, dir, self.options, self.options.turn)?;
        crew.turn()?;
        Ok(crew)
    }
}

/// Removes a directory that belongs to this work alone.
fn discard(plan: &Plan, dir: &Path) -> Result<()> {
    if plan.input != Input::Loaded && dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    Ok(())
}
