//! The manifest: the one file that says what a database consists of.
//!
//! ```text
//!  0                8        12       16       20       24               32               40               48
//!  ┌────────────────┬────────┬────────┬────────┬────────┬────────────────┬────────────────┬────────────────┐
//!  │ "kvdbman\n"    │ format │ crc    │ engine │ runs   │ first segment  │ its salt       │ flushed LSN    │
//!  ├────────────────┼────────┴────────┼────────┴────────┼────────────────┼────────────────┴────────────────┘
//!  │ base id        │ base salt       │ next flushed    │ next merged    │ hash seed      │ below  │ merging│
//!  └────────────────┴─────────────────┴─────────────────┴────────────────┴────────────────┴────────┴────────┘
//!  48               56                64                72               80               88       92       96
//!  96    bulk
//!  104   the totals: see there
//!  192   the runs, newest first
//!
//!  run     u32 number of tables, then each:
//!  table   u64 id, length, entries, tombstones, payload bytes, smallest LSN, largest LSN, hidden, outdating,
//!          LSN base; u32 checksum; u16 length of the smallest key, of the largest, of the floor; these three keys
//!
//!  u64 clock, and for each table in the same order u64 count, first and last of its expiries
//!
//!   crc      CRC-32 over the file with these four bytes left out
//!   flushed  every batch up to this LSN is in the base or the runs; the log's first segment begins behind it
//!   base     0, 0 when there is none
//!   next     numbers of the next table that a flush and that a merge writes: those of flushes are odd, those of merges even
//!   bulk     the last LSN that never was in the log: tables brought it in
//!   merging  so many runs, above the `below` oldest, are being merged; 0 when none are
//!   clock    what had expired by then, in milliseconds since 1970, may be missing from base and runs; 0 as long as nothing in
//!            the database ever expired
//!   expiries 0, 0, 0 when nothing in the table expires
//! ```
//!
//! The clock and what follows it are there since format 2; in a manifest of format 1 nothing expires.
//!
//!
//! It names the base or the tables, and the first live segment of the log; the chain of seals names the other segments. It
//! is replaced as a whole: a new file is written and synced beside it, renamed over it, and the directory synced.
//! Files that it does not lead to are leftovers of a crash.

use std::io;
use std::path::Path;

use super::codec::{crc32, flipped_bit, put, u16_at, u32_at, u64_at};
use super::fs::{Fs, OpenMode, read_full_at};
use super::totals::Totals;
use super::{Expiries, FORMAT, Life, RunTable, TableMeta, replace_file};
use crate::error::{Error, Result};
use crate::types::{EngineKind, FileId, Key, Lsn, Timestamp};

/// Its name in the database directory.
pub(crate) const NAME: &str = "MANIFEST";

const MAGIC: &[u8; 8] = b"kvdbman\n";
const VERSION: usize = MAGIC.len();
const CRC: usize = VERSION + 4;
const ENGINE: usize = CRC + 4;
const RUNS: usize = ENGINE + 4;
const FIRST_ID: usize = RUNS + 4;
const FIRST_SALT: usize = FIRST_ID + 8;
const FLUSHED: usize = FIRST_SALT + 8;
const BASE_ID: usize = FLUSHED + 8;
const BASE_SALT: usize = BASE_ID + 8;
const NEXT_FLUSHED: usize = BASE_SALT + 8;
const NEXT_MERGED: usize = NEXT_FLUSHED + 8;
const SEED: usize = NEXT_MERGED + 8;
const BELOW: usize = SEED + 8;
const MERGING: usize = BELOW + 4;
const BULK: usize = MERGING + 4;
const TOTALS: usize = BULK + 8;
const HEADER_LEN: usize = TOTALS + Totals::LEN;

/// Places in a table's entry behind its ten numbers, and its length without the keys.
const CHECKSUM: usize = 10 * 8;
const SMALLEST_LEN: usize = CHECKSUM + 4;
const LARGEST_LEN: usize = SMALLEST_LEN + 2;
const FLOOR_LEN: usize = LARGEST_LEN + 2;
const TABLE_LEN: usize = FLOOR_LEN + 2;

/// The last format whose manifests end with the runs.
const WITHOUT_EXPIRIES: u32 = 1;

/// The first whose manifests say more behind them.
const WITH_EXPIRIES: u32 = 2;

/// A manifest larger than this is none, and none is written: 1,600,000 tables have room, which hold 100 TiB, or 2,000 tables whose
/// keys are as long as keys can be, which hold 128 GiB.
const MAX_LEN: u64 = 256 << 20;

/// No number of a file or a batch is larger: the next one can always be counted.
const MAX_NUMBER: u64 = 1 << 62;

/// No table has more records or bytes: those of all tables can be added up.
const MAX_IN_TABLE: u64 = 1 << 40;

/// What a database consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub engine: EngineKind,
    /// The first live segment of the log: everything behind `flushed`.
    pub first: Life,
    /// Every batch up to here is in the base or the runs.
    pub flushed: Lsn,
    /// The file that stands for the log up to `flushed`, of an engine that keeps everything in memory.
    pub base: Option<Life>,
    /// The tables that stand for the log up to `flushed`, newest run first.
    pub runs: Vec<Vec<RunTable>>,
    /// The runs that are being merged.
    pub merging: Option<Merging>,
    /// The number of the next table that a flush writes: an odd one.
    pub next_flushed: FileId,
    /// The number of the next table that a merge writes: an even one.
    pub next_merged: FileId,
    /// The last batch that never was in the log: tables brought it in together with this manifest or an earlier one.
    pub bulk: Lsn,
    /// Seeds the hashes of keys in tables.
    pub seed: u64,
    /// What was written up to this manifest.
    pub totals: Totals,
    /// What had expired by then may be missing from base and runs, so no clock of the database is behind it. `None` as long as
    /// nothing in the database ever expired: no operation of the log has an expiry before it is there.
    pub clock: Option<Timestamp>,
}

/// Neighbouring runs that are being merged into the oldest of them. Counted from the oldest run: new runs come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Merging {
    /// Runs that are older than these.
    pub below: u32,
    /// How many they are. To merge one means to write those of its tables anew that have something of no use: it is the oldest run,
    /// and each slice is a merge of its own. So where a merge has begun there are two at least.
    pub count: u32,
}

impl Manifest {
    /// The manifest of a new database of this engine, whose log begins with `first`.
    pub(crate) const fn new(engine: EngineKind, first: Life, seed: u64) -> Self {
        Self {
            engine,
            first,
            flushed: Lsn::ZERO,
            base: None,
            runs: Vec::new(),
            merging: None,
            next_flushed: FileId(1),
            next_merged: FileId(2),
            bulk: Lsn::ZERO,
            seed,
            totals: Totals::NONE,
            clock: None,
        }
    }

    /// Whether a file of this number may be, or become, a table that this manifest or a later one names.
    pub(crate) fn may_need_table(&self, id: FileId) -> bool {
        let next = if id.0.is_multiple_of(2) { self.next_merged } else { self.next_flushed };
        id >= next || self.names_table(id)
    }

    /// Whether a table that this manifest names has this number.
    pub(crate) fn names_table(&self, id: FileId) -> bool {
        self.runs.iter().flatten().any(|listed| listed.table.id == id)
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        let base = self.base.unwrap_or_default();
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, VERSION, &FORMAT.to_le_bytes());
        put(&mut bytes, ENGINE, &engine_code(self.engine).to_le_bytes());
        put(&mut bytes, RUNS, &count(self.runs.len()));
        put(&mut bytes, FIRST_ID, &self.first.id.0.to_le_bytes());
        put(&mut bytes, FIRST_SALT, &self.first.salt.to_le_bytes());
        put(&mut bytes, FLUSHED, &self.flushed.0.to_le_bytes());
        put(&mut bytes, BASE_ID, &base.id.0.to_le_bytes());
        put(&mut bytes, BASE_SALT, &base.salt.to_le_bytes());
        put(&mut bytes, NEXT_FLUSHED, &self.next_flushed.0.to_le_bytes());
        put(&mut bytes, NEXT_MERGED, &self.next_merged.0.to_le_bytes());
        put(&mut bytes, SEED, &self.seed.to_le_bytes());
        let merging = self.merging.unwrap_or_default();
        put(&mut bytes, BELOW, &merging.below.to_le_bytes());
        put(&mut bytes, MERGING, &merging.count.to_le_bytes());
        put(&mut bytes, BULK, &self.bulk.0.to_le_bytes());
        put(&mut bytes, TOTALS, &self.totals.encode());
        for run in &self.runs {
            bytes.extend_from_slice(&count(run.len()));
            for table in run {
                encode_table(&mut bytes, table);
            }
        }
        encode_expiries(&mut bytes, self.clock, self.runs.iter().flatten());
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if u32_at(bytes, CRC)? != checksum(bytes) {
            return None;
        }
        let (mut runs, rest) = decode_runs(u32_at(bytes, RUNS)?, bytes.get(HEADER_LEN..)?)?;
        let clock = match u32_at(bytes, VERSION)? {
            WITHOUT_EXPIRIES if rest.is_empty() => None,
            WITH_EXPIRIES..=FORMAT => decode_expiries(rest, runs.iter_mut().flatten())?,
            _ => return None,
        };
        let number = |at| u64_at(bytes, at).filter(|&number| number <= MAX_NUMBER);
        let life = |id, salt| Some(Life { id: FileId(number(id)?), salt: u64_at(bytes, salt)? });
        let base = life(BASE_ID, BASE_SALT)?;
        let merging = Merging { below: u32_at(bytes, BELOW)?, count: u32_at(bytes, MERGING)? };
        Some(Self {
            engine: engine_from_code(u32_at(bytes, ENGINE)?)?,
            first: life(FIRST_ID, FIRST_SALT)?,
            flushed: Lsn(number(FLUSHED)?),
            base: (base != Life::default()).then_some(base),
            runs,
            merging: (merging.count > 0).then_some(merging),
            next_flushed: FileId(number(NEXT_FLUSHED)?),
            next_merged: FileId(number(NEXT_MERGED)?),
            seed: u64_at(bytes, SEED)?,
            bulk: Lsn(number(BULK)?),
            totals: Totals::decode(bytes.get(TOTALS..)?)?,
            clock,
        })
    }

    /// Reads the manifest of the database in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// Corruption, `Format`, I/O.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        Ok(Self::find(fs, dir, false)?.map(|(manifest, _)| manifest))
    }

    /// As [`Manifest::read`]. If it `mends`, a single flipped bit is set right, in memory: then its place comes too, in bytes.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub(crate) fn find(fs: &dyn Fs, dir: &Path, mends: bool) -> Result<Option<(Self, Option<usize>)>> {
        let path = dir.join(NAME);
        let mut bytes = match read_file(fs, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| Error::io("open", &path, error))?,
        };
        check_format(&bytes, &path)?;
        if let Some(manifest) = Self::decode(&bytes) {
            return Ok(Some((manifest, None)));
        }
        let flipped = if mends { mend(&mut bytes) } else { None };
        match flipped.and_then(|at| Some((Self::decode(&bytes)?, Some(at)))) {
            Some(mended) => Ok(Some(mended)),
            None => Err(Error::corruption(&path, 0, "the manifest does not verify")),
        }
    }

    /// Makes this the manifest of the database in `dir`, durably. After an error the old one or the new one is in force.
    ///
    /// # Errors
    /// Corruption when it would not be read as a manifest: a number in it is larger than any database comes to. I/O.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        let bytes = self.encode();
        if bytes.len() as u64 > MAX_LEN {
            return Err(Error::io("write", &dir.join(NAME), io::ErrorKind::FileTooLarge.into()));
        }
        if Self::decode(&bytes).is_none() {
            let what = "a number in what would follow on it is larger than any database comes to";
            return Err(Error::corruption(&dir.join(NAME), 0, what));
        }
        replace_file(fs, dir, NAME, &bytes)
    }
}

/// The file's bytes; none when it is too large to be a manifest.
fn read_file(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    let file = fs.open(path, OpenMode::Read)?;
    let len = file.size()?;
    if len > MAX_LEN {
        return Ok(Vec::new());
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
    let read = read_full_at(&*file, &mut bytes, 0)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn encode_table(bytes: &mut Vec<u8>, listed: &RunTable) {
    let table = &listed.table;
    let keys = [&table.smallest, &table.largest, &listed.floor];
    for field in [
        table.id.0,
        table.len,
        table.entries,
        table.tombstones,
        table.payload_bytes,
        table.smallest_lsn.0,
        table.largest_lsn.0,
        listed.hidden,
        listed.outdating,
        listed.lsn_base,
    ] {
        bytes.extend_from_slice(&field.to_le_bytes());
    }
    bytes.extend_from_slice(&table.checksum.to_le_bytes());
    for key in keys {
        bytes.extend_from_slice(&key_len(key));
    }
    for key in keys {
        bytes.extend_from_slice(key);
    }
}

fn encode_expiries<'a>(
    bytes: &mut Vec<u8>,
    clock: Option<Timestamp>,
    tables: impl Iterator<Item = &'a RunTable>,
) {
    bytes.extend_from_slice(&clock.map_or(0, Timestamp::unix_millis).to_le_bytes());
    for expiries in tables.map(|listed| listed.table.expiries) {
        let fields = expiries.map(|all| [all.count, all.first.unix_millis(), all.last.unix_millis()]);
        for field in fields.unwrap_or_default() {
            bytes.extend_from_slice(&field.to_le_bytes());
        }
    }
}

/// Reads what the tables are still to be told; returns the clock.
#[expect(clippy::option_option, reason = "the outer one says whether the bytes make sense")]
fn decode_expiries<'a>(
    bytes: &[u8],
    tables: impl Iterator<Item = &'a mut RunTable>,
) -> Option<Option<Timestamp>> {
    let mut fields = bytes.chunks(8).map(|field| u64_at(field, 0));
    let clock = Timestamp::from_unix_millis(fields.next()??);
    for listed in tables {
        let (count, first, last) = (fields.next()??, fields.next()??, fields.next()??);
        let span = Timestamp::from_unix_millis(first).zip(Timestamp::from_unix_millis(last));
        listed.table.expiries = span.map(|(first, last)| Expiries { count, first, last });
    }
    fields.next().is_none().then_some(clock)
}

/// Reads the runs, and returns what follows them.
fn decode_runs(count: u32, mut rest: &[u8]) -> Option<(Vec<Vec<RunTable>>, &[u8])> {
    let mut runs = Vec::new();
    for _ in 0..count {
        let tables = u32_at(rest, 0)?;
        rest = &rest[4..];
        let mut run = Vec::new();
        for _ in 0..tables {
            let (table, behind) = decode_table(rest)?;
            run.push(table);
            rest = behind;
        }
        runs.push(run);
    }
    Some((runs, rest))
}

fn decode_table(bytes: &[u8]) -> Option<(RunTable, &[u8])> {
    let (fixed, keys) = bytes.split_at_checked(TABLE_LEN)?;
    let field = |index: usize, max: u64| u64_at(fixed, index * 8).filter(|&field| field <= max);
    let number = |index| field(index, MAX_NUMBER);
    let amount = |index| field(index, MAX_IN_TABLE);
    let (smallest, rest) = keys.split_at_checked(usize::from(u16_at(fixed, SMALLEST_LEN)?))?;
    let (largest, rest) = rest.split_at_checked(usize::from(u16_at(fixed, LARGEST_LEN)?))?;
    let (floor, rest) = rest.split_at_checked(usize::from(u16_at(fixed, FLOOR_LEN)?))?;
    let table = TableMeta {
        id: FileId(number(0)?),
        len: amount(1)?,
        entries: amount(2)?,
        tombstones: amount(3)?,
        payload_bytes: amount(4)?,
        smallest: Key::from(smallest),
        largest: Key::from(largest),
        smallest_lsn: Lsn(number(5)?),
        largest_lsn: Lsn(number(6)?),
        checksum: u32_at(fixed, CHECKSUM)?,
        expiries: None,
    };
    let (hidden, outdating, lsn_base) = (amount(7)?, amount(8)?, number(9)?);
    Some((RunTable { table, floor: Key::from(floor), hidden, outdating, lsn_base }, rest))
}

fn count(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

fn key_len(key: &Key) -> [u8; 2] {
    u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes()
}

/// A newer format is not corruption, if the file says so intact.
fn check_format(bytes: &[u8], path: &Path) -> Result<()> {
    match u32_at(bytes, VERSION) {
        Some(found) if found > FORMAT && u32_at(bytes, CRC) == Some(checksum(bytes)) => {
            Err(Error::Format { file: path.to_owned(), found, supported: FORMAT })
        }
        _ => Ok(()),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32(&[bytes.get(..CRC).unwrap_or_default(), bytes.get(ENGINE..).unwrap_or_default()])
}

/// Flips the only bit back whose flip explains the checksum; returns the place of its byte.
fn mend(bytes: &mut [u8]) -> Option<usize> {
    let found = u32_at(bytes, CRC)?;
    let difference = found ^ checksum(bytes);
    let bit = if difference.is_power_of_two() {
        CRC * 8 + difference.trailing_zeros() as usize
    } else {
        let bit = flipped_bit(bytes.len().checked_sub(4)?, difference)?;
        if bit < CRC * 8 { bit } else { bit + 32 }
    };
    bytes[bit / 8] ^= 1 << (bit % 8);
    Some(bit / 8)
}

/// Gives changed bytes of a manifest the checksum that a writer would have given them.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(bytes: &mut [u8]) {
    if bytes.len() >= HEADER_LEN {
        let crc = checksum(bytes);
        put(bytes, CRC, &crc.to_le_bytes());
    }
}

const fn engine_code(engine: EngineKind) -> u32 {
    match engine {
        EngineKind::Simple => 1,
        EngineKind::Kv => 2,
    }
}

const fn engine_from_code(code: u32) -> Option<EngineKind> {
    match code {
        1 => Some(EngineKind::Simple),
        2 => Some(EngineKind::Kv),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::storage::fs::sim::SimFs;

    fn table(id: u64, smallest: &str, largest: &str) -> RunTable {
        let table = TableMeta {
            id: FileId(id),
            len: 4096,
            entries: 9,
            tombstones: 1,
            payload_bytes: 99,
            smallest: smallest.into(),
            largest: largest.into(),
            smallest_lsn: Lsn(id),
            largest_lsn: Lsn(id + 5),
            checksum: 7,
            expiries: (id > 3).then_some(Expiries { count: 3, first: Timestamp::MIN, last: Timestamp::MAX }),
        };
        RunTable {
            floor: smallest.repeat(2).as_str().into(),
            hidden: 3,
            outdating: 4,
            lsn_base: 5,
            ..RunTable::whole(table)
        }
    }

    fn manifest() -> Manifest {
        let base = Some(Life { id: FileId(4), salt: 11 });
        let new = Manifest::new(EngineKind::Simple, Life { id: FileId(5), salt: 12 }, 3);
        let totals = Totals { user_bytes: 7, merges: 8, ..Totals::default() };
        let clock = Some(Timestamp::MAX);
        Manifest { flushed: Lsn(900), base, bulk: Lsn(800), totals, clock, ..new }
    }

    fn with_runs() -> Manifest {
        let runs = vec![vec![table(9, "a", "")], vec![table(3, "", "b"), table(4, "c", "d")], Vec::new()];
        let merging = Some(Merging { below: 1, count: 2 });
        Manifest { engine: EngineKind::Kv, base: None, runs, merging, ..manifest() }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        for manifest in [manifest(), with_runs(), Manifest { base: None, clock: None, ..manifest() }] {
            assert_eq!(Manifest::decode(&manifest.encode()), Some(manifest));
        }
    }

    #[test]
    fn what_would_not_be_read_is_not_installed() {
        let (fs, dir) = (SimFs::new().process(), Path::new("/"));
        with_runs().install(&*fs, dir).unwrap();
        let refused =
            Manifest { flushed: Lsn(MAX_NUMBER + 1), ..with_runs() }.install(&*fs, dir).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Corruption, "{refused}");
        assert_eq!(Manifest::read(&*fs, dir).unwrap(), Some(with_runs()));
    }

    #[test]
    fn numbers_that_can_not_be_counted_on_from_are_refused() {
        for (at, allowed) in
            [(FLUSHED, MAX_NUMBER), (NEXT_MERGED, MAX_NUMBER), (HEADER_LEN + 4 + 16, MAX_IN_TABLE)]
        {
            let with = |number: u64| {
                let mut bytes = with_runs().encode();
                put(&mut bytes, at, &number.to_le_bytes());
                reseal(&mut bytes);
                Manifest::decode(&bytes)
            };
            assert!(with(allowed).is_some() && with(allowed + 1).is_none() && with(u64::MAX).is_none());
        }
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = with_runs().encode();
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&flipped), None, "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..len]), None, "cut at {len}");
        }
    }

    /// A manifest as the first format had it.
    #[test]
    fn a_manifest_without_expiries_is_read() {
        let mut written = with_runs();
        written.clock = None;
        written.runs.iter_mut().flatten().for_each(|listed| listed.table.expiries = None);
        let mut bytes = written.encode();
        bytes.truncate(bytes.len() - 8 - 24 * 3);
        put(&mut bytes, VERSION, &WITHOUT_EXPIRIES.to_le_bytes());
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        assert_eq!(Manifest::decode(&bytes), Some(written));
    }

    #[test]
    fn any_single_flipped_bit_is_set_right_and_two_are_not() {
        let right = with_runs().encode();
        for bit in 0..right.len() * 8 {
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!((mend(&mut flipped), &flipped), (Some(bit / 8), &right), "bit {bit}");
        }
        for second in 1..right.len() * 8 {
            let mut flipped = right.clone();
            flipped[0] ^= 1;
            flipped[second / 8] ^= 1 << (second % 8);
            mend(&mut flipped);
            assert_eq!(Manifest::decode(&flipped), None, "bit {second}");
        }
    }

    #[test]
    fn tables_that_a_flush_or_a_merge_may_be_writing_are_needed() {
        let manifest = Manifest { next_flushed: FileId(7), next_merged: FileId(12), ..with_runs() };
        let needed: Vec<u64> = (1..16).filter(|id| manifest.may_need_table(FileId(*id))).collect();
        assert_eq!(needed, [3, 4, 7, 9, 11, 12, 13, 14, 15]);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = manifest().encode();
        put(&mut bytes, VERSION, &(FORMAT + 1).to_le_bytes());
        assert!(check_format(&bytes, Path::new(NAME)).is_ok(), "the checksum is wrong: damage");
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        assert!(
            matches!(check_format(&bytes, Path::new(NAME)), Err(Error::Format { found, .. }) if found == FORMAT + 1)
        );
    }
}
