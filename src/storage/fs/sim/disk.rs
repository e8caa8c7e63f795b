//! [`Disk`]: the tree of files and directories, and the system calls on it, without processes, locks and faults.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;

use super::super::{Moment, OpenMode};
use super::fate::Fate;
use super::image::{Image, index};
use super::inode::{DirChange, DirState, FileState, InodeId};

const ROOT: InodeId = 0;

#[derive(Clone)]
enum Node {
    File(FileState),
    Dir(DirState),
}

#[derive(Clone)]
struct Inode {
    node: Node,
    /// How many names the live tree has for it.
    links: u32,
    /// How many open files refer to it.
    open: u32,
}

impl Inode {
    fn linked(node: Node) -> Self {
        Self { node, links: 1, open: 0 }
    }
}

impl Inode {
    /// What a directory has names for.
    fn entries(&self) -> Vec<InodeId> {
        match &self.node {
            Node::Dir(dir) => dir.live().values().copied().collect(),
            Node::File(_) => Vec::new(),
        }
    }
}

/// A disk and the page cache over it.
#[derive(Clone)]
pub(super) struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    capacity_bytes: u64,
    boot_id: u128,
    now: Moment,
}

/// The wall clock of a new disk's machine: in November 2023.
const FIRST_WALL: Duration = Duration::from_secs(1_700_000_000);

impl Disk {
    /// An empty disk without bounds.
    pub(super) fn new() -> Self {
        let root = Inode::linked(Node::Dir(DirState::default()));
        Self {
            inodes: BTreeMap::from([(ROOT, root)]),
            next_inode: ROOT + 1,
            capacity_bytes: u64::MAX,
            boot_id: 1,
            now: Moment { wall: FIRST_WALL, uptime: Duration::ZERO },
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.now
    }

    /// Time passes.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now.wall += time;
        self.now.uptime += time;
    }

    /// Somebody sets the wall clock.
    pub(super) fn set_wall_clock(&mut self, wall: Duration) {
        self.now.wall = wall;
    }

    pub(super) fn boot_id(&self) -> u128 {
        self.boot_id
    }

    pub(super) fn set_capacity(&mut self, bytes: u64) {
        self.capacity_bytes = bytes;
    }

    /// A copy that no process has open.
    pub(super) fn detached(&self) -> Self {
        let mut copy = self.clone();
        copy.inodes.values_mut().for_each(|inode| inode.open = 0);
        copy.collect_garbage();
        copy
    }

    /// The disk as a power loss may leave it, after the next boot.
    pub(super) fn after_power_loss(&self, fate: &mut Fate) -> Self {
        let now = Moment { uptime: Duration::ZERO, ..self.now };
        let mut survivor = Self { inodes: BTreeMap::new(), boot_id: self.boot_id + 1, now, ..*self };
        let mut waiting = BTreeSet::from([ROOT]);
        while let Some(id) = waiting.pop_first() {
            if survivor.inodes.contains_key(&id) {
                continue;
            }
            let node = match &self.inodes[&id].node {
                Node::File(file) => Node::File(file.after_power_loss(fate)),
                Node::Dir(dir) => {
                    let dir = dir.after_power_loss(fate);
                    waiting.extend(dir.live().values());
                    Node::Dir(dir)
                }
            };
            survivor.inodes.insert(id, Inode::linked(node));
        }
        survivor.count_links();
        survivor
    }

    /// Opens a file, creating it if the mode says so.
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<InodeId> {
        let (parent, name) = self.parent(path)?;
        let id = match (self.dir(parent)?.live().get(&name).copied(), mode) {
            (Some(_), OpenMode::CreateNew) => return Err(Errno::EXIST.into()),
            (Some(id), _) => id,
            (None, OpenMode::Read | OpenMode::Write) => return Err(Errno::NOENT.into()),
            (None, _) => self.link(parent, name, Node::File(FileState::default()))?,
        };
        self.file(id)?;
        self.inode_mut(id).open += 1;
        Ok(id)
    }

    pub(super) fn close(&mut self, id: InodeId) {
        self.inode_mut(id).open -= 1;
    }

    /// Writes as many bytes as there is room for.
    pub(super) fn write(&mut self, id: InodeId, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let room = if self.capacity_bytes == u64::MAX {
            bytes.len()
        } else {
            let free = self.capacity_bytes.saturating_sub(self.used_bytes());
            self.file(id)?.live().writable(offset, bytes.len(), free)
        };
        if room == 0 && !bytes.is_empty() {
            return Err(Errno::NOSPC.into());
        }
        self.file_mut(id)?.write(&bytes[..room], offset);
        Ok(room)
    }

    pub(super) fn file(&self, id: InodeId) -> io::Result<&FileState> {
        match &self.inodes[&id].node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn file_mut(&mut self, id: InodeId) -> io::Result<&mut FileState> {
        match &mut self.inode_mut(id).node {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Errno::ISDIR.into()),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (parent, from) = self.parent(from)?;
        let (to_parent, to) = self.parent(to)?;
        if parent != to_parent {
            return Err(Errno::XDEV.into());
        }
        let entries = self.dir(parent)?.live();
        let inode = *entries.get(&from).ok_or(Errno::NOENT)?;
        let replaced = entries.get(&to).copied();
        if replaced == Some(inode) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            self.check_replaceable(inode, replaced)?;
            self.inode_mut(replaced).links -= 1;
        }
        self.dir_mut(parent)?.change(DirChange::Rename { to, inode });
        Ok(())
    }

    fn check_replaceable(&self, by: InodeId, replaced: InodeId) -> io::Result<()> {
        match (&self.inodes[&by].node, &self.inodes[&replaced].node) {
            (Node::File(_), Node::File(_)) => Ok(()),
            (Node::File(_), Node::Dir(_)) => Err(Errno::ISDIR.into()),
            (Node::Dir(_), Node::File(_)) => Err(Errno::NOTDIR.into()),
            (Node::Dir(_), Node::Dir(dir)) if dir.live().is_empty() => Ok(()),
            (Node::Dir(_), Node::Dir(_)) => Err(Errno::NOTEMPTY.into()),
        }
    }

    /// Gives a file another name. No directory may have two for one file: a rename would take both.
    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = self.lookup(from)?;
        self.file(inode)?;
        let (parent, name) = self.parent(to)?;
        let entries = self.dir(parent)?.live();
        if entries.contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        assert!(!entries.values().any(|entry| *entry == inode), "two names in one directory");
        self.inode_mut(inode).links += 1;
        self.dir_mut(parent)?.change(DirChange::Link { name, inode });
        Ok(())
    }

    /// Sets how many names the live tree has for each file.
    fn count_links(&mut self) {
        let named: Vec<InodeId> = self.inodes.values().flat_map(Inode::entries).collect();
        self.inodes.values_mut().for_each(|inode| inode.links = 0);
        self.inode_mut(ROOT).links = 1;
        for id in named {
            self.inode_mut(id).links += 1;
        }
    }

    pub(super) fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        let id = self.lookup(path)?;
        self.file(id)?;
        self.unlink(path)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        if self.dir(parent)?.live().contains_key(&name) {
            return Err(Errno::EXIST.into());
        }
        self.link(parent, name, Node::Dir(DirState::default()))?;
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.lookup(path)?;
        if !self.dir(id)?.live().is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        self.unlink(path)
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.dir(self.lookup(path)?)?.live().keys().map(PathBuf::from).collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let id = self.lookup(path)?;
        self.dir_mut(id)?.sync();
        self.collect_garbage();
        Ok(())
    }

    /// Fails unless `path` is a directory.
    pub(super) fn check_dir(&self, path: &Path) -> io::Result<()> {
        self.dir(self.lookup(path)?).map(drop)
    }

    /// A file's live bytes.
    pub(super) fn contents(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.file(self.lookup(path)?)?;
        let mut bytes = vec![0; index(file.len())];
        file.read(&mut bytes, 0);
        Ok(bytes)
    }

    /// Gives a file other contents, durable at once together with its name.
    pub(super) fn put_contents(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let existing = self.dir(parent)?.live().get(&name).copied();
        let id = existing.unwrap_or_else(|| self.insert(Node::File(FileState::default())));
        *self.file_mut(id)? = FileState::settled(Image::of(bytes), bytes.len() as u64);
        self.dir_mut(parent)?.link_durably(name, id);
        Ok(())
    }

    /// Inverts a bit of a file, in memory and on the device.
    pub(super) fn flip_bit(&mut self, path: &Path, bit: u64) -> io::Result<()> {
        let id = self.lookup(path)?;
        let file = self.file_mut(id)?;
        if bit / 8 >= file.len() {
            return Err(Errno::INVAL.into());
        }
        file.flip_bit(bit);
        Ok(())
    }

    /// The space taken by everything that has a name or is open.
    fn used_bytes(&self) -> u64 {
        let alive = self.inodes.values().filter(|inode| inode.links > 0 || inode.open > 0);
        alive
            .map(|inode| match &inode.node {
                Node::File(file) => file.live().allocated_bytes(),
                Node::Dir(_) => 0,
            })
            .sum()
    }

    fn link(&mut self, parent: InodeId, name: OsString, node: Node) -> io::Result<InodeId> {
        let inode = self.insert(node);
        self.dir_mut(parent)?.change(DirChange::Link { name, inode });
        Ok(inode)
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let inode = self.lookup(path)?;
        self.inode_mut(inode).links -= 1;
        self.dir_mut(parent)?.change(DirChange::Unlink { name, inode });
        Ok(())
    }

    fn insert(&mut self, node: Node) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, Inode::linked(node));
        id
    }

    fn inode_mut(&mut self, id: InodeId) -> &mut Inode {
        self.inodes.get_mut(&id).expect("an inode that is named or open exists")
    }

    fn dir(&self, id: InodeId) -> io::Result<&DirState> {
        match &self.inodes[&id].node {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    fn dir_mut(&mut self, id: InodeId) -> io::Result<&mut DirState> {
        match &mut self.inode_mut(id).node {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Errno::NOTDIR.into()),
        }
    }

    /// What a path leads to.
    pub(super) fn lookup(&self, path: &Path) -> io::Result<InodeId> {
        names(path)?.iter().try_fold(ROOT, |dir, name| {
            self.dir(dir)?.live().get(name).copied().ok_or_else(|| Errno::NOENT.into())
        })
    }

    /// The directory that a path's last name belongs to, and that name.
    fn parent(&self, path: &Path) -> io::Result<(InodeId, OsString)> {
        let name = names(path)?.pop().ok_or(Errno::BUSY)?;
        let parent = self.lookup(path.parent().unwrap_or(Path::new("")))?;
        self.dir(parent)?;
        Ok((parent, name))
    }

    /// Drops every inode that no name, open file or power loss can bring back.
    fn collect_garbage(&mut self) {
        let mut found = BTreeSet::new();
        let opened = self.inodes.iter().filter(|(_, inode)| inode.open > 0).map(|(id, _)| *id);
        let mut waiting: Vec<InodeId> = opened.chain([ROOT]).collect();
        while let Some(id) = waiting.pop() {
            if found.insert(id)
                && let Node::Dir(dir) = &self.inodes[&id].node
            {
                waiting.extend(dir.mentioned());
            }
        }
        self.inodes.retain(|id, _| found.contains(id));
    }
}

/// The names along a path. Relative paths start at the root as well.
fn names(path: &Path) -> io::Result<Vec<OsString>> {
    let steps = path.components().filter(|step| !matches!(step, Component::RootDir | Component::CurDir));
    steps
        .map(|step| match step {
            Component::Normal(name) => Ok(name.to_owned()),
            _ => Err(Errno::INVAL.into()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linked_file_is_one_file_until_its_last_name_is_gone() {
        let (mut disk, [a, b, dir]) = (Disk::new(), ["/f", "/dir/f", "/dir"].map(Path::new));
        let id = disk.open(a, OpenMode::CreateNew).unwrap();
        disk.write(id, &[1; 4096], 0).unwrap();
        disk.close(id);
        disk.create_dir(dir).unwrap();
        disk.hard_link(a, b).unwrap();
        assert!(disk.hard_link(a, b).is_err());
        assert_eq!(disk.contents(b).unwrap(), [1; 4096]);
        let survivor = disk.after_power_loss(&mut Fate::EverythingKept);
        for mut disk in [disk, survivor] {
            disk.remove_file(a).unwrap();
            assert_eq!((disk.used_bytes(), disk.contents(b).unwrap().len()), (4096, 4096));
            disk.remove_file(b).unwrap();
            assert_eq!(disk.used_bytes(), 0);
        }
    }

    #[test]
    fn a_file_takes_memory_until_nothing_can_bring_it_back() {
        let (mut disk, path) = (Disk::new(), Path::new("/f"));
        let id = disk.open(path, OpenMode::CreateNew).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.remove_file(path).unwrap();
        disk.collect_garbage();
        assert_eq!(disk.inodes.len(), 2, "its removal is not durable");
        disk.sync_dir(Path::new("/")).unwrap();
        assert_eq!(disk.inodes.len(), 2, "it is open");
        disk.close(id);
        disk.collect_garbage();
        assert_eq!(disk.inodes.len(), 1);
    }
}
