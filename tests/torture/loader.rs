//! A process that loads dumps, each in place of the one before, and one that compacts.

use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use kvdb::{Db, KeyRange};

use super::{Campaign, Random, Verdict, count};

/// Every so many dumps one is large.
const LOADS_PER_LARGE_LOAD: u64 = 8;

/// Of a dump that is changed so that it has to be refused.
const CORRUPTION: i32 = 4;

/// A kind of dumps: each has all records of those before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    prefix: &'static str,
    records: u64,
    value_len: usize,
}

/// Large ones are more than a bulk holds in memory.
pub(crate) const KINDS: [Kind; 2] = [
    Kind { prefix: "small:", records: 300, value_len: 300 },
    Kind { prefix: "large:", records: 15_000, value_len: 4_000 },
];

impl Kind {
    fn value(&self, dump: u64, record: u64) -> String {
        let fill = char::from(b'a' + u8::try_from((dump + record) % 26).unwrap());
        let mut value = format!("{dump}.");
        value.extend(std::iter::repeat_n(fill, self.value_len));
        value
    }

    /// Dump number `dump`, in key order or in no order.
    fn dump(&self, dump: u64, random: &mut Random) -> String {
        let mut order: Vec<u64> = (0..self.records).collect();
        if random.below(2) == 0 {
            for at in (1..self.records).rev() {
                order.swap(usize::try_from(at).unwrap(), usize::try_from(random.below(at + 1)).unwrap());
            }
        }
        let mut text = "# kvdb dump 1\n".to_owned();
        for record in order {
            writeln!(text, "set \"{}{record:06}\" \"{}\"", self.prefix, self.value(dump, record)).unwrap();
        }
        let checksum = crc32fast::hash(text.as_bytes());
        writeln!(text, "# end of dump: {} records, crc32 {checksum:08x}", self.records).unwrap();
        text
    }

    /// Which dump a value is of, if it is right.
    fn check(&self, record: u64, value: &str) -> Verdict<u64> {
        let dump = value.split('.').next().and_then(|dump| dump.parse().ok());
        match dump {
            Some(dump) if self.value(dump, record) == value => Ok(dump),
            _ => Err(format!("{}{record:06} holds {value:.40}", self.prefix)),
        }
    }

    /// Which dump is there: 0 stands for none.
    fn find(&self, db: &Db) -> Verdict<u64> {
        let fault = |error: kvdb::Error| format!("{}: {error}", self.prefix);
        let mut records = 0;
        let mut dumps = [u64::MAX, 0];
        for entry in db.scan(KeyRange::prefix(self.prefix.as_bytes())).map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let (key, value) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&value));
            if key != format!("{}{records:06}", self.prefix) {
                return Err(format!("{key} stands where number {records} should be"));
            }
            let dump = self.check(records, &value)?;
            dumps = [dumps[0].min(dump), dumps[1].max(dump)];
            records += 1;
        }
        match dumps {
            [u64::MAX, _] => Ok(0),
            [least, most] if least == most && records == self.records => Ok(least),
            [least, most] => Err(format!("{}: {records} records of dumps {least} to {most}", self.prefix)),
        }
    }

    /// Asks for some records that stand together.
    pub(crate) fn some_records(&self, random: &mut Random) -> String {
        let (prefix, from) = (self.prefix, random.below(self.records - 100));
        format!("scan {prefix} --from {prefix}{from:06} --to {prefix}{:06}", from + 100)
    }

    /// Holds records that were printed against each other: they are of one dump, not older than `least`.
    pub(crate) fn check_lines(&self, lines: &[String], least: u64) -> Verdict {
        let mut found = Vec::new();
        for line in lines {
            let parts = line.strip_prefix('"').and_then(|line| line.strip_suffix('"'));
            let parts = parts.and_then(|line| line.strip_prefix(self.prefix)?.split_once("\" \""));
            let (record, value) = parts.ok_or_else(|| format!("{line:.60} is no record"))?;
            found.push(self.check(record.parse().unwrap_or(u64::MAX), value)?);
        }
        found.dedup();
        match found[..] {
            [] if least == 0 => Ok(()),
            [dump] if dump >= least && lines.len() == 100 => Ok(()),
            _ => Err(format!("{}: dumps {found:?}, {least} is loaded", self.prefix)),
        }
    }
}

/// Which dumps must be there, at least.
pub(crate) fn loaded(campaign: &Campaign) -> [u64; 2] {
    [0, 1].map(|kind| campaign.loaded[kind].load(Ordering::SeqCst))
}

/// Loads one dump after the other.
pub(crate) fn load(campaign: &Campaign) {
    let mut random = campaign.random(13);
    let mut newest = 0;
    let mut usual = KINDS.map(|_| Duration::from_millis(300));
    campaign.repeat("loader", || {
        newest += 1;
        let is_large = campaign.is_long && newest % LOADS_PER_LARGE_LOAD == 1;
        let kind = usize::from(is_large);
        let path = campaign.sandbox.write("dump.kv", KINDS[kind].dump(newest, &mut random));
        if random.below(6) == 0 {
            return refuse(campaign, kind, &path);
        }
        let life = (random.below(2) == 0)
            .then(|| usual[kind].mul_f64(f64::from(u32::try_from(random.below(120)).unwrap()) / 100.0));
        let start = Instant::now();
        let ended = campaign.run_for(&[".load", &path.display().to_string()], life)?;
        let is_done = ended.is_done()?;
        if is_done {
            usual[kind] = start.elapsed();
            count([&campaign.tally.loads, &campaign.tally.large_loads][kind], 1);
        }
        check(campaign, kind, newest, is_done)
    });
}

/// A dump that was changed at its end leaves everything as it was.
fn refuse(campaign: &Campaign, kind: usize, path: &std::path::Path) -> Verdict {
    let mut dump = std::fs::read(path).unwrap();
    let last = dump.len() - 2;
    dump[last] = if dump[last] == b'0' { b'1' } else { b'0' };
    std::fs::write(path, dump).unwrap();
    let ended = campaign.run_for(&[".load", &path.display().to_string()], None)?;
    if ended.code != Some(CORRUPTION) {
        return Err(format!(
            "a dump that was changed ended with {:?}: {}{}",
            ended.code, ended.out, ended.err
        ));
    }
    count(&campaign.tally.refused_loads, 1);
    check(campaign, kind, 0, false)
}

/// Which dump is there now: the one before or, if it is acknowledged surely, the newest.
fn check(campaign: &Campaign, kind: usize, newest: u64, is_done: bool) -> Verdict {
    let before = loaded(campaign)[kind];
    let found = KINDS[kind].find(&campaign.open()?)?;
    if found != newest && (is_done || found != before) {
        let how = if is_done { "is loaded" } else { "was being loaded" };
        return Err(format!(
            "dump {found} of {} is there; {newest} {how}, before it {before}",
            KINDS[kind].prefix
        ));
    }
    campaign.loaded[kind].store(found, Ordering::SeqCst);
    count(&campaign.tally.checks, 1);
    Ok(())
}

/// What must hold once nobody loads any more.
pub(crate) fn check_at_last(campaign: &Campaign, db: &Db) -> Verdict {
    let loaded = loaded(campaign);
    for (kind, loaded) in KINDS.iter().zip(loaded) {
        let found = kind.find(db)?;
        if found != loaded {
            return Err(format!("at last dump {found} of {} is there, not {loaded}", kind.prefix));
        }
    }
    Ok(())
}

/// Compacts again and again.
pub(crate) fn compact(campaign: &Campaign) {
    let mut random = campaign.random(14);
    campaign.repeat("compactor", || {
        let life = (random.below(2) == 0).then(|| random.millis(1_500));
        if campaign.run_for(&[".compact"], life)?.is_done()? {
            count(&campaign.tally.compactions, 1);
        }
        // Where all is merged again and again, nothing is left for merges in the background.
        let pause = random.millis(if campaign.is_long { 12_000 } else { 1_000 });
        let start = Instant::now();
        while start.elapsed() < pause && !campaign.is_over() {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    });
}
