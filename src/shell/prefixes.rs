//! `.prefixes`: what a database holds, by what its keys begin with.
//!
//! ```text
//! prefix         keys      bytes
//! "img/"       12,000   80.1 MiB  █████▎
//! "user:"   1,000,000    120 MiB  ████████
//! (none)           12      310 B  ▏
//! ```
//!
//! A key belongs to its beginning up to the n-th separator behind the prefix that was asked for, the separator included; a key
//! with fewer belongs to none.
//!
//! For programs it is a row for each group, and one with no prefix for the keys without a separator, if there are any.
//!
//! 1. It is one walk in the order of the keys, so what belongs together comes together. Values are not read.
//! 2. Only the largest groups are kept, so memory is bounded however many there are. The others are summed.

use std::collections::BTreeSet;

use unicode_width::UnicodeWidthStr;

use super::bar::bar;
use super::command::{Overview, Selection};
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::literal::literal;
use super::look::Look;
use super::progress::{Meter, Step};
use super::render::cut;
use super::session::{Session, walk_source};
use super::units;
use super::walk::{Walk, for_each_key};
use crate::types::KeyRange;

/// What ends a part of a key where nothing else is asked for.
const SEPARATORS: &[u8] = b":/.";

/// Columns of the longest bar, and room for bars that prefixes are cut for.
const MAX_BAR: usize = 40;
const MIN_BAR: usize = 8;

const HEADINGS: [&str; 3] = ["prefix", "keys", "bytes"];

/// Keys with something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) keys: u64,
    /// Of keys and values.
    pub(crate) bytes: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.keys += other.keys;
        self.bytes += other.bytes;
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefixes {
    /// The largest groups, in the order of the keys.
    pub(crate) groups: Vec<(Vec<u8>, Tally)>,
    /// How many groups are not among them, and what they hold.
    pub(crate) others: (u64, Tally),
    /// Keys without a separator.
    pub(crate) none: Tally,
}

/// Walks over the keys that begin with the prefix.
pub(crate) fn survey(
    overview: &Overview,
    source: &dyn Walk,
    interrupt: &Interrupt,
    step: &mut dyn FnMut(u64),
) -> Result<Prefixes, Failure> {
    let mut found = Survey { limit: overview.limit, ..Survey::default() };
    let mut keys = 0;
    let selection = Selection { range: KeyRange::prefix(&overview.prefix), ..Selection::default() };
    for_each_key(&selection, source, interrupt, &mut |key, value_len| {
        let len = key.len() as u64 + value_len;
        match group(key, overview) {
            Some(prefix) => found.add(prefix, len),
            None => found.none.add(&Tally { keys: 1, bytes: len }),
        }
        keys += 1;
        step(keys);
        Ok(())
    })?;
    Ok(found.end())
}

/// What a key begins with, up to a separator.
fn group<'k>(key: &'k [u8], overview: &Overview) -> Option<&'k [u8]> {
    let mut end = overview.prefix.len();
    for _ in 0..overview.depth {
        end += match &overview.separator {
            Some(separator) => {
                let len = separator.len();
                key[end..].windows(len).position(|part| part == &separator[..])? + len
            }
            None => key[end..].iter().position(|byte| SEPARATORS.contains(byte))? + 1,
        };
    }
    Some(&key[..end])
}

/// A walk as far as it has come.
#[derive(Default)]
struct Survey {
    limit: usize,
    current: (Vec<u8>, Tally),
    /// The largest so far, the smallest of them first.
    largest: BTreeSet<(u64, Vec<u8>, u64)>,
    others: (u64, Tally),
    none: Tally,
}

impl Survey {
    fn add(&mut self, prefix: &[u8], bytes: u64) {
        if self.current.0 != prefix || self.current.1.keys == 0 {
            self.close();
            self.current.0.extend_from_slice(prefix);
        }
        self.current.1.add(&Tally { keys: 1, bytes });
    }

    /// Ends the current group.
    fn close(&mut self) {
        let (prefix, Tally { keys, bytes }) = std::mem::take(&mut self.current);
        if keys == 0 {
            return;
        }
        self.largest.insert((bytes, prefix, keys));
        if self.largest.len() > self.limit
            && let Some((bytes, _, keys)) = self.largest.pop_first()
        {
            self.others.0 += 1;
            self.others.1.add(&Tally { keys, bytes });
        }
    }

    fn end(mut self) -> Prefixes {
        self.close();
        let groups = self.largest.into_iter().map(|(bytes, prefix, keys)| (prefix, Tally { keys, bytes }));
        let mut groups: Vec<_> = groups.collect();
        groups.sort_by(|a, b| a.0.cmp(&b.0));
        Prefixes { groups, others: self.others, none: self.none }
    }
}

impl Session {
    pub(super) fn prefixes(&mut self, overview: &Overview) -> Result<(), Failure> {
        let columns = self.meter_columns(true);
        let mut slot = None;
        let source = walk_source(self.block.as_ref(), &mut self.connection, &mut slot)?;
        let mut meter = Meter::new(&mut *self.errors.sink, columns, "looking").look(self.look);
        let found = survey(overview, source, &self.interrupt, &mut |keys| {
            meter.tick(|| Step { count: keys, unit: "keys", ..Step::default() });
        });
        drop(meter);
        let found = found?;
        let people = self.columns_for_people();
        let out = &mut self.output.buffer;
        match people {
            Some(columns) => {
                let page = picture(&found, Look { columns: Some(columns), ..self.look });
                self.renderer.text(out, &page);
            }
            None => self.renderer.tallies(out, &rows(&found)),
        }
        Ok(())
    }
}

/// The groups, and what is in none of them.
fn rows(found: &Prefixes) -> Vec<(Option<&[u8]>, &Tally)> {
    let groups = found.groups.iter().map(|(prefix, tally)| (Some(&prefix[..]), tally));
    let rest = [&found.others.1, &found.none].into_iter().filter(|tally| tally.keys > 0);
    groups.chain(rest.map(|tally| (None, tally))).collect()
}

/// The groups with bars for their bytes.
fn picture(found: &Prefixes, look: Look) -> String {
    let mut rows: Vec<(String, &Tally)> =
        found.groups.iter().map(|(prefix, tally)| (literal(prefix), tally)).collect();
    if found.others.0 > 0 {
        let others = if found.others.0 == 1 { "other" } else { "others" };
        rows.push((format!("({} {others})", units::grouped(found.others.0)), &found.others.1));
    }
    if found.none.keys > 0 {
        rows.push(("(none)".into(), &found.none));
    }
    let cells =
        |row: &(String, &Tally)| [row.0.clone(), units::grouped(row.1.keys), units::bytes(row.1.bytes)];
    let lines: Vec<[String; 3]> = rows.iter().map(cells).collect();
    let most = rows.iter().map(|(_, tally)| tally.bytes).max().unwrap_or(0);
    let columns = look.columns.unwrap_or(usize::MAX);
    let widths = widths(&lines, columns);
    let used = widths.iter().map(|width| width + 2).sum::<usize>();
    let room = columns.saturating_sub(used).min(MAX_BAR);
    let mut text = line(&HEADINGS.map(str::to_owned), widths, "");
    for (cells, (_, tally)) in lines.iter().zip(&rows) {
        let bar = if room < MIN_BAR { String::new() } else { bar(tally.bytes, most, room, look.unicode) };
        text += &line(cells, widths, &look.bar(&bar));
    }
    text
}

/// The widest of each column; prefixes are cut where they would leave no room for the rest.
fn widths(lines: &[[String; 3]], columns: usize) -> [usize; 3] {
    let widest = |index: usize| {
        let cells = lines.iter().map(|cells| cells[index].width());
        cells.max().unwrap_or(0).max(HEADINGS[index].width())
    };
    let [prefix, keys, bytes] = [0, 1, 2].map(widest);
    [prefix.min(columns.saturating_sub(keys + bytes + 6 + MIN_BAR).max(8)), keys, bytes]
}

fn line(cells: &[String; 3], [prefix, keys, bytes]: [usize; 3], bar: &str) -> String {
    let name = cut(&cells[0], prefix);
    let gap = " ".repeat(prefix.saturating_sub(name.width()));
    let line = format!("{name}{gap}  {:>keys$}  {:>bytes$}  {bar}", cells[1], cells[2]);
    line.trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;

    fn overview(prefix: &str, depth: u64, separator: Option<&str>, limit: usize) -> Overview {
        let separator = separator.map(|separator| separator.as_bytes().to_vec());
        Overview { prefix: prefix.into(), depth, separator, limit }
    }

    fn found(overview: &Overview) -> Prefixes {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path().join("db")).unwrap();
        let keys =
            ["a", "img/1", "img/b/2", "img/b/3", "u::1", "user:1:name", "user:1:x", "user:2:name", "z"];
        let mut batch = crate::types::Batch::new();
        for key in keys {
            batch.set(key, "12345");
        }
        db.write(batch).unwrap();
        let interrupt = Interrupt::for_prompt().unwrap();
        survey(overview, &db.snapshot().unwrap(), &interrupt, &mut |_| {}).unwrap()
    }

    fn counts(overview: &Overview) -> Vec<(String, u64)> {
        let found = found(overview);
        let groups =
            found.groups.into_iter().map(|(prefix, tally)| (String::from_utf8(prefix).unwrap(), tally.keys));
        groups.chain([("none".to_owned(), found.none.keys)]).collect()
    }

    fn pairs(expected: &[(&str, u64)]) -> Vec<(String, u64)> {
        expected.iter().map(|(prefix, keys)| ((*prefix).to_owned(), *keys)).collect()
    }

    #[test]
    fn keys_belong_to_their_beginning_up_to_a_separator() {
        let first = pairs(&[("img/", 3), ("u:", 1), ("user:", 3), ("none", 2)]);
        assert_eq!(counts(&overview("", 1, None, 10)), first);
        let second = pairs(&[("img/b/", 2), ("u::", 1), ("user:1:", 2), ("user:2:", 1), ("none", 3)]);
        assert_eq!(counts(&overview("", 2, None, 10)), second);
        assert_eq!(
            counts(&overview("user:", 1, None, 10)),
            pairs(&[("user:1:", 2), ("user:2:", 1), ("none", 0)])
        );
        assert_eq!(counts(&overview("", 1, Some("::"), 10)), pairs(&[("u::", 1), ("none", 8)]));
    }

    #[test]
    fn the_largest_are_kept_and_the_others_summed() {
        let found = found(&overview("", 1, None, 2));
        let groups: Vec<_> = found.groups.iter().map(|(prefix, tally)| (&prefix[..], tally.bytes)).collect();
        assert_eq!(groups, [(&b"img/"[..], 34), (b"user:", 45)]);
        assert_eq!(found.others, (1, Tally { keys: 1, bytes: 9 }));
    }

    #[test]
    fn a_picture_fits_and_shows_every_group() {
        let found = found(&overview("", 1, None, 2));
        for columns in 30..100 {
            let shown = picture(&found, Look { columns: Some(columns), unicode: true, ..Look::PLAIN });
            assert!(shown.lines().all(|line| line.width() <= columns), "{shown}");
            assert_eq!(shown.lines().count(), 5);
        }
        let shown = picture(&found, Look { columns: Some(40), unicode: true, ..Look::PLAIN });
        assert!(shown.contains("\"user:\"       3   45 B  █") && shown.contains("(1 other)"), "{shown}");
    }
}
