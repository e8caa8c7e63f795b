//! Fuzzing what people and programs write: scripts, arguments, dumps.

use std::collections::BTreeMap;
use std::collections::btree_map::Iter;
use std::sync::OnceLock;

use super::command::{Export, Format, Import};
use super::diagnostic::Diagnostic;
use super::failure::Failure;
use super::interrupt::Interrupt;
use super::lexer::{LineEnd, Token, tokens};
use super::literal::{is_hidden, literal, write_literal};
use super::look::Look;
use super::walk::Walk;
use super::{dump, export, import, parse};
use crate::engine::{Cursor, Item, KeyCursor, KeysOf};
use crate::error::Result;
use crate::fuzzing::{Target, told};
use crate::types::{Direction, Key, KeyRange, Timestamp, Value};

/// The input is a script, and the arguments of a one-shot with a zero byte between them.
pub(crate) const LANGUAGE: Target = Target { name: "language", run: language, seeds: scripts };

/// The input is a byte that says what it is, and a file in another program's format.
pub(crate) const IMPORT: Target = Target { name: "import", run: import, seeds: files };

/// The input is a dump. An odd first byte has its last line made right.
pub(crate) const DUMP: Target = Target { name: "dump", run: dump, seeds: dumps };

fn language(bytes: &[u8]) {
    script(bytes);
    arguments(bytes);
    let printed = literal(bytes);
    assert!(!printed.chars().any(is_hidden), "{printed}");
    assert_eq!(tokens_of(printed.as_bytes()).map(|read| read[0].bytes.to_vec()), Some(bytes.to_vec()));
}

fn tokens_of(line: &[u8]) -> Option<Vec<Token<'_>>> {
    tokens(line).collect::<Result<_, _>>().ok()
}

fn script(bytes: &[u8]) {
    let (mut whole, mut rest) = (LineEnd::new(), bytes);
    while let Some(len) = whole.feed(rest) {
        let mut bytewise = LineEnd::new();
        let found = (0..len).find_map(|at| bytewise.feed(&rest[at..=at]).map(|_| at + 1));
        assert_eq!(found, Some(len), "a line ends elsewhere when it comes in pieces");
        line(&rest[..len]);
        rest = &rest[len..];
    }
    line(rest);
}

fn line(line: &[u8]) {
    let command = match parse::line(line) {
        Ok(command) => command,
        Err(fault) => return points_into(&fault, line),
    };
    let tokens = tokens_of(line).unwrap_or_else(|| panic!("what is no token was parsed"));
    let mut end = 0;
    for token in &tokens {
        assert!(token.span.start >= end && token.span.end <= line.len(), "{:?}", token.span);
        end = token.span.end;
    }
    let mut finder = LineEnd::new();
    assert!(finder.feed(&line[..end]).is_none() && finder.open_quote().is_none(), "it ends before its end");
    assert_eq!(parse::line(&written_anew(&tokens)).ok(), Some(command), "print is not parse");
}

/// The same line, with everything that is quoted in the one way in which it is printed.
fn written_anew(tokens: &[Token<'_>]) -> Vec<u8> {
    let mut line = Vec::new();
    for token in tokens {
        line.push(if token.attached { b'=' } else { b' ' });
        if token.quoted || token.attached {
            write_literal(&mut line, &token.bytes);
        } else {
            line.extend_from_slice(&token.bytes);
        }
    }
    line
}

fn points_into(fault: &Diagnostic, source: &[u8]) {
    assert!(fault.span.start <= fault.span.end && fault.span.end <= source.len(), "{fault:?}");
    for columns in [None, Some(20)] {
        let shown = fault.render(source, None, Look { columns, ..Look::PLAIN });
        assert!(!shown.chars().any(|c| c != '\n' && is_hidden(c)), "{shown:?}");
    }
    assert!(serde_json::from_str::<serde_json::Value>(&fault.to_json(source, None)).is_ok());
}

fn arguments(bytes: &[u8]) {
    let args: Vec<Vec<u8>> = bytes.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    if let Err(fault) = parse::argv(&args, &mut |_| Ok(b"read".to_vec())) {
        points_into(&fault, &parse::command_line(&args));
    }
}

/// Records in key order, with the moments at which they expire.
type Records = BTreeMap<Key, (Value, Option<Timestamp>)>;

impl Walk for Records {
    fn walk(&self, range: &KeyRange, _direction: Direction) -> Result<Box<dyn Cursor + '_>> {
        Ok(Box::new(Entries(self.iter(), range.clone())))
    }

    fn walk_keys(&self, range: &KeyRange, direction: Direction) -> Result<Box<dyn KeyCursor + '_>> {
        Ok(Box::new(KeysOf(self.walk(range, direction)?)))
    }
}

struct Entries<'a>(Iter<'a, Key, (Value, Option<Timestamp>)>, KeyRange);

impl Cursor for Entries<'_> {
    fn next_entry(&mut self) -> Result<Option<Item<'_>>> {
        let Self(entries, range) = self;
        let entry = entries.find(|(key, _)| range.contains(key));
        Ok(entry.map(|(key, (value, expires))| (&key[..], &value[..], *expires)))
    }
}

fn interrupt() -> &'static Interrupt {
    static INTERRUPT: OnceLock<Interrupt> = OnceLock::new();
    INTERRUPT.get_or_init(|| Interrupt::for_prompt().unwrap_or_else(told))
}

/// What comes out in pieces.
fn written(
    write: impl FnOnce(&mut dyn FnMut(&[u8]) -> Result<(), Failure>) -> Result<u64, Failure>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let outcome = write(&mut |piece| {
        bytes.extend_from_slice(piece);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| told(failure.message()));
    bytes
}

fn dump_of(records: &Records) -> Vec<u8> {
    written(|sink| dump::write(records, interrupt(), sink))
}

/// A dump that is accepted is exactly what a dump of its records is.
fn dump(bytes: &[u8]) {
    let Some((how, dump)) = bytes.split_first() else { return };
    let dump = if how % 2 == 1 { dump::with_right_end(dump) } else { dump.to_vec() };
    let mut read = Vec::new();
    let count = dump::verified("d", &dump[..], interrupt(), &mut |key, value, expires| {
        read.push((key, (value, expires)));
        Ok(())
    });
    if let Ok(count) = count {
        assert_eq!(count, read.len() as u64);
        // Whether keys come in order is not looked at.
        if read.is_sorted_by(|(key, _), (next, _)| key < next) {
            assert!(
                dump_of(&read.into_iter().collect()) == dump,
                "it was accepted and is not what is written"
            );
        }
    }
}

fn exported(format: Format, records: &Records) -> Vec<u8> {
    written(|sink| export::write(records, (format, &Export::default()), interrupt(), &mut |_, _, _| (), sink))
}

/// Bits of the first byte: 0 and 1 the format, 2 whether there is a header.
fn import(bytes: &[u8]) {
    let Some((how, file)) = bytes.split_first() else { return };
    let format = [Format::Csv, Format::Tsv, Format::Jsonl][usize::from(how & 3) % 3];
    let import = Import { no_header: how & 4 != 0, ..Import::default() };
    let Some(records) = imported(format, &import, file) else { return };
    let again = imported(format, &Import::default(), &exported(format, &records));
    assert!(again == Some(records), "what was exported does not come back");
}

fn imported(format: Format, import: &Import, file: &[u8]) -> Option<Records> {
    let (mut records, mut count) = (Records::new(), 0);
    let read = import::read_from("f", file, (format, import), interrupt(), &mut |key, value, expires| {
        records.insert(key, (value, expires));
        count += 1;
        Ok(())
    });
    let imported =
        read.inspect_err(|failure| assert!(failure.message().starts_with("f:"), "no place")).ok()?;
    assert_eq!(imported.records, count);
    Some(records)
}

fn scripts() -> Vec<Vec<u8>> {
    let scripts: [&[u8]; 6] = [
        b"set name \"Jaya Krishna\"\nget name 'it''s' x\"00ff\" b64\"AAEC\"\ndelete a b c\nexists k\n",
        b"count user:\nscan --from a --to=\"z\\x00\\u{e9}\" --reverse --limit 10 --keys\nkeys p\nscan -- --values\n",
        b"incr n -5\nappend k v\nbegin\ncommit\nrollback\nhelp get\nexit\n# a remark\n",
        b".stats\n.compact\n.dump f\n.load f\n.read f\n.mode json\n.timer on\n.bail auto\n.show\n.version\n",
        b"set note \"first\nsecond\"\nset a '\n'\nset k -\nset \xff\xfe v\nset it's v\nset k \"\\q\"\n",
        b"scan\0--limit=3\0--reverse",
    ];
    scripts.map(<[u8]>::to_vec).to_vec()
}

fn some_records() -> Records {
    let record = |key: &[u8], value: &[u8], expires| (Key::from(key), (Value::from(value), expires));
    let later = Timestamp::from_unix_millis(1_800_000_000_000);
    let records = [
        record(b"", b"", None),
        record(b"a\x00", "é\n\"quoted\", and more".as_bytes(), None),
        record(b"b", &[0xff; 40], None),
        record(b"c", b"it expires", later),
    ];
    records.into_iter().collect()
}

fn dumps() -> Vec<Vec<u8>> {
    [Records::new(), some_records()]
        .iter()
        .map(|records| [b"\x01".to_vec(), dump_of(records)].concat())
        .collect()
}

fn files() -> Vec<Vec<u8>> {
    let formats = [(0, Format::Csv), (1, Format::Tsv), (2, Format::Jsonl)];
    let mut files: Vec<Vec<u8>> = formats
        .iter()
        .map(|(how, format)| [vec![*how], exported(*format, &some_records())].concat())
        .collect();
    files.extend([b"\x04a,1\r\nb,\"2\"\"\"\n".to_vec(), b"\x05a\\t\t\\N\n".to_vec()]);
    files
}
