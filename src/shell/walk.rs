//! Commands that walk over many records: they stream, on one view that does not change, and can be stopped.

use super::command::{Columns, Selection};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use super::render::{Binary, Renderer};
use crate::db::Snapshot;
use crate::engine::Cursor;
use crate::error::Result;
use crate::transaction::Transaction;
use crate::types::{Direction, KeyRange, Timestamp};

/// Entries between two looks at the interrupt flag.
const CHECK_ENTRIES: u64 = 256;

/// Something that can be walked over.
pub(crate) trait Walk {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>>;
}

impl Walk for Snapshot {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        self.cursor(range, direction)
    }
}

impl Walk for Transaction {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        self.scan(range, direction)
    }
}

/// Writes the records of a selection as they are found.
pub(crate) fn scan(
    selection: &Selection,
    columns: Columns,
    source: &dyn Walk,
    renderer: &mut Renderer,
    output: &mut Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let binary = if renderer.looks_ahead() { look(selection, source, interrupt)? } else { Binary::default() };
    let mut records = renderer.records(columns, true);
    records.foresee(binary);
    for_each(selection, source, interrupt, &mut |key, value, expires| {
        records.record_until(&mut output.buffer, key, Some(value), expires);
        output.make_room()
    })?;
    records.end(&mut output.buffer);
    Ok(())
}

/// What stands in the way of writing a selection as text.
fn look(selection: &Selection, source: &dyn Walk, interrupt: &Interrupt) -> Result<Binary, Failure> {
    let mut binary = Binary::default();
    for_each(selection, source, interrupt, &mut |key, value, _| {
        binary.look(key, value);
        Ok(())
    })?;
    Ok(binary)
}

/// Number of records in a selection.
pub(crate) fn count(selection: &Selection, source: &dyn Walk, interrupt: &Interrupt) -> Result<u64, Failure> {
    let mut count = 0;
    for_each(selection, source, interrupt, &mut |_, _, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What is done with each key of a walk, its value, and when it expires, if it does.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8], Option<Timestamp>) -> Result<(), Failure>;

/// Calls `visit` with the records of a selection, in order.
pub(crate) fn for_each(
    selection: &Selection,
    source: &dyn Walk,
    interrupt: &Interrupt,
    visit: Visit<'_>,
) -> Result<(), Failure> {
    let limit = selection.limit.unwrap_or(u64::MAX);
    let mut cursor = source.walk(&selection.range, selection.direction)?;
    for done in 0..limit {
        if done.is_multiple_of(CHECK_ENTRIES) {
            interrupt.check()?;
        }
        match cursor.next_entry()? {
            Some((key, value, expires)) => visit(key, value, expires)?,
            None => break,
        }
    }
    Ok(())
}
