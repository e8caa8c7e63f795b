//! Reading what is in memory: gets, and walks in order.

use std::hint::black_box;

use super::{Deadline, Job, get_checked, rate_of_all, serve};
use crate::data::{self, BEFORE_ALL, Random, Values, Zipf};
use crate::files;
use crate::store::{Result, Session, Store};

/// Entries that are walked over from a random key on.
const SEEK_ENTRIES: usize = 100;

/// Opens the database, lets threads read from it in turns, and closes it. Each thread gets a session and random numbers.
fn read<S: Store>(
    job: &Job,
    threads: usize,
    work: impl for<'a> Fn(&mut S::Session<'a>, &mut Random, Deadline) -> Result<u64> + Sync,
) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let state = |seed: u64| Ok((store.session()?, Random::new(seed)));
    let mut states = (0..threads as u64).map(state).collect::<Result<Vec<_>>>()?;
    serve(|| {
        files::warm(&job.dir)?;
        let rate =
            rate_of_all(job, &mut states, |(session, random), deadline| work(session, random, deadline))?;
        Ok(vec![("ops", rate)])
    })?;
    drop(states);
    store.close()
}

/// Gets of keys that are there.
pub(super) fn get<S: Store>(job: &Job, threads: usize, is_zipfian: bool) -> Result<()> {
    if is_zipfian {
        let zipf = Zipf::new(job.setup.keys);
        get_numbers::<S>(job, threads, |random| zipf.number(random))
    } else {
        get_numbers::<S>(job, threads, |random| random.below(job.setup.keys))
    }
}

fn get_numbers<S: Store>(
    job: &Job,
    threads: usize,
    number: impl Fn(&mut Random) -> u64 + Sync,
) -> Result<()> {
    read::<S>(job, threads, |session, random, deadline| {
        let mut count = 0;
        while deadline.is_ahead_after(count) {
            get_checked(session, number(random))?;
            count += 1;
        }
        Ok(count)
    })
}

/// Gets of keys that are there, one turn from one frozen view.
pub(super) fn get_in_view<S: Store>(job: &Job) -> Result<()> {
    read::<S>(job, 1, |session, random, deadline| {
        let (mut asked, mut found) = (0, 0);
        let keys = std::iter::from_fn(|| {
            let next = deadline.is_ahead_after(asked).then(|| data::key(random.below(job.setup.keys)));
            asked += u64::from(next.is_some());
            next
        });
        session.get_in_view(keys, |value| {
            black_box(data::sum(value));
            found += 1;
        })?;
        if asked == found { Ok(found) } else { Err(format!("{found} of {asked} keys were found").into()) }
    })
}

/// Gets of keys that are not there, between those that are.
pub(super) fn absent<S: Store>(job: &Job) -> Result<()> {
    read::<S>(job, 1, |session, random, deadline| {
        let mut count = 0;
        while deadline.is_ahead_after(count) {
            if session.get(&data::key(job.setup.keys + random.below(1 << 40)), |_| ())? {
                return Err("a key was found that was never stored".into());
            }
            count += 1;
        }
        Ok(count)
    })
}

/// The sum of all keys and values that were loaded.
fn sum_of_all(job: &Job) -> u64 {
    let mut values = Values::new(job.setup.value_bytes);
    let sums = (0..job.setup.keys)
        .map(|number| data::sum(&data::key(number)).wrapping_add(data::sum(values.of(number, 0))));
    sums.fold(0, u64::wrapping_add)
}

/// Walks over all entries, whole ones until the turn is over.
pub(super) fn scan<S: Store>(job: &Job, is_reverse: bool) -> Result<()> {
    let expected = sum_of_all(job);
    read::<S>(job, 1, |session, _, deadline| {
        let mut count = 0;
        while count == 0 || deadline.is_ahead() {
            let mut sum = 0_u64;
            let visit = |key: &[u8], value: &[u8]| {
                sum = sum.wrapping_add(data::sum(key)).wrapping_add(data::sum(value));
                count += 1;
            };
            if is_reverse {
                session.scan_reverse(visit)?;
            } else {
                session.scan(BEFORE_ALL, usize::MAX, visit)?;
            }
            if sum != expected {
                return Err("the entries do not add up to those that were stored".into());
            }
        }
        Ok(count)
    })
}

/// Walks over the entries behind a random key.
pub(super) fn seek<S: Store>(job: &Job) -> Result<()> {
    read::<S>(job, 1, |session, random, deadline| {
        let (mut count, mut sum) = (0, 0_u64);
        while deadline.is_ahead() {
            let start = data::key(random.below(job.setup.keys));
            session.scan(&start, SEEK_ENTRIES, |key, value| {
                sum = sum.wrapping_add(data::sum(key)).wrapping_add(data::sum(value));
                count += 1;
            })?;
        }
        black_box(sum);
        Ok(count)
    })
}
