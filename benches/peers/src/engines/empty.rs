//! The process's limit: an engine that opens nothing and finds whatever it is asked for.

use std::path::Path;

use crate::data::Batch;
use crate::store::{Ability, Result, Role, Session, Setup, Store};

/// Nothing.
pub struct Empty;

impl Store for Empty {
    const NAME: &'static str = "empty";
    const ROLE: Role = Role::Limit;
    const ABILITIES: &'static [Ability] = &[Ability::Start];
    const SETTINGS: &'static str = "a process that starts, opens nothing and ends";

    type Session<'a> = Self;

    fn version() -> Result<String> {
        Ok(String::new())
    }

    fn open(_dir: &Path, _setup: &Setup) -> Result<Self> {
        Ok(Self)
    }

    fn session(&self) -> Result<Self> {
        Ok(Self)
    }
}

impl Session for Empty {
    fn put(&mut self, _key: &[u8], _value: &[u8]) -> Result<()> {
        Ok(())
    }

    fn write(&mut self, _batch: &Batch) -> Result<()> {
        Ok(())
    }

    fn get(&mut self, _key: &[u8], _found: impl FnOnce(&[u8])) -> Result<bool> {
        Ok(true)
    }
}
