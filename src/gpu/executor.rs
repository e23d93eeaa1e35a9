//! Runs plans on the GPU: every buffer, pipeline and bind group is made at load; a step encodes
//! the prepared list and submits once. The host writes the `Step` uniform and the token ids of a
//! prompt's chunks; after a token that the GPU chose itself, they are already there.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use web_time::Instant;

use super::Gpu;
use super::counted::StepCounters;
use super::pipeline::{Pipeline, PipelineCache};
use super::readback::{Fence, Mapping};
use super::upload::{Part, Upload};
use crate::error::{Error, Result};
use crate::kernels::{Activation, Buffer, Kernel, Picked, Step};
use crate::plan::{MatrixInfo, Plan, Resources, SharedRole, Slots};

/// A kernel ready to be encoded.
pub(super) struct Prepared {
    kernel: Kernel,
    pipeline: Rc<Pipeline>,
    groups: Vec<wgpu::BindGroup>,
}

/// A model's memory and prepared plans on the GPU.
pub struct GpuExecutor {
    /// The device, and what it is.
    pub gpu: Rc<Gpu>,
    matrices: Vec<Vec<Part>>,
    shared: Vec<wgpu::Buffer>,
    slots: Vec<wgpu::Buffer>,
    slot_of: Vec<Vec<u32>>,
    step: wgpu::Buffer,
    staging: wgpu::Buffer,
    state: Vec<usize>,
    tokens: Option<usize>,
    pub(super) plans: Vec<Vec<Prepared>>,
    cache: PipelineCache,
    upload: Upload,
    /// What brings chosen tokens to the host, in turn.
    ring: VecDeque<wgpu::Buffer>,
    /// Tokens on their way to the host.
    picks: VecDeque<Mapping>,
    /// The end of the last chunk that nothing was read of.
    chunk: Option<Fence>,
    /// Of the last step.
    pub counters: StepCounters,
    /// Steps of one token since picks were last forgotten, and the microseconds to encode them.
    encoded: (u32, f64),
}

/// Tokens that may be on their way to the host at a time.
pub const MAX_PICKS: usize = 4;

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::COPY_SRC);

impl GpuExecutor {
    /// Memory for these resources and plans; matrices and vectors still empty.
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
            cache: PipelineCache::default(),
            upload: Upload::default(),
            ring: (0..MAX_PICKS)
                .map(|_| gpu.buffer("token", size_of::<Picked>() as u64, mappable))
                .collect(),
            picks: VecDeque::new(),
            chunk: None,
            counters: StepCounters::default(),
            encoded: (0, 0.0),
            gpu,
        }
    }

    /// Compiles a plan's kernels and makes its bind groups. Plans are prepared in the order in
    /// which their slots were assigned.
    pub async fn prepare(&mut self, plan: &Plan) -> Result<()> {
        let gpu = self.gpu.clone();
        let prepare =
            || plan.kernels.iter().map(|planned| self.prepare_kernel(&planned.kernel)).collect();
        let prepared = gpu.checked(prepare).await?;
        self.plans.push(prepared);
        Ok(())
    }

    /// Leaves out a plan that does not run here.
    pub fn prepare_none(&mut self) {
        self.plans.push(Vec::new());
    }

    fn prepare_kernel(&mut self, kernel: &Kernel) -> Result<Prepared> {
        let pipeline = self.cache.get(&self.gpu, kernel)?;
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
        Ok(Prepared { kernel: kernel.clone(), pipeline, groups })
    }

    fn buffer(&self, plan: usize, buffer: Buffer) -> &wgpu::Buffer {
        match buffer {
            Buffer::Scratch(index) => &self.slots[self.slot_of[plan][usize::from(index)] as usize],
            Buffer::Shared(index) => &self.shared[usize::from(index)],
        }
    }

    /// How many pipelines were compiled.
    pub fn pipeline_count(&self) -> usize {
        self.cache.len()
    }

    /// Repacks stored rows of a matrix, from `first_row` on, and writes them.
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

    /// Zeroes what the sequence carries.
    pub fn clear_state(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for index in &self.state {
            encoder.clear_buffer(&self.shared[*index], 0, None);
        }
        self.gpu.submit(encoder.finish());
    }

    /// Sets the step's token ids.
    pub fn write_tokens(&self, tokens: &[u32]) {
        if let Some(index) = self.tokens {
            self.gpu.write(&self.shared[index], 0, bytemuck::cast_slice(tokens));
        }
    }

    /// Sets where the next step is.
    pub fn write_step(&self, step: Step) {
        self.gpu.write(&self.step, 0, bytemuck::bytes_of(&step));
    }

    /// Submits the kernels `range` of a plan, then a copy of `result`, if any, for [`Self::result`].
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
            encoder.copy_buffer_to_buffer(
                self.buffer(plan, result.buffer),
                0,
                &self.staging,
                0,
                bytes,
            );
            self.gpu.count(|counters| counters.readback_bytes += bytes);
        }
        self.gpu.submit(encoder.finish());
        self.counters = self.gpu.take_counters();
    }

    /// One pass over the kernels.
    pub(super) fn encode<'a>(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        timestamp_writes: Option<wgpu::ComputePassTimestampWrites<'_>>,
        kernels: impl IntoIterator<Item = &'a Prepared>,
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

    /// Waits until the GPU is done with all chunks but the last one submitted, so that an abort
    /// never waits for more than that.
    pub async fn keep_up(&mut self) -> Result<()> {
        let fence = self.gpu.fence();
        match self.chunk.replace(fence) {
            Some(before) => self.gpu.reach(before).await,
            None => Ok(()),
        }
    }

    /// Submits a step whose token ids and place are on the GPU, and the choice of a token by kernels
    /// `tail` of the last plan, which make `picked`: the next step, and what [`Self::picked`] brings.
    /// `step` is what the host takes the step for; it is one of no rows if an answer has ended meanwhile.
    pub fn pick(&mut self, plan: usize, tail: Range<usize>, picked: Buffer, step: Step) {
        let started = Instant::now();
        let last = self.plans.len() - 1;
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(
            &mut encoder,
            None,
            self.plans[plan].iter().chain(&self.plans[last][tail]),
            step,
        );
        self.ring.rotate_left(1);
        let (source, ring, bytes) = (self.buffer(last, picked), &self.ring[0], size_of::<Picked>());
        encoder.copy_buffer_to_buffer(source, 0, &self.step, 0, size_of::<Step>() as u64);
        encoder.copy_buffer_to_buffer(source, 0, ring, 0, bytes as u64);
        self.gpu.count(|counters| counters.readback_bytes += bytes as u64);
        let commands = encoder.finish();
        if step.rows == 1 {
            self.encoded.0 += 1;
            self.encoded.1 += started.elapsed().as_secs_f64() * 1e6;
        }
        let submission = self.gpu.submit(commands);
        self.picks.push_back(self.gpu.map(ring, bytes / 4, Some(submission)));
        self.counters = self.gpu.take_counters();
        self.counters.encode_us = self.encoded.1 / f64::from(self.encoded.0.max(1));
    }

    /// How many tokens are on their way to the host.
    pub fn picks(&self) -> usize {
        self.picks.len()
    }

    /// The oldest token on its way, and the step after it.
    pub async fn picked(&mut self) -> Result<Picked> {
        let pick =
            self.picks.pop_front().ok_or_else(|| Error::internal("no token is on its way"))?;
        let words = self.gpu.mapped(pick).await?;
        bytemuck::try_pod_read_unaligned(bytemuck::cast_slice(&words))
            .map_err(|error| Error::internal(format!("reading a token: {error}")))
    }

    /// Forgets the tokens on their way; returns how many there were.
    pub fn forget_picks(&mut self) -> usize {
        self.encoded = (0, 0.0);
        self.gpu.take_counters();
        let count = self.picks.len();
        self.picks.drain(..).for_each(Mapping::cancel);
        count
    }

    /// The rows that the last run copied, without the tails of their strides.
    pub async fn result(&self, result: Activation, step: Step) -> Result<Vec<f32>> {
        let words = self.gpu.read(&self.staging, result.words(step.rows) as usize).await?;
        if result.width == result.stride {
            return Ok(words);
        }
        let rows = words.chunks_exact(result.stride as usize);
        Ok(rows.flat_map(|row| &row[..result.width as usize]).copied().collect())
    }

    /// Words of shared buffers, one part after another, by as many read-backs as it takes.
    pub async fn read_parts(&self, parts: &[(usize, Range<u64>)]) -> Result<Vec<f32>> {
        let room = self.staging.size() / 4;
        let mut all = Vec::new();
        let mut parts = parts.iter().cloned();
        let mut next = parts.next();
        while next.is_some() {
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            let mut filled = 0;
            while let Some((index, words)) = next.take() {
                let taken = (words.end - words.start).min(room - filled);
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

    /// All words of a buffer: slow, for comparisons.
    pub async fn read(&self, plan: usize, buffer: Buffer) -> Result<Vec<f32>> {
        let source = self.buffer(plan, buffer);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.gpu.buffer("comparison", source.size(), usage);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &staging, 0, source.size());
        self.gpu.submit(encoder.finish());
        self.gpu.read(&staging, (source.size() / 4) as usize).await
    }

    /// Sets the first words of a buffer: slow, for comparisons.
    pub fn write(&self, plan: usize, buffer: Buffer, words: &[f32]) {
        self.gpu.write(self.buffer(plan, buffer), 0, bytemuck::cast_slice(words));
    }
}
