//! Walking over whatever can be read of a table, and saying exactly what can't.
//!
//! A page is read as a whole or not at all; what is lost with it are the keys between the last one read before it and the first
//! one read behind it. A distant value that can't be read takes its key with it and nothing else.
//!
//! Pages are found through the fences. Where those can't be read, the pages behind are looked for byte by byte: a page is one
//! whose blocks verify, whose records fill it in ascending order behind the last key, and that the hash section knows to lie
//! there. (Without the last, a value that looks like a page would be taken for one.)

use std::borrow::Cow;
use std::ops::Bound;

use super::blocks::BLOCK_LEN;
use super::hash::{KeyHash, Lookup};
use super::page::Page;
use super::reader::Table;
use super::record::Record;
use super::value::StoredValue;
use super::{Checked, Damage};
use crate::types::{KeyRange, Lsn, Timestamp};

/// What a walk over a damaged table comes to next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Salvaged<'t> {
    /// A record that verified.
    Record(Recovered<'t>),
    /// Records that can't be read.
    Lost(Lost),
}

/// A record of a table that may be damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recovered<'t> {
    pub(crate) key: &'t [u8],
    /// `None` when the key was deleted.
    pub(crate) value: Option<Cow<'t, [u8]>>,
    pub(crate) lsn: Lsn,
    pub(crate) expires: Option<Timestamp>,
}

/// A part of a table whose records can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) what: &'static str,
    /// No other keys are concerned.
    pub(crate) keys: KeyRange,
}

/// A record and where it lies, or the damage that hides some.
pub(super) enum Step<'t> {
    Record(usize, Record<'t>),
    /// Between the last record and the next one.
    Gap(Damage),
}

/// The walk. Every record that can be read comes, in ascending order of the keys.
pub(crate) struct Salvage<'t> {
    table: &'t Table,
    /// The page whose records come next.
    page: Page<'t>,
    position: usize,
    /// The number of the next page.
    next_page: usize,
    /// Where the last page that was read ends: the next one lies behind.
    end: usize,
    /// The fences can't be read from here on.
    searches: bool,
    last: Option<&'t [u8]>,
    /// What lies between the last record and the next one.
    gap: Option<Damage>,
    /// Records and keys of lost values that came.
    seen: u64,
    any_lost: bool,
    /// It was told that no packed value can be read.
    no_dictionary: bool,
    /// Handed out behind a gap.
    waiting: Option<(usize, Record<'t>)>,
}

impl<'t> Salvage<'t> {
    pub(crate) fn new(table: &'t Table) -> Self {
        Self {
            table,
            page: Page::empty(),
            position: 0,
            next_page: 0,
            end: table.layout().data_start(),
            searches: false,
            last: None,
            gap: None,
            seen: 0,
            any_lost: false,
            no_dictionary: false,
            waiting: None,
        }
    }

    /// The next record, or gap between records.
    pub(super) fn step(&mut self) -> Option<Step<'t>> {
        loop {
            if self.waiting.is_none() && self.position < self.page.count() {
                let at = self.position;
                self.position += 1;
                match self.page.place(at).and_then(|place| Ok((place, self.page.record(at)?))) {
                    Ok(found) => self.waiting = Some(found),
                    Err(damage) => self.note(damage),
                }
                continue;
            }
            if let Some((place, record)) = self.waiting {
                if let Some(gap) = self.gap.take() {
                    return Some(Step::Gap(gap));
                }
                self.waiting = None;
                self.last = Some(record.key);
                self.seen += 1;
                return Some(Step::Record(place, record));
            }
            if !self.enter_next_page() {
                return self.end_of_table();
            }
        }
    }

    /// The gap before the end, if there is one.
    fn end_of_table(&mut self) -> Option<Step<'t>> {
        let gap = self.gap.take().or_else(|| {
            let is_short = !self.any_lost && self.seen < self.table.meta().entries;
            is_short.then(|| Damage::new(self.table.layout().data_start(), "records can't be found"))
        })?;
        self.any_lost = true;
        Some(Step::Gap(gap))
    }

    /// Keys that may lie in the gap that was handed out last.
    pub(super) fn gap_keys(&self) -> KeyRange {
        let KeyRange { start, end } = self.table.keys();
        KeyRange {
            start: self.last.map_or(start, |last| Bound::Excluded(last.into())),
            end: self.waiting.map_or(end, |(_, next)| Bound::Excluded(next.key.into())),
        }
    }

    /// The number of the page that the last record is of, if the fences led to it.
    pub(super) fn page_number(&self) -> Option<usize> {
        if self.searches { None } else { self.next_page.checked_sub(1) }
    }

    fn note(&mut self, damage: Damage) {
        self.any_lost = true;
        match &mut self.gap {
            Some(gap) if damage.start >= gap.start => gap.end = gap.end.max(damage.end),
            Some(_) => {}
            None => self.gap = Some(damage),
        }
    }

    /// Goes on to the next page that can be read; `false` when there is none.
    fn enter_next_page(&mut self) -> bool {
        (self.page, self.position) = (Page::empty(), 0);
        while !self.searches {
            let layout = self.table.layout();
            if self.next_page == layout.fences.count {
                return false;
            }
            self.next_page += 1;
            match layout.fences.page(self.table.body(), self.next_page - 1) {
                Err(_) => self.searches = true,
                Ok(start) => match self.open(start) {
                    Ok(page) => {
                        self.enter(page);
                        return true;
                    }
                    Err(damage) => self.note(damage),
                },
            }
        }
        self.search()
    }

    fn enter(&mut self, page: Page<'t>) {
        self.end = page.end();
        (self.page, self.position) = (page, 0);
    }

    /// The page at `start`, if it verifies and its records fill it in order, behind the last key.
    fn open(&self, start: usize) -> Checked<Page<'t>> {
        if start < self.end {
            return Err(Damage::new(start, "two pages overlap"));
        }
        let page = Page::open(self.table.body(), start, self.table.layout().data_end)?;
        let (mut expected, mut last) = (page.first_place(), self.last);
        for index in 0..page.count() {
            let (place, record) = (page.place(index)?, page.record(index)?);
            if place != expected {
                return Err(Damage::new(place, "the records of a page leave a gap or overlap"));
            }
            if last.is_some_and(|last| last >= record.key) {
                return Err(Damage::new(place, "keys are out of order"));
            }
            (expected, last) = (record.end, Some(record.key));
        }
        if expected != page.end() {
            return Err(Damage::new(expected, "a page has bytes behind its last record"));
        }
        Ok(page)
    }

    /// Looks for the next page behind the last one, byte by byte. Bytes that do not verify may have been one.
    fn search(&mut self) -> bool {
        let data_end = self.table.layout().data_end;
        let mut at = self.end;
        while at < data_end {
            let block = (at / BLOCK_LEN * BLOCK_LEN, (at / BLOCK_LEN + 1) * BLOCK_LEN);
            if let Err(damage) = self.table.body().check(at, (at + 1).min(data_end)) {
                self.note(damage);
                at = block.1;
                continue;
            }
            if Page::may_begin(self.table.body(), at, data_end)
                && let Ok(page) = self.open(at)
                && self.is_known(&page)
            {
                self.enter(page);
                return true;
            }
            at += 1;
        }
        self.end = data_end;
        false
    }

    /// Whether the hash section has the page's records where they are.
    fn is_known(&self, page: &Page<'t>) -> bool {
        let mut known = false;
        for index in 0..page.count() {
            let (Ok(place), Ok(record)) = (page.place(index), page.record(index)) else { return false };
            match lookup(self.table, place, record.key) {
                Ok(Lookup::Found(())) => known = true,
                Ok(Lookup::Absent) => return false,
                Ok(Lookup::Unknown) | Err(_) => {}
            }
        }
        known
    }
}

/// What the hash section says of the key of a record at `place`.
pub(super) fn lookup(table: &Table, place: usize, key: &[u8]) -> Checked<Lookup<()>> {
    let hash = KeyHash::new(key, table.seed()).raw();
    table.layout().hash.lookup(table.body(), hash, |named| Ok((named == place).then_some(())))
}

impl Damage {
    /// What is lost where these bytes can't be read.
    pub(super) fn of(self, keys: KeyRange) -> Lost {
        Lost { offset: self.start as u64, len: (self.end - self.start) as u64, what: self.what, keys }
    }
}

impl<'t> Iterator for Salvage<'t> {
    type Item = Salvaged<'t>;

    fn next(&mut self) -> Option<Salvaged<'t>> {
        loop {
            let Record { key, content, lsn, expires, .. } = match self.step()? {
                Step::Gap(damage) => return Some(Salvaged::Lost(damage.of(self.gap_keys()))),
                Step::Record(_, record) => record,
            };
            let stored = self.table.stored(self.table.body(), content);
            let damage = match stored.and_then(|stored| stored.map(StoredValue::checked).transpose()) {
                Ok(value) => return Some(Salvaged::Record(Recovered { key, value, lsn, expires })),
                Err(damage) => damage,
            };
            self.any_lost = true;
            if self.table.dictionary().is_ok() {
                return Some(Salvaged::Lost(damage.of(KeyRange::from(key..=key))));
            }
            // Told once for all.
            if !std::mem::replace(&mut self.no_dictionary, true) {
                return Some(Salvaged::Lost(damage.of(self.table.keys().intersect(KeyRange::from(key..)))));
            }
        }
    }
}
