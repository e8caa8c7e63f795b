//! Directories full of files: how much they take, how they are copied, and how they are made cold.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, fadvise};

use crate::store::Result;

/// Unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// Every file below `dir`.
fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() { files.extend(self::files(&path)?) } else { files.push(path) }
    }
    Ok(files)
}

/// Bytes that the files below `dir` take on the device.
pub fn disk_bytes(dir: &Path) -> Result<u64> {
    files(dir)?.iter().map(|file| Ok(fs::metadata(file)?.blocks() * BLOCK_BYTES)).sum()
}

/// Copies everything below `from` to the new directory `to`, onto the device.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let copied = to.join(path.file_name().ok_or("a file has no name")?);
        if path.is_dir() {
            copy(&path, &copied)?;
        } else {
            fs::copy(&path, &copied)?;
            File::open(&copied)?.sync_all()?;
        }
    }
    Ok(())
}

/// Reads everything below `dir`, if it is there, so that the kernel has it in memory: a machine may take away within seconds what
/// nobody reads, and an engine waits for longer than that until it is its turn.
pub fn warm(dir: &Path) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let mut chunk = vec![0; 1 << 20];
    for file in files(dir)? {
        let mut file = match File::open(file) {
            // An engine that has the database open has removed it.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            file => file?,
        };
        while file.read(&mut chunk)? > 0 {}
    }
    Ok(())
}

/// Drops what the kernel keeps of the files below `dir` in memory. Nobody may have them mapped.
pub fn evict(dir: &Path) -> Result<()> {
    for file in files(dir)? {
        let file = File::open(file)?;
        file.sync_all()?;
        fadvise(&file, 0, None, Advice::DontNeed)?;
    }
    Ok(())
}
