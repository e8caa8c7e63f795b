//! Dumps: a database as a script that proves to be complete.
//!
//! ```text
//! # kvdb dump 1                                            header: format version
//! set "key" "value"                                        one record a line, in byte order
//! set "key" "value" --expires-at 2026-11-22T14:05:09.250Z  when its value expires
//! # end of dump: 2 records, crc32 9ae0daaf                 CRC-32 (IEEE) of every byte before this line
//! ```
//!
//! 1. A dump is written from one snapshot, and to a file by way of another name: no half a dump is ever found under its name.
//! 2. It is read back exactly as it is written: a line that this file would not have written is an alteration.
//! 3. Nothing is applied before header, every line, count and checksum are right; then all of it is, at once.
//! 4. A dump is also a script. What was edited by hand runs with `.read`; `.load` refuses it.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::path::Path;

use super::command::{Command, Selection};
use super::exit::Exit;
use super::failure::Failure;
use super::files;
use super::input::{Awaited, MAX_LINE_LEN, READ_BYTES};
use super::interrupt::Interrupt;
use super::parse;
use super::render::write_set;
use super::table::format_of_extension;
use super::walk::{Walk, for_each};
use crate::types::{Key, Lifetime, Timestamp, Value};

const HEADER_START: &str = "# kvdb dump ";
const VERSION: &str = "1";
const TRAILER_START: &str = "# end of dump: ";

/// Bytes of the first line that are looked at: more than any header has.
const MAX_HEADER_LEN: usize = 64;

/// Lines between two looks at the interrupt flag.
const CHECK_LINES: u64 = 256;

/// Writes a dump of what `source` holds, in pieces; returns the number of records.
pub(crate) fn write(
    source: &dyn Walk,
    interrupt: &Interrupt,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut checksum = crc32fast::Hasher::new();
    let mut line = format!("{HEADER_START}{VERSION}\n").into_bytes();
    let mut count = 0;
    checksum.update(&line);
    sink(&line)?;
    for_each(&Selection::default(), source, interrupt, &mut |key, value, expires| {
        line.clear();
        write_set(&mut line, key, value, expires);
        checksum.update(&line);
        count += 1;
        sink(&line)
    })?;
    sink(trailer(count, checksum.finalize()).as_bytes())?;
    Ok(count)
}

fn trailer(count: u64, checksum: u32) -> String {
    format!("{TRAILER_START}{count} records, crc32 {checksum:08x}\n")
}

/// What takes the records of a dump, one after the other, each with the moment at which its value expires, if it does.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(Key, Value, Option<Timestamp>) -> Result<(), Failure>;

/// Reads a dump and hands its records to `sink`; returns how many there are. Only then it has verified.
pub(crate) fn read(
    name: &str,
    source: impl AsFd,
    interrupt: &Interrupt,
    sink: Sink<'_>,
) -> Result<u64, Failure> {
    let source = Awaited::new(source, interrupt);
    verified(name, BufReader::with_capacity(READ_BYTES, source), interrupt, sink)
}

/// Looks whether a dump is complete and unaltered, without making records of its lines.
pub(crate) fn check(name: &str, source: impl AsFd, interrupt: &Interrupt) -> Result<(), Failure> {
    let source = BufReader::with_capacity(READ_BYTES, Awaited::new(source, interrupt));
    walk(name, source, interrupt, &mut |reader| reader.count_line()).map(drop)
}

pub(super) fn verified(
    name: &str,
    source: impl BufRead,
    interrupt: &Interrupt,
    sink: Sink<'_>,
) -> Result<u64, Failure> {
    walk(name, source, interrupt, &mut |reader| reader.record(sink))
}

/// Walks over the lines of a dump between header and trailer, with `take` for each.
fn walk(
    name: &str,
    mut source: impl BufRead,
    interrupt: &Interrupt,
    take: &mut dyn FnMut(&mut Reader<'_>) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let mut reader =
        Reader { name, number: 0, checksum: crc32fast::Hasher::new(), line: Vec::new(), count: 0 };
    reader.next(&mut source)?;
    reader.check_header()?;
    loop {
        if reader.number.is_multiple_of(CHECK_LINES) {
            interrupt.check()?;
        }
        reader.checksum.update(&reader.line);
        reader.next(&mut source)?;
        if reader.line.starts_with(b"#") {
            break;
        }
        take(&mut reader)?;
    }
    reader.check_trailer()?;
    reader.next(&mut source)?;
    if reader.line.is_empty() { Ok(reader.count) } else { Err(reader.altered("something follows the end")) }
}

/// A dump as far as it has been read.
struct Reader<'a> {
    name: &'a str,
    /// Of the line in `line`, from 1.
    number: u64,
    /// Over all lines before that.
    checksum: crc32fast::Hasher,
    line: Vec<u8>,
    /// Records so far.
    count: u64,
}

impl Reader<'_> {
    /// Reads the next line; it is empty at the end.
    fn next(&mut self, source: &mut impl BufRead) -> Result<(), Failure> {
        self.line.clear();
        self.number += 1;
        let limit = if self.number == 1 { MAX_HEADER_LEN } else { MAX_LINE_LEN };
        let read = source.take(limit as u64).read_until(b'\n', &mut self.line);
        read.map(drop).map_err(files::failed("read", self.name.as_ref()))
    }

    fn check_header(&self) -> Result<(), Failure> {
        let line = String::from_utf8_lossy(&self.line);
        match line.strip_prefix(HEADER_START) {
            Some(rest) if rest.strip_suffix('\n') == Some(VERSION) => Ok(()),
            Some(rest) if rest.trim_end() == VERSION => Err(self.altered("this is not how a dump begins")),
            Some(version) => Err(Failure::Refused {
                message: format!(
                    "{} is a dump of format \"{}\"",
                    self.name,
                    version.trim_end().escape_debug()
                ),
                help: Some(format!("this kvdb reads format {VERSION}")),
                exit: Exit::UNAVAILABLE,
            }),
            None => Err(Failure::refused(
                format!("{} is not a dump: it does not begin with \"{HEADER_START}{VERSION}\"", self.name),
                match Path::new(self.name).extension().and_then(OsStr::to_str).and_then(format_of_extension) {
                    Some(_) => format!("to store its records: .import {}", self.name),
                    None => format!("to run it as a script: .read {}", self.name),
                },
            )),
        }
    }

    /// Counts a line.
    fn count_line(&mut self) -> Result<(), Failure> {
        self.count += 1;
        if self.line.ends_with(b"\n") {
            Ok(())
        } else {
            Err(self.altered("it ends here, without its last line"))
        }
    }

    /// Takes a record, if the line is exactly as a dump has it.
    fn record(&mut self, sink: Sink<'_>) -> Result<(), Failure> {
        let Ok(Some(Command::Set { key, value, options })) = parse::line(&self.line) else {
            return Err(self.altered(if self.line.ends_with(b"\n") {
                "this is no record"
            } else {
                "it ends here, without its last line"
            }));
        };
        let mut expected = Vec::with_capacity(self.line.len());
        let expires = match options.lifetime {
            Lifetime::Until(moment) => Some(moment),
            Lifetime::Forever | Lifetime::For(_) => None,
        };
        write_set(&mut expected, &key, &value, expires);
        if expected != self.line {
            return Err(self.altered("this record is not written as a dump writes it"));
        }
        self.count += 1;
        sink(key, value, expires)
    }

    fn check_trailer(&self) -> Result<(), Failure> {
        let expected = trailer(self.count, self.checksum.clone().finalize());
        if self.line == expected.as_bytes() {
            return Ok(());
        }
        let found = String::from_utf8_lossy(&self.line);
        Err(self.altered(
            &match found.strip_prefix(TRAILER_START).and_then(|rest| rest.split_once(" records")) {
                Some((count, _)) if count != self.count.to_string() => {
                    format!("{} records stand above, the last line says {}", self.count, count.escape_debug())
                }
                _ => "the checksum is not that of the lines above".to_owned(),
            },
        ))
    }

    fn altered(&self, what: &str) -> Failure {
        Failure::Refused {
            message: format!("{}:{}: the dump was cut or altered: {what}", self.name, self.number),
            help: Some("nothing was loaded; what is intact of it can be run with .read".to_owned()),
            exit: Exit::CORRUPTION,
        }
    }
}

/// The lines of a dump that may have been altered, with the last line that they would need.
#[cfg(any(test, fuzzing))]
pub(super) fn with_right_end(dump: &[u8]) -> Vec<u8> {
    let start = TRAILER_START.as_bytes();
    let end = dump.windows(start.len()).rposition(|window| window == start).unwrap_or(dump.len());
    let lines = &dump[..end];
    let count = lines.split_inclusive(|&byte| byte == b'\n').count().saturating_sub(1);
    let mut mended = lines.to_vec();
    mended.extend_from_slice(trailer(count as u64, crc32fast::hash(lines)).as_bytes());
    mended
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Db;
    use crate::types::SetOptions;

    fn interrupt() -> Interrupt {
        Interrupt::for_prompt().unwrap()
    }

    fn records() -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut records: Vec<_> = (0..=255_u8).map(|byte| (vec![byte], vec![byte, 0, byte])).collect();
        records.insert(0, (Vec::new(), Vec::new()));
        records
    }

    /// When a record expires: every third does, late.
    fn expiry(key: &[u8]) -> Option<Timestamp> {
        let last = u64::from(*key.last()?);
        last.is_multiple_of(3).then(|| Timestamp::from_unix_millis(200_000_000_000_000 + last).unwrap())
    }

    /// A dump of all of them.
    fn dump() -> Vec<u8> {
        dump_of(records())
    }

    /// A dump that is short enough to be changed at every byte.
    fn short_dump() -> Vec<u8> {
        dump_of(records().into_iter().step_by(33).collect())
    }

    fn dump_of(records: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path().join("db")).unwrap();
        let expected = records.len() as u64;
        for (key, value) in records {
            let lifetime = expiry(&key).into();
            db.set_with(key, value, &SetOptions::new().lifetime(lifetime)).unwrap();
        }
        let mut bytes = Vec::new();
        let count = write(&db.snapshot().unwrap(), &interrupt(), &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!(count.unwrap(), expected);
        bytes
    }

    #[test]
    fn every_byte_string_comes_back() {
        let mut found = Vec::new();
        let count = verified("d", &dump()[..], &interrupt(), &mut |key, value, expires| {
            assert_eq!(expires, expiry(&key));
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        assert_eq!((count.unwrap(), found), (records().len() as u64, records()));
    }

    #[test]
    fn a_check_without_records_finds_what_reading_finds() {
        let dump = short_dump();
        let check = |bytes: &[u8]| {
            walk("d", bytes, &interrupt(), &mut |reader| reader.count_line())
                .map_err(|failure| failure.exit())
        };
        let read =
            |bytes: &[u8]| verified("d", bytes, &interrupt(), &mut |_, _, _| Ok(())).map_err(|f| f.exit());
        assert_eq!(check(&dump), read(&dump));
        for len in 0..dump.len() {
            assert_eq!(check(&dump[..len]), read(&dump[..len]), "cut at {len}");
        }
        for at in 0..dump.len() {
            let mut altered = dump.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(check(&altered).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_dump_cut_anywhere_is_refused() {
        let dump = short_dump();
        for len in 0..dump.len() {
            let failure = verified("d", &dump[..len], &interrupt(), &mut |_, _, _| Ok(())).unwrap_err();
            assert_ne!(failure.exit(), Exit::DONE, "cut at {len}");
        }
    }

    #[test]
    fn a_dump_with_any_bit_flipped_is_refused() {
        let dump = short_dump();
        for at in 0..dump.len() {
            let mut altered = dump.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(verified("d", &altered[..], &interrupt(), &mut |_, _, _| Ok(())).is_err(), "byte {at}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let said = |bytes: &[u8]| {
            let failure = verified("d.kv", bytes, &interrupt(), &mut |_, _, _| Ok(())).unwrap_err();
            (failure.exit(), failure.message())
        };
        let text = String::from_utf8(dump()).unwrap();
        let line = text.lines().count();
        let cut = &text[..text.rfind('#').unwrap()];
        let (exit, message) = said(cut.as_bytes());
        assert_eq!(exit, Exit::CORRUPTION);
        assert_eq!(
            message,
            format!("d.kv:{line}: the dump was cut or altered: it ends here, without its last line")
        );
        let less = text.replacen("set \"a\" \"a\\x00a\"\n", "", 1);
        assert!(said(less.as_bytes()).1.contains("256 records stand above, the last line says 257"));
        let changed = text.replacen("\"a\\x00a\"", "\"a\\x00b\"", 1);
        assert!(said(changed.as_bytes()).1.contains("the checksum is not that of the lines above"));
        assert_eq!(said(b"set a b\n").0, Exit::USAGE);
        let strange = with_right_end(text.replacen('\n', " \n", 1).as_bytes());
        assert_eq!(said(&strange).1, "d.kv:1: the dump was cut or altered: this is not how a dump begins");
        assert_eq!(said(b"# kvdb dump 9\n").0, Exit::UNAVAILABLE);
    }
}
