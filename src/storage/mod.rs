//! What is on disk, one structure per file, and every system call that touches it.
//!
//! The structures know nothing of each other and nothing of engines.

pub mod fs;
