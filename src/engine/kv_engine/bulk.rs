//! A bulk on the LSM tree: little is committed through the log, much as tables.

use super::{KvEngine, sealed_memtables};
use crate::engine::lsm::bulk::{Chunk, Loose};
use crate::engine::lsm::flush;
use crate::engine::lsm::tree::Tree;
use crate::engine::lsm::version::Version;
use crate::engine::wal_engine::Maintenance;
use crate::engine::{Bulk, Engine};
use crate::error::Result;
use crate::storage::RunTable;
use crate::storage::wal::record;
use crate::types::Op;

/// How often memtables are flushed before a commit, which flushes what has come meanwhile with others waiting.
const FLUSHES: usize = 2;

/// See [`Bulk`].
pub(super) struct KvBulk<'a> {
    engine: &'a KvEngine,
    chunk: Chunk,
    /// What was too much for one chunk, and the right to merge: nobody else uses the numbers of its tables.
    loose: Option<(Maintenance<'a, Tree>, Loose)>,
}

impl<'a> KvBulk<'a> {
    pub(super) fn new(engine: &'a KvEngine) -> Self {
        Self { engine, chunk: Chunk::default(), loose: None }
    }

    /// Writes the chunk to tables. After an error it is still there.
    fn write_chunk(&mut self) -> Result<()> {
        if self.loose.is_none() {
            self.engine.stop_background();
            let right = self.engine.shared.log.merge()?;
            right.discard_strays();
            let loose = Loose::new(right.place(), &right.manifest()?, self.engine.shared.manner());
            self.loose = Some((right, loose));
        }
        if let Some((_, loose)) = &mut self.loose {
            loose.write(&mut self.chunk, &|| !self.engine.shared.log.is_interrupted())?;
            self.chunk.clear();
        }
        Ok(())
    }
}

impl Bulk for KvBulk<'_> {
    fn apply(&mut self, op: Op) -> Result<()> {
        record::check(&op)?;
        self.chunk.push(op);
        if self.chunk.memory() >= self.engine.shared.pace.chunk { self.write_chunk() } else { Ok(()) }
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        if self.loose.is_none() {
            let batch = self.chunk.ops().collect();
            self.chunk = Chunk::default();
            let mut turn = self.engine.turn("load")?;
            turn.write(batch)?;
            return turn.commit();
        }
        self.write_chunk()?;
        let Some((_, loose)) = &mut self.loose else { return Ok(()) };
        let engine = self.engine;
        let maintenance = engine.shared.log.maintain()?;
        let run = complete(engine, &maintenance, loose)?;
        install(engine, &maintenance, loose, run).inspect_err(|_| maintenance.discard_strays())?;
        // Nothing is stray, and others may merge.
        self.loose = None;
        if engine.shared.pace.in_background {
            engine.work_in_background();
        }
        Ok(())
    }
}

/// Does beforehand what can be done without stopping the others.
fn complete(
    engine: &KvEngine,
    maintenance: &Maintenance<'_, Tree>,
    loose: &mut Loose,
) -> Result<Vec<RunTable>> {
    for _ in 0..FLUSHES {
        let sealed = maintenance.seal(sealed_memtables)?;
        engine.shared.flush(maintenance, &sealed, &mut |_| true)?;
    }
    let manifest = maintenance.manifest()?;
    let older = Version::new(&manifest.runs, manifest.seed, maintenance.place(), None)?;
    loose.complete(&older.runs, &|| !engine.shared.log.is_interrupted())
}

/// Puts a run on top of everything that was committed before.
fn install(
    engine: &KvEngine,
    maintenance: &Maintenance<'_, Tree>,
    loose: &Loose,
    run: Vec<RunTable>,
) -> Result<()> {
    let manner = engine.shared.manner();
    maintenance.seal_and_install(1, sealed_memtables, |manifest, sealed| {
        let expired_by = maintenance.expired_by();
        let flushed =
            flush::write(maintenance.place(), manifest, &sealed, manner, expired_by, &mut |_| true)?;
        if let Some(flushed) = flushed {
            flushed.put_into(manifest);
        }
        loose.put_into(manifest, run, sealed.lsn);
        Ok(())
    })
}

impl Drop for KvBulk<'_> {
    fn drop(&mut self) {
        if let Some((right, _)) = &self.loose {
            right.discard_strays();
        }
    }
}
