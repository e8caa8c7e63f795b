//! Pages of mapped files that can't be read: noticed, counted, replaced by zeros, and never the end of the process.
//!
//! Touching a mapped page that the file no longer has (somebody cut it), or that the device fails to bring into memory, makes
//! the kernel send SIGBUS to the thread. Its handler here looks whether the address lies in a file that this process watches:
//!
//! ```text
//!  load from a page ──► SIGBUS ──► watched? ── yes: count it, put a page of zeros there, return ──► the load reads 0
//!  or store to it                     └─────── no:  what was installed before, or the default, takes it
//! ```
//!
//! 1. A loss is counted before the zeros are there. So whoever compares [`Watch::lost_pages`] from before it read with that from
//!    behind it, and finds them equal, has read no zeros of ours, and what it has stored went to the file's pages.
//! 2. The handler is installed when the first file is watched, once in a process. It touches nothing but atomics that are there
//!    for good and makes two system calls, both of which a handler may make.
//! 3. Watches are kept in chunks of slots that are never freed, so that the handler can look at them at any time.
//! 4. A program that installs a handler of its own behind this one takes the protection away, unless it passes on what is not
//!    its own.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};

/// Values of [`Slot::start`] that are no addresses of a mapping.
const FREE: usize = 0;
const CLAIMED: usize = 1;

const CHUNK_SLOTS: usize = 128;

/// What a mapping is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
}

/// Memory that is watched.
#[derive(Debug)]
struct Slot {
    start: AtomicUsize,
    end: AtomicUsize,
    is_writable: AtomicBool,
    /// Pages that were replaced.
    lost: AtomicUsize,
    /// Where the last of them is, counted from `start`.
    last: AtomicUsize,
}

impl Slot {
    const fn new() -> Self {
        Self {
            start: AtomicUsize::new(FREE),
            end: AtomicUsize::new(0),
            is_writable: AtomicBool::new(false),
            lost: AtomicUsize::new(0),
            last: AtomicUsize::new(0),
        }
    }

    fn claim(&self, start: usize, end: usize, access: Access) -> bool {
        if self.start.compare_exchange(FREE, CLAIMED, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.lost.store(0, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        self.is_writable.store(access == Access::Write, Ordering::Relaxed);
        self.start.store(start, Ordering::Release);
        true
    }

    fn covers(&self, address: usize) -> bool {
        let start = self.start.load(Ordering::Acquire);
        start > CLAIMED && start <= address && address < self.end.load(Ordering::Acquire)
            // Else the slot has changed hands meanwhile.
            && self.start.load(Ordering::Acquire) == start
    }
}

/// Slots, and the chunk of those that found no room here.
struct Chunk {
    slots: [Slot; CHUNK_SLOTS],
    next: OnceLock<Box<Self>>,
}

impl Chunk {
    const fn new() -> Self {
        Self { slots: [const { Slot::new() }; CHUNK_SLOTS], next: OnceLock::new() }
    }
}

static WATCHED: Chunk = Chunk::new();

/// Losses in this process, whatever the file.
static LOSSES: AtomicUsize = AtomicUsize::new(0);

/// Whether this process has lost any page of any file.
#[inline]
pub(super) fn are_any() -> bool {
    // What was read before this call was read before the counter is.
    fence(Ordering::Acquire);
    LOSSES.load(Ordering::Relaxed) != 0
}

fn slots() -> impl Iterator<Item = &'static Slot> {
    std::iter::successors(Some(&WATCHED), |chunk| chunk.next.get().map(|next| &**next))
        .flat_map(|chunk| &chunk.slots)
}

/// A part of memory that a file is mapped to. To be dropped before that is unmapped.
#[derive(Debug)]
pub(super) struct Watch(&'static Slot);

impl Watch {
    /// Watches `len` bytes from `start` on, which begin with a page and end with one, and are mapped for `access`.
    ///
    /// # Errors
    /// The operating system's: the handler can't be installed.
    pub(super) fn over(start: *const u8, len: usize, access: Access) -> io::Result<Self> {
        install()?;
        let (start, mut chunk) = (start.addr(), &WATCHED);
        loop {
            if let Some(slot) = chunk.slots.iter().find(|slot| slot.claim(start, start + len, access)) {
                return Ok(Self(slot));
            }
            chunk = chunk.next.get_or_init(|| Box::new(Chunk::new()));
        }
    }

    /// How many of its pages could not be read so far.
    #[inline]
    pub(super) fn lost_pages(&self) -> usize {
        if are_any() { self.0.lost.load(Ordering::Acquire) } else { 0 }
    }

    /// Where the last of them begins, in bytes.
    pub(super) fn last_lost(&self) -> usize {
        self.0.last.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.start.store(FREE, Ordering::Release);
    }
}

/// What the handler has to know.
struct Installed {
    page_len: usize,
    /// What was installed before.
    previous: libc::sigaction,
}

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Installs the handler, unless that was done.
fn install() -> io::Result<()> {
    static OUTCOME: OnceLock<Result<(), i32>> = OnceLock::new();
    let outcome = OUTCOME.get_or_init(|| install_once().map_err(|error| error.raw_os_error().unwrap_or(0)));
    outcome.map_err(io::Error::from_raw_os_error)
}

fn install_once() -> io::Result<()> {
    let previous = exchange_action(None)?;
    INSTALLED.get_or_init(|| Installed { page_len: rustix::param::page_size(), previous });
    let mut ours = default_action();
    ours.sa_sigaction = on_fault as *const () as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    exchange_action(Some(&ours)).map(drop)
}

fn default_action() -> libc::sigaction {
    // SAFETY: all zeros are a valid `sigaction`: the default handler, an empty mask, no flags.
    unsafe { std::mem::zeroed() }
}

/// Installs what takes SIGBUS, if there is something to install; returns what took it before.
fn exchange_action(new: Option<&libc::sigaction>) -> io::Result<libc::sigaction> {
    let mut old = default_action();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both pointers are null or point to a `sigaction` that outlives the call; the handler that is installed is
    // `on_fault` or the default.
    match unsafe { libc::sigaction(libc::SIGBUS, new, &raw mut old) } {
        0 => Ok(old),
        _ => Err(io::Error::last_os_error()),
    }
}

extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a valid `siginfo_t`. A positive code says that a load or store caused the signal, and
    // then it has the address.
    let address = unsafe { ((*info).si_code > 0).then(|| (*info).si_addr().addr()) };
    let replaced = address.is_some_and(replace_lost_page);
    if !replaced {
        pass_on(signal, info, context, address.is_some());
    }
}

/// Puts zeros where a page of a watched file can't be read; `false` when that is not what happened.
fn replace_lost_page(address: usize) -> bool {
    let Some(Installed { page_len, .. }) = INSTALLED.get() else { return false };
    let Some(slot) = slots().find(|slot| slot.covers(address)) else { return false };
    let page = address & !(page_len - 1);
    slot.last.store(page - slot.start.load(Ordering::Relaxed), Ordering::Relaxed);
    slot.lost.fetch_add(1, Ordering::SeqCst);
    LOSSES.fetch_add(1, Ordering::SeqCst);
    let place = ptr::with_exposed_provenance_mut(page);
    let is_writable = slot.is_writable.load(Ordering::Relaxed);
    let as_before = if is_writable { ProtFlags::READ | ProtFlags::WRITE } else { ProtFlags::READ };
    // SAFETY: the page belongs to a mapping that is watched, so it is mapped and nothing but a mapping of a file is there. What
    // replaces it can be read and written as that could. A mapping is dropped by its owner alone, and the thread that faulted
    // is using it.
    unsafe { mmap_anonymous(place, *page_len, as_before, MapFlags::PRIVATE | MapFlags::FIXED) }.is_ok()
}

/// Has whoever was there before take the signal.
fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void, is_fault: bool) {
    let previous = INSTALLED.get().map_or_else(default_action, |installed| installed.previous);
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // Who returns to a load that faults is ended by it now. That this can't fail is all that can be hoped for.
            drop(exchange_action(Some(&default_action())));
            if !is_fault {
                // SAFETY: raising a signal has no preconditions.
                unsafe { libc::raise(signal) };
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: a handler that was installed with SA_SIGINFO is a function of these three arguments.
            let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: a handler that was installed without SA_SIGINFO is a function of this one argument.
            let handler: extern "C" fn(libc::c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;

    const LEN: usize = 64 << 10;

    fn mapped_file() -> (File, memmap2::Mmap, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, vec![7; LEN]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // SAFETY: the test cuts the file on purpose; what is then read is what it looks at.
        let map = unsafe { memmap2::Mmap::map(&file) }.unwrap();
        (file, map, dir)
    }

    fn load(map: &[u8], at: usize) -> u8 {
        // SAFETY: the byte is in the mapping. It may change under it, so it is read exactly once, here.
        unsafe { (&raw const map[at]).read_volatile() }
    }

    #[test]
    fn a_page_that_was_cut_off_reads_as_zeros_and_is_counted() {
        let (file, map, _dir) = mapped_file();
        let watch = Watch::over(map.as_ptr(), map.len(), Access::Read).unwrap();
        assert_eq!((load(&map, LEN - 1), watch.lost_pages()), (7, 0));
        file.set_len(0).unwrap();
        assert_eq!((load(&map, LEN - 1), watch.lost_pages()), (0, 1));
        let page = rustix::param::page_size();
        assert_eq!(watch.last_lost(), (LEN - 1) / page * page);
        assert_eq!((load(&map, LEN - 2), watch.lost_pages()), (0, 1), "it is there now");
        assert_eq!((load(&map, 0), watch.lost_pages()), (0, 2));
    }

    #[test]
    fn a_store_to_a_page_that_was_cut_off_is_counted_and_goes_nowhere() {
        let (file, _, dir) = mapped_file();
        let map = memmap2::MmapRaw::map_raw(&file).unwrap();
        let watch = Watch::over(map.as_ptr(), map.len(), Access::Write).unwrap();
        let store = |at: usize| {
            // SAFETY: the byte is in the mapping, which is one for writing. Nothing refers to it.
            unsafe { map.as_mut_ptr().add(at).write_volatile(9) };
        };
        store(5);
        assert_eq!((fs::read(dir.path().join("f")).unwrap()[5], watch.lost_pages()), (9, 0));
        file.set_len(0).unwrap();
        store(LEN - 1);
        store(LEN - 2);
        assert_eq!((fs::read(dir.path().join("f")).unwrap().len(), watch.lost_pages()), (0, 1));
    }

    #[test]
    fn losses_are_counted_for_the_file_that_has_them_also_among_many() {
        let (_file, intact, _dir) = mapped_file();
        let others: Vec<Watch> = (0..3 * CHUNK_SLOTS)
            .map(|number| Watch::over(ptr::without_provenance((number + 2) << 3), 8, Access::Read).unwrap())
            .collect();
        let intact_watch = Watch::over(intact.as_ptr(), intact.len(), Access::Read).unwrap();
        let (file, map, _dir) = mapped_file();
        let watch = Watch::over(map.as_ptr(), map.len(), Access::Read).unwrap();
        file.set_len(0).unwrap();
        let faults = |_| (0..LEN).step_by(4096).map(|at| u64::from(load(&map, at))).sum::<u64>();
        let sums: Vec<u64> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || faults(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(sums, [0; 4]);
        assert!(watch.lost_pages() >= LEN / rustix::param::page_size());
        assert_eq!(intact_watch.lost_pages(), 0);
        assert!(others.iter().all(|other| other.lost_pages() == 0));
    }

    /// A fault that is not ours still ends the process as it would without us.
    #[test]
    fn other_faults_end_the_process() {
        const INSIDE: &str = "KVDB_TEST_FAULT";
        let name = "storage::fs::lost::tests::other_faults_end_the_process";
        match std::env::var(INSIDE) {
            Err(_) => {
                for inside in ["fault", "raise"] {
                    let mut again = Command::new(std::env::current_exe().unwrap());
                    let run = again.args(["--exact", name]).env(INSIDE, inside).output().unwrap();
                    assert_eq!(run.status.signal(), Some(libc::SIGBUS), "{inside}: {run:?}");
                }
            }
            Ok(inside) => {
                let (file, map, _dir) = mapped_file();
                drop(Watch::over(map.as_ptr(), map.len(), Access::Read).unwrap());
                if inside == "fault" {
                    file.set_len(0).unwrap();
                    load(&map, 0);
                } else {
                    // The handler of Rust's runtime, which was there before, gives way when it is called for the first time.
                    for _ in 0..2 {
                        // SAFETY: raising a signal has no preconditions.
                        unsafe { libc::raise(libc::SIGBUS) };
                    }
                }
            }
        }
    }
}
