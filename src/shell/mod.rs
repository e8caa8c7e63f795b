//! What a person or a script talks to: the command language, how commands run, how results and errors look.
//!
//! The shell knows the library's front door ([`Db`](crate::Db) and the engine traits) and nothing below it.
//!
//! ```text
//! bytes ── lexer ──▶ tokens ── parse, by the table ──▶ Command
//!             └──────── Diagnostic ◀────┘
//! ```

pub mod command;
pub mod diagnostic;
pub mod help;
#[doc(hidden)]
pub mod lexer;
pub mod literal;
pub mod parse;
#[doc(hidden)]
pub mod suggest;
#[doc(hidden)]
pub mod table;
