//! Exporting records to the formats that other programs read: CSV, TSV and JSON lines.
//!
//! A file is what `scan` prints in the output mode of that name, from one snapshot, and comes back exactly through
//! [`import`](super::import). Where a value expires, a further column or field `expires` says when; in CSV and TSV it is there if
//! any does, and so are further columns for what is no text. The first line names the columns, and what went to a pipe can't be
//! taken back: so all records are looked at before the first is written, which costs a second walk and no memory. A file appears
//! under its name when it is complete.

use super::command::{Export, OutputMode, Selection};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::render::{Binary, Renderer};
use super::walk::{Walk, for_each};
use crate::shell::command::{Columns, Format};
use crate::types::KeyRange;

/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// What is told of each step: steps done, records written, and how often all records are passed.
pub(crate) type Tick<'a> = &'a mut dyn FnMut(u64, u64, u64);

/// Writes what `source` holds, in pieces; returns the number of records.
pub(crate) fn write(
    source: &dyn Walk,
    (format, export): (Format, &Export),
    interrupt: &Interrupt,
    tick: Tick<'_>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let selection = Selection { range: KeyRange::prefix(&export.prefix), ..Selection::default() };
    let stripped = if export.strip { export.prefix.len() } else { 0 };
    let mut renderer = Renderer::new(mode(format), None, true);
    let mut binary = Binary::default();
    let (mut done, passes) = (0, 1 + u64::from(format != Format::Jsonl));
    let mut lifetimes = format == Format::Jsonl;
    if format != Format::Jsonl {
        for_each(&selection, source, interrupt, &mut |key, value, expires| {
            lifetimes |= expires.is_some();
            done += 1;
            tick(done, 0, passes);
            binary.look(&key[stripped..], value);
            Ok(())
        })?;
    }
    let (mut piece, mut count) = (Vec::new(), 0);
    let mut records = renderer.records(Columns::Both, true);
    records.foresee(binary);
    if lifetimes {
        records.tell_lifetimes();
    }
    for_each(&selection, source, interrupt, &mut |key, value, expires| {
        records.record_until(&mut piece, &key[stripped..], Some(value), expires);
        (done, count) = (done + 1, count + 1);
        tick(done, count, passes);
        if piece.len() >= PIECE_BYTES {
            sink(&piece)?;
            piece.clear();
        }
        Ok(())
    })?;
    records.end(&mut piece);
    sink(&piece)?;
    Ok(count)
}

/// The output mode that is the format.
const fn mode(format: Format) -> OutputMode {
    match format {
        Format::Csv => OutputMode::Csv,
        Format::Tsv => OutputMode::Tsv,
        Format::Jsonl => OutputMode::Jsonl,
    }
}
