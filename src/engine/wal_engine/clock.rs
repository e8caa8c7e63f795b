//! The database's own clock: by it things expire. It never goes back, whatever becomes of the system's.
//!
//! ```text
//!               ┌ the system's clock
//!  now = latest ┤ this handle's last reading,  and how long the machine was up since
//!               │ the note of any process,     and how long the machine was up since (of another boot: as it stands)
//!               └ the manifest's clock
//! ```
//!
//! 1. A handle never reads an earlier time than it did before. Neither does any process of the same boot than another did: a
//!    reading that is ahead of the note is noted before it is used. Where it can't be noted, or the note can't be read, nothing
//!    is told or done by it: that is an error. Only who may not write goes by a time that others do not know.
//! 2. Set back, the system's clock changes nothing: the database's goes on from where it was, at its pace. Set forward, it takes
//!    the database's with it, for good.
//! 3. What was left out of tables because it had expired has expired by the clock of the manifest that names them, and no
//!    handle that knows the manifest reads an earlier time: it stays expired after any crash.
//!
//! What only notes say can be lost with the power, and with a machine that has no boot id: if its clock is set back as well, what
//! had expired since the last flush or merge may be there again. Notes of an earlier boot are at most [`NOTE_AGE`] behind.
//!
//! Where nothing ever expired no time is asked for but the system's, and no note is left.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::storage::fs::Moment;
use crate::storage::shm::{ClockNote, Notes};
use crate::types::Timestamp;

/// A note is renewed when it is as old as this, for the sake of the next boot.
const NOTE_AGE: Duration = Duration::from_mins(1);

/// The clock of one handle.
#[derive(Debug, Default)]
pub(super) struct Clock {
    /// Something in the database expires, or did.
    is_used: AtomicBool,
    last: Mutex<Reading>,
    /// The last reading may be ahead of what others read, or behind it.
    is_private: AtomicBool,
}

/// A time that was read, and when.
#[derive(Clone, Copy, Debug, Default)]
struct Reading {
    clock: Duration,
    uptime: Duration,
}

impl Reading {
    /// What it comes to at another moment of the same boot.
    fn at(self, uptime: Duration) -> Duration {
        self.clock + uptime.saturating_sub(self.uptime)
    }
}

impl Clock {
    /// Something expires: from now on the time matters.
    pub(super) fn begin(&self) {
        self.is_used.store(true, Ordering::Relaxed);
    }

    /// Whether anything expires, as far as this handle knows.
    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Whether the last reading may not be the time that others go by, unless that was [forgotten](Self::forget).
    pub(super) fn is_private(&self) -> bool {
        self.is_private.load(Ordering::Relaxed)
    }

    /// Nobody goes by earlier readings any more.
    pub(super) fn forget(&self) {
        self.is_private.store(false, Ordering::Relaxed);
    }

    /// No time before this is read any more.
    pub(super) fn keep_up_with(&self, manifest: Timestamp, moment: Moment) {
        self.begin();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let clock = last.at(moment.uptime).max(Duration::from_millis(manifest.unix_millis()));
        *last = Reading { clock, uptime: moment.uptime };
    }

    /// The time, and whether all others go by it too: an error when it could not be compared with theirs, or noted for them.
    pub(super) fn now(&self, moment: Moment, notes: &Notes) -> (Timestamp, io::Result<()>) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let own = last.at(moment.uptime).max(moment.wall);
        let (clock, is_common) = match notes.clock() {
            Ok(note) => agree(own, note, moment, notes),
            // What is not known is not overwritten either.
            Err(error) => (own, Err(error)),
        };
        *last = Reading { clock, uptime: moment.uptime };
        self.is_private.store(is_common.is_err(), Ordering::Relaxed);
        (Timestamp::nearest(clock), is_common)
    }
}

/// The later one of a reading and of what a note comes to, which is noted if that says less.
fn agree(
    own: Duration,
    note: Option<ClockNote>,
    moment: Moment,
    notes: &Notes,
) -> (Duration, io::Result<()>) {
    let (written, said) = match note {
        Some(ClockNote { clock, uptime: Some(uptime) }) => {
            (clock, Reading { clock, uptime }.at(moment.uptime))
        }
        Some(ClockNote { clock, uptime: None }) => (Duration::ZERO, clock),
        None => Default::default(),
    };
    let clock = own.max(said);
    // Times are told apart by the millisecond.
    let is_ahead = said.as_millis() < clock.as_millis();
    let published = if is_ahead || clock > written + NOTE_AGE {
        notes.publish_clock(clock, moment.uptime)
    } else {
        Ok(())
    };
    // To renew a note is for the sake of the next boot only.
    (clock, published.or_else(|error| if is_ahead { Err(error) } else { Ok(()) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs::sim::SimFs;
    use crate::storage::fs::{Fs, OpenMode};

    fn moment(wall: u64, uptime: u64) -> Moment {
        Moment { wall: Duration::from_secs(wall), uptime: Duration::from_secs(uptime) }
    }

    fn notes(disk: &SimFs, boot_id: u128) -> Notes {
        let file = disk.process().open("/SHM".as_ref(), OpenMode::OpenOrCreate).unwrap();
        Notes::new(Some(file), boot_id)
    }

    fn seconds((now, _): (Timestamp, io::Result<()>)) -> u64 {
        now.unix_millis() / 1_000
    }

    #[test]
    fn a_clock_that_is_set_back_goes_on_for_every_process() {
        let disk = SimFs::new();
        let (first, second) = (Clock::default(), Clock::default());
        assert_eq!(seconds(first.now(moment(1_000, 10), &notes(&disk, 1))), 1_000);
        assert_eq!(seconds(second.now(moment(400, 15), &notes(&disk, 1))), 1_005);
        assert_eq!(seconds(first.now(moment(410, 25), &notes(&disk, 1))), 1_015);
        assert_eq!(seconds(Clock::default().now(moment(411, 26), &notes(&disk, 1))), 1_016);
    }

    #[test]
    fn a_clock_that_is_set_forward_is_followed_for_good() {
        let disk = SimFs::new();
        assert_eq!(seconds(Clock::default().now(moment(1_000, 10), &notes(&disk, 1))), 1_000);
        assert_eq!(seconds(Clock::default().now(moment(9_000, 11), &notes(&disk, 1))), 9_000);
        assert_eq!(seconds(Clock::default().now(moment(1_002, 12), &notes(&disk, 1))), 9_001);
    }

    #[test]
    fn after_a_boot_the_note_stands_where_it_was() {
        let disk = SimFs::new();
        seconds(Clock::default().now(moment(1_000, 500), &notes(&disk, 1)));
        seconds(Clock::default().now(moment(1_059, 559), &notes(&disk, 1)));
        assert_eq!(seconds(Clock::default().now(moment(300, 5), &notes(&disk, 2))), 1_000);
        assert_eq!(seconds(Clock::default().now(moment(310, 15), &notes(&disk, 2))), 1_010);
        seconds(Clock::default().now(moment(2_000, 500), &notes(&disk, 2)));
        seconds(Clock::default().now(moment(2_061, 561), &notes(&disk, 2)));
        assert_eq!(seconds(Clock::default().now(moment(300, 5), &notes(&disk, 3))), 2_061);
    }

    #[test]
    fn without_notes_a_handle_still_never_goes_back() {
        let (clock, none) = (Clock::default(), Notes::new(None, 1));
        assert_eq!(seconds(clock.now(moment(1_000, 10), &none)), 1_000);
        assert_eq!(seconds(clock.now(moment(10, 20), &none)), 1_010);
        clock.keep_up_with(Timestamp::nearest(Duration::from_secs(5_000)), moment(10, 30));
        assert_eq!(seconds(clock.now(moment(10, 40), &none)), 5_010);
        clock.keep_up_with(Timestamp::nearest(Duration::from_secs(2_000)), moment(10, 40));
        assert_eq!(seconds(clock.now(moment(10, 40), &none)), 5_010);
    }

    #[test]
    fn times_that_are_none_become_the_nearest_that_are() {
        assert_eq!(Timestamp::nearest(Duration::ZERO), Timestamp::MIN);
        assert_eq!(Timestamp::nearest(Duration::MAX), Timestamp::MAX);
    }
}
