//! Transactions: threads move money between accounts at the same time, retry on conflict, and no cent is lost.
//!
//! `cargo run --example transfer [-- DIR]`

use std::io::Write;
use std::thread;

use kvdb::{Db, Error, KeyRange, Result, Transaction};

const ACCOUNTS: u32 = 5;
const THREADS: u32 = 4;
const TRANSFERS: u32 = 50;
const START: i64 = 100;

fn account(number: u32) -> String {
    format!("account:{}", number % ACCOUNTS)
}

fn balance(transaction: &Transaction, account: &str) -> Result<i64> {
    let value = transaction.get(account.as_bytes())?;
    Ok(value.and_then(|value| String::from_utf8_lossy(&value).parse().ok()).unwrap_or(0))
}

/// Moves an amount if it is there. The first of two who touch an account commits; the other begins again.
fn transfer(db: &Db, from: &str, to: &str, amount: i64) -> Result<()> {
    loop {
        let mut transaction = db.begin()?;
        let (available, received) = (balance(&transaction, from)?, balance(&transaction, to)?);
        if from == to || available < amount {
            return Ok(());
        }
        transaction.set(from, (available - amount).to_string());
        transaction.set(to, (received + amount).to_string());
        match transaction.commit() {
            Err(Error::Conflict { .. }) => {}
            done => return done,
        }
    }
}

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).unwrap_or_else(|| "transfer.kvdb".into());
    let db = Db::open(dir)?;
    for number in 0..ACCOUNTS {
        db.set(account(number), START.to_string())?;
    }
    thread::scope(|scope| {
        let work = |thread: u32| {
            let db = db.clone();
            move || {
                (0..TRANSFERS).try_for_each(|round| {
                    let (from, to) = (account(thread + round), account(thread * 3 + round * 2));
                    transfer(&db, &from, &to, i64::from(round % 17))
                })
            }
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })?;
    let mut total = 0;
    for entry in db.scan(KeyRange::prefix(b"account:"))? {
        total += String::from_utf8_lossy(&entry?.1).parse::<i64>().unwrap_or(0);
    }
    drop(writeln!(std::io::stdout(), "{total} of {} are still there", START * i64::from(ACCOUNTS)));
    Ok(())
}
