//! What a person or a script talks to: the command language, how commands run, how results and errors look.
//!
//! The shell knows the library's front door ([`Db`](crate::Db) and the engine traits) and nothing below it.
//!
//! ```text
//! bytes ── lexer ──▶ tokens ── parse, by the table ──▶ Command
//!             └──────── Diagnostic ◀────┘
//! ```

mod bar;
mod block;
mod calls;
mod check;
pub mod command;
mod completions;
mod connection;
mod delete;
pub mod diagnostic;
mod dump;
mod duration;
mod edit;
mod execute;
pub mod exit;
mod export;
mod failure;
mod figures;
pub mod files;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod glob;
mod group;
pub mod help;
mod history;
mod import;
mod input;
mod interrupt;
#[doc(hidden)]
pub mod lexer;
pub mod literal;
mod load;
pub mod look;
mod man;
mod meta;
mod output;
mod pager;
pub mod parse;
mod prefixes;
mod progress;
mod render;
mod repair;
mod repl;
mod report;
pub mod run;
mod script;
mod session;
#[doc(hidden)]
pub mod suggest;
#[doc(hidden)]
pub mod table;
mod termination;
#[cfg(test)]
mod tests;
mod transfer;
mod tutorial;
mod undo;
mod units;
mod walk;
