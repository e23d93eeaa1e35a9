//! What a run may take: time, and memory for each byte of the input.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system's allocator, counted.
struct Counted;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        LIVE.fetch_sub(layout.size(), Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The longest that a run takes, with coverage counters and checked arithmetic.
const TIME: Duration = Duration::from_secs(4);

/// Does the work of a run on so many bytes; fails if it takes too long, or at any time more memory than
/// `base` bytes and `per_byte` for each byte of the input.
pub fn within<T>(bytes: usize, base: usize, per_byte: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    let result = work();
    let (time, peak) = (start.elapsed(), PEAK.load(Relaxed).saturating_sub(before));
    assert!(time < TIME, "{bytes} bytes took {time:?}, expected less than {TIME:?}");
    let allowed = base + per_byte * bytes;
    assert!(peak <= allowed, "{bytes} bytes took {peak} bytes of memory, expected at most {allowed}");
    result
}
