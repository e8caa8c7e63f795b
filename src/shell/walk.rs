//! Commands that walk over many records: they stream, on one view that does not change, and can be stopped.

use super::command::{Columns, Selection};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::output::Output;
use super::render::{Binary, Renderer};
use crate::db::Snapshot;
use crate::engine::{Cursor, KeyCursor};
use crate::error::Result;
use crate::transaction::Transaction;
use crate::types::{Direction, KeyRange, Timestamp};

/// Entries between two looks at the interrupt flag.
const CHECK_ENTRIES: u64 = 256;

/// Something that can be walked over.
pub(crate) trait Walk {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>>;

    /// Over keys alone.
    fn walk_keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>>;
}

impl Walk for Snapshot {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        self.cursor(range, direction)
    }

    fn walk_keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        self.key_cursor(range, direction)
    }
}

impl Walk for Transaction {
    fn walk(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        self.scan(range, direction)
    }

    fn walk_keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        self.keys(range, direction)
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
    let reads_values = columns != Columns::Keys || renderer.wants_values();
    let each = if reads_values { for_each } else { for_each_without_value };
    let mut binary = Binary::default();
    if renderer.looks_ahead() {
        each(selection, source, interrupt, &mut |key, value, _| {
            binary.look(key, value);
            Ok(())
        })?;
    }
    let mut records = renderer.records(columns, true);
    records.foresee(binary);
    each(selection, source, interrupt, &mut |key, value, expires| {
        records.record_until(&mut output.buffer, key, Some(value), expires);
        output.make_room()
    })?;
    records.end(&mut output.buffer);
    Ok(())
}

/// Number of records in a selection.
pub(crate) fn count(selection: &Selection, source: &dyn Walk, interrupt: &Interrupt) -> Result<u64, Failure> {
    let mut count = 0;
    for_each_key(selection, source, interrupt, &mut |_, _| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// What is done with each key of a walk, its value, and when it expires, if it does.
type Visit<'a> = &'a mut dyn FnMut(&[u8], &[u8], Option<Timestamp>) -> Result<(), Failure>;

/// What is done with each key, and the length of its value.
type VisitKey<'a> = &'a mut dyn FnMut(&[u8], u64) -> Result<(), Failure>;

/// Calls `visit` with the records of a selection, in order.
pub(crate) fn for_each(
    selection: &Selection,
    source: &dyn Walk,
    interrupt: &Interrupt,
    visit: Visit<'_>,
) -> Result<(), Failure> {
    let mut cursor = source.walk(&selection.range, selection.direction)?;
    let admits = admission(selection);
    up_to_limit(selection, interrupt, || match cursor.next_entry()? {
        Some((key, value, expires)) if admits(key) => visit(key, value, expires).map(|()| Step::Taken),
        Some(_) => Ok(Step::Passed),
        None => Ok(Step::End),
    })?;
    Ok(cursor.check()?)
}

/// Calls `visit` with the keys of a selection, in order, and nothing for their values.
fn for_each_without_value(
    selection: &Selection,
    source: &dyn Walk,
    interrupt: &Interrupt,
    visit: Visit<'_>,
) -> Result<(), Failure> {
    for_each_key(selection, source, interrupt, &mut |key, _| visit(key, b"", None))
}

/// Calls `visit` with the keys of a selection, in order, and how many bytes the value of each has. Values are not read.
pub(crate) fn for_each_key(
    selection: &Selection,
    source: &dyn Walk,
    interrupt: &Interrupt,
    visit: VisitKey<'_>,
) -> Result<(), Failure> {
    let mut cursor = source.walk_keys(&selection.range, selection.direction)?;
    let admits = admission(selection);
    up_to_limit(selection, interrupt, || match cursor.next()? {
        Some((key, value_len)) if admits(key) => visit(key, value_len).map(|()| Step::Taken),
        Some(_) => Ok(Step::Passed),
        None => Ok(Step::End),
    })
}

/// What a step of a walk came upon.
enum Step {
    /// A record of the selection.
    Taken,
    /// A record whose key is not like the pattern.
    Passed,
    End,
}

/// Whether a key in the range of a selection is of the selection.
fn admission(selection: &Selection) -> impl Fn(&[u8]) -> bool {
    |key| selection.glob.as_ref().is_none_or(|glob| glob.matches(key))
}

/// Takes steps until one says that there are no more, the limit is reached, or the user interrupts.
#[inline]
fn up_to_limit(
    selection: &Selection,
    interrupt: &Interrupt,
    mut step: impl FnMut() -> Result<Step, Failure>,
) -> Result<(), Failure> {
    let (mut left, mut steps) = (selection.limit.unwrap_or(u64::MAX), 0_u64);
    while left > 0 {
        if steps.is_multiple_of(CHECK_ENTRIES) {
            interrupt.check()?;
        }
        steps += 1;
        match step()? {
            Step::Taken => left -= 1,
            Step::Passed => {}
            Step::End => break,
        }
    }
    Ok(())
}
