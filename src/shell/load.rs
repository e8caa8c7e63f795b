//! Loading records that count only when all of them have come.

use std::cell::OnceCell;

use super::connection::Connection;
use super::dump::Sink;
use super::failure::Failure;
use crate::db::Bulk;
use crate::error::Result;
use crate::types::Op;

/// Bytes of records that are held back before a database is opened, and perhaps created, for them: of a small dump it is known
/// by then whether it is intact.
const HELD_BYTES: usize = 1 << 20;

/// Has `read` hand over records, and stores them if it succeeds: all or none. Returns what it returned.
pub(crate) fn load<R>(
    connection: &mut Connection,
    read: impl FnOnce(Sink<'_>) -> Result<R, Failure>,
) -> Result<R, Failure> {
    let (db, mut bulk) = (OnceCell::new(), None);
    let (mut held, mut held_bytes) = (Vec::<Op>::new(), 0);
    let mut begin = |held: &mut Vec<Op>| -> Result<Bulk<'_>> {
        let opened = connection.writer()?;
        let mut bulk = db.get_or_init(|| opened).bulk()?;
        held.drain(..).try_for_each(|op| bulk.apply(op))?;
        Ok(bulk)
    };
    let outcome = read(&mut |key, value, expires| {
        let len = key.len() + value.len();
        let op = Op::Set { key, value, expires };
        if let Some(bulk) = &mut bulk {
            return Ok(Bulk::apply(bulk, op)?);
        }
        held_bytes += len;
        held.push(op);
        if held_bytes > HELD_BYTES {
            bulk = Some(begin(&mut held)?);
        }
        Ok(())
    })?;
    bulk.map_or_else(|| begin(&mut held), Ok)?.commit()?;
    Ok(outcome)
}
