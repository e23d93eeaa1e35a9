//! The plan that follows any plan which ends in one row of logits: the choice of a token, so that
//! the next step can run without the host.

use super::{Plan, PlanBuilder, Resources};
use crate::kernels::{Picked, Rows, Sampling, SamplingBuffers};

/// The choice of a token from the logits of the plan that ran before.
#[derive(Debug, Clone)]
pub struct Tail {
    /// The kernels; their logits lie where every plan's do.
    pub plan: Plan,
    /// What the host writes and reads.
    pub buffers: SamplingBuffers,
}

impl Tail {
    /// For a vocabulary.
    pub fn new(resources: &mut Resources<'_>, vocabulary: u32) -> Self {
        let words = |size_bytes: usize| size_bytes as u64 / 4;
        let (sampling, picked) = (words(size_of::<Sampling>()), words(size_of::<Picked>()));
        let tokens = resources.tokens(1);
        let sampling = resources.sampling("sampling", sampling);
        let adjustments = resources.sampling("bias and penalties", u64::from(vocabulary) * 2);
        let picked = resources.sampling("picked", picked);
        let mut plan = PlanBuilder::new(resources, 1);
        let logits = plan.input(Rows::One, vocabulary);
        let best = plan.input(Rows::One, SamplingBuffers::tiles(vocabulary) * 2);
        let buffers = SamplingBuffers { sampling, adjustments, tokens, picked, logits, best };
        plan.pick(buffers);
        Self { plan: plan.finish(logits), buffers }
    }
}
