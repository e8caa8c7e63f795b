//! Asking for cache lines before they are needed.

/// What is loaded at once, in bytes.
const LINE_LEN: usize = 64;

/// Starts loading the cache line of `bytes[at]`, where the processor has an instruction for it and the byte exists.
#[inline]
pub(crate) fn prefetch(bytes: &[u8], at: usize) {
    if let Some(byte) = bytes.get(at) {
        load(std::ptr::from_ref(byte));
    }
}

/// Starts loading what is referred to, without looking at it.
#[inline]
pub(crate) fn prefetch_all<T>(item: &T) {
    let start = std::ptr::from_ref(item).cast::<u8>();
    for at in (0..size_of::<T>()).step_by(LINE_LEN) {
        load(start.wrapping_add(at));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn load(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    // SAFETY: a prefetch reads and writes nothing that the program can see, whatever the address, and SSE is part of x86-64.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

/// Does nothing: this processor's instruction is not within reach of stable Rust.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn load(_line: *const u8) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_may_be_asked_for() {
        prefetch(&[1, 2, 3], 0);
        prefetch(&[1, 2, 3], usize::MAX);
        prefetch(&[], 0);
        prefetch_all(&());
        prefetch_all(&[7_u64; 100]);
    }
}
