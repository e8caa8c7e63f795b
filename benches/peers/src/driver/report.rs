//! What is printed: a Markdown table per group, and what one has to know to read it.

use std::fmt::Write as _;
use std::fs;
use std::io::{Write as _, stdout};

use serde_json::{Map, json};

use super::rows::{GROUPS, Goal, Group, Row, Unit};
use super::samples::Samples;
use crate::engines::{Profile, kvdb::Kvdb};
use crate::options::Options;
use crate::proc;
use crate::store::{Result, Role, Store};

const SUBJECT: &str = Kvdb::NAME;

/// Everything there is to print.
pub(super) struct Report<'r> {
    pub(super) options: &'r Options,
    pub(super) machine: String,
    pub(super) engines: &'r [Profile],
    /// Engines that are not on this machine.
    pub(super) missing: Vec<Profile>,
    pub(super) samples: &'r Samples,
}

/// Prints the report, and writes the figures to the file that was asked for.
pub(super) fn print(report: &Report<'_>) -> Result<()> {
    stdout().lock().write_all(report.markdown()?.as_bytes())?;
    if let Some(file) = &report.options.json {
        fs::write(file, report.json())?;
    }
    Ok(())
}

impl Report<'_> {
    fn markdown(&self) -> Result<String> {
        let mut text = self.header();
        for group in GROUPS {
            let rows: Vec<&Row> = group.rows.iter().filter(|row| self.is_measured(row)).collect();
            if !rows.is_empty() {
                self.table(&mut text, group, &rows)?;
            }
        }
        self.footer(&mut text)?;
        Ok(text)
    }

    fn header(&self) -> String {
        let Options { keys, value_bytes, rounds, turn, .. } = self.options;
        format!(
            "{}, {}\n\n{} keys of 16 random bytes, values of {value_bytes} bytes of which half compress, \
             {rounds} rounds, turns of {turn:?}.\n",
            self.machine,
            proc::today(),
            grouped(*keys),
        )
    }

    fn is_measured(&self, row: &Row) -> bool {
        self.engines.iter().any(|engine| self.median(row, engine.name).is_some())
    }

    fn median(&self, row: &Row, engine: &'static str) -> Option<f64> {
        self.samples.median(row.work, row.figure, engine)
    }

    /// How many times better kvdb is than an engine.
    fn advantage(&self, row: &Row, engine: &'static str) -> Option<f64> {
        let pair = if row.unit.is_rate() { [SUBJECT, engine] } else { [engine, SUBJECT] };
        self.samples.ratio(row.work, row.figure, pair)
    }

    /// The peer over which kvdb's advantage is the smallest.
    fn best_peer(&self, row: &Row) -> Option<(f64, &'static str)> {
        let peers = self.engines.iter().filter(|engine| engine.role == Role::Peer);
        let advantages = peers.filter_map(|peer| Some((self.advantage(row, peer.name)?, peer.name)));
        advantages.min_by(|one, other| one.0.total_cmp(&other.0))
    }

    fn table(&self, text: &mut String, group: &Group, rows: &[&Row]) -> Result<()> {
        let has_column = |engine: &&Profile| rows.iter().any(|row| self.median(row, engine.name).is_some());
        let engines: Vec<&Profile> =
            self.engines.iter().filter(|engine| engine.role != Role::Subject).filter(has_column).collect();
        write!(text, "\n### {}\n\n| work | unit | kvdb | kvdb against the best peer | goal |", group.title)?;
        for engine in &engines {
            write!(text, " {} |", engine.name)?;
        }
        writeln!(text, "\n|---|---|---|---|---|{}", "---|".repeat(engines.len()))?;
        for row in rows {
            let subject =
                self.median(row, SUBJECT).map_or_else(String::new, |figure| shown(row.unit, figure));
            write!(text, "| {} | {} | {subject} |", row.label, row.unit.name())?;
            write!(text, " {} | {} |", self.standing(row), self.goals(row))?;
            for engine in &engines {
                write!(text, " {} |", self.cell(row, engine.name))?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// An engine's figure, and how many times better kvdb's is.
    fn cell(&self, row: &Row, engine: &'static str) -> String {
        let figure = self.median(row, engine).map_or_else(String::new, |figure| shown(row.unit, figure));
        match self.advantage(row, engine) {
            Some(advantage) => format!("{figure} ({})", times(advantage)),
            None => figure,
        }
    }

    fn standing(&self, row: &Row) -> String {
        match self.best_peer(row) {
            Some((advantage, peer)) if advantage >= 1.0 => format!("ahead {} {peer}", times(advantage)),
            Some((advantage, peer)) => format!("**behind {}** {peer}", times(advantage)),
            None => String::new(),
        }
    }

    fn goals(&self, row: &Row) -> String {
        let goals: Vec<String> = row.goals.iter().filter_map(|goal| self.goal(row, *goal)).collect();
        goals.join(", ")
    }

    /// A goal and whether it is reached; nothing when it can't be told.
    fn goal(&self, row: &Row, goal: Goal) -> Option<String> {
        let (text, is_reached) = match goal {
            Goal::OverBest(least) => (at_least(least, "best"), self.best_peer(row)?.0 >= least),
            Goal::Over(engine, least) => (at_least(least, engine), self.advantage(row, engine)? >= least),
            Goal::AtMost(most) => {
                let text = format!("≤ {} {}", shown(row.unit, most), row.unit.name());
                (text, self.median(row, SUBJECT)? <= most)
            }
        };
        Some(if is_reached { format!("✓ {text}") } else { format!("**✗ {text}**") })
    }

    fn footer(&self, text: &mut String) -> Result<()> {
        writeln!(
            text,
            "\nIn parentheses: how many times better kvdb is, which is the median of the ratios of neighbouring turns. \
             `raw`, `array`, `hashmap` and `empty` are the limits of device, memory and process, not peers. Reads follow a \
             load that has settled (closed, opened, idle for half a second, closed); nobody was asked to compact. \
             Before each turn of warm reads all files are read once. Written \
             bytes are the kernel's count for the process (`write_bytes` of /proc/self/io: pages made dirty and direct \
             writes) until it has settled. Disk is what the files take in blocks.\n"
        )?;
        for engine in self.engines {
            let version = engine.version.as_deref().unwrap_or_default();
            let space = if version.is_empty() { "" } else { " " };
            writeln!(text, "- {}{space}{version}: {}.", engine.name, engine.settings)?;
        }
        for Profile { name, version, .. } in &self.missing {
            let error = version.as_ref().err().map_or("", String::as_str);
            writeln!(text, "- {name} was not measured: {error}.")?;
        }
        for failure in self.samples.failures() {
            writeln!(text, "- **Failed:** {failure}.")?;
        }
        Ok(())
    }

    fn json(&self) -> String {
        let versions: Map<_, _> = self
            .engines
            .iter()
            .map(|engine| (engine.name.to_owned(), json!(engine.version.as_deref().unwrap_or_default())))
            .collect();
        let report = json!({
            "machine": self.machine,
            "date": proc::today(),
            "keys": self.options.keys,
            "value_bytes": self.options.value_bytes,
            "rounds": self.options.rounds,
            "versions": versions,
            "measured": self.samples.to_json(),
        });
        format!("{report:#}\n")
    }
}

fn at_least(factor: f64, engine: &str) -> String {
    let factor = digits(factor);
    let factor =
        if factor.contains('.') { factor.trim_end_matches('0').trim_end_matches('.') } else { &factor };
    format!("≥ {factor} × {engine}")
}

fn times(factor: f64) -> String {
    format!("{} ×", digits(factor))
}

/// A figure in its unit, with about three digits.
fn shown(unit: Unit, figure: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    match unit {
        Unit::PerSecond if figure >= 999_500.0 => format!("{} M", digits(figure / 1e6)),
        Unit::PerSecond if figure >= 9_999.5 => format!("{} k", digits(figure / 1e3)),
        Unit::Bytes => digits(figure / MIB),
        _ => digits(figure),
    }
}

fn digits(figure: f64) -> String {
    if figure > 0.0 && figure < 0.001 {
        return "< 0.001".to_owned();
    }
    let decimals = match figure {
        _ if figure >= 99.95 => 0,
        _ if figure >= 9.995 => 1,
        _ if figure >= 0.0995 => 2,
        _ => 3,
    };
    format!("{figure:.decimals$}")
}

/// A number with a comma between thousands.
fn grouped(number: u64) -> String {
    if number < 1_000 {
        number.to_string()
    } else {
        format!("{},{:03}", grouped(number / 1_000), number % 1_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::float;

    #[test]
    fn figures_have_three_digits() {
        assert_eq!(shown(Unit::PerSecond, 1_234_567.0), "1.23 M");
        assert_eq!(shown(Unit::PerSecond, 12_345.0), "12.3 k");
        assert_eq!(shown(Unit::PerSecond, 8_578.4), "8578");
        assert_eq!(shown(Unit::Milliseconds, 0.0153), "0.015");
        assert_eq!(shown(Unit::Bytes, float(100 << 20)), "100");
        assert_eq!(grouped(1_000_000), "1,000,000");
    }
}
