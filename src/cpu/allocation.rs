//! Allocation that reports `out-of-memory` instead of aborting, and the heap's size.

use bytemuck::Zeroable;
use bytemuck::allocation::try_zeroed_vec;

use crate::error::{Code, Error, Result};

/// Allocates `count` zeroed elements for the buffer `name`; `out-of-memory` if that fails, as it
/// does early in a browser's 32-bit address space. Pages that are zero already are not written.
pub(super) fn try_zeroed<T: Zeroable>(name: &str, count: u64) -> Result<Vec<T>> {
    let vec = usize::try_from(count).ok().and_then(|count| try_zeroed_vec(count).ok());
    let size_bytes = count.saturating_mul(size_of::<T>() as u64);
    vec.ok_or_else(|| {
        let message = format!("{name}: found no room, expected {size_bytes} bytes");
        Error::new(Code::OutOfMemory, message)
    })
}

/// Bytes of the program's heap, where they can be queried: in wasm.
pub fn heap_bytes() -> Option<u64> {
    #[cfg(target_arch = "wasm32")]
    return Some(core::arch::wasm32::memory_size::<0>() as u64 * 65_536);
    #[cfg(not(target_arch = "wasm32"))]
    None
}
