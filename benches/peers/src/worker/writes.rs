//! Writing: durable single puts, loads in durable batches, overwrites.

use std::time::{Duration, Instant};

use super::{Deadline, Figure, Job, rate_of_all, serve, settle, tell};
use crate::data::{self, Batch, Key, Random, Values, float};
use crate::store::{Ability, Result, Session, Store};
use crate::{files, proc};

/// Entries that are made durable together in loads.
const BATCH_ENTRIES: u64 = 1_000;

/// Overwrites for each key that there is.
const OVERWRITES_PER_KEY: u64 = 2;

/// Memory is looked at once in so many batches.
const BATCHES_PER_LOOK: u64 = 16;

/// Where the numbers of keys begin that are put: behind those that were loaded.
const FIRST_PUT: u64 = 1 << 40;

/// A thread that puts.
struct Putter<S> {
    session: S,
    next: u64,
    values: Values,
}

impl<S: Session> Putter<S> {
    fn put_until(&mut self, deadline: Deadline) -> Result<u64> {
        let first = self.next;
        while deadline.is_ahead() {
            self.session.put(&data::key(self.next), self.values.of(self.next, 0))?;
            self.next += 1;
        }
        Ok(self.next - first)
    }
}

/// Durable puts of new keys.
pub(super) fn put<S: Store>(job: &Job, threads: usize) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let putter = |thread: u64| -> Result<_> {
        let next = FIRST_PUT * (1 + job.part) + (thread << 32);
        Ok(Putter { session: store.session()?, next, values: Values::new(job.setup.value_bytes) })
    };
    let mut putters = (0..threads as u64).map(putter).collect::<Result<Vec<_>>>()?;
    serve(|| Ok(vec![("ops", rate_of_all(job, &mut putters, Putter::put_until)?)]))?;
    drop(putters);
    store.close()
}

/// What writing many batches took.
#[derive(Default)]
struct Written {
    entries: u64,
    time: Duration,
    most_memory: u64,
}

impl Written {
    /// Writes `count` entries in batches. Only the engine's part is timed.
    fn write(
        job: &Job,
        session: &mut impl Session,
        count: u64,
        mut entry: impl FnMut(u64) -> (Key, u64, u64),
    ) -> Result<Self> {
        let mut written = Self::default();
        let (mut batch, mut values) = (Batch::new(job.setup.value_bytes), Values::new(job.setup.value_bytes));
        while written.entries < count {
            batch.clear();
            let end = count.min(written.entries + BATCH_ENTRIES);
            for place in written.entries..end {
                let (key, number, version) = entry(place);
                batch.add(&key, values.of(number, version));
            }
            let start = Instant::now();
            session.write(&batch)?;
            written.time += start.elapsed();
            written.entries = end;
            written.look_at_memory()?;
        }
        Ok(written)
    }

    fn look_at_memory(&mut self) -> Result<()> {
        if (self.entries / BATCH_ENTRIES).is_multiple_of(BATCHES_PER_LOOK) {
            self.most_memory = self.most_memory.max(proc::anonymous_bytes()?);
        }
        Ok(())
    }

    fn rate(&self) -> f64 {
        float(self.entries) / self.time.as_secs_f64()
    }

    fn user_bytes(&self, job: &Job) -> u64 {
        self.entries * (data::KEY_BYTES + job.setup.value_bytes) as u64
    }
}

/// A load into a new database, and what it left on the device once it has settled.
pub(super) fn load<S: Store>(job: &Job, is_ordered: bool) -> Result<()> {
    let keys = job.setup.keys;
    let key = |number| if is_ordered { data::ordered_key(number, keys) } else { data::key(number) };
    write_and_settle::<S>(job, keys, |number| (key(number), number, 0))
}

/// Random overwrites of a loaded database.
pub(super) fn overwrite<S: Store>(job: &Job) -> Result<()> {
    let keys = job.setup.keys;
    let mut random = Random::new(1);
    write_and_settle::<S>(job, keys * OVERWRITES_PER_KEY, |place| {
        let number = random.below(keys);
        (data::key(number), number, 1 + place)
    })
}

fn write_and_settle<S: Store>(
    job: &Job,
    count: u64,
    mut entry: impl FnMut(u64) -> (Key, u64, u64),
) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let mut session = store.session()?;
    let written_before = proc::written_bytes()?;
    let mut user_bytes = 0;
    serve(|| {
        let written = Written::write(job, &mut session, count, &mut entry)?;
        user_bytes += written.user_bytes(job);
        Ok(vec![
            ("ops", written.rate()),
            ("anonymous", float(written.most_memory)),
            ("peak", float(proc::peak_bytes()?)),
        ])
    })?;
    drop(session);
    if S::ABILITIES.contains(&Ability::Files) {
        settle(store, job)?;
        let written = proc::written_bytes()? - written_before;
        tell(&left_on_disk(job, written, user_bytes)?)?;
    }
    Ok(())
}

fn left_on_disk(job: &Job, written_bytes: u64, user_bytes: u64) -> Result<Vec<Figure>> {
    let disk_bytes = files::disk_bytes(&job.dir)?;
    let live_bytes = job.setup.keys * (data::KEY_BYTES + job.setup.value_bytes) as u64;
    Ok(vec![
        ("disk", float(disk_bytes)),
        ("space-amplification", float(disk_bytes) / float(live_bytes)),
        ("write-amplification", float(written_bytes) / float(user_bytes.max(1))),
    ])
}
