//! What the kernels of a Mamba-2 mixer (Dao & Gu 2024) share: its sizes, its buffers, and what
//! they mean: a convolution over time, then a recurrence from row to row.

use super::{Buffer, Step};

/// Sizes of a mixer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanShape {
    /// Heads, at most [`ScanShape::MAX_HEADS`]; each has a decay of its own.
    pub head_count: u32,
    /// Elements of a head, at most [`ScanShape::MAX_SIZE`].
    pub head_dim: u32,
    /// Groups of heads that share B and C; divides `head_count`.
    pub group_count: u32,
    /// Rows of a head's state, at most [`ScanShape::MAX_SIZE`].
    pub state_size: u32,
    /// Rows that the convolution sees, at most [`ScanShape::MAX_CONV_KERNEL`].
    pub conv_kernel: u32,
}

impl ScanShape {
    /// The most heads.
    pub const MAX_HEADS: u32 = 1 << 14;
    /// The largest head and state that one workgroup works on.
    pub const MAX_SIZE: u32 = 256;
    /// The convolution's longest reach.
    pub const MAX_CONV_KERNEL: u32 = 16;

    /// Elements of all heads.
    pub fn inner(self) -> u32 {
        self.head_count * self.head_dim
    }

    /// What is convolved: x, and B and C of every group.
    pub fn channels(self) -> u32 {
        self.inner() + 2 * self.group_count * self.state_size
    }

    /// Columns of the input projection: z, the channels, and one dt a head.
    pub fn projected(self) -> u32 {
        self.inner() + self.channels() + self.head_count
    }

    /// Columns from head to head after the convolution, and of the state: whole tiles.
    pub(crate) fn head_stride(self) -> u32 {
        self.head_dim.next_multiple_of(16)
    }

    /// Columns from group to group of B and C after the convolution, and rows of the state.
    pub(crate) fn state_stride(self) -> u32 {
        self.state_size.next_multiple_of(32)
    }

    /// First columns of x, B and C after the convolution, and their end.
    pub(super) fn convolved(self) -> [u32; 4] {
        let x = self.head_count * self.head_stride();
        let b = self.group_count * self.state_stride();
        [0, x, x + b, x + 2 * b]
    }

    /// Columns after the convolution.
    pub fn convolved_width(self) -> u32 {
        self.convolved()[3]
    }

    /// Words of [`ScanBuffers::ring`].
    pub fn ring_words(self) -> u64 {
        u64::from(self.conv_kernel) * u64::from(self.channels())
    }

    /// Words of [`ScanBuffers::state`].
    pub fn state_words(self) -> u64 {
        u64::from(self.convolved()[1]) * u64::from(self.state_stride())
    }

    /// Of the recurrence: each element of the state decays, takes something up and is read.
    pub(super) fn operations(self, step: Step) -> u64 {
        5 * u64::from(self.inner()) * u64::from(self.state_size) * u64::from(step.rows)
    }

    /// The constants that say it to a shader.
    pub(super) fn constants(self) -> Vec<(&'static str, f64)> {
        vec![
            ("HEADS", self.head_count.into()),
            ("HEAD_DIM", self.head_dim.into()),
            ("HEAD_STRIDE", self.head_stride().into()),
            ("GROUPS", self.group_count.into()),
            ("STATE_STRIDE", self.state_stride().into()),
        ]
    }
}

/// Weights and state of a mixer.
#[derive(Debug, Clone, Copy)]
pub struct ScanBuffers {
    /// `[channels, conv_kernel]`, then a bias for each channel.
    pub conv: Buffer,
    /// Biases of dt, decays A, and skips D, one each for every head.
    pub scalars: Buffer,
    /// The convolution's last inputs, `[conv_kernel, channels]`: a row at its position modulo
    /// `conv_kernel`.
    pub ring: Buffer,
    /// `[head_count, state_size, head_dim]`, head by head padded to whole tiles.
    pub state: Buffer,
}

/// `x / (1 + e^-x)`.
pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// `log(1 + e^x)`.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// A row after the convolution: of what went in so many rows ago, all channels each.
pub(super) fn convolve(shape: ScanShape, conv: &[f32], inputs: &[&[f32]], y: &mut [f32]) {
    let kernel = shape.conv_kernel as usize;
    let (weights, biases) = conv.split_at(shape.channels() as usize * kernel);
    for (channel, ((y, weights), bias)) in
        y.iter_mut().zip(weights.chunks_exact(kernel)).zip(biases).enumerate()
    {
        let products = weights.iter().rev().zip(inputs);
        let sum: f64 =
            products.map(|(weight, input)| f64::from(*weight) * f64::from(input[channel])).sum();
        *y = silu(f64::from(*bias) + sum) as f32;
    }
}

/// How a row is convolved, as [`convolve`] means it.
pub(crate) type ConvolveBy<'a> = &'a (dyn Fn(ScanShape, &[f32], &[&[f32]], &mut [f32]) + Sync);

/// A row as the recurrence takes it.
pub(crate) struct ScanRow<'a> {
    /// The row of the input projection.
    pub(crate) projected: &'a [f32],
    /// The heads' x, `head_stride` apart.
    pub(crate) x: &'a [f32],
    /// The groups' B, `state_stride` apart.
    pub(crate) b: &'a [f32],
    /// The groups' C, `state_stride` apart.
    pub(crate) c: &'a [f32],
}

/// How rows of the recurrence are computed, one after another, as [`scan_rows`] means it: from scalars and
/// state to `y`, `stride` words a row.
pub(crate) type ScanBy<'a> =
    &'a dyn Fn(ScanShape, &[ScanRow<'_>], &[f32], &mut [f32], &mut [f32], usize);

/// The recurrence, row by row.
pub(super) fn scan_rows(
    shape: ScanShape,
    rows: &[ScanRow<'_>],
    scalars: &[f32],
    state: &mut [f32],
    y: &mut [f32],
    stride: usize,
) {
    for (row, y) in rows.iter().zip(y.chunks_exact_mut(stride)) {
        scan_row(shape, row, scalars, state, y);
    }
}

/// One row of the recurrence: every head's state moves on, and `y` is read from it.
fn scan_row(
    shape: ScanShape,
    row: &ScanRow<'_>,
    scalars: &[f32],
    state: &mut [f32],
    y: &mut [f32],
) {
    let (heads, head_dim) = (shape.head_count as usize, shape.head_dim as usize);
    let (head_stride, state_stride) = (shape.head_stride() as usize, shape.state_stride() as usize);
    let first_dt = (shape.inner() + shape.channels()) as usize;
    for head in 0..heads {
        let group = head / (heads / shape.group_count as usize) * state_stride;
        let dt = softplus(f64::from(row.projected[first_dt + head]) + f64::from(scalars[head]));
        let decay = (dt * f64::from(scalars[heads + head])).exp();
        let x = &row.x[head * head_stride..][..head_dim];
        let mut sums = vec![0.0f64; head_dim];
        for n in 0..shape.state_size as usize {
            let (b, c) = (dt * f64::from(row.b[group + n]), f64::from(row.c[group + n]));
            let state = &mut state[(head * state_stride + n) * head_stride..][..head_dim];
            for ((state, x), sum) in state.iter_mut().zip(x).zip(&mut sums) {
                let moved = f64::from(*state) * decay + b * f64::from(*x);
                *state = moved as f32;
                *sum += moved * c;
            }
        }
        let skip = f64::from(scalars[2 * heads + head]);
        let z = &row.projected[head * head_dim..][..head_dim];
        let y = &mut y[head * head_dim..][..head_dim];
        for (((y, sum), x), z) in y.iter_mut().zip(sums).zip(x).zip(z) {
            *y = ((sum + skip * f64::from(*x)) * silu(f64::from(*z))) as f32;
        }
    }
}
