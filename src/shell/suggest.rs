//! "Did you mean …?": the one name that was clearly meant, or none.
//!
//! 1. A name is near when at most two edits (insert, delete, replace, swap neighbours) lead to it, and never more than
//!    one for every two letters typed: `x` is near to nothing.
//! 2. Of several near names the nearest is taken; when two are equally near none is, for a wrong guess is worse.
//! 3. Letter case counts for nothing.

/// Most edits between what was typed and what is suggested.
const MAX_EDITS: usize = 2;

/// Longest word that is looked at, in characters: longer than any name.
const MAX_WORD_LEN: usize = 32;

/// The candidate that `word` was clearly meant to be.
///
/// ```
/// use kvdb::shell::suggest::nearest;
/// assert_eq!(nearest("gte", ["get", "set"].into_iter()), Some("get"));
/// assert_eq!(nearest("et", ["get", "set"].into_iter()), None);
/// ```
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = letters(word);
    if word.len() > MAX_WORD_LEN {
        return None;
    }
    let mut near: Vec<(usize, &str)> = candidates
        .filter(|candidate| candidate.len().abs_diff(word.len()) <= MAX_EDITS)
        .map(|candidate| (edits(&word, &letters(candidate)), candidate))
        .filter(|&(edits, _)| edits <= MAX_EDITS && edits * 2 <= word.len())
        .collect();
    near.sort_unstable();
    near.dedup();
    match near[..] {
        [(_, only)] => Some(only),
        [(best, name), (second, _), ..] if best < second => Some(name),
        _ => None,
    }
}

fn letters(word: &str) -> Vec<char> {
    word.chars().take(MAX_WORD_LEN + 1).map(|c| c.to_ascii_lowercase()).collect()
}

/// Edit distance in which a swap of neighbours is one edit (optimal string alignment), in one table of three rows.
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before_last[j - 2] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distance(a: &str, b: &str) -> usize {
        edits(&letters(a), &letters(b))
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [
            ("get", "get", 0),
            ("GET", "get", 0),
            ("", "abc", 3),
            ("gte", "get", 1),
            ("gt", "get", 1),
            ("gett", "get", 1),
            ("got", "get", 1),
            ("delte", "delete", 1),
            ("rolback", "rollback", 1),
            ("comimt", "commit", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_a_clear_winner_is_suggested() {
        let names = || ["set", "get", "del", "delete", "rm", "keys", "exit"].into_iter();
        assert_eq!(nearest("gte", names()), Some("get"));
        assert_eq!(nearest("DELET", names()), Some("delete"));
        assert_eq!(nearest("exti", names()), Some("exit"));
        assert_eq!(nearest("key", names()), Some("keys"));
        assert_eq!(nearest("bet", names()), None, "set and get are equally near");
        assert_eq!(nearest("put", names()), None);
        assert_eq!(nearest("x", names()), None);
        assert_eq!(nearest("ls", names()), None);
        assert_eq!(nearest("", names()), None);
        assert_eq!(nearest(&"get".repeat(1 << 20), names()), None);
        assert_eq!(nearest("gte", ["get", "get"].into_iter()), Some("get"));
    }
}
