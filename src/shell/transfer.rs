//! Commands that move many records between the database and files: `.dump`, `.load`, `.import`, `.export`.
//!
//! Each shows on a terminal how far it is, unless its results are shown there; `-` is standard input for a one-shot, and where
//! results go.

use std::path::Path;

use super::command::{Export, Format, Import};
use super::failure::Failure;
use super::files::{self, Source};
use super::interrupt::Interrupt;
use super::load::load;
use super::progress::{Meter, Step};
use super::render::Quantity;
use super::session::{Session, Way, walk_source};
use super::{dump, export, import};
use crate::error::Error;

/// Checks a dump for which a database would be created: a bad one leaves none behind. A pipe can be read once only.
fn check_before_creating(path: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    let file = files::open(path)?;
    if files::is_regular(&file) {
        dump::check(&path.display().to_string(), file, interrupt)?;
    }
    Ok(())
}

impl Session {
    pub(crate) fn dump(&mut self, file: Option<&Path>) -> Result<(), Failure> {
        let file = file.filter(|path| *path != Path::new("-"));
        let total = self.record_count(file.is_some());
        let columns = self.meter_columns(file.is_some());
        let mut slot = None;
        let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
        let mut meter = Meter::new(&mut *self.errors.sink, columns, "dumping").look(self.look);
        let mut count = 0;
        let mut tick = || {
            count += 1;
            meter.tick(|| records(count, total));
        };
        let Some(path) = file else {
            let output = &mut self.output;
            dump::write(source, &self.interrupt, &mut |piece| {
                tick();
                output.buffer.extend_from_slice(piece);
                output.make_room()
            })?;
            return Ok(());
        };
        let mut file = files::NewFile::create(path)?;
        let count = dump::write(source, &self.interrupt, &mut |piece| {
            tick();
            file.write(piece)
        })?;
        file.install()?;
        drop(meter);
        self.renderer.number(&mut self.output.buffer, Quantity::Count, count);
        Ok(())
    }

    pub(crate) fn load(&mut self, path: &Path) -> Result<(), Failure> {
        self.refuse_in_block(".load")?;
        self.connection.check_writable()?;
        let is_stdin = path == Path::new("-") && self.way == Way::OneShot;
        if !is_stdin && matches!(self.connection.reader(), Err(Error::NoDatabase { .. })) {
            check_before_creating(path, &self.interrupt)?;
        }
        let source = self.source(path)?;
        let columns = self.meter_columns(true);
        let mut meter = Meter::new(&mut *self.errors.sink, columns, "loading").look(self.look);
        let interrupt = &self.interrupt;
        let count = load(&mut self.connection, |sink| {
            let mut count = 0;
            dump::read(&source.name, &source, interrupt, &mut |key, value, expires| {
                count += 1;
                meter.tick(|| read_so_far(&source, count));
                sink(key, value, expires)
            })
        })?;
        drop(meter);
        self.connection.past.forget("what .load brings in, and what came before, can't be taken back");
        self.renderer.number(&mut self.output.buffer, Quantity::Count, count);
        Ok(())
    }

    pub(crate) fn import(&mut self, path: &Path, format: Format, import: &Import) -> Result<(), Failure> {
        self.refuse_in_block(".import")?;
        if !import.dry_run {
            self.connection.check_writable()?;
        }
        let source = self.source(path)?;
        let columns = self.meter_columns(true);
        let what = if import.dry_run { "checking" } else { "importing" };
        let mut meter = Meter::new(&mut *self.errors.sink, columns, what).look(self.look);
        let interrupt = &self.interrupt;
        let mut read = |sink: dump::Sink<'_>| {
            let mut count = 0;
            import::read(&source.name, &source, (format, import), interrupt, &mut |key, value, expires| {
                count += 1;
                meter.tick(|| read_so_far(&source, count));
                sink(key, value, expires)
            })
        };
        let (imported, quantity) = if import.dry_run {
            (read(&mut |_, _, _| Ok(()))?, Quantity::WouldImport)
        } else {
            (load(&mut self.connection, read)?, Quantity::Imported)
        };
        drop(meter);
        if !import.dry_run {
            self.connection.past.forget("what .import brings in, and what came before, can't be taken back");
        }
        self.renderer.number(&mut self.output.buffer, quantity, imported.records);
        if let Some(notice) = imported.notice {
            self.note(&notice);
        }
        Ok(())
    }

    pub(crate) fn export(&mut self, path: &Path, format: Format, export: &Export) -> Result<(), Failure> {
        let is_file = path != Path::new("-");
        let total = if export.prefix.is_empty() { self.record_count(is_file) } else { None };
        let columns = self.meter_columns(is_file);
        let mut slot = None;
        let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
        let mut meter = Meter::new(&mut *self.errors.sink, columns, "exporting").look(self.look);
        let mut tick = |done, count, passes| {
            let total = total.map(|total| total * passes);
            meter.tick(|| Step { done, ..records(count, total) });
        };
        if !is_file {
            let output = &mut self.output;
            export::write(source, (format, export), &self.interrupt, &mut tick, &mut |piece| {
                output.buffer.extend_from_slice(piece);
                output.make_room()
            })?;
            return Ok(());
        }
        let mut file = files::NewFile::create(path)?;
        let sink = &mut |piece: &[u8]| file.write(piece);
        let count = export::write(source, (format, export), &self.interrupt, &mut tick, sink)?;
        file.install()?;
        drop(meter);
        self.renderer.number(&mut self.output.buffer, Quantity::Exported, count);
        Ok(())
    }

    pub(super) fn source(&self, path: &Path) -> Result<Source, Failure> {
        if path == Path::new("-") && self.way == Way::OneShot { Source::stdin() } else { Source::open(path) }
    }

    /// The columns that a line on how far the work is may take; `None` where nobody reads it, or where it would stand
    /// between results.
    pub(crate) fn meter_columns(&self, is_elsewhere: bool) -> Option<fn() -> usize> {
        let is_apart = is_elsewhere || self.renderer.columns().is_none();
        self.errors.width.filter(|_| is_apart && !self.speaks_json())
    }

    /// How many records there are, about, if somebody wants to know how far the walk over them is.
    fn record_count(&mut self, is_elsewhere: bool) -> Option<u64> {
        self.meter_columns(is_elsewhere)?;
        self.connection.reader().ok()?.stats().ok().map(|stats| stats.keys)
    }
}

fn records(count: u64, total: Option<u64>) -> Step {
    Step { done: count, total, count, unit: "records", more: String::new() }
}

/// How far a file is read.
fn read_so_far(source: &Source, count: u64) -> Step {
    match source.position() {
        Some((done, total)) => Step { done, ..records(count, Some(total)) },
        None => records(count, None),
    }
}
