//! Native command line: generate, logits, perplexity, embed, tokenize, detokenize, inspect, bench,
//! snapshot, quantize.
//!
//! Logs go to stderr. With `--json` exactly one JSON object goes to stdout. Errors end with
//! status 1 and `error: <code>: <message>`.

#[cfg(target_arch = "wasm32")]
fn main() {}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    native::main()
}

#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/arguments.rs"]
mod arguments;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/bench.rs"]
mod bench;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/load.rs"]
mod load;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/quantize.rs"]
mod quantize;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/session.rs"]
mod session;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/terminal.rs"]
mod terminal;
#[cfg(not(target_arch = "wasm32"))]
#[path = "tablm/tuning_cache.rs"]
mod tuning_cache;
#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::io::{BufRead, IsTerminal};
    use std::path::Path;
    use std::process::ExitCode;
    use std::time::{SystemTime, UNIX_EPOCH};

    use clap::Parser;
    use serde_json::{Map, Value, json};

    use super::arguments::{
        Cli, Command, Detokenize, Embed, Generate, Inspect, Logits, Perplexity, SamplingArguments,
        Switch, Tokenize,
    };
    use super::bench::bench;
    use super::load::{load, warn};
    use super::quantize::quantize;
    use super::session;
    use super::terminal::{for_output, log, read_json, read_text, say, say_json, show};
    use tablm::engine::{
        Completion, Delta, EmbeddingRequest, Engine, GenerateRequest, LoadOptions, ModelText,
        Prompt, SamplerOptions, estimate,
    };
    use tablm::error::{Code, Error, Result, visible};
    use tablm::weights::disk::open_path;

    pub(super) fn main() -> ExitCode {
        let wants_json = std::env::args().any(|argument| argument == "--json");
        let done = match Cli::try_parse() {
            Ok(cli) => pollster::block_on(run(cli)),
            Err(usage) if usage.use_stderr() => {
                let message = usage.to_string();
                let message = for_output(message.trim_start_matches("error: ").trim_end(), true);
                return failed(Code::InvalidRequest, &message, wants_json);
            }
            Err(help) => {
                show(&help.to_string());
                return ExitCode::SUCCESS;
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(error.code(), error.message(), wants_json),
        }
    }

    fn failed(code: Code, message: &str, wants_json: bool) -> ExitCode {
        let code = code.as_str();
        eprintln!("error: {code}: {message}");
        if wants_json {
            say_json(&json!({"error": {"code": code, "message": message}}));
        }
        ExitCode::FAILURE
    }

    async fn run(cli: Cli) -> Result<()> {
        let json = cli.json;
        match cli.command {
            Command::Generate(arguments) => generate(arguments, json).await,
            Command::Logits(arguments) => logits(arguments, json).await,
            Command::Perplexity(arguments) => perplexity(arguments, json).await,
            Command::Embed(arguments) => embed(arguments, json).await,
            Command::Tokenize(arguments) => tokenize(&arguments, json).await,
            Command::Detokenize(arguments) => detokenize(&arguments, json).await,
            Command::Inspect(arguments) => inspect(&arguments, json).await,
            Command::Bench(arguments) => bench(&arguments, json).await,
            Command::Snapshot(arguments) => session::snapshot(&arguments, json).await,
            Command::Quantize(arguments) => quantize(&arguments, json).await,
        }
    }

    fn sampling(arguments: &SamplingArguments) -> SamplerOptions {
        let clock =
            || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as u64);
        let defaults = SamplerOptions::default();
        SamplerOptions {
            temperature: arguments.temperature.unwrap_or(defaults.temperature),
            top_k: arguments.top_k.unwrap_or(defaults.top_k),
            top_p: arguments.top_p.unwrap_or(defaults.top_p),
            min_p: arguments.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: arguments.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            frequency_penalty: arguments.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            presence_penalty: arguments.presence_penalty.unwrap_or(defaults.presence_penalty),
            seed: arguments.seed.unwrap_or_else(clock),
            ..defaults
        }
    }

    async fn generate(arguments: Generate, json: bool) -> Result<()> {
        let tools = arguments.tools.as_deref().map(read_json).transpose()?;
        let thinking = arguments.thinking.map(|switch| matches!(switch, Switch::On));
        let chat = |messages| {
            let tools = tools.clone();
            Prompt::Chat { messages, tools, thinking, variables: Map::new() }
        };
        let prompt = match (&arguments.prompt, &arguments.raw_prompt, &arguments.messages) {
            (Some(text), _, _) => Some(chat(json!([{"role": "user", "content": text}]))),
            (_, Some(text), _) => Some(Prompt::Raw(text.clone())),
            (_, _, Some(path)) => Some(chat(read_json(path)?)),
            (None, None, None) => None,
        };
        let request = |prompt| GenerateRequest {
            prompt,
            max_tokens: arguments.max_tokens,
            sampling: sampling(&arguments.sampling),
            stop: arguments.stop.clone(),
            ignore_stop_tokens: false,
            top_logprobs: None,
            truncates: arguments.truncate,
        };
        // Checks the request before the slow load of the model.
        let first = request(prompt.clone().unwrap_or(Prompt::Tokens(Vec::new())));
        first.check()?;
        let mut engine = load(&arguments.model, false).await?;
        session::restore(&mut engine, arguments.load_session.as_ref()).await?;
        if prompt.is_none() {
            interactive(&mut engine, |messages| request(chat(messages))).await?;
            return save_session(&mut engine, &arguments).await;
        }
        let completion = engine
            .generate(&first, |delta| {
                if !json {
                    show_delta(delta)
                }
            })
            .await?;
        if json {
            // First, because an error is the only object then.
            save_session(&mut engine, &arguments).await?;
            say_json(&generate_json(&engine, &completion));
            return Ok(());
        }
        say(format_args!(""));
        report(&completion);
        save_session(&mut engine, &arguments).await
    }

    async fn save_session(engine: &mut Engine, arguments: &Generate) -> Result<()> {
        match &arguments.save_session {
            Some(path) => {
                session::save(engine, path, arguments.session_kv_format).await.map(|_| ())
            }
            None => Ok(()),
        }
    }

    /// Writes a part of an answer: text and calls to stdout, reasoning to stderr.
    fn show_delta(delta: &Delta) {
        log(&delta.reasoning);
        show(&delta.text);
        delta.tool_calls.iter().for_each(|call| say_json(&json!(call)));
    }

    fn report(completion: &Completion) {
        let (usage, timings) = (completion.usage, completion.timings);
        eprintln!(
            "{} prompt tokens at {:.1}/s, {} generated at {:.1}/s ({})",
            usage.prompt_tokens,
            timings.prefill_tokens_per_s,
            usage.completion_tokens,
            timings.decode_tokens_per_s,
            completion.finish_reason
        );
    }

    fn generate_json(engine: &Engine, completion: &Completion) -> Value {
        let info = engine.info();
        let mut timings = json!({"load_ms": info.load_ms});
        if let (Value::Object(timings), Ok(Value::Object(more))) =
            (&mut timings, serde_json::to_value(completion.timings))
        {
            timings.extend(more);
        }
        json!({
            "text": completion.text,
            "reasoning": completion.reasoning,
            "tool_calls": completion.tool_calls,
            "token_ids": completion.token_ids,
            "prompt_token_ids": completion.prompt_token_ids,
            "finish_reason": completion.finish_reason,
            "usage": completion.usage,
            "timings": timings,
            "device": info.device,
            "memory": info.memory,
            "step": info.step,
            "warnings": info.warnings,
        })
    }

    async fn interactive(
        engine: &mut Engine,
        request: impl Fn(Value) -> GenerateRequest,
    ) -> Result<()> {
        eprintln!("Type a message and press Enter; an empty line or Ctrl-D ends the chat.");
        let mut messages = Vec::new();
        loop {
            eprint!("> ");
            let mut line = String::new();
            let read = std::io::stdin().lock().read_line(&mut line);
            read.map_err(|error| {
                Error::new(Code::InvalidRequest, format!("standard input: {error}"))
            })?;
            if line.trim().is_empty() {
                return Ok(());
            }
            messages.push(json!({"role": "user", "content": line.trim_end()}));
            let completion = engine.generate(&request(json!(messages)), show_delta).await?;
            say(format_args!(""));
            report(&completion);
            messages.push(completion.message());
        }
    }

    async fn logits(arguments: Logits, json: bool) -> Result<()> {
        let mut engine = load(&arguments.model, arguments.all).await?;
        let logits = engine.logits(&arguments.tokens).await?;
        let rows: Vec<&[f32]> = logits.chunks(engine.info().vocabulary_size as usize).collect();
        if json {
            let value = if arguments.all { json!(rows) } else { json!(rows.last()) };
            say_json(&json!({"logits": value}));
            return Ok(());
        }
        for row in rows {
            let mut best: Vec<usize> = (0..row.len()).collect();
            best.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let best = best.iter().take(5).map(|id| format!("{id}: {:.4}", row[*id]));
            say(format_args!("{}", best.collect::<Vec<_>>().join("  ")));
        }
        Ok(())
    }

    async fn perplexity(arguments: Perplexity, json: bool) -> Result<()> {
        let text = read_text(&arguments.text)?;
        let mut engine = load(&arguments.model, true).await?;
        let ids = engine.text().raw_ids(&text)?;
        let (mean, count) = engine.mean_nll(&ids).await?;
        if json {
            say_json(&json!({"perplexity": mean.exp(), "tokens": count, "nll": mean}));
        } else {
            say(format_args!("perplexity {:.4} over {count} tokens", mean.exp()));
        }
        Ok(())
    }

    async fn embed(arguments: Embed, json: bool) -> Result<()> {
        let input = match &arguments.texts {
            Some(path) => read_json(path)?,
            None => json!(arguments.text),
        };
        let request = json!({
            "input": input,
            "dimensions": arguments.dimensions,
            "prompt_name": arguments.prompt_name,
        });
        // Checks the request before the slow load of the model.
        let request = EmbeddingRequest::from_json(&request.to_string())?;
        let mut engine = load(&arguments.model, false).await?;
        let (embeddings, usage) = engine.embed(&request).await?;
        if json {
            say_json(&json!({"embeddings": embeddings, "usage": usage}));
        } else {
            embeddings.iter().for_each(|row| say_json(&json!(row)));
        }
        Ok(())
    }

    /// Opens only the tokenizer and the chat template of a model.
    async fn open_text(model: &Path) -> Result<ModelText> {
        let text = ModelText::open(open_path(model)?).await?;
        warn(text.warnings());
        Ok(text)
    }

    /// A JSON object with one result, and with the warnings if there are any.
    fn with_warnings(key: &str, result: Value, warnings: &[String]) -> Value {
        let mut object = json!({key: result});
        if !warnings.is_empty() {
            object["warnings"] = json!(warnings);
        }
        object
    }

    async fn tokenize(arguments: &Tokenize, json: bool) -> Result<()> {
        let text = open_text(&arguments.model).await?;
        let ids = json!(text.raw_ids(&arguments.text)?);
        let output = if json { with_warnings("token_ids", ids, text.warnings()) } else { ids };
        say_json(&output);
        Ok(())
    }

    async fn detokenize(arguments: &Detokenize, json: bool) -> Result<()> {
        let text = open_text(&arguments.model).await?;
        let decoded = text.tokenizer.decode(&arguments.tokens, false)?;
        if json {
            say_json(&with_warnings("text", decoded.into(), text.warnings()));
        } else {
            say(format_args!("{}", for_output(&decoded, std::io::stdout().is_terminal())));
        }
        Ok(())
    }

    async fn inspect(arguments: &Inspect, json: bool) -> Result<()> {
        let options = LoadOptions {
            context_length: arguments.context,
            quantize: arguments.quantize,
            kv_format: arguments.kv,
            ..LoadOptions::default()
        };
        let estimate = estimate(open_path(&arguments.path)?, &options, None).await?;
        if json {
            say_json(&json!(estimate));
            return Ok(());
        }
        say(format_args!("{}: {} parameters", estimate.architecture, estimate.parameters));
        for tensor in &estimate.tensors {
            say(format_args!(
                "{:>6} {:>12} {:?} {}",
                tensor.format,
                tensor.size_bytes,
                tensor.shape,
                visible(&tensor.name)
            ));
        }
        let memory = estimate.memory;
        say(format_args!(
            "at {} positions: weights {} + state {} + scratch {} = {} bytes",
            estimate.context_length,
            memory.weights_bytes,
            memory.state_bytes,
            memory.scratch_bytes,
            memory.peak_gpu_bytes
        ));
        Ok(())
    }
}
