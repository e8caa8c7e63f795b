//! What the simulated disk promises, behaviour by behaviour.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::*;
use crate::storage::fs::{File, Fs, read_full_at, write_all_at};

const SEEDS: std::ops::Range<u64> = 0..300;

fn new_disk() -> (SimFs, Arc<SimProcess>) {
    let disk = SimFs::new();
    let process = disk.process();
    (disk, process)
}

/// Makes a file whose name is durable and whose bytes are not.
fn create(process: &SimProcess, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let path = Path::new(path);
    let file = process.open(path, OpenMode::CreateNew).unwrap();
    process.sync_dir(path.parent().unwrap()).unwrap();
    write_all_at(&*file, bytes, 0).unwrap();
    file
}

/// Makes a file that is durable as a whole.
fn create_synced(process: &SimProcess, path: &str, bytes: &[u8]) -> Arc<dyn File> {
    let file = create(process, path, bytes);
    file.sync_data().unwrap();
    file
}

/// The disk with nothing unsynced kept.
fn durable(disk: &SimFs) -> SimFs {
    let [nothing_kept, _] = disk.power_loss_extremes();
    nothing_kept
}

/// Everything that the seeds make of a disk, as `view` sees it.
fn outcomes<T: Ord>(lose: impl Fn(u64) -> SimFs, view: impl Fn(&SimFs) -> T) -> BTreeSet<T> {
    SEEDS.map(|seed| view(&lose(seed))).collect()
}

fn names(disk: &SimFs) -> Vec<String> {
    disk.list("/").unwrap().into_iter().map(|name| name.to_str().unwrap().to_owned()).collect()
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.err().expect("the call should fail").kind()
}

fn errno<T>(result: io::Result<T>) -> i32 {
    result.err().and_then(|error| error.raw_os_error()).expect("the call should fail with an errno")
}

#[test]
fn synced_bytes_under_a_synced_name_always_survive() {
    let (disk, process) = new_disk();
    create_synced(&process, "/f", b"value");
    for lost in SEEDS.map(|seed| disk.power_loss(seed)).chain(disk.power_loss_extremes()) {
        assert_eq!(lost.read_file("/f").unwrap(), b"value");
    }
}

#[test]
fn unsynced_bytes_are_kept_or_lost() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", b"old");
    write_all_at(&*file, b"new", 0).unwrap();
    assert_eq!(disk.read_file("/f").unwrap(), b"new");
    let read = |disk: &SimFs| disk.read_file("/f").unwrap();
    let [nothing, everything] = disk.power_loss_extremes();
    assert_eq!((read(&nothing), read(&everything)), (b"old".to_vec(), b"new".to_vec()));
    let found = outcomes(|seed| disk.power_loss(seed), read);
    assert_eq!(found, BTreeSet::from([b"old".to_vec(), b"new".to_vec()]));
}

#[test]
fn equal_seeds_lose_the_same() {
    let (disk, process) = new_disk();
    create(&process, "/f", &[7; 10_000]);
    for seed in SEEDS {
        let [first, second] = [disk.power_loss(seed), disk.power_loss(seed)];
        assert_eq!(first.read_file("/f").unwrap(), second.read_file("/f").unwrap());
    }
}

#[test]
fn writes_tear_at_512_bytes_only_and_in_any_order() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", &[b'o'; 4 * 512]);
    write_all_at(&*file, &[b'n'; 2 * 512], 256).unwrap();
    let new_sectors = [512, 512, 256].map(|len| [b'n'].repeat(len));
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let bytes = disk.power_loss(seed).read_file("/f").unwrap();
        assert!(bytes[..256].iter().chain(&bytes[5 * 256..]).all(|&byte| byte == b'o'));
        let written = [&bytes[256..512], &bytes[512..1024], &bytes[1024..1280]];
        for sector in written {
            assert!(sector.iter().all(|byte| *byte == sector[0]), "torn inside a sector");
        }
        found.insert(written.map(|sector| sector[0] == new_sectors[0][0]));
    }
    assert_eq!(found.len(), 8, "every combination of three sectors");
}

#[test]
fn an_unsynced_length_is_kept_lost_or_cut_at_a_sector() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", &[1; 100]);
    write_all_at(&*file, &[1; 2000], 100).unwrap();
    let lens = outcomes(|seed| disk.power_loss(seed), |disk| disk.read_file("/f").unwrap().len());
    assert_eq!(lens, BTreeSet::from([100, 512, 1024, 1536, 2048, 2100]));
    for seed in SEEDS {
        let bytes = disk.power_loss(seed).read_file("/f").unwrap();
        assert!(bytes[..100].iter().all(|&byte| byte == 1));
    }
}

#[test]
fn a_lost_sector_of_a_kept_length_reads_as_zeros() {
    let (disk, process) = new_disk();
    create(&process, "/f", &[1; 1024]);
    let found = outcomes(|seed| disk.power_loss(seed), |disk| disk.read_file("/f").unwrap());
    assert!(found.contains(&vec![0; 1024]), "a zero-filled file is possible");
    assert!(found.contains(&vec![]), "an empty file is possible");
}

#[test]
fn bytes_cut_off_by_a_power_loss_do_not_come_back() {
    let (disk, process) = new_disk();
    create(&process, "/f", &[1; 8192]);
    for seed in SEEDS {
        let lost = disk.power_loss(seed);
        let len = lost.read_file("/f").unwrap().len();
        let file = lost.process().open(Path::new("/f"), OpenMode::Write).unwrap();
        write_all_at(&*file, &[2], 8191).unwrap();
        assert!(lost.read_file("/f").unwrap()[len..].iter().all(|&byte| byte != 1));
        lost.set_capacity(8192);
        write_all_at(&*file, &[3; 8192], 0).unwrap();
        assert_eq!(kind(file.write_at(b"x", 8192)), io::ErrorKind::StorageFull, "lost blocks are free");
    }
}

#[test]
fn a_name_needs_a_synced_directory() {
    let (disk, process) = new_disk();
    let file = process.open(Path::new("/f"), OpenMode::OpenOrCreate).unwrap();
    write_all_at(&*file, b"value", 0).unwrap();
    file.sync_data().unwrap();
    assert!(names(&durable(&disk)).is_empty(), "syncing the file does nothing for its name");
    process.sync_dir(Path::new("/")).unwrap();
    assert_eq!(durable(&disk).read_file("/f").unwrap(), b"value");
}

#[test]
fn a_removed_name_comes_back_with_its_bytes_until_the_directory_is_synced() {
    let (disk, process) = new_disk();
    drop(create_synced(&process, "/f", b"value"));
    process.create_dir(Path::new("/d")).unwrap();
    process.remove_file(Path::new("/f")).unwrap();
    process.sync_dir(Path::new("/d")).unwrap();
    assert_eq!(names(&disk), ["d"]);
    assert_eq!(durable(&disk).read_file("/f").unwrap(), b"value");
    process.sync_dir(Path::new("/")).unwrap();
    assert_eq!(names(&durable(&disk)), ["d"]);
}

#[test]
fn a_rename_is_atomic_in_every_mode() {
    let (disk, process) = new_disk();
    create_synced(&process, "/now", b"old");
    let temporary = process.open(Path::new("/tmp"), OpenMode::CreateNew).unwrap();
    write_all_at(&*temporary, b"new", 0).unwrap();
    temporary.sync_data().unwrap();
    process.rename(Path::new("/tmp"), Path::new("/now")).unwrap();
    let view = |disk: &SimFs| (disk.read_file("/now").unwrap(), names(disk).len());
    let allowed = [(b"old".to_vec(), 1), (b"old".to_vec(), 2), (b"new".to_vec(), 1)].into();
    assert_eq!(outcomes(|seed| disk.power_loss(seed), view), allowed);
    assert_eq!(outcomes(|seed| disk.power_loss_unordered(seed), view), allowed);
}

#[test]
fn a_journal_loses_directory_changes_from_the_end_only() {
    let (disk, process) = new_disk();
    for path in ["/a", "/b", "/c"] {
        process.open(Path::new(path), OpenMode::CreateNew).unwrap();
    }
    let ordered = outcomes(|seed| disk.power_loss(seed), names);
    let prefixes: [&[&str]; 4] = [&[], &["a"], &["a", "b"], &["a", "b", "c"]];
    assert_eq!(ordered, prefixes.map(|names| names.iter().map(ToString::to_string).collect()).into());
    assert_eq!(outcomes(|seed| disk.power_loss_unordered(seed), names).len(), 8, "every subset");
}

#[test]
fn a_directory_moved_into_place_has_only_the_entries_it_was_synced_with() {
    let (disk, process) = new_disk();
    process.create_dir(Path::new("/tmp")).unwrap();
    create_synced(&process, "/tmp/synced", b"1");
    process.open(Path::new("/tmp/unsynced"), OpenMode::CreateNew).unwrap();
    process.rename(Path::new("/tmp"), Path::new("/db")).unwrap();
    assert!(names(&durable(&disk)).is_empty());
    process.sync_dir(Path::new("/")).unwrap();
    let after = durable(&disk);
    assert_eq!(names(&after), ["db"]);
    assert_eq!(after.list("/db").unwrap(), [PathBuf::from("synced")]);
    let inner = outcomes(|seed| disk.power_loss(seed), |disk| disk.list("/db").unwrap().len());
    assert_eq!(inner, BTreeSet::from([1, 2]));
}

#[test]
fn keeping_everything_is_the_live_state() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", &[1; 3000]);
    write_all_at(&*file, &[2; 3000], 1000).unwrap();
    process.rename(Path::new("/f"), Path::new("/g")).unwrap();
    process.create_dir(Path::new("/d")).unwrap();
    let [_, everything] = disk.power_loss_extremes();
    assert_eq!(names(&everything), names(&disk));
    assert_eq!(everything.read_file("/g").unwrap(), disk.read_file("/g").unwrap());
}

#[test]
fn a_failed_sync_is_never_made_good_by_a_later_one() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", &[b'o'; 1024]);
    write_all_at(&*file, &[b'n'; 512], 0).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::Eio);
    assert_eq!(errno(file.sync_data()), Errno::IO.raw_os_error());
    write_all_at(&*file, &[b'l'; 512], 512).unwrap();
    file.sync_data().unwrap();
    let expect = |first: u8| [[first; 512], [b'l'; 512]].concat();
    assert_eq!(disk.read_file("/f").unwrap(), expect(b'n'), "reads still see it");
    assert_eq!(durable(&disk).read_file("/f").unwrap(), expect(b'o'));
    file.drop_cache().unwrap();
    assert_eq!(disk.read_file("/f").unwrap(), expect(b'o'), "the device never got it");
}

#[test]
fn bytes_written_again_after_a_failed_sync_can_be_synced() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", &[1; 600]);
    disk.fail_at(disk.calls() + 1, Fault::Enospc);
    assert_eq!(kind(file.sync_data()), io::ErrorKind::StorageFull);
    file.sync_data().unwrap();
    assert!(durable(&disk).read_file("/f").unwrap().is_empty(), "nor is the length made good");
    write_all_at(&*file, &[2; 600], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(durable(&disk).read_file("/f").unwrap(), [2; 600]);
}

#[test]
fn dropping_the_cache_keeps_unsynced_bytes() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", b"dirty");
    file.drop_cache().unwrap();
    assert_eq!(disk.read_file("/f").unwrap(), b"dirty");
}

#[test]
fn a_failed_directory_sync_leaves_its_changes_unsynced() {
    let (disk, process) = new_disk();
    process.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::Eio);
    assert!(process.sync_dir(Path::new("/")).is_err());
    assert!(names(&durable(&disk)).is_empty());
}

#[test]
fn skipped_syncs_succeed_and_do_nothing() {
    let (disk, process) = new_disk();
    disk.skip_syncs(|path| path == Path::new("/f"));
    let file = create(&process, "/f", b"value");
    file.sync_data().unwrap();
    assert!(durable(&disk).read_file("/f").unwrap().is_empty());
    disk.skip_syncs(|path| path == Path::new("/"));
    process.open(Path::new("/g"), OpenMode::CreateNew).unwrap();
    process.sync_dir(Path::new("/")).unwrap();
    assert_eq!(names(&durable(&disk)), ["f"]);
}

#[test]
fn locks_exclude_each_other_as_flock_does() {
    let (disk, process) = new_disk();
    disk.write_file("/LOCK", b"").unwrap();
    let open = || process.open(Path::new("/LOCK"), OpenMode::Read).unwrap();
    let (first, second) = (open(), open());
    assert!(first.try_lock(LockKind::Shared).unwrap() && second.try_lock(LockKind::Shared).unwrap());
    assert!(!first.try_lock(LockKind::Exclusive).unwrap());
    second.unlock().unwrap();
    assert!(first.try_lock(LockKind::Exclusive).unwrap());
    assert!(first.try_lock(LockKind::Exclusive).unwrap(), "held already");
    assert!(!second.try_lock(LockKind::Shared).unwrap());
    assert!(first.try_lock(LockKind::Shared).unwrap(), "converted");
    assert!(second.try_lock(LockKind::Shared).unwrap());
}

#[test]
fn a_failed_conversion_loses_the_lock_it_started_from() {
    let (disk, process) = new_disk();
    disk.write_file("/LOCK", b"").unwrap();
    let [first, second, third] = [(); 3].map(|()| process.open(Path::new("/LOCK"), OpenMode::Read).unwrap());
    assert!(first.try_lock(LockKind::Shared).unwrap() && second.try_lock(LockKind::Shared).unwrap());
    assert!(!first.try_lock(LockKind::Exclusive).unwrap());
    second.unlock().unwrap();
    assert!(third.try_lock(LockKind::Exclusive).unwrap());
}

#[test]
fn a_lock_ends_with_its_file_its_process_and_its_boot() {
    let (disk, process) = new_disk();
    disk.write_file("/LOCK", b"").unwrap();
    let lock = |process: &SimProcess| {
        let file = process.open(Path::new("/LOCK"), OpenMode::Write).unwrap();
        file.try_lock(LockKind::Exclusive).unwrap().then_some(file)
    };
    let file = lock(&process).unwrap();
    let clone = Arc::clone(&file);
    drop(file);
    assert!(lock(&disk.process()).is_none(), "a clone still holds it");
    drop(clone);
    let held = lock(&process).unwrap();
    assert!(lock(&durable(&disk).process()).is_some());
    assert!(lock(&disk.clone_disk().process()).is_some());
    process.kill();
    let next = disk.process();
    let other = lock(&next).expect("the killed process holds nothing");
    drop(held);
    assert!(lock(&disk.process()).is_none(), "closing a dead file does not free another's lock");
    drop(other);
}

#[test]
fn a_killed_process_can_do_nothing_and_its_writes_stay() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", b"value");
    process.kill();
    let calls = disk.calls();
    assert!(is_killed(&file.write_at(b"x", 0).unwrap_err()));
    assert!(is_killed(&process.open(Path::new("/f"), OpenMode::Read).unwrap_err()));
    assert!(is_killed(&process.boot_id().unwrap_err()));
    assert_eq!(disk.calls(), calls);
    assert!(!is_killed(&Errno::IO.into()));
    let other = disk.process().open(Path::new("/f"), OpenMode::Read).unwrap();
    let mut buffer = [0; 8];
    assert_eq!(read_full_at(&*other, &mut buffer, 0).unwrap(), 5);
}

#[test]
fn a_process_can_be_killed_before_and_inside_a_call() {
    for (fault, left) in [(Fault::Kill, 0), (Fault::KillInside, 2)] {
        let (disk, process) = new_disk();
        let file = create(&process, "/f", b"");
        disk.fail_at(disk.calls() + 1, fault);
        assert!(is_killed(&file.write_at(b"four", 0).unwrap_err()));
        assert_eq!(disk.read_file("/f").unwrap().len(), left, "{fault:?}");
        assert!(is_killed(&file.size().unwrap_err()));
    }
    let (disk, process) = new_disk();
    disk.fail_at(1, Fault::KillInside);
    assert!(is_killed(&process.open(Path::new("/f"), OpenMode::CreateNew).unwrap_err()));
    assert_eq!(names(&disk), ["f"]);
}

#[test]
fn calls_are_counted_and_logged() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", b"value");
    file.read_at(&mut [0; 8], 2).unwrap();
    process.rename(Path::new("/f"), Path::new("/g")).unwrap();
    let log: Vec<String> = disk.log().iter().map(ToString::to_string).collect();
    assert_eq!(
        log,
        [
            "call 1 of process 1: Open(CreateNew) /f",
            "call 2 of process 1: SyncDir /",
            "call 3 of process 1: Write /f 0+5",
            "call 4 of process 1: SyncData /f",
            "call 5 of process 1: Read /f 2+8",
            "call 6 of process 1: Rename /f to /g",
        ]
    );
    assert_eq!((disk.calls(), process.id()), (6, 1));
    disk.reset_calls();
    assert_eq!((disk.calls(), disk.log()), (0, vec![]));
}

#[test]
fn every_kind_of_call_can_fail_once() {
    let steps = |process: &SimProcess| -> io::Result<()> {
        process.create_dir(Path::new("/d"))?;
        let file = process.open(Path::new("/d/f"), OpenMode::OpenOrCreate)?;
        file.try_lock(LockKind::Shared)?;
        file.write_at(b"value", 0)?;
        file.sync_data()?;
        file.drop_cache()?;
        file.read_at(&mut [0; 2], 0)?;
        file.size()?;
        file.unlock()?;
        process.rename(Path::new("/d/f"), Path::new("/d/g"))?;
        process.sync_dir(Path::new("/d"))?;
        process.read_dir(Path::new("/d"))?;
        process.boot_id()?;
        process.remove_file(Path::new("/d/g"))?;
        process.remove_dir(Path::new("/d"))
    };
    for number in 1..=15 {
        let (disk, process) = new_disk();
        disk.fail_at(number, Fault::Eio);
        assert_eq!(errno(steps(&process)), Errno::IO.raw_os_error(), "call {number}");
        assert_eq!(disk.calls(), number, "nothing is called after the failure");
    }
    let (disk, process) = new_disk();
    disk.fail_at(16, Fault::Eio);
    steps(&process).unwrap();
    assert_eq!(disk.calls(), 15);
}

#[test]
fn interrupted_and_short_transfers_are_made_up_for() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", b"");
    let first = disk.calls() + 1;
    disk.fail_at(first, Fault::Eintr);
    disk.fail_at(first + 1, Fault::Short);
    write_all_at(&*file, b"value", 0).unwrap();
    assert_eq!(disk.calls(), first + 2);
    disk.fail_at(first + 3, Fault::Eintr);
    file.sync_data().unwrap();
    disk.fail_from(first + 4, Fault::Short);
    let mut buffer = [0; 5];
    assert_eq!(read_full_at(&*file, &mut buffer, 0).unwrap(), 5);
    assert_eq!((&buffer, disk.calls()), (b"value", first + 6));
}

#[test]
fn a_lasting_fault_begins_at_its_call_and_ends_when_cleared() {
    let (disk, process) = new_disk();
    disk.fail_from(2, Fault::Enospc);
    let file = process.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
    for _ in 0..3 {
        assert_eq!(kind(file.write_at(b"x", 0)), io::ErrorKind::StorageFull);
    }
    disk.clear_faults();
    file.write_at(b"x", 0).unwrap();
}

#[test]
fn a_full_disk_refuses_growth_and_never_an_overwrite() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", &[1; 4096]);
    disk.set_capacity(3 * 4096);
    assert_eq!(file.write_at(&[2; 4 * 4096], 0).unwrap(), 3 * 4096, "as much as there is room for");
    assert_eq!(kind(file.write_at(b"x", 3 * 4096)), io::ErrorKind::StorageFull);
    let other = process.open(Path::new("/g"), OpenMode::CreateNew).unwrap();
    assert_eq!(kind(other.write_at(b"x", 0)), io::ErrorKind::StorageFull);
    disk.set_capacity(0);
    write_all_at(&*file, &[3; 3 * 4096], 0).unwrap();
    file.sync_data().unwrap();
    disk.set_capacity(3 * 4096);
    process.remove_file(Path::new("/f")).unwrap();
    assert_eq!(kind(other.write_at(b"x", 0)), io::ErrorKind::StorageFull, "an open file keeps its space");
    drop(file);
    write_all_at(&*other, &[4; 3 * 4096], 0).unwrap();
    let third = process.open(Path::new("/h"), OpenMode::CreateNew).unwrap();
    drop(other);
    process.rename(Path::new("/h"), Path::new("/g")).unwrap();
    write_all_at(&*third, &[5; 3 * 4096], 0).unwrap();
}

#[test]
fn the_observer_sees_the_disk_before_every_mutating_call() {
    let (disk, process) = new_disk();
    let seen: Arc<Mutex<Vec<(Op, usize)>>> = Arc::default();
    let writer = Arc::clone(&seen);
    disk.set_observer(Arc::new(move |call, disk| {
        assert!(call.op.is_mutating());
        let [_, everything] = disk.power_loss_extremes();
        let len = everything.read_file("/f").map_or(0, |bytes| bytes.len());
        writer.lock().unwrap().push((call.op, len));
    }));
    let file = create_synced(&process, "/f", b"value");
    file.size().unwrap();
    let expected = [(Op::Open(OpenMode::CreateNew), 0), (Op::SyncDir, 0), (Op::Write, 0), (Op::SyncData, 5)];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[test]
fn an_observer_may_ask_for_every_call_and_make_it_fail() {
    let (disk, process) = new_disk();
    disk.write_file("/f", b"value").unwrap();
    let file = process.open(Path::new("/f"), OpenMode::Read).unwrap();
    disk.set_observer_of_all(Arc::new(|call, disk| disk.fail_at(call.number, Fault::Eio)));
    assert_eq!(errno(file.size()), Errno::IO.raw_os_error());
    disk.set_observer(Arc::new(|_, _| panic!("reading changes nothing")));
    assert_eq!(file.size().unwrap(), 5);
}

#[test]
fn an_observer_may_kill_the_process_before_its_call() {
    let (disk, process) = new_disk();
    let victim = Arc::clone(&process);
    disk.set_observer(Arc::new(move |call, _| {
        if call.op == Op::Write {
            victim.kill();
        }
    }));
    let file = process.open(Path::new("/f"), OpenMode::CreateNew).unwrap();
    assert!(is_killed(&file.write_at(b"x", 0).unwrap_err()));
    assert!(disk.read_file("/f").unwrap().is_empty());
}

#[test]
fn a_cloned_disk_goes_its_own_way() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", &[1; 10_000]);
    let copy = disk.clone_disk();
    write_all_at(&*file, &[2; 10_000], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(copy.read_file("/f").unwrap(), [1; 10_000]);
    assert!(durable(&copy).read_file("/f").unwrap().is_empty(), "what was unsynced still is");
    assert_eq!(disk.read_file("/f").unwrap(), [2; 10_000]);
}

#[test]
fn only_a_power_loss_changes_the_boot_id() {
    let (disk, process) = new_disk();
    let boot_id = process.boot_id().unwrap();
    assert_eq!(disk.clone_disk().process().boot_id().unwrap(), boot_id);
    assert_ne!(disk.power_loss(0).process().boot_id().unwrap(), boot_id);
}

#[test]
fn direct_changes_are_durable_at_once() {
    let (disk, process) = new_disk();
    disk.write_file("/f", b"abc").unwrap();
    disk.flip_bit("/f", 9).unwrap();
    assert_eq!(disk.read_file("/f").unwrap(), b"a\x60c");
    assert_eq!(durable(&disk).read_file("/f").unwrap(), b"a\x60c");
    assert!(disk.flip_bit("/f", 24).is_err());
    let file = process.open(Path::new("/f"), OpenMode::Read).unwrap();
    disk.write_file("/f", b"replaced").unwrap();
    assert_eq!(file.size().unwrap(), 8, "an open file sees it");
    assert_eq!(disk.calls(), 2, "direct changes are not calls");
    process.remove_file(Path::new("/f")).unwrap();
    disk.write_file("/f", b"again").unwrap();
    for lost in SEEDS.map(|seed| disk.power_loss(seed)) {
        assert_eq!(
            lost.read_file("/f").unwrap(),
            b"again",
            "an unsynced removal of the old file is no matter"
        );
    }
}

#[test]
fn open_modes_and_names_behave_as_on_a_real_disk() {
    let (disk, process) = new_disk();
    let [file, dir] = ["/f", "/d"].map(Path::new);
    assert_eq!(kind(process.open(file, OpenMode::Read)), io::ErrorKind::NotFound);
    assert_eq!(kind(process.open(file, OpenMode::Write)), io::ErrorKind::NotFound);
    disk.write_file(file, b"value").unwrap();
    assert_eq!(kind(process.open(file, OpenMode::CreateNew)), io::ErrorKind::AlreadyExists);
    assert_eq!(process.open(file, OpenMode::OpenOrCreate).unwrap().size().unwrap(), 5);
    assert!(process.open(file, OpenMode::Read).unwrap().write_at(b"x", 0).is_err());
    process.create_dir(dir).unwrap();
    assert_eq!(kind(process.create_dir(dir)), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(process.open(dir, OpenMode::Read)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(process.open(Path::new("/f/x"), OpenMode::Read)), io::ErrorKind::NotADirectory);
    assert_eq!(kind(process.read_dir(Path::new("/none"))), io::ErrorKind::NotFound);
    assert_eq!(kind(process.sync_dir(file)), io::ErrorKind::NotADirectory);
    assert_eq!(kind(process.remove_file(dir)), io::ErrorKind::IsADirectory);
    assert_eq!(kind(process.rename(file, Path::new("/d/f"))), io::ErrorKind::CrossesDevices);
    disk.write_file("/d/x", b"").unwrap();
    assert_eq!(kind(process.remove_dir(dir)), io::ErrorKind::DirectoryNotEmpty);
    process.create_dir(Path::new("/e")).unwrap();
    assert_eq!(kind(process.rename(Path::new("/e"), dir)), io::ErrorKind::DirectoryNotEmpty);
    process.rename(dir, Path::new("/e")).unwrap();
    assert_eq!(names(&disk), ["e", "f"]);
}

#[test]
fn a_removed_file_lives_on_while_it_is_open() {
    let (disk, process) = new_disk();
    let file = create_synced(&process, "/f", b"value");
    process.remove_file(Path::new("/f")).unwrap();
    process.sync_dir(Path::new("/")).unwrap();
    let mut buffer = [0; 5];
    assert_eq!(read_full_at(&*file, &mut buffer, 0).unwrap(), 5);
    assert_eq!(kind(disk.read_file("/f")), io::ErrorKind::NotFound);
}

#[test]
fn holes_read_as_zeros() {
    let (disk, process) = new_disk();
    let file = create(&process, "/f", b"");
    write_all_at(&*file, b"end", 10_000).unwrap();
    let bytes = disk.read_file("/f").unwrap();
    assert_eq!(bytes.len(), 10_003);
    assert!(bytes[..10_000].iter().all(|&byte| byte == 0));
    assert_eq!(file.read_at(&mut [0; 4], 10_003).unwrap(), 0);
}
