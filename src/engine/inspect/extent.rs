//! How much of a segment or base there is to look at, whatever it says: a sparse file can be longer than any memory.
//!
//! ```text
//!  │ header │ record │ record ··· zeros │ damage │ record │ zeros for as long as the file goes on
//!                                                        └ SLACK ┘ end
//! ```
//!
//! 1. What is left out are zeros. No record begins there, and none that the walk from record to record leads to ends there.
//! 2. It is looked for only in files that are longer than nearly all are, and not behind more zeros than keys and values can bring in.

use std::io;

use crate::storage::fs::{File, read_full_at};
use crate::storage::wal::record::{self, announced_len, padded};
use crate::storage::wal::segment;
use crate::types::{MAX_KEY_LEN, MAX_VALUE_LEN};

/// Bytes of a file that are looked at in any case, and behind its last byte that is not zero.
const SLACK: u64 = 64 << 20;

/// More zeros in a row than keys and values can bring in.
const MOST_ZEROS: u64 = 1 << 30;
const _: () = assert!(MOST_ZEROS > (MAX_KEY_LEN + MAX_VALUE_LEN) as u64);

/// Bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Where the part of a file of `capacity` bytes ends in which records can lie.
///
/// # Errors
/// The file's.
pub(super) fn end(file: &dyn File, capacity: u64) -> io::Result<u64> {
    if capacity <= SLACK {
        return Ok(capacity);
    }
    let end = chain_end(file)?.max(end_of_data(file, capacity)? + SLACK);
    Ok(end.next_multiple_of(8).min(capacity))
}

/// Where the records end that follow one another from the first on, by the lengths that they announce.
fn chain_end(file: &dyn File) -> io::Result<u64> {
    let mut at = segment::HEADER_LEN as u64;
    loop {
        let mut head = [0; record::HEADER_LEN];
        read_full_at(file, &mut head, at)?;
        let Some(len) = announced_len(&head) else { return Ok(at) };
        at += padded(len) as u64;
    }
}

/// Where the last byte ends that is not zero.
fn end_of_data(file: &dyn File, capacity: u64) -> io::Result<u64> {
    let zeros = vec![0; CHUNK];
    let (mut end, mut at, mut chunk) = (0, 0, zeros.clone());
    while at < capacity && at - end <= MOST_ZEROS {
        let len = read_full_at(file, &mut chunk, at)?;
        if len == 0 {
            break;
        }
        if chunk[..len] != zeros[..len]
            && let Some(last) = chunk[..len].iter().rposition(|&byte| byte != 0)
        {
            end = at + last as u64 + 1;
        }
        at += len as u64;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::storage::fs::{Fs, OpenMode, RealFs};

    const HUGE: u64 = 1 << 42;

    /// Where the file ends that holds this, and zeros.
    fn end_of(parts: &[(u64, &[u8])], len: u64) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = fs::File::create(&path).unwrap();
        file.set_len(len).unwrap();
        for (at, bytes) in parts {
            file.write_all_at(bytes, *at).unwrap();
        }
        end(&*RealFs.open(&path, OpenMode::Read).unwrap(), len).unwrap()
    }

    #[test]
    fn zeros_behind_everything_are_left_out() {
        assert_eq!(end_of(&[], 4 << 20), 4 << 20);
        assert_eq!(end_of(&[], HUGE), SLACK);
        assert_eq!(end_of(&[(500, b"x"), (100 << 20, b"y")], HUGE), (100 << 20) + 8 + SLACK);
        assert_eq!(end_of(&[(100 << 20, b"y")], 120 << 20), 120 << 20);
    }

    #[test]
    fn a_record_of_zeros_is_not_cut() {
        let len = 300_u32 << 20;
        // The length is what a header has behind its checksum.
        let mut head = [0; record::HEADER_LEN];
        let at = (0..head.len() - 4).find(|at| {
            head = [0; record::HEADER_LEN];
            head[*at..at + 4].copy_from_slice(&len.to_le_bytes());
            announced_len(&head) == Some(len as usize)
        });
        assert!(at.is_some());
        assert_eq!(end_of(&[(72, &head)], HUGE), 72 + u64::from(len));
    }
}
