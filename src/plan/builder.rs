//! The vocabulary in which a model writes its plan: each method appends kernels and returns
//! the activation they write.
//!
//! Mistakes of the programmer, such as operands of different widths, are assertions here.

use super::{Matrix, Plan, PlannedKernel, Resources};
use crate::kernels::{
    Activation, Add, Attention, AttentionMerge, AttentionShape, Buffer, Cache, CacheStore,
    Candidates, Elementwise, Embed, Function, GatedActivation, Kernel, LastRow, LayerNorm, Matmul,
    Matvec, Pairing, Pick, Projection, RmsNorm, Rope, Rows, SamplingBuffers, ScanBuffers,
    ScanShape, SsmConv, SsmScan, SsmScores, SsmStep, Tile, Turn,
};

/// Plans of at most this many rows use the matrix-vector kernel, larger ones the tiled one.
const MATVEC_ROWS: u32 = 4;

/// Writes a plan.
pub struct PlanBuilder<'a, 'b> {
    /// What the plan shares with others: ask it for weights and state.
    pub resources: &'a mut Resources<'b>,
    capacity: u32,
    kernels: Vec<PlannedKernel>,
    scratch: Vec<Activation>,
    place: String,
}

/// A matrix product with or without a bias.
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// `[outputs, inputs]`.
    pub weight: Matrix,
    /// `[outputs]`.
    pub bias: Option<Buffer>,
}

impl<'a, 'b> PlanBuilder<'a, 'b> {
    /// An empty plan for steps of at most `capacity` rows.
    pub fn new(resources: &'a mut Resources<'b>, capacity: u32) -> Self {
        let place = String::new();
        Self { resources, capacity, kernels: Vec::new(), scratch: Vec::new(), place }
    }

    /// The plan, with what it is for.
    pub fn finish(self, logits: Activation) -> Plan {
        let Self { capacity, kernels, scratch, .. } = self;
        Plan { capacity, kernels, scratch, logits }
    }

    /// Names the place in the model of the kernels that follow, for labels.
    pub fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// Rows that something else fills: how tests feed a single kernel.
    pub fn input(&mut self, rows: Rows, width: u32) -> Activation {
        self.scratch(rows, width)
    }

    /// Rows of the embedding matrix for the step's tokens, `[rows, columns]`.
    pub fn embed(&mut self, matrix: Matrix) -> Activation {
        let tokens = self.resources.tokens(self.capacity);
        let parts = self.resources.parts(matrix);
        let y = self.scratch(Rows::Step, parts[0].columns);
        for matrix in parts {
            self.push(Embed { tokens, matrix, y, weighted: None });
        }
        y
    }

    /// `weights · x` for every row of `x`, `[rows, matrix rows]`.
    pub fn matmul(&mut self, matrix: Matrix, x: Activation) -> Activation {
        let info = self.resources.matrix(matrix.0);
        assert_eq!(info.columns, x.width, "{}: columns, and width of the input", info.name());
        let y = self.scratch(x.rows, info.rows);
        for matrix in self.resources.parts(matrix) {
            let projection = Projection::new(x, matrix, y);
            if x.rows.count(self.capacity) <= MATVEC_ROWS {
                self.push(Matvec::new(projection));
            } else {
                self.push(Matmul::new(projection));
            }
        }
        y
    }

    /// A matrix product, and its bias if it has one.
    pub fn linear(&mut self, linear: Linear, x: Activation) -> Activation {
        let product = self.matmul(linear.weight, x);
        let Some(b) = linear.bias else { return product };
        let y = self.scratch(product.rows, product.width);
        self.push(Add { a: product, b, b_stride: 0, y });
        y
    }

    /// Root-mean-square norm.
    pub fn rms_norm(&mut self, x: Activation, weight: Buffer, epsilon: f32) -> Activation {
        self.rms_norm_by_parts(x, weight, 1, epsilon)
    }

    /// Root-mean-square norm of each of the row's equal parts; the weight is as wide as the row.
    pub fn rms_norm_by_parts(
        &mut self,
        x: Activation,
        weight: Buffer,
        parts: u32,
        epsilon: f32,
    ) -> Activation {
        assert!(x.width.is_multiple_of(parts), "{} columns in {parts} parts", x.width);
        let y = self.scratch(x.rows, x.width);
        self.push(RmsNorm { x, weight, y, parts, same_weights: false, epsilon });
        y
    }

    /// Root-mean-square norm of each head by itself, all with the same weights, `[head_dim]`.
    pub fn rms_norm_heads(
        &mut self,
        x: Activation,
        weight: Buffer,
        head_dim: u32,
        epsilon: f32,
    ) -> Activation {
        let parts = x.width / head_dim;
        let y = self.scratch(x.rows, x.width);
        self.push(RmsNorm { x, weight, y, parts, same_weights: true, epsilon });
        y
    }

    /// Layer norm.
    pub fn layer_norm(
        &mut self,
        x: Activation,
        weight: Buffer,
        bias: Buffer,
        epsilon: f32,
    ) -> Activation {
        let y = self.scratch(x.rows, x.width);
        self.push(LayerNorm { x, weight, bias, y, epsilon });
        y
    }

    /// `a + b`.
    pub fn add(&mut self, a: Activation, b: Activation) -> Activation {
        assert_eq!((a.rows, a.width), (b.rows, b.width), "shapes of the addends");
        let y = self.scratch(a.rows, a.width);
        self.push(Add { a, b: b.buffer, b_stride: b.stride, y });
        y
    }

    /// `f(x)`, element by element.
    pub fn elementwise(&mut self, x: Activation, function: Function) -> Activation {
        let y = self.scratch(x.rows, x.width);
        self.push(Elementwise { x, y, function });
        y
    }

    /// `f(gate) · up`.
    pub fn gated_activation(
        &mut self,
        gate: Activation,
        up: Activation,
        function: Function,
    ) -> Activation {
        assert_eq!((gate.rows, gate.width), (up.rows, up.width), "shapes of gate and input");
        let y = self.scratch(gate.rows, gate.width);
        self.push(GatedActivation { gate, up, y, function });
        y
    }

    /// A Mamba-2 mixer between its two projections: convolution, scan and gate, `[rows, inner]`.
    pub fn scan(
        &mut self,
        projected: Activation,
        buffers: ScanBuffers,
        shape: ScanShape,
    ) -> Activation {
        assert_eq!(projected.width, shape.projected(), "width of the input projection");
        let y = self.scratch(projected.rows, shape.inner());
        if self.capacity == 1 {
            self.push(SsmStep { projected, buffers, y, weight: None, shape });
            return y;
        }
        let x = self.scratch(projected.rows, shape.convolved_width());
        self.push(SsmConv { projected, buffers, y: x, shape });
        let scores = self.scratch(projected.rows, shape.group_count * SsmScores::CHUNK);
        self.push(SsmScores { x, y: scores, shape });
        self.push(SsmScan { projected, x, scores, buffers, y, shape, tile: Tile::default() });
        y
    }

    /// Turns the heads of `x` by their positions, in place.
    pub fn rope(
        &mut self,
        x: Activation,
        table: Buffer,
        head_dim: u32,
        rotary_dim: u32,
        pairing: Pairing,
    ) {
        self.push(Rope { x, turn: Turn { table, head_dim, rotary_dim, pairing } });
    }

    /// Appends the step's rows to a cache.
    pub fn cache_store(&mut self, x: Activation, cache: Cache) {
        assert_eq!(x.width, cache.rows.width, "width of the cache");
        self.push(CacheStore { x, cache });
    }

    /// Causal attention over caches that already hold the step's rows. In a plan for one row, which
    /// alone would be few workgroups' work, the positions are split.
    pub fn attention(
        &mut self,
        q: Activation,
        keys: Cache,
        values: Cache,
        shape: AttentionShape,
    ) -> Activation {
        let y = self.scratch(q.rows, q.width);
        let max_splits = if self.capacity == 1 { Attention::MAX_SPLITS } else { 1 };
        let partials = self.scratch(Rows::One, Attention::partial_words(&shape, max_splits));
        let attention =
            Attention { q, keys, values, y, partials, shape, max_splits, tile: Tile::default() };
        self.push(attention.clone());
        if max_splits > 1 {
            self.push(AttentionMerge(attention));
        }
        y
    }

    /// The step's last row.
    pub fn last_row(&mut self, x: Activation) -> Activation {
        if self.capacity == 1 {
            return Activation { rows: Rows::One, ..x };
        }
        let y = self.scratch(Rows::One, x.width);
        self.push(LastRow { x, y });
        y
    }

    /// The choice of a token.
    pub(super) fn pick(&mut self, buffers: SamplingBuffers) {
        self.push(Candidates(buffers));
        self.push(Pick(buffers));
    }

    fn scratch(&mut self, rows: Rows, width: u32) -> Activation {
        let stride = Activation::stride_of(width);
        let buffer = Buffer::Scratch(self.resources.index(self.scratch.len()));
        let activation = Activation { buffer, rows, width, stride };
        self.scratch.push(activation);
        activation
    }

    fn push(&mut self, kernel: impl Into<Kernel>) {
        let kernel = kernel.into();
        let label = format!("{} {}", self.place, kernel.name());
        let bindings = kernel.bindings();
        for (i, binding) in bindings.iter().enumerate() {
            let twice = bindings[..i]
                .iter()
                .any(|other| other.buffer == binding.buffer && (other.write || binding.write));
            assert!(!twice, "{label}: {:?} is written and bound twice", binding.buffer);
        }
        self.kernels.push(PlannedKernel { kernel, label });
    }
}
