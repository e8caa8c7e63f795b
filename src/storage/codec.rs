//! Little-endian integers at fixed places, checksums, the end of data before zeros, and random numbers: what every on-disk
//! structure needs.
//!
//! Reading never panics: a field outside its buffer reads as `None`.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Reads `N` bytes at `offset`.
fn array_at<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    bytes.get(offset..)?.first_chunk().copied()
}

/// The little-endian `u16` at `offset`.
pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    array_at(bytes, offset).map(u16::from_le_bytes)
}

/// The little-endian `u32` at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    array_at(bytes, offset).map(u32::from_le_bytes)
}

/// The little-endian `u64` at `offset`.
pub(crate) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    array_at(bytes, offset).map(u64::from_le_bytes)
}

/// The little-endian `u128` at `offset`.
pub(crate) fn u128_at(bytes: &[u8], offset: usize) -> Option<u128> {
    array_at(bytes, offset).map(u128::from_le_bytes)
}

/// Overwrites the bytes at `offset` with a field's. The buffer is the caller's own and long enough.
pub(crate) fn put(bytes: &mut [u8], offset: usize, field: &[u8]) {
    bytes[offset..offset + field.len()].copy_from_slice(field);
}

/// The first 8 bytes as a number that orders as they do.
#[inline]
pub(crate) fn head(bytes: &[u8]) -> u64 {
    match bytes.first_chunk() {
        Some(head) => u64::from_be_bytes(*head),
        None => bytes.iter().rev().fold(0, |head, &byte| head >> 8 | u64::from(byte) << 56),
    }
}

/// How many bytes two strings begin with in common.
pub(crate) fn shared_len(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Where the last byte is that is not zero; as fast as memory is compared.
pub(crate) fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const ZEROS: [u8; 512] = [0; 512];
    let mut rest = bytes;
    while let Some(before) = rest.strip_suffix(&ZEROS) {
        rest = before;
    }
    rest.iter().rposition(|&byte| byte != 0)
}

/// CRC-32 (IEEE) of `parts`, as if they were one.
pub(crate) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

/// Whether a checksum is the right one. `kind` names what it is of, for tests of the tests.
#[inline]
pub(crate) fn is_right(kind: &'static str, stored: u32, computed: u32) -> bool {
    stored == computed || is_skipped(kind)
}

#[cfg(not(test))]
#[inline]
const fn is_skipped(_kind: &'static str) -> bool {
    false
}

#[cfg(test)]
thread_local! {
    static SKIPPED: std::cell::Cell<Option<&'static str>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
fn is_skipped(kind: &'static str) -> bool {
    SKIPPED.get() == Some(kind)
}

/// Has this thread take any checksum of one kind for right, from now on.
#[cfg(test)]
pub(crate) fn skip_checksums_of(kind: Option<&'static str>) {
    SKIPPED.set(kind);
}

/// The polynomial of CRC-32, its bits in the order in which bytes are read.
const POLYNOMIAL: u32 = 0xedb8_8320;

/// As many bits as [`flipped_bit`] may look among: up to here any two flipped bits are told from every single one (CRC-32 has a
/// Hamming distance of 4 up to 91,607 bits, its own included).
pub(crate) const MAX_MENDED_BITS: usize = 91_000;

/// The only bit of `len` bytes that, being flipped, changes their CRC-32 by `difference`; bit 0 is the lowest of the first byte.
/// `None` when no single bit does, or the bytes are too many to be sure.
pub(crate) fn flipped_bit(len: usize, difference: u32) -> Option<usize> {
    let bits = len.checked_mul(8).filter(|&bits| bits <= MAX_MENDED_BITS)?;
    let mut effect = POLYNOMIAL;
    for bit in (0..bits).rev() {
        if effect == difference {
            return Some(bit);
        }
        effect = effect >> 1 ^ if effect & 1 == 1 { POLYNOMIAL } else { 0 };
    }
    None
}

/// A number that is different each time, seeded by the operating system. Not for secrets.
pub(crate) fn random_u64() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_order_as_their_bytes_do() {
        let strings: [&[u8]; 7] = [b"", b"\0\0\x01", b"a", b"abcdefgh", b"abcdefgi", b"a\xff", b"b"];
        assert!(strings.is_sorted_by_key(|string| head(string)));
        assert_eq!(head(b"a"), head(b"a\0\0"));
        assert_eq!(head(b"abcdefgh"), head(b"abcdefghi"));
    }

    #[test]
    fn fields_outside_the_buffer_are_none() {
        let bytes = 0x0102_0304_u32.to_le_bytes();
        assert_eq!(u32_at(&bytes, 0), Some(0x0102_0304));
        assert_eq!(u16_at(&bytes, 2), Some(0x0102));
        assert_eq!(u32_at(&bytes, 1), None);
        assert_eq!(u64_at(&bytes, usize::MAX), None);
    }

    #[test]
    fn the_last_byte_that_is_not_zero_is_found_wherever_it_is() {
        for len in [0, 1, 511, 512, 513, 1100] {
            let mut bytes = vec![0; len];
            assert_eq!(last_nonzero(&bytes), None);
            for place in 0..len {
                bytes[place] = 0x80;
                assert_eq!(last_nonzero(&bytes), Some(place), "of {len}");
            }
        }
    }

    #[test]
    fn parts_hash_like_their_concatenation() {
        assert_eq!(crc32(&[b"123", b"456789"]), 0xcbf4_3926);
    }

    #[test]
    fn a_flipped_bit_is_found_by_what_it_does_to_the_checksum() {
        let bytes: Vec<u8> = (0..=u8::MAX).cycle().take(4096).collect();
        let right = crc32(&[&bytes]);
        let difference = |bits: &[usize]| {
            let mut flipped = bytes.clone();
            for bit in bits {
                flipped[bit / 8] ^= 1 << (bit % 8);
            }
            crc32(&[&flipped]) ^ right
        };
        for bit in [0, 1, 7, 8, 12_345, 32_767] {
            assert_eq!(flipped_bit(4096, difference(&[bit])), Some(bit));
        }
        assert_eq!(flipped_bit(4096, 0), None);
        for second in 1..32_768 {
            assert_eq!(flipped_bit(4096, difference(&[0, second])), None, "{second}");
        }
        assert_eq!(flipped_bit(20_000, POLYNOMIAL), None, "too long to be sure");
    }

    #[test]
    fn random_numbers_differ() {
        assert_ne!(random_u64(), random_u64());
    }
}
