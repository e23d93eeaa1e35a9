//! A global allocator that counts the bytes each thread has allocated, and a measurement of peaks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use web_time::Instant;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    static ALLOCATED: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let allocated = ALLOCATED.get() + change;
    ALLOCATED.set(allocated);
    PEAK.set(PEAK.get().max(allocated));
}

#[allow(unsafe_code, reason = "an allocator is unsafe; this one forwards every call")]
// SAFETY: every call is forwarded unchanged to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: guaranteed by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: guaranteed by the caller.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new allocation may exist at the same time.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: guaranteed by the caller.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Runs `work`, which must stay on this thread. Returns its result, its duration and the most bytes
/// that it had allocated at a time.
pub(super) fn measured<T>(work: impl FnOnce() -> T) -> (T, Duration, isize) {
    let before = ALLOCATED.get();
    PEAK.set(before);
    let start = Instant::now();
    let result = work();
    (result, start.elapsed(), PEAK.get() - before)
}
