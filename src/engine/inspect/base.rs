//! The walk over a base: it was complete before anything referred to it, so whatever does not verify in it is damage.
//!
//! Entries are in no order, so nothing can be said about the keys of those that are lost.

use std::io;

use super::look::LogStart;
use super::segments::{self, FileKind, Opened};
use super::{Loss, MENDED, Sink};
use crate::error::{Error, Fault, Result};
use crate::storage::Place;
use crate::storage::wal::reader::{SegmentReader, Step};
use crate::storage::wal::record::{self, Kind};
use crate::storage::wal::segment::Link;

/// Reads a base over damage.
///
/// # Errors
/// `Interrupted`, `Format`, I/O.
pub(super) fn walk(place: &Place, base: &LogStart, mends: bool, sink: &mut dyn Sink) -> Result<()> {
    match segments::open(place, FileKind::Base, *base, Link::default(), mends, sink) {
        Err(Error::Io { source, path, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let what =
                "the file is missing, and the manifest needs it: all that was written before the log is lost";
            sink.fault(Fault::new(path, 0, what), Loss::Records);
            Ok(())
        }
        Ok(Some(Opened { reader, .. })) => entries(reader, mends, sink),
        opened => opened.map(drop),
    }
}

fn entries(mut reader: SegmentReader, mends: bool, sink: &mut dyn Sink) -> Result<()> {
    loop {
        let at = reader.position();
        match reader.next()? {
            Step::Record(record, _) if record.header.kind == Kind::Seal => return Ok(()),
            Step::Record(record, _) => {
                let count = u64::from(record.header.count);
                if record.header.kind != Kind::Base
                    || record::for_each_op(&record, |op| sink.change(op.lsn, op.to_op())).is_none()
                {
                    let what = "a record verifies and makes no sense";
                    sink.fault(Fault::new(reader.path().to_owned(), at.offset, what), Loss::Records);
                }
                sink.check(count)?;
            }
            Step::Zeros | Step::Broken => {
                let path = reader.path().to_owned();
                if mends && let Some(at) = reader.mend()? {
                    sink.fault(Fault::new(path, at, MENDED), Loss::Nothing);
                    continue;
                }
                let is_more = reader.resync()?;
                let len = if is_more { reader.position().offset - at.offset } else { reader.room() };
                let what = "entries of the base can't be read";
                sink.fault(Fault { len, ..Fault::new(path, at.offset, what) }, Loss::Records);
                if !is_more {
                    return Ok(());
                }
            }
        }
    }
}
