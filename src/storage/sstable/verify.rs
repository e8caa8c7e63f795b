//! Checking a whole table: that all its parts verify and agree with one another.

use super::fences::FenceSection;
use super::hash::{KeyHash, Lookup};
use super::page::Page;
use super::reader::{Table, value};
use super::record::Record;
use super::{Checked, Damage};
use crate::storage::Expiries;
use crate::types::Lsn;

/// What was seen of the records so far.
#[derive(Default)]
struct Seen<'t> {
    last: Option<&'t [u8]>,
    entries: u64,
    tombstones: u64,
    payload_bytes: u64,
    lsns: Option<(Lsn, Lsn)>,
    expiries: Option<Expiries>,
    /// Records that the hash section leads to.
    hashed: u64,
}

/// Verifies everything; see [`Table::verify`].
pub(super) fn verify(table: &Table) -> Checked<()> {
    table.body().check_anew()?;
    let mut seen = Seen::default();
    let mut end = 0;
    for index in 0..table.layout().fences.count {
        let page = table.page(index)?;
        if page.start() < end {
            return Err(Damage::new(page.start(), "two pages overlap"));
        }
        end = page.end();
        verify_page(table, index, &page, &mut seen)?;
    }
    let slots = table.layout().hash.count_slots(table.body())?;
    if slots != seen.hashed {
        return Err(Damage::new(table.layout().hash.start, "the hash section names records that are none"));
    }
    compare_with_meta(table, &seen)
}

fn verify_page<'t>(table: &'t Table, index: usize, page: &Page<'t>, seen: &mut Seen<'t>) -> Checked<()> {
    let mut expected = page.first_place();
    for position in 0..page.count() {
        let (place, record) = (page.place(position)?, page.record(position)?);
        if place != expected {
            return Err(Damage::new(place, "the records of a page leave a gap or overlap"));
        }
        expected = record.end;
        if seen.last.is_some_and(|last| last >= record.key) {
            return Err(Damage::new(place, "keys are out of order"));
        }
        if position == 0 {
            verify_fence(table, index, record.key, seen.last)?;
        }
        verify_record(table, place, &record, seen)?;
    }
    if expected == page.end() {
        Ok(())
    } else {
        Err(Damage::new(expected, "a page has bytes behind its last record"))
    }
}

/// A seek of a page's first key must lead to it, and one of the key before it to the page before.
fn verify_fence(table: &Table, index: usize, first: &[u8], before: Option<&[u8]>) -> Checked<()> {
    let layout = table.layout();
    let up_to = |key: &[u8]| FenceSection::count_up_to(&layout.fences, table.body(), key, layout.data_end);
    if up_to(first)? != index + 1 || before.is_some_and(|before| up_to(before) != Ok(index)) {
        return Err(Damage::new(layout.fences.start, "a fence does not lead to its page"));
    }
    Ok(())
}

fn verify_record<'t>(
    table: &'t Table,
    place: usize,
    record: &Record<'t>,
    seen: &mut Seen<'t>,
) -> Checked<()> {
    let body = table.body();
    let hash = KeyHash::new(record.key, table.seed()).raw();
    match table.layout().hash.lookup(body, hash, |named| Ok((named == place).then_some(())))? {
        Lookup::Found(()) => seen.hashed += 1,
        Lookup::Unknown => {}
        Lookup::Absent => return Err(Damage::new(place, "the hash section does not know a record")),
    }
    let value = value(body, record.content)?;
    seen.last = Some(record.key);
    seen.entries += 1;
    seen.tombstones += u64::from(value.is_none());
    seen.payload_bytes += (record.key.len() + value.map_or(0, <[u8]>::len)) as u64;
    let (least, most) = seen.lsns.unwrap_or((record.lsn, record.lsn));
    seen.lsns = Some((least.min(record.lsn), most.max(record.lsn)));
    Expiries::count(&mut seen.expiries, record.expires);
    Ok(())
}

fn compare_with_meta(table: &Table, seen: &Seen<'_>) -> Checked<()> {
    let meta = table.meta();
    let smallest = match table.layout().fences.count {
        0 => None,
        _ => Some(table.page(0)?.record(0)?.key),
    };
    let agree = seen.entries == meta.entries
        && seen.tombstones == meta.tombstones
        && seen.payload_bytes == meta.payload_bytes
        && seen.lsns.unwrap_or_default() == (meta.smallest_lsn, meta.largest_lsn)
        && seen.expiries == meta.expiries
        && smallest.unwrap_or_default() == &*meta.smallest
        && seen.last.unwrap_or_default() == &*meta.largest;
    if agree { Ok(()) } else { Err(Damage::new(0, "the records are not those that the manifest counts")) }
}
