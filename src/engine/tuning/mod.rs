//! Choice of the device and of the strategy of matrix-vector products, by a short measurement on a
//! matrix like the model's, before any weight is read.
//!
//! Reading order: `query` (what is asked), `measurement` (how it is measured), `record` (what is
//! kept for later loads), `prediction` (what follows for the model).

mod measurement;
mod prediction;
mod query;
mod record;

use std::rc::Rc;

pub use prediction::{Prediction, PromptPrediction, StrategyTime};

use super::fit::available_cpu_bytes;
use super::options::{Backend, DeviceChoice, LoadOptions};
use super::planning::PlannedModel;
use crate::error::Result;
use crate::gpu::Gpu;
use crate::kernels::MatvecStrategy;
use measurement::TuningMatrix;
use query::TuningQuery;

/// Device and strategy of a load.
pub(super) struct Selection {
    /// Device that runs the plans.
    pub(super) backend: Backend,
    /// Strategy of matrix-vector products on the GPU.
    pub(super) strategy: MatvecStrategy,
    /// Predicted times, if there was a choice.
    pub(super) prediction: Option<Prediction>,
    /// Reason why the CPU alone was selected.
    pub(super) reason: Option<String>,
    /// The tuning cache with a new record, if something was measured.
    pub(super) tuning_cache: Option<String>,
}

impl Selection {
    fn without_choice(backend: Backend, strategy: MatvecStrategy) -> Self {
        Self { backend, strategy, prediction: None, reason: None, tuning_cache: None }
    }
}

/// Selects the device and strategy for a model that was planned for `gpu`, or for the CPU without
/// one, from a record of the tuning cache or a new measurement.
///
/// # Errors
/// Errors of the GPU while it is measured.
pub(super) async fn select(
    options: &LoadOptions,
    gpu: Option<&Rc<Gpu>>,
    planned: &PlannedModel<'_>,
) -> Result<Selection> {
    let (strategy, backend) = (planned.options.strategy, planned.options.backend);
    // The CPU executor decides itself whether to round inputs.
    let cpu_strategy = strategy.without_rounding();
    if backend == Backend::Hybrid {
        return Ok(Selection::without_choice(backend, cpu_strategy));
    }
    let matrix = TuningMatrix::new(planned, &options.host.threads);
    let (Some(gpu), Some(matrix)) = (gpu, matrix) else {
        return Ok(Selection::without_choice(backend, strategy));
    };
    let Some(query) = query(options, gpu, planned, &matrix) else {
        return Ok(Selection::without_choice(backend, strategy));
    };
    let cache = options.tuning_cache.as_deref().unwrap_or_default();
    let key = matrix.key(gpu, &query)?;
    let found = record::find(cache, &key, &query);
    let is_cached = found.is_some();
    let record = match found {
        Some(record) => record,
        None => matrix.measure(gpu, &query).await?,
    };
    let Some(mut prediction) = Prediction::new(&record, planned, is_cached) else {
        return Ok(Selection::without_choice(backend, strategy));
    };
    prediction.cpu_token_ms.take_if(|_| !query.includes_cpu);
    let (backend, reason) = prediction.fastest(&gpu.report.name);
    let strategy = match (backend, record.best()) {
        (Backend::WebGpu, Some(best)) => best.strategy,
        _ => cpu_strategy,
    };
    let tuning_cache = if is_cached { None } else { record::add(cache, key, &record) };
    Ok(Selection { backend, strategy, prediction: Some(prediction), reason, tuning_cache })
}

/// The query of a load; `None` if there is nothing to choose. Strategies are compared only if there
/// is a tuning cache: otherwise every load would repeat the comparison.
fn query(
    options: &LoadOptions,
    gpu: &Gpu,
    planned: &PlannedModel<'_>,
    matrix: &TuningMatrix,
) -> Option<TuningQuery> {
    let strategy = planned.options.strategy;
    let mut strategies = vec![strategy];
    if options.strategy.is_none() && options.tuning_cache.is_some() {
        let others = PlannedModel::strategies(&gpu.report).filter(|other| *other != strategy);
        strategies.extend(others.filter(|other| matrix.supports(*other)));
    }
    let includes_cpu = options.device == DeviceChoice::Auto
        && planned.fits_cpu(available_cpu_bytes(&options.host));
    // A software adapter runs on the CPU itself, and compiling for it takes a second.
    let includes_prefill = includes_cpu && gpu.report.kind != "cpu" && matrix.chunk_rows() > 1;
    let is_choice = strategies.len() > 1 || includes_cpu;
    is_choice.then_some(TuningQuery { strategies, includes_cpu, includes_prefill })
}
