//! The sampling plan: samples a token from the logits of the plan that ran before it, so that the
//! next step can run without the host.

use std::ops::Range;

use super::{Plan, PlanBuilder, Resources};
use crate::kernels::{Kernel, Matvec, Output, Projection, Rows, SampledToken, SamplingBuffers};
use crate::sampling::{Adjustment, SamplingParameters};

/// Samples a token from one row of logits, computed by any other plan of the model.
#[derive(Debug, Clone)]
pub struct SamplingPlan {
    /// The kernels `adjust_logits` and `sample`. All plans have their logits in the same place.
    pub plan: Plan,
    /// Buffers that the host writes and reads.
    pub buffers: SamplingBuffers,
    /// True if the other plans store the greatest score of each quad: see [`Self::fuse_into`].
    has_best: bool,
}

impl SamplingPlan {
    /// Plans for logits `[1, vocabulary]`.
    pub fn new(resources: &mut Resources<'_>, vocabulary: u32) -> Self {
        let words = |size_bytes: usize| size_bytes as u64 / 4;
        let parameters = words(size_of::<SamplingParameters>());
        let adjustments = u64::from(vocabulary) * words(size_of::<Adjustment>());
        let sampled_token = words(size_of::<SampledToken>());
        let tokens = resources.tokens(1);
        let sampling = resources.sampling("sampling", parameters);
        let adjustments = resources.sampling("bias and penalties", adjustments);
        let sampled_token = resources.sampling("sampled token", sampled_token);
        let best = resources.sampling("best", SamplingBuffers::best_words(vocabulary));
        let mut plan = PlanBuilder::new(resources, 1);
        let logits = plan.input(Rows::One, vocabulary);
        let buffers =
            SamplingBuffers { sampling, adjustments, tokens, sampled_token, logits, best };
        plan.sample(buffers);
        Self { plan: plan.finish(logits), buffers, has_best: false }
    }

    /// Makes the products that compute the logits of these plans also store the greatest score of
    /// each quad of tokens, which saves requests without bias and penalties the dispatch of
    /// `adjust_logits`. Changes nothing if a plan cannot.
    pub fn fuse_into(&mut self, plans: &mut [Plan]) {
        let products: Option<Vec<_>> = plans.iter_mut().map(logit_products).collect();
        let Some(products) = products else { return };
        let SamplingBuffers { sampling, best, .. } = self.buffers;
        for product in products.into_iter().flatten() {
            product.epilogue.output = Output::Best { sampling, best };
        }
        self.has_best = true;
    }

    /// Returns which kernels a request needs: `adjust_logits` only if it adjusts logits, or if the
    /// greatest scores are not there yet.
    pub fn kernels(&self, has_adjustments: bool) -> Range<usize> {
        usize::from(self.has_best && !has_adjustments)..self.plan.kernels.len()
    }
}

/// Returns the products that compute the logits of a plan, or `None` if one cannot store the
/// greatest scores: it has another epilogue, several rows, or a first row within a quad.
fn logit_products(plan: &mut Plan) -> Option<Vec<&mut Projection>> {
    let logits = plan.logits;
    let makes_logits = |kernel: &Kernel| {
        kernel.bindings().iter().any(|binding| binding.write && binding.buffer == logits.buffer)
    };
    let kernels = plan.kernels.iter_mut().map(|planned| &mut planned.kernel);
    let products = kernels.filter(|kernel| makes_logits(kernel)).map(|kernel| match kernel {
        Kernel::Matvec(Matvec { product, .. }) => {
            let starts_a_quad = product.matrix.first_row.is_multiple_of(SamplingBuffers::QUAD);
            let is_plain = product.epilogue.output == Output::PLAIN;
            (starts_a_quad && is_plain && logits.rows == Rows::One).then_some(product)
        }
        _ => None,
    });
    products.collect()
}
