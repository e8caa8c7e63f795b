//! Catching up: a handle reads the log from the manifest to its end, and from there to its new end after others wrote.
//!
//! 1. Without the lock, read what is there: a long history must not keep writers waiting. What is read is not shown yet.
//! 2. Take the lock. If the last record read is another one now (its writer died before it was durable), start again
//!    from the manifest. Read the rest.
//! 3. Where reading stops, decide whether the log ends there ([`Follower::settle`]).
//! 4. What is not known to be durable is synced and read back from the device. If it is not there, start again; if it is,
//!    write it once more, because a page that some process has mapped is read from memory. A manifest that brought in a batch is
//!    the only trace of it: where nothing proves that it is durable, its directory is synced.
//! 5. Where a note says that it is on its way to the device ([`relay`](super::relay)), wait for who syncs it. A turn does not
//!    wait: its own write repeats what is not durable, so that its sync covers that too, and until then the memory is not shown.

use super::follow::{Follower, MAX_RESTARTS, Stop, read_manifest};
use super::{Inner, Memory, Published, WalEngine, is_behind};
use crate::error::{Error, Notice, Result};
use crate::storage::Place;
use crate::storage::fs::LockKind;
use crate::storage::manifest::Manifest;
use crate::storage::shm::{Durable, Extent};
use crate::types::{Lsn, SyncMode};

/// What somebody needs the log for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// To show what is in it, or to replace it by files: all of it has to be durable.
    Show,
    /// To append a write that is synced: what is in it may be durable together with that.
    Append,
}

impl<M: Memory> WalEngine<M> {
    /// Takes `LOCK` and brings the memory up to date under it. After an error the lock is free again.
    pub(super) fn catch_up(&self, inner: &mut Inner, kind: LockKind, verb: &str) -> Result<()> {
        self.catch_up_for(Purpose::Show, inner, kind, verb)
    }

    /// The same, for a turn: what others wrote may not be durable yet, and is not shown then.
    pub(super) fn catch_up_to_append(&self, inner: &mut Inner, verb: &str) -> Result<()> {
        let is_group = self.sync == SyncMode::Group && self.notes.are_kept();
        let purpose = if is_group { Purpose::Append } else { Purpose::Show };
        let (was_shown, before) = (self.published().tail.is_some(), inner.follower.segment.mark());
        self.catch_up_for(purpose, inner, LockKind::Exclusive, verb)?;
        let follower = &inner.follower;
        let others_wrote = follower.is_pending() || (was_shown && follower.segment.mark() != before);
        inner.groups.company.observe(is_group && others_wrote);
        Ok(())
    }

    fn catch_up_for(&self, purpose: Purpose, inner: &mut Inner, kind: LockKind, verb: &str) -> Result<()> {
        if !self.is_up_to_date(inner) {
            self.read_ahead(inner);
        }
        inner.groups.held_since = Some(self.acquire(kind, verb)?);
        if self.is_up_to_date(inner) {
            return Ok(());
        }
        let caught_up = self.catch_up_locked(purpose, inner);
        if let Err(error) = &caught_up {
            self.set_adrift(inner);
            self.lock.release();
            if let Error::Poisoned { cause } = error {
                inner.poisoned = Some(cause.clone());
            }
        }
        caught_up
    }

    /// Whether the log ends where it did: with the same record, and with the same bytes behind it.
    fn is_up_to_date(&self, inner: &Inner) -> bool {
        !inner.adrift
            && is_behind(&self.published()).is_ok_and(|behind| !behind)
            && inner.follower.segment.last_is_unchanged().unwrap_or(false)
    }

    /// Has the next command begin again from the manifest.
    pub(super) fn set_adrift(&self, inner: &mut Inner) {
        inner.adrift = true;
        self.published_mut().tail = None;
    }

    /// Step 1: what can be read without the lock. It is not shown before the handle has caught up, and nothing is decided
    /// here: what goes wrong is tried again under the lock.
    fn read_ahead(&self, inner: &mut Inner) {
        let mut published = self.published_mut();
        let before = inner.follower.segment.mark();
        inner.adrift |= self.try_to_read_ahead(inner, &mut published).is_err();
        if inner.adrift || inner.follower.segment.mark() != before {
            published.tail = None;
        }
    }

    fn try_to_read_ahead(&self, inner: &mut Inner, published: &mut Published<M>) -> Result<()> {
        for _ in 0..MAX_RESTARTS {
            if inner.adrift || inner.follower.replay(&mut published.memory, false, None)? == Stop::Gone {
                self.restart(inner, published)?;
            } else {
                break;
            }
        }
        Ok(())
    }

    /// Steps 2 to 4.
    fn catch_up_locked(&self, purpose: Purpose, inner: &mut Inner) -> Result<()> {
        let mut published = self.published_mut();
        let note = self.notes.durable();
        let mut suspicious = inner.adrift || !inner.follower.segment.last_is_unchanged()?;
        if suspicious {
            self.restart(inner, &mut published)?;
        }
        for _ in 0..MAX_RESTARTS {
            let stop = inner.follower.replay(&mut published.memory, true, note.as_ref())?;
            if stop != Stop::Gone {
                let dropped = inner.follower.settle(stop, note.as_ref(), suspicious)?;
                let follower = &mut inner.follower;
                let is_settled = follower.heed(note.as_ref())
                    || (purpose == Purpose::Append && follower.may_repeat(self.notes.written().as_ref()))
                    || self.settle_pending(follower)?;
                if is_settled {
                    if std::mem::take(&mut inner.follower.crossed)
                        && !self.look_for_a_manifest(inner, &mut published)?
                    {
                        self.restart(inner, &mut published)?;
                        continue;
                    }
                    self.prove_manifest(inner, note.as_ref())?;
                    self.report(inner, note.as_ref(), dropped);
                    let is_durable = !inner.follower.is_pending();
                    let tail = is_durable.then(|| inner.follower.tail()).transpose()?;
                    published.show(&inner.follower, tail);
                    return Ok(());
                }
            }
            suspicious = true;
            self.restart(inner, &mut published)?;
        }
        Err(inner.follower.corruption("the log changes while it is locked".into()))
    }

    /// Takes up what another process made of the log that is behind us. The log went on to another segment: it may have. `false`
    /// when the manifest brought in what the memory can't take up.
    fn look_for_a_manifest(&self, inner: &mut Inner, published: &mut Published<M>) -> Result<bool> {
        let manifest = read_manifest(&self.place)?;
        if manifest.first == inner.follower.first {
            return Ok(true);
        }
        if M::NEEDS_EVERY_BATCH && manifest.bulk > inner.follower.bulk {
            return Ok(false);
        }
        inner.follower.unproven = manifest.bulk;
        self.adopt(inner, published, &manifest)?;
        Ok(true)
    }

    /// Takes up the manifest that is in force: something that the one before led to is gone.
    ///
    /// # Errors
    /// As [`Engine::get`](crate::engine::Engine::get).
    pub(crate) fn take_up_manifest(&self) -> Result<()> {
        if self.is_in_turn() {
            // The thread's turn has `LOCK` and the follower.
            let manifest = read_manifest(&self.place)?;
            let mut published = self.published_mut();
            self.keep_up_with(manifest.clock);
            published.clock = manifest.clock;
            return published.memory.adopt(&self.place, &manifest);
        }
        let mut inner = self.inner();
        inner.check_usable()?;
        let has_lock = inner.groups.hold_the_lock();
        if !has_lock {
            self.catch_up(&mut inner, LockKind::Shared, "read")?;
        }
        let manifest = read_manifest(&self.place);
        let taken_up =
            manifest.and_then(|manifest| self.adopt(&mut inner, &mut self.published_mut(), &manifest));
        if !has_lock {
            self.lock.release();
        }
        taken_up
    }

    /// Makes sure that what the manifest brought in is durable. A note or a record behind it was written by somebody who had.
    fn prove_manifest(&self, inner: &mut Inner, note: Option<&Durable>) -> Result<()> {
        let Follower { unproven, ref segment, .. } = inner.follower;
        let noted = note.map_or(Lsn::ZERO, |note| note.to.lsn);
        if unproven > noted && unproven >= segment.position().lsn {
            let Place { fs, dir } = &self.place;
            fs.sync_dir(dir)
                .map_err(|error| Error::Poisoned { cause: Error::io("sync", dir, error).to_string() })?;
        }
        inner.follower.unproven = Lsn::ZERO;
        Ok(())
    }

    /// Goes on from the manifest that is in force. The log was read to its end, and `LOCK` is held.
    pub(super) fn adopt(
        &self,
        inner: &mut Inner,
        published: &mut Published<M>,
        manifest: &Manifest,
    ) -> Result<()> {
        inner.follower.rebased(manifest);
        published.log_bytes = inner.follower.log_bytes();
        published.totals = manifest.totals;
        self.keep_up_with(manifest.clock);
        (published.clock, published.expires) = (inner.follower.clock(), inner.follower.expires());
        published.memory.adopt(&self.place, manifest)
    }

    /// Begins again from the manifest.
    fn restart(&self, inner: &mut Inner, published: &mut Published<M>) -> Result<()> {
        published.tail = None;
        inner.adrift = true;
        let manifest = read_manifest(&self.place)?;
        let load = |place: &Place, manifest: &Manifest| published.memory.load_again(place, manifest);
        (inner.follower, published.memory) =
            Follower::load(&self.place, self.read_only.is_none(), manifest, &load)?;
        self.keep_up_with(inner.follower.clock());
        inner.adrift = false;
        Ok(())
    }

    /// Leaves a note for others, and tells the user of dropped bytes unless somebody did.
    fn report(&self, inner: &Inner, note: Option<&Durable>, dropped: bool) {
        let now = durable_note(inner, dropped);
        if note == Some(&now) || inner.follower.is_pending() && !dropped {
            return;
        }
        if dropped {
            let segment = &inner.follower.segment;
            self.notify(Notice::TornTail {
                file: segment.path().to_owned(),
                offset: segment.position().offset,
                lsn: segment.position().lsn.next(),
            });
        }
        self.notes.publish(&now);
    }

    /// Says how far the log is durable now. `LOCK` is held.
    pub(super) fn leave_note(&self, inner: &Inner) {
        self.notes.publish(&durable_note(inner, false));
    }
}

fn durable_note(inner: &Inner, dropped: bool) -> Durable {
    let segment = &inner.follower.segment;
    let to = Extent { life: segment.life(), end: segment.position().offset, lsn: inner.follower.durable() };
    Durable { to, dropped }
}
