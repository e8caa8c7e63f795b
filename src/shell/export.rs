//! Exporting records to the formats that other programs read: CSV, TSV and JSON lines.
//!
//! A file is what `scan` prints in the output mode of that name, from one snapshot, and comes back exactly through
//! [`import`](super::import). It appears under its name when it is complete.

use super::command::{Export, OutputMode, Selection};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::render::{Binary, Renderer};
use super::walk::{Walk, for_each};
use crate::shell::command::{Columns, Format};
use crate::types::{Direction, KeyRange};

/// Bytes that are handed on at once.
const PIECE_BYTES: usize = 64 << 10;

/// Writes what `source` holds, in pieces; returns the number of records.
pub(crate) fn write(
    source: &dyn Walk,
    format: Format,
    export: &Export,
    interrupt: &Interrupt,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let range = KeyRange::prefix(&export.prefix);
    let selection = Selection { range, direction: Direction::Forward, limit: None };
    let stripped = if export.strip { export.prefix.len() } else { 0 };
    let mut renderer = Renderer::new(mode(format), None, true);
    let mut binary = Binary::default();
    if renderer.looks_ahead() {
        for_each(&selection, source, interrupt, &mut |key, value, _| {
            binary.look(&key[stripped..], value);
            Ok(())
        })?;
    }
    let (mut piece, mut count) = (Vec::new(), 0);
    let mut records = renderer.records(Columns::Both, true);
    records.foresee(binary);
    for_each(&selection, source, interrupt, &mut |key, value, _| {
        records.record(&mut piece, &key[stripped..], Some(value));
        count += 1;
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
