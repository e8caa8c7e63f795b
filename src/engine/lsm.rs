//! The parts of the LSM tree: what is in memory, what is in tables, how they are merged.

pub(crate) mod bulk;
pub(crate) mod compact;
pub(crate) mod dictionary;
pub(crate) mod figures;
pub(crate) mod flush;
pub(crate) mod memtable;
pub(crate) mod merge;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod tables;
pub(crate) mod tree;
pub(crate) mod version;
pub(crate) mod view;
pub(crate) mod walk;
pub(crate) mod walked;
