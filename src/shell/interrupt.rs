//! Ctrl-C and termination requests as a flag that long work looks at, and as bytes that wake a wait for input.
//!
//! A signal never ends the process in the middle of a commit: whoever runs commands looks at the flag between them. Outside a
//! session a second signal ends the process at once (the log survives that), for when the first one is not heard.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

use super::exit::Exit;
use crate::error::{Error, Result};

/// The flag, and the descriptor that becomes readable when it is raised.
#[derive(Debug)]
pub(crate) struct Interrupt {
    raised: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Interrupt {
    /// For a run without a person at a prompt: both signals ask it to end.
    pub(crate) fn for_run() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        let raised = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, i32::from(Exit::INTERRUPTED.0), Arc::clone(&raised))?;
            flag::register(signal, Arc::clone(&raised))?;
            low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self { raised, wake })
    }

    /// For a prompt: Ctrl-C stops what runs; a termination request keeps its usual meaning.
    pub(crate) fn for_prompt() -> io::Result<Self> {
        let (wake, _) = UnixStream::pair()?;
        let raised = Arc::new(AtomicBool::new(false));
        flag::register(SIGINT, Arc::clone(&raised))?;
        Ok(Self { raised, wake })
    }

    pub(crate) fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }

    /// An error when the flag is raised.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_raised() { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Lowers the flag: what it asked for has been done.
    pub(crate) fn clear(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }

    /// Readable once the flag has been raised.
    pub(crate) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
