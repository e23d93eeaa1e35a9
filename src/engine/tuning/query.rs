//! Queries, which list the measurements that a load needs.

use crate::kernels::MatvecStrategy;

/// Measurements that a load needs before it chooses a device and a strategy.
pub(super) struct TuningQuery {
    /// Strategies of matrix-vector products to compare; the first suits the adapter's kind.
    pub(super) strategies: Vec<MatvecStrategy>,
    /// True if the same products are measured on the CPU.
    pub(super) includes_cpu: bool,
    /// True if prefill is measured on both devices, in case decode is faster on the CPU.
    pub(super) includes_prefill: bool,
}
