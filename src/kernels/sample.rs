//! Samples a token from adjusted logits and sets up the step that follows.

use super::{Binding, CpuMemory, KernelRules, SampledToken, SamplingBuffers, Step};
use crate::sampling::{Adjustment, Outcome};

/// `token = choose(logits)`; counts the token, and writes the next step's token, position and rows.
/// A step of no rows changes nothing, so that steps submitted after a stop token have no effect.
///
/// The logits are those of the model's head, adjusted by [`super::AdjustLogits`] if the request
/// needs it; `best` holds their greatest scores.
#[derive(Debug, Clone)]
pub struct Sample(pub SamplingBuffers);

impl KernelRules for Sample {
    const NAME: &'static str = "sample";
    const SHADER: &'static str = include_wgsl!("../../shaders/sample.wgsl");

    fn bindings(&self) -> Vec<Binding> {
        vec![
            Binding::read(self.0.sampling),
            Binding::read(self.0.logits.buffer),
            Binding::read(self.0.best),
            Binding::write(self.0.adjustments),
            Binding::write(self.0.tokens),
            Binding::write(self.0.sampled_token),
        ]
    }

    fn constants(&self) -> Vec<(&'static str, f64)> {
        let vocabulary = self.0.logits.width;
        let fours = vocabulary.div_ceil(4 * SamplingBuffers::QUAD).div_ceil(256);
        vec![("VOCABULARY", vocabulary.into()), ("FOURS", fours.into())]
    }

    fn workgroups(&self, _step: Step) -> [u32; 3] {
        [1, 1, 1]
    }

    /// CPU reference. `best` is not read: it only spares the shader reads of the logits.
    fn reference(&self, memory: &mut CpuMemory, step: Step) {
        if step.rows == 0 {
            return;
        }
        let Self(buffers) = self;
        let parameters = memory.sampling(buffers.sampling);
        let logits = memory.row(&buffers.logits, 0);
        let outcome = parameters.choose(logits, step.position + step.rows, &mut Vec::new());
        if let Outcome::Token(token) = outcome {
            let adjustments = memory.buffer_mut(buffers.adjustments);
            let adjustments: &mut [Adjustment] = bytemuck::cast_slice_mut(adjustments);
            adjustments[token as usize].occurrences += 1;
            memory.buffer_mut(buffers.tokens)[0] = f32::from_bits(token);
        }
        let sampled = SampledToken::new(step, outcome, &parameters.stop_tokens);
        memory.buffer_mut(buffers.sampled_token)[..4]
            .copy_from_slice(bytemuck::cast_slice(&[sampled]));
    }
}
