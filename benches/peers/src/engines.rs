//! The engines, one file each, and the one place that lists them.

#[cfg(feature = "debian")]
mod c_store;
pub mod empty;
#[cfg(feature = "fjall")]
pub mod fjall;
pub mod kvdb;
#[cfg(feature = "debian")]
pub mod leveldb;
#[cfg(feature = "lmdb")]
pub mod lmdb;
pub mod memory;
pub mod raw;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "debian")]
pub mod rocksdb;
#[cfg(feature = "sqlite")]
pub mod sqlite;

use crate::store::{Ability, Result, Role, Store};

/// What is to be done with an engine, whichever it is.
pub trait Visitor {
    /// What comes out of it.
    type Output;

    /// Does it with engine `S`.
    fn visit<S: Store>(self) -> Self::Output;
}

/// Lists the engines in the order in which they are shown.
macro_rules! engines {
    ($($(#[$feature:meta])* $store:ty;)*) => {
        /// Lets `visitor` see the engine called `name`.
        pub fn with<V: Visitor>(name: &str, visitor: V) -> Result<V::Output> {
            $($(#[$feature])* if name == <$store as Store>::NAME { return Ok(visitor.visit::<$store>()); })*
            Err(format!("no engine is called {name}").into())
        }

        /// What every engine of this build is called.
        pub fn names() -> Vec<&'static str> {
            vec![$($(#[$feature])* <$store as Store>::NAME,)*]
        }

        /// Every engine of this build, whether its library is there or not.
        pub fn all() -> Vec<Profile> {
            vec![$($(#[$feature])* Profile::of::<$store>(),)*]
        }
    };
}

engines! {
    kvdb::Kvdb;
    #[cfg(feature = "debian")] rocksdb::RocksDb;
    #[cfg(feature = "debian")] leveldb::LevelDb<false>;
    #[cfg(feature = "debian")] leveldb::LevelDb<true>;
    #[cfg(feature = "lmdb")] lmdb::Lmdb;
    #[cfg(feature = "redb")] redb::Redb;
    #[cfg(feature = "fjall")] fjall::Fjall;
    #[cfg(feature = "sqlite")] sqlite::Sqlite;
    raw::Raw;
    memory::Array;
    memory::Hashed;
    empty::Empty;
}

/// What is known of an engine without opening it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called here.
    pub name: &'static str,
    /// What it stands for.
    pub role: Role,
    /// What it can do.
    pub abilities: &'static [Ability],
    /// What was set to something else than its default.
    pub settings: &'static str,
    /// Its version.
    pub version: Result<String, String>,
}

impl Profile {
    fn of<S: Store>() -> Self {
        Self {
            name: S::NAME,
            role: S::ROLE,
            abilities: S::ABILITIES,
            settings: S::SETTINGS,
            version: S::version().map_err(|error| error.to_string()),
        }
    }
}
