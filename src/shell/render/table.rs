//! Aligned columns, in bounded memory.
//!
//! ```text
//! key     value
//! ------  ------------
//! "name"  "Jaya Krish…
//! ```
//!
//! 1. Widths are those of the first rows, [`SAMPLE_ROWS`] of them or [`SAMPLE_BYTES`]; later cells that are wider push what
//!    follows to the right, or are cut where the output has a width.
//! 2. Width is counted in the columns that a terminal gives to each character.
//! 3. A line never exceeds the width of the terminal; a cut is shown by `…`. Without a terminal nothing is cut.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::shell::command::Columns;

/// Rows that are looked at before the first is written.
const SAMPLE_ROWS: usize = 1_000;

/// Bytes of cells that are looked at before the first is written.
const SAMPLE_BYTES: usize = 1 << 20;

/// What stands between columns.
const GAP: &str = "  ";

/// The headings for some columns of a record.
pub(super) const fn headings(columns: Columns) -> &'static [&'static str] {
    match columns {
        Columns::Both => &["key", "value"],
        Columns::Keys => &["key"],
        Columns::Values => &["value"],
    }
}

/// A table that is being written.
pub(super) struct Table {
    headings: &'static [&'static str],
    limit: Option<usize>,
    sample: Vec<Vec<String>>,
    sample_bytes: usize,
    /// Known once the sample is complete.
    widths: Option<Vec<usize>>,
}

impl Table {
    pub(super) const fn new(headings: &'static [&'static str], limit: Option<usize>) -> Self {
        Self { headings, limit, sample: Vec::new(), sample_bytes: 0, widths: None }
    }

    pub(super) fn row(&mut self, out: &mut Vec<u8>, cells: Vec<String>) {
        if let Some(widths) = &self.widths {
            write_row(out, &cells, widths, self.limit);
            return;
        }
        self.sample_bytes += cells.iter().map(String::len).sum::<usize>();
        self.sample.push(cells);
        if self.sample.len() >= SAMPLE_ROWS || self.sample_bytes >= SAMPLE_BYTES {
            self.write_sample(out);
        }
    }

    /// Writes what is left. A table without rows is only its headings.
    pub(super) fn end(mut self, out: &mut Vec<u8>) {
        if self.widths.is_none() {
            self.write_sample(out);
        }
    }

    fn write_sample(&mut self, out: &mut Vec<u8>) {
        let widths = self.measure();
        let rules: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        write_row(out, self.headings, &widths, self.limit);
        write_row(out, &rules, &widths, self.limit);
        for cells in std::mem::take(&mut self.sample) {
            write_row(out, &cells, &widths, self.limit);
        }
        self.widths = Some(widths);
    }

    /// The widest cell of each column; of two columns that don't fit the first gets half of the line or what it needs.
    fn measure(&self) -> Vec<usize> {
        let widest = |column: usize| {
            let cells = self.sample.iter().map(|row| row[column].width());
            cells.max().unwrap_or(0).max(self.headings[column].width())
        };
        let mut widths: Vec<usize> = (0..self.headings.len()).map(widest).collect();
        if let (Some(limit), [first, .., last]) = (self.limit, &mut widths[..]) {
            let room = limit.saturating_sub(GAP.len());
            *first = (*first).min((room / 2).max(room.saturating_sub(*last)));
            *last = (*last).min(room.saturating_sub(*first));
        } else if let (Some(limit), [only]) = (self.limit, &mut widths[..]) {
            *only = (*only).min(limit);
        }
        widths
    }
}

fn write_row<T: AsRef<str>>(out: &mut Vec<u8>, cells: &[T], widths: &[usize], limit: Option<usize>) {
    let mut line = String::new();
    for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        let is_last = index + 1 == cells.len();
        let cell = cell.as_ref();
        let room = match (limit, is_last) {
            (None, _) => usize::MAX,
            (Some(limit), true) => limit.saturating_sub(line.width()),
            (Some(_), false) => width,
        };
        let shown = cut(cell, room);
        line.push_str(&shown);
        if !is_last {
            line.push_str(&" ".repeat(width.saturating_sub(shown.width())));
            line.push_str(GAP);
        }
    }
    out.extend_from_slice(line.as_bytes());
    out.push(b'\n');
}

/// The text cut to a number of columns.
pub(crate) fn cut(text: &str, columns: usize) -> std::borrow::Cow<'_, str> {
    if text.width() <= columns {
        return text.into();
    }
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used < columns
    };
    text.chars().take_while(fits).chain(['…']).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[(&str, &str)], limit: Option<usize>) -> String {
        let mut out = Vec::new();
        let mut table = Table::new(headings(Columns::Both), limit);
        for (key, value) in rows {
            table.row(&mut out, vec![(*key).into(), (*value).into()]);
        }
        table.end(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_align_by_display_width() {
        let expected = "key     value\n------  -----\n漢字    1\nab      22\nlonger  3\n";
        assert_eq!(table(&[("漢字", "1"), ("ab", "22"), ("longer", "3")], None), expected);
        assert_eq!(table(&[], None), "key  value\n---  -----\n");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let long = "v".repeat(100);
        let shown =
            table(&[("key:1", &long), (&long, "short"), ("漢字漢字漢字漢字漢字漢字", &long)], Some(30));
        assert!(shown.lines().all(|line| line.width() <= 30), "{shown}");
        assert!(shown.contains("…"));
    }

    #[test]
    fn the_rule_below_a_heading_is_as_wide_as_its_column() {
        let shown = table(&[("k", &"v".repeat(100))], Some(20));
        assert_eq!(shown, format!("key  value\n---  {}\nk    {}…\n", "-".repeat(15), "v".repeat(14)));
    }

    #[test]
    fn memory_is_bounded_by_the_sample() {
        let mut out = Vec::new();
        let mut table = Table::new(headings(Columns::Keys), None);
        for _ in 0..SAMPLE_ROWS {
            assert!(out.is_empty());
            table.row(&mut out, vec!["k".into()]);
        }
        assert!(!out.is_empty() && table.sample.is_empty());
    }
}
