//! Measurement of matrix products on a matrix like the model's: the difference in time between a
//! step of several products and a step of one product, which excludes the fixed cost of a step.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use web_time::Instant;

use super::query::TuningQuery;
use super::record::{Measurement, PrefillMeasurement, TuningRecord};
use crate::cpu::{CpuExecutor, CpuVariant, StartThreads};
use crate::engine::clock::milliseconds;
use crate::engine::executors::{Executor, handover_ms_per_gb};
use crate::engine::planning::PlannedModel;
use crate::engine::plans::{PlanPurpose, RegisteredPlan};
use crate::error::Result;
use crate::formats::Format;
use crate::gpu::{Gpu, GpuExecutor, PipelineText};
use crate::kernels::{MatmulTiling, MatvecStrategy, Rows, Step};
use crate::plan::{Plan, PlanBuilder, Resources, TensorShapes, assign_slots};

/// Weights of the matrix that is measured on the GPU: as in a model, reading them must take most of
/// the time. On a smaller matrix, a software adapter would be fastest with the most workgroups.
const GPU_MATRIX_WEIGHTS: u32 = 1 << 22;
/// Weights of the matrix that is measured on the CPU: enough for threads to divide.
const CPU_MATRIX_WEIGHTS: u32 = 1 << 20;
/// Initial number of products in the longer of the two steps. The difference in time must exceed
/// the milliseconds that a browser now and then adds to a read-back, and the resolution of its
/// clock, some tenths of a millisecond; while it is less than [`CLEAR_MS`], products are added.
const FIRST_PRODUCTS: usize = 3;
const MAX_DECODE_PRODUCTS: usize = 512;
const MAX_PREFILL_PRODUCTS: usize = 32;
const CLEAR_MS: f64 = 2.0;
/// Measured runs of each step, after one that warms up; the fastest counts.
const RUNS: usize = 3;
/// Milliseconds after which no further strategy is measured: a software adapter may take that long
/// to compile a single one.
const MAX_STRATEGIES_MS: f64 = 100.0;

/// A matrix like the model's: in the format of most of its weights, with the columns of the largest
/// matrix in that format and at most as many rows.
pub(super) struct TuningMatrix {
    format: Format,
    rows: u32,
    columns: u32,
    chunk_rows: u32,
    tiling: MatmulTiling,
    cpu_variant: CpuVariant,
    threads: StartThreads,
}

/// A product to measure: the rows of its input, and its strategy if there is one row.
#[derive(Clone, Copy)]
struct Trial {
    rows: u32,
    strategy: MatvecStrategy,
}

impl Trial {
    fn purpose(self) -> PlanPurpose {
        if self.rows == 1 { PlanPurpose::Decode } else { PlanPurpose::Prefill }
    }
}

/// Format and shape of the matrix that is measured.
struct TuningShape(Format, [usize; 2]);

impl TensorShapes for TuningShape {
    fn tensor(&self, _: &str) -> Option<(Format, &[usize])> {
        Some((self.0, &self.1))
    }
}

impl TuningMatrix {
    /// The matrix for a model; `None` for a model without matrices.
    pub(super) fn new(planned: &PlannedModel<'_>, threads: &StartThreads) -> Option<Self> {
        let matrices = planned.buffers.resources.matrices();
        let in_format = |format: Format| {
            let held = matrices.iter().filter(move |matrix| matrix.format == format);
            held.map(|matrix| (u64::from(matrix.rows) * u64::from(matrix.columns), matrix))
        };
        let formats = matrices.iter().map(|matrix| matrix.format);
        let weights = |format: &Format| in_format(*format).map(|(weights, _)| weights).sum::<u64>();
        let format = formats.max_by_key(weights)?;
        let (_, matrix) = in_format(format).max_by_key(|(weights, _)| *weights)?;
        Some(Self {
            format,
            rows: matrix.rows,
            columns: matrix.columns,
            chunk_rows: planned.plans.max_rows(PlanPurpose::Prefill),
            tiling: planned.options.tiling,
            cpu_variant: planned.options.cpu_variant,
            threads: threads.clone(),
        })
    }

    /// True if a strategy computes products with this format differently from the other strategies.
    pub(super) fn supports(&self, strategy: MatvecStrategy) -> bool {
        strategy.for_format(self.format) == strategy
    }

    /// Rows of a prefill step of the model.
    pub(super) fn chunk_rows(&self) -> u32 {
        self.chunk_rows
    }

    fn shape(&self, weights: u32) -> TuningShape {
        let rows = (weights / self.columns).clamp(1, self.rows);
        TuningShape(self.format, [rows as usize, self.columns as usize])
    }

    /// A step of several products of the same matrix.
    fn plan(
        &self,
        resources: &mut Resources<'_>,
        rows: u32,
        products: usize,
        trial: Trial,
    ) -> Plan {
        let matrix = resources.weight_matrix("tuning", rows, self.columns);
        let mut plan = PlanBuilder::new(resources, trial.rows);
        let x = plan.input(if trial.rows == 1 { Rows::One } else { Rows::Step }, self.columns);
        let mut y = x;
        for _ in 0..products {
            y = plan.matmul(matrix, x);
        }
        let mut plan = plan.finish(y);
        plan.use_strategy(trial.strategy);
        plan.use_tiling(self.tiling);
        plan
    }

    /// Key of the record: adapter, CPU, engine version, format, and a hash of the shaders that are
    /// compared.
    pub(super) fn key(&self, gpu: &Gpu, query: &TuningQuery) -> Result<String> {
        let shape = self.shape(GPU_MATRIX_WEIGHTS);
        let mut hash = DefaultHasher::new();
        let decode = query.strategies.iter().map(|it| Trial { rows: 1, strategy: *it });
        let prefill = Trial { rows: self.chunk_rows, strategy: MatvecStrategy::default() };
        for trial in decode.chain(query.includes_prefill.then_some(prefill)) {
            let mut resources = Resources::new(&shape, u64::MAX);
            let plan = self.plan(&mut resources, shape.1[0] as u32, 1, trial);
            let kernels = plan.kernels.iter().map(|planned| &planned.kernel);
            format!("{:?}", PipelineText::of(kernels)?).hash(&mut hash);
        }
        let (report, version) = (&gpu.report, env!("CARGO_PKG_VERSION"));
        let adapter = format!("{} | {} | {}", report.name, report.driver, report.interface);
        let cpu = format!("{} × {}", self.cpu_variant.name(), self.threads.count());
        let format = self.format.name();
        Ok(format!("{adapter} | {cpu} | {version} | {format} | {:016x}", hash.finish()))
    }

    /// Measures what a query asks for. If strategies take too long, the last ones are left out.
    pub(super) async fn measure(&self, gpu: &Rc<Gpu>, query: &TuningQuery) -> Result<TuningRecord> {
        let mut record = TuningRecord::new(self.measure_strategies(gpu, query).await?);
        let first = record.measurements.first().map(|it| it.strategy);
        let best = record.best().map(|it| it.strategy);
        if best != first {
            // The machine may have been busy for a moment: the best must be faster twice.
            let compared = [first, best];
            let both = record.measurements.iter_mut();
            for measurement in both.filter(|it| compared.contains(&Some(it.strategy))) {
                let trial = Trial { rows: 1, strategy: measurement.strategy };
                let again = self.ms_per_gb(Some(gpu), trial).await?;
                measurement.ms_per_gb = measurement.ms_per_gb.min(again);
            }
        }
        let mut trial = Trial { rows: 1, strategy: MatvecStrategy::default() };
        if query.includes_cpu {
            record.cpu_ms_per_gb = Some(self.ms_per_gb(None, trial).await?);
        }
        if query.includes_prefill && record.is_cpu_faster() {
            trial.rows = self.chunk_rows;
            record.prefill = Some(PrefillMeasurement {
                gpu_ms_per_gb: self.ms_per_gb(Some(gpu), trial).await?,
                cpu_ms_per_gb: self.ms_per_gb(None, trial).await?,
                handover_ms_per_gb: handover_ms_per_gb(gpu, &self.shape(GPU_MATRIX_WEIGHTS))
                    .await?,
            });
        }
        Ok(record)
    }

    async fn measure_strategies(
        &self,
        gpu: &Rc<Gpu>,
        query: &TuningQuery,
    ) -> Result<Vec<Measurement>> {
        let started = Instant::now();
        let mut measurements = Vec::new();
        for strategy in &query.strategies {
            if !measurements.is_empty() && milliseconds(started) > MAX_STRATEGIES_MS {
                break;
            }
            match self.ms_per_gb(Some(gpu), Trial { rows: 1, strategy: *strategy }).await {
                Ok(ms_per_gb) => measurements.push(Measurement { strategy: *strategy, ms_per_gb }),
                // Some drivers cannot compile every shader: skip the strategy if others remain.
                Err(error) if query.strategies.len() == 1 || gpu.check().is_err() => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        Ok(measurements)
    }

    /// Milliseconds of a row for each 10⁹ bytes of weights, on the GPU if one is given.
    async fn ms_per_gb(&self, gpu: Option<&Rc<Gpu>>, trial: Trial) -> Result<f64> {
        let weights = if gpu.is_some() { GPU_MATRIX_WEIGHTS } else { CPU_MATRIX_WEIGHTS };
        let shape = self.shape(weights);
        let most = if trial.rows == 1 { MAX_DECODE_PRODUCTS } else { MAX_PREFILL_PRODUCTS };
        let mut products = FIRST_PRODUCTS;
        loop {
            let (ms, bytes) = self.difference(&shape, products, gpu, trial).await?;
            if ms >= CLEAR_MS || products >= most {
                return Ok(ms / bytes as f64 * 1e9 / f64::from(trial.rows));
            }
            // Aims at twice the required difference, with at most 16 times the products.
            let factor = (2.0 * CLEAR_MS / ms).clamp(2.0, 16.0);
            products = most.min((products as f64 * factor) as usize);
        }
    }

    /// Difference between a step of several products and a step of one product, in milliseconds and
    /// in bytes of weights read.
    async fn difference(
        &self,
        shape: &TuningShape,
        products: usize,
        gpu: Option<&Rc<Gpu>>,
        trial: Trial,
    ) -> Result<(f64, u64)> {
        let TuningShape(format, [rows, columns]) = *shape;
        let max_binding_bytes = gpu.map_or(u64::MAX, |gpu| gpu.report.max_bound_bytes());
        let mut resources = Resources::new(shape, max_binding_bytes);
        let mut plan = |count| self.plan(&mut resources, rows as u32, count, trial);
        let purpose = trial.purpose();
        let plans = [
            RegisteredPlan { index: 0, purpose, plan: plan(1) },
            RegisteredPlan { index: 1, purpose, plan: plan(products) },
        ];
        let slots = assign_slots(&plans.each_ref().map(|entry| &entry.plan));
        let allocated = gpu.map_or(0, |gpu| gpu.allocated_bytes());
        let mut executor = match gpu {
            Some(gpu) => {
                let words = plans[0].plan.logits.words(trial.rows);
                let gpu = GpuExecutor::new(gpu.clone(), &resources, slots, words).await?;
                Executor::Gpu(Box::new(gpu))
            }
            None => {
                let cpu = CpuExecutor::new(&resources, slots, self.cpu_variant)?;
                Executor::Cpu(Box::new(cpu.with_threads(&self.threads.start().await)))
            }
        };
        let stored = vec![0; format.row_bytes(columns)? * rows];
        executor.upload_rows(&resources.matrices()[0], 0, 0, &stored)?;
        let least = least_ms(&mut executor, &plans, trial.rows).await;
        if let Some(gpu) = gpu {
            gpu.freed(gpu.allocated_bytes() - allocated);
        }
        let [one, several] = least?;
        let [one_bytes, several_bytes] = plans.each_ref().map(|entry| entry.plan.weight_bytes());
        Ok(((several - one).max(0.0), several_bytes - one_bytes))
    }
}

/// Milliseconds of the fastest run of each plan.
async fn least_ms(
    executor: &mut Executor,
    plans: &[RegisteredPlan; 2],
    rows: u32,
) -> Result<[f64; 2]> {
    for entry in plans {
        executor.prepare(entry.purpose, &entry.plan).await?;
    }
    let mut least = [f64::INFINITY; 2];
    for run in 0..=RUNS {
        for entry in plans {
            let started = Instant::now();
            executor.run(entry, Step { position: 0, rows }, &[], true).await?;
            if run > 0 {
                least[entry.index] = least[entry.index].min(milliseconds(started));
            }
        }
    }
    Ok(least)
}
