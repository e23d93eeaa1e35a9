//! The interface of a model architecture.

use crate::kernels::Activation;
use crate::plan::PlanBuilder;

/// Sizes of a model that the engine needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// Tokens of the vocabulary: the width of the logits.
    pub vocabulary_size: u32,
    /// Longest sequence, in tokens, that the model was trained for.
    pub max_context_length: u32,
    /// Number of layers.
    pub layer_count: u32,
}

/// A model whose configuration has been read and checked.
pub trait Architecture {
    /// Sizes of the model.
    fn shape(&self) -> Shape;
    /// True for an encoder: its rows see later rows, so that a text is one step, and its head makes
    /// an embedding, `[1, width]`, from all rows instead of logits.
    fn is_encoder(&self) -> bool {
        false
    }
    /// Appends the kernels from token ids to the last layer's output, `[rows, hidden]`.
    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation;
    /// Appends the kernels from the last layer's output to the logits, `[rows, vocabulary]`.
    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation;
}
