//! The flags of the command line.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::time::Duration;

use crate::data::MIN_VALUE_BYTES;
use crate::engines;
use crate::store::Result;
use crate::work::PLANS;

/// What to measure.
pub struct Options {
    /// Keys in the loaded database.
    pub keys: u64,
    /// Bytes per value.
    pub value_bytes: usize,
    /// How often everything is repeated.
    pub rounds: usize,
    /// Names of engines, all of them if there are none.
    pub engines: Vec<String>,
    /// Names of work, all of it if there are none.
    pub works: Vec<String>,
    /// How long an engine works in each round, where that can be chosen.
    pub turn: Duration,
    /// Where the databases are made.
    pub dir: PathBuf,
    /// Where every figure is written to.
    pub json: Option<PathBuf>,
}

const HELP: &str = "\
Runs the same work on kvdb and on its peers and prints medians and ratios.

    --short            100,000 keys, 2 rounds of short turns: under 5 minutes on an idle machine
    --keys N           keys in the database (1,000,000)
    --value-bytes N    bytes per value, half of them compressible (100)
    --rounds N         how often everything is repeated (3)
    --turn-ms N        how long an engine works in each round, where that can be chosen (1000)
    --engines A,B      only these engines
    --work A,B         only this work
    --dir DIR          where the databases are made, on the device that is meant (this package's target directory)
    --json FILE        writes every figure to FILE too
";

impl Default for Options {
    fn default() -> Self {
        Self {
            keys: 1_000_000,
            value_bytes: 100,
            rounds: 3,
            engines: Vec::new(),
            works: Vec::new(),
            turn: Duration::from_secs(1),
            dir: [env!("CARGO_MANIFEST_DIR"), "target"].iter().collect(),
            json: None,
        }
    }
}

impl Options {
    /// What the arguments ask for; none when they ask for help.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>> {
        let mut options = Self::default();
        let mut arguments = arguments.iter();
        while let Some(flag) = arguments.next() {
            match &**flag {
                "--help" | "-h" => return Ok(None),
                "--short" => options.shorten(),
                _ => {
                    let value = arguments.next().ok_or_else(|| format!("{flag} needs a value"))?;
                    options.set(flag, value).map_err(|error| format!("{flag} {value}: {error}"))?;
                }
            }
        }
        Ok(Some(options))
    }

    const fn shorten(&mut self) {
        self.keys = 100_000;
        self.rounds = 2;
        self.turn = Duration::from_millis(200);
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<()> {
        match flag {
            "--keys" => self.keys = value.parse::<u64>()?.max(1_000),
            "--value-bytes" => self.value_bytes = value.parse::<usize>()?.max(MIN_VALUE_BYTES),
            "--rounds" => self.rounds = value.parse::<usize>()?.max(1),
            "--turn-ms" => self.turn = Duration::from_millis(value.parse()?),
            "--engines" => self.engines = names(value, &engines::names())?,
            "--work" => self.works = names(value, &PLANS.iter().map(|plan| plan.name).collect::<Vec<_>>())?,
            "--dir" => self.dir = value.into(),
            "--json" => self.json = Some(value.into()),
            _ => return Err("there is no such flag; --help lists them".into()),
        }
        Ok(())
    }

    /// Prints the flags.
    pub fn help() -> Result<()> {
        let mut out = stdout().lock();
        write!(out, "{HELP}\nEngines:")?;
        for engine in engines::names() {
            write!(out, " {engine}")?;
        }
        write!(out, "\nWork:")?;
        for plan in PLANS {
            write!(out, " {}", plan.name)?;
        }
        Ok(writeln!(out)?)
    }
}

/// The names of a list separated by commas, each of which must be known.
fn names(list: &str, known: &[&str]) -> Result<Vec<String>> {
    let names: Vec<String> = list.split(',').map(str::to_owned).collect();
    match names.iter().find(|name| !known.contains(&&***name)) {
        Some(name) => Err(format!("{name} is none of {}", known.join(", ")).into()),
        None => Ok(names),
    }
}
