//! Elapsed time.

use web_time::Instant;

/// Milliseconds since an instant.
pub(super) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
