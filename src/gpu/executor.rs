//! Runs plans on the GPU: every buffer, pipeline and bind group is made at load; a step
//! writes the `Step` uniform and the token ids, encodes the prepared list and submits once.

use std::rc::Rc;

use serde::Serialize;

use super::Gpu;
use super::pipeline::{Pipeline, PipelineCache};
use super::upload::{Part, Upload};
use crate::error::Result;
use crate::kernels::{Activation, Buffer, Kernel, Step};
use crate::plan::{MatrixInfo, Plan, Resources, SharedRole, Slots};

/// A kernel ready to be encoded.
struct Prepared {
    kernel: Kernel,
    pipeline: Rc<Pipeline>,
    groups: Vec<wgpu::BindGroup>,
}

/// What one step costs besides arithmetic.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct StepCounters {
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Queue submissions.
    pub submits: u64,
    /// Bytes copied back to the host.
    pub readback_bytes: u64,
}

/// A model's memory and prepared plans on the GPU.
pub struct GpuExecutor {
    /// The device, and what it is.
    pub gpu: Rc<Gpu>,
    matrices: Vec<Vec<Part>>,
    shared: Vec<wgpu::Buffer>,
    slots: Vec<wgpu::Buffer>,
    slot_of: Vec<Vec<u16>>,
    step: wgpu::Buffer,
    staging: wgpu::Buffer,
    state: Vec<usize>,
    tokens: Option<usize>,
    plans: Vec<Vec<Prepared>>,
    cache: PipelineCache,
    upload: Upload,
    /// Of the last step.
    pub counters: StepCounters,
}

const STORAGE: wgpu::BufferUsages =
    wgpu::BufferUsages::STORAGE.union(wgpu::BufferUsages::COPY_DST).union(wgpu::BufferUsages::COPY_SRC);

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
            let part = |part| Part { planes: matrix.plane_bytes(part).into_iter().map(plane).collect() };
            (0..matrix.part_count()).map(part).collect()
        };
        let matrices = resources.matrices().iter().map(matrix).collect();
        let words = |name: &str, words: u64| gpu.buffer(name, words * 4, STORAGE);
        let shared = resources.shared().iter().map(|buffer| words(&buffer.name, buffer.words)).collect();
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
            state: resources.state_buffers().collect(),
            tokens: resources.shared().iter().position(|buffer| buffer.role == SharedRole::Tokens),
            plans: Vec::new(),
            cache: PipelineCache::default(),
            upload: Upload::default(),
            counters: StepCounters::default(),
            gpu,
        }
    }

    /// Compiles a plan's kernels and makes its bind groups. Plans are prepared in the order in
    /// which their slots were assigned.
    pub async fn prepare(&mut self, plan: &Plan) -> Result<()> {
        let gpu = self.gpu.clone();
        let prepare = || plan.kernels.iter().map(|planned| self.prepare_kernel(&planned.kernel)).collect();
        let prepared = gpu.checked(prepare).await?;
        self.plans.push(prepared);
        Ok(())
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
        let group = |(layout, buffers): (&wgpu::BindGroupLayout, &Vec<&wgpu::Buffer>)| {
            let entry = |(binding, buffer)| {
                let resource = wgpu::Buffer::as_entire_binding(buffer);
                wgpu::BindGroupEntry { binding: binding as u32, resource }
            };
            let entries: Vec<_> = buffers.iter().copied().enumerate().map(entry).collect();
            let label = Some(kernel.name());
            self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor { label, layout, entries: &entries })
        };
        let groups = pipeline.layouts.iter().zip(&groups).map(group).collect();
        Ok(Prepared { kernel: kernel.clone(), pipeline, groups })
    }

    fn buffer(&self, plan: usize, buffer: Buffer) -> &wgpu::Buffer {
        match buffer {
            Buffer::Scratch(index) => &self.slots[usize::from(self.slot_of[plan][usize::from(index)])],
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
        self.gpu.queue.write_buffer(&self.shared[index], first * 4, bytemuck::cast_slice(words));
    }

    /// Zeroes what the sequence carries.
    pub fn clear_state(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        for index in &self.state {
            encoder.clear_buffer(&self.shared[*index], 0, None);
        }
        self.gpu.queue.submit([encoder.finish()]);
    }

    /// Sets the step's token ids.
    pub fn write_tokens(&self, tokens: &[u32]) {
        if let Some(index) = self.tokens {
            self.gpu.queue.write_buffer(&self.shared[index], 0, bytemuck::cast_slice(tokens));
        }
    }

    /// Submits the kernels `range` of a plan, then a copy of `result`, if any, for [`Self::result`].
    pub fn run(
        &mut self,
        plan: usize,
        range: std::ops::Range<usize>,
        step: Step,
        result: Option<Activation>,
    ) {
        self.gpu.queue.write_buffer(&self.step, 0, bytemuck::bytes_of(&step));
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        let mut dispatches = 0;
        for prepared in &self.plans[plan][range] {
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
        drop(pass);
        let mut readback_bytes = 0;
        if let Some(result) = result {
            readback_bytes = result.words(step.rows) * 4;
            let source = self.buffer(plan, result.buffer);
            encoder.copy_buffer_to_buffer(source, 0, &self.staging, 0, readback_bytes);
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.counters = StepCounters { dispatches, submits: 1, readback_bytes };
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

    /// All words of a buffer: slow, for comparisons.
    pub async fn read(&self, plan: usize, buffer: Buffer) -> Result<Vec<f32>> {
        let source = self.buffer(plan, buffer);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.gpu.buffer("comparison", source.size(), usage);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(source, 0, &staging, 0, source.size());
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.read(&staging, (source.size() / 4) as usize).await
    }

    /// Sets the first words of a buffer: slow, for comparisons.
    pub fn write(&self, plan: usize, buffer: Buffer, words: &[f32]) {
        self.gpu.queue.write_buffer(self.buffer(plan, buffer), 0, bytemuck::cast_slice(words));
    }
}
