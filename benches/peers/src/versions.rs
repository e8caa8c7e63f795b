//! Which version of an engine is measured: from the lock file of this package, or from the name of a loaded library.

use crate::store::Result;

const LOCK: &str = include_str!("../Cargo.lock");

/// The version of a crate in the lock file.
pub fn locked(name: &str) -> Result<String> {
    let header = format!("name = \"{name}\"\nversion = \"");
    let version = LOCK.split_once(&*header).and_then(|(_, rest)| rest.split_once('"'));
    Ok(version.ok_or("the lock file does not name it")?.0.to_owned())
}

/// The version at the end of a loaded library's file: `librocksdb.so.7.8.3`.
#[cfg(feature = "debian")]
pub fn of_loaded_library(name: &str) -> Result<String> {
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let file = maps.lines().find_map(|line| line.split_once(name)).ok_or("the library is not loaded")?.1;
    Ok(file.trim_start_matches(".so").trim_start_matches('.').to_owned())
}
