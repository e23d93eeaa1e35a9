//! A plan with every kernel and every epilogue.

use tablm::formats::Format;
use tablm::kernels::{
    Activation, ActivationFunction, AttentionShape, Buffer, CacheFormat, Pairing, RotaryTable,
    Rows, ScanBuffers, ScanShape, ShortConv,
};
use tablm::plan::{Linear, Plan, PlanBuilder, Resources, SamplingPlan, TensorShapes, fuse, stack};

/// Columns of a matrix: whole blocks of every format.
const COLUMNS: u32 = 512;
/// Size of the largest vocabularies.
const VOCABULARY: u32 = 262_144;
/// Rows of the longest chunk of a prompt.
pub(crate) const CHUNK: u32 = 512;
/// Positions of the context.
pub(crate) const CONTEXT: u32 = 4096;

/// An embedding matrix, square matrices and an output matrix in one format, and an F32 vector.
struct Shapes {
    matrix: (Format, [usize; 2]),
    square: [usize; 2],
    output: [usize; 2],
    vector: [usize; 1],
    sinks: [usize; 1],
}

impl TensorShapes for Shapes {
    fn tensor(&self, name: &str) -> Option<(Format, &[usize])> {
        match name {
            "matrix" => Some((self.matrix.0, &self.matrix.1)),
            "output" => Some((self.matrix.0, &self.output)),
            name if name.starts_with("square") => Some((self.matrix.0, &self.square)),
            "vector" => Some((Format::F32, &self.vector)),
            "sinks" => Some((Format::F32, &self.sinks)),
            _ => None,
        }
    }
}

/// A plan with every kernel that suits the capacity, over matrices in `format`.
pub(crate) fn plan(format: Format, capacity: u32, max_binding_bytes: u64, fused: bool) -> Plan {
    let columns = COLUMNS as usize;
    let matrix = (format, [VOCABULARY as usize, columns]);
    let shapes = Shapes {
        matrix,
        square: [columns; 2],
        output: [columns, 96 * 80],
        vector: [columns],
        sinks: [8],
    };
    // Cache formats alternate over the weight formats.
    let index = Format::ALL.iter().position(|other| *other == format).unwrap();
    let cache_format = CacheFormat::ALL[index % CacheFormat::ALL.len()];
    let mut resources = Resources::new(&shapes, max_binding_bytes).cache_in(cache_format);
    resources = resources.window_caches(CHUNK);
    let mut plan = PlanBuilder::new(&mut resources, capacity);
    let matrix = plan.resources.weight_matrix("matrix", VOCABULARY, COLUMNS);
    let vector = plan.resources.weight_vector("vector", COLUMNS);
    let embedded = plan.embed(matrix);
    let h = plan.rms_norm(embedded, vector, 1e-5);
    plan.matmul(matrix, h);
    let x = plan.embed(matrix);
    let x = plan.rms_norm(x, vector, 1e-5);
    let x = plan.layer_norm(x, vector, vector, 1e-5);
    let table = rotary_table(&mut plan);
    for pairing in [Pairing::Adjacent, Pairing::Halves] {
        plan.rope(x, table, 64, 64, pairing);
    }
    let k = plan.input(Rows::Step, 128);
    let keys = plan.resources.cache("keys", 128, CONTEXT);
    let values = plan.resources.cache("values", 128, CONTEXT);
    plan.cache_store(k, keys);
    let shape = AttentionShape::new(8, 2, 64);
    let y = plan.attention(x, keys, values, shape);
    let capped = AttentionShape { softcap: Some(50.0), window: Some(8), ..shape };
    let capped = plan.attention(x, keys, values, capped);
    let y = plan.add(y, capped);
    let gated = plan.glu(x, y, ActivationFunction::Silu);
    let gated = plan.elementwise(gated, ActivationFunction::Softcap(30.0));
    let sum = plan.add(x, gated);
    scan(&mut plan);
    short_convs(&mut plan);
    plan.matmul(matrix, sum);
    encoder(&mut plan, sum, vector);
    feed_forward(&mut plan, sum, vector);
    let last = plan.last_row(sum);
    let logits = plan.matmul(matrix, last);
    let mut plans = vec![plan.finish(logits)];
    resources.check_complete("test").unwrap();
    if fused {
        stack(&mut plans, &mut resources);
        plans = plans.into_iter().map(|plan| fuse(plan, &mut resources)).collect();
    }
    let mut sampling_plan = SamplingPlan::new(&mut resources, VOCABULARY);
    if fused {
        sampling_plan.fuse_into(&mut plans);
    }
    let mut plan = plans.remove(0);
    plan.kernels.extend(sampling_plan.plan.kernels);
    plan
}

fn rotary_table(plan: &mut PlanBuilder<'_, '_>) -> Buffer {
    plan.resources.rotary_table(RotaryTable {
        frequencies: vec![1.0; 32],
        divisors: None,
        magnitude: 1.0,
        position_scale: None,
        context_length: CONTEXT,
    })
}

/// Parts of an encoder.
fn encoder(plan: &mut PlanBuilder<'_, '_>, x: Activation, vector: Buffer) {
    let x = plan.add_vector(x, vector, 0);
    let x = plan.elementwise(x, ActivationFunction::GeluErf);
    let [keys, values] = ["keys", "values"].map(|name| plan.resources.cache(name, 128, CONTEXT));
    let window = AttentionShape { window: Some(8), ..AttentionShape::new(8, 2, 64) };
    let y = plan.attention(x, keys, values, AttentionShape { is_causal: false, ..window });
    plan.mean_rows(y);
}

/// Feed-forward layers, attention and norms, which fuse to every epilogue.
fn feed_forward(plan: &mut PlanBuilder<'_, '_>, x: Activation, vector: Buffer) {
    let product = |plan: &mut PlanBuilder<'_, '_>, name: &str, x| {
        let matrix = plan.resources.weight_matrix(&format!("square {name}"), COLUMNS, COLUMNS);
        plan.matmul(matrix, x)
    };
    let (gate, up) = (product(plan, "gate", x), product(plan, "up", x));
    let h = plan.glu(gate, up, ActivationFunction::Silu);
    let y = product(plan, "down", h);
    let residual = plan.add(x, y);
    let h = plan.rms_norm(residual, vector, 1e-5);
    let h = product(plan, "wide", h);
    let h = plan.elementwise(h, ActivationFunction::ReluSquared);
    let y = product(plan, "narrow", h);
    let residual = plan.add(residual, y);
    let [q, k, v] = ["q", "k", "v"].map(|name| {
        let weight = plan.resources.weight_matrix(&format!("square {name}"), COLUMNS, COLUMNS);
        plan.linear(Linear { weight, bias: Some(vector) }, residual)
    });
    let [keys, values] =
        ["wide keys", "wide values"].map(|name| plan.resources.cache(name, 512, CONTEXT));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    let heads = AttentionShape::new(8, 8, 64);
    let sinks = Some(plan.resources.weight_vector("sinks", 8));
    let y = plan.attention_with_sinks(q, keys, values, sinks, heads);
    let gates = plan.input(Rows::Step, 8);
    plan.gate_heads(y, gates);
    normed_heads(plan, residual, vector);
    let y = product(plan, "sandwiched", residual);
    let y = plan.rms_norm(y, vector, 1e-5);
    let residual = plan.add(residual, y);
    let h = plan.rms_norm(residual, vector, 1e-5);
    product(plan, "last", h);
}

/// Attention whose query and key heads are normed before rotation.
fn normed_heads(plan: &mut PlanBuilder<'_, '_>, x: Activation, vector: Buffer) {
    let [q, k, v] = ["normed q", "normed k", "normed v"].map(|name| {
        let weight = plan.resources.weight_matrix(&format!("square {name}"), COLUMNS, COLUMNS);
        plan.matmul(weight, x)
    });
    let table = rotary_table(plan);
    let [q, k] = [q, k].map(|x| {
        let x = plan.rms_norm_heads(x, vector, 64, 1e-6);
        plan.rope(x, table, 64, 64, Pairing::Halves);
        x
    });
    let shape = AttentionShape { window: Some(64), ..AttentionShape::new(8, 8, 64) };
    let [keys, values] = ["normed keys", "normed values"]
        .map(|name| plan.resources.window_cache(name, 512, CONTEXT, shape.window));
    plan.cache_store(k, keys);
    plan.cache_store(v, values);
    let y = plan.attention(q, keys, values, shape);
    let weight = plan.resources.weight_matrix("square gates", COLUMNS, COLUMNS);
    let gates = plan.matmul(weight, x);
    plan.gate_heads(y, gates);
}

/// The short convolutions of LFM2 1.2B and LFM3 1.7B.
fn short_convs(plan: &mut PlanBuilder<'_, '_>) {
    for kernel in [3, 7] {
        let projected = plan.input(Rows::Step, 3 * 2048);
        let weights = plan.resources.recurrent_state("short weights", 2048 * 8);
        let words = ShortConv::ring_words(2048, kernel);
        let ring = plan.resources.recurrent_state(&format!("products {kernel}"), words);
        plan.short_conv(projected, weights, ring, kernel);
    }
}

/// The Mamba-2 scan of Nemotron 3 Nano 4B.
fn scan(plan: &mut PlanBuilder<'_, '_>) {
    let shape = ScanShape {
        head_count: 96,
        head_dim: 80,
        group_count: 8,
        state_size: 128,
        conv_kernel: 4,
        z_scale: Some(1.0),
        dt_scale: 1.0,
    };
    let projected = plan.input(Rows::Step, shape.projected());
    let buffers = ScanBuffers {
        conv: plan.resources.recurrent_state("conv", 5 * u64::from(shape.channels())),
        scalars: plan.resources.recurrent_state("scalars", 3 * u64::from(shape.head_count)),
        ring: plan.resources.recurrent_state("ring", shape.ring_words()),
        state: plan.resources.recurrent_state("state", shape.state_words()),
    };
    let y = plan.scan(projected, buffers, shape);
    let norm = plan.resources.recurrent_state("norm", u64::from(shape.inner()));
    let y = plan.rms_norm_by_parts(y, norm, shape.group_count, 1e-5);
    let output = plan.resources.weight_matrix("output", COLUMNS, shape.inner());
    plan.matmul(output, y);
}
