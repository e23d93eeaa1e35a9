//! EmbeddingGemma: an encoder of Gemma 3's layers, whose rows see all rows, or those of a window
//! before and after them.
//!
//! Reference: Vera et al. 2025; where the paper is silent, `Gemma3TextModel` with
//! `use_bidirectional_attention` in Hugging Face transformers.

use super::architecture::{Architecture, Shape};
use super::config::ConfigSource;
use super::gemma2::Gemma;
use super::gemma3;
use super::pooling::{EmbeddingHead, Pooling};
use crate::error::Result;
use crate::kernels::Activation;
use crate::plan::PlanBuilder;

struct GemmaEmbedding {
    gemma: Gemma,
    head: EmbeddingHead,
}

pub(super) fn read(source: &ConfigSource<'_>) -> Result<Box<dyn Architecture>> {
    let mut gemma = gemma3::read_model(source)?;
    if !source.is_gguf() && source.flag("use_bidirectional_attention")? != Some(true) {
        return Ok(Box::new(gemma));
    }
    gemma.decoder.attention.is_causal = false;
    // The stated window is that of both directions.
    for window in gemma.windows.iter_mut().flatten() {
        *window = *window / 2 + 1;
    }
    let head = EmbeddingHead::read(source, Pooling::Mean)?;
    Ok(Box::new(GemmaEmbedding { gemma, head }))
}

impl Architecture for GemmaEmbedding {
    fn shape(&self) -> Shape {
        self.gemma.shape()
    }

    fn is_encoder(&self) -> bool {
        true
    }

    fn layers(&self, plan: &mut PlanBuilder<'_, '_>, context_length: u32) -> Activation {
        self.gemma.layers(plan, context_length)
    }

    fn head(&self, plan: &mut PlanBuilder<'_, '_>, x: Activation) -> Activation {
        plan.at("head");
        let x = self.gemma.decoder.output_norm(plan, x);
        self.head.append(plan, x)
    }
}
