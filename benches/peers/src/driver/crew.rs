//! The processes that do one work on one engine, as the driver sees them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::options::Options;
use crate::store::Result;
use crate::work::Plan;
use crate::worker::{self, Job};

/// Figures by their names.
pub(super) type Figures = BTreeMap<String, f64>;

/// Processes that work on one database at the same time; most often one.
pub(super) struct Crew {
    members: Vec<Member>,
}

struct Member {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

fn command(
    plan: &Plan,
    engine: &str,
    dir: &Path,
    options: &Options,
    turn: Duration,
    part: usize,
) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(worker::COMMAND).arg(engine);
    command.args(Job::arguments(plan, dir, options.keys, options.value_bytes, turn, part));
    Ok(command)
}

/// Runs one worker that does its work unasked, and returns how long its process lived.
pub(super) fn time_process(plan: &Plan, engine: &str, dir: &Path, options: &Options) -> Result<Duration> {
    let mut command = command(plan, engine, dir, options, options.turn, 0)?;
    command.stdin(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    if status.success() { Ok(time) } else { Err(format!("the worker ended with {status}").into()) }
}

impl Crew {
    /// Starts the processes one after the other; when this returns all have opened the database.
    pub(super) fn start(
        plan: &Plan,
        engine: &str,
        dir: &Path,
        options: &Options,
        turn: Duration,
    ) -> Result<Self> {
        let start = |part| Member::start(command(plan, engine, dir, options, turn, part)?);
        Ok(Self { members: (0..plan.processes).map(start).collect::<Result<_>>()? })
    }

    /// Lets all of them work for one turn; figures of several are added up.
    pub(super) fn turn(&mut self) -> Result<Figures> {
        for member in &mut self.members {
            member.go()?;
        }
        let mut sums = Figures::new();
        for member in &mut self.members {
            for (name, figure) in member.figures()? {
                *sums.entry(name).or_default() += figure;
            }
        }
        Ok(sums)
    }

    /// Lets them close the database, and returns what they tell about it.
    pub(super) fn finish(mut self) -> Result<Figures> {
        let mut last = Figures::new();
        for member in &mut self.members {
            last.extend(member.finish()?);
        }
        Ok(last)
    }

    /// Ends them as `kill -9` does.
    pub(super) fn kill(mut self) -> Result<()> {
        for member in &mut self.members {
            member.process.kill()?;
            member.process.wait()?;
        }
        Ok(())
    }
}

impl Member {
    fn start(mut command: Command) -> Result<Self> {
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().ok_or("the worker has no output")?);
        let mut member = Self { process, input, output };
        match &*member.line()? {
            "ready" => Ok(member),
            other => Err(format!("the worker said {other:?} instead of being ready").into()),
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            return Err(format!("the worker ended with {}", self.process.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }

    fn go(&mut self) -> Result<()> {
        let input = self.input.as_mut().ok_or("the worker was told to end")?;
        Ok(writeln!(input, "go")?)
    }

    fn figures(&mut self) -> Result<Figures> {
        let line = self.line()?;
        line.split_whitespace().map(figure).collect()
    }

    fn finish(&mut self) -> Result<Figures> {
        self.input = None;
        let mut rest = String::new();
        while self.output.read_line(&mut rest)? > 0 {}
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("the worker ended with {status}").into());
        }
        rest.split_whitespace().map(figure).collect()
    }
}

/// What `name=figure` says.
fn figure(word: &str) -> Result<(String, f64)> {
    let (name, figure) = word.split_once('=').ok_or_else(|| format!("the worker said {word:?}"))?;
    Ok((name.to_owned(), figure.parse()?))
}
