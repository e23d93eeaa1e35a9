//! Every CPU variant that this processor supports against the CPU reference: products and
//! embeddings in every weight format, of sizes around those of panels and units. Attention against
//! its formula.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(wasm::register)
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "common/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test programs")]
mod files;
#[path = "common/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with other test programs")]
mod random;
#[cfg(target_arch = "wasm32")]
#[path = "common/wasm.rs"]
mod wasm;

use random::Random;
#[cfg(not(target_arch = "wasm32"))]
use tablm::cpu::run_worker;
use tablm::cpu::{CpuExecutor, CpuVariant, Threads};
use tablm::engine::normalized_error;
use tablm::formats::{Format, UNIT};
use tablm::kernels::{Activation, AttentionShape, Buffer, Rows, Step};
use tablm::plan::{Plan, PlanBuilder, Resources, TensorShapes, assign_slots};

/// A checkpoint of one tensor, under any name.
struct Tensor(Format, [usize; 2]);

impl TensorShapes for Tensor {
    fn tensor(&self, _: &str) -> Option<(Format, &[usize])> {
        Some((self.0, &self.1))
    }
}

/// All available variants but the reference itself.
fn variants() -> impl Iterator<Item = CpuVariant> {
    CpuVariant::ALL
        .into_iter()
        .filter(|variant| *variant != CpuVariant::Exact && variant.is_available())
}

/// Row widths to test: around a unit for float formats, whole blocks for other formats.
fn columns(format: Format) -> [usize; 3] {
    match format.rules().block_weights() {
        1 => [1, 33, 577],
        block => [block, 3 * block, 6 * block],
    }
}

/// Bound of the normalized error of packed weights. Products of inputs that int8 represents exactly
/// have no other error.
fn packing_bound(format: Format) -> f64 {
    match format {
        // Scales that are products or f32 numbers are rounded to f16.
        Format::Q2_K | Format::Q3_K | Format::Q4_K | Format::Q5_K | Format::Q6_K => 1e-6,
        Format::IQ2_XXS | Format::IQ2_XS | Format::IQ2_S | Format::IQ3_XXS | Format::IQ3_S => 1e-6,
        Format::IQ4_XS | Format::NVFP4_F32 | Format::MLX(_) => 1e-6,
        // Zero points times scales, too.
        Format::INT(_) => 2e-6,
        // Levels are rounded to int8.
        Format::T4 => 1e-4,
        Format::F8_E4M3 | Format::F8_E4M3_128 | Format::MXFP8 => 1e-3,
        _ => 1e-11,
    }
}

/// A plan with one matrix product.
struct Case<'a> {
    resources: Resources<'a>,
    plan: Plan,
    x: Activation,
    y: Activation,
    stored: Vec<u8>,
}

impl<'a> Case<'a> {
    fn product(tensor: &'a Tensor, rows: u32, stored: Vec<u8>) -> Self {
        let [outputs, columns] = tensor.1.map(|axis| axis as u32);
        let mut resources = Resources::new(tensor, u64::MAX);
        let matrix = resources.weight_matrix("matrix", outputs, columns);
        let mut builder = PlanBuilder::new(&mut resources, rows);
        let x = builder.input(Rows::Step, columns);
        let y = builder.matmul(matrix, x);
        Self { plan: builder.finish(y), resources, x, y, stored }
    }

    /// Runs the kernel; returns its output rows.
    fn run(&self, variant: CpuVariant, inputs: &[f32], rows: u32) -> Vec<f32> {
        self.run_on(&Threads::default(), variant, inputs, rows)
    }

    fn run_on(
        &self,
        threads: &Threads,
        variant: CpuVariant,
        inputs: &[f32],
        rows: u32,
    ) -> Vec<f32> {
        let slots = assign_slots(&[&self.plan]);
        let mut cpu =
            CpuExecutor::new(&self.resources, slots, variant).unwrap().with_threads(threads);
        let matrix = &self.resources.matrices()[0];
        // Uploads of 7 rows, which end within panels.
        let row_bytes = self.stored.len() / matrix.rows as usize;
        for chunk in self.stored.chunks(7 * row_bytes) {
            cpu.upload_rows(0, chunk);
        }
        cpu.run(0, &self.plan, 0..0, Step { position: 0, rows });
        cpu.write(self.x.buffer, inputs);
        cpu.run(0, &self.plan, 0..1, Step { position: 0, rows });
        let words = cpu.read(self.y.buffer);
        let row = |row| &words[self.y.start(row)..][..self.y.width as usize];
        (0..rows).flat_map(row).copied().collect()
    }
}

/// Rows of inputs, padded with zeros: normally distributed, or values that int8 represents exactly.
fn inputs(random: &mut Random, x: Activation, rows: u32, are_exact: bool) -> Vec<f32> {
    let mut words = vec![0.0; x.words(rows) as usize];
    for row in words.chunks_exact_mut(x.stride as usize) {
        for unit in row[..x.width as usize].chunks_mut(UNIT) {
            let scale = 2f32.powi((random.bits() % 9) as i32 - 4);
            for word in unit.iter_mut() {
                *word = if are_exact {
                    (random.uniform() * 127.0).round() * scale
                } else {
                    random.normal()
                };
            }
            if are_exact {
                unit[0] = 127.0 * scale;
            }
        }
    }
    words
}

#[test]
fn products_are_close_to_the_reference() {
    let mut random = Random::new(5);
    for format in Format::ALL {
        let sizes = [(1, 16), (3, 5), (16, 8), (33, 13), (50, 1)];
        let sizes = columns(format).into_iter().flat_map(|columns| sizes.map(|it| (columns, it)));
        for (columns, (outputs, rows)) in sizes {
            let tensor = Tensor(format, [outputs, columns]);
            let case = Case::product(&tensor, rows, random.stored(format, outputs, columns));
            let exact = (true, packing_bound(format));
            let rounded = (false, packing_bound(format).max(1e-8));
            for (are_exact, bound) in [exact, rounded] {
                let inputs = inputs(&mut random, case.x, rows, are_exact);
                let expected = case.run(CpuVariant::Exact, &inputs, rows);
                for variant in variants() {
                    let error = normalized_error(&expected, &case.run(variant, &inputs, rows));
                    let name = variant.name();
                    assert!(
                        error < bound,
                        "{name} {format:?} {outputs}x{columns}, {rows} rows, exact {are_exact}: \
                         {error:e}"
                    );
                }
            }
        }
    }
}

/// Threads as in browsers, where the page's workers call `run_worker`.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn late_workers_share_products_and_end_when_the_threads_are_dropped() {
    let mut random = Random::new(6);
    let tensor = Tensor(Format::Q4_0, [512, 1024]);
    let case = Case::product(&tensor, 8, random.stored(Format::Q4_0, 512, 1024));
    let inputs = inputs(&mut random, case.x, 8, false);
    let expected = case.run(CpuVariant::Portable, &inputs, 8);
    let threads = Threads::with_workers(3).unwrap();
    let found = case.run_on(&threads, CpuVariant::Portable, &inputs, 8);
    assert_eq!(found, expected, "before workers join");
    let workers = [0, 1].map(|_| std::thread::spawn(run_worker));
    for _ in 0..20 {
        assert_eq!(case.run_on(&threads, CpuVariant::Portable, &inputs, 8), expected);
    }
    assert_eq!(threads.count(), 3);
    drop(threads);
    for worker in workers {
        worker.join().unwrap();
    }
}

/// The golden blocks have scales of all magnitudes.
#[test]
fn products_of_golden_blocks_are_close_to_the_reference() {
    for format in Format::ALL.into_iter().filter(|format| format.rules().integers().is_some()) {
        let path = format!(
            "{}/tests/data/formats/{}.bin",
            env!("CARGO_MANIFEST_DIR"),
            format.name().to_lowercase()
        );
        let bytes = files::read(&path);
        let blocks = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        let rules = format.rules();
        let columns = blocks * rules.block_weights();
        let stored = bytes[4..][..rules.row_header_bytes() + blocks * rules.block_bytes()].to_vec();
        let tensor = Tensor(format, [1, columns]);
        let case = Case::product(&tensor, 16, stored);
        let inputs = inputs(&mut Random::new(6), case.x, 16, true);
        let expected = case.run(CpuVariant::Exact, &inputs, 16);
        for variant in variants() {
            let found = case.run(variant, &inputs, 16);
            let error = normalized_error(&expected, &found);
            assert!(
                error < packing_bound(format),
                "{} {format:?}: {error:e}, {found:?}, {expected:?}",
                variant.name()
            );
        }
    }
}

#[test]
fn embedded_rows_are_close_to_the_reference() {
    let mut random = Random::new(9);
    for format in Format::ALL {
        let columns = columns(format)[1];
        let tensor = Tensor(format, [37, columns]);
        let mut resources = Resources::new(&tensor, u64::MAX);
        let matrix = resources.weight_matrix("matrix", 37, columns as u32);
        let mut builder = PlanBuilder::new(&mut resources, 3);
        let y = builder.embed(matrix);
        let plan = builder.finish(y);
        let stored = random.stored(format, 37, columns);
        let rows = |variant| {
            let mut cpu = CpuExecutor::new(&resources, assign_slots(&[&plan]), variant).unwrap();
            cpu.upload_rows(0, &stored);
            cpu.write_tokens(&[0, 36, 15]);
            cpu.run(0, &plan, 0..plan.kernels.len(), Step { position: 0, rows: 3 });
            cpu.read(y.buffer).to_vec()
        };
        let expected = rows(CpuVariant::Exact);
        for variant in variants() {
            let error = normalized_error(&expected, &rows(variant));
            assert!(error < packing_bound(format), "{} {format:?}: {error:e}", variant.name());
        }
    }
}

/// `softmax(scale · q · keysᵀ) · values` of a query head over the positions that it sees, and a
/// sink.
fn attended(scale: f32, q: &[f32], keys: &[&[f32]], values: &[&[f32]], sink: f32) -> Vec<f32> {
    let score = |key: &&[f32]| {
        let products = q.iter().zip(*key).map(|(q, key)| f64::from(*q) * f64::from(*key));
        f64::from(scale) * products.sum::<f64>()
    };
    let weights: Vec<f64> = keys.iter().map(|key| score(key).exp()).collect();
    let total = weights.iter().sum::<f64>() + f64::from(sink).exp();
    let column = |column: usize| {
        let terms = weights.iter().zip(values);
        terms.map(|(weight, value)| weight * f64::from(value[column])).sum::<f64>() / total
    };
    (0..q.len()).map(|index| column(index) as f32).collect()
}

/// Caches of all positions and rings, in their first turn and in later ones.
#[test]
fn attention_is_a_softmax_over_the_window() {
    const DIM: usize = 20;
    let mut random = Random::new(10);
    let tensor = Tensor(Format::F32, [1, 6]);
    let (no_window, long) = (None, Some(400));
    for (window, position, rows) in [
        (no_window, 40, 1),
        (no_window, 0, 21),
        (long, 30, 9),
        (Some(40), 203, 1),
        (Some(40), 203, 21),
        (Some(1), 17, 9),
        (Some(7), 100, 40),
    ] {
        let shape = AttentionShape { window, ..AttentionShape::new(6, 2, DIM as u32) };
        let mut resources = Resources::new(&tensor, u64::MAX).window_caches(rows);
        let caches = ["keys", "values"].map(|name| resources.window_cache(name, 40, 300, window));
        assert_eq!(caches[0].rows.ring.is_some(), window.is_some_and(|window| window < 300));
        // Sinks in steps of an odd number of rows: far below the scores, among them and far above.
        let sinks = (rows % 2 == 1).then(|| resources.weight_vector("sinks", 6));
        let logits = [-1.0, 0.0, 3.0, 90.0, -90.0, 1.0];
        let mut builder = PlanBuilder::new(&mut resources, rows);
        let q = builder.input(Rows::Step, 120);
        let y = builder.attention_with_sinks(q, caches[0], caches[1], sinks, shape);
        let plan = builder.finish(y);
        let queries = inputs(&mut random, q, rows, false);
        let cached = caches.map(|_| random.normals((position + rows) as usize * 2 * DIM));
        let mut expected = Vec::new();
        for row in 0..rows {
            let end = (position + row + 1) as usize;
            let seen = window.map_or(0, |window| end.saturating_sub(window as usize))..end;
            for head in 0..6 {
                let q = &queries[q.start(row) + head * DIM..][..DIM];
                let heads = |cached: &'_ [f32]| -> Vec<Vec<f32>> {
                    let of = |position| &cached[(2 * position + head / 3) * DIM..][..DIM];
                    seen.clone().map(|position| of(position).to_vec()).collect()
                };
                let [keys, values] = [heads(&cached[0]), heads(&cached[1])];
                let [keys, values] = [&keys, &values]
                    .map(|heads| heads.iter().map(Vec::as_slice).collect::<Vec<_>>());
                let sink = sinks.map_or(f32::NEG_INFINITY, |_| logits[head]);
                expected.extend(attended(shape.scale, q, &keys, &values, sink));
            }
        }
        for variant in CpuVariant::ALL.into_iter().filter(|variant| variant.is_available()) {
            let mut cpu = CpuExecutor::new(&resources, assign_slots(&[&plan]), variant).unwrap();
            for (cache, elements) in caches.iter().zip(&cached) {
                let Buffer::Shared(index) = cache.buffer else { panic!("a shared buffer") };
                for (position, words) in (0..).zip(elements.chunks_exact(2 * DIM)) {
                    let first = u64::from(cache.rows.row_of(position)) * cache.rows.words();
                    cpu.write_shared(usize::from(index), first, words);
                }
            }
            if let Some(Buffer::Shared(index)) = sinks {
                cpu.write_shared(usize::from(index), 0, &logits);
            }
            let step = Step { position, rows };
            cpu.run(0, &plan, 0..0, step);
            cpu.write(q.buffer, &queries);
            cpu.run(0, &plan, 0..plan.kernels.len(), step);
            let words = cpu.read(y.buffer);
            let row = |row| &words[y.start(row)..][..y.width as usize];
            let found: Vec<f32> = (0..rows).flat_map(row).copied().collect();
            let error = normalized_error(&expected, &found);
            let what = format!("{}, window {window:?} at {position}", variant.name());
            assert!(error < 1e-10, "{what}: {error:e}");
        }
    }
}
