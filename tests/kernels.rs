//! Every kernel on the GPU against its meaning on the CPU: real-model shapes, and 1, odd, just
//! over a workgroup and just over a block.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::HashMap;
use std::rc::Rc;

use common::random::Random;
use tablm::cpu::CpuExecutor;
use tablm::engine::first_difference;
use tablm::formats::Format;
use tablm::gpu::{Gpu, GpuExecutor};
use tablm::kernels::{Activation, Buffer, Pairing, RotaryTable, Rows, Step};
use tablm::plan::{AttentionShape, Plan, PlanBuilder, Resources, SharedRole, TensorShapes, assign_slots};

/// The bound for f32 arithmetic.
const BOUND: f64 = 1e-10;

/// Tensors of any name: formats and shapes by name.
#[derive(Default)]
struct Shapes(HashMap<String, (Format, Vec<usize>)>);

impl TensorShapes for Shapes {
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])> {
        self.0.get(name).map(|(format, shape)| (*format, shape.as_slice()))
    }
}

/// One step of a plan of few kernels.
struct Case<'a> {
    name: String,
    shapes: Shapes,
    step: Step,
    max_binding_bytes: u64,
    tokens: Vec<u32>,
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
            tokens: Vec::new(),
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

    fn vector(mut self, length: u32) -> Self {
        self.shapes.0.insert("vector".into(), (Format::F32, vec![length as usize]));
        self
    }

    /// Fills everything with the same random numbers on both executors, and compares.
    async fn check(self, gpu: &Rc<Gpu>) {
        let mut resources = Resources::new(&self.shapes, self.max_binding_bytes);
        let mut builder = PlanBuilder::new(&mut resources, self.step.rows);
        let y = (self.write)(&mut builder);
        let plan = builder.finish(y);
        resources.check_complete("test").unwrap();
        let slots = assign_slots(&[&plan]);
        let mut cpu = CpuExecutor::new(&resources, slots.clone()).unwrap();
        let mut on_gpu = GpuExecutor::new(gpu.clone(), &resources, slots, 16).await.unwrap();
        on_gpu.prepare(&plan).await.unwrap();
        cpu.run(0, &plan, 0..0, self.step);
        let mut random = Random::new(7);
        fill_shared(&resources, &mut random, &mut cpu, &mut on_gpu, &self.tokens);
        fill_matrices(&resources, &mut random, &mut cpu, &mut on_gpu);
        fill_inputs(&plan, self.step.rows, &mut random, &mut cpu, &on_gpu);
        let difference = first_difference(0, &plan, &mut cpu, &mut on_gpu, self.step, BOUND).await.unwrap();
        if let Some(difference) = difference {
            panic!("{}: {difference:?}", self.name);
        }
        let written = cpu.read(y.buffer);
        assert!(written.iter().any(|word| *word != 0.0), "{}: the kernel wrote nothing", self.name);
    }
}

fn fill_shared(
    resources: &Resources<'_>,
    random: &mut Random,
    cpu: &mut CpuExecutor,
    gpu: &mut GpuExecutor,
    tokens: &[u32],
) {
    for (index, buffer) in resources.shared().iter().enumerate() {
        let words = match &buffer.role {
            SharedRole::RotaryTable(table) => table.rows(0..table.context_length, None),
            SharedRole::Tokens => {
                cpu.write_tokens(tokens);
                gpu.write_tokens(tokens);
                continue;
            }
            SharedRole::State | SharedRole::Vector => random.normals(buffer.words as usize),
        };
        cpu.write_shared(index, 0, &words);
        gpu.write_shared(index, 0, &words);
    }
}

fn fill_matrices(
    resources: &Resources<'_>,
    random: &mut Random,
    cpu: &mut CpuExecutor,
    gpu: &mut GpuExecutor,
) {
    for (index, matrix) in resources.matrices().iter().enumerate() {
        let stored = random.stored(matrix.format, matrix.rows as usize, matrix.columns as usize);
        cpu.upload_rows(index, &stored);
        gpu.upload_rows(matrix, index, 0, &stored).unwrap();
    }
}

/// Activations that no kernel writes before they are read.
fn fill_inputs(plan: &Plan, rows: u32, random: &mut Random, cpu: &mut CpuExecutor, gpu: &GpuExecutor) {
    let mut written = Vec::new();
    for planned in &plan.kernels {
        for binding in planned.kernel.bindings() {
            let Buffer::Scratch(index) = binding.buffer else { continue };
            if !written.contains(&index) {
                let activation = plan.scratch[usize::from(index)];
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

fn with_gpu(test: impl AsyncFnOnce(Rc<Gpu>)) {
    pollster::block_on(async {
        if let Some(gpu) = common::gpu().await {
            test(gpu).await;
        }
    });
}

/// Columns that a format can have: around a unit for floats, whole blocks for the others, and
/// those of real models.
fn columns(format: Format) -> Vec<u32> {
    let block = format.rules().block_weights() as u32;
    match block {
        1 => vec![1, 31, 33, 64, 577],
        32 => vec![32, 64, 96, 576, 1536],
        _ => vec![block, 2 * block, 3 * block, 3072],
    }
}

#[test]
fn matvec() {
    with_gpu(async |gpu| {
        for format in Format::ALL {
            for columns in columns(format) {
                for (outputs, rows) in [(1, 4), (3, 1), (65, 2), (192, 1), (130, 3)] {
                    let name = format!("matvec {format:?} {outputs}x{columns}, {rows} rows");
                    project(&name, format, outputs, columns, rows, 1 << 27).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn matmul() {
    with_gpu(async |gpu| {
        for format in Format::ALL {
            for columns in columns(format) {
                for (outputs, rows) in [(1, 5), (33, 31), (64, 32), (65, 33), (31, 65)] {
                    let name = format!("matmul {format:?} {outputs}x{columns}, {rows} rows");
                    project(&name, format, outputs, columns, rows, 1 << 27).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn matrices_larger_than_a_binding_are_split() {
    with_gpu(async |gpu| {
        for rows in [1, 40] {
            let name = format!("split, {rows} rows");
            let case = project(&name, Format::Q8_0, 300, 64, rows, 64 * 128);
            case.check(&gpu).await;
        }
        let mut case = embed(Format::F16, 300, 96, vec![0, 63, 64, 127, 128, 299]);
        case.max_binding_bytes = 96 * 2 * 64;
        case.check(&gpu).await;
    });
}

fn project(name: &str, format: Format, outputs: u32, columns: u32, rows: u32, binding: u64) -> Case<'static> {
    let mut case = Case::new(name, rows, move |plan| {
        let x = plan.input(Rows::Step, columns);
        let matrix = plan.resources.weight_matrix("matrix", outputs, columns);
        plan.matmul(matrix, x)
    });
    case.max_binding_bytes = binding;
    case.matrix(format, outputs, columns)
}

fn embed(format: Format, vocabulary: u32, columns: u32, tokens: Vec<u32>) -> Case<'static> {
    let name = format!("embed {format:?} {vocabulary}x{columns}");
    let mut case = Case::new(name, tokens.len() as u32, move |plan| {
        let matrix = plan.resources.weight_matrix("matrix", vocabulary, columns);
        plan.embed(matrix)
    });
    case.tokens = tokens;
    case.matrix(format, vocabulary, columns)
}

#[test]
fn embedding_rows() {
    with_gpu(async |gpu| {
        for format in Format::ALL {
            for columns in columns(format) {
                embed(format, 50, columns, vec![0, 49, 7]).check(&gpu).await;
                embed(format, 50, columns, vec![3]).check(&gpu).await;
            }
        }
    });
}

#[test]
fn norms() {
    with_gpu(async |gpu| {
        for (width, rows) in [(1, 1), (63, 2), (65, 1), (576, 1), (576, 33), (4096, 3)] {
            let case = Case::new(format!("rms_norm {width}, {rows} rows"), rows, move |plan| {
                let x = plan.input(Rows::Step, width);
                let weight = plan.resources.weight_vector("vector", width);
                plan.rms_norm(x, weight, 1e-5)
            });
            case.vector(width).check(&gpu).await;
        }
    });
}

#[test]
fn elementwise() {
    with_gpu(async |gpu| {
        for (width, rows) in [(1, 1), (65, 3), (576, 1), (1536, 17)] {
            let inputs = move |plan: &mut PlanBuilder<'_, '_>| {
                (plan.input(Rows::Step, width), plan.input(Rows::Step, width))
            };
            let name = format!("{width}, {rows} rows");
            let add = move |plan: &mut PlanBuilder<'_, '_>| {
                let (a, b) = inputs(plan);
                plan.add(a, b)
            };
            Case::new(format!("add {name}"), rows, add).check(&gpu).await;
            let gate = move |plan: &mut PlanBuilder<'_, '_>| {
                let (gate, up) = inputs(plan);
                plan.gated_activation(gate, up)
            };
            Case::new(format!("gated_activation {name}"), rows, gate).check(&gpu).await;
        }
        for (width, rows) in [(1, 2), (65, 3), (576, 64)] {
            let last = move |plan: &mut PlanBuilder<'_, '_>| {
                let x = plan.input(Rows::Step, width);
                plan.last_row(x)
            };
            Case::new(format!("last_row {width}, {rows} rows"), rows, last).check(&gpu).await;
        }
    });
}

#[test]
fn rotary_positions() {
    with_gpu(async |gpu| {
        for (heads, head_dim, rotary_dim) in
            [(1, 4, 2), (9, 64, 64), (3, 64, 64), (5, 80, 32), (32, 128, 128)]
        {
            for pairing in [Pairing::Adjacent, Pairing::Halves] {
                for (position, rows) in [(0, 1), (3, 1), (200, 7), (1000, 1)] {
                    let name = format!("rope {heads}x{head_dim}/{rotary_dim} {pairing:?} at {position}");
                    let write = move |plan: &mut PlanBuilder<'_, '_>| {
                        let x = plan.input(Rows::Step, heads * head_dim);
                        let table = plan.resources.rotary_table(|| RotaryTable {
                            frequencies: (0..rotary_dim / 2).map(|i| 0.9f32.powi(i as i32)).collect(),
                            divisors: None,
                            context_length: 1100,
                        });
                        plan.rope(x, table, head_dim, rotary_dim, pairing);
                        x
                    };
                    Case::new(name, rows, write).at(position).check(&gpu).await;
                }
            }
        }
    });
}

#[test]
fn attention_and_its_cache() {
    with_gpu(async |gpu| {
        let heads = [(1, 1, 4), (9, 3, 64), (5, 1, 80), (32, 8, 128), (4, 2, 256)];
        for (head_count, kv_head_count, head_dim) in heads {
            for (position, rows) in [(0, 1), (1, 1), (62, 3), (63, 1), (64, 1), (0, 65), (700, 2)] {
                let name =
                    format!("attention {head_count}/{kv_head_count}x{head_dim} at {position}, {rows} rows");
                let write = move |plan: &mut PlanBuilder<'_, '_>| {
                    let q = plan.input(Rows::Step, head_count * head_dim);
                    let k = plan.input(Rows::Step, kv_head_count * head_dim);
                    let words = u64::from(kv_head_count * head_dim) * 1024;
                    let keys = plan.resources.state("keys", words);
                    let values = plan.resources.state("values", words);
                    plan.cache_store(k, keys);
                    let scale = (head_dim as f32).sqrt().recip();
                    plan.attention(
                        q,
                        keys,
                        values,
                        AttentionShape { head_count, kv_head_count, head_dim, scale },
                    )
                };
                Case::new(name, rows, write).at(position).check(&gpu).await;
            }
        }
    });
}
