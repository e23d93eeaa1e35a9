//! Kernels that compute each row on its own, distributed over the threads: norms, additions,
//! activation functions, and the embedding.

use super::Context;
use super::epilogue::{partial_norm, rms_scale, sum_of_squares};
use super::packed_matrix::PackedMatrix;
use super::threads::Threads;
use crate::kernels::{
    Activation, Add, CpuMemory, Elementwise, Embed, GateHeads, Glu, LayerNorm, RmsNorm, Step,
    logistic,
};

/// Rough nanoseconds to write an element of a row.
const ELEMENT_NS: usize = 1;

/// Calls `write` with each row of an activation, whole strides, distributed over the threads.
pub(super) fn for_each_row(
    threads: &Threads,
    memory: &mut CpuMemory,
    y: &Activation,
    step: Step,
    write: impl Fn(&CpuMemory, u32, &mut [f32]) + Sync,
) {
    let rows = y.rows.count(step.rows);
    memory.update(y.buffer, |memory, words| {
        let per_task = threads.items_per_task(rows as usize, y.width as usize * ELEMENT_NS);
        let tasks = words[..y.start(rows)].chunks_mut(per_task * y.stride as usize);
        threads.for_each((0..).step_by(per_task).zip(tasks), |(first, words)| {
            for (row, words) in (first..).zip(words.chunks_exact_mut(y.stride as usize)) {
                write(memory, row, words);
            }
        });
    });
}

/// Runs [`Elementwise`].
pub(super) fn elementwise(
    (variant, threads): Context<'_>,
    memory: &mut CpuMemory,
    Elementwise { x, y, function }: &Elementwise,
    step: Step,
) {
    for_each_row(threads, memory, y, step, |memory, row, y| {
        let y = &mut y[..x.width as usize];
        y.copy_from_slice(memory.row(x, row));
        variant.apply(*function, y);
    });
}

/// Runs [`Glu`].
pub(super) fn glu(
    (variant, threads): Context<'_>,
    memory: &mut CpuMemory,
    Glu { gate, up, y, function }: &Glu,
    step: Step,
) {
    for_each_row(threads, memory, y, step, |memory, row, y| {
        let y = &mut y[..gate.width as usize];
        y.copy_from_slice(memory.row(gate, row));
        variant.apply(*function, y);
        y.iter_mut().zip(memory.row(up, row)).for_each(|(y, up)| *y *= up);
    });
}

/// Runs [`GateHeads`].
pub(super) fn gate_heads(threads: &Threads, memory: &mut CpuMemory, gate: &GateHeads, step: Step) {
    let head_dim = gate.head_dim() as usize;
    for_each_row(threads, memory, &gate.y, step, |memory, row, y| {
        let heads = memory.row(&gate.x, row).chunks_exact(head_dim);
        let heads = heads.zip(memory.row(&gate.gates, row));
        for (y, (x, gate)) in y.chunks_exact_mut(head_dim).zip(heads) {
            let gate = logistic(*gate) as f32;
            y.iter_mut().zip(x).for_each(|(y, x)| *y = gate * x);
        }
    });
}

/// Runs [`Add`].
pub(super) fn add(threads: &Threads, memory: &mut CpuMemory, add: &Add, step: Step) {
    for_each_row(threads, memory, &add.y, step, |memory, row, y| {
        let b = &memory.read(add.b)[(row * add.b_stride) as usize..];
        let sums = memory.row(&add.a, row).iter().zip(b).map(|(a, b)| a + b);
        y.iter_mut().zip(sums).for_each(|(y, sum)| *y = sum);
    });
}

/// Runs [`RmsNorm`].
pub(super) fn rms_norm(threads: &Threads, memory: &mut CpuMemory, norm: &RmsNorm, step: Step) {
    let width = (norm.y.width / norm.parts) as usize;
    for_each_row(threads, memory, &norm.y, step, |memory, row, y| {
        let weights = memory.read(norm.weight).chunks_exact(width).cycle();
        let parts = memory.row(&norm.x, row).chunks_exact(width).zip(weights);
        for ((x, weight), y) in parts.zip(y.chunks_exact_mut(width)) {
            let scale = rms_scale(sum_of_squares(x), width, norm.epsilon);
            for ((y, x), weight) in y.iter_mut().zip(x).zip(weight) {
                *y = x * scale * weight;
            }
        }
        if let Some(residual) = &norm.residual {
            y.iter_mut().zip(memory.row(residual, row)).for_each(|(y, x)| *y += x);
        }
    });
    if let Some(next) = &norm.norm {
        for_each_row(threads, memory, &next.row, step, |memory, row, weighted| {
            partial_norm(memory, next, memory.row(&norm.y, row), weighted);
        });
    }
}

/// Runs [`LayerNorm`].
pub(super) fn layer_norm(threads: &Threads, memory: &mut CpuMemory, norm: &LayerNorm, step: Step) {
    for_each_row(threads, memory, &norm.y, step, |memory, row, y| {
        let (weight, bias) = (memory.read(norm.weight), memory.read(norm.bias));
        let x = memory.row(&norm.x, row);
        let y = &mut y[..x.len()];
        let mean = x.iter().copied().map(f64::from).sum::<f64>() / x.len() as f64;
        y.iter_mut().zip(x).for_each(|(y, x)| *y = x - mean as f32);
        let scale = rms_scale(sum_of_squares(y), y.len(), norm.epsilon);
        for ((y, weight), bias) in y.iter_mut().zip(weight).zip(bias) {
            *y = *y * scale * weight + bias;
        }
    });
}

/// Runs [`Embed`] on a packed matrix.
pub(super) fn embed(matrix: &PackedMatrix, memory: &mut CpuMemory, embed: &Embed, step: Step) {
    let own = embed.matrix.first_row..embed.matrix.first_row + embed.matrix.rows;
    for row in 0..step.rows {
        let token = memory.read(embed.tokens)[row as usize].to_bits();
        if !own.contains(&token) {
            continue;
        }
        memory.update(embed.y.buffer, |_, y| {
            let y = &mut y[embed.y.start(row)..][..embed.matrix.columns as usize];
            matrix.row(token as usize, y);
            y.iter_mut().for_each(|y| *y *= embed.scale);
        });
        if let Some(norm) = &embed.norm {
            memory.update(norm.row.buffer, |memory, words| {
                let words = &mut words[norm.row.start(row)..][..norm.row.stride as usize];
                partial_norm(memory, norm, memory.row(&embed.y, row), words);
            });
        }
    }
}
