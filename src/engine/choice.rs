//! GPU or CPU, and by which variant, by measuring: a product of the model's own, before any weight is read.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use web_time::Instant;

use super::executor::Executor;
use super::load::{CHUNK_PLAN, LoadOptions, Planned, STEP_PLAN};
use super::milliseconds;
use super::shared::{state_bytes, state_ms_per_gb};
use super::verdict::{self, PromptRates, Question, Rate, Verdict};
use crate::cpu::{CpuExecutor, CpuVariant, StartThreads};
use crate::error::Result;
use crate::formats::Format;
use crate::gpu::{Gpu, GpuExecutor, PipelineText};
use crate::kernels::{Rows, Step, Tile, Variant};
use crate::plan::{Plan, PlanBuilder, Resources, TensorShapes, assign_slots};

/// Weights of the matrix that is measured on a GPU: as in the model's own, reading them must count, and not
/// what a dispatch takes besides, by which a software adapter would choose the variant of the most workgroups.
const WEIGHTS: u32 = 1 << 22;
/// On the CPU: enough for threads to share out.
const WEIGHTS_OF_CPU: u32 = 1 << 20;
/// Products in the longer of the two steps that are compared: what both take besides is not in the
/// difference, which must stand out from what a browser adds to a read-back, milliseconds now and then,
/// and from the tenths of a millisecond in which its clock tells time. If it does not, more.
const PRODUCTS: usize = 3;
const MAX_PRODUCTS: usize = 512;
const MAX_PRODUCTS_OF_CHUNKS: usize = 32;
const CLEAR_MS: f64 = 2.0;
/// How often each step is measured, after one that is not; the quickest counts.
const RUNS: usize = 3;
/// After so long no further variant is tried: on a software adapter compiling one may take as long.
const TRYING_MS: f64 = 100.0;
/// What a prompt and an answer have, where the two count.
const PROMPT: u32 = 256;
const ANSWER: u32 = 64;
/// How much quicker both together must be than the better one alone, to be worth memory for the weights twice.
const WORTH_TWICE: f64 = 1.5;

/// Which executor to use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceChoice {
    /// The quicker of the two, as a short measurement says, or both if that is much quicker; the CPU where there
    /// is no GPU.
    #[default]
    Auto,
    /// The GPU; `no-gpu` without one.
    #[serde(alias = "webgpu")]
    Gpu,
    /// The CPU.
    Cpu,
    /// Both, with the weights twice: the GPU for prompts, the CPU for what has one row; `no-gpu` without one.
    Shared,
}

/// What a token is predicted to take by a variant: time that goes by the model's bytes of weights.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct VariantTime {
    /// How products of one row are computed.
    pub variant: Variant,
    /// In milliseconds.
    pub token_ms: f64,
}

/// What a token of the model is predicted to take.
#[derive(Debug, Clone, Serialize)]
pub struct Prediction {
    /// On the GPU, in milliseconds.
    pub gpu_token_ms: f64,
    /// On the CPU, in milliseconds, if there was a choice between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_token_ms: Option<f64>,
    /// Of a prompt, where a token is quicker on the CPU and a prompt may not be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptPrediction>,
    /// By each variant that was tried, in that order.
    pub variants: Vec<VariantTime>,
    /// Whether this was measured before an earlier load.
    pub cached: bool,
}

/// What a prompt is predicted to take.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PromptPrediction {
    /// Each of its tokens on the GPU, in milliseconds.
    pub gpu_token_ms: f64,
    /// On the CPU.
    pub cpu_token_ms: f64,
    /// What the state takes from one to the other and back, for a prompt of 256 tokens and an answer of 64.
    pub hand_over_ms: f64,
}

impl Prediction {
    /// None where no variant could be measured.
    fn of(verdict: &Verdict, planned: &Planned<'_>, cached: bool) -> Option<Self> {
        let weight_bytes = planned.plans[STEP_PLAN].weight_bytes();
        let token_ms = |ms_per_gb: f64| ms_per_gb * weight_bytes as f64 / 1e9;
        let state_bytes = |positions| state_bytes(&planned.resources, positions);
        let prompt = |rates: PromptRates| PromptPrediction {
            gpu_token_ms: token_ms(rates.gpu_ms_per_gb),
            cpu_token_ms: token_ms(rates.cpu_ms_per_gb),
            hand_over_ms: rates.state_ms_per_gb
                * (state_bytes(PROMPT) + state_bytes(ANSWER)) as f64
                / 1e9,
        };
        let time =
            |rate: &Rate| VariantTime { variant: rate.variant, token_ms: token_ms(rate.ms_per_gb) };
        let variants: Vec<_> = verdict.rates.iter().map(time).collect();
        let gpu_token_ms = token_ms(verdict.chosen()?.ms_per_gb);
        let cpu_token_ms = verdict.cpu_ms_per_gb.map(token_ms);
        Some(Self {
            gpu_token_ms,
            cpu_token_ms,
            prompt: verdict.prompt.map(prompt),
            variants,
            cached,
        })
    }

    /// Milliseconds to an answer on the GPU, on the CPU and on both, if prompts are predicted too.
    fn answer_ms(&self) -> Option<[f64; 3]> {
        let (prompt, cpu_token_ms) = (self.prompt?, self.cpu_token_ms?);
        let answer_ms = |prompt_token_ms: f64, token_ms: f64| {
            f64::from(PROMPT) * prompt_token_ms + f64::from(ANSWER) * token_ms
        };
        let gpu_ms = answer_ms(prompt.gpu_token_ms, self.gpu_token_ms);
        let cpu_ms = answer_ms(prompt.cpu_token_ms, cpu_token_ms);
        Some([gpu_ms, cpu_ms, answer_ms(prompt.gpu_token_ms, cpu_token_ms) + prompt.hand_over_ms])
    }

    /// What to take, and why not the GPU if it is not.
    fn choose(&self, adapter: &str) -> (DeviceChoice, Option<String>) {
        if let Some([gpu_ms, cpu_ms, both_ms]) = self.answer_ms() {
            return if both_ms * WORTH_TWICE < gpu_ms.min(cpu_ms) {
                (DeviceChoice::Shared, None)
            } else if cpu_ms < gpu_ms {
                let what = format!("an answer of {ANSWER} tokens to a prompt of {PROMPT}");
                let times = format!("{cpu_ms:.0} ms on it, {gpu_ms:.0} ms on {adapter}");
                (DeviceChoice::Cpu, Some(format!("{what} is predicted to take {times}")))
            } else {
                (DeviceChoice::Gpu, None)
            };
        }
        match (self.gpu_token_ms, self.cpu_token_ms) {
            (gpu_ms, Some(cpu_ms)) if gpu_ms > cpu_ms => {
                let times = format!("{cpu_ms:.0} ms on it, {gpu_ms:.0} ms on {adapter}");
                (DeviceChoice::Cpu, Some(format!("a token is predicted to take {times}")))
            }
            _ => (DeviceChoice::Gpu, None),
        }
    }
}

/// What a model runs on, and how.
pub(super) struct Choice {
    /// The GPU where it stays.
    pub(super) gpu: Option<Rc<Gpu>>,
    /// Whether the CPU shares the work with it.
    pub(super) is_shared: bool,
    pub(super) variant: Variant,
    /// By what that was chosen, if there was a choice.
    pub(super) predicted: Option<Prediction>,
    /// Why the GPU is not taken, if so.
    pub(super) slower: Option<String>,
    /// What is to be kept for later loads, if something was measured.
    pub(super) verdicts: Option<String>,
}

impl Choice {
    /// Chooses for a model that was planned for that GPU, by a kept verdict if there is one. Variants are
    /// compared where verdicts are kept: else each load would take as long.
    pub(super) async fn of(
        options: &LoadOptions,
        gpu: Option<Rc<Gpu>>,
        planned: &Planned<'_>,
    ) -> Result<Self> {
        let (variant, is_shared) = (planned.variant, planned.is_shared);
        let settled =
            |gpu| Self { gpu, is_shared, variant, predicted: None, slower: None, verdicts: None };
        if is_shared {
            // Products of one row are the CPU's, and whether it rounds inputs is its own matter.
            return Ok(Self { variant: variant.exact(), ..settled(gpu) });
        }
        let (Some(gpu), Some(sample)) = (&gpu, Sample::of(planned, &options.threads)) else {
            return Ok(settled(gpu));
        };
        let mut variants = vec![variant];
        if options.variant.is_none() && options.verdicts.is_some() {
            let others = planned.variants(&gpu.report).filter(|it| *it != variant);
            variants.extend(others.filter(|it| it.of(sample.format) == *it));
        }
        let of_cpu = options.device == DeviceChoice::Auto && planned.fits_cpu(options);
        // A software adapter is the same processor, and compiling for it takes a second.
        let of_prompt = of_cpu && gpu.report.kind != "cpu" && sample.chunk > 1;
        if variants.len() == 1 && !of_cpu {
            return Ok(settled(Some(gpu.clone())));
        }
        let question = Question { variants, of_cpu, of_prompt };
        let kept = options.verdicts.as_deref().unwrap_or_default();
        let key = sample.key(gpu, &question)?;
        let found = verdict::find(kept, &key, &question);
        let cached = found.is_some();
        let verdict = match found {
            Some(verdict) => verdict,
            None => sample.measure(gpu, &question).await?,
        };
        let Some(mut predicted) = Prediction::of(&verdict, planned, cached) else {
            return Ok(settled(Some(gpu.clone())));
        };
        predicted.cpu_token_ms.take_if(|_| !of_cpu);
        let verdicts = if cached { None } else { verdict::with(kept, key, &verdict) };
        let (device, slower) = predicted.choose(&gpu.report.name);
        // Whether the CPU rounds inputs is its own matter.
        let variant = match (device, verdict.chosen()) {
            (DeviceChoice::Gpu, Some(rate)) => rate.variant,
            _ => variant.exact(),
        };
        let gpu = if device == DeviceChoice::Cpu { None } else { Some(gpu.clone()) };
        let is_shared = device == DeviceChoice::Shared;
        Ok(Self { gpu, is_shared, variant, predicted: Some(predicted), slower, verdicts })
    }
}

/// A matrix like the model's: in the format that most of its weights have, as wide as the largest of
/// these, of as many rows at most.
struct Sample {
    format: Format,
    rows: u32,
    columns: u32,
    /// Rows of a chunk of a prompt, and how its products are computed.
    chunk: u32,
    tile: Tile,
    cpu_variant: CpuVariant,
    threads: StartThreads,
}

/// Rows of inputs, and how products of one are computed.
#[derive(Clone, Copy)]
struct Inputs {
    rows: u32,
    variant: Variant,
}

/// Its shape where so many rows of it are measured.
struct SampleShape(Format, [usize; 2]);

impl TensorShapes for SampleShape {
    fn tensor(&self, _: &str) -> Option<(Format, &[usize])> {
        Some((self.0, &self.1))
    }
}

impl Sample {
    fn of(planned: &Planned<'_>, threads: &StartThreads) -> Option<Self> {
        let matrices = planned.resources.matrices();
        let weights = |format: Format| -> u64 {
            let held = matrices.iter().filter(|matrix| matrix.format == format);
            held.map(|matrix| u64::from(matrix.rows) * u64::from(matrix.columns)).sum()
        };
        let format =
            matrices.iter().map(|matrix| matrix.format).max_by_key(|format| weights(*format))?;
        let held = matrices.iter().filter(|matrix| matrix.format == format);
        let matrix =
            held.max_by_key(|matrix| u64::from(matrix.rows) * u64::from(matrix.columns))?;
        let (rows, columns) = (matrix.rows, matrix.columns);
        let Planned { tile, cpu_variant, .. } = *planned;
        let (chunk, threads) = (planned.plans[CHUNK_PLAN].capacity, threads.clone());
        Some(Self { format, rows, columns, chunk, tile, cpu_variant, threads })
    }

    fn shape(&self, weights: u32) -> SampleShape {
        let rows = (weights / self.columns).clamp(1, self.rows);
        SampleShape(self.format, [rows as usize, self.columns as usize])
    }

    /// A step of so many products.
    fn plan(
        &self,
        resources: &mut Resources<'_>,
        rows: u32,
        products: usize,
        inputs: Inputs,
    ) -> Plan {
        let matrix = resources.weight_matrix("sample", rows, self.columns);
        let mut plan = PlanBuilder::new(resources, inputs.rows);
        let x = plan.input(if inputs.rows == 1 { Rows::One } else { Rows::Step }, self.columns);
        let mut y = x;
        for _ in 0..products {
            y = plan.matmul(matrix, x);
        }
        let mut plan = plan.finish(y);
        plan.vary(inputs.variant);
        plan.tile(self.tile);
        plan
    }

    /// What a verdict goes by: the adapter, the engine, and the very kernels that are compared.
    fn key(&self, gpu: &Gpu, question: &Question) -> Result<String> {
        let shape = self.shape(WEIGHTS);
        let mut hash = DefaultHasher::new();
        let chunk =
            question.of_prompt.then_some(Inputs { rows: self.chunk, variant: Variant::default() });
        let tokens = question.variants.iter().map(|variant| Inputs { rows: 1, variant: *variant });
        for inputs in tokens.chain(chunk) {
            let mut resources = Resources::new(&shape, u64::MAX);
            let plan = self.plan(&mut resources, shape.1[0] as u32, 1, inputs);
            let kernels = plan.kernels.iter().map(|planned| &planned.kernel);
            format!("{:?}", PipelineText::of(kernels)?).hash(&mut hash);
        }
        let (report, version, format) =
            (&gpu.report, env!("CARGO_PKG_VERSION"), self.format.name());
        let adapter = format!("{} | {} | {}", report.name, report.driver, report.interface);
        let cpu = format!("{} × {}", self.cpu_variant.name(), self.threads.count());
        Ok(format!("{adapter} | {cpu} | {version} | {format} | {:016x}", hash.finish()))
    }

    /// What products take by each variant, until that has taken long enough, and what else is asked.
    async fn measure(&self, gpu: &Rc<Gpu>, question: &Question) -> Result<Verdict> {
        let started = Instant::now();
        let mut rates = Vec::new();
        for variant in &question.variants {
            if !rates.is_empty() && milliseconds(started) > TRYING_MS {
                break;
            }
            match self.ms_per_gb(Some(gpu), Inputs { rows: 1, variant: *variant }).await {
                Ok(ms_per_gb) => rates.push(Rate { variant: *variant, ms_per_gb }),
                // Some drivers cannot compile everything: another variant is in use then.
                Err(error) if question.variants.len() == 1 || gpu.check().is_err() => {
                    return Err(error);
                }
                Err(_) => {}
            }
        }
        let mut verdict = Verdict::new(rates);
        let first = verdict.rates.first().map(|rate| rate.variant);
        let quickest = verdict.chosen().map(|rate| rate.variant);
        if quickest != first {
            // It must be quicker twice: a machine that did something else for a moment says little.
            for rate in verdict
                .rates
                .iter_mut()
                .filter(|rate| [first, quickest].contains(&Some(rate.variant)))
            {
                let again =
                    self.ms_per_gb(Some(gpu), Inputs { rows: 1, variant: rate.variant }).await?;
                rate.ms_per_gb = rate.ms_per_gb.min(again);
            }
        }
        let mut inputs = Inputs { rows: 1, variant: Variant::default() };
        if question.of_cpu {
            verdict.cpu_ms_per_gb = Some(self.ms_per_gb(None, inputs).await?);
        }
        if question.of_prompt && verdict.is_quicker_on_cpu() {
            inputs.rows = self.chunk;
            verdict.prompt = Some(PromptRates {
                gpu_ms_per_gb: self.ms_per_gb(Some(gpu), inputs).await?,
                cpu_ms_per_gb: self.ms_per_gb(None, inputs).await?,
                state_ms_per_gb: state_ms_per_gb(gpu, &self.shape(WEIGHTS)).await?,
            });
        }
        Ok(verdict)
    }

    /// Milliseconds that products of a GB of weights take for each row, on the GPU if there is one given.
    async fn ms_per_gb(&self, gpu: Option<&Rc<Gpu>>, inputs: Inputs) -> Result<f64> {
        let shape = self.shape(if gpu.is_some() { WEIGHTS } else { WEIGHTS_OF_CPU });
        let most = if inputs.rows == 1 { MAX_PRODUCTS } else { MAX_PRODUCTS_OF_CHUNKS };
        let mut products = PRODUCTS;
        loop {
            let (ms, bytes) = self.difference(&shape, products, gpu, inputs).await?;
            if ms >= CLEAR_MS || products >= most {
                return Ok(ms / bytes as f64 * 1e9 / f64::from(inputs.rows));
            }
            // Twice what is clear; where next to nothing was seen, step by step.
            let more = (2.0 * CLEAR_MS / ms).clamp(2.0, 16.0);
            products = most.min((products as f64 * more) as usize);
        }
    }

    /// Milliseconds that so many products take longer than one, and the bytes of weights that they read
    /// more.
    async fn difference(
        &self,
        shape: &SampleShape,
        products: usize,
        gpu: Option<&Rc<Gpu>>,
        inputs: Inputs,
    ) -> Result<(f64, u64)> {
        let SampleShape(format, [rows, columns]) = *shape;
        let mut resources =
            Resources::new(shape, gpu.map_or(u64::MAX, |gpu| gpu.report.max_bound_bytes()));
        let plans =
            [1, products].map(|count| self.plan(&mut resources, rows as u32, count, inputs));
        let slots = assign_slots(&plans.iter().collect::<Vec<_>>());
        let allocated = gpu.map_or(0, |gpu| gpu.allocated_bytes());
        let mut executor = match gpu {
            Some(gpu) => {
                let words = plans[0].logits.words(inputs.rows);
                Executor::Gpu(Box::new(
                    GpuExecutor::new(gpu.clone(), &resources, slots, words).await?,
                ))
            }
            None => {
                let cpu = CpuExecutor::new(&resources, slots, self.cpu_variant)?;
                Executor::Cpu(Box::new(cpu.with(&self.threads.start().await)))
            }
        };
        let stored = vec![0; format.row_bytes(columns)? * rows];
        executor.upload_rows(&resources.matrices()[0], 0, 0, &stored)?;
        let best = best(&mut executor, &plans, inputs.rows).await;
        if let Some(gpu) = gpu {
            gpu.freed(gpu.allocated_bytes() - allocated);
        }
        let [one, all] = best?;
        Ok(((all - one).max(0.0), plans[1].weight_bytes() - plans[0].weight_bytes()))
    }
}

/// The quickest run of each plan, in milliseconds.
async fn best(executor: &mut Executor, plans: &[Plan; 2], rows: u32) -> Result<[f64; 2]> {
    for (index, plan) in plans.iter().enumerate() {
        executor.prepare(index, plan).await?;
    }
    let mut best = [f64::INFINITY; 2];
    for run in 0..=RUNS {
        for (index, plan) in plans.iter().enumerate() {
            let started = Instant::now();
            executor.run(index, plan, Step { position: 0, rows }, &[], true).await?;
            if run > 0 {
                best[index] = best[index].min(milliseconds(started));
            }
        }
    }
    Ok(best)
}
