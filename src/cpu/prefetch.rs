//! Reading ahead, where the processor does not foresee which words come next.

/// Begins to read words into the nearest cache; does nothing without an instruction for it.
#[inline(always)]
#[allow(unsafe_code, reason = "the addresses are those of a slice")]
pub(super) fn prefetch(words: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in words.chunks(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = words;
}
