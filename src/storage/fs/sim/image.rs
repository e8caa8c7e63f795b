//! [`Image`]: the bytes of one file, in blocks that copies of a disk share until one of them writes.
//!
//! A block that was never written is a hole and reads as zeros; so does everything behind the last block. An image
//! knows no length. Cloning one costs a reference count, and the first write after that copies the list of blocks and
//! one block.

use std::ops::Range;
use std::sync::Arc;

/// What the device writes whole or not at all.
pub(super) const SECTOR: u64 = 512;
const SECTOR_LEN: usize = 512;

/// What is shared between images, and what space is allocated in.
pub(super) const BLOCK: u64 = 4096;
const BLOCK_LEN: usize = 4096;

/// The bytes of one file.
#[derive(Clone, Default)]
pub(super) struct Image {
    blocks: Arc<Vec<Option<Arc<[u8; BLOCK_LEN]>>>>,
    allocated: u64,
}

impl Image {
    /// An image of these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.write(bytes, 0);
        image
    }

    /// Fills `buffer` from `offset` on.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) {
        for (block, inside, outside) in pieces(offset, buffer.len()) {
            match self.block(block) {
                Some(bytes) => buffer[outside].copy_from_slice(&bytes[inside]),
                None => buffer[outside].fill(0),
            }
        }
    }

    /// Puts `bytes` at `offset`.
    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (block, inside, outside) in pieces(offset, bytes.len()) {
            self.block_mut(block)[inside].copy_from_slice(&bytes[outside]);
        }
    }

    /// Takes one sector over from another image.
    pub(super) fn copy_sector(&mut self, from: &Self, sector: u64) {
        let mut bytes = [0; SECTOR_LEN];
        from.read(&mut bytes, sector * SECTOR);
        self.write(&bytes, sector * SECTOR);
    }

    /// Takes one block over from another image, without copying it.
    pub(super) fn share_block(&mut self, from: &Self, block: u64) {
        if let Some(bytes) = from.block(block) {
            *self.slot(block) = Some(Arc::clone(bytes));
        }
    }

    /// Makes everything from `len` on zeros again.
    pub(super) fn truncate(&mut self, len: u64) {
        let kept = index(len.div_ceil(BLOCK));
        if kept < self.blocks.len() {
            let blocks = Arc::make_mut(&mut self.blocks);
            self.allocated -= blocks.drain(kept..).flatten().count() as u64;
        }
        let last = len / BLOCK;
        if self.block(last).is_some() {
            self.block_mut(last)[index(len % BLOCK)..].fill(0);
        }
    }

    /// Inverts one bit, counted from the lowest of the first byte.
    pub(super) fn flip_bit(&mut self, bit: u64) {
        let byte = bit / 8;
        self.block_mut(byte / BLOCK)[index(byte % BLOCK)] ^= 1 << (bit % 8);
    }

    /// How many bytes the blocks that are not holes take.
    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated * BLOCK
    }

    /// How many of the `len` bytes at `offset` can be written when `free` bytes are left for further blocks.
    pub(super) fn writable(&self, offset: u64, len: usize, free: u64) -> usize {
        let mut free_blocks = free / BLOCK;
        for (block, _, outside) in pieces(offset, len) {
            if self.block(block).is_none() {
                if free_blocks == 0 {
                    return outside.start;
                }
                free_blocks -= 1;
            }
        }
        len
    }

    fn block(&self, block: u64) -> Option<&Arc<[u8; BLOCK_LEN]>> {
        self.blocks.get(index(block))?.as_ref()
    }

    fn block_mut(&mut self, block: u64) -> &mut [u8; BLOCK_LEN] {
        Arc::make_mut(self.slot(block).get_or_insert_with(|| Arc::new([0; BLOCK_LEN])))
    }

    /// The place of a block that is about to be filled.
    fn slot(&mut self, block: u64) -> &mut Option<Arc<[u8; BLOCK_LEN]>> {
        let block = index(block);
        let blocks = Arc::make_mut(&mut self.blocks);
        if block >= blocks.len() {
            blocks.resize(block + 1, None);
        }
        self.allocated += u64::from(blocks[block].is_none());
        &mut blocks[block]
    }
}

/// Cuts `len` bytes at `offset` at the block boundaries: the block, the range inside it, the range of the bytes.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, Range<usize>, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let position = offset + done as u64;
        let inside = index(position % BLOCK);
        let count = (BLOCK_LEN - inside).min(len - done);
        let piece = (position / BLOCK, inside..inside + count, done..done + count);
        done += count;
        (count > 0).then_some(piece)
    })
}

/// A position as an index into memory.
pub(super) fn index(position: u64) -> usize {
    usize::try_from(position).expect("a simulated file fits in memory")
}
