//! What happened to the files of a disk: a campaign means little where nothing does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::DIR;
use crate::storage::fs::Fs as _;
use crate::storage::fs::sim::{Call, Op, SimFs};
use crate::storage::manifest::{self, Manifest};

/// What the manifests that were installed had in them.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    flushes: AtomicU64,
    /// Slices of merges after which there was more to merge.
    unfinished: AtomicU64,
    /// Tables of which only a part counted any more.
    floors: AtomicU64,
    bulks: AtomicU64,
}

/// The numbers of [`Sightings`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) flushes: u64,
    pub(super) unfinished: u64,
    pub(super) floors: u64,
    pub(super) bulks: u64,
}

impl Sightings {
    /// Looks at every manifest that is installed on a disk from now on: by this process, or by any.
    pub(super) fn watch(self: &Arc<Self>, disk: &SimFs, process: Option<u64>) {
        let sightings = Arc::clone(self);
        disk.set_observer(Arc::new(move |call, disk| {
            if process.is_none_or(|process| process == call.process)
                && let Some((before, after)) = installed(call, disk)
            {
                sightings.note(&before, &after);
            }
        }));
    }

    fn note(&self, before: &Manifest, after: &Manifest) {
        let add = |counter: &AtomicU64, count: usize| counter.fetch_add(count as u64, Ordering::Relaxed);
        let is_bulk = after.bulk != before.bulk;
        add(&self.bulks, usize::from(is_bulk));
        add(&self.flushes, usize::from(after.next_flushed != before.next_flushed));
        let is_merge = after.next_merged != before.next_merged && !is_bulk;
        add(&self.unfinished, usize::from(is_merge && after.merging.is_some()));
        add(&self.floors, after.runs.iter().flatten().filter(|listed| !listed.floor.is_empty()).count());
    }

    pub(super) fn seen(&self) -> Seen {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Seen {
            flushes: of(&self.flushes),
            unfinished: of(&self.unfinished),
            floors: of(&self.floors),
            bulks: of(&self.bulks),
        }
    }
}

/// The manifest that is in force before a call, and the one that takes its place, if one does.
fn installed(call: &Call, disk: &SimFs) -> Option<(Manifest, Manifest)> {
    let target =
        call.target.as_ref().filter(|target| call.op == Op::Rename && target.ends_with(manifest::NAME))?;
    let process = disk.clone_disk().process();
    let read = || Manifest::read(&*process, Path::new(DIR)).unwrap();
    let before = read()?;
    process.rename(&call.path, target).unwrap();
    Some((before, read()?))
}
