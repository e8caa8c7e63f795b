//! What each writer does, as a function of the number of the change, and what is there after so many of them.

use kvdb::{Db, KeyRange};

use super::{Random, Verdict};

/// Keys that are overwritten again and again.
pub(crate) const OVERWRITTEN: u64 = 30_000;

/// Keys that are set and deleted in no order.
const MIXED: u64 = 20_000;

/// Stands between the number of a change and what fills the value up.
const END_OF_NUMBER: char = '.';

/// The kinds of writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum History {
    /// Every change is a new key.
    Appends,
    /// Ever the same keys.
    Overwrites,
    /// Sets and deletes of random keys.
    Mixed,
}

/// A change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// The number of the key.
    pub(crate) key: u64,
    /// The length of the value, at least; `None` deletes the key.
    len: Option<usize>,
}

impl History {
    pub(crate) const ALL: [Self; 3] = [Self::Appends, Self::Overwrites, Self::Mixed];

    /// Its place among all.
    pub(crate) const fn at(self) -> usize {
        self as usize
    }

    /// The prefix of its keys.
    pub(crate) fn prefix(self) -> String {
        format!("w{}:", self.at())
    }

    pub(crate) fn key(self, key: u64) -> String {
        format!("{}{key:09}", self.prefix())
    }

    /// Change number `number`.
    pub(crate) fn change(self, number: u64) -> Change {
        let mut random = Random(number.wrapping_mul(8) + self.at() as u64);
        let len = match (self, random.below(1_000)) {
            (Self::Appends | Self::Overwrites, 0) => 5_000 + random.below(35_000),
            (Self::Appends, _) => 10 + random.below(90),
            (Self::Overwrites, _) => 10 + random.below(2_000),
            (Self::Mixed, _) => 10 + random.below(290),
        };
        let key = match self {
            Self::Appends => number,
            Self::Overwrites => number % OVERWRITTEN,
            Self::Mixed => random.below(MIXED),
        };
        let is_set = self != Self::Mixed || random.below(3) > 0;
        Change { key, len: is_set.then(|| usize::try_from(len).unwrap()) }
    }

    /// The command of a change.
    pub(crate) fn line(self, number: u64) -> String {
        let Change { key, len } = self.change(number);
        match len {
            Some(len) => format!("set {} {}\n", self.key(key), value(number, len)),
            None => format!("delete {}\n", self.key(key)),
        }
    }

    /// The newest change of a key among the first `count`, where that is easily said.
    pub(crate) fn newest(self, key: u64, count: u64) -> Option<u64> {
        match self {
            Self::Appends => (key < count).then_some(key),
            Self::Overwrites => {
                let rounds = count.checked_sub(key + 1)? / OVERWRITTEN;
                Some(rounds * OVERWRITTEN + key)
            }
            Self::Mixed => None,
        }
    }

    /// Says which change wrote a value that was found, if it is right in every byte.
    pub(crate) fn check(self, key: u64, found: &str) -> Verdict<u64> {
        let name = self.key(key);
        let number = found.split(END_OF_NUMBER).next().and_then(|number| number.parse().ok());
        let number: u64 = number.ok_or_else(|| format!("{name} holds {}", brief(found)))?;
        match self.change(number) {
            Change { key: written, len: Some(len) } if written == key && value(number, len) == found => {
                Ok(number)
            }
            _ => Err(format!("{name} holds {}, which nobody wrote there", brief(found))),
        }
    }

    /// A key of its own as it was printed.
    pub(crate) fn parse_key(self, key: &str) -> Verdict<u64> {
        let number = key.strip_prefix(&self.prefix()).and_then(|number| number.parse().ok());
        number.ok_or_else(|| format!("{key:?} is no key of writer {}", self.at()))
    }
}

/// A value of about so many bytes that says where it comes from.
fn value(number: u64, len: usize) -> String {
    let fill = char::from(b'a' + u8::try_from(number % 26).unwrap());
    let mut value = format!("{number}{END_OF_NUMBER}");
    value.extend(std::iter::repeat_n(fill, len));
    value
}

fn brief(text: &str) -> String {
    let mut short: String = text.chars().take(40).collect();
    if short.len() < text.len() {
        short = format!("{short}… ({} bytes)", text.len());
    }
    short
}

/// What is there after the changes so far.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) history: History,
    next: u64,
    /// For each key the number of the change that set it, plus one; 0 where there is none.
    newest: Vec<u64>,
}

impl Model {
    pub(crate) fn new(history: History) -> Self {
        Self { history, next: 0, newest: Vec::new() }
    }

    /// The number of the next change.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    fn newest(&self, key: u64) -> u64 {
        self.newest.get(usize::try_from(key).unwrap()).copied().unwrap_or(0)
    }

    /// Makes the next change; returns what is replied to it.
    pub(crate) fn advance(&mut self) -> &'static str {
        let Change { key, len } = self.history.change(self.next);
        let at = usize::try_from(key).unwrap();
        if self.newest.len() <= at {
            self.newest.resize(at + 1, 0);
        }
        self.next += 1;
        let newest = if len.is_some() { self.next } else { 0 };
        let before = std::mem::replace(&mut self.newest[at], newest);
        match (len, before) {
            (Some(_), _) => "OK",
            (None, 0) => "0",
            (None, _) => "1",
        }
    }

    /// Makes those of the changes up to `issued` that the database has, which must then be as the model is, from the key number
    /// `from` on: no change is left out.
    pub(crate) fn settle(&mut self, db: &Db, issued: u64, from: u64) -> Verdict {
        let found = Found::read(self.history, db, from)?;
        let (mut wrong, place) = found.differences(self);
        let (acknowledged, mut least) = (self.next, (wrong, self.next));
        while wrong > 0 && self.next < issued {
            let key = self.history.change(self.next).key;
            let before = found.differs(self, key);
            self.advance();
            wrong = wrong + usize::from(found.differs(self, key)) - usize::from(before);
            least = least.min((wrong, self.next));
        }
        if wrong == 0 {
            return Ok(());
        }
        Err(format!(
            "{:?}: {acknowledged} acknowledged, {issued} issued, and no state in between is there. At {acknowledged}: {place}. \
             The nearest is {}, with {} keys different",
            self.history, least.1, least.0
        ))
    }
}

/// What the database holds of a writer.
struct Found {
    /// Of the first key that was looked at.
    from: u64,
    /// As in a [`Model`].
    newest: Vec<u64>,
}

impl Found {
    fn read(history: History, db: &Db, from: u64) -> Verdict<Self> {
        let fault = |error: kvdb::Error| format!("{history:?}: {error}");
        let all = KeyRange::prefix(history.prefix().as_bytes());
        let range = all.intersect(KeyRange::from(history.key(from).as_bytes()..));
        let mut newest = Vec::new();
        for entry in db.scan(range).map_err(fault)? {
            let (key, value) = entry.map_err(fault)?;
            let key = history.parse_key(&String::from_utf8_lossy(&key))?;
            let number = history.check(key, &String::from_utf8_lossy(&value))?;
            let at = usize::try_from(key - from).unwrap();
            if at < newest.len() {
                return Err(format!("{} is out of order", history.key(key)));
            }
            newest.resize(at + 1, 0);
            newest[at] = number + 1;
        }
        Ok(Self { from, newest })
    }

    fn newest(&self, key: u64) -> u64 {
        self.newest.get(usize::try_from(key - self.from).unwrap()).copied().unwrap_or(0)
    }

    fn differs(&self, model: &Model, key: u64) -> bool {
        key >= self.from && self.newest(key) != model.newest(key)
    }

    /// How many keys are different in a model, and what is the matter with the first.
    fn differences(&self, model: &Model) -> (usize, String) {
        let end = (self.from + self.newest.len() as u64).max(model.newest.len() as u64);
        let mut differing = (self.from..end).filter(|key| self.differs(model, *key));
        let Some(first) = differing.next() else { return (0, String::new()) };
        let what =
            |newest: u64| if newest == 0 { "nothing".into() } else { format!("change {}", newest - 1) };
        let (found, known) = (what(self.newest(first)), what(model.newest(first)));
        let place = format!("{} holds {found}, expected was {known} or later", model.history.key(first));
        (1 + differing.count(), place)
    }
}
