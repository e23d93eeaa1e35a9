//! Adds bias and penalties to logits, and finds the greatest score of every quad of tokens.

use super::{Binding, CpuMemory, KernelRules, SamplingBuffers, Step};

/// `logits = adjust(logits)`, `best[i] = max(score(logits[4i .. 4i + 4]))`. The score, which
/// [`super::Sample`] compares, is logit / temperature + noise for a draw without top-k, top-p and
/// min-p, else the logit.
#[derive(Debug, Clone)]
pub struct AdjustLogits(pub SamplingBuffers);

impl KernelRules for AdjustLogits {
    const NAME: &'static str = "adjust_logits";
    const SHADER: &'static str = include_wgsl!("../../shaders/adjust_logits.wgsl");

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
        let parameters = memory.sampling(buffers.sampling);
        memory.update(buffers.logits.buffer, |memory, logits| {
            let logits = &mut logits[..buffers.logits.width as usize];
            parameters.adjust(logits, bytemuck::cast_slice(memory.read(buffers.adjustments)));
            parameters.best_of_quads(step, 0, logits, memory.buffer_mut(buffers.best));
        });
    }
}
