//! Runs plans on the GPU. All buffers, pipelines and bind groups are created at load; a step
//! encodes the prepared kernels and submits once. For a prefill chunk the host writes the `Step`
//! uniform and the token ids; for a step after a token sampled on the GPU, the GPU wrote them.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use web_time::Instant;

use super::counters::StepCounters;
use super::device::Gpu;
use super::pipeline::{Pipeline, PipelineCache};
use super::readback::{Fence, Mapping};
use super::upload::{Part, Upload};
use crate::error::{Error, Result};
use crate::kernels::{Activation, Buffer, Kernel, SampledToken, Step};
use crate::plan::{MatrixInfo, Plan, Resources, SharedRole, Slots};

/// A kernel with its pipeline and bind groups, ready to be encoded.
pub(super) struct PreparedKernel {
    kernel: Kernel,
    pipeline: Rc<Pipeline>,
    groups: Vec<wgpu::BindGroup>,
}

/// A model's buffers and prepared plans on the GPU.
pub struct GpuExecutor {
    /// The device.
    pub gpu: Rc<Gpu>,
    /// Weight matrices, in parts.
    matrices: Vec<Vec<Part>>,
    /// Shared buffers.
    shared: Vec<wgpu::Buffer>,
    /// Memory of scratch buffers.
    slots: Vec<wgpu::Buffer>,
    /// Slot of each scratch buffer, per plan.
    slot_of: Vec<Vec<u32>>,
    /// The `Step` uniform.
    step: wgpu::Buffer,
    /// Mappable buffer for readback.
    staging: wgpu::Buffer,
    /// Indices of the shared buffers that carry a sequence's state.
    state: Vec<usize>,
    /// Index of the shared buffer of token ids.
    tokens: Option<usize>,
    pub(super) plans: Vec<Vec<PreparedKernel>>,
    pipelines: PipelineCache,
    upload: Upload,
    /// Mappable buffers for the readback of sampled tokens, used in turn; the first is in use.
    sample_staging: VecDeque<wgpu::Buffer>,
    /// Readbacks of sampled tokens that the host has not waited for, oldest first.
    samples_in_flight: VecDeque<Mapping>,
    /// Fence after the last submitted chunk of a prompt.
    chunk: Option<Fence>,
    /// Counters of the last step.
    pub counters: StepCounters,
    /// One-token steps since [`Self::forget_samples`], and the microseconds to encode them.
    encoded: (u32, f64),
}

/// Largest number of sampled tokens whose readbacks can be pending.
pub const MAX_SAMPLES_IN_FLIGHT: usize = 4;

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::COPY_SRC);

impl GpuExecutor {
    /// Allocates the buffers of resources and plans; weights are yet to be written.
    /// `out-of-memory` if there is no room.
    pub async fn new(
        gpu: Rc<Gpu>,
        resources: &Resources<'_>,
        slots: Slots,
        staging_words: u64,
    ) -> Result<Self> {
        gpu.checked(|| Ok(Self::allocate(gpu.clone(), resources, slots, staging_words))).await
    }

    fn allocate(gpu: Rc<Gpu>, resources: &Resources<'_>, slots: Slots, staging_words: u64) -> Self {
        let matrix = |matrix: &MatrixInfo| {
            let plane = |bytes| gpu.buffer(&matrix.name(), bytes, STORAGE);
            let part =
                |part| Part { planes: matrix.plane_bytes(part).into_iter().map(plane).collect() };
            (0..matrix.part_count()).map(part).collect()
        };
        let matrices = resources.matrices().iter().map(matrix).collect();
        let words = |name: &str, words: u64| gpu.buffer(name, words * 4, STORAGE);
        let shared =
            resources.shared().iter().map(|buffer| words(&buffer.name, buffer.words)).collect();
        let scratch = slots.words.iter().map(|count| words("scratch", *count)).collect();
        let uniform = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let mappable = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        Self {
            matrices,
            shared,
            slots: scratch,
            slot_of: slots.of,
            step: gpu.buffer("step", size_of::<Step>() as u64, uniform),
            staging: gpu.buffer("staging", staging_words * 4, mappable),
            state: resources.state_buffers().map(|(index, _)| index).collect(),
            tokens: resources.shared().iter().position(|buffer| buffer.role == SharedRole::Tokens),
            plans: Vec::new(),
            pipelines: PipelineCache::default(),
            upload: Upload::default(),
            sample_staging: (0..MAX_SAMPLES_IN_FLIGHT)
                .map(|_| gpu.buffer("token", size_of::<SampledToken>() as u64, mappable))
                .collect(),
            samples_in_flight: VecDeque::new(),
            chunk: None,
            counters: StepCounters::default(),
            encoded: (0, 0.0),
            gpu,
        }
    }

    /// Compiles a plan's kernels and creates its bind groups. Plans are prepared in the order in
    /// which their slots were assigned. `internal` if a shader is invalid.
    pub async fn prepare(&mut self, plan: &Plan) -> Result<()> {
        let gpu = self.gpu.clone();
        let prepare =
            || plan.kernels.iter().map(|planned| self.prepare_kernel(&planned.kernel)).collect();
        let prepared = gpu.checked(prepare).await?;
        self.plans.push(prepared);
        Ok(())
    }

    /// Takes the place of [`Self::prepare`] for a plan that does not run on the GPU.
    pub fn prepare_none(&mut self) {
        self.plans.push(Vec::new());
    }

    fn prepare_kernel(&mut self, kernel: &Kernel) -> Result<PreparedKernel> {
        let pipeline = self.pipelines.get(&self.gpu, kernel)?;
        let mut groups = vec![vec![&self.step]];
        let plan = self.plans.len();
        groups[0].extend(kernel.bindings().iter().map(|binding| self.buffer(plan, binding.buffer)));
        if let Some(matrix) = kernel.matrix() {
            let part = &self.matrices[usize::from(matrix.matrix)][usize::from(matrix.part)];
            groups.push(part.planes.iter().collect());
        }
        let group =
            |(layout, buffers): (_, &Vec<_>)| self.gpu.bind_group(kernel.name(), layout, buffers);
        let groups = pipeline.layouts.iter().zip(&groups).map(group).collect();
        Ok(PreparedKernel { kernel: kernel.clone(), pipeline, groups })
    }

    /// The GPU buffer behind a plan's buffer.
    fn buffer(&self, plan: usize, buffer: Buffer) -> &wgpu::Buffer {
        match buffer {
            Buffer::Scratch(index) => &self.slots[self.slot_of[plan][usize::from(index)] as usize],
            Buffer::Shared(index) => &self.shared[usize::from(index)],
        }
    }

    /// Number of compiled pipelines.
    pub fn pipeline_count(&self) -> usize {
        self.pipelines.len()
    }

    /// Repacks stored rows of a matrix, from `first_row` on, and writes them to its planes.
    pub fn upload_rows(
        &mut self,
        matrix: &MatrixInfo,
        index: usize,
        first_row: u32,
        stored: &[u8],
    ) -> Result<()> {
        self.upload.rows(&self.gpu, &self.matrices[index], matrix, first_row, stored)
    }

    /// Waits until all uploads have left host memory.
    pub async fn flush(&self) -> Result<()> {
        self.gpu.finish().await
    }

    /// Writes a shared buffer from word `first` on.
    pub fn write_shared(&self, index: usize, first: u64, words: &[f32]) {
        self.gpu.write(&self.shared[index], first * 4, bytemuck::cast_slice(words));
    }

    /// Copies shared buffers to others of the same size, after the submitted steps.
    pub fn copy_shared(&self, copies: impl IntoIterator<Item = (usize, usize)>) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for (from, to) in copies {
            let (from, to) = (&self.shared[from], &self.shared[to]);
            encoder.copy_buffer_to_buffer(from, 0, to, 0, from.size());
        }
        self.gpu.submit(encoder.finish());
    }

    /// Zeroes the sequence's state: KV caches and recurrent state.
    pub fn clear_state(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for index in &self.state {
            encoder.clear_buffer(&self.shared[*index], 0, None);
        }
        self.gpu.submit(encoder.finish());
    }

    /// Writes the step's token ids.
    pub fn write_tokens(&self, tokens: &[u32]) {
        if let Some(index) = self.tokens {
            self.gpu.write(&self.shared[index], 0, bytemuck::cast_slice(tokens));
        }
    }

    /// Writes the `Step` uniform: position and row count of the next step.
    pub fn write_step(&self, step: Step) {
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(&step));
    }

    /// Submits the kernels `range` of a plan, and a copy of the activation `result`, if any, which
    /// [`Self::result`] then reads.
    pub fn run(
        &mut self,
        plan: usize,
        range: Range<usize>,
        step: Step,
        result: Option<Activation>,
    ) {
        self.write_step(step);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(&mut encoder, None, &self.plans[plan][range], step);
        if let Some(result) = result {
            let bytes = result.words(step.rows) * 4;
            let source = self.buffer(plan, result.buffer);
            encoder.copy_buffer_to_buffer(source, 0, &self.staging, 0, bytes);
            self.gpu.count(|counters| counters.readback_bytes += bytes);
        }
        self.gpu.submit(encoder.finish());
        self.counters = self.gpu.take_counters();
    }

    /// Encodes one compute pass over the kernels.
    pub(super) fn encode<'a>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
        kernels: impl IntoIterator<Item = &'a PreparedKernel>,
        step: Step,
    ) {
        let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
        let mut pass = encoder.begin_compute_pass(&descriptor);
        let mut dispatches = 0;
        for prepared in kernels {
            let [x, y, z] = prepared.kernel.workgroups(step);
            if [x, y, z].contains(&0) {
                continue;
            }
            pass.set_pipeline(&prepared.pipeline.pipeline);
            for (index, group) in prepared.groups.iter().enumerate() {
                pass.set_bind_group(index as u32, group, &[]);
            }
            pass.dispatch_workgroups(x, y, z);
            dispatches += 1;
        }
        self.gpu.count(|counters| counters.dispatches += dispatches);
    }

    /// Waits until the GPU has done all submitted chunks but the last one, so that an abort waits
    /// for at most one chunk.
    pub async fn keep_up(&mut self) -> Result<()> {
        let fence = self.gpu.fence();
        match self.chunk.replace(fence) {
            Some(before) => self.gpu.reach(before).await,
            None => Ok(()),
        }
    }

    /// Submits a step of `plan`, whose token ids and position are on the GPU already, followed by
    /// the kernels `sampling_kernels` of the sampling plan, which is the last prepared plan. They
    /// write the buffer `sampled_token`, which is copied to the `Step` uniform for the next step,
    /// and read back for [`Self::sampled_token`]. `step` is the step that the host expects; on the
    /// GPU it has no rows if an earlier token was a stop token.
    pub fn step_and_sample(
        &mut self,
        plan: usize,
        sampling_kernels: Range<usize>,
        sampled_token: Buffer,
        step: Step,
    ) {
        let started = Instant::now();
        let last = self.plans.len() - 1;
        let kernels = self.plans[plan].iter().chain(&self.plans[last][sampling_kernels]);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(&mut encoder, None, kernels, step);
        self.sample_staging.rotate_left(1);
        let (source, staging) = (self.buffer(last, sampled_token), &self.sample_staging[0]);
        let bytes = size_of::<SampledToken>();
        encoder.copy_buffer_to_buffer(source, 0, &self.step, 0, size_of::<Step>() as u64);
        encoder.copy_buffer_to_buffer(source, 0, staging, 0, bytes as u64);
        self.gpu.count(|counters| counters.readback_bytes += bytes as u64);
        let commands = encoder.finish();
        if step.rows == 1 {
            self.encoded.0 += 1;
            self.encoded.1 += started.elapsed().as_secs_f64() * 1e6;
        }
        let submission = self.gpu.submit(commands);
        self.samples_in_flight.push_back(self.gpu.map(staging, bytes / 4, Some(submission)));
        self.counters = self.gpu.take_counters();
        self.counters.encode_us = self.encoded.1 / f64::from(self.encoded.0.max(1));
    }

    /// Number of submitted steps whose sampled tokens the host has not read.
    pub fn samples_in_flight(&self) -> usize {
        self.samples_in_flight.len()
    }

    /// Waits for the oldest token in flight. Errors: `device-lost`, or `internal` if none is in
    /// flight.
    pub async fn sampled_token(&mut self) -> Result<SampledToken> {
        let mapping = self
            .samples_in_flight
            .pop_front()
            .ok_or_else(|| Error::internal("sampled token: found none in flight, expected one"))?;
        let words = self.gpu.mapped(mapping).await?;
        bytemuck::try_pod_read_unaligned(bytemuck::cast_slice(&words))
            .map_err(|error| Error::internal(format!("reading a token: {error}")))
    }

    /// Discards the tokens in flight and returns their number.
    pub fn forget_samples(&mut self) -> usize {
        self.encoded = (0, 0.0);
        self.gpu.take_counters();
        let count = self.samples_in_flight.len();
        self.samples_in_flight.drain(..).for_each(Mapping::cancel);
        count
    }

    /// Reads the rows that the last [`Self::run`] copied, without the padding of their strides.
    pub async fn result(&self, result: Activation, step: Step) -> Result<Vec<f32>> {
        let words = self.gpu.read(&self.staging, result.words(step.rows) as usize).await?;
        if result.width == result.stride {
            return Ok(words);
        }
        let rows = words.chunks_exact(result.stride as usize);
        Ok(rows.flat_map(|row| &row[..result.width as usize]).copied().collect())
    }

    /// Reads ranges of words of shared buffers and concatenates them, in as many readbacks as the
    /// size of the staging buffer requires.
    pub async fn read_parts(&self, parts: &[(usize, Range<u64>)]) -> Result<Vec<f32>> {
        let capacity = self.staging.size() / 4;
        let mut all = Vec::new();
        let mut parts = parts.iter().cloned();
        let mut next = parts.next();
        while next.is_some() {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let mut filled = 0;
            while let Some((index, words)) = next.take() {
                let taken = (words.end - words.start).min(capacity - filled);
                let (from, source) = (words.start * 4, &self.shared[index]);
                encoder.copy_buffer_to_buffer(source, from, &self.staging, filled * 4, taken * 4);
                filled += taken;
                if words.start + taken < words.end {
                    next = Some((index, words.start + taken..words.end));
                    break;
                }
                next = parts.next();
            }
            self.gpu.submit(encoder.finish());
            all.extend(self.gpu.read(&self.staging, filled as usize).await?);
        }
        Ok(all)
    }

    /// Reads all words of a buffer: slow, for comparisons with the CPU reference.
    pub async fn read(&self, plan: usize, buffer: Buffer) -> Result<Vec<f32>> {
        let source = self.buffer(plan, buffer);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.gpu.buffer("comparison", source.size(), usage);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &staging, 0, source.size());
        self.gpu.submit(encoder.finish());
        self.gpu.read(&staging, (source.size() / 4) as usize).await
    }

    /// Writes the first words of a buffer: slow, for comparisons with the CPU reference.
    pub fn write(&self, plan: usize, buffer: Buffer, words: &[f32]) {
        self.gpu.write(self.buffer(plan, buffer), 0, bytemuck::cast_slice(words));
    }
}
