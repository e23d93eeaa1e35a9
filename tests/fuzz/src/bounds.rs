//! Bounds on the time and memory of a fuzz run.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// The system allocator, with counters.
struct Counted;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn add(bytes: usize) {
    PEAK.fetch_max(LIVE.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// SAFETY: every call is forwarded unchanged.
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

/// Time limit of a run. Coverage counters and checked arithmetic slow it down.
const MAX_TIME: Duration = Duration::from_secs(4);

/// Runs `work` on an input of `bytes` bytes; panics if it exceeds the time limit, or at any time
/// has allocated more than `base` bytes and `per_byte` for each byte of the input.
pub fn within<T>(bytes: usize, base: usize, per_byte: usize, work: impl FnOnce() -> T) -> T {
    let before = LIVE.load(Relaxed);
    PEAK.store(before, Relaxed);
    let start = Instant::now();
    let result = work();
    let (time, peak) = (start.elapsed(), PEAK.load(Relaxed).saturating_sub(before));
    assert!(time < MAX_TIME, "{bytes} bytes took {time:?}, expected less than {MAX_TIME:?}");
    let allowed = base + per_byte * bytes;
    assert!(
        peak <= allowed,
        "{bytes} bytes took {peak} bytes of memory, expected at most {allowed}"
    );
    result
}
