//! Generation: prefill of the prompt in chunks, then one step for each token, whose input is the
//! previous token.

use web_time::Instant;

use super::Engine;
use super::completion::{Completion, Event, GenerateRequest};
use super::logprobs::logprobs;
use super::prompt::read_prompt;
use super::running::Running;
use crate::error::{Error, Result};
use crate::sampling::Sampler;
use crate::text::{Delta, GeneratedLogprob};

impl Engine {
    /// Begins a request, which [`Engine::next`] then drives; a running one is dropped.
    ///
    /// # Errors
    /// `invalid-request` and `context-full` for the request.
    pub fn begin(&mut self, request: &GenerateRequest) -> Result<()> {
        (self.running, self.embedding_run) = (None, None);
        self.check_generates()?;
        request.check()?;
        self.sequence.drop_samples(&mut self.executor);
        let started = Instant::now();
        let capacity = self.sequence.snapshot_capacity();
        let (mut prompt, omitted_messages) =
            read_prompt(&self.text, request, self.context_length as usize, capacity > 0)?;
        // The longest keep most.
        prompt.snapshots.drain(..prompt.snapshots.len().saturating_sub(capacity));
        self.check_tokens(&prompt.ids)?;
        let mut sampler = Sampler::new(&request.sampling, self.vocabulary_size)?;
        sampler.accept_prompt(&prompt.ids);
        let mut running = Running::new(request, prompt, omitted_messages, sampler, started)?;
        running.ahead = self.begin_gpu_sampling(request, running.prompt.len(), &running.sampler);
        self.running = Some(running);
        Ok(())
    }

    /// Drives the request by one step: a chunk of the prompt, or a token. The last event is
    /// [`Event::Done`].
    ///
    /// # Errors
    /// Errors of the device, and `malformed` for logits that no token can be sampled from. The
    /// sequence is empty then, and the engine still usable.
    pub async fn next(&mut self) -> Result<Event> {
        let Some(mut running) = self.running.take() else {
            return Err(Error::invalid_request("next", "found no running request, expected one"));
        };
        if let Some(reason) = running.finish_reason {
            return Ok(Event::Done(Box::new(running.completion(reason))));
        }
        match self.advance(&mut running).await {
            Ok(event) => {
                self.running = Some(running);
                Ok(event)
            }
            Err(error) => {
                self.reset();
                Err(error)
            }
        }
    }

    /// Ends the running request: the next event is [`Event::Done`] with `abort`.
    pub fn stop(&mut self) {
        if let Some(running) = &mut self.running {
            running.finish_reason.get_or_insert("abort");
        }
    }

    /// Runs a request to its end; `on_delta` receives the answer part by part ([`Event::Token`]).
    ///
    /// # Errors
    /// Errors of [`Engine::begin`] and [`Engine::next`].
    pub async fn generate(
        &mut self,
        request: &GenerateRequest,
        mut on_delta: impl FnMut(&Delta),
    ) -> Result<Completion> {
        self.begin(request)?;
        loop {
            match self.next().await? {
                Event::Prefill { .. } => {}
                Event::Token(delta) => on_delta(&delta),
                Event::Done(completion) => return Ok(*completion),
            }
        }
    }

    async fn advance(&mut self, running: &mut Running) -> Result<Event> {
        if !running.is_prepared() {
            self.switch_session(&running.prompt).await;
            let reused = self.sequence.reuse_prefix(&running.prompt, &mut self.executor);
            running.begin_prefill(reused);
        }
        let total = running.prompt.len();
        let is_prefill = running.prefilled < total;
        let input = if is_prefill {
            let end = total.min(running.prefilled + self.chunk_rows() as usize);
            let next_snapshot =
                running.snapshots.iter().find(|length| **length > running.prefilled);
            let end = next_snapshot.map_or(end, |length| end.min(*length));
            running.prompt[running.prefilled..end].to_vec()
        } else {
            let last = running.token_ids.last().copied();
            vec![last.ok_or_else(|| Error::internal("answer: found no token, expected one"))?]
        };
        if is_prefill && running.prefilled + input.len() < total {
            self.forward(&input, false).await?;
            running.prefilled += input.len();
            if running.snapshots.contains(&running.prefilled) {
                self.sequence.take_snapshot(&mut self.executor);
            }
            return Ok(Event::Prefill { done: running.prefilled, total });
        }
        let (token, logprob) = self.sample_after(running, &input).await?;
        running.sampler.accept(token);
        if is_prefill {
            running.end_prefill();
        }
        let is_context_full = self.sequence.len() >= self.context_length as usize;
        Ok(Event::Token(running.push(token, logprob, &self.text, is_context_full)))
    }

    /// Runs the step of `input` and samples the token after it, on the GPU or from its logits. A
    /// token mask for constrained decoding would be applied here, to the logits.
    async fn sample_after(
        &mut self,
        running: &mut Running,
        input: &[u32],
    ) -> Result<(u32, Option<GeneratedLogprob>)> {
        if let Some(ahead) = &mut running.ahead {
            return Ok((self.sample_on_gpu(ahead, input).await?, None));
        }
        let logits = self.forward(input, true).await?;
        // If the plan returns the logits of all rows, those of the last row count.
        let logits = &logits[logits.len().saturating_sub(self.vocabulary_size as usize)..];
        let token = running.sampler.sample(logits, self.sequence.len() as u32)?;
        let tokenizer = &self.text.tokenizer;
        let logprob = running.top_logprobs.map(|top| logprobs(logits, token, top, tokenizer));
        Ok((token, logprob))
    }
}
