//! Planning of a model from its headers: architecture, plans for each row count, and the layout of
//! every buffer. Nothing is allocated.

use std::collections::HashSet;

use serde::Serialize;

use super::executors::HANDOVER_WORDS;
use super::memory::{BufferPlan, Memory};
use super::options::{Backend, LoadOptions, PlanTarget, ResolvedOptions};
use super::plans::{PlanPurpose, Plans};
use crate::error::{Code, Error, Result};
use crate::gpu::{AdapterReport, MAX_SAMPLES_IN_FLIGHT};
use crate::kernels::{MatvecStrategy, Rows, Step};
use crate::models::{self, Architecture, Shape};
use crate::plan::{Plan, PlanBuilder, Resources, SamplingPlan, assign_slots, fuse, stack};
use crate::weights::Checkpoint;
use crate::weights::quantize::Target;

/// Maximum 4-byte words of an activation buffer of a prefill step: wide models get fewer rows.
const MAX_CHUNK_WORDS: u32 = 1 << 24;
/// Maximum memory of a model is this number of bytes per stored byte of its weights, plus
/// [`MAX_FIXED_BYTES`]. Real models take far less, although weights are padded and widened from 16
/// bits to 32, and the state of 4096 positions is added.
const MAX_BYTES_PER_STORED_BYTE: u64 = 4;
const MAX_FIXED_BYTES: u64 = 512 << 20;
/// Tensors that an error names.
const MAX_NAMED_TENSORS: usize = 8;

/// Cost of one decoding step, from its plan.
#[derive(Debug, Clone, Copy, Serialize)]
#[cfg_attr(feature = "typescript", derive(ts_rs::TS))]
pub struct PlannedStep {
    /// Kernels that a GPU dispatches at the last position of the context, where their number is
    /// greatest.
    pub dispatches: usize,
    /// Bytes of weights read.
    pub weight_bytes: u64,
}

/// A model planned from its headers.
pub(super) struct PlannedModel<'a> {
    /// The model's files.
    pub(super) checkpoint: &'a Checkpoint,
    /// Name of the architecture, as GGUF files spell it.
    pub(super) architecture: &'static str,
    /// Sizes of the model.
    pub(super) shape: Shape,
    /// True if the model makes embeddings of whole texts, instead of logits.
    pub(super) is_encoder: bool,
    /// Options that it was planned with.
    pub(super) options: ResolvedOptions,
    /// Plans for decode, prefill and sampling.
    pub(super) plans: Plans,
    /// Buffers of all plans.
    pub(super) buffers: BufferPlan<'a>,
}

/// A model as its architecture read it from the headers, and the architecture's name.
struct ConfiguredModel {
    architecture: &'static str,
    model: Box<dyn Architecture>,
}

impl<'a> PlannedModel<'a> {
    /// Plans the model of a checkpoint for a device. A context length that the caller did not give
    /// is shortened if its state would take far more memory than the weights.
    ///
    /// # Errors
    /// Errors of the headers and of [`ResolvedOptions::new`]; `missing-tensors`;
    /// `unsupported-format` for unknown tensors, and for a model that takes far more memory than
    /// its weights.
    pub(super) fn new(
        checkpoint: &'a Checkpoint,
        options: &LoadOptions,
        target: PlanTarget<'_>,
    ) -> Result<Self> {
        let (architecture, model) = models::read(checkpoint)?;
        let options = ResolvedOptions::new(options, checkpoint, &model.shape(), target)?;
        Self::plan(checkpoint, &ConfiguredModel { architecture, model }, options)
    }

    /// Plans the same model with other options.
    pub(super) fn with_options(&self, options: ResolvedOptions) -> Result<Self> {
        let (architecture, model) = models::read(self.checkpoint)?;
        Self::plan(self.checkpoint, &ConfiguredModel { architecture, model }, options)
    }

    fn plan(
        checkpoint: &'a Checkpoint,
        model: &ConfiguredModel,
        options: ResolvedOptions,
    ) -> Result<Self> {
        let planned = Self::at_context_length(checkpoint, model, options)?;
        let mut length = planned.proportionate_context_length()?;
        if planned.is_encoder {
            // A text is one step.
            length = length.min(planned.plans.max_rows(PlanPurpose::Prefill));
        }
        match length {
            length if length < planned.options.context_length => {
                let options = ResolvedOptions { context_length: length, ..planned.options };
                Self::at_context_length(checkpoint, model, options)
            }
            _ => Ok(planned),
        }
    }

    fn at_context_length(
        checkpoint: &'a Checkpoint,
        ConfiguredModel { architecture, model }: &ConfiguredModel,
        options: ResolvedOptions,
    ) -> Result<Self> {
        let shape = model.shape();
        let mut resources = Resources::new(checkpoint, options.max_binding_bytes)
            .quantize(options.quantize.map(Target::format))
            .cache_in(options.kv_format)
            // Samples in flight are cut off where an answer ends.
            .window_caches(options.chunk_rows.max(MAX_SAMPLES_IN_FLIGHT as u32));
        let decode = model_plan(&**model, &mut resources, 1, options.context_length, false);
        // Every plan uses the same weights, so the first plan already shows the missing ones.
        resources.check_complete(&checkpoint.name)?;
        let is_encoder = model.is_encoder();
        let chunk = if is_encoder { options.context_length } else { options.chunk_rows };
        let rows = chunk_rows(chunk, &options, &decode);
        let result_width = decode.logits.width;
        let prefill =
            model_plan(&**model, &mut resources, rows, options.context_length, options.all_logits);
        let mut plans = vec![decode, prefill];
        stack(&mut plans, &mut resources);
        for plan in &mut plans {
            plan.use_strategy(options.strategy);
            plan.use_tiling(options.tiling);
        }
        let mut sampling = SamplingPlan::new(&mut resources, result_width);
        if !options.unfused {
            plans = plans.into_iter().map(|plan| fuse(plan, &mut resources)).collect();
            if !is_encoder {
                sampling.fuse_into(&mut plans);
            }
        }
        if !is_encoder {
            resources.snapshots(options.snapshots);
        }
        resources.check_complete(&checkpoint.name)?;
        check_all_used(checkpoint, architecture, &resources)?;
        let purposes = [PlanPurpose::Decode, PlanPurpose::Prefill];
        let plans = Plans::new(purposes.into_iter().zip(plans), sampling);
        let buffers = buffer_plan(resources, &plans, is_encoder, options.backend);
        Ok(Self { checkpoint, architecture, shape, is_encoder, options, plans, buffers })
    }

    /// Strategies that the adapter has the features for.
    pub(super) fn strategies(adapter: &AdapterReport) -> impl Iterator<Item = MatvecStrategy> {
        let strategies = MatvecStrategy::ALL.into_iter();
        strategies.filter(|strategy| strategy.missing_feature(&adapter.features).is_none())
    }

    /// Cost of one decoding step.
    pub(super) fn decode_step(&self) -> PlannedStep {
        let step = Step { position: self.options.context_length - 1, rows: 1 };
        let sampling = self.plans.sampling();
        let decode = self.plans.find(PlanPurpose::Decode, 1);
        let kernels = decode.into_iter().flat_map(|entry| &entry.plan.kernels);
        let kernels = kernels.chain(&sampling.plan.kernels[sampling.kernels(false)]);
        let dispatched = kernels.filter(|planned| !planned.kernel.workgroups(step).contains(&0));
        PlannedStep {
            dispatches: dispatched.count(),
            weight_bytes: self.plans.decode_weight_bytes(),
        }
    }

    /// Memory of the executors that run the plans.
    pub(super) fn memory(&self) -> Result<Memory> {
        self.buffers.memory(self.options.backend, self.options.cpu_variant)
    }

    /// Memory of the CPU executor.
    pub(super) fn cpu_memory(&self) -> Result<Memory> {
        self.buffers.cpu_memory(self.options.cpu_variant)
    }

    /// The context length for which memory is in proportion to the stored weights: the planned one,
    /// or a shorter one if that is a default. A small file can then not allocate much memory,
    /// whatever sizes its headers state.
    ///
    /// # Errors
    /// `unsupported-format` if memory that does not depend on the context is out of proportion.
    fn proportionate_context_length(&self) -> Result<u32> {
        let sizes = self.checkpoint.tensors.values().map(|tensor| tensor.size_bytes);
        let stored = sizes.fold(0, u64::saturating_add);
        let allowed =
            stored.saturating_mul(MAX_BYTES_PER_STORED_BYTE).saturating_add(MAX_FIXED_BYTES);
        let length = self.options.context_length;
        let by_position = self.buffers.bytes_at(length);
        let needed = self.buffers.gpu_memory().sum().max(self.cpu_memory()?.sum()) - by_position;
        if needed > allowed {
            let message = format!(
                "{}: found {needed} bytes of memory for {stored} bytes of weights, expected at \
                 most {allowed}",
                self.checkpoint.name
            );
            return Err(Error::new(Code::UnsupportedFormat, message));
        }
        if self.options.is_context_length_given {
            return Ok(length);
        }
        // The longest that fits: at least `fitting`, less than `excess`.
        let (mut fitting, mut excess) = (1, length.saturating_add(1));
        while excess - fitting > 1 {
            let middle = fitting + (excess - fitting) / 2;
            let fits = needed + self.buffers.bytes_at(middle) <= allowed;
            *(if fits { &mut fitting } else { &mut excess }) = middle;
        }
        Ok(fitting)
    }
}

fn buffer_plan<'a>(
    resources: Resources<'a>,
    plans: &Plans,
    is_encoder: bool,
    backend: Backend,
) -> BufferPlan<'a> {
    let slots = assign_slots(&plans.all().map(|(_, _, plan)| plan).collect::<Vec<_>>());
    let logits = plans.model().map(|entry| entry.plan.logits.words(entry.plan.capacity));
    let states = plans.model().filter(|_| !is_encoder).filter_map(|entry| {
        entry.plan.hidden_state().map(|(_, state, _)| state.words(entry.plan.capacity))
    });
    let handover = (backend == Backend::Hybrid).then_some(HANDOVER_WORDS);
    let staging_words = logits.chain(states).chain(handover).max().unwrap_or(0);
    BufferPlan { resources, slots, staging_words }
}

/// Rows of a prefill step, given the number asked for and the decode plan of the model.
fn chunk_rows(wanted: u32, options: &ResolvedOptions, decode: &Plan) -> u32 {
    let by_row = decode.scratch.iter().filter(|activation| activation.rows == Rows::Step);
    let logits = options.all_logits.then_some(decode.logits.stride);
    let widest = by_row.map(|activation| activation.stride).chain(logits).max().unwrap_or(1);
    wanted.min((MAX_CHUNK_WORDS / widest).max(1)).min(options.context_length)
}

fn model_plan(
    model: &dyn Architecture,
    resources: &mut Resources<'_>,
    capacity: u32,
    context_length: u32,
    all_logits: bool,
) -> Plan {
    let mut plan = PlanBuilder::new(resources, capacity);
    let x = model.layers(&mut plan, context_length);
    let x = if all_logits || model.is_encoder() { x } else { plan.last_row(x) };
    let logits = model.head(&mut plan, x);
    debug_assert!(all_logits || logits.rows == Rows::One);
    plan.finish(logits)
}

/// Refuses tensors that no plan uses: the model would compute something else than its files say.
fn check_all_used(
    checkpoint: &Checkpoint,
    architecture: &str,
    resources: &Resources<'_>,
) -> Result<()> {
    let used: HashSet<&str> = resources.tensors().collect();
    let unused = checkpoint.tensors.keys().map(String::as_str);
    let is_unknown = |name: &&str| !used.contains(name) && !resources.is_left_out(name);
    let unused: Vec<_> = unused.filter(is_unknown).collect();
    if unused.is_empty() {
        return Ok(());
    }
    let (file, count) = (&checkpoint.name, unused.len());
    let named = unused.into_iter().take(MAX_NAMED_TENSORS).collect::<Vec<_>>().join(", ");
    let message =
        format!("{file}: found {count} tensors unknown to {architecture} ({named}), expected none");
    Err(Error::new(Code::UnsupportedFormat, message))
}
