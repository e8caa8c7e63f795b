//! The mixes A to F of the Yahoo! Cloud Serving Benchmark (Cooper et al., SoCC 2010), one thread, without syncs.
//!
//! | mix | of 100 operations | keys |
//! |---|---|---|
//! | A | 50 gets, 50 puts | zipfian |
//! | B | 95 gets, 5 puts | zipfian |
//! | C | 100 gets | zipfian |
//! | D | 95 gets, 5 puts of new keys | the latest most |
//! | E | 95 walks over 1 to 100 entries, 5 puts of new keys | zipfian |
//! | F | 50 gets, 50 times a get and a put | zipfian |

use std::hint::black_box;
use std::time::Instant;

use super::{Figure, Job, serve};
use crate::data::{self, Random, Values, Zipf, float};
use crate::store::{Result, Session, Store};

/// A mix: shares of 100 operations, the rest is gets.
pub(super) struct Mix {
    name: &'static str,
    puts: u64,
    new_puts: u64,
    walks: u64,
    changes: u64,
}

const NONE: Mix = Mix { name: "", puts: 0, new_puts: 0, walks: 0, changes: 0 };

/// Mix E.
pub(super) const E: Mix = Mix { name: "e", new_puts: 5, walks: 95, ..NONE };

/// All of them, E at the end, on what the others left.
pub(super) const ALL: &[Mix] = &[
    Mix { name: "a", puts: 50, ..NONE },
    Mix { name: "b", puts: 5, ..NONE },
    Mix { name: "c", ..NONE },
    Mix { name: "d", new_puts: 5, ..NONE },
    Mix { name: "f", changes: 50, ..NONE },
    E,
];

/// Operations per mix: one for every second key.
fn operations(keys: u64) -> u64 {
    (keys / 2).clamp(10_000, 2_000_000)
}

const LONGEST_WALK: u64 = 100;

/// Whoever does the operations.
struct Client<S> {
    session: S,
    random: Random,
    zipf: Zipf,
    values: Values,
    /// Keys that are there now.
    keys: u64,
    /// Operations so far; each value that is put differs from those before.
    done: u64,
}

/// Runs the mixes one after the other.
pub(super) fn run<S: Store>(job: &Job, mixes: &[Mix]) -> Result<()> {
    let store = S::open(&job.dir, &job.setup)?;
    let mut client = Client {
        session: store.session()?,
        random: Random::new(1),
        zipf: Zipf::new(job.setup.keys),
        values: Values::new(job.setup.value_bytes),
        keys: job.setup.keys,
        done: 0,
    };
    serve(|| mixes.iter().map(|mix| client.run(mix, operations(job.setup.keys))).collect())?;
    drop(client);
    store.close()
}

impl<S: Session> Client<S> {
    fn run(&mut self, mix: &Mix, operations: u64) -> Result<Figure> {
        let start = Instant::now();
        for _ in 0..operations {
            self.step(mix)?;
        }
        Ok((mix.name, float(operations) / start.elapsed().as_secs_f64()))
    }

    fn step(&mut self, mix: &Mix) -> Result<()> {
        self.done += 1;
        let choice = self.random.below(100);
        if choice < mix.walks {
            return self.walk();
        }
        if choice < mix.walks + mix.new_puts {
            self.keys += 1;
            return self.put(self.keys - 1);
        }
        let number = self.number(mix);
        if choice < mix.walks + mix.new_puts + mix.puts {
            return self.put(number);
        }
        self.get(number)?;
        if choice < mix.changes { self.put(number) } else { Ok(()) }
    }

    /// The key that an operation concerns: with new ones in the mix, the newer the likelier.
    fn number(&mut self, mix: &Mix) -> u64 {
        if mix.new_puts > 0 {
            self.keys - 1 - self.zipf.rank(&mut self.random)
        } else {
            self.zipf.number(&mut self.random)
        }
    }

    fn put(&mut self, number: u64) -> Result<()> {
        self.session.put(&data::key(number), self.values.of(number, self.done))
    }

    fn get(&mut self, number: u64) -> Result<()> {
        let found = self.session.get(&data::key(number), |value| {
            black_box(data::sum(value));
        })?;
        if found { Ok(()) } else { Err(format!("key {number} is missing").into()) }
    }

    fn walk(&mut self) -> Result<()> {
        let start = data::key(self.zipf.number(&mut self.random));
        let len = usize::try_from(1 + self.random.below(LONGEST_WALK))?;
        self.session.scan(&start, len, |key, value| {
            black_box(data::sum(key).wrapping_add(data::sum(value)));
        })
    }
}
