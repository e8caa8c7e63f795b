//! The manifest: the one file that says what a database consists of.
//!
//! ```text
//!  0                8        12       16       20               24               32               40
//!  ┌────────────────┬────────┬────────┬────────┬────────────────┬────────────────┬────────────────┐
//!  │ "kvdbman\n"    │ format │ crc    │ engine │       0        │ base id        │ base salt      │
//!  ├────────────────┼────────┴────────┼────────┴────────────────┼────────────────┴────────────────┘
//!  │ base LSN       │ first segment   │ its salt                │
//!  └────────────────┴─────────────────┴─────────────────────────┘
//!  40               48                56                        64
//!   crc   CRC-32 over the file with these four bytes left out
//!   base  0, 0, 0 when the log alone holds everything
//! ```
//!
//! It names the base and the first live segment of the log; the chain of seals names the other segments. It is replaced
//! as a whole: a new file is written and synced beside it, renamed over it, and the directory synced. Files that it does
//! not lead to are leftovers of a crash.

use std::path::{Path, PathBuf};

use super::codec::{crc32, put, u32_at, u64_at};
use super::fs::{Fs, OpenMode, read_full_at, remove_if_present, write_all_at};
use super::{FORMAT, Life};
use crate::error::{Error, Result};
use crate::types::{EngineKind, FileId, Lsn};

/// Its name in the database directory.
pub(crate) const NAME: &str = "MANIFEST";

const TEMPORARY: &str = "MANIFEST.new";
const MAGIC: &[u8; 8] = b"kvdbman\n";
const VERSION: usize = MAGIC.len();
const CRC: usize = VERSION + 4;
const ENGINE: usize = CRC + 4;
const BASE_ID: usize = ENGINE + 8;
const BASE_SALT: usize = BASE_ID + 8;
const BASE_LSN: usize = BASE_SALT + 8;
const FIRST_ID: usize = BASE_LSN + 8;
const FIRST_SALT: usize = FIRST_ID + 8;
const LEN: usize = FIRST_SALT + 8;

/// Entries that stand for every batch up to an LSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub life: Life,
    pub lsn: Lsn,
}

/// What a database consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub engine: EngineKind,
    pub base: Option<Base>,
    /// The first live segment of the log: everything behind the base.
    pub first: Life,
}

impl Manifest {
    fn encode(&self) -> [u8; LEN] {
        let mut bytes = [0; LEN];
        put(&mut bytes, 0, MAGIC);
        put(&mut bytes, VERSION, &FORMAT.to_le_bytes());
        put(&mut bytes, ENGINE, &engine_code(self.engine).to_le_bytes());
        if let Some(base) = &self.base {
            put(&mut bytes, BASE_ID, &base.life.id.0.to_le_bytes());
            put(&mut bytes, BASE_SALT, &base.life.salt.to_le_bytes());
            put(&mut bytes, BASE_LSN, &base.lsn.0.to_le_bytes());
        }
        put(&mut bytes, FIRST_ID, &self.first.id.0.to_le_bytes());
        put(&mut bytes, FIRST_SALT, &self.first.salt.to_le_bytes());
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != LEN || u32_at(bytes, CRC)? != checksum(bytes) {
            return None;
        }
        let life = |id, salt| Some(Life { id: FileId(u64_at(bytes, id)?), salt: u64_at(bytes, salt)? });
        let base = Base { life: life(BASE_ID, BASE_SALT)?, lsn: Lsn(u64_at(bytes, BASE_LSN)?) };
        Some(Self {
            engine: engine_from_code(u32_at(bytes, ENGINE)?)?,
            base: (base.life.id != FileId::default()).then_some(base),
            first: life(FIRST_ID, FIRST_SALT)?,
        })
    }

    /// Reads the manifest of the database in `dir`; `None` when there is none.
    ///
    /// # Errors
    /// Corruption, `Format`, I/O.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>> {
        let path = dir.join(NAME);
        let file = match fs.open(&path, OpenMode::Read) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound) => return Ok(None),
            opened => opened.map_err(|error| Error::io("open", &path, error))?,
        };
        let mut bytes = [0; LEN + 1];
        let len = read_full_at(&*file, &mut bytes, 0).map_err(|error| Error::io("read", &path, error))?;
        check_format(&bytes[..len], path.clone())?;
        match Self::decode(&bytes[..len]) {
            Some(manifest) => Ok(Some(manifest)),
            None => Err(Error::corruption(&path, 0, "the manifest does not verify")),
        }
    }

    /// Makes this the manifest of the database in `dir`, durably. After an error the old one or the new one is in force.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn install(&self, fs: &dyn Fs, dir: &Path) -> Result<()> {
        let (temporary, path) = (dir.join(TEMPORARY), dir.join(NAME));
        self.write(fs, &temporary)?;
        fs.rename(&temporary, &path).map_err(|error| Error::io("rename", &temporary, error))?;
        fs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
    }

    fn write(&self, fs: &dyn Fs, path: &Path) -> Result<()> {
        let write = || {
            remove_if_present(fs, path)?;
            let file = fs.open(path, OpenMode::CreateNew)?;
            write_all_at(&*file, &self.encode(), 0)?;
            file.sync_data()
        };
        write().map_err(|error| Error::io("write", path, error))
    }
}

/// A newer format is not corruption, if the file says so intact.
fn check_format(bytes: &[u8], file: PathBuf) -> Result<()> {
    match u32_at(bytes, VERSION) {
        Some(found) if found > FORMAT && u32_at(bytes, CRC) == Some(checksum(bytes)) => {
            Err(Error::Format { file, found, supported: FORMAT })
        }
        _ => Ok(()),
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32(&[bytes.get(..CRC).unwrap_or_default(), bytes.get(ENGINE..).unwrap_or_default()])
}

const fn engine_code(engine: EngineKind) -> u32 {
    match engine {
        EngineKind::Simple => 1,
    }
}

const fn engine_from_code(code: u32) -> Option<EngineKind> {
    match code {
        1 => Some(EngineKind::Simple),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            engine: EngineKind::Simple,
            base: Some(Base { life: Life { id: FileId(4), salt: 11 }, lsn: Lsn(900) }),
            first: Life { id: FileId(5), salt: 12 },
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        assert_eq!(Manifest::decode(&manifest().encode()), Some(manifest()));
        let fresh = Manifest { base: None, ..manifest() };
        assert_eq!(Manifest::decode(&fresh.encode()), Some(fresh));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = manifest().encode();
        for bit in 0..LEN * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Manifest::decode(&flipped), None, "bit {bit}");
        }
        for len in 0..LEN {
            assert_eq!(Manifest::decode(&bytes[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes = manifest().encode();
        put(&mut bytes, VERSION, &(FORMAT + 1).to_le_bytes());
        assert!(check_format(&bytes, NAME.into()).is_ok(), "the checksum is wrong: damage");
        let crc = checksum(&bytes);
        put(&mut bytes, CRC, &crc.to_le_bytes());
        assert!(matches!(check_format(&bytes, NAME.into()), Err(Error::Format { found: 2, .. })));
    }
}
