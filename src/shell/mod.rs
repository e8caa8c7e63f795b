//! What a person or a script talks to: the command language, how commands run, how results and errors look.
//!
//! The shell knows the library's front door ([`Db`](crate::Db) and the engine traits) and nothing below it.

pub mod command;
