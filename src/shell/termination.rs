//! A termination request at the prompt: the process ends, and the terminal is as it was found.
//!
//! While a line is edited the terminal passes on every key as it is pressed, and that outlives the process that asked for
//! it. The line editor undoes it when it returns, but nothing returns from a deadly signal. So a thread waits for the
//! signal, puts the terminal back, and then lets the signal do what it does everywhere else: whoever started the process
//! sees which one ended it.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::{emulate_default_handler, pipe};

/// Ends bracketed paste, which the line editor asks for together with raw keys, and the line.
const END_OF_EDIT: &[u8] = b"\x1b[?2004l\r\n";

/// From now on the signals that end a session put the terminal back first.
pub(crate) fn restore_the_terminal_first() -> io::Result<()> {
    let Ok(found) = tcgetattr(io::stdin()) else { return Ok(()) };
    for signal in [SIGTERM, SIGHUP] {
        let (mut asked, ask) = UnixStream::pair()?;
        pipe::register(signal, ask)?;
        let found = found.clone();
        thread::Builder::new().name("termination".into()).spawn(move || {
            asked.read_exact(&mut [0])?;
            drop(restore(&found));
            emulate_default_handler(signal)
        })?;
    }
    Ok(())
}

/// Puts the terminal back if a line is being edited. An error means that the terminal is gone.
fn restore(found: &Termios) -> io::Result<()> {
    if !tcgetattr(io::stdin())?.local_modes.contains(LocalModes::ICANON) {
        tcsetattr(io::stdin(), OptionalActions::Now, found)?;
        rustix::io::write(io::stdout(), END_OF_EDIT)?;
    }
    Ok(())
}
