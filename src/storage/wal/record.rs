//! One record of the log: a committed batch, or the seal that ends a segment.
//!
//! ```text
//!  0        4        8                16               24       28       32  33  34    36       40
//!  ┌────────┬────────┬────────────────┬────────────────┬────────┬────────┬───┬───┬─────┬────────┬───────────┬─────────┐
//!  │ crc    │ length │ LSN            │ durable LSN    │ link   │ nonce  │knd│flg│  0  │ count  │ payload … │ 0 to 8n │
//!  └────────┴────────┴────────────────┴────────────────┴────────┴────────┴───┴───┴─────┴────────┴───────────┴─────────┘
//!   crc      CRC-32 over segment salt ‖ segment id ‖ file offset ‖ the record from `length` to the end of its payload
//!   length   header and payload in bytes, without the padding to a multiple of 8
//!   durable  every LSN up to this one was on the device before this record was written
//!   link     crc of the record before it; the segment header's for the first
//!   nonce    drawn anew by each handle, so that no writer ever repeats another's bytes
//!   kind     1 batch, 2 seal, 3 part of a base
//!   flags    bit 0: written without a sync, on request
//!   count    operations in the payload
//!
//!  operation:                                            seal:
//!  0   1   2     4        8         8 more              0                8                16
//!  ┌───┬───┬─────┬────────┬─────────┬──────────┬─────┬───────┐ ┌────────────────┬────────────────┐
//!  │tag│flg│ key │ value  │ (LSN)   │ (expiry) │ key │ value │ │ next segment   │ its salt       │
//!  └───┴───┴─────┴────────┴─────────┴──────────┴─────┴───────┘ └────────────────┴────────────────┘
//!   tag     1 set, 2 delete, 3 set until the expiry, which only then is there: milliseconds since 1970 (since format 2)
//!   flags   bit 0: the operation has an LSN of its own (in a base)
//!   key, value  lengths
//! ```
//!
//! All integers are little-endian. What each field is for:
//!
//! * Bytes of another file, such as one of the same number that a rotation left behind when it was cut short, fail on the salt,
//!   shifted or misdirected ones on offset and id.
//! * A record behind a hole fails on the link. An old record can't follow a new one either: for that the new one would have to
//!   have the old predecessor's checksum, and the nonce makes that 1 in 2³² even for an equal batch with an equal LSN.
//! * Zeros are no record, and no single flipped bit turns a header into zeros.

use crate::error::{Error, Result};
use crate::storage::Life;
use crate::storage::codec::{flipped_bit, is_right, put, u16_at, u32_at, u64_at};
use crate::types::{Entry, FileId, Key, Lsn, MAX_KEY_LEN, MAX_VALUE_LEN, Op, Timestamp, Value};

const CRC: usize = 0;
const LENGTH: usize = CRC + 4;
const LSN: usize = LENGTH + 4;
const DURABLE: usize = LSN + 8;
const LINK: usize = DURABLE + 8;
const NONCE: usize = LINK + 4;
const KIND: usize = NONCE + 4;
const FLAGS: usize = KIND + 1;
const RESERVED: usize = FLAGS + 1;
const COUNT: usize = RESERVED + 2;

/// Bytes of a record's header.
pub(crate) const HEADER_LEN: usize = COUNT + 4;

/// Bytes of a seal: room for one is kept free in every segment.
pub(crate) const SEAL_LEN: usize = HEADER_LEN + 16;

/// Bytes of an operation without its optional fields, key and value.
const OP_HEADER_LEN: usize = 8;

/// Bytes of the LSN of an operation that has one of its own.
const LSN_LEN: usize = 8;

/// Bytes of an expiry.
const EXPIRY_LEN: usize = 8;

const FLAG_UNSYNCED: u8 = 1;
const OP_SET: u8 = 1;
const OP_DELETE: u8 = 2;
const OP_SET_UNTIL: u8 = 3;
const OP_FLAG_LSN: u8 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A committed batch.
    Batch,
    /// The end of a segment.
    Seal,
    /// A part of a base: entries that stand for all batches up to the record's LSN.
    Base,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Seal => 2,
            Self::Base => 3,
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Batch),
            2 => Some(Self::Seal),
            3 => Some(Self::Base),
            _ => None,
        }
    }
}

/// The checksum of a record at `offset` of a segment.
fn checksum(life: Life, offset: u64, record: &[u8]) -> u32 {
    Checksum::begin(life, offset, record).0.finalize()
}

/// The same of a record that is read a piece at a time.
pub(crate) struct Checksum(crc32fast::Hasher);

impl Checksum {
    /// Of the record at `offset` that begins with these bytes: its header, and what is there of the payload.
    pub(crate) fn begin(life: Life, offset: u64, start: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        for part in
            [&life.salt.to_le_bytes(), &life.id.0.to_le_bytes(), &offset.to_le_bytes(), &start[LENGTH..]]
        {
            hasher.update(part);
        }
        Self(hasher)
    }

    /// Takes in the next bytes of the payload.
    pub(crate) fn go_on(&mut self, payload: &[u8]) {
        self.0.update(payload);
    }

    /// Whether it is the one that the record announces.
    pub(crate) fn is(self, announced: u32) -> bool {
        is_right("record", announced, self.0.finalize())
    }
}

/// The fields of a record's header that its writer chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub lsn: Lsn,
    pub durable: Lsn,
    pub link: u32,
    pub nonce: u32,
    /// Written without a sync, on request.
    pub unsynced: bool,
    pub count: u32,
}

/// A record that verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub header: Header,
    /// Its checksum, which the next record links to.
    pub crc: u32,
    pub payload: &'a [u8],
}

/// The length that a header announces, without padding: `None` when no record can have it.
pub(crate) fn announced_len(header: &[u8]) -> Option<usize> {
    let len = u32_at(header, LENGTH)? as usize;
    (len >= HEADER_LEN).then_some(len)
}

/// The LSN that a header announces.
pub(crate) fn announced_lsn(header: &[u8]) -> Option<Lsn> {
    u64_at(header, LSN).map(Lsn)
}

/// The checksum that a header announces.
pub(crate) fn announced_crc(header: &[u8]) -> Option<u32> {
    u32_at(header, CRC)
}

/// A record's length with its padding.
pub(crate) const fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// Verifies the record at the start of `bytes`, which lies at `offset` of its segment. Everything is checked but the
/// link and the LSN, which only the reader of the chain can judge.
pub(crate) fn decode(bytes: &[u8], life: Life, offset: u64) -> Option<Record<'_>> {
    let record = bytes.get(..announced_len(bytes)?)?;
    let crc = announced_crc(record)?;
    let header = decode_header(record)?;
    is_right("record", crc, checksum(life, offset, record)).then_some(Record {
        header,
        crc,
        payload: &record[HEADER_LEN..],
    })
}

/// Flips the only bit back that was flipped of the record at the start of `bytes`, which has lain at `offset`; returns the place of
/// its byte in the record. `None`, with nothing changed, when no single bit explains what is there.
pub(crate) fn mend(bytes: &mut [u8], life: Life, offset: u64) -> Option<usize> {
    let bit = flipped_in(bytes, life, offset).or_else(|| {
        (LENGTH * 8..LSN * 8).find(|bit| {
            flip(bytes, *bit);
            let is_it = decode(bytes, life, offset).is_some();
            flip(bytes, *bit);
            is_it
        })
    })?;
    flip(bytes, bit);
    if decode(bytes, life, offset).is_none() {
        flip(bytes, bit);
        return None;
    }
    Some(bit / 8)
}

/// The bit, if the length is right.
fn flipped_in(bytes: &[u8], life: Life, offset: u64) -> Option<usize> {
    let record = bytes.get(..announced_len(bytes)?)?;
    let difference = announced_crc(record)? ^ checksum(life, offset, record);
    if difference.is_power_of_two() {
        return Some(difference.trailing_zeros() as usize);
    }
    Some(LENGTH * 8 + flipped_bit(record.len() - LENGTH, difference)?)
}

fn flip(bytes: &mut [u8], bit: usize) {
    if let Some(byte) = bytes.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

pub(crate) fn decode_header(record: &[u8]) -> Option<Header> {
    let flags = *record.get(FLAGS)?;
    if flags & !FLAG_UNSYNCED != 0 || u16_at(record, RESERVED)? != 0 {
        return None;
    }
    Some(Header {
        kind: Kind::from_code(*record.get(KIND)?)?,
        lsn: announced_lsn(record)?,
        durable: Lsn(u64_at(record, DURABLE)?),
        link: u32_at(record, LINK)?,
        nonce: u32_at(record, NONCE)?,
        unsynced: flags & FLAG_UNSYNCED != 0,
        count: u32_at(record, COUNT)?,
    })
}

/// Appends a record whose payload `write_payload` produces to `out`; `offset` is where it will lie in its segment.
/// Returns its checksum. The payload must keep the record below 4 GiB.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    life: Life,
    offset: u64,
    header: &Header,
    write_payload: impl FnOnce(&mut Vec<u8>),
) -> u32 {
    let start = out.len();
    out.resize(start + HEADER_LEN, 0);
    write_payload(out);
    let record = &mut out[start..];
    let len = u32::try_from(record.len()).unwrap_or(u32::MAX);
    put(record, LENGTH, &len.to_le_bytes());
    put(record, LSN, &header.lsn.0.to_le_bytes());
    put(record, DURABLE, &header.durable.0.to_le_bytes());
    put(record, LINK, &header.link.to_le_bytes());
    put(record, NONCE, &header.nonce.to_le_bytes());
    put(record, KIND, &[header.kind.code(), if header.unsynced { FLAG_UNSYNCED } else { 0 }]);
    put(record, COUNT, &header.count.to_le_bytes());
    let crc = checksum(life, offset, record);
    put(record, CRC, &crc.to_le_bytes());
    out.resize(start + padded(out.len() - start), 0);
    crc
}

/// Gives the changed bytes of a record the checksum that a writer would have given them, and has it follow a record with the
/// checksum `link` and the LSN `last` if they are known. Returns its checksum and its length with padding.
#[cfg(any(test, fuzzing))]
pub(crate) fn reseal(
    bytes: &mut [u8],
    life: Life,
    offset: u64,
    after: Option<(u32, Lsn)>,
) -> Option<(u32, usize)> {
    let len = announced_len(bytes)?;
    let record = bytes.get_mut(..len)?;
    if let Some((link, last)) = after {
        put(record, LINK, &link.to_le_bytes());
        let is_batch = record[KIND] == Kind::Batch.code();
        put(record, LSN, &last.0.saturating_add(u64::from(is_batch)).to_le_bytes());
    }
    let crc = checksum(life, offset, record);
    put(record, CRC, &crc.to_le_bytes());
    Some((crc, padded(len)))
}

/// Appends the payload of a seal.
pub(crate) fn encode_successor(out: &mut Vec<u8>, successor: Life) {
    out.extend_from_slice(&successor.id.0.to_le_bytes());
    out.extend_from_slice(&successor.salt.to_le_bytes());
}

/// The segment that a seal names.
pub(crate) fn decode_successor(payload: &[u8]) -> Option<Life> {
    Some(Life { id: FileId(u64_at(payload, 0)?), salt: u64_at(payload, 8)? })
}

/// Bytes of a record that holds these operations, padding included.
pub(crate) fn encoded_len(ops: &[Op]) -> u64 {
    let len: u64 = ops.iter().map(|op| op_len(op) as u64).sum();
    (HEADER_LEN as u64 + len).next_multiple_of(8)
}

fn op_len(op: &Op) -> usize {
    OP_HEADER_LEN
        + match op {
            Op::Set { key, value, expires } => key.len() + value.len() + expires.map_or(0, |_| EXPIRY_LEN),
            Op::Delete { key } => key.len(),
        }
}

/// Appends one operation of a batch.
pub(crate) fn encode_op(out: &mut Vec<u8>, op: &Op) {
    match op {
        Op::Set { key, value, expires } => encode_set(out, key, value, None, *expires),
        Op::Delete { key } => {
            encode_op_header(out, OP_DELETE, 0, key, 0);
            out.extend_from_slice(key);
        }
    }
}

/// Appends one entry of a base.
pub(crate) fn encode_entry(out: &mut Vec<u8>, key: &[u8], entry: &Entry) {
    encode_set(out, key, &entry.value, Some(entry.lsn), entry.expires);
}

fn encode_set(out: &mut Vec<u8>, key: &[u8], value: &[u8], lsn: Option<Lsn>, expires: Option<Timestamp>) {
    let tag = if expires.is_some() { OP_SET_UNTIL } else { OP_SET };
    encode_op_header(out, tag, if lsn.is_some() { OP_FLAG_LSN } else { 0 }, key, value.len());
    if let Some(lsn) = lsn {
        out.extend_from_slice(&lsn.0.to_le_bytes());
    }
    if let Some(expires) = expires {
        out.extend_from_slice(&expires.unix_millis().to_le_bytes());
    }
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// Lengths were checked when the operation came in: see [`validate`].
fn encode_op_header(out: &mut Vec<u8>, tag: u8, flags: u8, key: &[u8], value_len: usize) {
    let key_len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    let value_len = u32::try_from(value_len).unwrap_or(u32::MAX);
    out.extend_from_slice(&[tag, flags]);
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
}

/// Refuses operations that the format has no room for.
pub(crate) fn validate(ops: &[Op]) -> Result<()> {
    ops.iter().try_for_each(check)?;
    let len = encoded_len(ops);
    if len > u64::from(u32::MAX) {
        return Err(Error::BatchTooLarge { len });
    }
    Ok(())
}

/// Refuses an operation that no record can hold.
///
/// # Errors
/// `KeyTooLong`, `ValueTooLong`.
pub(crate) fn check(op: &Op) -> Result<()> {
    match op {
        _ if op.key().len() > MAX_KEY_LEN => Err(Error::KeyTooLong { len: op.key().len() }),
        Op::Set { value, .. } if value.len() > MAX_VALUE_LEN => Err(Error::ValueTooLong { len: value.len() }),
        _ => Ok(()),
    }
}

/// An operation where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpRef<'a> {
    /// The batch that made it.
    pub lsn: Lsn,
    /// Where its key begins in what it lies in: the record's payload, or what that is a part of. The value is right behind.
    pub at: usize,
    pub key: &'a [u8],
    /// `None` deletes the key.
    pub value: Option<&'a [u8]>,
    pub expires: Option<Timestamp>,
}

impl OpRef<'_> {
    pub(crate) fn to_op(self) -> Op {
        let key = Key::from(self.key);
        match self.value {
            Some(value) => Op::Set { key, value: Value::from(value), expires: self.expires },
            None => Op::Delete { key },
        }
    }
}

/// Hands out the operations of a record that verified, each with the LSN that wrote it. `None` when the payload is not made of
/// operations: it verified, so its writer was at fault.
pub(crate) fn for_each_op<'a>(record: &Record<'a>, mut each: impl FnMut(OpRef<'a>)) -> Option<()> {
    let mut at = 0;
    for _ in 0..record.header.count {
        let (op, end) = decode_op(record.payload, at, record.header.lsn)?;
        each(op);
        at = end;
    }
    Some(())
}

/// The operation at `at` of a payload, made by `lsn` unless it says otherwise, and where it ends.
fn decode_op(payload: &[u8], at: usize, lsn: Lsn) -> Option<(OpRef<'_>, usize)> {
    let bytes = payload.get(at..)?;
    let (tag, flags) = (*bytes.first()?, *bytes.get(1)?);
    let key_len = usize::from(u16_at(bytes, 2)?);
    let value_len = u32_at(bytes, 4)? as usize;
    let mut fields = OP_HEADER_LEN;
    let mut own_lsn = None;
    if flags & OP_FLAG_LSN != 0 {
        // Its record stands for nothing that came later.
        own_lsn = Some(u64_at(bytes, fields).map(Lsn).filter(|own| *own <= lsn)?);
        fields += LSN_LEN;
    }
    let mut expires = None;
    if tag == OP_SET_UNTIL {
        expires = Some(Timestamp::from_unix_millis(u64_at(bytes, fields)?)?);
        fields += EXPIRY_LEN;
    }
    let (key, rest) = bytes.get(fields..)?.split_at_checked(key_len)?;
    let value = match tag {
        OP_SET | OP_SET_UNTIL => Some(rest.get(..value_len)?),
        OP_DELETE if value_len == 0 => None,
        _ => return None,
    };
    let op = OpRef { lsn: own_lsn.unwrap_or(lsn), at: at + fields, key, value, expires };
    Some((op, op.at + key_len + value_len))
}

/// The operations of the batch `lsn`, as they lie in what its record was encoded to at `start`.
pub(crate) fn laid_out(ops: &[Op], lsn: Lsn, start: usize) -> impl Iterator<Item = OpRef<'_>> {
    let mut end = start + HEADER_LEN;
    ops.iter().map(move |op| {
        end += op_len(op);
        let (value, expires) = match op {
            Op::Set { value, expires, .. } => (Some(&value[..]), *expires),
            Op::Delete { .. } => (None, None),
        };
        let key = &op.key()[..];
        OpRef { lsn, at: end - key.len() - value.map_or(0, <[u8]>::len), key, value, expires }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Life = Life { id: FileId(7), salt: 0x1234_5678_9abc_def0 };

    fn header(count: u32) -> Header {
        Header { kind: Kind::Batch, lsn: Lsn(9), durable: Lsn(8), link: 3, nonce: 5, unsynced: false, count }
    }

    fn encoded(ops: &[Op]) -> Vec<u8> {
        let mut out = Vec::new();
        let count = u32::try_from(ops.len()).unwrap();
        encode(&mut out, LIFE, 64, &header(count), |out| ops.iter().for_each(|op| encode_op(out, op)));
        out
    }

    fn sample() -> Vec<Op> {
        vec![
            Op::Set { key: "k".into(), value: "value".into(), expires: None },
            Op::Delete { key: "".into() },
            Op::Set { key: vec![0xff; 300].into(), value: "".into(), expires: None },
            Op::Set { key: "k".into(), value: "".into(), expires: Some(Timestamp::MAX) },
            Op::Set { key: "".into(), value: "v".into(), expires: Some(Timestamp::MIN) },
        ]
    }

    fn ops_of(record: &Record<'_>) -> Vec<(Lsn, Op)> {
        let mut ops = Vec::new();
        for_each_op(record, |op| ops.push((op.lsn, op.to_op()))).unwrap();
        ops
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let bytes = encoded(&sample());
        assert_eq!(bytes.len() as u64, encoded_len(&sample()));
        let record = decode(&bytes, LIFE, 64).unwrap();
        assert_eq!(record.header, header(5));
        let expected: Vec<_> = sample().into_iter().map(|op| (Lsn(9), op)).collect();
        assert_eq!(ops_of(&record), expected);
    }

    #[test]
    fn operations_lie_where_they_are_said_to() {
        let (ops, mut bytes) = (sample(), vec![1; 24]);
        encode(&mut bytes, LIFE, 64, &header(5), |out| ops.iter().for_each(|op| encode_op(out, op)));
        let mut decoded = Vec::new();
        for_each_op(&decode(&bytes[24..], LIFE, 64).unwrap(), |op| {
            decoded.push(OpRef { at: 24 + HEADER_LEN + op.at, ..op });
        })
        .unwrap();
        assert_eq!(laid_out(&ops, Lsn(9), 24).collect::<Vec<_>>(), decoded);
        for OpRef { at, key, value, .. } in decoded {
            let both = [key, value.unwrap_or_default()].concat();
            assert_eq!(bytes[at..at + both.len()], both);
        }
    }

    #[test]
    fn an_entry_of_a_base_keeps_its_own_lsn() {
        let mut bytes = Vec::new();
        let until = Some(Timestamp::MAX);
        encode(&mut bytes, LIFE, 0, &header(2), |out| {
            encode_entry(out, b"k", &Entry { value: "v".into(), lsn: Lsn(4), expires: None });
            encode_entry(out, b"l", &Entry { value: "w".into(), lsn: Lsn(5), expires: until });
        });
        let first = Op::Set { key: "k".into(), value: "v".into(), expires: None };
        let second = Op::Set { key: "l".into(), value: "w".into(), expires: until };
        assert_eq!(ops_of(&decode(&bytes, LIFE, 0).unwrap()), [(Lsn(4), first), (Lsn(5), second)]);
    }

    #[test]
    fn a_record_is_valid_only_in_its_place() {
        let bytes = encoded(&sample());
        assert!(decode(&bytes, LIFE, 72).is_none());
        assert!(decode(&bytes, Life { salt: 1, ..LIFE }, 64).is_none());
        assert!(decode(&bytes, Life { id: FileId(8), ..LIFE }, 64).is_none());
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encoded(&sample());
        let len = announced_len(&bytes).unwrap();
        for bit in 0..len * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&flipped, LIFE, 64).is_none(), "bit {bit}");
        }
        for cut in 0..len {
            assert!(decode(&bytes[..cut], LIFE, 64).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn an_operation_is_not_newer_than_its_record() {
        for (own, is_right) in [(0, true), (9, true), (10, false), (u64::MAX, false)] {
            let mut bytes = Vec::new();
            encode(&mut bytes, LIFE, 64, &header(1), |out| {
                encode_entry(out, b"k", &Entry { value: "v".into(), lsn: Lsn(own), expires: None });
            });
            assert_eq!(for_each_op(&decode(&bytes, LIFE, 64).unwrap(), |_| ()).is_some(), is_right, "{own}");
        }
    }

    #[test]
    fn an_expiry_that_is_no_moment_makes_no_operation() {
        let mut bytes = Vec::new();
        encode(&mut bytes, LIFE, 64, &header(1), |out| {
            encode_op_header(out, OP_SET_UNTIL, 0, b"k", 0);
            out.extend_from_slice(&[0; EXPIRY_LEN]);
            out.push(b'k');
        });
        assert!(for_each_op(&decode(&bytes, LIFE, 64).unwrap(), |_| ()).is_none());
    }

    #[test]
    fn any_single_flipped_bit_is_set_right_and_two_are_not() {
        let right = encoded(&sample());
        let len = announced_len(&right).unwrap();
        for bit in 0..len * 8 {
            let mut flipped = right.clone();
            flip(&mut flipped, bit);
            assert_eq!((mend(&mut flipped, LIFE, 64), &flipped), (Some(bit / 8), &right), "bit {bit}");
        }
        for second in 1..len * 8 {
            let mut flipped = right.clone();
            flip(&mut flipped, 0);
            flip(&mut flipped, second);
            let before = flipped.clone();
            assert_eq!((mend(&mut flipped, LIFE, 64), &flipped), (None, &before), "bit {second}");
        }
    }

    #[test]
    fn operations_without_room_in_the_format_are_refused() {
        let long_key = Op::Delete { key: vec![0; 65_536].into() };
        assert!(matches!(validate(&[long_key]), Err(Error::KeyTooLong { len: 65_536 })));
        assert!(validate(&[Op::Delete { key: vec![0; 65_535].into() }]).is_ok());
    }
}
