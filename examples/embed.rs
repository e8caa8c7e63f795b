//! The library in one page: open, write, read, scan, batch, snapshot.
//!
//! `cargo run --example embed [-- DIR]`

use std::io::Write;

use kvdb::{Batch, Db, Direction, KeyRange, Result};

fn main() -> Result<()> {
    let dir = std::env::args_os().nth(1).unwrap_or_else(|| "embed.kvdb".into());
    let mut out = std::io::stdout().lock();
    let mut say = |line: String| drop(writeln!(out, "{line}"));

    // Durable when `set` returns. Keys and values are bytes; text is only the easiest way to write them.
    let db = Db::open(dir)?;
    db.set("city:rome", "2.8")?;
    db.set(b"bytes \xff\x00", vec![0, 1, 2])?;
    if let Some(value) = db.get("city:rome")? {
        say(format!("rome has {} million", String::from_utf8_lossy(&value)));
    }

    // A batch is applied all or not at all.
    let mut batch = Batch::new();
    batch.set("city:oslo", "0.7").set("city:lima", "10.1").delete("bytes");
    db.write(batch)?;

    // A scan walks a range in byte order.
    for entry in db.scan(KeyRange::prefix(b"city:"))? {
        let (key, value) = entry?;
        say(format!("{} {}", String::from_utf8_lossy(&key), String::from_utf8_lossy(&value)));
    }

    // A snapshot stays as it is while others write.
    let snapshot = db.snapshot()?;
    db.delete("city:oslo")?;
    let largest_key =
        snapshot.clone().into_scan(KeyRange::prefix(b"city:"), Direction::Reverse).next().transpose()?;
    say(format!("last city: {:?}", largest_key.map(|(key, _)| String::from_utf8_lossy(&key).into_owned())));
    say(format!(
        "oslo in the snapshot: {}, now: {}",
        snapshot.get("city:oslo")?.is_some(),
        db.get("city:oslo")?.is_some()
    ));
    say(format!("{} keys", db.stats()?.keys));
    Ok(())
}
