//! Fused transforms of a product's inputs and outputs in f32: see [`Prologue`] and
//! [`crate::kernels::Epilogue`].

use super::variant::CpuVariant;
use crate::kernels::{
    Activation, ActivationFunction, CpuMemory, HeadNorm, Heads, Output, PartialNorm, Projection,
    Prologue, Rotation, Step, Written,
};

/// Input row `row` after the prologue.
pub(super) fn transformed_inputs(
    prologue: Prologue,
    memory: &CpuMemory,
    x: &Activation,
    row: u32,
) -> Vec<f32> {
    let mut inputs = memory.row(x, row).to_vec();
    if let Prologue::Rms { parts, sums, epsilon } = prologue {
        let first_sum = x.start(row) + Activation::stride_of(x.width) as usize;
        let sums = &memory.read(x.buffer)[first_sum..][..sums as usize];
        let sums_of_parts = sums.chunks(sums.len() / parts as usize);
        let width = (x.width / parts) as usize;
        for (part, sums) in inputs.chunks_exact_mut(width).zip(sums_of_parts) {
            let scale = rms_scale(sums.iter().sum(), width, epsilon);
            part.iter_mut().for_each(|x| *x *= scale);
        }
    }
    inputs
}

/// `1 / √(squares / count + epsilon)`.
pub(super) fn rms_scale(squares: f32, count: usize, epsilon: f32) -> f32 {
    1.0 / (squares / count as f32 + epsilon).sqrt()
}

/// Independent partial sums, for vectorization.
const LANES: usize = 16;

/// `Σ x²`.
pub(super) fn sum_of_squares(x: &[f32]) -> f32 {
    let (spans, rest) = x.as_chunks::<LANES>();
    let mut sums = [0.0f32; LANES];
    for span in spans {
        for (sum, x) in sums.iter_mut().zip(span) {
            *sum += x * x;
        }
    }
    sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>()
}

/// Applies the epilogue of `product` to the row `row`, whose sums are `outputs`, and writes it.
pub(super) fn finish(
    variant: CpuVariant,
    memory: &CpuMemory,
    product: &Projection,
    step: Step,
    row: u32,
    outputs: &mut [f32],
    [y, first_other, second_other]: &mut Written<'_>,
) {
    let epilogue = &product.epilogue;
    if let Some(bias) = epilogue.bias {
        outputs.iter_mut().zip(memory.read(bias)).for_each(|(output, bias)| *output += bias);
    }
    if epilogue.scale != 1.0 {
        outputs.iter_mut().for_each(|output| *output *= epilogue.scale);
    }
    if let Some(function) = epilogue.function {
        variant.apply(function, outputs);
    }
    let (width, first) = (product.y.width as usize, product.matrix.first_row as usize);
    match epilogue.output {
        Output::Rows { residual, norm } => {
            let own = &mut y[first..][..outputs.len()];
            own.copy_from_slice(outputs);
            if let Some(residual) = residual {
                let residual = &memory.row(&residual, row)[first..];
                own.iter_mut().zip(residual).for_each(|(y, x)| *y += x);
            }
            if let Some(norm) = norm {
                partial_norm(memory, &norm, &y[..width], first_other);
            }
        }
        Output::Gated(function) => gated(variant, function, outputs, &mut y[first..]),
        Output::Heads(heads) => {
            let position = step.position + row;
            finish_heads(memory, &heads, position, outputs, [y, first_other, second_other]);
        }
        // Sampling on the CPU reads all logits, not the best of each quad.
        Output::Best { .. } => y[first..][..outputs.len()].copy_from_slice(outputs),
    }
}

/// `y = f(gate) · up`, where `outputs` is `gate` followed by `up`.
fn gated(variant: CpuVariant, function: ActivationFunction, outputs: &mut [f32], y: &mut [f32]) {
    let (gate, up) = outputs.split_at_mut(outputs.len() / 2);
    variant.apply(function, gate);
    for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
        *y = *gate * *up;
    }
}

/// Writes `y · weight`, and `Σ y²` as the first of the partial sums after the columns.
pub(super) fn partial_norm(
    memory: &CpuMemory,
    norm: &PartialNorm,
    y: &[f32],
    weighted: &mut [f32],
) {
    let (columns, sums) = weighted.split_at_mut(Activation::stride_of(y.len() as u32) as usize);
    for ((weighted, y), weight) in columns.iter_mut().zip(y).zip(memory.read(norm.weight)) {
        *weighted = y * weight;
    }
    sums.fill(0.0);
    sums[0] = sum_of_squares(y);
}

/// Normalizes and rotates query and key heads, writes queries to `q`, keys and values to the cache.
fn finish_heads(
    memory: &CpuMemory,
    heads: &Heads,
    position: u32,
    outputs: &mut [f32],
    [q, key, value]: [&mut [f32]; 3],
) {
    let [q_rows, k_rows, v_rows] = heads.rows.map(|rows| rows as usize);
    let (queries, rest) = outputs.split_at_mut(q_rows);
    let (keys, rest) = rest.split_at_mut(k_rows);
    let (values, gates) = rest.split_at_mut(v_rows);
    let head_dim = heads.rotation.head_dim as usize;
    if let Some(HeadNorm { weight, epsilon }) = heads.norm {
        let weights = memory.read(weight).chunks_exact(head_dim);
        for (heads, weight) in [&mut *queries, &mut *keys].into_iter().zip(weights) {
            for head in heads.chunks_exact_mut(head_dim) {
                let scale = rms_scale(sum_of_squares(head), head_dim, epsilon);
                head.iter_mut().zip(weight).for_each(|(x, weight)| *x *= scale * weight);
            }
        }
    }
    let table = memory.read(heads.rotation.table);
    for head in queries.chunks_exact_mut(head_dim).chain(keys.chunks_exact_mut(head_dim)) {
        rotate(&heads.rotation, table, position, head);
    }
    q[..q_rows].copy_from_slice(queries);
    if !gates.is_empty() {
        q[Heads::first_gate(q_rows)..][..gates.len()].copy_from_slice(gates);
    }
    for (cache, words, row) in [(heads.keys, key, keys), (heads.values, value, values)] {
        if !row.is_empty() {
            cache.rows.write_row(words, row);
        }
    }
}

/// Rotates the pairs of one head by its position (rotary positions).
fn rotate(rotation: &Rotation, table: &[f32], position: u32, head: &mut [f32]) {
    let rotary = rotation.rotary_dim as usize;
    let row = &table[position as usize * rotary..][..rotary];
    let (cosines, sines) = row.split_at(rotary / 2);
    for (i, (cos, sin)) in cosines.iter().zip(sines).enumerate() {
        let (first, second) = rotation.pair(i);
        let (a, b) = (head[first], head[second]);
        head[first] = a * cos - b * sin;
        head[second] = b * cos + a * sin;
    }
}
