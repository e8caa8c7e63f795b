//! Beginning: the first gets when nothing is in memory, opening, a whole process for one get, and the memory of it.

use std::time::{Duration, Instant};

use super::{Figure, Job, get_checked, serve, tell};
use crate::data::{self, Random, float};
use crate::store::{Result, Session, Store};
use crate::{files, proc};

/// Gets of a process whose memory is looked at.
const GETS_OF_A_SESSION: u64 = 100_000;

/// Cold gets per turn: few enough for most of them to be cold.
fn cold_gets(keys: u64) -> u64 {
    (keys / 1_000).clamp(100, 2_000)
}

/// Opens a database of which nothing is in memory and gets a key, and then more of them.
pub(super) fn cold<S: Store>(job: &Job) -> Result<()> {
    let mut random = Random::new(1);
    serve(|| {
        files::evict(&job.dir)?;
        let read_before = proc::read_bytes()?;
        let begin = Instant::now();
        let store = S::open(&job.dir, &job.setup)?;
        let mut session = store.session()?;
        get_checked(&mut session, random.below(job.setup.keys))?;
        let first = begin.elapsed();
        let mut times = Vec::new();
        for _ in 0..cold_gets(job.setup.keys) {
            let number = random.below(job.setup.keys);
            let start = Instant::now();
            get_checked(&mut session, number)?;
            times.push(start.elapsed());
        }
        drop(session);
        store.close()?;
        let read = proc::read_bytes()? - read_before;
        if read == 0 {
            return Err("it was not cold: nothing was read from the device".into());
        }
        Ok([cold_figures(times), vec![("first-ms", first.as_secs_f64() * 1e3), ("read", float(read))]]
            .concat())
    })
}

fn cold_figures(mut times: Vec<Duration>) -> Vec<Figure> {
    times.sort_unstable();
    let percentile = |percent: usize| times[times.len() * percent / 100].as_secs_f64() * 1e6;
    vec![("p50-us", percentile(50)), ("p99-us", percentile(99))]
}

/// Opens and closes, so many times or until the turn is over; the medians count.
pub(super) fn open<S: Store>(job: &Job, times: usize) -> Result<()> {
    serve(|| {
        files::warm(&job.dir)?;
        let (mut opened, mut answered) = (Vec::new(), Vec::new());
        let begin = Instant::now();
        while opened.is_empty() || (opened.len() < times && begin.elapsed() < job.turn) {
            let start = Instant::now();
            let store = S::open(&job.dir, &job.setup)?;
            let mut session = store.session()?;
            opened.push(start.elapsed());
            get_checked(&mut session, 0)?;
            answered.push(start.elapsed());
            drop(session);
            store.close()?;
        }
        Ok(vec![("open-ms", median_ms(opened)), ("answer-ms", median_ms(answered))])
    })
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Opens, gets, closes, ends.
pub(super) fn once<S: Store>(job: &Job) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let is_there = store.session()?.get(&data::key(0), |value| {
        std::hint::black_box(data::sum(value));
    })?;
    store.close()?;
    if is_there { Ok(()) } else { Err("the key is missing".into()) }
}

/// The memory of a process after one get, and after many.
pub(super) fn memory<S: Store>(job: &Job) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let mut session = store.session()?;
    let mut random = Random::new(1);
    let mut get = |count: u64| -> Result<[f64; 2]> {
        for _ in 0..count {
            let number = random.below(job.setup.keys);
            session.get(&data::key(number), |value| {
                std::hint::black_box(data::sum(value));
            })?;
        }
        Ok([float(proc::anonymous_bytes()?), float(proc::peak_bytes()?)])
    };
    serve(|| {
        let [one_anonymous, one_peak] = get(1)?;
        let [anonymous, peak] = get(GETS_OF_A_SESSION)?;
        Ok(vec![
            ("one-anonymous", one_anonymous),
            ("one-peak", one_peak),
            ("anonymous", anonymous),
            ("peak", peak),
        ])
    })?;
    drop(session);
    store.close()?;
    tell(&[])
}
