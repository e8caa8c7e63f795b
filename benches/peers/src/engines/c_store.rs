//! RocksDB and LevelDB are called through C interfaces that are alike: the same functions behind another prefix.
//!
//! The library is looked for when the engine is first asked for. Nothing is linked, so that this package builds without it
//! and processes that measure another engine do not load it.
//!
//! Rules of both interfaces that the SAFETY comments rest on: a database handle may be used by any thread, an iterator or a
//! batch by one at a time; keys and values are copied before a call returns; an error is a C string in memory that the
//! library's `free` takes back; what is handed to the options of a database must outlive it.

#![expect(unsafe_code, reason = "the engines are written in C++")]

use std::ffi::{CStr, CString, c_char, c_int, c_uchar, c_void};
use std::mem::ManuallyDrop;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::{NonNull, null_mut};

use libloading::Library;

use crate::data::Batch;
use crate::store::{MEMTABLE_BYTES, Result, Session, Setup};

/// A pointer to something that only the library looks into.
pub(super) type Handle = *mut c_void;

/// Where a function puts its error.
type ErrorPlace = *mut *mut c_char;

/// A value that a get found, as the library returns it.
pub(super) struct Found {
    /// The bytes, null when there are none.
    pub(super) bytes: *const c_char,
    /// How many.
    pub(super) len: usize,
    /// What is to be given back.
    pub(super) owner: Handle,
}

/// Declares the functions that both libraries have, and how they are found.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions, without their prefix.
        pub(super) struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            /// Never unloaded: threads of the engine may outlive its databases.
            library: ManuallyDrop<Library>,
        }

        impl Functions {
            fn find(library: Library, prefix: &str) -> Result<Self> {
                // SAFETY: the types are those of `rocksdb/c.h` and `leveldb/c.h`, which both projects keep stable, and the
                // library is kept as long as the pointers.
                unsafe {
                    Ok(Self {
                        $($name: *library.get(symbol(prefix, stringify!($name)))?,)*
                        library: ManuallyDrop::new(library),
                    })
                }
            }
        }
    };
}

functions! {
    open: fn(Handle, *const c_char, ErrorPlace) -> Handle;
    close: fn(Handle);
    free: fn(Handle);
    put: fn(Handle, Handle, *const c_char, usize, *const c_char, usize, ErrorPlace);
    write: fn(Handle, Handle, Handle, ErrorPlace);
    create_iterator: fn(Handle, Handle) -> Handle;
    iter_destroy: fn(Handle);
    iter_valid: fn(Handle) -> c_uchar;
    iter_seek: fn(Handle, *const c_char, usize);
    iter_seek_to_last: fn(Handle);
    iter_next: fn(Handle);
    iter_prev: fn(Handle);
    iter_key: fn(Handle, *mut usize) -> *const c_char;
    iter_value: fn(Handle, *mut usize) -> *const c_char;
    iter_get_error: fn(Handle, ErrorPlace);
    writebatch_create: fn() -> Handle;
    writebatch_destroy: fn(Handle);
    writebatch_clear: fn(Handle);
    writebatch_put: fn(Handle, *const c_char, usize, *const c_char, usize);
    options_create: fn() -> Handle;
    options_destroy: fn(Handle);
    options_set_create_if_missing: fn(Handle, c_uchar);
    options_set_write_buffer_size: fn(Handle, usize);
    options_set_compression: fn(Handle, c_int);
    readoptions_create: fn() -> Handle;
    readoptions_destroy: fn(Handle);
    writeoptions_create: fn() -> Handle;
    writeoptions_destroy: fn(Handle);
    writeoptions_set_sync: fn(Handle, c_uchar);
    cache_create_lru: fn(usize) -> Handle;
    cache_destroy: fn(Handle);
}

fn symbol(prefix: &str, name: &str) -> String {
    format!("{prefix}_{name}")
}

impl Functions {
    /// Loads the library `lib{name}`, whose functions begin with `{name}_`.
    pub(super) fn load(name: &str, file_endings: &[&str]) -> Result<Self> {
        for ending in file_endings {
            // SAFETY: the libraries' initializers need nothing from their caller.
            if let Ok(library) = unsafe { Library::new(format!("lib{name}.{ending}")) } {
                return Self::find(library, name);
            }
        }
        Err(format!("lib{name} is not on this machine").into())
    }

    /// A function that only one of the libraries has.
    ///
    /// # Safety
    /// `T` must be the type of that function, and must not be called once `self` is gone.
    pub(super) unsafe fn own<T: Copy>(&self, name: &str) -> Result<T> {
        // SAFETY: see above.
        Ok(unsafe { *self.library.get::<T>(name)? })
    }

    /// Calls what may fail, and turns its message into an error.
    fn check<R>(&self, call: impl FnOnce(ErrorPlace) -> R) -> Result<R> {
        let mut message = null_mut();
        let result = call(&raw mut message);
        if message.is_null() {
            return Ok(result);
        }
        // SAFETY: an error that is not null is a C string that is ours to give back.
        unsafe {
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            (self.free)(message.cast());
            Err(text.into())
        }
    }

    /// Gives back what a get returned.
    pub(super) fn free(&self, memory: Handle) {
        // SAFETY: the caller got it from this library.
        unsafe { (self.free)(memory) }
    }
}

/// What is given back to the library with the database.
pub(super) type Owned = (unsafe extern "C" fn(Handle), Handle);

/// Options before a database is opened with them.
pub(super) struct Options {
    pub(super) handle: Handle,
    pub(super) cache: Handle,
    owned: Vec<Owned>,
}

impl Options {
    /// Options with the memory that every engine gets.
    pub(super) fn new(functions: &Functions, compression: c_int, cache_bytes: usize) -> Self {
        // SAFETY: the options are alive until the database is closed; the functions only store what they are given.
        unsafe {
            let handle = (functions.options_create)();
            (functions.options_set_create_if_missing)(handle, 1);
            (functions.options_set_write_buffer_size)(handle, MEMTABLE_BYTES);
            (functions.options_set_compression)(handle, compression);
            let cache = (functions.cache_create_lru)(cache_bytes);
            let owned = vec![(functions.options_destroy, handle), (functions.cache_destroy, cache)];
            Self { handle, cache, owned }
        }
    }

    /// Gives `owned` back after the database was closed.
    pub(super) fn own(&mut self, owned: Owned) {
        self.owned.push(owned);
    }
}

/// An open database.
pub(super) struct CStore {
    database: Handle,
    read: Handle,
    write: Handle,
    owned: Vec<Owned>,
    functions: Functions,
}

// SAFETY: a database handle may be used by any thread; options are only read once they are set.
unsafe impl Send for CStore {}
// SAFETY: as above.
unsafe impl Sync for CStore {}

impl CStore {
    /// Opens the database in `dir` with the options that `set` makes.
    pub(super) fn open(
        functions: Functions,
        dir: &Path,
        setup: &Setup,
        set: impl FnOnce(&Functions) -> Result<Options>,
    ) -> Result<Self> {
        let path = CString::new(dir.as_os_str().as_bytes())?;
        let Options { handle: options, owned, .. } = set(&functions)?;
        // SAFETY: options and path are alive; sync is set before anybody writes with it.
        unsafe {
            let database = functions.check(|error| (functions.open)(options, path.as_ptr(), error))?;
            let write = (functions.writeoptions_create)();
            (functions.writeoptions_set_sync)(write, setup.is_synced.into());
            Ok(Self { database, read: (functions.readoptions_create)(), write, owned, functions })
        }
    }

    /// A way to it for one thread.
    pub(super) fn session(&self) -> CSession<'_> {
        // SAFETY: nothing is asked for.
        let batch = unsafe { (self.functions.writebatch_create)() };
        CSession { store: self, batch }
    }
}

impl Drop for CStore {
    fn drop(&mut self) {
        // SAFETY: sessions borrow the database, so that no iterator is alive; options go after it.
        unsafe {
            (self.functions.close)(self.database);
            (self.functions.readoptions_destroy)(self.read);
            (self.functions.writeoptions_destroy)(self.write);
            for (destroy, handle) in self.owned.drain(..) {
                destroy(handle);
            }
        }
    }
}

/// One thread's way to a database.
pub(super) struct CSession<'a> {
    store: &'a CStore,
    batch: Handle,
}

// SAFETY: the batch belongs to the session alone, and is used by one thread at a time.
unsafe impl Send for CSession<'_> {}

impl Drop for CSession<'_> {
    fn drop(&mut self) {
        // SAFETY: the session made it, and nobody else has it.
        unsafe { (self.store.functions.writebatch_destroy)(self.batch) }
    }
}

impl CSession<'_> {
    /// The functions of the library.
    pub(super) fn functions(&self) -> &Functions {
        &self.store.functions
    }

    /// Gets `key` with the library's own function, whose result `release` gives back.
    pub(super) fn get_with(
        &self,
        key: &[u8],
        get: impl FnOnce(Handle, Handle, *const c_char, usize, ErrorPlace) -> Found,
        release: impl FnOnce(Handle),
        found: impl FnOnce(&[u8]),
    ) -> Result<bool> {
        let store = self.store;
        let place = |error| get(store.database, store.read, key.as_ptr().cast(), key.len(), error);
        let Found { bytes, len, owner } = store.functions.check(place)?;
        let Some(bytes) = NonNull::new(bytes.cast_mut()) else { return Ok(false) };
        // SAFETY: the library says that so many bytes lie there until they are given back.
        found(unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), len) });
        release(owner);
        Ok(true)
    }

    fn iterator(&self) -> Iterator<'_> {
        let store = self.store;
        // SAFETY: database and options are alive as long as the session.
        let handle = unsafe { (store.functions.create_iterator)(store.database, store.read) };
        Iterator { functions: &store.functions, handle }
    }
}

impl Session for CSession<'_> {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let store = self.store;
        let (key_bytes, value_bytes) = (key.as_ptr().cast(), value.as_ptr().cast());
        // SAFETY: the pointers come with the lengths of what they point to.
        store.functions.check(|error| unsafe {
            let put = store.functions.put;
            put(store.database, store.write, key_bytes, key.len(), value_bytes, value.len(), error);
        })
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let functions = &self.store.functions;
        // SAFETY: the pointers come with the lengths of what they point to, which is copied.
        unsafe {
            (functions.writebatch_clear)(self.batch);
            for (key, value) in batch.entries() {
                let (key_bytes, value_bytes) = (key.as_ptr().cast(), value.as_ptr().cast());
                (functions.writebatch_put)(self.batch, key_bytes, key.len(), value_bytes, value.len());
            }
            let write = functions.write;
            functions.check(|error| write(self.store.database, self.store.write, self.batch, error))
        }
    }

    fn scan(&mut self, start: &[u8], limit: usize, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let iterator = self.iterator();
        // SAFETY: the pointer comes with the length of what it points to.
        unsafe { (iterator.functions.iter_seek)(iterator.handle, start.as_ptr().cast(), start.len()) };
        let mut left = limit;
        while left > 0 && iterator.show(&mut visit) {
            left -= 1;
            if left > 0 {
                // SAFETY: the iterator stands on an entry.
                unsafe { (iterator.functions.iter_next)(iterator.handle) };
            }
        }
        iterator.end()
    }

    fn scan_reverse(&mut self, mut visit: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let iterator = self.iterator();
        // SAFETY: the iterator is alive.
        unsafe { (iterator.functions.iter_seek_to_last)(iterator.handle) };
        while iterator.show(&mut visit) {
            // SAFETY: the iterator stands on an entry.
            unsafe { (iterator.functions.iter_prev)(iterator.handle) };
        }
        iterator.end()
    }
}

/// A place in the order of keys.
struct Iterator<'f> {
    functions: &'f Functions,
    handle: Handle,
}

impl Iterator<'_> {
    /// Shows the entry that the iterator stands on, if there is one.
    fn show(&self, visit: &mut impl FnMut(&[u8], &[u8])) -> bool {
        // SAFETY: key and value of a valid iterator lie where it says until it moves, and it moves after `visit`.
        unsafe {
            if (self.functions.iter_valid)(self.handle) == 0 {
                return false;
            }
            let (mut key_len, mut value_len) = (0, 0);
            let key = (self.functions.iter_key)(self.handle, &raw mut key_len);
            let value = (self.functions.iter_value)(self.handle, &raw mut value_len);
            let key = std::slice::from_raw_parts(key.cast(), key_len);
            visit(key, std::slice::from_raw_parts(value.cast(), value_len));
            true
        }
    }

    /// Why it stopped, if that was not the end.
    fn end(self) -> Result<()> {
        // SAFETY: the iterator is alive.
        self.functions.check(|error| unsafe { (self.functions.iter_get_error)(self.handle, error) })
    }
}

impl Drop for Iterator<'_> {
    fn drop(&mut self) {
        // SAFETY: nobody else has it.
        unsafe { (self.functions.iter_destroy)(self.handle) }
    }
}
