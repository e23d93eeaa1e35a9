//! Sizes, buffers and CPU reference common to the kernels of a Mamba-2 mixer (Dao & Gu 2024): a
//! causal convolution over time, then a recurrence from row to row.

use super::{ActivationFunction, Buffer, Step};

/// Sizes of a Mamba-2 mixer, and factors of its inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScanShape {
    /// Heads, at most [`ScanShape::MAX_HEADS`], each with its own decay.
    pub head_count: u32,
    /// Elements of a head, at most [`ScanShape::MAX_SIZE`].
    pub head_dim: u32,
    /// Groups of heads that share B and C; divides `head_count`.
    pub group_count: u32,
    /// Rows of a head's state, at most [`ScanShape::MAX_SIZE`].
    pub state_size: u32,
    /// Rows that the convolution sees, the current one included; at most
    /// [`ScanShape::MAX_CONV_KERNEL`].
    pub conv_kernel: u32,
    /// Factor of z in the gate, not 0; `None` if another kernel applies the gate.
    pub z_scale: Option<f32>,
    /// Factor of dt, before its bias.
    pub dt_scale: f32,
}

impl ScanShape {
    /// Largest number of heads.
    pub const MAX_HEADS: u32 = 1 << 14;
    /// Largest `head_dim` and `state_size` of a workgroup.
    pub const MAX_SIZE: u32 = 256;
    /// Largest `conv_kernel`.
    pub const MAX_CONV_KERNEL: u32 = 16;

    /// Elements of all heads.
    pub fn inner(self) -> u32 {
        self.head_count * self.head_dim
    }

    /// Convolved columns: x, and B and C of every group.
    pub fn channels(self) -> u32 {
        self.inner() + 2 * self.group_count * self.state_size
    }

    /// Columns of the input projection: z, the channels, and dt of every head.
    pub fn projected(self) -> u32 {
        self.inner() + self.channels() + self.head_count
    }

    /// Columns from head to head after the convolution, and columns of a head's state: `head_dim`
    /// rounded up to whole tiles.
    pub(crate) fn head_stride(self) -> u32 {
        self.head_dim.next_multiple_of(16)
    }

    /// Columns from group to group of B and C after the convolution, and rows of a head's state:
    /// `state_size` rounded up to whole tiles.
    pub(crate) fn state_stride(self) -> u32 {
        self.state_size.next_multiple_of(32)
    }

    /// First columns of x, of B and of C after the convolution, and the end of C.
    pub(crate) fn convolved(self) -> [u32; 4] {
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

    /// Index in [`ScanBuffers::ring`] of the first word of a position's row.
    pub(crate) fn ring_slot(self, position: u32) -> usize {
        (position % self.conv_kernel) as usize * self.channels() as usize
    }

    /// Words of [`ScanBuffers::state`].
    pub fn state_words(self) -> u64 {
        u64::from(self.convolved()[1]) * u64::from(self.state_stride())
    }

    /// Operations of the recurrence: 5 for each element of the state and row.
    pub(super) fn operations(self, step: Step) -> u64 {
        5 * u64::from(self.inner()) * u64::from(self.state_size) * u64::from(step.rows)
    }

    /// `silu(z_scale · z)`, or 1 if another kernel applies the gate.
    fn gate(self, z: f32) -> f64 {
        let silu = |scale| ActivationFunction::Silu.of(f64::from(scale) * f64::from(z));
        self.z_scale.map_or(1.0, silu)
    }

    /// Constants of `lib/ssm_gate`.
    pub(super) fn gate_constants(self) -> [(&'static str, f64); 2] {
        let z_scale = self.z_scale.unwrap_or(0.0);
        [("Z_SCALE", z_scale.into()), ("DT_SCALE", self.dt_scale.into())]
    }

    /// Constants of the shaders.
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

/// Weights and state of a Mamba-2 mixer.
#[derive(Debug, Clone, Copy)]
pub struct ScanBuffers {
    /// `[channels, conv_kernel]`, then a bias for each channel.
    pub conv: Buffer,
    /// Biases of dt, decays A and skips D, each `[head_count]`.
    pub scalars: Buffer,
    /// Last inputs of the convolution, `[conv_kernel, channels]`, each at its position modulo
    /// `conv_kernel`.
    pub ring: Buffer,
    /// `[head_count, state_size, head_dim]`, each head padded to whole tiles.
    pub state: Buffer,
}

/// `log(1 + e^x)`.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// CPU reference of the convolution: returns the channels `x | B | C` of a row; `inputs` are those
/// of the row and of the rows before it, newest first.
pub(super) fn convolve(shape: ScanShape, conv: &[f32], inputs: &[&[f32]]) -> Vec<f32> {
    let kernel = shape.conv_kernel as usize;
    let (weights, biases) = conv.split_at(shape.channels() as usize * kernel);
    let channels = weights.chunks_exact(kernel).zip(biases).enumerate();
    let convolved = channels.map(|(channel, (weights, bias))| {
        let products = weights.iter().rev().zip(inputs);
        let sum: f64 =
            products.map(|(weight, input)| f64::from(*weight) * f64::from(input[channel])).sum();
        ActivationFunction::Silu.of(f64::from(*bias) + sum) as f32
    });
    convolved.collect()
}

/// Returns the channels `x | B | C` of a row, heads and groups padded with zeros to whole tiles.
pub(super) fn padded(shape: ScanShape, channels: &[f32]) -> Vec<f32> {
    let (x, b_and_c) = channels.split_at(shape.inner() as usize);
    let parts = [
        (x, shape.head_dim, shape.head_stride()),
        (b_and_c, shape.state_size, shape.state_stride()),
    ];
    let mut padded = Vec::new();
    for (values, size, stride) in parts {
        for values in values.chunks_exact(size as usize) {
            padded.extend_from_slice(values);
            padded.extend((size..stride).map(|_| 0.0));
        }
    }
    padded
}

/// CPU reference of the recurrence: advances the state of every head by a row and computes `y` from
/// it. `projected` is the row of the input projection, `convolved` the row that [`padded`] returns.
pub(super) fn scan_row(
    shape: ScanShape,
    projected: &[f32],
    convolved: &[f32],
    scalars: &[f32],
    state: &mut [f32],
    y: &mut [f32],
) {
    let (heads, head_dim) = (shape.head_count as usize, shape.head_dim as usize);
    let (head_stride, state_stride) = (shape.head_stride() as usize, shape.state_stride() as usize);
    let [_, first_b, first_c, _] = shape.convolved().map(|column| column as usize);
    let first_dt = (shape.inner() + shape.channels()) as usize;
    for head in 0..heads {
        let group = head / (heads / shape.group_count as usize) * state_stride;
        let dt = f64::from(shape.dt_scale) * f64::from(projected[first_dt + head]);
        let dt = softplus(dt + f64::from(scalars[head]));
        let decay = (dt * f64::from(scalars[heads + head])).exp();
        let x = &convolved[head * head_stride..][..head_dim];
        let mut sums = vec![0.0f64; head_dim];
        for n in 0..shape.state_size as usize {
            let b = dt * f64::from(convolved[first_b + group + n]);
            let c = f64::from(convolved[first_c + group + n]);
            let state = &mut state[(head * state_stride + n) * head_stride..][..head_dim];
            for ((state, x), sum) in state.iter_mut().zip(x).zip(&mut sums) {
                let next = f64::from(*state) * decay + b * f64::from(*x);
                *state = next as f32;
                *sum += next * c;
            }
        }
        let skip = f64::from(scalars[2 * heads + head]);
        let z = &projected[head * head_dim..][..head_dim];
        let y = &mut y[head * head_dim..][..head_dim];
        for (((y, sum), x), z) in y.iter_mut().zip(sums).zip(x).zip(z) {
            *y = ((sum + skip * f64::from(*x)) * shape.gate(*z)) as f32;
        }
    }
}
