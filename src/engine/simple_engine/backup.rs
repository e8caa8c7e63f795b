//! A backup of the simple engine: a base of all entries, written anew each time.

use std::sync::Arc;

use super::base::{self, file_name};
use super::{Contents, SimpleEngine, View, write_base};
use crate::engine::wal_engine::{Report, Sealed, Supply};
use crate::engine::{Backup, Progress};
use crate::error::Result;
use crate::storage::fs::OpenMode;
use crate::storage::manifest::Manifest;
use crate::storage::{Life, Place};
use crate::types::{Lsn, Timestamp};

impl SimpleEngine {
    pub(super) fn back_up(
        &self,
        dir: &std::path::Path,
        report: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Backup> {
        let View { contents, lsn, .. } = self.view()?;
        // Behind the view: what expires in it was written after the manifest got its clock.
        let clock = self.log.manifest()?.clock.map(|clock| clock.max(self.log.now()));
        self.log.back_up(dir, &mut Entries { contents, lsn, clock, base: None, len: 0 }, report)
    }
}

/// All entries at one moment.
struct Entries {
    contents: Arc<Contents>,
    lsn: Lsn,
    /// The time, if anything expires.
    clock: Option<Timestamp>,
    /// What they were written to, and its length in bytes.
    base: Option<Life>,
    len: u64,
}

impl Supply for Entries {
    fn lsn(&self) -> Lsn {
        self.lsn
    }

    fn bring(&mut self, _to: &Place, _existing: Option<&Manifest>, _report: Report<'_>) -> Result<()> {
        Ok(())
    }

    fn put_into(
        &mut self,
        manifest: &mut Manifest,
        to: &Place,
        first: Life,
        report: Report<'_>,
    ) -> Result<()> {
        let sealed = Sealed { first, lsn: self.lsn, log_bytes: 0, view: Arc::clone(&self.contents) };
        let base = write_base(to, &sealed, None, report).inspect_err(|_| base::discard(to, first))?;
        self.base = Some(base);
        self.len = base::len(to, Some(base));
        manifest.base = Some(base);
        manifest.clock = manifest.clock.max(self.clock);
        manifest.totals.user_bytes = self.contents.user_bytes;
        Ok(())
    }

    fn take_back(&self, to: &Place) {
        if let Some(base) = self.base {
            to.discard(file_name(base.id));
        }
    }

    /// Who opens the backup reads all of the base.
    fn verify(&mut self, to: &Place, _report: Report<'_>) -> Result<()> {
        // So that it is read back from the device.
        if let Some(base) = self.base {
            drop(to.open(file_name(base.id), OpenMode::Read)?.drop_cache());
        }
        Ok(())
    }

    fn outcome(&self) -> Backup {
        let (copied_files, copied_bytes) = (u64::from(self.base.is_some()), self.len);
        Backup { lsn: self.lsn, copied_files, copied_bytes, verified_bytes: self.len, ..Backup::default() }
    }
}
