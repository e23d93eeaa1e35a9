//! The logits that a token is chosen from, and the best of every quad.

use super::sampling::{BAD_KEY, LEAST_KEY, key_of};
use super::{Binding, CpuMemory, KernelRules, Sampling, SamplingBuffers, Step};

/// Bias and penalties, then the best of every quad: the greatest logit, or where a draw cuts nothing, the
/// token that it takes.
#[derive(Debug, Clone)]
pub struct Candidates(pub SamplingBuffers);

impl KernelRules for Candidates {
    const NAME: &'static str = "candidates";
    const SHADER: &'static str = include_str!("../../shaders/candidates.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.0.sampling),
            Binding::read(self.0.adjustments),
            Binding::write(self.0.logits.buffer),
            Binding::write(self.0.best),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        vec![("VOCABULARY", self.0.logits.width.into())]
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [self.0.logits.width.div_ceil(64 * 4 * SamplingBuffers::QUAD), 1, 1]
    }

    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        let Self(buffers) = self;
        let sampling = memory.sampling(buffers.sampling);
        memory.update(buffers.logits.buffer, |memory, logits| {
            let logits = &mut logits[..buffers.logits.width as usize];
            if sampling.adjusts != 0 {
                let adjustments = memory.read(buffers.adjustments).chunks_exact(2);
                for (logit, adjustment) in logits.iter_mut().zip(adjustments) {
                    *logit = adjusted(&sampling, *logit, adjustment[0], adjustment[1].to_bits());
                }
            }
            sampling.best_of_quads(step, 0, logits, memory.buffer_mut(buffers.best));
        });
    }
}

fn adjusted(sampling: &Sampling, logit: f32, bias: f32, occurrences: u32) -> f32 {
    let key = key_of(logit);
    if key <= LEAST_KEY || key >= BAD_KEY {
        return logit;
    }
    let mut logit = logit + bias;
    if occurrences != 0 {
        let penalty = sampling.repetition_penalty;
        logit = if logit > 0.0 { logit / penalty } else { logit * penalty };
        let generated = occurrences & !Sampling::IN_PROMPT;
        if generated > 0 {
            logit -= sampling.frequency_penalty * generated as f32 + sampling.presence_penalty;
        }
    }
    logit
}
