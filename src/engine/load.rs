//! A load as a straight path: headers, device, plans, memory, weights, pipelines, warm-up.

use std::rc::Rc;

use web_time::Instant;

use super::clock::milliseconds;
use super::embeddings::Prompts;
use super::executors::Executor;
use super::kept_sessions::KeptSessions;
use super::run_ahead::DEFAULT_RUN_AHEAD;
use super::sequence::Sequence;
use super::upload::{allocate, compile_ahead, upload};
use super::{Engine, GenerateRequest, LoadOptions, ModelText, Prepared, Progress, Prompt};
use crate::error::Result;
use crate::gpu::MAX_SAMPLES_IN_FLIGHT;
use crate::models::read_embedding_head;
use crate::sampling::SamplerOptions;
use crate::weights::Checkpoint;
use crate::weights::source::ByteSource;

impl Engine {
    /// Loads a model: the parts of a GGUF file, or the files of a safetensors folder.
    ///
    /// # Errors
    /// `malformed`, `missing-tensors`, `unknown-architecture` and `unsupported-format` for the
    /// files; `no-gpu`, `gpu-too-small`, `out-of-memory` and `device-lost` for the device;
    /// `invalid-request` for the options; errors of the sources.
    pub async fn load(
        files: Vec<Rc<dyn ByteSource>>,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Engine> {
        Self::load_prepared(files, options, None, progress).await
    }

    /// Completes a load that [`super::prepare()`] began with the same options. If the GPU was lost
    /// since, the preparation is repeated.
    ///
    /// # Errors
    /// Errors of [`Engine::load`].
    pub async fn load_prepared(
        files: Vec<Rc<dyn ByteSource>>,
        options: &LoadOptions,
        prepared: Option<Prepared>,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Engine> {
        let started = Instant::now();
        let checkpoint = Checkpoint::open(files).await?;
        checkpoint.check_complete()?;
        let text = ModelText::new(&checkpoint, options.chat_template.as_deref())?;
        let (prepared, planned) = match prepared.filter(Prepared::is_usable) {
            Some(prepared) => {
                let planned = prepared.plan(&checkpoint, options)?;
                (prepared, planned)
            }
            None => Prepared::new(&checkpoint, options).await?,
        };
        let memory = planned.memory()?;
        let mut executor = allocate(&planned, &options.host, prepared.gpu).await?;
        let compiled = compile_ahead(&planned, &options.host)?;
        let fingerprint = upload(&planned, &mut executor, progress).await?.of(&planned);
        let total_bytes = memory.weights_bytes;
        let mut report = |phase| {
            let file = checkpoint.name.clone();
            progress(Progress { phase, loaded_bytes: total_bytes, total_bytes, file });
        };
        report("compile");
        let uploaded = Instant::now();
        compiled.await;
        for (_, purpose, plan) in planned.plans.all() {
            executor.prepare(purpose, plan).await?;
        }
        let resources = &planned.buffers.resources;
        let run_ahead = options.test.run_ahead.unwrap_or(DEFAULT_RUN_AHEAD);
        let mut engine = Engine {
            name: checkpoint.name.clone(),
            architecture: planned.architecture,
            parameters: checkpoint.parameters(),
            vocabulary_size: planned.shape.vocabulary_size,
            context_length: planned.options.context_length,
            kv_format: planned.options.kv_format,
            memory,
            shared_buffers: resources.shared().to_vec(),
            sequence: Sequence::new(resources),
            kept_sessions: KeptSessions::new(
                options.host.session_store.clone(),
                options.session_bytes,
            ),
            plans: planned.plans,
            executor,
            run_ahead: run_ahead.min(MAX_SAMPLES_IN_FLIGHT - 1),
            prediction: prepared.prediction,
            fallback_reason: prepared.fallback_reason,
            tuning_cache: prepared.tuning_cache,
            fingerprint,
            text,
            is_encoder: planned.is_encoder,
            embedding_head: read_embedding_head(&checkpoint, planned.architecture),
            embedding_run: None,
            prompts: Prompts::new(&checkpoint),
            load_ms: 0.0,
            compile_ms: milliseconds(uploaded),
            running: None,
        };
        report("warmup");
        engine.warm_up().await?;
        engine.load_ms = milliseconds(started);
        Ok(engine)
    }

    /// Runs one step on the GPU, so that the driver does the work of a first use during the load.
    async fn warm_up(&mut self) -> Result<()> {
        let tokens = match &self.executor {
            Executor::Cpu(_) => return Ok(()),
            _ if self.is_encoder => return self.warm_up_encoder().await,
            Executor::Gpu(_) => 1,
            // Only prefill runs on the GPU, and a prefill step has at least two rows.
            Executor::Hybrid(_) => self.chunk_rows().min(2),
        };
        let request = GenerateRequest {
            prompt: Prompt::Tokens(vec![0; tokens as usize]),
            max_tokens: Some(1),
            sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
            stop: Vec::new(),
            ignore_stop_tokens: true,
            top_logprobs: None,
            truncates: false,
        };
        self.generate(&request, |_| {}).await?;
        self.reset();
        Ok(())
    }
}
