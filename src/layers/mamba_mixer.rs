//! The mixer of a Mamba-2 layer (Dao & Gu 2024), for every model that has one.

use crate::error::Code;
use crate::kernels::{Activation, ActivationFunction, Buffer, ScanBuffers, ScanShape};
use crate::plan::{Linear, PlanBuilder, Transform, VectorPart};

/// Configuration of a Mamba-2 mixer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MambaConfig {
    /// Width of the mixer's input and output rows.
    pub hidden: u32,
    /// Sizes of the convolution and the recurrence.
    pub scan: ScanShape,
    /// Epsilon of the norm.
    pub epsilon: f32,
    /// True if there is a norm per group of heads.
    pub has_norm: bool,
    /// Factor of z if the norm precedes the gate; the scan applies no gate then.
    pub late_gate: Option<f32>,
    /// Factors of the convolution's weights for x, B and C.
    pub conv_scales: [f32; 3],
    /// True if the convolution has a bias.
    pub has_conv_bias: bool,
    /// Factors of the biases of input and output projection; `None` without them.
    pub biases: [Option<f32>; 2],
}

/// A size of a mixer that a configuration states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of ScanShape")]
pub enum MambaSize {
    HeadCount,
    HeadDim,
    GroupCount,
    StateSize,
    ConvKernel,
}

/// A size that a mixer cannot have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSize {
    /// The size.
    pub size: MambaSize,
    /// Value of the size.
    pub found: u32,
    /// Description of the possible values.
    pub expected: String,
    /// `malformed` if no mixer can have it, `unsupported-format` if the kernels cannot.
    pub code: Code,
}

/// Names of one mixer's tensors in a checkpoint, and how the checkpoint encodes them. Shapes are
/// in terms of [`ScanShape`].
#[derive(Debug, Clone)]
pub struct MambaTensors {
    /// Input projection, `[projected, hidden]`.
    pub input: String,
    /// Convolution, `[channels, conv_kernel]`.
    pub conv: String,
    /// Bias of the convolution, `[channels]`.
    pub conv_bias: String,
    /// Bias of the step size, `[head_count]`.
    pub dt_bias: String,
    /// Decay A, `[head_count]`.
    pub decay: String,
    /// Map from the stored decay to A, which is negative.
    pub decay_transform: Transform,
    /// Skip connection D, `[head_count]`.
    pub skip: String,
    /// Weight of the gated norm, `[inner]`.
    pub norm: String,
    /// True if the norm's weight is stored as `[group_count, inner / group_count]`.
    pub is_norm_grouped: bool,
    /// Output projection, `[hidden, inner]`.
    pub output: String,
}

/// Weights of one mixer; shapes are `[outputs, inputs]`.
#[derive(Debug, Clone, Copy)]
pub struct MambaWeights {
    /// Input projection to z, x, B, C and dt: `[projected, hidden]`.
    pub input: Linear,
    /// See [`ScanBuffers::conv`].
    pub conv: Buffer,
    /// See [`ScanBuffers::scalars`].
    pub scalars: Buffer,
    /// `[inner]`.
    pub norm: Option<Buffer>,
    /// `[hidden, inner]`.
    pub output: Linear,
}

impl MambaConfig {
    /// A mixer without biases of projections and factors, whose gate precedes its norm.
    pub fn new(hidden: u32, scan: ScanShape, epsilon: f32) -> Self {
        Self {
            hidden,
            scan,
            epsilon,
            has_norm: true,
            late_gate: None,
            conv_scales: [1.0; 3],
            has_conv_bias: true,
            biases: [None; 2],
        }
    }

    /// Checks that the heads form groups and that the kernels support the sizes.
    pub fn check(&self) -> Result<(), InvalidSize> {
        let ScanShape { head_count, head_dim, group_count, state_size, conv_kernel, .. } =
            self.scan;
        if group_count == 0 || !head_count.is_multiple_of(group_count) {
            let expected = format!("a divisor of the {head_count} heads");
            let size = MambaSize::GroupCount;
            return Err(InvalidSize { size, found: group_count, expected, code: Code::Malformed });
        }
        for (size, found, max) in [
            (MambaSize::HeadCount, head_count, ScanShape::MAX_HEADS),
            (MambaSize::HeadDim, head_dim, ScanShape::MAX_SIZE),
            (MambaSize::StateSize, state_size, ScanShape::MAX_SIZE),
            (MambaSize::ConvKernel, conv_kernel, ScanShape::MAX_CONV_KERNEL),
        ] {
            if found > max {
                let (expected, code) = (format!("at most {max}"), Code::UnsupportedFormat);
                return Err(InvalidSize { size, found, expected, code });
            }
        }
        Ok(())
    }

    /// Registers the weights of one mixer.
    pub fn weights(&self, plan: &mut PlanBuilder<'_, '_>, tensors: &MambaTensors) -> MambaWeights {
        let (scan, inner) = (self.scan, self.scan.inner());
        let conv = VectorPart::new(&tensors.conv, &[scan.channels(), scan.conv_kernel]);
        let conv_bias = match self.has_conv_bias {
            true => VectorPart::new(&tensors.conv_bias, &[scan.channels()]),
            false => VectorPart::zeros(scan.channels()),
        };
        let per_head = |name: &String| VectorPart::new(name, &[scan.head_count]);
        let scalars = vec![
            per_head(&tensors.dt_bias),
            per_head(&tensors.decay).transformed(tensors.decay_transform),
            per_head(&tensors.skip),
        ];
        let grouped = [scan.group_count, inner / scan.group_count];
        let flat = [inner];
        let norm_shape = if tensors.is_norm_grouped { &grouped[..] } else { &flat };
        let norm = self.has_norm.then(|| vec![VectorPart::new(&tensors.norm, norm_shape)]);
        let [input_bias, output_bias] = self.biases;
        let resources = &mut plan.resources;
        MambaWeights {
            input: resources.linear(&tensors.input, scan.projected(), self.hidden, input_bias),
            conv: resources.packed_vector(vec![self.scaled(conv), conv_bias]),
            scalars: resources.packed_vector(scalars),
            norm: norm.map(|norm| resources.packed_vector(norm)),
            output: resources.linear(&tensors.output, self.hidden, inner, output_bias),
        }
    }

    /// The convolution's weights, with the factors of x, B and C.
    fn scaled(&self, conv: VectorPart) -> VectorPart {
        if self.conv_scales == [1.0; 3] {
            return conv;
        }
        let scan = self.scan;
        let (x, b) = (scan.inner(), scan.group_count * scan.state_size);
        let ends = [x, x + b].map(|channels| channels * scan.conv_kernel);
        conv.transformed(Transform::Scale { ends, factors: self.conv_scales })
    }
}

/// Appends the mixer of layer `layer_index`: input projection, convolution, recurrence, gate, a
/// root-mean-square norm per group of heads before or after the gate, if there is one, output
/// projection. Its state is the convolution's last inputs and the state of the recurrence.
pub fn mamba_mixer(
    plan: &mut PlanBuilder<'_, '_>,
    x: Activation,
    weights: &MambaWeights,
    config: &MambaConfig,
    layer_index: u32,
) -> Activation {
    let shape = config.scan;
    let projected = plan.linear(weights.input, x);
    let mut state = |name: &str, words| {
        plan.resources.recurrent_state(&format!("layer {layer_index} {name}"), words)
    };
    let ring = state("inputs", shape.ring_words());
    let state = state("scan", shape.state_words());
    let buffers = ScanBuffers { conv: weights.conv, scalars: weights.scalars, ring, state };
    let mut y = plan.scan(projected, buffers, shape);
    if let Some(norm) = weights.norm {
        y = plan.rms_norm_by_parts(y, norm, shape.group_count, config.epsilon);
    }
    if let Some(scale) = config.late_gate {
        let z = Activation { width: shape.inner(), ..projected };
        let z = plan.elementwise(z, ActivationFunction::Scale(scale));
        y = plan.glu(z, y, ActivationFunction::Silu);
    }
    plan.linear(weights.output, y)
}
