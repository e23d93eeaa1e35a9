//! What the kernels that choose a token share: how it is chosen, over which buffers, and how
//! logits are ordered.

use super::{Activation, Buffer, Step};
use crate::noise::gumbel;

/// How a token is chosen. Mirrored in `shaders/lib/sampling.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Sampling {
    /// 0 takes the greatest logit.
    pub temperature: f32,
    /// Only the so many greatest; 0 for all.
    pub top_k: u32,
    /// Only the greatest that reach this probability together.
    pub top_p: f32,
    /// How far below the greatest a logit may lie, as a negative number.
    pub min_distance: f32,
    /// Divides the logits of tokens that occurred when positive, multiplies them when negative.
    pub repetition_penalty: f32,
    /// Taken off a logit for each time its token was generated.
    pub frequency_penalty: f32,
    /// Taken off a logit once if its token was generated.
    pub presence_penalty: f32,
    /// Whether the adjustments count, 0 or 1.
    pub adjusts: u32,
    /// Whether top-k, top-p or the distance may leave tokens out, 0 or 1.
    pub cuts: u32,
    /// Where the noise of draws starts, its lower half.
    pub seed_low: u32,
    /// Its upper half.
    pub seed_high: u32,
    /// Tokens after which nothing follows; what is no token fills the rest.
    pub stops: [u32; Sampling::STOPS],
}

impl Sampling {
    /// The most tokens that end an answer.
    pub const STOPS: usize = 32;
    /// What fills the rest of the stops.
    pub const NO_TOKEN: u32 = u32::MAX;
    /// The bit of an adjustment's occurrences that is for the prompt; the others count what was
    /// generated.
    pub const IN_PROMPT: u32 = 1 << 31;

    /// What a draw takes the greatest of: logit / temperature plus noise, as the shader rounds.
    pub(super) fn drawn_key(&self, step: Step, id: u32, logit: f32) -> u32 {
        let key = key_of(logit);
        if key <= LEAST_KEY || key >= BAD_KEY {
            return key;
        }
        let bound = 1e36 * self.temperature;
        let seed = u64::from(self.seed_high) << 32 | u64::from(self.seed_low);
        let noise = gumbel(seed, step.position + step.rows, id) as f32;
        key_of(logit.clamp(-bound, bound) / self.temperature + noise)
    }

    /// By what the greatest of a quad is found: what is drawn by where nothing is cut, else logits.
    pub(super) fn score_key(&self, step: Step, id: u32, logit: f32) -> u32 {
        let draws = self.temperature > 0.0 && self.cuts == 0;
        if draws { self.drawn_key(step, id, logit) } else { key_of(logit) }
    }

    /// The greatest scores of some quads, the first of which begins with the token `first`.
    pub(super) fn best_of_quads(&self, step: Step, first: u32, logits: &[f32], best: &mut [f32]) {
        let quads = logits.chunks(SamplingBuffers::QUAD as usize);
        for ((best, quad), first) in
            best.iter_mut().zip(quads).zip((first..).step_by(SamplingBuffers::QUAD as usize))
        {
            let keys = (first..).zip(quad).map(|(id, logit)| self.score_key(step, id, *logit));
            *best = f32::from_bits(keys.max().unwrap_or_default());
        }
    }
}

/// What was chosen, and the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Picked {
    /// The next step's position.
    pub position: u32,
    /// The next step's rows: 0 after the end.
    pub rows: u32,
    /// The token.
    pub token: u32,
    /// What else there is to say.
    pub flags: u32,
}

impl Picked {
    /// The token ends the answer.
    pub const STOPPED: u32 = 1;
    /// The token's logit is infinite or no number.
    pub const BAD_LOGIT: u32 = 2;
    /// No token can be chosen.
    pub const NOTHING_LEFT: u32 = 4;
}

/// What the choice of a token reads and writes.
#[derive(Debug, Clone, Copy)]
pub struct SamplingBuffers {
    /// A [`Sampling`].
    pub sampling: Buffer,
    /// For each token its bias and its occurrences, as bits.
    pub adjustments: Buffer,
    /// Token ids, `[rows]`.
    pub tokens: Buffer,
    /// A [`Picked`].
    pub picked: Buffer,
    /// `[1, vocabulary]`; bias and penalties are put into them.
    pub logits: Activation,
    /// The key of the greatest score of each quad, as bits; zeros fill the last four.
    pub best: Buffer,
}

impl SamplingBuffers {
    /// Tokens that have one best.
    pub const QUAD: u32 = 4;

    /// Words of the best of a vocabulary: whole fours, as they are read.
    pub fn best_words(vocabulary: u32) -> u64 {
        u64::from(vocabulary.div_ceil(4 * Self::QUAD) * 4)
    }
}

/// Key of minus infinity.
pub(super) const LEAST_KEY: u32 = 0x007f_ffff;
/// Key of infinity: from here on no logits.
pub(super) const BAD_KEY: u32 = 0xff80_0000;

/// Keys are ordered as the numbers they come from, what is no number above them all; both zeros
/// have one.
pub(super) fn key_of(logit: f32) -> u32 {
    let (bits, magnitude) = (logit.to_bits(), logit.to_bits() & 0x7fff_ffff);
    match logit {
        _ if logit.is_nan() => u32::MAX,
        _ if magnitude != 0 && bits != magnitude => !bits,
        _ => magnitude | 0x8000_0000,
    }
}

/// The number of a key.
pub(super) fn logit_of(key: u32) -> f32 {
    f32::from_bits(if key >= 0x8000_0000 { key & 0x7fff_ffff } else { !key })
}
