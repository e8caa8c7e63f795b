//! The whole shell, on a disk of memory.

pub(super) mod captured;
mod faults;
mod user_files;
