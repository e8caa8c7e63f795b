//! Asking for a cache line before it is needed.

/// Starts loading the cache line of `bytes[at]`, where the processor has an instruction for it and the byte exists.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn prefetch(bytes: &[u8], at: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

    if let Some(byte) = bytes.get(at) {
        // SAFETY: a prefetch reads and writes nothing that the program can see, whatever the address, and SSE is part of
        // x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(byte).cast()) }
    }
}

/// Does nothing: this processor's instruction is not within reach of stable Rust.
#[cfg(not(target_arch = "x86_64"))]
#[inline]
pub(super) fn prefetch(_bytes: &[u8], _at: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_place_may_be_asked_for() {
        prefetch(&[1, 2, 3], 0);
        prefetch(&[1, 2, 3], usize::MAX);
        prefetch(&[], 0);
    }
}
