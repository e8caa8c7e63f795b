//! A stream that can be looked at.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;

use super::super::session::Stream;

/// What was written to it is kept for whoever has a clone.
#[derive(Clone, Default)]
pub(in crate::shell) struct Captured(Rc<RefCell<Vec<u8>>>);

impl Captured {
    /// A stream of the shell that is no terminal.
    pub(in crate::shell) fn stream(&self) -> Stream {
        Stream { sink: Box::new(self.clone()), width: None, height: None, colour: false, unicode: false }
    }

    pub(in crate::shell) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
