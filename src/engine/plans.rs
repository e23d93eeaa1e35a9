//! Registry of a model's plans, found by the purpose of a step and its number of rows.
//!
//! Executors know a plan by its index here: scratch buffers were assigned, and pipelines prepared,
//! in this order.

use crate::plan::{Plan, SamplingPlan};

/// Purpose of the steps of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlanPurpose {
    /// One token after another.
    Decode,
    /// Chunks of a prompt.
    Prefill,
    /// Choice of a token from logits.
    Sampling,
}

/// A plan of the registry.
#[derive(Debug, Clone)]
pub(super) struct RegisteredPlan {
    /// Index by which executors know the plan.
    pub(super) index: usize,
    /// Purpose of its steps.
    pub(super) purpose: PlanPurpose,
    /// The plan.
    pub(super) plan: Plan,
}

/// The plans of a model, and the plan that samples a token from the logits of any of them.
#[derive(Debug, Clone)]
pub(super) struct Plans {
    plans: Vec<RegisteredPlan>,
    sampling: SamplingPlan,
}

impl Plans {
    /// Registers plans in the order of their scratch buffers; the sampling plan is the last.
    pub(super) fn new(
        plans: impl IntoIterator<Item = (PlanPurpose, Plan)>,
        sampling: SamplingPlan,
    ) -> Self {
        let plans = plans.into_iter().enumerate();
        let plans = plans.map(|(index, (purpose, plan))| RegisteredPlan { index, purpose, plan });
        Self { plans: plans.collect(), sampling }
    }

    /// The plan with the least capacity among those for a purpose that take `rows` rows.
    pub(super) fn find(&self, purpose: PlanPurpose, rows: u32) -> Option<&RegisteredPlan> {
        let fits =
            |entry: &&RegisteredPlan| entry.purpose == purpose && entry.plan.capacity >= rows;
        self.plans.iter().filter(fits).min_by_key(|entry| entry.plan.capacity)
    }

    /// The plan for a step that appends `rows` tokens to a sequence.
    pub(super) fn for_step(&self, rows: u32) -> Option<&RegisteredPlan> {
        self.find(if rows == 1 { PlanPurpose::Decode } else { PlanPurpose::Prefill }, rows)
    }

    /// Most rows of a step for a purpose; 0 if there is no such plan.
    pub(super) fn max_rows(&self, purpose: PlanPurpose) -> u32 {
        let plans = self.plans.iter().filter(|entry| entry.purpose == purpose);
        plans.map(|entry| entry.plan.capacity).max().unwrap_or(0)
    }

    /// The plans that run the model.
    pub(super) fn model(&self) -> impl Iterator<Item = &RegisteredPlan> {
        self.plans.iter()
    }

    /// The plan that samples a token.
    pub(super) fn sampling(&self) -> &SamplingPlan {
        &self.sampling
    }

    /// Every plan with its index and purpose, in the order of the indices.
    pub(super) fn all(&self) -> impl Iterator<Item = (usize, PlanPurpose, &Plan)> {
        let model = self.plans.iter().map(|entry| (entry.index, entry.purpose, &entry.plan));
        model.chain([(self.plans.len(), PlanPurpose::Sampling, &self.sampling.plan)])
    }

    /// Bytes of weights that a decode step reads.
    pub(super) fn decode_weight_bytes(&self) -> u64 {
        self.find(PlanPurpose::Decode, 1).map_or(0, |entry| entry.plan.weight_bytes())
    }

    /// Converts the registry into the plans that run the model.
    pub(super) fn into_model_plans(self) -> Vec<Plan> {
        self.plans.into_iter().map(|entry| entry.plan).collect()
    }
}
