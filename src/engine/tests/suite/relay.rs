//! Processes that write at the same time share syncs: what one was told is durable, whoever made it so, and whatever happens
//! between any two calls of another.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use super::{open, open_as, report, try_open};
use crate::db::Db;
use crate::error::Result;
use crate::options::Options;
use crate::storage::fs::sim::{Call, Fault, Op, SimFs};
use crate::types::SetOptions;

/// For those who wait for a process that is stopped.
const PATIENCE: Duration = Duration::from_millis(1);

/// What a process does between two calls of another that sets `own`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Set,
    Get,
    /// By a handle that can't write.
    Look,
    /// A turn that ends without a write, if `own` is there.
    SetIfAbsent,
    Compact,
}

const DEEDS: [Deed; 5] = [Deed::Set, Deed::Get, Deed::Look, Deed::SetIfAbsent, Deed::Compact];

impl Deed {
    /// Returns the key that the process was told is there, if any.
    fn perform(self, db: &Db) -> Result<Option<&'static str>> {
        Ok(match self {
            Self::Set => db.set("other", "v").map(|()| Some("other"))?,
            Self::Get | Self::Look => db.get("own")?.map(|_| "own"),
            Self::SetIfAbsent => {
                db.set_with("own", "v", &SetOptions::new().if_absent()).map(|_| Some("own"))?
            }
            Self::Compact => db.compact().map(|_| None)?,
        })
    }
}

type Verdict<T> = std::result::Result<T, String>;

/// What a race came to.
#[derive(Default)]
struct Race {
    /// How many calls it took to set `own`.
    calls: u64,
    /// The call before which the deed was done, and what the process was told of it.
    deed: Option<(Op, Result<Option<&'static str>>)>,
}

/// Two processes have written in turn, so that each knows of the other. One sets `own`; before its call `number` the other one does
/// its deed, and its call `failing` fails.
fn race(number: u64, deed: Deed, failing: Option<(u64, Fault)>, skips: fn(&Path) -> bool) -> Verdict<Race> {
    let disk = SimFs::new();
    let (process, options) = (disk.process(), Options::new().lock_timeout(PATIENCE));
    let (db, other) = (open_as(&process, &options).unwrap(), open_as(&disk.process(), &options).unwrap());
    for (db, key) in [(&other, "a"), (&db, "b"), (&other, "c")] {
        db.set(key, "v").unwrap();
    }
    disk.skip_syncs(skips);
    let acting = match deed {
        Deed::Look => open_as(&disk.process(), &options.clone().read_only(true)).unwrap(),
        _ => other.clone(),
    };
    let (first, calls) = (process.id(), Arc::new(AtomicU64::new(0)));
    let told = Arc::new(Mutex::new((None, Ok(()))));
    let (counted, slot) = (Arc::clone(&calls), Arc::clone(&told));
    disk.set_observer_of_all(Arc::new(move |call, disk| {
        let count = counted.fetch_add(u64::from(call.process == first), Ordering::Relaxed) + 1;
        if call.process == first && count == number {
            let outcome = deed.perform(&acting);
            let verdict = outcome.as_ref().map_or(Ok(()), |key| judge(disk, *key));
            *slot.lock().unwrap() = (Some((call.op, outcome)), verdict);
        }
        let is_due = |(failing, _): &(u64, Fault)| call.process == first && count == *failing;
        // A lock that is not given back would only be waited for.
        if let Some((_, fault)) = failing.filter(is_due).filter(|_| call.op != Op::Unlock) {
            disk.fail_at(call.number, fault);
        }
    }));
    let set = db.set("own", "v");
    disk.set_observer_of_all(Arc::new(|_, _| ()));
    let (deed, verdict) = std::mem::replace(&mut *told.lock().unwrap(), (None, Ok(())));
    verdict?;
    let acknowledged = set.as_ref().ok().map(|()| "own");
    let heard = deed.as_ref().and_then(|(_, told)| told.as_ref().ok().copied().flatten());
    judge(&disk, acknowledged)?;
    judge(&disk, heard)?;
    for key in acknowledged.into_iter().chain(heard).chain(["a", "b", "c"]) {
        for db in [&open(&disk), &other] {
            // A handle may have been told that the sync of another has failed.
            let is_there = db.get(key).map_or(failing.is_some(), |value| value.is_some());
            if !is_there {
                return Err(format!("{key} is gone"));
            }
        }
    }
    Ok(Race { calls: calls.load(Ordering::Relaxed), deed })
}

/// Whether a key that somebody was told of, and what was there before, survives a power loss now.
fn judge(disk: &SimFs, key: Option<&'static str>) -> Verdict<()> {
    let [nothing_kept, _] = disk.power_loss_extremes();
    for loss in [nothing_kept, disk.power_loss(disk.calls())] {
        let db = try_open(&loss, &Options::new()).map_err(|error| error.to_string())?;
        for key in key.into_iter().chain(["a", "b", "c"]) {
            match db.get(key) {
                Ok(Some(_)) => {}
                found => return Err(format!("{key} did not survive a power loss: {found:?}")),
            }
        }
    }
    Ok(())
}

/// Races with each deed, before each call; those that went wrong, how many there were, and in how many the deed was done while the
/// other process synced.
fn races(faults: &[Fault], skips: fn(&Path) -> bool) -> (Vec<String>, u64, u64) {
    let (mut wrong, mut count, mut shared) = (Vec::new(), 0, 0);
    let calls = race(0, Deed::Get, None, |_| false).unwrap().calls;
    for (deed, number) in DEEDS.into_iter().flat_map(|deed| (1..=calls).map(move |number| (deed, number))) {
        let failing = |fault: Fault| [number, number + 1, calls].map(|failing| Some((failing, fault)));
        for failing in faults.iter().copied().flat_map(failing).chain([None]) {
            count += 1;
            match race(number, deed, failing, skips) {
                Err(what) => wrong.push(format!("{deed:?} before call {number}, {failing:?}: {what}")),
                Ok(Race { deed: Some((Op::SyncData, Ok(_))), .. }) => shared += 1,
                Ok(_) => {}
            }
        }
    }
    (wrong, count, shared)
}

#[test]
fn whatever_others_do_between_two_calls_what_they_were_told_is_durable() {
    let (wrong, count, shared) = races(&[Fault::Eio, Fault::Kill], |_| false);
    report("relay", &format!("{count} races, in {shared} of them while the other process synced"));
    assert_eq!(wrong, [] as [String; 0]);
    assert!(shared > 5, "{shared}");
}

/// Runs `act` once, when a process is about to sync the log.
fn on_sync(disk: &SimFs, process: u64, act: impl Fn(&SimFs, &Call) + Send + Sync + 'static) {
    let begun = AtomicBool::new(false);
    disk.set_observer(Arc::new(move |call, disk| {
        let is_log =
            call.op == Op::SyncData && call.path.extension().is_some_and(|extension| extension == "wal");
        if call.process == process && is_log && !begun.swap(true, Ordering::SeqCst) {
            act(disk, call);
        }
    }));
}

/// The record of a process whose sync failed is on the way to the device with that of one that came later.
#[test]
fn what_others_failed_to_sync_is_repeated() {
    let disk = SimFs::new();
    let (process, other) = (disk.process(), open(&disk));
    let db = open_as(&process, &Options::new()).unwrap();
    for (db, key) in [(&other, "a"), (&db, "b"), (&other, "c")] {
        db.set(key, "v").unwrap();
    }
    on_sync(&disk, process.id(), |disk, call| disk.fail_at(call.number, Fault::Eio));
    // Larger than what another record shares with it on the device.
    assert!(db.set("failed", vec![1; 5_000]).is_err());
    let late = open(&disk);
    late.set("own", "v").unwrap();
    judge(&disk, Some("own")).unwrap();
    judge(&disk, late.get("failed").unwrap().map(|_| "failed")).unwrap();
}

/// A turn goes on upon what another process is about to sync. Other threads of its process must not see that yet.
#[test]
fn threads_do_not_see_what_their_turn_found_before_it_is_durable() {
    let (mut seen, mut unseen) = (0, 0);
    for number in 1..25 {
        let disk = SimFs::new();
        let process = disk.process();
        let (db, other) = (open(&disk), open_as(&process, &Options::new().lock_timeout(PATIENCE)).unwrap());
        for (db, key) in [(&db, "a"), (&other, "b"), (&db, "c")] {
            db.set(key, "v").unwrap();
        }
        let (calls, verdict) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(None)));
        let (slot, reader) = (Arc::clone(&verdict), db.clone());
        on_sync(&disk, process.id(), move |disk, _| {
            let (counted, slot, reader) = (Arc::clone(&calls), Arc::clone(&slot), reader.clone());
            disk.set_observer_of_all(Arc::new(move |_, disk| {
                if counted.fetch_add(1, Ordering::SeqCst) + 1 == number {
                    let (told, tells) = mpsc::channel();
                    let reader = reader.clone();
                    std::thread::spawn(move || told.send(reader.get("theirs").unwrap().is_some()));
                    // It may have to wait for the turn, and that waits here.
                    let is_seen = tells.recv_timeout(Duration::from_millis(20)).unwrap_or(false);
                    *slot.lock().unwrap() = Some((is_seen, judge(&disk.clone_disk(), Some("theirs"))));
                }
            }));
            db.set("own", "v").unwrap();
            disk.set_observer_of_all(Arc::new(|_, _| ()));
        });
        other.set("theirs", "v").unwrap();
        match verdict.lock().unwrap().take() {
            Some((true, survives)) => {
                survives.unwrap_or_else(|what| panic!("call {number}: {what}"));
                seen += 1;
            }
            Some((false, _)) => unseen += 1,
            None => {}
        }
    }
    assert!(unseen > 5, "{seen} {unseen}");
}

/// Two threads of a handle have shared their last sync, which took long: so the next turn lingers for another one.
fn share_a_sync(disk: &SimFs, process: u64, db: &Db) {
    let begun = Arc::new(AtomicBool::new(false));
    let begins = Arc::clone(&begun);
    disk.set_observer(Arc::new(move |call, _| {
        if call.process == process && call.op == Op::SyncData {
            begins.store(true, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(20));
        }
    }));
    std::thread::scope(|scope| {
        scope.spawn(|| db.set("alone", "v").unwrap());
        while !begun.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        scope.spawn(|| db.set("one", "v").unwrap());
        scope.spawn(|| db.set("other", "v").unwrap());
    });
}

/// While the leader of a group lingers, another thread could read what its turn found.
#[test]
fn nobody_sees_what_a_lingering_turn_found_before_it_is_durable() {
    let mut late = 0;
    for _ in 0..20 {
        let disk = SimFs::new();
        let (theirs, ours) = (disk.process(), disk.process());
        let other = open_as(&theirs, &Options::new().lock_timeout(PATIENCE)).unwrap();
        other.set("a", "v").unwrap();
        let db = open_as(&ours, &Options::new()).unwrap();
        assert!(db.get("a").unwrap().is_some());
        share_a_sync(&disk, ours.id(), &db);
        let [begun, seen, early] = [(); 3].map(|()| Arc::new(AtomicBool::new(false)));
        let (process, reads, too_early) = (ours.id(), Arc::clone(&seen), Arc::clone(&early));
        on_sync(&disk, theirs.id(), move |disk, _| {
            // What the other process wrote is not on the device before this one has written it again.
            let (begins, saw, early) = (Arc::clone(&begun), Arc::clone(&reads), Arc::clone(&too_early));
            disk.set_observer_of_all(Arc::new(move |call, _| {
                let is_ours = call.process == process;
                if is_ours && matches!(call.op, Op::TryLock(_)) {
                    begins.store(true, Ordering::SeqCst);
                }
                if is_ours && call.op == Op::Write && saw.load(Ordering::SeqCst) {
                    early.store(true, Ordering::SeqCst);
                }
            }));
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !begun.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    }
                    reads.store(db.get("theirs").unwrap().is_some(), Ordering::SeqCst);
                });
                db.set("own", "v").unwrap();
            });
            disk.set_observer_of_all(Arc::new(|_, _| ()));
        });
        other.set("theirs", "v").unwrap();
        assert!(!early.load(Ordering::SeqCst), "it was read before it was on the device");
        late += u64::from(seen.load(Ordering::SeqCst));
    }
    assert!(late > 10, "{late}");
}

#[test]
fn a_log_that_is_not_synced_is_noticed() {
    let (wrong, count, _) = races(&[], |path| path.extension().is_some_and(|extension| extension == "wal"));
    report("relay", &format!("{} of {count} races go wrong without syncs of the log", wrong.len()));
    assert!(wrong.len() > 20, "{}", wrong.len());
}
