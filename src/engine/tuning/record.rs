//! Records of measurements, kept from one load to the next as text in a tuning cache. The text is
//! not trusted: a record that is damaged, too old or does not answer the query is measured anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::query::TuningQuery;
use crate::engine::clock::unix_seconds;
use crate::kernels::MatvecStrategy;

/// Records in a cache: machines may have several adapters, and models several formats.
const MAX_RECORDS: usize = 64;
/// Days for which a record is valid: the machine may have been busy when it was measured.
const MAX_AGE_DAYS: u64 = 30;
/// Time that another strategy may take at most, relative to the strategy that suits the adapter's
/// kind: a smaller difference may be noise.
const MAX_RELATIVE_TIME: f64 = 0.9;

/// Time of matrix-vector products by one strategy.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Measurement {
    /// The strategy.
    pub(super) strategy: MatvecStrategy,
    /// Milliseconds for each 10⁹ bytes of weights.
    pub(super) ms_per_gb: f64,
}

/// Times of prefill on the GPU and on the CPU.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct PrefillMeasurement {
    /// Milliseconds of a row on the GPU for each 10⁹ bytes of weights.
    pub(super) gpu_ms_per_gb: f64,
    /// Milliseconds of a row on the CPU for each 10⁹ bytes of weights.
    pub(super) cpu_ms_per_gb: f64,
    /// Milliseconds of the copy from the GPU to the CPU for each 10⁹ bytes of state.
    pub(super) handover_ms_per_gb: f64,
}

/// Measurements that answer a [`TuningQuery`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TuningRecord {
    /// Day of the measurement, counted from 1970-01-01.
    day: u64,
    /// Times by the strategies that were tried, in the order of the query.
    pub(super) measurements: Vec<Measurement>,
    /// Milliseconds of matrix-vector products on the CPU for each 10⁹ bytes of weights.
    pub(super) cpu_ms_per_gb: Option<f64>,
    /// Times of prefill.
    pub(super) prefill: Option<PrefillMeasurement>,
}

impl TuningRecord {
    /// Record of today's measurements.
    pub(super) fn new(measurements: Vec<Measurement>) -> Self {
        Self { day: today(), measurements, cpu_ms_per_gb: None, prefill: None }
    }

    /// True if a token takes less time on the CPU.
    pub(super) fn is_cpu_faster(&self) -> bool {
        let gpu_ms_per_gb = self.best().map(|measurement| measurement.ms_per_gb);
        self.cpu_ms_per_gb.zip(gpu_ms_per_gb).is_some_and(|(cpu, gpu)| cpu < gpu)
    }

    /// The strategy to use and its time: the first unless another is clearly faster; `None` if no
    /// strategy could be measured.
    pub(super) fn best(&self) -> Option<&Measurement> {
        let first = self.measurements.first()?;
        let fastest =
            self.measurements.iter().min_by(|a, b| a.ms_per_gb.total_cmp(&b.ms_per_gb))?;
        let is_clearly_faster = fastest.ms_per_gb < MAX_RELATIVE_TIME * first.ms_per_gb;
        Some(if is_clearly_faster { fastest } else { first })
    }

    /// True if the record is recent and answers the whole query.
    fn answers(&self, query: &TuningQuery) -> bool {
        let is_recent = self.day <= today() && today() - self.day <= MAX_AGE_DAYS;
        let is_asked = self.measurements.iter().all(|it| query.strategies.contains(&it.strategy));
        let needs_prefill = query.includes_prefill && self.is_cpu_faster();
        let is_complete = !self.measurements.is_empty()
            && (self.cpu_ms_per_gb.is_some() || !query.includes_cpu)
            && (self.prefill.is_some() || !needs_prefill);
        let prefill = self
            .prefill
            .iter()
            .flat_map(|it| [it.gpu_ms_per_gb, it.cpu_ms_per_gb, it.handover_ms_per_gb]);
        let times = self.measurements.iter().map(|measurement| measurement.ms_per_gb);
        let mut times = times.chain(self.cpu_ms_per_gb).chain(prefill);
        is_recent && is_asked && is_complete && times.all(|ms| ms >= 0.0)
    }
}

/// The record under a key of a cache, if there is one that answers the query.
pub(super) fn find(cache: &str, key: &str, query: &TuningQuery) -> Option<TuningRecord> {
    let record = records(cache).remove(key)?;
    let record: TuningRecord = serde_json::from_value(record).ok()?;
    record.answers(query).then_some(record)
}

/// The cache with one more record. A full cache is emptied first.
pub(super) fn add(cache: &str, key: String, record: &TuningRecord) -> Option<String> {
    let mut records = records(cache);
    if records.len() >= MAX_RECORDS {
        records.clear();
    }
    records.insert(key, serde_json::to_value(record).ok()?);
    serde_json::to_string(&records).ok()
}

fn records(cache: &str) -> BTreeMap<String, Value> {
    serde_json::from_str(cache).unwrap_or_default()
}

fn today() -> u64 {
    unix_seconds() / 86_400
}
