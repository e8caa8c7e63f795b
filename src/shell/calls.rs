//! Where tests make the system calls fail that the shell makes on files of the user. Outside of tests nothing ever does.
//!
//! Who makes a call asks here before: [`step`], or, where bytes are read or written, [`transfer`], which says how many of them.

use std::io;

/// How many bytes a call may read or write that is about to be made for `len`.
#[cfg(not(test))]
#[expect(clippy::unnecessary_wraps, reason = "in tests it fails")]
pub(crate) const fn transfer(len: usize) -> io::Result<usize> {
    Ok(len)
}

#[cfg(test)]
pub(crate) use faulty::transfer;

/// Before a call that reads and writes nothing. Where a signal interrupts it, it is made again.
pub(crate) fn step() -> io::Result<()> {
    match transfer(1) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        allowed => allowed.map(drop),
    }
}

#[cfg(test)]
pub(in crate::shell) mod faulty {
    use std::cell::Cell;
    use std::io;

    use rustix::io::Errno;

    /// How a call fails.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(in crate::shell) enum Fault {
        Eio,
        Enospc,
        /// Nothing was read or written, and it is to be made again.
        Eintr,
        /// Half of the bytes, but at least one.
        Short,
        /// The same, and no room for the rest, nor for anything behind it.
        Full,
    }

    /// Those that concern one call.
    pub(in crate::shell) const FAULTS: [Fault; 4] = [Fault::Eio, Fault::Enospc, Fault::Eintr, Fault::Short];

    thread_local! {
        static CALLS: Cell<u64> = const { Cell::new(0) };
        static FAILING: Cell<Option<(u64, bool, Fault)>> = const { Cell::new(None) };
    }

    /// Counts from here on, and makes a call of this thread fail: the one with that number, or with `for_good` all from there on.
    pub(in crate::shell) fn begin(failing: Option<(u64, bool, Fault)>) {
        CALLS.set(0);
        FAILING.set(failing);
    }

    /// Makes nothing fail any more; returns how many calls there were.
    pub(in crate::shell) fn end() -> u64 {
        FAILING.set(None);
        CALLS.get()
    }

    pub(crate) fn transfer(len: usize) -> io::Result<usize> {
        let call = CALLS.get() + 1;
        CALLS.set(call);
        match FAILING.get() {
            Some((from, _, Fault::Full)) if call > from => Err(Errno::NOSPC.into()),
            Some((from, for_good, fault)) if call == from || (for_good && call > from) => match fault {
                Fault::Eio => Err(Errno::IO.into()),
                Fault::Enospc => Err(Errno::NOSPC.into()),
                Fault::Eintr => Err(Errno::INTR.into()),
                Fault::Short | Fault::Full => Ok(len.div_ceil(2)),
            },
            _ => Ok(len),
        }
    }
}
