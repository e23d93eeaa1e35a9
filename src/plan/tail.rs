//! The plan that follows any plan which ends in one row of logits: the choice of a token, so that
//! the next step can run without the host.

use std::ops::Range;

use super::{Plan, PlanBuilder, Resources};
use crate::kernels::{
    Epilogue, Kernel, Matvec, Picked, Projection, Rows, Sampling, SamplingBuffers,
};

/// The choice of a token from the logits of the plan that ran before.
#[derive(Debug, Clone)]
pub struct Tail {
    /// The kernels; their logits lie where every plan's do.
    pub plan: Plan,
    /// What the host writes and reads.
    pub buffers: SamplingBuffers,
    /// Whether the plans before it make the best of quads themselves.
    has_best: bool,
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
        let best = resources.sampling("best", SamplingBuffers::best_words(vocabulary));
        let mut plan = PlanBuilder::new(resources, 1);
        let logits = plan.input(Rows::One, vocabulary);
        let buffers = SamplingBuffers { sampling, adjustments, tokens, picked, logits, best };
        plan.pick(buffers);
        Self { plan: plan.finish(logits), buffers, has_best: false }
    }

    /// Leaves the best of quads to the products that make the logits of these plans, if all of them can.
    pub fn follow(&mut self, plans: &mut [Plan]) {
        let Some(heads) = plans.iter_mut().map(heads).collect::<Option<Vec<_>>>() else { return };
        let SamplingBuffers { sampling, best, .. } = self.buffers;
        heads
            .into_iter()
            .flatten()
            .for_each(|head| head.epilogue = Epilogue::Best { sampling, best });
        self.has_best = true;
    }

    /// The kernels for a request: where nothing is added to logits whose best is there, all but the first.
    pub fn kernels(&self, adjusts: bool) -> Range<usize> {
        usize::from(self.has_best && !adjusts)..self.plan.kernels.len()
    }
}

/// The products that make a plan's logits, if what they make is one row of whole quads.
fn heads(plan: &mut Plan) -> Option<Vec<&mut Projection>> {
    let logits = plan.logits;
    let makes_logits = |kernel: &Kernel| {
        kernel.bindings().iter().any(|binding| binding.write && binding.buffer == logits.buffer)
    };
    let kernels = plan.kernels.iter_mut().map(|planned| &mut planned.kernel);
    let heads = kernels.filter(|kernel| makes_logits(kernel)).map(|kernel| match kernel {
        Kernel::Matvec(Matvec { product, .. }) => {
            let is_whole = product.matrix.first_row.is_multiple_of(SamplingBuffers::QUAD);
            let is_stored = product.epilogue == Epilogue::Store;
            (is_whole && is_stored && logits.rows == Rows::One).then_some(product)
        }
        _ => None,
    });
    heads.collect()
}
