//! [`SimProcess`]: the system calls of one simulated process, each counted, logged, shown to the observer and perhaps
//! made to fail before it reaches the disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

use super::super::{File, Fs, Inode, LockKind, Mapping, Moment, OpenMode};
use super::image::index;
use super::inode::InodeId;
use super::{Call, Fault, Holder, Killed, Op, SimFs, State};

/// One process's view of a disk.
#[derive(Clone, Debug)]
pub(crate) struct SimProcess {
    pub(super) fs: SimFs,
    pub(super) id: u64,
}

impl SimProcess {
    /// The number by which [`Call::process`] names it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Ends the process as `kill -9` would: its locks are free, what it wrote stays, and every further call of its
    /// fails.
    pub(crate) fn kill(&self) {
        self.fs.state().kill(self.id);
    }

    fn call(&self, op: Op, path: &Path) -> Call {
        Call { number: 0, process: self.id, op, path: path.into(), target: None, offset: 0, len: 0 }
    }

    /// Makes a call: counts, logs, shows and perhaps fails it. `body` is told how many bytes to transfer.
    fn perform<T>(&self, call: Call, body: impl FnOnce(&mut State, usize) -> io::Result<T>) -> io::Result<T> {
        self.perform_or(call, body, |_| ())
    }

    /// The same, with what remains to be done when the call is made to fail.
    fn perform_or<T>(
        &self,
        call: Call,
        body: impl FnOnce(&mut State, usize) -> io::Result<T>,
        on_failure: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let (op, len) = (call.op, call.len);
        let fault = self.announce(call)?;
        let mut state = self.fs.state();
        state.check_alive(self.id)?;
        let transfers = matches!(op, Op::Read | Op::Write);
        match fault {
            Some(Fault::Eio | Fault::Enospc) => {
                on_failure(&mut state);
                Err(if fault == Some(Fault::Eio) { Errno::IO } else { Errno::NOSPC }.into())
            }
            Some(Fault::Eintr) if transfers => Err(Errno::INTR.into()),
            Some(Fault::Short) => body(&mut state, len.div_ceil(2)),
            Some(Fault::Kill) => {
                state.kill(self.id);
                Err(io::Error::other(Killed))
            }
            Some(Fault::KillInside) => {
                let outcome = body(&mut state, len.div_ceil(2));
                state.kill(self.id);
                drop(state);
                outcome.and(Err(io::Error::other(Killed)))
            }
            Some(Fault::Eintr) | None => body(&mut state, len),
        }
    }

    /// Counts, logs and shows a call, and answers with the fault that is planned for it.
    fn announce(&self, mut call: Call) -> io::Result<Option<Fault>> {
        let mut state = self.fs.state();
        state.check_alive(self.id)?;
        state.calls += 1;
        call.number = state.calls;
        state.record(call.clone());
        let observer = state.observer.clone().filter(|_| state.observes_all || call.op.is_mutating());
        drop(state);
        if let Some(observer) = observer {
            observer(&call, &self.fs);
        }
        Ok(self.fs.state().planned_fault(call.number))
    }
}

impl Fs for SimProcess {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        self.perform(self.call(Op::Open(mode), path), |state, _| {
            let inode = state.disk.open(path, mode)?;
            state.opens += 1;
            let holder = Holder { process: self.id, open: state.opens };
            state.open.entry(inode).or_default().insert(holder, false);
            let (process, writable) = (self.clone(), mode != OpenMode::Read);
            Ok(Arc::new(SimFile { process, path: path.into(), inode, holder, writable }) as Arc<dyn File>)
        })
    }

    /// To look who is where is no call: it is done when time has passed, which tests don't count.
    fn inode(&self, path: &Path) -> io::Result<Inode> {
        let state = self.fs.state();
        state.check_alive(self.id)?;
        state.disk.lookup(path).map(inode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call { target: Some(to.to_owned()), ..self.call(Op::Rename, from) };
        self.perform(call, |state, _| state.disk.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let call = Call { target: Some(to.to_owned()), ..self.call(Op::Link, from) };
        self.perform(call, |state, _| {
            if state.refuses_links {
                return Err(Errno::XDEV.into());
            }
            state.disk.hard_link(from, to)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.perform(self.call(Op::RemoveFile, path), |state, _| state.disk.remove_file(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(self.call(Op::CreateDir, path), |state, _| state.disk.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(self.call(Op::RemoveDir, path), |state, _| state.disk.remove_dir(path))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.perform(self.call(Op::ReadDir, path), |state, _| state.disk.read_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(self.call(Op::SyncDir, path), |state, _| {
            if (state.skips_sync)(path) { state.disk.check_dir(path) } else { state.disk.sync_dir(path) }
        })
    }

    /// Reading the clocks is no call: it can't fail.
    fn now(&self) -> Moment {
        self.fs.state().disk.now()
    }

    fn boot_id(&self) -> io::Result<u128> {
        self.perform(self.call(Op::BootId, Path::new("")), |state, _| Ok(state.disk.boot_id()))
    }
}

/// There is one device only.
const fn inode(number: InodeId) -> Inode {
    Inode { device: 0, number }
}

/// An open file of a simulated process.
#[derive(Debug)]
struct SimFile {
    process: SimProcess,
    path: Arc<Path>,
    inode: InodeId,
    holder: Holder,
    writable: bool,
}

impl SimFile {
    fn call(&self, op: Op) -> Call {
        let path = Arc::clone(&self.path);
        Call { number: 0, process: self.process.id, op, path, target: None, offset: 0, len: 0 }
    }
}

impl File for SimFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let call = Call { offset, len: buffer.len(), ..self.call(Op::Read) };
        self.process
            .perform(call, |state, len| Ok(state.disk.file(self.inode)?.read(&mut buffer[..len], offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let call = Call { offset, len: bytes.len(), ..self.call(Op::Write) };
        self.process.perform(call, |state, len| {
            if !self.writable {
                return Err(Errno::BADF.into());
            }
            state.disk.write(self.inode, &bytes[..len], offset)
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let call = Call { len: index(len), ..self.call(Op::Allocate) };
        self.process.perform(call, |state, given| {
            let given = state.disk.write(self.inode, &vec![0; given], 0)?;
            if given < index(len) { Err(Errno::NOSPC.into()) } else { Ok(()) }
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        let sync = |state: &mut State, _| {
            if !(state.skips_sync)(&self.path) {
                state.disk.file_mut(self.inode)?.sync();
            }
            if state.take_failure(self.inode, self.holder) { Err(Errno::IO.into()) } else { Ok(()) }
        };
        self.process.perform_or(self.call(Op::SyncData), sync, |state| {
            state.disk.file_mut(self.inode).expect("only files are opened").abandon();
            state.report_failure(self.inode, self.holder);
        })
    }

    fn inode(&self) -> Inode {
        inode(self.inode)
    }

    fn size(&self) -> io::Result<u64> {
        self.process.perform(self.call(Op::Size), |state, _| Ok(state.disk.file(self.inode)?.len()))
    }

    fn try_lock(&self, kind: LockKind) -> io::Result<bool> {
        self.process.perform(self.call(Op::TryLock(kind)), |state, _| {
            Ok(state.try_lock(self.inode, self.holder, kind))
        })
    }

    fn unlock(&self) -> io::Result<()> {
        self.process.perform(self.call(Op::Unlock), |state, _| {
            state.unlock(self.inode, self.holder);
            Ok(())
        })
    }

    fn drop_cache(&self) -> io::Result<()> {
        self.process.perform(self.call(Op::DropCache), |state, _| {
            let keeps_cache = state.keeps_cache;
            let file = state.disk.file_mut(self.inode)?;
            if !keeps_cache {
                file.drop_cache();
            }
            Ok(())
        })
    }

    /// A copy: what happens to the disk afterwards does not show in it.
    fn map(&self) -> io::Result<Mapping> {
        self.process.perform(self.call(Op::Map), |state, _| {
            let file = state.disk.file(self.inode)?;
            let mut bytes = vec![0; index(file.len())];
            file.read(&mut bytes, 0);
            Ok(Mapping::copied(bytes))
        })
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut state = self.process.fs.state();
        state.closed(self.inode, self.holder);
        state.disk.close(self.inode);
    }
}
