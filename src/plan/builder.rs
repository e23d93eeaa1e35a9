//! The vocabulary in which models write their plans: each method appends kernels and returns the
//! activation that they write.
//!
//! Operands whose shapes do not match are programming errors: the methods assert them.

use super::{Linear, Matrix, Plan, PlannedKernel, Resources};
use crate::kernels::{
    Activation, ActivationFunction, Add, AdjustLogits, Attention, AttentionMerge, AttentionShape,
    Buffer, Cache, CacheStore, Elementwise, Embed, GateHeads, Glu, Kernel, LastRow, LayerNorm,
    Matmul, MatmulTiling, Matvec, MeanRows, Pairing, Projection, RmsNorm, Rope, Rotation, Rows,
    Sample, SamplingBuffers, ScanBuffers, ScanShape, ShortConv, SsmConv, SsmScan, SsmScores,
    SsmStep,
};

/// Largest number of rows of a step whose products are matrix-vector products.
const MATVEC_ROWS: u32 = 4;

/// A plan that is being written.
pub struct PlanBuilder<'a, 'b> {
    /// Weights and state, common to all plans of the model.
    pub resources: &'a mut Resources<'b>,
    capacity: u32,
    kernels: Vec<PlannedKernel>,
    scratch: Vec<Activation>,
    place: String,
}

impl<'a, 'b> PlanBuilder<'a, 'b> {
    /// Begins a plan for steps of at most `capacity` rows.
    pub fn new(resources: &'a mut Resources<'b>, capacity: u32) -> Self {
        let place = String::new();
        Self { resources, capacity, kernels: Vec::new(), scratch: Vec::new(), place }
    }

    /// Returns the plan; `logits` is its result.
    pub fn finish(self, logits: Activation) -> Plan {
        let Self { capacity, kernels, scratch, .. } = self;
        Plan { capacity, kernels, scratch, logits }
    }

    /// Sets the place in the model for the labels of the kernels that follow, e.g. `layer 3`.
    pub fn at(&mut self, place: impl Into<String>) {
        self.place = place.into();
    }

    /// An activation that no kernel of the plan writes.
    pub fn input(&mut self, rows: Rows, width: u32) -> Activation {
        self.scratch(rows, width)
    }

    /// Rows of the embedding matrix for the step's tokens, `[rows, columns]`.
    pub fn embed(&mut self, matrix: Matrix) -> Activation {
        let tokens = self.resources.tokens(self.capacity);
        let parts = self.resources.parts(matrix);
        let y = self.scratch(Rows::Step, parts[0].columns);
        for matrix in parts {
            self.push(Embed { tokens, matrix, y, scale: 1.0, norm: None });
        }
        y
    }

    /// `weights · x` for every row of `x`, `[rows, matrix rows]`.
    pub fn matmul(&mut self, matrix: Matrix, x: Activation) -> Activation {
        let info = self.resources.matrix(matrix.0);
        assert_eq!(info.columns, x.width, "{}: matrix columns and input width", info.name());
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
        linear.bias.map_or(product, |bias| self.add_vector(product, bias, 0))
    }

    /// Root-mean-square norm.
    pub fn rms_norm(&mut self, x: Activation, weight: Buffer, epsilon: f32) -> Activation {
        self.rms_norm_by_parts(x, weight, 1, epsilon)
    }

    /// Root-mean-square norm of each of `parts` equal parts of a row; the weight is as wide as the
    /// row.
    pub fn rms_norm_by_parts(
        &mut self,
        x: Activation,
        weight: Buffer,
        parts: u32,
        epsilon: f32,
    ) -> Activation {
        assert!(x.width.is_multiple_of(parts), "{} columns in {parts} parts", x.width);
        let y = self.scratch(x.rows, x.width);
        self.push(RmsNorm { parts, ..RmsNorm::new(x, weight, y, epsilon) });
        y
    }

    /// Root-mean-square norm of each head; all heads share the weight, `[head_dim]`.
    pub fn rms_norm_heads(
        &mut self,
        x: Activation,
        weight: Buffer,
        head_dim: u32,
        epsilon: f32,
    ) -> Activation {
        let parts = x.width / head_dim;
        let y = self.scratch(x.rows, x.width);
        let norm = RmsNorm::new(x, weight, y, epsilon);
        self.push(RmsNorm { parts, weight_shared_by_heads: true, ..norm });
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

    /// `a` plus a vector for each row of a sequence from its beginning, `[rows, b_stride]`, or with
    /// `b_stride` 0 plus the same one, `[width]`.
    pub fn add_vector(&mut self, a: Activation, b: Buffer, b_stride: u32) -> Activation {
        let y = self.scratch(a.rows, a.width);
        self.push(Add { a, b, b_stride, y });
        y
    }

    /// `f(x)`, element by element.
    pub fn elementwise(&mut self, x: Activation, function: ActivationFunction) -> Activation {
        let y = self.scratch(x.rows, x.width);
        self.push(Elementwise { x, y, function });
        y
    }

    /// `f(gate) · up`.
    pub fn glu(
        &mut self,
        gate: Activation,
        up: Activation,
        function: ActivationFunction,
    ) -> Activation {
        assert_eq!((gate.rows, gate.width), (up.rows, up.width), "shapes of gate and input");
        let y = self.scratch(gate.rows, gate.width);
        self.push(Glu { gate, up, y, function });
        y
    }

    /// `σ(gate) · head` for each head of `x`; `gates` has a column for each.
    pub fn gate_heads(&mut self, x: Activation, gates: Activation) -> Activation {
        assert!(x.width.is_multiple_of(gates.width), "{} columns, {} gates", x.width, gates.width);
        let y = self.scratch(x.rows, x.width);
        self.push(GateHeads { x, gates, y });
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
        self.push(SsmScan {
            projected,
            x,
            scores,
            buffers,
            y,
            shape,
            tiling: MatmulTiling::default(),
        });
        y
    }

    /// A gated short convolution of `projected`, `[rows, B | C | u]`; weights and ring as
    /// [`ShortConv`] describes them.
    pub fn short_conv(
        &mut self,
        projected: Activation,
        weights: Buffer,
        ring: Buffer,
        kernel: u32,
    ) -> Activation {
        assert!(projected.width.is_multiple_of(3), "{} columns in 3 parts", projected.width);
        let y = self.scratch(projected.rows, projected.width / 3);
        self.push(ShortConv { projected, weights, ring, y, kernel });
        y
    }

    /// Rotates the heads of `x` by their positions, in place.
    pub fn rope(
        &mut self,
        x: Activation,
        table: Buffer,
        head_dim: u32,
        rotary_dim: u32,
        pairing: Pairing,
    ) {
        self.push(Rope { x, rotation: Rotation { table, head_dim, rotary_dim, pairing } });
    }

    /// Appends the step's rows to a cache.
    pub fn cache_store(&mut self, x: Activation, cache: Cache) {
        assert_eq!(x.width, cache.rows.width, "width of the cache");
        self.push(CacheStore { x, cache });
    }

    /// Attention over caches that already hold the step's rows. Plans for one row split the
    /// positions, because their heads alone would occupy few workgroups.
    pub fn attention(
        &mut self,
        q: Activation,
        keys: Cache,
        values: Cache,
        shape: AttentionShape,
    ) -> Activation {
        self.attention_with_sinks(q, keys, values, None, shape)
    }

    /// Attention whose heads have sinks, see [`Attention::sinks`].
    pub fn attention_with_sinks(
        &mut self,
        q: Activation,
        keys: Cache,
        values: Cache,
        sinks: Option<Buffer>,
        shape: AttentionShape,
    ) -> Activation {
        let y = self.scratch(q.rows, q.width);
        let max_splits = if self.capacity == 1 { Attention::MAX_SPLITS } else { 1 };
        let partials = self.scratch(Rows::One, Attention::partial_words(&shape, max_splits));
        let attention = Attention {
            q,
            keys,
            values,
            y,
            partials,
            sinks,
            shape,
            max_splits,
            tiling: MatmulTiling::default(),
        };
        self.push(attention.clone());
        if max_splits > 1 {
            self.push(AttentionMerge(attention));
        }
        y
    }

    /// The step's last row.
    pub fn last_row(&mut self, x: Activation) -> Activation {
        if self.capacity == 1 {
            return self.first_row(x);
        }
        let y = self.scratch(Rows::One, x.width);
        self.push(LastRow { x, y });
        y
    }

    /// The step's first row.
    pub fn first_row(&mut self, x: Activation) -> Activation {
        Activation { rows: Rows::One, ..x }
    }

    /// Mean of the step's rows.
    pub fn mean_rows(&mut self, x: Activation) -> Activation {
        if self.capacity == 1 {
            return self.first_row(x);
        }
        let y = self.scratch(Rows::One, x.width);
        self.push(MeanRows { x, y });
        y
    }

    /// Adjusts the logits and samples a token.
    pub(super) fn sample(&mut self, buffers: SamplingBuffers) {
        self.push(AdjustLogits(buffers));
        self.push(Sample(buffers));
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
