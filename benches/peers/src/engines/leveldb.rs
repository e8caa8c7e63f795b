//! LevelDB, with and without compression.

#![expect(unsafe_code, reason = "the engine is written in C++")]

use std::ffi::{c_char, c_int};
use std::path::Path;

use super::c_store::{CSession, CStore, Found, Functions, Handle, Options};
use crate::data::Batch;
use crate::store::{Ability, CACHE_BYTES, Result, Role, Session, Setup, Store};
use crate::versions;

const BLOOM_BITS: c_int = 10;

/// The names under which distributions ship it.
const FILE_ENDINGS: &[&str] = &["so", "so.1d", "so.1"];

type Get =
    unsafe extern "C" fn(Handle, Handle, *const c_char, usize, *mut usize, *mut *mut c_char) -> *mut c_char;

/// A database, compressed or not.
pub struct LevelDb<const SNAPPY: bool> {
    store: CStore,
    get: Get,
}

/// One thread's way to it.
pub struct LevelDbSession<'a> {
    session: CSession<'a>,
    get: Get,
}

fn load() -> Result<Functions> {
    Functions::load("leveldb", FILE_ENDINGS)
}

fn options(functions: &Functions, compression: c_int) -> Result<Options> {
    let mut options = Options::new(functions, compression, CACHE_BYTES);
    // SAFETY: the types are those of `leveldb/c.h`; cache and filter are given back after the database is closed.
    unsafe {
        let bloom: unsafe extern "C" fn(c_int) -> Handle =
            functions.own("leveldb_filterpolicy_create_bloom")?;
        let destroy = functions.own("leveldb_filterpolicy_destroy")?;
        let set_filter: unsafe extern "C" fn(Handle, Handle) =
            functions.own("leveldb_options_set_filter_policy")?;
        let set_cache: unsafe extern "C" fn(Handle, Handle) = functions.own("leveldb_options_set_cache")?;
        let filter = bloom(BLOOM_BITS);
        set_filter(options.handle, filter);
        set_cache(options.handle, options.cache);
        options.own((destroy, filter));
    }
    Ok(options)
}

impl<const SNAPPY: bool> Store for LevelDb<SNAPPY> {
    const NAME: &'static str = if SNAPPY { "leveldb+snappy" } else { "leveldb" };
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] =
        if SNAPPY { &[Ability::Load, Ability::Files] } else { Ability::ALONE };
    const SETTINGS: &'static str = if SNAPPY {
        "as leveldb, with snappy; loads only"
    } else {
        "block cache 64 MiB, memtable 64 MiB, bloom filter of 10 bits, no compression, else defaults"
    };

    type Session<'a> = LevelDbSession<'a>;

    fn version() -> Result<String> {
        let _loaded = load()?;
        versions::of_loaded_library("libleveldb")
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let functions = load()?;
        // SAFETY: the type is that of `leveldb/c.h`; it is called through sessions only, which borrow the library.
        let get = unsafe { functions.own("leveldb_get")? };
        let set = |functions: &Functions| options(functions, SNAPPY.into());
        Ok(Self { store: CStore::open(functions, dir, setup, set)?, get })
    }

    fn session(&self) -> Result<LevelDbSession<'_>> {
        Ok(LevelDbSession { session: self.store.session(), get: self.get })
    }
}

impl Session for LevelDbSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.session.put(key, value)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.session.write(batch)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        // SAFETY: the arguments are those that the session has for a get.
        let get = |database, options, key, key_len, error| unsafe {
            let mut len = 0;
            let bytes = (self.get)(database, options, key, key_len, &raw mut len, error);
            Found { bytes, len, owner: bytes.cast() }
        };
        self.session.get_with(key, get, |owner| self.session.functions().free(owner), found)
    }

    fn scan(&mut self, start: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.session.scan(start, limit, visit)
    }

    fn scan_reverse(&mut self, visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.session.scan_reverse(visit)
    }
}
