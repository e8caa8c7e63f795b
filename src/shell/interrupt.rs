//! Ctrl-C and termination requests as a flag that long work looks at, and as bytes that wake a wait for input.
//!
//! Those bytes need a pair of descriptors, which is made when something waits for the first time: most one-shots never do.
//!
//! A signal never ends the process in the middle of a commit: whoever runs commands looks at the flag between them. Outside a
//! session a second signal ends the process at once (the log survives that), for when the first one is not heard.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::{flag, low_level};

use super::command::Command;
use super::exit::Exit;
use crate::error::{Error, Result};

/// The flag, and the descriptor that becomes readable when it is raised.
#[derive(Debug)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    /// It was a termination request.
    terminated: Arc<AtomicBool>,
    signals: &'static [i32],
    wake: OnceLock<UnixStream>,
}

impl Interrupt {
    /// For a run without a person at a prompt: both signals ask it to end.
    pub(crate) fn for_run() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for (signal, exit) in [(SIGINT, Exit::INTERRUPTED), (SIGTERM, Exit::TERMINATED)] {
            flag::register_conditional_shutdown(signal, i32::from(exit.0), Arc::clone(&raised))?;
        }
        let interrupt = Self::raised_by(&[SIGINT, SIGTERM], raised)?;
        flag::register(SIGTERM, Arc::clone(&interrupt.terminated))?;
        Ok(interrupt)
    }

    /// For a prompt: Ctrl-C stops what runs; a termination request keeps its usual meaning.
    pub(crate) fn for_prompt() -> io::Result<Self> {
        Self::raised_by(&[SIGINT], Arc::new(AtomicBool::new(false)))
    }

    fn raised_by(signals: &'static [i32], raised: Arc<AtomicBool>) -> io::Result<Self> {
        // A file that has become as long as it may be is an error of the write, not the end of the process.
        flag::register(SIGXFSZ, Arc::default())?;
        for &signal in signals {
            flag::register(signal, Arc::clone(&raised))?;
        }
        Ok(Self { raised, terminated: Arc::default(), signals, wake: OnceLock::new() })
    }

    /// One that nothing raises.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self { raised: Arc::default(), terminated: Arc::default(), signals: &[], wake: OnceLock::new() }
    }

    /// The flag itself, for what looks at it by its own means.
    pub(crate) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.raised)
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// The exit code of a run that it ended.
    pub(crate) fn exit(&self) -> Exit {
        if self.terminated.load(Ordering::SeqCst) { Exit::TERMINATED } else { Exit::INTERRUPTED }
    }

    /// An error when the flag is raised.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Lowers the flag: what it asked for has been done.
    pub(crate) fn clear(&self) {
        if let Some(mut wake) = self.wake.get() {
            while wake.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        }
        self.raised.store(false, Ordering::SeqCst);
    }

    /// Readable once the flag is raised. It may have been raised before the first call, so look at it behind that.
    pub(crate) fn wake(&self) -> io::Result<BorrowedFd<'_>> {
        if let Some(wake) = self.wake.get() {
            return Ok(wake.as_fd());
        }
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        for &signal in self.signals {
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(self.wake.get_or_init(|| wake).as_fd())
    }
}

/// What became of the work of a command that was interrupted; empty where it only reads.
pub(crate) const fn left_behind(command: &Command) -> &'static str {
    match command {
        Command::Set { .. }
        | Command::Delete { .. }
        | Command::DeletePrefix { .. }
        | Command::Rename { .. }
        | Command::Expire { .. }
        | Command::Incr { .. }
        | Command::Append { .. } => "nothing was written",
        Command::Commit => "nothing was committed, the transaction is rolled back",
        Command::Load { .. } => "nothing was loaded",
        Command::Import { .. } => "nothing was imported",
        Command::Dump { file: Some(_) } | Command::Export { .. } => "the file is as it was",
        Command::Compact => "the database holds what it did",
        Command::Repair { .. } => "no new database was made",
        Command::Backup { .. } => "the directory is as it was, or holds all of the backup, not verified",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use signal_hook::consts::SIGUSR1;

    use super::*;

    #[test]
    fn a_signal_raises_the_flag_and_wakes_until_it_is_cleared() {
        let raised = Arc::new(AtomicBool::new(false));
        let interrupt = Interrupt::raised_by(&[SIGUSR1], raised).unwrap();
        let is_awake = || {
            let wake = interrupt.wake().unwrap();
            let mut wake = [rustix::event::PollFd::from_borrowed_fd(wake, rustix::event::PollFlags::IN)];
            let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            rustix::event::poll(&mut wake, Some(&now)).unwrap() > 0
        };
        low_level::raise(SIGUSR1).unwrap();
        assert!(interrupt.check().is_err());
        interrupt.clear();
        assert!(interrupt.check().is_ok() && !is_awake());
        low_level::raise(SIGUSR1).unwrap();
        assert!(interrupt.check().is_err() && is_awake());
        interrupt.clear();
        assert!(interrupt.check().is_ok() && !is_awake());
    }
}
