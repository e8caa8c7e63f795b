//! RocksDB, with a get that pins the value instead of copying it.

#![expect(unsafe_code, reason = "the engine is written in C++")]

use std::ffi::{c_char, c_int};
use std::path::Path;

use super::c_store::{CSession, CStore, Found, Functions, Handle, Options};
use crate::data::Batch;
use crate::store::{Ability, CACHE_BYTES, Result, Role, Session, Setup, Store};
use crate::versions;

const LZ4: c_int = 4;
const BLOOM_BITS: f64 = 10.0;

/// The names under which distributions ship it, the newest that was tried first.
const FILE_ENDINGS: &[&str] = &["so", "so.10", "so.9", "so.8.9", "so.7.8"];

/// Functions that LevelDB has not.
struct Own {
    get_pinned: unsafe extern "C" fn(Handle, Handle, *const c_char, usize, *mut *mut c_char) -> Handle,
    value: unsafe extern "C" fn(Handle, *mut usize) -> *const c_char,
    unpin: unsafe extern "C" fn(Handle),
}

/// A database.
pub struct RocksDb {
    store: CStore,
    own: Own,
}

/// One thread's way to it.
pub struct RocksDbSession<'a> {
    session: CSession<'a>,
    own: &'a Own,
}

fn load() -> Result<Functions> {
    Functions::load("rocksdb", FILE_ENDINGS)
}

fn options(functions: &Functions) -> Result<Options> {
    let mut options = Options::new(functions, LZ4, CACHE_BYTES);
    // SAFETY: the types are those of `rocksdb/c.h`; the filter goes over to the table options, which the options copy.
    unsafe {
        let create: unsafe extern "C" fn() -> Handle = functions.own("rocksdb_block_based_options_create")?;
        let destroy = functions.own("rocksdb_block_based_options_destroy")?;
        let bloom: unsafe extern "C" fn(f64) -> Handle =
            functions.own("rocksdb_filterpolicy_create_bloom")?;
        let set_filter: unsafe extern "C" fn(Handle, Handle) =
            functions.own("rocksdb_block_based_options_set_filter_policy")?;
        let set_cache: unsafe extern "C" fn(Handle, Handle) =
            functions.own("rocksdb_block_based_options_set_block_cache")?;
        let set_table: unsafe extern "C" fn(Handle, Handle) =
            functions.own("rocksdb_options_set_block_based_table_factory")?;
        let table = create();
        set_filter(table, bloom(BLOOM_BITS));
        set_cache(table, options.cache);
        set_table(options.handle, table);
        options.own((destroy, table));
    }
    Ok(options)
}

impl Store for RocksDb {
    const NAME: &'static str = "rocksdb";
    const ROLE: Role = Role::Peer;
    const ABILITIES: &'static [Ability] = Ability::ALONE;
    const SETTINGS: &'static str =
        "block cache 64 MiB, memtable 64 MiB, lz4, bloom filter of 10 bits, else defaults";

    type Session<'a> = RocksDbSession<'a>;

    fn version() -> Result<String> {
        let _loaded = load()?;
        versions::of_loaded_library("librocksdb")
    }

    fn open(dir: &Path, setup: &Setup) -> Result<Self> {
        let functions = load()?;
        // SAFETY: the types are those of `rocksdb/c.h`; they are called through sessions only, which borrow the library.
        let own = unsafe {
            Own {
                get_pinned: functions.own("rocksdb_get_pinned")?,
                value: functions.own("rocksdb_pinnableslice_value")?,
                unpin: functions.own("rocksdb_pinnableslice_destroy")?,
            }
        };
        Ok(Self { store: CStore::open(functions, dir, setup, options)?, own })
    }

    fn session(&self) -> Result<RocksDbSession<'_>> {
        Ok(RocksDbSession { session: self.store.session(), own: &self.own })
    }
}

impl Session for RocksDbSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.session.put(key, value)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.session.write(batch)
    }

    fn get(&mut self, key: &[u8], found: impl FnOnce(&[u8])) -> Result<bool> {
        let own = self.own;
        // SAFETY: the arguments are those that the session has for a get; the value of a null slice is null.
        let get = |database, options, key, key_len, error| unsafe {
            let owner = (own.get_pinned)(database, options, key, key_len, error);
            let mut len = 0;
            Found { bytes: (own.value)(owner, &raw mut len), len, owner }
        };
        // SAFETY: it is what `get` returned.
        self.session.get_with(key, get, |owner| unsafe { (own.unpin)(owner) }, found)
    }

    fn scan(&mut self, start: &[u8], limit: usize, visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.session.scan(start, limit, visit)
    }

    fn scan_reverse(&mut self, visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        self.session.scan_reverse(visit)
    }
}
