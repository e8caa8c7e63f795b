//! Looking for records where the walk from one to the next has ended.
//!
//! ```text
//!  │ record │ record │ ? damage ?? │ record │ zeros for as long as the file goes on
//!                    └ start              data ends ┘
//! ```
//!
//! 1. The file is read a piece at a time, and so is a record whose checksum is computed: memory is bounded, whatever lengths
//!    the file or a record claims.
//! 2. Behind more zeros than a key and a value can bring in nothing is looked for: a file can be sparse and longer than any device.

use std::io;

use super::record::{self, Checksum, HEADER_LEN, Header};
use crate::storage::Life;
use crate::storage::codec::last_nonzero;
use crate::storage::fs::{File, read_full_at};
use crate::types::{Lsn, MAX_KEY_LEN, MAX_VALUE_LEN};

/// Bytes that are looked at at once. Records begin at multiples of 8.
const PIECE: usize = 1 << 20;

/// More zeros in a row than a key and a value can bring in.
const MOST_ZEROS: u64 = 1 << 30;
const _: () = assert!(MOST_ZEROS > (MAX_KEY_LEN + MAX_VALUE_LEN) as u64);

/// A part of a segment that may hold anything.
pub(super) struct Search<'a> {
    pub(super) file: &'a dyn File,
    pub(super) life: Life,
    /// Where it begins, and where the segment ends.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// What was found.
pub(super) struct Found {
    /// The first record that was looked for: where it begins, and its header.
    pub(super) record: Option<(u64, Header)>,
    /// Where the last byte ends that is not zero, as far as was looked.
    pub(super) data_end: u64,
}

impl Search<'_> {
    /// Looks for the first record of this life that verifies and that `is_it`, with an LSN that can be there if `lsn` is the next
    /// one at the start. Goes on behind it only if it is `to_the_end`.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn find(
        &self,
        lsn: Lsn,
        to_the_end: bool,
        is_it: impl Fn(&Header) -> bool,
    ) -> io::Result<Found> {
        let mut found = Found { record: None, data_end: self.start };
        let room = self.end.saturating_sub(self.start);
        let mut piece = vec![0; PIECE.min(usize::try_from(room).unwrap_or(PIECE)) + HEADER_LEN];
        let mut at = self.start;
        while at < self.end && at.saturating_sub(found.data_end) <= MOST_ZEROS {
            let wanted = usize::try_from(self.end - at).unwrap_or(usize::MAX).min(piece.len());
            let len = read_full_at(self.file, &mut piece[..wanted], at)?;
            let bytes = &piece[..len];
            if let Some(last) = last_nonzero(bytes) {
                found.data_end = at + last as u64 + 1;
                if found.record.is_none() {
                    found.record = self.find_in(&bytes[..=last], at, lsn, &is_it)?;
                }
            }
            if len < wanted || found.record.is_some() && !to_the_end {
                break;
            }
            at += PIECE as u64;
        }
        Ok(found)
    }

    /// The first such record that begins in a piece.
    fn find_in(
        &self,
        piece: &[u8],
        at: u64,
        lsn: Lsn,
        is_it: &impl Fn(&Header) -> bool,
    ) -> io::Result<Option<(u64, Header)>> {
        let room = self.end - self.start;
        for offset in (0..piece.len().min(PIECE)).step_by(8) {
            let may_be =
                record::announced_lsn(&piece[offset..]).is_some_and(|found| plausible(found, lsn, room));
            if may_be
                && let place = at + offset as u64
                && let Some(header) = self.verified(place)?.filter(is_it)
            {
                return Ok(Some((place, header)));
            }
        }
        Ok(None)
    }

    /// The header of the record at `place`, if one lies there that verifies. What it links to is not asked.
    ///
    /// # Errors
    /// The file's.
    pub(super) fn verified(&self, place: u64) -> io::Result<Option<Header>> {
        let mut head = [0; HEADER_LEN];
        read_full_at(self.file, &mut head, place)?;
        let (Some(mut left), Some(crc)) = (record::announced_len(&head), record::announced_crc(&head)) else {
            return Ok(None);
        };
        if left as u64 > self.end.saturating_sub(place) {
            return Ok(None);
        }
        let (mut sum, mut at) = (Checksum::begin(self.life, place, &head), place + HEADER_LEN as u64);
        left -= HEADER_LEN;
        let mut piece = vec![0; left.min(PIECE)];
        while left > 0 {
            let wanted = left.min(PIECE);
            if read_full_at(self.file, &mut piece[..wanted], at)? < wanted {
                return Ok(None);
            }
            sum.go_on(&piece[..wanted]);
            at += wanted as u64;
            left -= wanted;
        }
        Ok(if sum.is(crc) { record::decode_header(&head) } else { None })
    }
}

/// Whether a record with LSN `found` may lie in the `room` bytes behind the place where `lsn` belongs. A seal repeats the last LSN.
const fn plausible(found: Lsn, lsn: Lsn, room: u64) -> bool {
    found.0 >= lsn.0 && found.0 - lsn.0 <= room / HEADER_LEN as u64
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::storage::fs::{Fs, OpenMode, RealFs, write_all_at};
    use crate::storage::wal::record::Kind;
    use crate::types::{FileId, Op};

    const LIFE: Life = Life { id: FileId(3), salt: 9 };
    const HUGE: u64 = 1 << 42;

    /// A sparse file of that many bytes.
    fn sparse(dir: &Path, len: u64) -> Arc<dyn File> {
        let path = dir.join("segment");
        std::fs::File::create(&path).unwrap().set_len(len).unwrap();
        RealFs.open(&path, OpenMode::Write).unwrap()
    }

    /// Puts a record of this LSN with a value of `len` bytes at `offset`; returns where it ends.
    fn put(file: &dyn File, offset: u64, lsn: u64, len: usize) -> u64 {
        let header = Header {
            kind: Kind::Batch,
            lsn: Lsn(lsn),
            durable: Lsn(lsn - 1),
            link: 0,
            nonce: 7,
            unsynced: false,
            count: 1,
        };
        let op = Op::Set { key: "k".into(), value: vec![1; len].into(), expires: None };
        let mut bytes = Vec::new();
        record::encode(&mut bytes, LIFE, offset, &header, |out| record::encode_op(out, &op));
        write_all_at(file, &bytes, offset).unwrap();
        let zeros = bytes.iter().rev().take_while(|&&byte| byte == 0).count();
        offset + (bytes.len() - zeros) as u64
    }

    fn search(file: &dyn File, end: u64) -> Search<'_> {
        Search { file, life: LIFE, start: 64, end }
    }

    #[test]
    fn records_are_found_wherever_they_lie_among_the_pieces() {
        let (dir, border) = (tempfile::tempdir().unwrap(), 64 + PIECE as u64);
        for (offset, len) in [
            (64, 0),
            (72, 3 * PIECE),
            (border - 8, 5),
            (border - 32, 5),
            (border - 48, 90),
            (border, 9),
            (9 << 20, 7),
        ] {
            let file = sparse(dir.path(), 16 << 20);
            let end = put(&*file, offset, 5, len);
            let found = search(&*file, 16 << 20).find(Lsn(5), true, |_| true).unwrap();
            assert_eq!(
                found.record.map(|(place, header)| (place, header.lsn)),
                Some((offset, Lsn(5))),
                "{offset}"
            );
            assert_eq!(found.data_end, end);
            assert!(search(&*file, 16 << 20).verified(offset).unwrap().is_some());
            let others = search(&*file, 16 << 20).find(Lsn(6), true, |_| true).unwrap();
            assert!(others.record.is_none() && others.data_end == end, "an LSN that can't be there");
            write_all_at(&*file, &[0x5a], end - 1).unwrap();
            assert!(
                search(&*file, 16 << 20).find(Lsn(5), true, |_| true).unwrap().record.is_none(),
                "{offset}"
            );
        }
    }

    #[test]
    fn what_follows_the_first_one_counts_only_for_who_asks() {
        let dir = tempfile::tempdir().unwrap();
        let file = sparse(dir.path(), 16 << 20);
        put(&*file, 64, 5, 10);
        let end = put(&*file, 7 << 20, 6, 10);
        let find = |whole, lsn: u64| {
            search(&*file, 16 << 20).find(Lsn(5), whole, |header| header.lsn == Lsn(lsn)).unwrap()
        };
        assert_eq!(find(true, 5).data_end, end);
        assert!(find(false, 5).data_end < end);
        assert_eq!(find(false, 6).record.unwrap().0, 7 << 20);
    }

    #[test]
    fn a_file_that_is_longer_than_any_device_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = sparse(dir.path(), HUGE);
        let end = put(&*file, 300 << 20, 5, 10);
        // A record that claims nearly all of the rest, and one that claims more than there is.
        write_all_at(&*file, &u32::MAX.to_le_bytes(), 68).unwrap();
        write_all_at(&*file, &5_u64.to_le_bytes(), 72).unwrap();
        let found = search(&*file, HUGE).find(Lsn(5), true, |_| true).unwrap();
        assert_eq!((found.record.unwrap().0, found.data_end), (300 << 20, end));
        assert!(search(&*file, 4096).verified(64).unwrap().is_none());
    }
}
