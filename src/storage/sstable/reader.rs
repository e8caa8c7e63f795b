//! Reading a table: opening it, and finding one key.
//!
//! A get picks what it needs, so that a page which is not in memory is read alone; a walk has the system read ahead: see
//! [`Mapping`]. While the buckets are not in memory a get may go by the fences: see [`Thaw`].
//!
//! The file is mapped, and a page that verified can be gone later, when somebody cuts the file or the device fails: then it
//! is zeros, and counted ([`Mapping::lost_pages`]). So whatever reads compares that count from before with that from behind its
//! reading. If they differ it reads again, and from then on nothing of the table is taken as verified: what is lost does not
//! verify, everything else does. That costs two loads as long as nothing is lost.

use std::ops::{Bound, Range};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::blocks::{BLOCK_LEN, Body, Checks, SUM_LEN, block_end};
use super::cursor::TableCursor;
use super::footer::{Footer, Layout, Refusal};
use super::hash::{BUCKET_LEN, KeyHash, Lookup};
use super::mend::mend;
use super::page::{Page, TARGET_LEN};
use super::record::{self, Content, Extent, MAX_HEADER_LEN, Record};
use super::salvage::Salvage;
use super::thaw::{self, Thaw, Way};
use super::value::{DISTANT_HEADER_LEN, StoredValue, packed_len};
use super::verify::{self, Flaw, Inspection};
use super::{Checked, Damage, HEADER_LEN, TableMeta, file_name, partition_point};
use crate::error::{Error, Result, key_text, keys_text};
use crate::storage::FORMAT;
use crate::storage::fs::{Fs, Mapping, OpenMode};
use crate::storage::prefetch::prefetch;
use crate::types::{Direction, FileId, Key, KeyRange, Lsn, Timestamp};

/// Bytes of a cache line, for fetching what follows a record's first one.
const CACHE_LINE_LEN: usize = 64;

/// Bytes of the longest distant value that a get picks page by page once it is gone from memory again.
const MAX_PICKED_LEN: usize = 16 << 10;

/// Bytes of a key that an error message shows.
const SHOWN_KEY_LEN: usize = 48;

/// An open table. Any number of threads may read it; what they get borrows the mapped file.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    meta: TableMeta,
    seed: u64,
    layout: Layout,
    checks: Checks,
    /// In force once pages were lost.
    no_checks: Checks,
    thaw: Thaw,
    /// The dictionary, once it was needed.
    dictionary: OnceLock<Box<[u8]>>,
    mapping: Mapping,
}

/// How often reading begins again when pages are lost meanwhile.
const MAX_RETRIES: usize = 8;

/// What a table knows of a key.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The value; `None` when the key was deleted.
    pub value: Option<StoredValue<'t>>,
    /// The batch that stored or deleted it.
    pub lsn: Lsn,
    /// When the value expires, if it does.
    pub expires: Option<Timestamp>,
}

impl Table {
    /// Opens the table in `dir` that `meta` describes. Reads and verifies its footer, nothing else.
    ///
    /// # Errors
    /// Corruption when the file is not of the length that `meta` says, its footer is damaged, or it is another table;
    /// `Format` when a newer kvdb wrote it; I/O.
    pub fn open(fs: &dyn Fs, dir: &Path, meta: &TableMeta) -> Result<Self> {
        let path = dir.join(file_name(meta.id));
        let mapping = map(fs, &path, meta.len)?;
        Self::over(path, mapping, Some(meta))
    }

    /// The table of these bytes, which must be the `listed` one. Of one that nobody has listed, the footer says what there is to
    /// know, but for the keys.
    fn over(path: PathBuf, mapping: Mapping, listed: Option<&TableMeta>) -> Result<Self> {
        mapping.ask_for(thaw::tail(mapping.len()));
        let (footer, checksum) = Footer::decode(mapping.picked()).map_err(|refusal| match refusal {
            Refusal::Damaged => Error::corruption(
                &path,
                mapping.len() as u64,
                "the footer before this place does not verify: the whole table is lost",
            ),
            Refusal::Format(found) => Error::Format { file: path.clone(), found, supported: FORMAT },
        })?;
        if let Some(meta) = listed
            && (footer.id, checksum) != (meta.id, meta.checksum)
        {
            let what = format!("this is not the table of {} entries that the manifest lists", meta.entries);
            return Err(Error::corruption(&path, 0, what));
        }
        let meta = listed.cloned().unwrap_or_else(|| footer.meta(mapping.len() as u64, checksum));
        if mapping.lost_pages() > 0 {
            let what = "the footer could not be read: the whole table is lost";
            return Err(Error::corruption(&path, mapping.last_lost() as u64, what));
        }
        let (seed, layout) = (footer.seed, footer.layout);
        let (checks, no_checks) = (Checks::new(layout.sums), Checks::forgetful(layout.sums));
        let thaw = Thaw::new(&layout, mapping.len());
        let dictionary = OnceLock::new();
        Ok(Self { path, meta, seed, layout, checks, no_checks, thaw, dictionary, mapping })
    }

    /// Opens the table file of number `id` in `dir` for what can be read of it, whether it has its length or not and whoever
    /// lists it. Of one that nobody has listed, the keys of what the table says about itself are empty. `mended` is given the
    /// places of flipped bits that were set right, in memory; without it none are.
    ///
    /// # Errors
    /// Corruption where nothing of it can be read: as [`Table::open`], but for the length. `Format`; I/O.
    pub(crate) fn open_damaged(
        fs: &dyn Fs,
        dir: &Path,
        id: FileId,
        listed: Option<&TableMeta>,
        mended: Option<&mut Vec<usize>>,
    ) -> Result<Self> {
        let path = dir.join(file_name(id));
        let size = size(fs, &path)?;
        let len = listed.map_or(size, |listed| listed.len.min(size));
        let is_whole = len == size && listed.is_none_or(|listed| listed.len == len);
        if is_whole && mended.is_none() {
            return Self::over(path.clone(), map(fs, &path, len)?, listed);
        }
        let mut bytes = map(fs, &path, size)?[..usize::try_from(len).unwrap_or(0)].to_vec();
        if let Some(mended) = mended {
            *mended = mend(&mut bytes);
        }
        Self::over(path, Mapping::copied(bytes), listed)
    }

    /// What the manifest knows of the table.
    #[must_use]
    pub fn meta(&self) -> &TableMeta {
        &self.meta
    }

    /// The seed that [`KeyHash::new`] should be given for this table.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the table knows of `key`; `None` when it has no record of it.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub fn get(&self, key: &[u8]) -> Result<Option<Found<'_>>> {
        self.get_hashed(KeyHash::new(key, self.seed), key)
    }

    /// [`Table::get`], given the key's hash. If that was made with another seed, the key is hashed again.
    ///
    /// # Errors
    /// Corruption.
    #[inline]
    pub fn get_hashed(&self, hash: KeyHash, key: &[u8]) -> Result<Option<Found<'_>>> {
        let hash = hash.of(key, self.seed);
        self.read(|| self.find(hash, key))
    }

    /// [`Table::get_hashed`], with what `copy` makes of it: whoever copies there has the bytes that the file held, for certain.
    ///
    /// # Errors
    /// Corruption, and those of `copy`.
    #[inline]
    pub fn get_copied<'t, R>(
        &'t self,
        hash: KeyHash,
        key: &[u8],
        copy: impl Fn(Found<'t>) -> Result<R>,
    ) -> Result<Option<R>> {
        let hash = hash.of(key, self.seed);
        self.read(|| Ok(self.find(hash, key)?.map(&copy)))?.transpose()
    }

    /// Starts loading what [`Table::get_hashed`] needs first. Asking all tables to do this before the first is searched
    /// makes their cache misses overlap. Useful only for a hash of this table's seed.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        prefetch(self.mapping.picked(), self.layout.hash.place(hash.raw()));
    }

    /// The same, of a table that will be searched though it may well not have the key: buckets that may not be in memory are asked
    /// for, so that the device reads those of all such tables at once.
    #[inline]
    pub fn prefetch_or_ask(&self, hash: KeyHash) {
        let at = self.layout.hash.place(hash.raw());
        if self.picked().has_verified(at, at + BUCKET_LEN) {
            prefetch(self.mapping.picked(), at);
        } else if let Some(range) = self.thaw.around_bucket(at) {
            self.mapping.ask_for(range);
        }
    }

    /// The records of a range, before the first of them.
    ///
    /// # Errors
    /// Corruption.
    pub fn cursor(&self, range: &KeyRange, direction: Direction) -> Result<TableCursor<'_>> {
        TableCursor::new(self, range, direction).map_err(|damage| self.report(damage))
    }

    /// About how many records come before `key`: exact to a page.
    ///
    /// # Errors
    /// Corruption.
    pub fn count_below(&self, key: &[u8]) -> Result<u64> {
        let Layout { fences, data_end, .. } = &self.layout;
        let pages = self.read(|| fences.count_up_to(self.body(), key, *data_end))?;
        let (before, all) = (pages.saturating_sub(1) as u128, fences.count.max(1) as u128);
        Ok(u64::try_from(u128::from(self.meta.entries) * before / all).unwrap_or(u64::MAX))
    }

    /// At most `limit` keys from all over the table, in order.
    ///
    /// # Errors
    /// Corruption.
    pub fn sample(&self, limit: usize) -> Result<Vec<&[u8]>> {
        self.read(|| self.sampled(limit))
    }

    fn sampled(&self, limit: usize) -> Checked<Vec<&[u8]>> {
        let pages = self.layout.fences.count;
        let per_page = (limit / pages.max(1)).max(1);
        let mut keys = Vec::new();
        for index in (0..pages).step_by(pages.div_ceil(limit.max(1)).max(1)) {
            let page = self.page(self.body(), index)?;
            for position in (0..page.count()).step_by(page.count().div_ceil(per_page)) {
                keys.push(page.record(position)?.key);
            }
        }
        Ok(keys)
    }

    /// Whether it packs values that become shorter by that.
    pub(crate) fn packs(&self) -> bool {
        self.layout.dictionary_len.is_some()
    }

    /// What values are packed behind: one of its two copies has to be intact.
    pub(super) fn dictionary(&self) -> Checked<&[u8]> {
        if let Some(dictionary) = self.dictionary.get() {
            return Ok(dictionary);
        }
        if self.layout.dictionary_len.unwrap_or(0) == 0 {
            return Ok(&[]);
        }
        let before = self.lost_pages();
        let [first, second] = self.layout.dictionaries();
        let read = |range: Range<usize>| self.picked().slice(range.start, range.end);
        let dictionary = read(first).or_else(|_| read(second))?.into();
        if self.lost_pages() != before {
            return Err(self.loss());
        }
        Ok(self.dictionary.get_or_init(|| dictionary))
    }

    /// A record's value, verified wherever it lies; `None` for a tombstone.
    #[inline]
    pub(super) fn stored<'t>(
        &'t self,
        body: Body<'t>,
        content: Content<'t>,
    ) -> Checked<Option<StoredValue<'t>>> {
        if self.packs() {
            return self.packed(body, content);
        }
        match content {
            Content::Value(value) => Ok(Some(value.into())),
            Content::Tombstone => Ok(None),
            Content::Distant(extent) => {
                let start = extent.offset as usize;
                body.slice(start, start + extent.len as usize).map(|value| Some(value.into()))
            }
        }
    }

    /// The same of a table that packs.
    #[inline(never)]
    fn packed<'t>(&'t self, body: Body<'t>, content: Content<'t>) -> Checked<Option<StoredValue<'t>>> {
        let stored = match content {
            Content::Tombstone => return Ok(None),
            Content::Value(stored) => stored,
            Content::Distant(extent) => {
                let at = extent.offset as usize;
                let start = at + DISTANT_HEADER_LEN;
                let stored = body.slice(start, start + body.u32_at(at)? as usize)?;
                if packed_len(stored) != extent.len as usize {
                    return Err(Damage::new(at, "a value does not have the length that its record says"));
                }
                stored
            }
        };
        StoredValue::packed(self, stored).map(Some)
    }

    /// Where bytes of the file are in it that somebody was given.
    #[cold]
    pub(super) fn place_of(&self, bytes: &[u8]) -> usize {
        let place_in = |all: &[u8]| {
            let place = bytes.as_ptr().addr().checked_sub(all.as_ptr().addr());
            place.filter(|place| *place < all.len())
        };
        place_in(self.mapping.picked()).or_else(|| place_in(&self.mapping)).unwrap_or(HEADER_LEN)
    }

    /// How many bytes a record's value has, without reading it; `None` for a tombstone.
    #[inline]
    pub(super) fn value_len(&self, content: Content<'_>) -> Option<u64> {
        match content {
            Content::Value(stored) if self.packs() => Some(packed_len(stored) as u64),
            Content::Value(value) => Some(value.len() as u64),
            Content::Distant(extent) => Some(extent.len.into()),
            Content::Tombstone => None,
        }
    }

    /// Reads the whole file and checks that everything in it agrees: checksums, the order of keys, counts, what the hash
    /// section and the fences say of every record, and what the manifest says of the table.
    ///
    /// # Errors
    /// Corruption: the first disagreement.
    pub fn verify(&self) -> Result<()> {
        let found = self.read(|| Ok(verify::inspect(self, &mut |_| true)))?.unwrap_or_default();
        match found.flaws.into_iter().next() {
            None => Ok(()),
            Some(Flaw { offset, what, keys, .. }) => {
                let keys = keys.map(|keys| format!("; {}", keys_text(&keys, &show)));
                Err(Error::corruption(&self.path, offset, what + &keys.unwrap_or_default()))
            }
        }
    }

    /// As [`Table::verify`], but finds everything that is wrong. `go_on` is told how many records were looked at since the last
    /// time, and returns whether to go on; `None` when it said no.
    pub(crate) fn inspect(&self, go_on: &mut dyn FnMut(u64) -> bool) -> Option<Inspection> {
        verify::inspect(self, go_on)
    }

    /// Bytes that the file has now.
    ///
    /// # Errors
    /// I/O.
    pub(crate) fn file_len(&self, fs: &dyn Fs) -> Result<u64> {
        size(fs, &self.path)
    }

    /// Whether every byte verifies.
    pub(crate) fn is_intact(&self) -> bool {
        self.body().check(0, self.layout.sums).is_ok()
    }

    /// Everything that can be read of a table that may be damaged, and what can't.
    pub(crate) fn salvage(&self) -> Salvage<'_> {
        Salvage::new(self)
    }

    /// Reads, and reads again when pages were lost meanwhile.
    #[inline]
    fn read<R>(&self, read: impl Fn() -> Checked<R>) -> Result<R> {
        let before = self.lost_pages();
        let done = read();
        if self.lost_pages() != before {
            return self.read_again(&read);
        }
        done.map_err(|damage| self.report(damage))
    }

    #[cold]
    fn read_again<R>(&self, read: &dyn Fn() -> Checked<R>) -> Result<R> {
        for _ in 0..MAX_RETRIES {
            let before = self.lost_pages();
            let done = read();
            if self.lost_pages() == before {
                return done.map_err(|damage| self.report(damage));
            }
        }
        Err(self.report(self.loss()))
    }

    #[inline]
    pub(super) fn lost_pages(&self) -> usize {
        self.mapping.lost_pages()
    }

    /// The page that was lost last.
    #[cold]
    pub(super) fn loss(&self) -> Damage {
        Damage::new(self.mapping.last_lost(), "a page is gone")
    }

    /// The bytes for a walk.
    #[inline]
    pub(super) fn body(&self) -> Body<'_> {
        Body::new(&self.mapping, self.checks())
    }

    /// The bytes for a get.
    #[inline]
    fn picked(&self) -> Body<'_> {
        Body::new(self.mapping.picked(), self.checks())
    }

    #[inline]
    fn checks(&self) -> &Checks {
        if self.lost_pages() == 0 { &self.checks } else { &self.no_checks }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    #[inline]
    fn find(&self, hash: u64, key: &[u8]) -> Checked<Option<Found<'_>>> {
        let body = self.picked();
        match body.verified(self.layout.hash.place(hash)) {
            Some(bucket) => self.find_from(bucket, body, hash, key),
            None => self.find_cold(body, hash, key),
        }
    }

    /// What the table knows of a key, given its first bucket.
    #[inline]
    fn find_from<'t>(
        &'t self,
        bucket: &[u8; BUCKET_LEN],
        body: Body<'t>,
        hash: u64,
        key: &[u8],
    ) -> Checked<Option<Found<'t>>> {
        match self.layout.hash.lookup_from(bucket, body, hash, |place| self.probe(body, place, key))? {
            Lookup::Found(found) => Ok(Some(found)),
            Lookup::Absent => Ok(None),
            Lookup::Unknown => self.seek(body, key),
        }
    }

    /// What the table knows of a key whose bucket has not verified: see [`Thaw`].
    #[cold]
    #[inline(never)]
    fn find_cold<'t>(&'t self, body: Body<'t>, hash: u64, key: &[u8]) -> Checked<Option<Found<'t>>> {
        let at = self.layout.hash.place(hash);
        let ask = |range| self.mapping.ask_for(range);
        let way = if self.lost_pages() == 0 { self.thaw.way(at, ask) } else { Way::Buckets };
        if way != Way::Buckets {
            let found = self.seek(body, key);
            if let Way::FencesThenAsk(range) = way {
                ask(range);
            }
            if found.is_ok() {
                return found;
            }
        }
        self.find_from(body.aligned(at)?, body, hash, key)
    }

    /// What the record at `place` says of `key`, if it is one of that key.
    #[inline]
    fn probe<'t>(&'t self, body: Body<'t>, place: usize, key: &[u8]) -> Checked<Option<Found<'t>>> {
        prefetch(body.bytes(), place + CACHE_LINE_LEN);
        prefetch(body.bytes(), place + 2 * CACHE_LINE_LEN);
        body.check(place, place + MAX_HEADER_LEN)?;
        let record = record::decode(body.bytes(), place, self.layout.data_end)
            .ok_or(Damage::new(place, "there is no record where the hash section says so"))?;
        if record.end > block_end(place) {
            body.check(place, record.end)?;
        }
        if record.key == key { self.found(body, &record).map(Some) } else { Ok(None) }
    }

    /// What the table knows of `key`, found without the hash section.
    #[cold]
    fn seek<'t>(&'t self, body: Body<'t>, key: &[u8]) -> Checked<Option<Found<'t>>> {
        let Layout { fences, data_end, .. } = &self.layout;
        let Some(index) = fences.count_up_to(body, key, *data_end)?.checked_sub(1) else { return Ok(None) };
        let start = fences.page(body, index)?;
        self.ask_for(body, start, (start + TARGET_LEN).min(*data_end));
        let page = Page::open(body, start, *data_end)?;
        let position = page.position(key, false)?;
        if position == page.count() {
            return Ok(None);
        }
        let record = page.record(position)?;
        if record.key == key { self.found(body, &record).map(Some) } else { Ok(None) }
    }

    #[inline]
    fn found<'t>(&'t self, body: Body<'t>, record: &Record<'t>) -> Checked<Found<'t>> {
        let body = match record.content {
            Content::Distant(extent) => self.body_of_distant(body, extent)?,
            _ => body,
        };
        Ok(Found { value: self.stored(body, record.content)?, lsn: record.lsn, expires: record.expires })
    }

    /// The bytes to read a distant value from.
    fn body_of_distant<'t>(&'t self, body: Body<'t>, extent: Extent) -> Checked<Body<'t>> {
        let start = extent.offset as usize;
        let len = if self.packs() {
            DISTANT_HEADER_LEN + body.u32_at(start)? as usize
        } else {
            extent.len as usize
        };
        self.ask_for(body, start, start + len);
        Ok(if len > MAX_PICKED_LEN { self.body() } else { body })
    }

    /// Starts reading `start..end` at once, unless it has verified: touched page by page, each would be waited for.
    fn ask_for(&self, body: Body<'_>, start: usize, end: usize) {
        if !body.has_verified(start, end) {
            self.mapping.ask_for(start..end);
        }
    }

    /// Page `index`, verified.
    pub(super) fn page<'t>(&'t self, body: Body<'t>, index: usize) -> Checked<Page<'t>> {
        Page::open(body, self.layout.fences.page(body, index)?, self.layout.data_end)
    }

    /// Says what damage concerns, as far as the rest of the table can tell.
    #[cold]
    pub(super) fn report(&self, damage: Damage) -> Error {
        let lost = if self.lost_pages() == 0 {
            ""
        } else {
            " (parts of the file can't be read any more: it was cut, or the device failed)"
        };
        let what = format!("{} in {}{lost}", damage.what, self.part(&damage));
        Error::corruption(&self.path, damage.start as u64, what)
    }

    /// Whether these bytes have to do with a dictionary.
    pub(super) fn is_of_dictionary(&self, damage: &Damage) -> bool {
        let touches =
            |range: Range<usize>| !range.is_empty() && damage.start < range.end && damage.end > range.start;
        self.layout.dictionaries().into_iter().any(touches)
    }

    /// The keys that it may have: all, where nobody has listed it.
    pub(super) fn keys(&self) -> KeyRange {
        let listed = |key: &Key| if key.is_empty() { Bound::Unbounded } else { Bound::Included(key.clone()) };
        KeyRange { start: listed(&self.meta.smallest), end: listed(&self.meta.largest) }
    }

    /// What these bytes are, and what fails without them.
    pub(super) fn part(&self, damage: &Damage) -> String {
        let Layout { data_end, hash, fences, sums, .. } = &self.layout;
        let Damage { start, end, .. } = *damage;
        let mut concerned = Vec::new();
        if self.is_of_dictionary(damage) {
            concerned.push("one of the two dictionaries of its values".to_owned());
        }
        if start < *data_end {
            concerned.push(self.concerned_keys(start, end.min(*data_end)));
        }
        // What is lost with records says enough.
        let alone = |consequence| if start < *data_end { "" } else { consequence };
        if start < fences.start && end > hash.start {
            concerned.push(format!("the hash section{}", alone(": gets fail, scans do not need it")));
        }
        if start < *sums && end > fences.start {
            concerned.push(format!("the fences{}", alone(": scans fail, gets do not need them")));
        }
        if end > *sums {
            let first = (start - sums) / SUM_LEN * BLOCK_LEN;
            concerned.push(format!("the checksums of bytes {first} and following"));
        }
        concerned.join(", and in ")
    }

    fn concerned_keys(&self, start: usize, end: usize) -> String {
        let (body, fences) = (self.body(), &self.layout.fences);
        let begun_before = |limit: usize| {
            partition_point(fences.count, |index| Ok(fences.page(body, index)? < limit)).unwrap_or_default()
        };
        // A distant value lies before its page, so the first page behind the damage is concerned as well.
        let (first, behind) = (begun_before(start + 1).saturating_sub(1), begun_before(end) + 1);
        let bound = |index: usize, or: &Key| match fences.separator(body, index) {
            Ok(separator) if index < fences.count => show(separator),
            _ => show(or),
        };
        let (from, to) = (bound(first, &self.meta.smallest), bound(behind, &self.meta.largest));
        if from == to {
            return format!("records or values of key {from}");
        }
        format!("records or values of keys from {from} to {to}")
    }
}

fn show(key: &[u8]) -> String {
    let more = if key.len() > SHOWN_KEY_LEN { "…" } else { "" };
    format!("{}{more}", key_text(&key[..key.len().min(SHOWN_KEY_LEN)]))
}

/// Maps a file whose length must be `len`.
fn map(fs: &dyn Fs, path: &Path, len: u64) -> Result<Mapping> {
    let file = fs.open(path, OpenMode::Read).map_err(|error| Error::io("open", path, error))?;
    let size = file.size().map_err(|error| Error::io("read the length of", path, error))?;
    if size != len {
        let what = format!("the file has {size} bytes, the manifest says {len}");
        return Err(Error::corruption(path, size.min(len), what));
    }
    file.map().map_err(|error| Error::io("map", path, error))
}

fn size(fs: &dyn Fs, path: &Path) -> Result<u64> {
    let file = fs.open(path, OpenMode::Read).map_err(|error| Error::io("open", path, error))?;
    file.size().map_err(|error| Error::io("read the length of", path, error))
}
