//! Every kernel on the GPU against its CPU reference, at sizes of real models and at edges: 1, odd
//! sizes, just over a workgroup, just over a block.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod attention;
#[path = "../common/mod.rs"]
mod common;
mod elementwise;
mod fusion;
mod gates;
mod matrices;
mod sampling;
mod scan;
mod short_conv;

use std::collections::HashMap;
use std::rc::Rc;

use common::random::Random;
use tablm::cpu::{CpuExecutor, CpuVariant};
use tablm::engine::{first_difference, normalized_error};
use tablm::formats::Format;
use tablm::gpu::{Gpu, GpuExecutor};
use tablm::kernels::{Activation, Buffer, CacheFormat, MatmulTiling, MatvecStrategy, Step};
use tablm::plan::{
    Plan, PlanBuilder, Resources, SharedRole, Slots, StateKind, TensorShapes, fuse, stack,
};

/// Bound of the normalized error of `f32` arithmetic.
const BOUND: f64 = 1e-10;

/// Formats and shapes of tensors, by name.
#[derive(Default)]
struct Shapes(HashMap<String, (Format, Vec<usize>)>);

impl TensorShapes for Shapes {
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])> {
        self.0.get(name).map(|(format, shape)| (*format, shape.as_slice()))
    }
}

/// A step of a plan of few kernels, to run on both executors.
struct Case<'a> {
    name: String,
    shapes: Shapes,
    step: Step,
    max_binding_bytes: u64,
    cache_format: CacheFormat,
    /// Most rows of a step, where caches of layers with a window are rings; else 0.
    ring_rows: u32,
    strategy: MatvecStrategy,
    tiling: MatmulTiling,
    tokens: Vec<u32>,
    /// Words of shared buffers that must not be random, by name.
    words: HashMap<String, Vec<f32>>,
    bound: f64,
    /// Expected names of the kernels after fusion; `None` runs the plan unfused.
    fused: Option<Vec<&'static str>>,
    /// Writes the plan; returns its output.
    write: Box<dyn Fn(&mut PlanBuilder<'_, '_>) -> Activation + 'a>,
}

impl<'a> Case<'a> {
    fn new(
        name: impl Into<String>,
        rows: u32,
        write: impl Fn(&mut PlanBuilder<'_, '_>) -> Activation + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            shapes: Shapes::default(),
            step: Step { position: 0, rows },
            max_binding_bytes: 1 << 27,
            cache_format: CacheFormat::F32,
            ring_rows: 0,
            strategy: MatvecStrategy::default(),
            tiling: MatmulTiling::default(),
            tokens: Vec::new(),
            words: HashMap::new(),
            bound: BOUND,
            fused: None,
            write: Box::new(write),
        }
    }

    fn at(mut self, position: u32) -> Self {
        self.step.position = position;
        self
    }

    fn matrix(mut self, format: Format, rows: u32, columns: u32) -> Self {
        self.shapes.0.insert("matrix".into(), (format, vec![rows as usize, columns as usize]));
        self
    }

    fn vector(mut self, name: &str, length: u32) -> Self {
        self.shapes.0.insert(name.into(), (Format::F32, vec![length as usize]));
        self
    }

    /// Runs the step on both executors with equal random buffers and compares the outputs of each
    /// kernel; compares the output of a fused plan with the unfused plan, too.
    async fn check(self, gpu: &Rc<Gpu>) {
        let resources = Resources::new(&self.shapes, self.max_binding_bytes);
        let mut resources = resources.cache_in(self.cache_format).window_caches(self.ring_rows);
        let mut builder = PlanBuilder::new(&mut resources, self.step.rows);
        let y = (self.write)(&mut builder);
        let mut plans = vec![builder.finish(y)];
        plans[0].use_strategy(self.strategy);
        plans[0].use_tiling(self.tiling);
        resources.check_complete("test").unwrap();
        let mut expected = None;
        if let Some(names) = &self.fused {
            stack(&mut plans, &mut resources);
            let (mut cpu, _) = self.filled(&resources, &plans[0], gpu).await;
            cpu.run(0, &plans[0], 0..plans[0].kernels.len(), self.step);
            expected = Some(cpu.read(y.buffer).to_vec());
            plans = plans.into_iter().map(|plan| fuse(plan, &mut resources)).collect();
            let kernels = plans[0].kernels.iter();
            let found: Vec<_> = kernels.map(|planned| planned.kernel.name()).collect();
            assert_eq!(&found, names, "{}", self.name);
        }
        let plan = &plans[0];
        let (mut cpu, mut on_gpu) = self.filled(&resources, plan, gpu).await;
        let difference =
            first_difference(0, plan, &mut cpu, &mut on_gpu, self.step, self.bound).await.unwrap();
        if let Some(difference) = difference {
            panic!("{}: {difference:?}", self.name);
        }
        let output = cpu.read(y.buffer);
        assert!(output.iter().any(|word| *word != 0.0), "{}: the output is zero", self.name);
        if let Some(expected) = expected {
            let error = normalized_error(&expected, output);
            assert!(error < self.bound, "{}: fused and unfused differ by {error:e}", self.name);
        }
    }

    /// Returns both executors, with equal random numbers in all buffers.
    async fn filled(
        &self,
        resources: &Resources<'_>,
        plan: &Plan,
        gpu: &Rc<Gpu>,
    ) -> (CpuExecutor, GpuExecutor) {
        // Each buffer has its own slot, so that no kernel overwrites the inputs of the test.
        let words = plan.scratch.iter().map(|activation| activation.words(plan.capacity)).collect();
        let slots = Slots { words, of: vec![(0..plan.scratch.len() as u32).collect()] };
        let mut cpu = CpuExecutor::new(resources, slots.clone(), CpuVariant::Exact).unwrap();
        let mut on_gpu = GpuExecutor::new(gpu.clone(), resources, slots, 16).await.unwrap();
        on_gpu.prepare(plan).await.unwrap();
        cpu.run(0, plan, 0..0, self.step);
        let mut random = Random::new(7);
        fill_shared(self, resources, &mut random, &mut cpu, &mut on_gpu);
        fill_matrices(resources, &mut random, &mut cpu, &mut on_gpu);
        fill_inputs(plan, self.step.rows, &mut cpu, &on_gpu);
        (cpu, on_gpu)
    }
}

/// Fills the buffers that all plans share.
fn fill_shared(
    case: &Case<'_>,
    resources: &Resources<'_>,
    random: &mut Random,
    cpu: &mut CpuExecutor,
    gpu: &mut GpuExecutor,
) {
    for (index, buffer) in resources.shared().iter().enumerate() {
        let words = match &buffer.role {
            _ if case.words.contains_key(&buffer.name) => case.words[&buffer.name].clone(),
            SharedRole::RotaryTable(table) => table.rows(0..table.context_length, None),
            SharedRole::Tokens => {
                cpu.write_tokens(&case.tokens);
                gpu.write_tokens(&case.tokens);
                continue;
            }
            SharedRole::Sampling | SharedRole::Snapshot(_) => continue,
            SharedRole::State(StateKind::Positions(rows)) => {
                let mut words = vec![0.0; buffer.words as usize];
                for row in 0..words.len() / rows.words() as usize {
                    rows.write(&mut words, row, &random.normals(rows.width as usize));
                }
                words
            }
            // Seeded by the tensor's name: a tensor has equal values in all buffers that hold it.
            SharedRole::Vector(parts) => {
                let values = parts.iter().flat_map(|part| {
                    let name = part.tensor.bytes();
                    let seed = name.fold(7, |seed, byte| 31 * seed + u64::from(byte));
                    Random::new(seed).normals(part.shape.iter().product::<u32>() as usize)
                });
                values.collect()
            }
            SharedRole::State(_) => random.normals(buffer.words as usize),
        };
        cpu.write_shared(index, 0, &words);
        gpu.write_shared(index, 0, &words);
    }
}

/// Uploads random weights.
fn fill_matrices(
    resources: &Resources<'_>,
    random: &mut Random,
    cpu: &mut CpuExecutor,
    gpu: &mut GpuExecutor,
) {
    for (index, matrix) in resources.matrices().iter().enumerate() {
        let stored = random.stored(matrix.format, matrix.rows as usize, matrix.columns as usize);
        cpu.upload_rows(index, &stored);
        // Two uploads, whose boundary is within a part.
        let row = matrix.rows / 3;
        let (first, rest) = stored.split_at(stored.len() / matrix.rows as usize * row as usize);
        gpu.upload_rows(matrix, index, 0, first).unwrap();
        gpu.upload_rows(matrix, index, row, rest).unwrap();
    }
}

/// Fills the activations that no kernel writes before they are read.
fn fill_inputs(plan: &Plan, rows: u32, cpu: &mut CpuExecutor, gpu: &GpuExecutor) {
    let mut written = Vec::new();
    for planned in &plan.kernels {
        for binding in planned.kernel.bindings() {
            let Buffer::Scratch(index) = binding.buffer else { continue };
            if !written.contains(&index) {
                let activation = plan.scratch[usize::from(index)];
                let mut random = Random::new(8 + u64::from(index));
                let mut words = vec![0.0; activation.words(rows) as usize];
                for row in words.chunks_exact_mut(activation.stride as usize) {
                    row[..activation.width as usize]
                        .copy_from_slice(&random.normals(activation.width as usize));
                }
                cpu.write(binding.buffer, &words);
                gpu.write(0, binding.buffer, &words);
                written.push(index);
            }
        }
    }
}

/// Reads more words than the staging buffer holds, in parts that its size does not divide.
#[test]
fn read_parts_returns_the_parts_in_order() {
    with_gpu(async |gpu| {
        let no_tensors = Shapes::default();
        let mut resources = Resources::new(&no_tensors, u64::MAX);
        for words in [40, 8] {
            resources.recurrent_state(&format!("state of {words}"), words);
        }
        let slots = Slots { words: Vec::new(), of: Vec::new() };
        let executor = GpuExecutor::new(gpu.clone(), &resources, slots, 16).await.unwrap();
        let numbers: Vec<f32> = (0..48).map(|number| number as f32).collect();
        executor.write_shared(0, 0, &numbers[..40]);
        executor.write_shared(1, 0, &numbers[40..]);
        let found = executor.read_parts(&[(0, 3..39), (1, 2..4), (0, 0..12)]).await.unwrap();
        assert_eq!(found, [&numbers[3..39], &numbers[42..44], &numbers[..12]].concat());
    });
}

/// Runs a test if there is an adapter.
fn with_gpu(test: impl AsyncFnOnce(Rc<Gpu>)) {
    pollster::block_on(async {
        if let Some(gpu) = common::gpu().await {
            test(gpu).await;
        }
    });
}
