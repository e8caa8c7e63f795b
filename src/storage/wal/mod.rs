//! The write-ahead log: a chain of segment files, each a header followed by linked records.
//!
//! ```text
//!  000007.wal                                  000008.wal
//!  ┌────────┬────────┬────────┬──────┐  seal   ┌────────┬────────┬─────────────────
//!  │ header │ record │ record │ seal ├────────►│ header │ record │ 0 0 0 0 0 …
//!  └────────┴────────┴────────┴──────┘◄────────┤        │        │
//!            each links to the one before      └────────┴────────┴─────────────────
//! ```
//!
//! Segments are filled with zeros when they are made and overwritten in place, so that a sync changes neither the file's length
//! nor its extents: one device flush and no journal commit. [`segment`] owns the header, [`record`] the records,
//! [`reader`] the walk over them and the decision where a log ends.
//!
//! A log is valid when
//!
//! 1. every segment's header verifies, has the salt that the seal before it names, and names that seal's place;
//! 2. every record verifies for its segment and offset, links to the checksum of the record before it, and has the next LSN;
//! 3. what follows the last record is no record of this log that would prove the place before it to have been durable.
//!
//! Reading goes record by record until one does not verify. Rule 3 then tells a torn tail (the log ends there) from
//! corruption (refuse): every record says how far the log was already durable when it was written.

pub(crate) mod reader;
pub(crate) mod record;
mod search;
pub(crate) mod segment;
