//! Notes that processes leave for each other in the file `SHM`: how far the log is durable, who holds the lock, what the
//! database's clock said, whether somebody waits for the lock, and how far the log was written.
//!
//! ```text
//!  0        4        8        12       16                                32               40
//!  ┌────────┬────────┬────────┬────────┬────────────────────────────────┬────────────────┬─ … 64
//!  │ "kvsh" │ crc    │dropped │   0    │ boot id                        │ segment salt   │
//!  ├────────┴────────┴────────┴────────┴────────────────────────────────┴────────────────┘
//!  │ 40: segment id   48: end offset   56: durable LSN
//!
//!  64       68       72       76       80                                96               104
//!  ┌────────┬────────┬────────┬────────┬────────────────────────────────┬────────────────┬─ … 128
//!  │ "kvhl" │ crc    │ pid    │   0    │ boot id                        │ since, unix ms │ verb
//!  └────────┴────────┴────────┴────────┴────────────────────────────────┴────────────────┘
//!
//!  128      132      136               144                              160              168              176 … 192
//!  ┌────────┬────────┬─────────────────┬────────────────────────────────┬────────────────┬────────────────┬─
//!  │ "kvck" │ crc    │        0        │ boot id                        │ clock, unix ns │ uptime, ns     │
//!  └────────┴────────┴─────────────────┴────────────────────────────────┴────────────────┴────────────────┴─
//!
//!  192      196      200      204      208                               224
//!  ┌────────┬────────┬────────┬────────┬────────────────────────────────┬─ … 256
//!  │ "kvwt" │ crc    │waiting │   0    │ boot id                        │
//!  └────────┴────────┴────────┴────────┴────────────────────────────────┘
//!
//!  256      260      264               272                              288              296              304 … 320
//!  ┌────────┬────────┬─────────────────┬────────────────────────────────┬────────────────┬────────────────┬─
//!  │ "kvwr" │ crc    │        0        │ boot id                        │ segment salt   │ segment id     │ end, LSN
//!  └────────┴────────┴─────────────────┴────────────────────────────────┴────────────────┴────────────────┴─
//! ```
//!
//! The file is advisory. It may be missing, stale, or hold garbage at any time; a note that does not verify or is of another
//! boot does not exist. A note can save a sync, a look-ahead or a lock, or reveal that durable records are gone; it can never
//! make anything count as durable that was not: it is written after the sync that it reports, or after the write that the next
//! sync covers, and the page cache that it lives in dies with the boot that it names. Only of the note of the clock something
//! counts in later boots as well: the time in it, before which no process reads the clock. It was read, whatever became of the
//! machine since.
//!
//! Notes are read and left without system calls where `SHM` can be mapped, so that one may be read while it is written, and one
//! of a process that was killed may stay half written: neither verifies. The clock's is written by a call, which a kill can't
//! split: it says what was told to somebody. Who finds it half written looks again. It is also the only one that has to be
//! there: who can't leave it, or can't look whether there is one, is told.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Life;
use super::codec::{crc32, put, u32_at, u64_at, u128_at};
use super::fs::{File, look_full_at, put_all_at, write_all_at};
use crate::error::Holder;
use crate::types::{FileId, Lsn};

const NOTE_LEN: usize = 64;
const HOLDER_OFFSET: u64 = NOTE_LEN as u64;
const DURABLE_MAGIC: [u8; 4] = *b"kvsh";
const HOLDER_MAGIC: [u8; 4] = *b"kvhl";
const CLOCK_OFFSET: u64 = 2 * NOTE_LEN as u64;
const CLOCK_MAGIC: [u8; 4] = *b"kvck";
const WAITING_OFFSET: u64 = 3 * NOTE_LEN as u64;
const WAITING_MAGIC: [u8; 4] = *b"kvwt";
const WRITTEN_OFFSET: u64 = 4 * NOTE_LEN as u64;
const WRITTEN_MAGIC: [u8; 4] = *b"kvwr";

/// How often a note is looked at that does not verify, with others let run in between: who writes it needs no more than a moment.
const MAX_LOOKS: usize = 200;

const CRC: usize = 4;
const DROPPED: usize = 8;
const PID: usize = 8;
const WAITING: usize = 8;
const BOOT: usize = 16;
const SALT: usize = 32;
const ID: usize = 40;
const END: usize = 48;
const LSN: usize = 56;
const SINCE: usize = 32;
const VERB: usize = 40;
const CLOCK: usize = 32;
const UPTIME: usize = 40;

/// How far the log went in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// The segment that records went to.
    pub life: Life,
    /// Where the last one ends.
    pub end: u64,
    /// The last batch.
    pub lsn: Lsn,
}

impl Extent {
    fn from_note(note: &[u8; NOTE_LEN]) -> Option<Self> {
        let life = Life { id: FileId(u64_at(note, ID)?), salt: u64_at(note, SALT)? };
        Some(Self { life, end: u64_at(note, END)?, lsn: Lsn(u64_at(note, LSN)?) })
    }

    fn put_into(&self, note: &mut [u8; NOTE_LEN]) {
        put(note, SALT, &self.life.salt.to_le_bytes());
        put(note, ID, &self.life.id.0.to_le_bytes());
        put(note, END, &self.end.to_le_bytes());
        put(note, LSN, &self.lsn.0.to_le_bytes());
    }

    /// Whether a batch of a segment is in it.
    pub(crate) fn covers(&self, life: Life, lsn: Lsn) -> bool {
        self.life == life && self.lsn >= lsn
    }
}

/// How far the log was durable when the note was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Durable {
    pub to: Extent,
    /// An incomplete write behind `end` has been reported to a user.
    pub dropped: bool,
}

/// What the database's clock said when the note was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClockNote {
    /// Since 1970 began.
    pub clock: Duration,
    /// How long the machine was up then; `None` when it may have been started again since.
    pub uptime: Option<Duration>,
}

/// The notes of one database, as seen by one handle.
#[derive(Debug)]
pub(crate) struct Notes {
    file: OnceLock<Arc<dyn File>>,
    /// Whether it leaves any.
    is_silent: bool,
    boot_id: u128,
    pid: u32,
}

impl Notes {
    /// Notes in `file`; without a file nothing is found or kept.
    pub(crate) fn new(file: Option<Arc<dyn File>>, boot_id: u128) -> Self {
        let file = file.map_or_else(OnceLock::new, OnceLock::from);
        Self { file, is_silent: false, boot_id, pid: std::process::id() }
    }

    /// The same, for who only reads them.
    pub(crate) fn of_others(file: Option<Arc<dyn File>>, boot_id: u128) -> Self {
        Self { is_silent: true, ..Self::new(file, boot_id) }
    }

    /// Whether there is a file for them.
    pub(crate) fn have_file(&self) -> bool {
        self.file.get().is_some()
    }

    /// From now on they are in this file, if there was none.
    pub(crate) fn begin(&self, file: Arc<dyn File>) {
        self.file.get_or_init(|| file);
    }

    /// The last note on durability of this boot. Where boots can't be told apart there is none.
    pub(crate) fn durable(&self) -> Option<Durable> {
        let note = self.read(0, DURABLE_MAGIC).filter(|_| self.are_kept())?;
        Some(Durable { to: Extent::from_note(&note)?, dropped: u32_at(&note, DROPPED)? != 0 })
    }

    /// Leaves a note on durability. Call it after the sync.
    pub(crate) fn publish(&self, durable: &Durable) {
        let mut note = [0; NOTE_LEN];
        put(&mut note, DROPPED, &u32::from(durable.dropped).to_le_bytes());
        durable.to.put_into(&mut note);
        self.write(0, DURABLE_MAGIC, note);
    }

    /// How far the log was written when the last note of that was left, in this boot: complete records, which a sync that begins
    /// now covers. Where boots can't be told apart there is none.
    pub(crate) fn written(&self) -> Option<Extent> {
        let note = self.read(WRITTEN_OFFSET, WRITTEN_MAGIC).filter(|_| self.are_kept())?;
        Extent::from_note(&note)
    }

    /// Leaves a note on what was written. Call it after the write, with the lock held.
    pub(crate) fn publish_written(&self, written: &Extent) {
        let mut note = [0; NOTE_LEN];
        written.put_into(&mut note);
        self.write(WRITTEN_OFFSET, WRITTEN_MAGIC, note);
    }

    /// Whether notes reach others.
    pub(crate) fn are_kept(&self) -> bool {
        self.have_file() && self.boot_id != 0
    }

    /// What the clock said, in this boot or in an earlier one.
    ///
    /// # Errors
    /// I/O: there may be a note.
    pub(crate) fn clock(&self) -> io::Result<Option<ClockNote>> {
        Ok(self.settled(CLOCK_OFFSET, CLOCK_MAGIC)?.and_then(|note| {
            let nanos = |at| u64_at(&note, at).map(Duration::from_nanos);
            let is_of_this_boot = self.boot_id != 0 && u128_at(&note, BOOT)? == self.boot_id;
            Some(ClockNote { clock: nanos(CLOCK)?, uptime: nanos(UPTIME).filter(|_| is_of_this_boot) })
        }))
    }

    /// Says what the clock says. Call it before anybody is told.
    ///
    /// # Errors
    /// I/O, `NotFound` without a file: others do not know it. None for who leaves no notes.
    pub(crate) fn publish_clock(&self, clock: Duration, uptime: Duration) -> io::Result<()> {
        if self.is_silent {
            return Ok(());
        }
        let mut note = [0; NOTE_LEN];
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes();
        put(&mut note, CLOCK, &nanos(clock));
        put(&mut note, UPTIME, &nanos(uptime));
        let file = self.file.get().ok_or(io::ErrorKind::NotFound)?;
        write_all_at(&**file, &self.sealed(CLOCK_MAGIC, note), CLOCK_OFFSET)
    }

    /// Who took the lock last.
    pub(crate) fn holder(&self) -> Option<Holder> {
        let note = self.read(HOLDER_OFFSET, HOLDER_MAGIC)?;
        let verb = &note[VERB..];
        let len = verb.iter().position(|&byte| byte == 0).unwrap_or(verb.len());
        let since = Duration::from_millis(u64_at(&note, SINCE)?);
        Some(Holder {
            pid: u32_at(&note, PID)?,
            command: String::from_utf8_lossy(&verb[..len]).into_owned(),
            age: unix_time().saturating_sub(since),
        })
    }

    /// Says that this process has the lock now, for the command `verb`.
    pub(crate) fn sign(&self, verb: &str) {
        let mut note = [0; NOTE_LEN];
        let millis = u64::try_from(unix_time().as_millis()).unwrap_or(u64::MAX);
        put(&mut note, PID, &self.pid.to_le_bytes());
        put(&mut note, SINCE, &millis.to_le_bytes());
        put(&mut note, VERB, &verb.as_bytes()[..verb.len().min(NOTE_LEN - VERB)]);
        self.write(HOLDER_OFFSET, HOLDER_MAGIC, note);
    }

    /// Whether a note says that nobody waits for the lock.
    pub(crate) fn nobody_waits(&self) -> bool {
        self.read(WAITING_OFFSET, WAITING_MAGIC).is_some_and(|note| u32_at(&note, WAITING) == Some(0))
    }

    /// Says whether somebody waits for the lock. The turnstile is held, so that nobody else knows better.
    pub(crate) fn set_waiting(&self, is_waiting: bool) {
        if is_waiting == self.nobody_waits() {
            let mut note = [0; NOTE_LEN];
            put(&mut note, WAITING, &u32::from(is_waiting).to_le_bytes());
            self.write(WAITING_OFFSET, WAITING_MAGIC, note);
        }
    }

    fn read(&self, offset: u64, magic: [u8; 4]) -> Option<[u8; NOTE_LEN]> {
        let note = self.verified(offset, magic).ok()??;
        (u128_at(&note, BOOT)? == self.boot_id).then_some(note)
    }

    /// The note of any boot, if one verifies.
    fn verified(&self, offset: u64, magic: [u8; 4]) -> io::Result<Option<[u8; NOTE_LEN]>> {
        Ok(self.look(offset, magic)?.filter(verifies))
    }

    /// The same, where one that does not verify may be about to: somebody writes it at this moment.
    fn settled(&self, offset: u64, magic: [u8; 4]) -> io::Result<Option<[u8; NOTE_LEN]>> {
        for _ in 0..MAX_LOOKS {
            match self.look(offset, magic)? {
                Some(note) if !verifies(&note) => std::thread::yield_now(),
                settled => return Ok(settled),
            }
        }
        Ok(None)
    }

    /// What begins like a note.
    fn look(&self, offset: u64, magic: [u8; 4]) -> io::Result<Option<[u8; NOTE_LEN]>> {
        let Some(file) = self.file.get() else { return Ok(None) };
        let mut note = [0; NOTE_LEN];
        let len = look_full_at(&**file, &mut note, offset)?;
        Ok((len == NOTE_LEN && note.starts_with(&magic)).then_some(note))
    }

    /// A note that can't be written is a note that does not exist: nothing depends on one that is left so.
    fn write(&self, offset: u64, magic: [u8; 4], note: [u8; NOTE_LEN]) {
        if let Some(file) = self.file.get().filter(|_| !self.is_silent) {
            drop(put_all_at(&**file, &self.sealed(magic, note), offset));
        }
    }

    /// The note with all that makes it one.
    fn sealed(&self, magic: [u8; 4], mut note: [u8; NOTE_LEN]) -> [u8; NOTE_LEN] {
        put(&mut note, 0, &magic);
        put(&mut note, BOOT, &self.boot_id.to_le_bytes());
        let crc = checksum(&note);
        put(&mut note, CRC, &crc.to_le_bytes());
        note
    }
}

/// Gives changed bytes of a file of notes the checksums and the boot that a writer of now would have given them; the notes on the
/// log are about the segment `life`, if one is given.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(bytes: &mut [u8], boot_id: u128, life: Option<Life>) {
    let magics = [DURABLE_MAGIC, HOLDER_MAGIC, CLOCK_MAGIC, WAITING_MAGIC, WRITTEN_MAGIC];
    for (note, magic) in bytes.chunks_exact_mut(NOTE_LEN).zip(magics) {
        put(note, 0, &magic);
        put(note, BOOT, &boot_id.to_le_bytes());
        if let Some(life) = life.filter(|_| [DURABLE_MAGIC, WRITTEN_MAGIC].contains(&magic)) {
            put(note, SALT, &life.salt.to_le_bytes());
            put(note, ID, &life.id.0.to_le_bytes());
        }
        let crc = crc32(&[&note[..CRC], &note[CRC + 4..]]);
        put(note, CRC, &crc.to_le_bytes());
    }
}

fn verifies(note: &[u8; NOTE_LEN]) -> bool {
    u32_at(note, CRC) == Some(checksum(note))
}

fn checksum(note: &[u8; NOTE_LEN]) -> u32 {
    crc32(&[&note[..CRC], &note[CRC + 4..]])
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::storage::fs::sim::SimFs;
    use crate::storage::fs::{Fs, OpenMode, RealFs};

    fn notes(fs: &dyn Fs, path: &Path) -> Notes {
        Notes::new(Some(fs.open(path, OpenMode::OpenOrCreate).unwrap()), 7)
    }

    /// One that differs from any other in each of its parts.
    fn durable(number: u64) -> Durable {
        let life = Life { id: FileId(number + 1), salt: number + 2 };
        Durable { to: Extent { life, end: number + 3, lsn: Lsn(number + 4) }, dropped: false }
    }

    #[test]
    fn a_note_that_is_half_another_does_not_exist() {
        let (disk, path) = (SimFs::new(), Path::new("/SHM"));
        let notes = notes(&*disk.process(), path);
        let [old, new] = [1, 100].map(|number| {
            notes.publish(&durable(number));
            assert_eq!(notes.durable(), Some(durable(number)));
            disk.read_file(path).unwrap()
        });
        for split in (8..NOTE_LEN).step_by(8) {
            for [first, last] in [[&old, &new], [&new, &old]] {
                disk.write_file(path, &[&first[..split], &last[split..]].concat()).unwrap();
                assert_eq!(notes.durable(), None, "{split}");
            }
        }
    }

    #[test]
    fn notes_that_are_read_while_others_are_left_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SHM");
        let (writer, is_done) = (notes(&RealFs, &path), AtomicBool::new(false));
        let read = || {
            let (reader, mut seen) = (notes(&RealFs, &path), 0);
            loop {
                let is_last = is_done.load(Ordering::Acquire);
                if let Some(note) = reader.durable() {
                    assert_eq!(note, durable(note.to.end - 3));
                    assert!(note.to.end >= seen, "{} after {seen}", note.to.end);
                    seen = note.to.end;
                }
                assert!(reader.holder().is_none_or(|holder| ["set", "delete"].contains(&&*holder.command)));
                if is_last {
                    return seen;
                }
            }
        };
        std::thread::scope(|scope| {
            let reader = scope.spawn(read);
            for number in 0..100_000 {
                writer.sign(if number % 3 == 0 { "set" } else { "delete" });
                writer.publish(&durable(number));
            }
            is_done.store(true, Ordering::Release);
            assert_eq!(reader.join().unwrap(), durable(99_999).to.end);
        });
    }

    /// Without a note, the clock would go by the system's.
    #[test]
    fn a_clock_that_is_read_while_another_is_left_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("SHM");
        let (writer, is_done) = (notes(&RealFs, &path), AtomicBool::new(false));
        let leave =
            |number| writer.publish_clock(Duration::from_nanos(number), Duration::from_nanos(!number));
        leave(0).unwrap();
        let read = || {
            let (reader, mut looks) = (notes(&RealFs, &path), 0_u64);
            while !is_done.load(Ordering::Acquire) {
                let note = reader.clock().unwrap().unwrap_or_else(|| panic!("none at look {looks}"));
                let number = u64::try_from(note.clock.as_nanos()).unwrap();
                assert_eq!(note.uptime, Some(Duration::from_nanos(!number)));
                looks += 1;
            }
        };
        std::thread::scope(|scope| {
            let readers = [(); 2].map(|()| scope.spawn(read));
            for number in 0..500_000 {
                leave(number).unwrap();
            }
            is_done.store(true, Ordering::Release);
            for reader in readers {
                reader.join().unwrap();
            }
        });
    }
}
