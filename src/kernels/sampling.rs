//! Buffers and results of the kernels that sample a token. What they compute is
//! [`crate::sampling`].

use super::{Activation, Buffer, Step};
use crate::sampling::{Outcome, SamplingParameters};

/// Result of [`super::Sample`]: the next step, in the layout of the uniform `step`, and the token.
/// Mirrored by the buffer `sampled_token` of `shaders/sample.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct SampledToken {
    /// Position of the next step.
    pub position: u32,
    /// Rows of the next step: 1, or 0 if generation ends here.
    pub rows: u32,
    /// The token, or the id of a bad logit.
    pub token: u32,
    /// 0, or one of the constants of this type.
    pub flags: u32,
}

impl SampledToken {
    /// Flag: the token is a stop token.
    pub const STOPPED: u32 = 1;
    /// Flag: the logit of `token` is +∞ or NaN.
    pub const BAD_LOGIT: u32 = 2;
    /// Flag: every logit is −∞.
    pub const NOTHING_LEFT: u32 = 4;

    /// Result of sampling in `step`.
    pub(super) fn new(step: Step, outcome: Outcome, stop_tokens: &[u32]) -> Self {
        let (token, flags) = match outcome {
            Outcome::Token(token) if stop_tokens.contains(&token) => (token, Self::STOPPED),
            Outcome::Token(token) => (token, 0),
            Outcome::BadLogit(token) => (token, Self::BAD_LOGIT),
            Outcome::NothingLeft => (0, Self::NOTHING_LEFT),
        };
        Self { position: step.position + step.rows, rows: u32::from(flags == 0), token, flags }
    }

    /// The outcome of sampling.
    pub fn outcome(&self) -> Outcome {
        match self.flags {
            Self::BAD_LOGIT => Outcome::BadLogit(self.token),
            Self::NOTHING_LEFT => Outcome::NothingLeft,
            _ => Outcome::Token(self.token),
        }
    }
}

/// Buffers of the kernels that sample.
#[derive(Debug, Clone, Copy)]
pub struct SamplingBuffers {
    /// One [`SamplingParameters`].
    pub sampling: Buffer,
    /// `[vocabulary]` of [`crate::sampling::Adjustment`].
    pub adjustments: Buffer,
    /// Token ids of the next step, `[rows]`.
    pub tokens: Buffer,
    /// One [`SampledToken`].
    pub sampled_token: Buffer,
    /// Logits `[1, vocabulary]`, adjusted in place.
    pub logits: Activation,
    /// Greatest score of each quad of tokens, as sort keys, then zeros up to a multiple of four.
    /// Saves the shader of `sample` most of its reads of the logits.
    pub best: Buffer,
}

impl SamplingBuffers {
    /// Consecutive tokens whose greatest score is stored.
    pub const QUAD: u32 = 4;

    /// Words of `best` for a vocabulary: a multiple of four, as shaders read four at a time.
    pub fn best_words(vocabulary: u32) -> u64 {
        u64::from(vocabulary.div_ceil(4 * Self::QUAD) * 4)
    }
}

impl SamplingParameters {
    /// Stores the greatest score of each quad of `logits` in `best`; the first logit is that of the
    /// token `first`.
    pub(super) fn best_of_quads(&self, step: Step, first: u32, logits: &[f32], best: &mut [f32]) {
        let position = step.position + step.rows;
        let quads = logits.chunks(SamplingBuffers::QUAD as usize);
        let firsts = (first..).step_by(SamplingBuffers::QUAD as usize);
        for ((best, quad), first) in best.iter_mut().zip(quads).zip(firsts) {
            let scores =
                (first..).zip(quad).map(|(id, logit)| self.score_key(*logit, position, id));
            *best = f32::from_bits(scores.max().unwrap_or_default());
        }
    }
}
