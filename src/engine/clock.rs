//! Elapsed time, and the date.

use web_time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since an instant.
pub(super) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// Seconds since 1970-01-01; 0 if the system's clock is set before.
pub(super) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs())
}
