//! Processes that write until they are killed, and what is there then.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::history::{History, Model};
use super::process::{check_notices, collect};
use super::{Campaign, Random, Verdict, count};

/// Every so many lives all keys are looked at that were only ever added.
const LIVES_BETWEEN_FULL_CHECKS: u64 = 10;

/// How a process is to live.
struct Life {
    span: Duration,
    is_killed: bool,
    /// What it waits between two changes.
    pause: Option<Duration>,
    sync: &'static str,
}

impl Life {
    fn of(random: &mut Random) -> Self {
        let millis = if random.below(6) == 0 { 4_000 } else { 700 };
        Self {
            span: Duration::from_millis(20) + random.millis(millis),
            is_killed: random.below(4) > 0,
            pause: (random.below(5) == 0).then(|| random.millis(2)),
            sync: if random.below(8) == 0 { "each" } else { "group" },
        }
    }
}

/// Writes in one process after the other until the campaign is over; returns what must be there.
pub(crate) fn write(campaign: &Campaign, history: History) -> Model {
    let mut random = campaign.random(history.at() as u64);
    let mut model = Model::new(history);
    let mut lives = 0;
    campaign.repeat(&format!("writer {}", history.at()), || {
        lives += 1;
        let is_full = history != History::Appends || lives % LIVES_BETWEEN_FULL_CHECKS == 0;
        let from = if is_full { 0 } else { model.next().saturating_sub(1_000) };
        let life = Life::of(&mut random);
        let issued = live(campaign, &mut model, &life)?;
        check(campaign, &mut model, issued, from)
    });
    model
}

/// One process. Makes the changes that were acknowledged in the model, and returns how many were issued.
fn live(campaign: &Campaign, model: &mut Model, life: &Life) -> Verdict<u64> {
    let mut command = campaign.command(&["--sync", life.sync]);
    let mut child =
        command.stdin(Stdio::piped()).spawn().map_err(|error| format!("it can't be started: {error}"))?;
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let err = collect(child.stderr.take().unwrap());
    let (history, first) = (model.history, model.next());
    let closing = AtomicBool::new(false);
    let (issued, replies) = thread::scope(|scope| {
        let feeder = scope.spawn(|| feed(stdin, history, first, life.pause, &closing));
        let acknowledged = &campaign.acknowledged[history.at()];
        let replies = scope.spawn(|| take_replies(stdout, model, acknowledged));
        thread::sleep(life.span);
        if life.is_killed {
            campaign.kill(&mut child);
        }
        closing.store(true, Ordering::Relaxed);
        (feeder.join().unwrap(), replies.join().unwrap())
    });
    let code = child.wait().unwrap().code();
    let err = err.join().unwrap();
    replies.map_err(|what| format!("{what}\n{err}"))?;
    check_notices(&err)?;
    count(&campaign.tally.acknowledged, model.next() - first);
    if life.is_killed {
        return Ok(issued);
    }
    count(&campaign.tally.clean_ends, 1);
    let acknowledged = model.next();
    if code != Some(0) || acknowledged != issued {
        return Err(format!("{issued} issued, {acknowledged} answered, and it ended with {code:?}: {err}"));
    }
    Ok(issued)
}

/// Issues changes until nobody takes them; returns the number of the next one.
fn feed(
    stdin: ChildStdin,
    history: History,
    first: u64,
    pause: Option<Duration>,
    closing: &AtomicBool,
) -> u64 {
    let mut stdin = BufWriter::new(stdin);
    let mut number = first;
    while !closing.load(Ordering::Relaxed) {
        let line = history.line(number);
        number += 1;
        let written = stdin.write_all(line.as_bytes());
        let flushed = if let Some(pause) = pause {
            thread::sleep(pause);
            stdin.flush()
        } else {
            Ok(())
        };
        if written.and(flushed).is_err() {
            break;
        }
    }
    // What is left in the buffer of one who was killed can't be written.
    drop(stdin.flush());
    drop(stdin.into_parts());
    number
}

/// Makes each change in the model that is answered, and holds the answer against it.
fn take_replies(stdout: ChildStdout, model: &mut Model, acknowledged: &AtomicU64) -> Verdict {
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    let mut verdict = Ok(());
    while lines.read_line(&mut line).unwrap_or(0) > 0 {
        // A reply that a kill cut off counts for nothing.
        if verdict.is_ok() && line.ends_with('\n') {
            let number = model.next();
            let expected = model.advance();
            acknowledged.store(model.next(), Ordering::SeqCst);
            if line.trim_end() != expected {
                let asked = model.history.line(number);
                let asked = asked.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
                verdict =
                    Err(format!("change {number}, {asked}, was answered with {line:?}, not {expected:?}"));
            }
        }
        line.clear();
    }
    verdict
}

/// Looks at what the processes before left, which nobody changes now.
fn check(campaign: &Campaign, model: &mut Model, issued: u64, from: u64) -> Verdict {
    let history = model.history;
    let seen = campaign.seen[history.at()].load(Ordering::SeqCst);
    let db = campaign.open()?;
    model.settle(&db, issued, from)?;
    drop(db);
    count(&campaign.tally.checks, 1);
    let next = model.next();
    campaign.acknowledged[history.at()].store(next, Ordering::SeqCst);
    if seen > next {
        return Err(format!("{history:?}: a reader saw change {}, and {next} are there", seen - 1));
    }
    Ok(())
}
