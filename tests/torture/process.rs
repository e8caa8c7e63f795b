//! The binary, started in the campaign's directory and perhaps killed.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Campaign, Verdict, count};

/// Nobody has to wait for a lock so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// How a process came to its end.
pub(crate) struct Ended {
    /// `None`: it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ended {
    /// Whether it did what it was to do; not when it was killed first.
    pub(crate) fn is_done(&self) -> Verdict<bool> {
        match self.code {
            None => Ok(false),
            Some(0) => Ok(true),
            Some(code) => Err(format!("it ended with {code}: {}{}", self.out, self.err)),
        }
    }
}

/// Fails when something was said on standard error that is no notice: a write that was cut short by a kill may be mentioned.
pub(crate) fn check_notices(err: &str) -> Verdict {
    match err.lines().find(|line| !line.starts_with("kvdb: ") && !line.starts_with("  = ")) {
        Some(line) if line.contains("error") => Err(format!("it said: {err}")),
        _ => Ok(()),
    }
}

impl Campaign {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut all = vec!["--lock-timeout", "60"];
        all.extend(args);
        let mut command = self.sandbox.command(&all);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command, and kills it when it takes longer than this.
    pub(crate) fn run_for(&self, args: &[&str], life: Option<Duration>) -> Verdict<Ended> {
        let start = Instant::now();
        let mut child =
            self.command(args).spawn().map_err(|error| format!("it can't be started: {error}"))?;
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        let mut code = life.and_then(|_| child.try_wait().unwrap());
        while let Some(life) = life
            && code.is_none()
        {
            if start.elapsed() >= life {
                self.kill(&mut child);
                break;
            }
            thread::sleep(Duration::from_micros(500));
            code = child.try_wait().unwrap();
        }
        let code = child.wait().unwrap().code();
        Ok(Ended { code, out: out.join().unwrap(), err: err.join().unwrap() })
    }

    pub(crate) fn kill(&self, child: &mut Child) {
        child.kill().unwrap();
        count(&self.tally.kills, 1);
    }

    /// Takes note of how long a `get` took.
    pub(crate) fn waited_since(&self, start: Instant) {
        let micros = u64::try_from(start.elapsed().as_micros()).unwrap();
        self.tally.slowest_micros.fetch_max(micros, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Reads all that comes, so that who writes it never waits.
pub(crate) fn collect(mut source: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(source.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A process that is asked one question after the other.
pub(crate) struct Session<'a> {
    campaign: &'a Campaign,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    err: JoinHandle<String>,
}

/// The answer to this shows that the one before is complete: no record is printed like it.
const END_OF_ANSWER: (&str, &str) = ("exists none", "false");

impl<'a> Session<'a> {
    pub(crate) fn start(campaign: &'a Campaign) -> Verdict<Self> {
        let command = campaign.command(&[]).stdin(Stdio::piped()).spawn();
        let mut child = command.map_err(|error| format!("it can't be started: {error}"))?;
        let stdin = child.stdin.take().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        Ok(Self { campaign, child, stdin, stdout, err })
    }

    /// The lines of the answer.
    pub(crate) fn ask(&mut self, question: &str) -> Verdict<Vec<String>> {
        let start = Instant::now();
        writeln!(self.stdin, "{question}\n{}", END_OF_ANSWER.0).map_err(|_| self.died(question))?;
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(self.died(question));
            }
            if line.trim_end() == END_OF_ANSWER.1 {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        if question.starts_with("get ") {
            self.campaign.waited_since(start);
        }
        count(&self.campaign.tally.session_reads, 1);
        Ok(lines)
    }

    /// The one line of the answer.
    pub(crate) fn ask_one(&mut self, question: &str) -> Verdict<String> {
        let mut lines = self.ask(question)?;
        match (lines.pop(), lines.is_empty()) {
            (Some(line), true) => Ok(line),
            (line, _) => Err(format!("{question:?} was answered with {lines:?} and {line:?}")),
        }
    }

    fn died(&mut self, question: &str) -> String {
        format!("the session died at {question:?}: {:?}", self.child.wait())
    }

    /// Asks, and kills the process while it answers.
    pub(crate) fn kill_at(mut self, question: &str, after: Duration) -> Verdict {
        drop(writeln!(self.stdin, "{question}"));
        thread::sleep(after);
        self.campaign.kill(&mut self.child);
        self.child.wait().unwrap();
        check_notices(&self.err.join().unwrap())
    }

    pub(crate) fn end(mut self) -> Verdict {
        drop(self.stdin);
        let code = self.child.wait().unwrap().code();
        let err = self.err.join().unwrap();
        count(&self.campaign.tally.clean_ends, 1);
        if code == Some(0) {
            check_notices(&err)
        } else {
            Err(format!("the session ended with {code:?}: {err}"))
        }
    }
}
