//! Run-ahead decoding: the GPU samples the tokens itself and leaves the next step's token and
//! position where its kernels read them, so that steps are submitted before the host knows the
//! tokens of earlier ones.
//!
//! The host still decides where an answer ends. It never submits a step beyond a limit that it
//! knows (`max_tokens`, the context length), and after a stop token the submitted steps do nothing.
//! A stop string or an abort, which only the host sees, leaves the state a few tokens ahead of the
//! sequence. A KV cache can be cut back by so few positions. Recurrent state cannot, so models that
//! have it do not run ahead in requests with stop strings, and reread the sequence after an abort.

use std::ops::Range;

use super::executors::Executor;
use super::{Engine, GenerateRequest, no_plan};
use crate::error::{Error, Result};
use crate::kernels::{Buffer, Rows, Step};
use crate::sampling::{Sampler, SamplingParameters};

/// Default number of steps submitted before the token of an earlier one is known.
pub(super) const DEFAULT_RUN_AHEAD: usize = 2;

/// Progress of the GPU in a request whose tokens it samples.
#[derive(Debug)]
pub(super) struct RunAhead {
    /// Kernels of the sampling plan that the request needs.
    sampling_kernels: Range<usize>,
    /// Steps that may be submitted before the token of an earlier one is known.
    depth: usize,
    /// Tokens that may still be sampled.
    tokens_left: usize,
    /// Position of the next step; none before the first.
    position: Option<u32>,
}

impl Engine {
    /// Uploads the sampling parameters of a request, whose prompt `sampler` has accepted. Returns
    /// `None` if the host has to sample: on the CPU, in hybrid execution, if the request asks for
    /// log-probabilities, and if a plan computes the logits of all rows.
    pub(super) fn begin_gpu_sampling(
        &mut self,
        request: &GenerateRequest,
        prompt_tokens: usize,
        sampler: &Sampler,
    ) -> Option<RunAhead> {
        let Executor::Gpu(gpu) = &self.executor else { return None };
        let has_all_rows = self.plans.model().any(|entry| entry.plan.logits.rows != Rows::One);
        if has_all_rows || request.top_logprobs.is_some() {
            return None;
        }
        let stop_tokens = if request.ignore_stop_tokens { &[] } else { self.text.stop_ids() };
        let parameters = sampler.parameters().with_stop_tokens(stop_tokens);
        let write = |buffer, words: &[f32]| {
            if let Buffer::Shared(index) = buffer {
                gpu.write_shared(usize::from(index), 0, words);
            }
        };
        let buffers = &self.plans.sampling().buffers;
        write(buffers.sampling, bytemuck::cast_slice(&[parameters]));
        write(buffers.adjustments, bytemuck::cast_slice(sampler.adjustments()));
        // Constrained decoding would have to wait too: its mask depends on the previous token.
        let must_wait = self.sequence.is_recurrent()
            && (!request.stop.is_empty()
                || stop_tokens.len() > SamplingParameters::MAX_STOP_TOKENS);
        let room = (self.context_length as usize).saturating_sub(prompt_tokens) + 1;
        Some(RunAhead {
            sampling_kernels: self.plans.sampling().kernels(parameters.has_adjustments != 0),
            depth: if must_wait { 0 } else { self.run_ahead },
            tokens_left: request.max_tokens.map_or(room, |tokens| tokens.min(room)),
            position: None,
        })
    }

    /// Appends `input` to the sequence, which is the last chunk of the prompt or the previous
    /// token, and returns the token sampled after it. Before waiting for that token, submits up to
    /// `depth` further steps.
    ///
    /// # Errors
    /// `malformed` for logits that no token can be sampled from; errors of the device.
    pub(super) async fn sample_on_gpu(
        &mut self,
        ahead: &mut RunAhead,
        input: &[u32],
    ) -> Result<u32> {
        let rows = input.len() as u32;
        let plan = self.plans.for_step(rows).ok_or_else(|| no_plan(rows))?.index;
        let decode_plan = self.plans.for_step(1).ok_or_else(|| no_plan(1))?.index;
        let Executor::Gpu(gpu) = &mut self.executor else {
            return Err(Error::internal("executor: found none on the GPU, expected one"));
        };
        let buffer = self.plans.sampling().buffers.sampled_token;
        self.sequence.begin_step();
        if ahead.position.is_none() {
            let step = Step { position: self.sequence.len() as u32, rows };
            gpu.write_tokens(input);
            gpu.write_step(step);
            gpu.step_and_sample(plan, ahead.sampling_kernels.clone(), buffer, step);
            ahead.tokens_left -= 1;
            ahead.position = Some(step.position + step.rows);
        }
        while let Some(position) = ahead.position
            && ahead.tokens_left > 0
            && gpu.samples_in_flight() <= ahead.depth
        {
            let step = Step { position, rows: 1 };
            gpu.step_and_sample(decode_plan, ahead.sampling_kernels.clone(), buffer, step);
            ahead.tokens_left -= 1;
            ahead.position = Some(position + 1);
        }
        let sampled = gpu.sampled_token().await?;
        self.sequence.end_step(input);
        if sampled.rows == 0 {
            // After a stop token or invalid logits, steps in flight have no rows and do nothing.
            gpu.forget_samples();
        }
        sampled.outcome().token()
    }
}
