//! [`SimFs`]: a disk in memory that fails, fills up, loses power and tells what was done to it. For tests.
//!
//! ```text
//!  SimProcess ─┐  open, read, write, sync …      each call is counted, logged, shown to the observer,
//!  SimProcess ─┴─► SimFs                         and may be made to fail
//!                   │ locks, faults, log
//!                   ▼
//!                  Disk   tree of inodes          what system calls do, without faults
//!                   ├─ FileState  live + durable  512-byte sectors
//!                   └─ DirState   live + durable  entries, and the changes since the last sync
//! ```
//!
//! What a power loss leaves of the durable state and of what came after the last syncs:
//!
//! 1. Of a file, each sector written since is the new or the old one, also where a sync of it failed. The length is
//!    the durable one, the live one, or a sector boundary between them. What was never written reads as zeros.
//! 2. Of a directory, the first so many of its unsynced changes happened; with [`SimFs::power_loss_unordered`], any
//!    of them. A rename happens whole or not at all. Syncing a file does nothing for its name.
//! 3. Nobody holds a lock, and the boot id is another one.
//!
//! A sync that fails is reported once to every open file of the inode, as Linux does: to the others by their next sync, which
//! writes what is dirty nevertheless.
//!
//! Paths start at the root whether they begin with `/` or not; there are no symbolic links. Only files can be opened,
//! and a rename stays within one directory. Space is counted in blocks of 4096 bytes; names and directories are free.

mod disk;
mod fate;
mod image;
mod inode;
mod process;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::disk::Disk;
use self::fate::Fate;
use self::inode::InodeId;
pub(crate) use self::process::SimProcess;
use super::{LockKind, Moment, OpenMode};

/// How many of the last calls [`SimFs::log`] knows.
const LOG_LEN: usize = 65_536;

/// What a system call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Open(OpenMode),
    Read,
    Write,
    Allocate,
    SyncData,
    Size,
    TryLock(LockKind),
    Unlock,
    DropCache,
    Map,
    Rename,
    Link,
    RemoveFile,
    CreateDir,
    RemoveDir,
    ReadDir,
    SyncDir,
    BootId,
}

impl Op {
    /// Whether it may change what is on the disk, live or durable.
    pub(crate) fn is_mutating(self) -> bool {
        match self {
            Self::Open(mode) => matches!(mode, OpenMode::CreateNew | OpenMode::OpenOrCreate),
            Self::Write
            | Self::Allocate
            | Self::SyncData
            | Self::DropCache
            | Self::Rename
            | Self::Link
            | Self::RemoveFile
            | Self::CreateDir
            | Self::RemoveDir
            | Self::SyncDir => true,
            Self::Read
            | Self::Size
            | Self::Map
            | Self::TryLock(_)
            | Self::Unlock
            | Self::ReadDir
            | Self::BootId => false,
        }
    }
}

/// One system call of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Counted from 1 over all processes of a disk.
    pub(crate) number: u64,
    pub(crate) process: u64,
    pub(crate) op: Op,
    /// The file's path when it was opened, or the path that the call names.
    pub(crate) path: Arc<Path>,
    /// The new name of a rename.
    pub(crate) target: Option<PathBuf>,
    pub(crate) offset: u64,
    pub(crate) len: usize,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} of process {}: {:?} {}", self.number, self.process, self.op, self.path.display())?;
        match (&self.target, self.op) {
            (Some(target), _) => write!(f, " to {}", target.display()),
            (None, Op::Read | Op::Write) => write!(f, " {}+{}", self.offset, self.len),
            (None, _) => Ok(()),
        }
    }
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// An input/output error. Nothing was done, except that a file's sync has abandoned the unsynced bytes.
    Eio,
    /// No space left, in the same way.
    Enospc,
    /// An interrupted read or write. Other calls succeed, because std repeats them.
    Eintr,
    /// A read or write of half the bytes, but at least one. Other calls succeed.
    Short,
    /// The process is killed before the call.
    Kill,
    /// The process is killed after the call took effect, or half of its bytes did.
    KillInside,
}

/// Called before each mutating call, free to use the disk it is given and to make the call fail.
pub(crate) type Observer = Arc<dyn Fn(&Call, &SimFs) + Send + Sync>;

/// A simulated disk. A clone is the same disk; [`SimFs::clone_disk`] makes another.
#[derive(Clone)]
pub(crate) struct SimFs(Arc<Mutex<State>>);

struct State {
    disk: Disk,
    locks: BTreeMap<InodeId, BTreeMap<Holder, LockKind>>,
    /// Who has a file open, and whether a sync of another has failed since the last one of theirs.
    open: BTreeMap<InodeId, BTreeMap<Holder, bool>>,
    late_reports: u64,
    killed: BTreeSet<u64>,
    processes: u64,
    opens: u64,
    calls: u64,
    log: VecDeque<Call>,
    faults: BTreeMap<u64, Fault>,
    lasting_fault: Option<(u64, Fault)>,
    observer: Option<Observer>,
    observes_all: bool,
    skips_sync: Box<dyn Fn(&Path) -> bool + Send>,
    keeps_cache: bool,
    refuses_links: bool,
}

/// An open file description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Holder {
    process: u64,
    open: u64,
}

impl SimFs {
    /// An empty disk: a root directory, no bounds, no faults.
    pub(crate) fn new() -> Self {
        Self::over(Disk::new())
    }

    fn over(disk: Disk) -> Self {
        Self(Arc::new(Mutex::new(State {
            disk,
            locks: BTreeMap::new(),
            open: BTreeMap::new(),
            late_reports: 0,
            killed: BTreeSet::new(),
            processes: 0,
            opens: 0,
            calls: 0,
            log: VecDeque::new(),
            faults: BTreeMap::new(),
            lasting_fault: None,
            observer: None,
            observes_all: false,
            skips_sync: Box::new(|_| false),
            keeps_cache: false,
            refuses_links: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process that uses this disk.
    pub(crate) fn process(&self) -> Arc<SimProcess> {
        let mut state = self.state();
        state.processes += 1;
        Arc::new(SimProcess { fs: self.clone(), id: state.processes })
    }

    /// Another disk of the same live and durable state and boot, without processes, locks and faults: what there is
    /// after all processes were killed.
    pub(crate) fn clone_disk(&self) -> Self {
        Self::over(self.state().disk.detached())
    }

    /// Another disk, as this one could be after losing power now, under a file system whose directories have a
    /// journal.
    pub(crate) fn power_loss(&self, seed: u64) -> Self {
        self.after_power_loss(Fate::seeded(seed, true))
    }

    /// The same where a directory may lose any of its unsynced changes and keep later ones.
    pub(crate) fn power_loss_unordered(&self, seed: u64) -> Self {
        self.after_power_loss(Fate::seeded(seed, false))
    }

    /// The two extremes of a power loss: nothing unsynced is kept, and everything is.
    pub(crate) fn power_loss_extremes(&self) -> [Self; 2] {
        [Fate::NothingKept, Fate::EverythingKept].map(|fate| self.after_power_loss(fate))
    }

    fn after_power_loss(&self, mut fate: Fate) -> Self {
        Self::over(self.state().disk.after_power_loss(&mut fate))
    }

    /// Bounds the space for files. What already takes more stays.
    pub(crate) fn set_capacity(&self, bytes: u64) {
        self.state().disk.set_capacity(bytes);
    }

    /// Makes the call of this number fail, counted from 1 as [`SimFs::calls`] does.
    pub(crate) fn fail_at(&self, number: u64, fault: Fault) {
        self.state().faults.insert(number, fault);
    }

    /// Makes the call of this number and all after it fail. [`Fault::Eintr`] is refused: interrupted forever is a
    /// hang.
    pub(crate) fn fail_from(&self, number: u64, fault: Fault) {
        assert_ne!(fault, Fault::Eintr, "a call that is always interrupted is repeated without end");
        self.state().lasting_fault = Some((number, fault));
    }

    /// Takes all planned faults back.
    pub(crate) fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.lasting_fault = None;
    }

    /// What the machine's clocks say. They stand still but for [`SimFs::pass`].
    pub(crate) fn now(&self) -> Moment {
        self.state().disk.now()
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        self.state().disk.pass(time);
    }

    /// Sets the wall clock, which a power loss leaves as it is.
    pub(crate) fn set_wall_clock(&self, wall: Duration) {
        self.state().disk.set_wall_clock(wall);
    }

    /// How many calls were made, those that failed included and those of killed processes not.
    pub(crate) fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The last calls, oldest first.
    pub(crate) fn log(&self) -> Vec<Call> {
        self.state().log.iter().cloned().collect()
    }

    /// Begins counting and logging anew.
    pub(crate) fn reset_calls(&self) {
        let mut state = self.state();
        state.calls = 0;
        state.log.clear();
    }

    /// Has `observer` called before every mutating call, without a lock held. Calls that it makes through a process
    /// of the same disk are observed too.
    pub(crate) fn set_observer(&self, observer: Observer) {
        self.observe(observer, false);
    }

    /// Has `observer` called before every call, also those that change nothing.
    pub(crate) fn set_observer_of_all(&self, observer: Observer) {
        self.observe(observer, true);
    }

    fn observe(&self, observer: Observer, all: bool) {
        let mut state = self.state();
        state.observes_all = all;
        let before = state.observer.replace(observer);
        drop(state);
        // It may hold the last handle of a database, and closing that uses the disk.
        drop(before);
    }

    /// Makes syncs of files and directories at these paths succeed without doing anything. `skips` must not use the
    /// disk.
    pub(crate) fn skip_syncs(&self, skips: impl Fn(&Path) -> bool + Send + 'static) {
        self.state().skips_sync = Box::new(skips);
    }

    /// How many syncs reported the failure of another one so far.
    pub(crate) fn late_reports(&self) -> u64 {
        self.state().late_reports
    }

    /// Has the cache keep everything from now on, as it does where some process has the pages mapped.
    pub(crate) fn keep_cache(&self) {
        self.state().keeps_cache = true;
    }

    /// Has no file linked from now on, as between two file systems.
    pub(crate) fn refuse_links(&self) {
        self.state().refuses_links = true;
    }

    /// A file's live bytes, uncounted.
    pub(crate) fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        self.state().disk.contents(path.as_ref())
    }

    /// Replaces or makes a file, uncounted; contents and name are durable at once.
    pub(crate) fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        self.state().disk.put_contents(path.as_ref(), bytes)
    }

    /// Inverts a bit on the device and in memory, uncounted. Bit 0 is the lowest of the first byte.
    pub(crate) fn flip_bit(&self, path: impl AsRef<Path>, bit: u64) -> io::Result<()> {
        self.state().disk.flip_bit(path.as_ref(), bit)
    }

    /// The live names in a directory, sorted, uncounted.
    pub(crate) fn list(&self, dir: impl AsRef<Path>) -> io::Result<Vec<PathBuf>> {
        self.state().disk.read_dir(dir.as_ref())
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs").finish_non_exhaustive()
    }
}

impl State {
    /// The fault planned for the call of this number.
    fn planned_fault(&self, number: u64) -> Option<Fault> {
        let lasting = self.lasting_fault.filter(|(first, _)| number >= *first).map(|(_, fault)| fault);
        self.faults.get(&number).copied().or(lasting)
    }

    fn record(&mut self, call: Call) {
        if self.log.len() == LOG_LEN {
            self.log.pop_front();
        }
        self.log.push_back(call);
    }

    fn kill(&mut self, process: u64) {
        self.killed.insert(process);
        self.locks.values_mut().for_each(|holders| holders.retain(|holder, _| holder.process != process));
    }

    fn check_alive(&self, process: u64) -> io::Result<()> {
        if self.killed.contains(&process) { Err(io::Error::other(Killed)) } else { Ok(()) }
    }

    /// Takes or converts a lock. As with `flock`, a conversion that fails loses the old lock.
    fn try_lock(&mut self, inode: InodeId, holder: Holder, kind: LockKind) -> bool {
        let holders = self.locks.entry(inode).or_default();
        if holders.get(&holder) == Some(&kind) {
            return true;
        }
        holders.remove(&holder);
        let free = holders.values().all(|held| kind == LockKind::Shared && *held == LockKind::Shared);
        if free {
            holders.insert(holder, kind);
        }
        free
    }

    fn closed(&mut self, inode: InodeId, holder: Holder) {
        self.unlock(inode, holder);
        if let Some(holders) = self.open.get_mut(&inode) {
            holders.remove(&holder);
        }
    }

    /// A sync by `holder` has failed.
    fn report_failure(&mut self, inode: InodeId, holder: Holder) {
        let holders = self.open.entry(inode).or_default();
        for (other, failed) in holders {
            *failed |= *other != holder;
        }
    }

    /// Whether a sync by another has failed, which `holder` was not told of.
    fn take_failure(&mut self, inode: InodeId, holder: Holder) -> bool {
        let failed = self.open.entry(inode).or_default().get_mut(&holder).is_some_and(std::mem::take);
        self.late_reports += u64::from(failed);
        failed
    }

    fn unlock(&mut self, inode: InodeId, holder: Holder) {
        if let Some(holders) = self.locks.get_mut(&inode) {
            holders.remove(&holder);
        }
    }
}

/// What every call of a killed process fails with.
#[derive(Debug, thiserror::Error)]
#[error("the simulated process was killed")]
struct Killed;

/// Whether an error says that the simulated process was killed.
pub(crate) fn is_killed(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Killed>)
}
