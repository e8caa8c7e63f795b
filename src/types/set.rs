//! How a value is stored: under which condition, and for how long.

use std::time::Duration;

use super::{Timestamp, Value};

/// What must be so for a value to be stored. A key whose value has expired is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    #[default]
    Always,
    /// The key is not there.
    Absent,
    /// The key is there.
    Present,
    /// The key is there and has this value.
    Value(Value),
}

impl Condition {
    /// Whether it is so, given what is there.
    #[must_use]
    pub fn holds(&self, present: Option<&[u8]>) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => present.is_none(),
            Self::Present => present.is_some(),
            Self::Value(value) => present.is_some_and(|present| *present == **value),
        }
    }
}

/// How long a value stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is replaced or removed.
    #[default]
    Forever,
    /// Until this moment.
    Until(Timestamp),
    /// For so long from the moment on at which it is there for others: in a transaction, from the commit on. Whole milliseconds.
    For(Duration),
}

impl Lifetime {
    /// When it ends, if it begins now; an error behind the year 9999.
    pub(crate) fn expires(self, now: Timestamp) -> Result<Option<Timestamp>, TooLate> {
        match self {
            Self::Forever => Ok(None),
            Self::Until(moment) => Ok(Some(moment)),
            Self::For(duration) => now.checked_add(duration).map(Some).ok_or(TooLate),
        }
    }
}

impl From<Option<Timestamp>> for Lifetime {
    fn from(expires: Option<Timestamp>) -> Self {
        expires.map_or(Self::Forever, Self::Until)
    }
}

/// The end of a lifetime is behind the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLate;

/// How [`Db::set_with`](crate::Db::set_with) stores a value. Without more: whatever is there, for good.
///
/// ```
/// use std::time::Duration;
/// let lock = kvdb::SetOptions::new().if_absent().ttl(Duration::from_secs(30));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SetOptions {
    pub(crate) condition: Condition,
    pub(crate) lifetime: Lifetime,
}

impl SetOptions {
    /// Whatever is there, for good.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only if the key is not there.
    #[must_use]
    pub fn if_absent(self) -> Self {
        self.only_if(Condition::Absent)
    }

    /// Only if the key is there.
    #[must_use]
    pub fn if_present(self) -> Self {
        self.only_if(Condition::Present)
    }

    /// Only if the key has this value.
    #[must_use]
    pub fn if_value(self, value: impl Into<Value>) -> Self {
        self.only_if(Condition::Value(value.into()))
    }

    /// Only if this is so; of two conditions the later counts.
    #[must_use]
    pub fn only_if(mut self, condition: Condition) -> Self {
        self.condition = condition;
        self
    }

    /// For so long; of two lifetimes the later counts.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.lifetime(Lifetime::For(ttl))
    }

    /// Until this moment.
    #[must_use]
    pub fn until(self, moment: Timestamp) -> Self {
        self.lifetime(Lifetime::Until(moment))
    }

    /// For this long.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Lifetime) -> Self {
        self.lifetime = lifetime;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_held_against_what_is_there() {
        let held = |condition: &Condition| {
            [None, Some("a"), Some("b")].map(|there| condition.holds(there.map(str::as_bytes)))
        };
        assert_eq!(held(&Condition::Always), [true, true, true]);
        assert_eq!(held(&Condition::Absent), [true, false, false]);
        assert_eq!(held(&Condition::Present), [false, true, true]);
        assert_eq!(held(&Condition::Value("a".into())), [false, true, false]);
    }

    #[test]
    fn lifetimes_end_before_the_calendar_does() {
        let now = Timestamp::from_unix_millis(1_000).unwrap();
        assert_eq!(
            Lifetime::For(Duration::from_secs(1)).expires(now),
            Ok(Timestamp::from_unix_millis(2_000))
        );
        assert_eq!(Lifetime::For(Duration::MAX).expires(now), Err(TooLate));
        assert_eq!(Lifetime::Until(Timestamp::MIN).expires(now), Ok(Some(Timestamp::MIN)));
        assert_eq!(Lifetime::Forever.expires(now), Ok(None));
    }
}
