//! Tensors that are parts of shared vectors, and the transforms of their values.

/// Transform of the values of a tensor on their way to a shared vector.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Transform {
    /// `x`.
    None,
    /// `1 + x`, for the weight of a norm that is stored as its distance from one.
    PlusOne,
    /// `-e^x`, for the decay of a recurrent layer that is stored as a logarithm.
    MinusExp,
    /// `factors[i] · x` for the values before `ends[i]`, the last factor for those after all ends.
    Scale {
        /// Ends of the first two ranges of values.
        ends: [u32; 2],
        /// Factor of each range.
        factors: [f32; 3],
    },
}

impl Transform {
    /// `factor · x` for all values.
    pub fn scale(factor: f32) -> Self {
        Self::Scale { ends: [0; 2], factors: [factor; 3] }
    }

    /// Returns the transformed value at an index of the tensor, finite for a finite one.
    pub fn apply(self, index: usize, x: f32) -> f32 {
        match self {
            Transform::None => x,
            Transform::PlusOne => 1.0 + x,
            Transform::MinusExp => (-x.exp()).max(f32::MIN),
            Transform::Scale { ends, factors } => {
                let range = ends.iter().filter(|end| index >= **end as usize).count();
                (factors[range] * x).clamp(f32::MIN, f32::MAX)
            }
        }
    }
}

/// A tensor that is a part of a shared vector.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorPart {
    /// Name of the tensor in the checkpoint; empty for zeros.
    pub tensor: String,
    /// Expected shape, outermost axis first; axes of length 1 do not count.
    pub shape: Vec<u32>,
    /// Transform of its values.
    pub transform: Transform,
}

impl VectorPart {
    /// The tensor of that name and shape, untransformed.
    pub fn new(tensor: impl Into<String>, shape: &[u32]) -> Self {
        Self { tensor: tensor.into(), shape: shape.to_vec(), transform: Transform::None }
    }

    /// Zeros in place of a tensor that a model lacks.
    pub fn zeros(length: u32) -> Self {
        Self::new("", &[length])
    }

    /// The part with its values transformed.
    pub fn transformed(self, transform: Transform) -> Self {
        Self { transform, ..self }
    }

    /// Length in words.
    pub(crate) fn words(&self) -> u64 {
        self.shape.iter().fold(1, |words, axis| words.saturating_mul(u64::from(*axis)))
    }
}
