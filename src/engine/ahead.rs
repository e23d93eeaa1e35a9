//! Tokens that the GPU chooses itself: each step leaves the next one's token and place where its
//! kernels read them, so that steps are submitted before the tokens of earlier ones are known here.
//!
//! The host stays in charge of where an answer ends. It never submits a step that a limit it
//! knows forbids; after a token that ends the answer, steps change nothing; and what else ends it,
//! a stop string or an abort, leaves the state a few tokens ahead of the past. State with a place
//! for each position is then as good as cut. State that holds the past in one is not: there no
//! step runs ahead where stop strings are watched for, and after an abort all is read again.

use std::ops::Range;

use super::executor::Executor;
use super::{Engine, GenerateRequest, STEP_PLAN, plan_for};
use crate::error::{Error, Result};
use crate::kernels::{Buffer, Picked, Rows, Sampling, Step};
use crate::text::sampler::{SamplerOptions, bad_logit, nothing_left};

/// Steps submitted before the token of an earlier one is known here, unless asked for others.
pub(super) const RUN_AHEAD: usize = 2;

/// How far the GPU is with a request.
#[derive(Debug)]
pub(super) struct Ahead {
    /// The kernels that choose a token.
    tail: Range<usize>,
    /// Steps submitted before the token of an earlier one is known here.
    depth: usize,
    /// Tokens that may still be asked for.
    tokens_left: usize,
    /// Position of the next step, once there was a first.
    position: Option<u32>,
}

impl Engine {
    /// Tells the GPU how to choose the tokens of a request; none where the host chooses, as it
    /// does where logits of other rows come with those of the last.
    pub(super) fn begin_picks(
        &mut self,
        request: &GenerateRequest,
        prompt: &[u32],
    ) -> Option<Ahead> {
        let Executor::Gpu(gpu) = &self.executor else { return None };
        if self.plans.iter().any(|plan| plan.logits.rows != Rows::One) {
            return None;
        }
        let stops = if request.ignore_stop_tokens { &[] } else { self.text.stop_ids() };
        let room = (self.context_length as usize).saturating_sub(prompt.len()) + 1;
        let tokens = request.max_tokens.map_or(room, |tokens| tokens.min(room));
        let write = |buffer, first: usize, words: &[f32]| {
            if let Buffer::Shared(index) = buffer {
                gpu.write_shared(usize::from(index), first as u64, words);
            }
        };
        let buffers = &self.tail.buffers;
        let sampling = sampling(&request.sampling, stops, self.vocabulary_size);
        write(buffers.sampling, 0, bytemuck::cast_slice(&[sampling]));
        if sampling.adjusts != 0 {
            write(
                buffers.adjustments,
                0,
                &adjustments(&request.sampling, prompt, self.vocabulary_size),
            );
        }
        let must_wait =
            self.is_recurrent && (!request.stop.is_empty() || stops.len() > Sampling::STOPS);
        let depth = if must_wait { 0 } else { self.run_ahead };
        let tail = self.tail.kernels(sampling.adjusts != 0);
        Some(Ahead { tail, depth, tokens_left: tokens, position: None })
    }

    /// The token after those of `next`, which follow the past: the last ones of the prompt, or the
    /// token before.
    pub(super) async fn pick(&mut self, ahead: &mut Ahead, next: &[u32]) -> Result<u32> {
        let Executor::Gpu(gpu) = &mut self.executor else {
            return Err(Error::internal("no GPU to choose a token"));
        };
        let picked = self.tail.buffers.picked;
        self.is_torn = true;
        if ahead.position.is_none() {
            let step = Step { position: self.past.len() as u32, rows: next.len() as u32 };
            gpu.write_tokens(next);
            gpu.write_step(step);
            gpu.pick(plan_for(next), ahead.tail.clone(), picked, step);
            ahead.tokens_left -= 1;
            ahead.position = Some(step.position + step.rows);
        }
        while let Some(position) =
            ahead.position.filter(|_| ahead.tokens_left > 0 && gpu.picks() <= ahead.depth)
        {
            gpu.pick(STEP_PLAN, ahead.tail.clone(), picked, Step { position, rows: 1 });
            ahead.tokens_left -= 1;
            ahead.position = Some(position + 1);
        }
        let picked = gpu.picked().await?;
        self.is_torn = false;
        self.past.extend_from_slice(next);
        if picked.rows == 0 {
            // Steps on their way change nothing.
            gpu.forget_picks();
        }
        match picked.flags {
            Picked::BAD_LOGIT => Err(bad_logit(picked.token)),
            Picked::NOTHING_LEFT => Err(nothing_left()),
            _ => Ok(picked.token),
        }
    }
}

/// How tokens are chosen, as the GPU reads it.
fn sampling(options: &SamplerOptions, stop_ids: &[u32], vocabulary_size: u32) -> Sampling {
    let penalties =
        (options.repetition_penalty, options.frequency_penalty, options.presence_penalty);
    let top_k = if options.top_k < vocabulary_size { options.top_k } else { 0 };
    let mut stops = [Sampling::NO_TOKEN; Sampling::STOPS];
    stops.iter_mut().zip(stop_ids).for_each(|(stop, id)| *stop = *id);
    Sampling {
        // So that what is divided by it is a number; nothing but the greatest is left anyway.
        temperature: if options.takes_best() { 0.0 } else { options.temperature.max(1e-20) },
        top_k,
        top_p: options.top_p,
        min_distance: options.min_p.ln().max(f32::MIN),
        repetition_penalty: options.repetition_penalty,
        frequency_penalty: options.frequency_penalty,
        presence_penalty: options.presence_penalty,
        adjusts: u32::from(penalties != (1.0, 0.0, 0.0) || !options.logit_bias.is_empty()),
        cuts: u32::from(top_k > 0 || options.top_p < 1.0 || options.min_p > 0.0),
        seed_low: options.seed as u32,
        seed_high: (options.seed >> 32) as u32,
        stops,
    }
}

/// Bias and occurrences of every token.
fn adjustments(options: &SamplerOptions, prompt: &[u32], vocabulary_size: u32) -> Vec<f32> {
    let mut words = vec![0.0; vocabulary_size as usize * 2];
    for (token, bias) in &options.logit_bias {
        if let Some(word) = words.get_mut(*token as usize * 2) {
            *word = if *bias == -100.0 { f32::NEG_INFINITY } else { *word + bias };
        }
    }
    for token in prompt {
        words[*token as usize * 2 + 1] = f32::from_bits(Sampling::IN_PROMPT);
    }
    words
}
