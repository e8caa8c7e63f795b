//! Checking a whole table: that all its parts verify and agree with one another. It goes on behind damage, so that everything that
//! is wrong is told.
//!
//! 1. Every block and every leaf of the checksums is verified anew, whatever has verified before.
//! 2. Every record is read. What can't be read is told with the keys that are lost.
//! 3. The hash section must lead to every record and the fences to every page, and neither to anything else.
//! 4. The counts must be those that the manifest has.

use super::blocks::{BLOCK_LEN, Checks};
use super::hash::Lookup;
use super::reader::Table;
use super::record::Record;
use super::salvage::{Lost, Salvage, Step, lookup};
use super::{Checked, Damage};
use crate::storage::{Expiries, TableMeta};
use crate::types::{KeyRange, Lsn};

/// Blocks or records between two looks at whether to go on.
const TICK: u64 = 256;

/// What is wrong with a part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) what: String,
    /// The keys whose records are lost, if some are.
    pub(crate) keys: Option<KeyRange>,
}

/// What was found in a table.
#[derive(Debug, Default)]
pub(crate) struct Inspection {
    pub(crate) flaws: Vec<Flaw>,
    pub(crate) records: u64,
}

/// What was seen of the records so far.
#[derive(Default)]
struct Seen<'t> {
    first: Option<&'t [u8]>,
    last: Option<&'t [u8]>,
    entries: u64,
    tombstones: u64,
    payload_bytes: u64,
    lsns: Option<(Lsn, Lsn)>,
    expiries: Option<Expiries>,
    /// Records that the hash section leads to.
    hashed: u64,
    /// No packed value can be read, which was told.
    no_dictionary: bool,
}

/// Verifies everything; see [`Table::inspect`].
pub(super) fn inspect(table: &Table, go_on: &mut dyn FnMut(u64) -> bool) -> Option<Inspection> {
    let mut found = Inspection::default();
    let bad = bad_blocks(table, go_on)?;
    let seen = inspect_records(table, &mut found, go_on)?;
    found.records = seen.entries;
    for damage in bad {
        let is_told = |flaw: &Flaw| flaw.keys.is_some() && flaw.overlaps(&damage);
        if !found.flaws.iter().any(is_told) {
            found.flaws.push(Flaw::of(table, damage));
        }
    }
    if found.flaws.is_empty()
        && let Err(damage) = compare_sections(table, &seen).and_then(|()| compare_with_meta(table, &seen))
    {
        found.flaws.push(Flaw::of(table, damage));
    }
    found.flaws.sort_by_key(|flaw| flaw.offset);
    Some(found)
}

impl Flaw {
    fn of(table: &Table, damage: Damage) -> Self {
        let len = if damage.is_block() { (damage.end - damage.start) as u64 } else { 0 };
        let what = format!("{} in {}", damage.what, table.part(&damage));
        Self { offset: damage.start as u64, len, what, keys: None }
    }

    /// The records of these keys can't be read.
    fn lost(table: &Table, damage: Damage, keys: KeyRange) -> Self {
        let is_of_records = damage.start < table.layout().data_end && !table.is_of_dictionary(&damage);
        let part = if is_of_records { "records or values".into() } else { table.part(&damage) };
        let Lost { offset, len, what, keys } = damage.of(keys);
        Self { offset, len, what: format!("{what} in {part}"), keys: Some(keys) }
    }

    fn overlaps(&self, damage: &Damage) -> bool {
        self.offset < damage.end as u64 && (damage.start as u64) < self.offset + self.len.max(1)
    }
}

/// Blocks whose checksums do not match, neighbours of one section together; and parts of the checksums that do not verify
/// themselves. `None` when it is to stop.
fn bad_blocks(table: &Table, go_on: &mut dyn FnMut(u64) -> bool) -> Option<Vec<Damage>> {
    let mut bad: Vec<Damage> = Vec::new();
    let checks = Checks::new(table.layout().sums);
    for (number, start) in (0..table.layout().sums).step_by(BLOCK_LEN).enumerate() {
        if (number as u64).is_multiple_of(TICK) && !go_on(0) {
            return None;
        }
        let end = (start + BLOCK_LEN).min(table.layout().sums);
        let Err(damage) = table.body().judged_by(&checks).check(start, end) else { continue };
        match bad.last_mut() {
            Some(last) if *last == damage => {}
            Some(last) if last.end == damage.start && table.part(last) == table.part(&damage) => {
                last.end = damage.end;
            }
            _ => bad.push(damage),
        }
    }
    Some(bad)
}

fn inspect_records<'t>(
    table: &'t Table,
    found: &mut Inspection,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> Option<Seen<'t>> {
    let mut seen = Seen::default();
    if let Err(damage) = table.dictionary() {
        seen.no_dictionary = true;
        found.flaws.push(Flaw::lost(table, damage, table.keys()));
    }
    let mut walk = Salvage::new(table);
    let mut new_page = None;
    while let Some(step) = walk.step() {
        if (seen.entries + found.flaws.len() as u64).is_multiple_of(TICK) && !go_on(TICK) {
            return None;
        }
        match step {
            Step::Gap(damage) => {
                found.flaws.push(Flaw::lost(table, damage, walk.gap_keys()));
                seen.last = None;
            }
            Step::Record(place, record) => {
                let page = walk.page_number();
                let is_first = new_page.replace(page) != Some(page);
                if let Err(flaw) = inspect_record(table, place, &record, page.filter(|_| is_first), &mut seen)
                {
                    found.flaws.push(flaw);
                }
            }
        }
    }
    Some(seen)
}

/// Looks at one record, the first of the page of this number if there is one. What the sections can't say because they are damaged
/// is told by their blocks.
fn inspect_record<'t>(
    table: &'t Table,
    place: usize,
    record: &Record<'t>,
    page: Option<usize>,
    seen: &mut Seen<'t>,
) -> Result<(), Flaw> {
    let key = record.key;
    let before = seen.last.replace(key);
    seen.first.get_or_insert(key);
    seen.entries += 1;
    let (least, most) = seen.lsns.unwrap_or((record.lsn, record.lsn));
    seen.lsns = Some((least.min(record.lsn), most.max(record.lsn)));
    Expiries::count(&mut seen.expiries, record.expires);
    let value_len = value_len(table, record, seen.no_dictionary)
        .map_err(|damage| Flaw::lost(table, damage, KeyRange::from(key..=key)))?;
    seen.tombstones += u64::from(value_len.is_none());
    seen.payload_bytes += key.len() as u64 + value_len.unwrap_or(0);
    match lookup(table, place, key) {
        Ok(Lookup::Found(())) => seen.hashed += 1,
        Ok(Lookup::Absent) => {
            return Err(Flaw::of(table, Damage::new(place, "the hash section does not know a record")));
        }
        Ok(Lookup::Unknown) | Err(_) => {}
    }
    if let Some(number) = page
        && leads_elsewhere(table, number, key, before)
    {
        let start = table.layout().fences.start;
        return Err(Flaw::of(table, Damage::new(start, "a fence does not lead to its page")));
    }
    Ok(())
}

/// How many bytes the value of a record has, which is read, if it can be.
fn value_len(table: &Table, record: &Record<'_>, no_dictionary: bool) -> Checked<Option<u64>> {
    let Some(stored) = table.stored(table.body(), record.content)? else { return Ok(None) };
    if no_dictionary { Ok(Some(stored.value_len())) } else { Ok(Some(stored.checked()?.len() as u64)) }
}

/// A seek of a page's first key must lead to it, and one of the key before it to the page before.
fn leads_elsewhere(table: &Table, number: usize, first: &[u8], before: Option<&[u8]>) -> bool {
    let layout = table.layout();
    let leads_to = |key: &[u8], pages: usize| {
        let up_to = layout.fences.count_up_to(table.body(), key, layout.data_end);
        up_to.is_err() || up_to == Ok(pages)
    };
    !(leads_to(first, number + 1) && before.is_none_or(|before| leads_to(before, number)))
}

fn compare_sections(table: &Table, seen: &Seen<'_>) -> Checked<()> {
    let hash = &table.layout().hash;
    if hash.count_slots(table.body())? != seen.hashed {
        return Err(Damage::new(hash.start, "the hash section names records that are none"));
    }
    let [first, second] = table.layout().dictionaries();
    if table.body().slice(first.start, first.end)? != table.body().slice(second.start, second.end)? {
        return Err(Damage::new(second.start, "the two dictionaries differ"));
    }
    Ok(())
}

fn compare_with_meta(table: &Table, seen: &Seen<'_>) -> Checked<()> {
    let TableMeta { entries, tombstones, payload_bytes, smallest, largest, .. } = table.meta();
    let is_unlisted = largest.is_empty();
    let agree = seen.entries == *entries
        && seen.tombstones == *tombstones
        && seen.payload_bytes == *payload_bytes
        && seen.lsns.unwrap_or_default() == (table.meta().smallest_lsn, table.meta().largest_lsn)
        && (is_unlisted || seen.expiries == table.meta().expiries)
        && (is_unlisted || seen.first.unwrap_or_default() == &**smallest)
        && (is_unlisted || seen.last.unwrap_or_default() == &**largest);
    if agree { Ok(()) } else { Err(Damage::new(0, "the records are not those that the manifest counts")) }
}
