//! Live keys for completion: few, soon, and never misleading, however many there are.
//!
//! ```text
//! up to 100 keys match        all of them                          name  nick
//! more, in a few groups       the groups: up to the next : / .     order:  user:
//! more than that              the first 98, a gap, and the last    0000 0001 … ffff
//! ```
//!
//! 1. At most [`MAX_FOUND`] names. Whoever completes what they have in common completes what *all* keys that match have in
//!    common: the first and the last of them are always among the names or in a group.
//! 2. The database is asked on a thread that nobody waits for longer than [`PATIENCE`]: neither a lock that another process
//!    holds nor a cold disk stalls the keyboard. Nothing found in time is nothing found; the next Tab may be luckier.
//! 3. Inside a transaction its own view is asked, which waits for nobody.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::db::Db;
use crate::error::Result;
use crate::shell::block::Block;
use crate::shell::walk::Walk;
use crate::types::{Direction, KeyRange};

/// Most names that are offered.
pub(super) const MAX_FOUND: usize = 100;

/// How long somebody waits at the keyboard.
const PATIENCE: Duration = Duration::from_millis(10);

/// What divides keys into groups.
const DELIMITERS: &[u8] = b":/.";

/// Where keys come from while a line is typed.
#[derive(Default)]
pub(crate) enum Source {
    /// There is no database yet.
    #[default]
    Nothing,
    /// The newest state.
    Database(Db),
    /// What the open transaction sees.
    Block(Box<Block>),
}

/// A key, or the beginning of several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) bytes: Vec<u8>,
    /// Whether it is a key and not a beginning.
    pub(super) is_whole: bool,
    /// Whether it stands for all that are not among the names: it is the last of those.
    pub(super) is_gap: bool,
}

impl Source {
    /// Names of the keys that begin with `prefix`, in order.
    pub(super) fn keys(&self, prefix: &[u8]) -> Vec<Name> {
        let prefix = prefix.to_owned();
        self.ask(move |view, deadline| find(view, &prefix, deadline)).unwrap_or_default()
    }

    /// The value of a key, if it is at most `max_len` bytes long.
    pub(super) fn value(&self, key: &[u8], max_len: usize) -> Option<Vec<u8>> {
        let key = key.to_owned();
        let value = self.ask(move |view, _| {
            let mut cursor = view.walk(&KeyRange::prefix(&key), Direction::Forward)?;
            let found = cursor.next()?.filter(|(found, value)| *found == key && value.len() <= max_len);
            Ok(found.map(|(_, value)| value.to_vec()))
        });
        value.flatten()
    }

    /// What `question` finds in the current view, if it does so in time.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Walk, Instant) -> Result<T> + Send + 'static,
    ) -> Option<T> {
        let deadline = Instant::now() + PATIENCE;
        match self {
            Self::Nothing => None,
            Self::Block(block) => question(&block.transaction, deadline).ok(),
            Self::Database(db) => {
                let db = db.clone();
                let (answer, answered) = mpsc::sync_channel(1);
                let ask = move || {
                    let found = db.snapshot().and_then(|view| question(&view, deadline));
                    // Nobody may be waiting any more.
                    drop(answer.try_send(found));
                };
                thread::Builder::new().name("completion".into()).spawn(ask).ok()?;
                answered.recv_timeout(PATIENCE).ok()?.ok()
            }
        }
    }
}

fn find(view: &dyn Walk, prefix: &[u8], deadline: Instant) -> Result<Vec<Name>> {
    let range = KeyRange::prefix(prefix);
    let (first, is_all) = first_keys(view, &range, deadline)?;
    if is_all {
        return Ok(first.into_iter().map(whole).collect());
    }
    if let Some(groups) = groups(view, prefix, &range, deadline)? {
        return Ok(groups);
    }
    let last = view.walk(&range, Direction::Reverse)?.next()?.map(|(key, _)| whole(key.to_vec()));
    let gap = last.clone().map(|last| Name { is_gap: true, ..last });
    Ok(first.into_iter().take(MAX_FOUND - 2).map(whole).chain(gap).chain(last).collect())
}

fn whole(bytes: Vec<u8>) -> Name {
    Name { bytes, is_whole: true, is_gap: false }
}

/// The first keys of a range, as many as are wanted and as there is time for, and whether that is all of them.
fn first_keys(view: &dyn Walk, range: &KeyRange, deadline: Instant) -> Result<(Vec<Vec<u8>>, bool)> {
    let mut keys = Vec::new();
    let mut cursor = view.walk(range, Direction::Forward)?;
    while let Some((key, _)) = cursor.next()? {
        if keys.len() == MAX_FOUND || Instant::now() >= deadline {
            return Ok((keys, false));
        }
        keys.push(key.to_vec());
    }
    Ok((keys, true))
}

/// The groups of a range, found by leaping from one to the next; `None` when they are too many, or take too long.
fn groups(view: &dyn Walk, prefix: &[u8], range: &KeyRange, deadline: Instant) -> Result<Option<Vec<Name>>> {
    let mut groups = Vec::new();
    let mut rest = range.clone();
    loop {
        let Some(key) = view.walk(&rest, Direction::Forward)?.next()?.map(|(key, _)| key.to_vec()) else {
            return Ok(Some(groups));
        };
        if groups.len() == MAX_FOUND || Instant::now() >= deadline {
            return Ok(None);
        }
        let (group, behind) = group_of(key, prefix.len());
        groups.push(group);
        let Some(behind) = behind else { return Ok(Some(groups)) };
        rest = range.clone().intersect(KeyRange::from(&behind[..]..));
    }
}

/// The group of a key whose first `len` bytes are given, and where the next group begins.
fn group_of(key: Vec<u8>, len: usize) -> (Name, Option<Vec<u8>>) {
    let delimiter = key[len..].iter().position(|byte| DELIMITERS.contains(byte));
    match delimiter.map(|at| len + at) {
        Some(at) if at + 1 < key.len() => {
            let mut behind = key[..=at].to_vec();
            // A delimiter is not 0xff, so this is the first byte string behind all that begin with the group.
            behind[at] += 1;
            (Name { bytes: key[..=at].to_vec(), is_whole: false, is_gap: false }, Some(behind))
        }
        _ => {
            let behind = [&key[..], b"\0"].concat();
            (whole(key), Some(behind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    const LATER: Duration = Duration::from_mins(10);

    fn found(keys: &[String], prefix: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().open(dir.path().join("db")).unwrap();
        let mut bulk = db.bulk().unwrap();
        for key in keys {
            bulk.set(key.as_str(), "v").unwrap();
        }
        bulk.commit().unwrap();
        let names = find(&db.snapshot().unwrap(), prefix.as_bytes(), Instant::now() + LATER).unwrap();
        assert!(names.len() <= MAX_FOUND);
        let shown = |name: &Name| {
            if name.is_gap {
                return "…".to_owned();
            }
            String::from_utf8(name.bytes.clone()).unwrap() + if name.is_whole { "" } else { "…" }
        };
        names.iter().map(shown).collect()
    }

    fn numbered(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|number| format!("{prefix}{number:04}")).collect()
    }

    #[test]
    fn few_keys_are_all_found() {
        assert_eq!(found(&["b:1", "a", "b:2"].map(str::to_owned), ""), ["a", "b:1", "b:2"]);
        assert_eq!(found(&["b:1", "a", "b:2"].map(str::to_owned), "b"), ["b:1", "b:2"]);
        assert_eq!(found(&numbered("", 100), "").len(), 100);
    }

    #[test]
    fn many_keys_are_found_as_groups() {
        let keys =
            [numbered("user:", 200), numbered("order/", 3), vec!["one".into(), "user:".into()]].concat();
        assert_eq!(found(&keys, ""), ["one", "order/…", "user:", "user:…"]);
        assert_eq!(found(&numbered("user:", 200), "us"), ["user:…"]);
    }

    #[test]
    fn of_too_many_the_first_and_the_last_are_found() {
        let names = found(&numbered("user:", 200), "user:");
        assert_eq!(names.len(), 100);
        assert_eq!(names[97..], ["user:0097", "…", "user:0199"]);
    }

    #[test]
    fn without_time_what_is_found_first_and_the_last_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().open(dir.path().join("db")).unwrap();
        for key in numbered("k", 10) {
            db.set(key, "v").unwrap();
        }
        let names = find(&db.snapshot().unwrap(), b"k", Instant::now()).unwrap();
        let last = whole(b"k0009".to_vec());
        assert_eq!(names, [Name { is_gap: true, ..last.clone() }, last]);
    }

    #[test]
    fn a_transaction_offers_what_it_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let db = Options::new().open(dir.path().join("db")).unwrap();
        db.set("old", "1").unwrap();
        let mut transaction = db.begin().unwrap();
        transaction.set("new", "2");
        transaction.delete("old");
        let source = Source::Block(Box::new(Block::new(transaction, String::new(), true)));
        assert_eq!(source.keys(b""), [whole(b"new".to_vec())]);
        assert_eq!(source.value(b"new", 9), Some(b"2".to_vec()));
        assert_eq!(source.value(b"new", 0), None);
        assert_eq!(source.value(b"ne", 9), None);
    }
}
