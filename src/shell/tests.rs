//! The whole shell, on a disk of memory.

mod faults;
