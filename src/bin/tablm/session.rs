//! Saved sessions as files.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use tablm::engine::{CacheFormat, Engine, GenerateRequest, Prompt, SamplerOptions};
use tablm::error::{Code, Error, Result};
use tablm::weights::disk::DiskSource;

use super::arguments::Snapshot;
use super::load::load;
use super::terminal::{read_json, say, say_json};

/// Restores the session of a file, if there is one.
pub(super) async fn restore(engine: &mut Engine, path: Option<&PathBuf>) -> Result<()> {
    if let Some(path) = path {
        engine.restore_session(&DiskSource::open(path)?).await?;
    }
    Ok(())
}

/// Saves the session to a file, which takes the place of an earlier one when it is complete.
pub(super) async fn save(
    engine: &mut Engine,
    path: &Path,
    kv_format: Option<CacheFormat>,
) -> Result<u64> {
    let failed = |error| {
        Error::new(Code::InvalidRequest, format!("{}: writing failed: {error}", path.display()))
    };
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}", std::process::id()));
    let partial = PathBuf::from(partial);
    let file = File::create_new(&partial).map_err(failed)?;
    let written = async {
        let mut output = BufWriter::new(file);
        let mut size_bytes = 0;
        let mut write = |bytes: &[u8]| {
            size_bytes += bytes.len() as u64;
            output.write_all(bytes).map_err(failed)
        };
        engine.save_session(kv_format, &mut write).await?;
        let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
        file.sync_all().map_err(failed)?;
        fs::rename(&partial, path).map_err(failed)?;
        Ok(size_bytes)
    };
    let written = written.await;
    if written.is_err() {
        // The error that led here matters more.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Reads a prompt and saves its state.
pub(super) async fn snapshot(arguments: &Snapshot, json: bool) -> Result<()> {
    let tools = arguments.tools.as_deref().map(read_json).transpose()?;
    let messages = read_json(&arguments.messages)?;
    let prompt = Prompt::Chat { messages, tools, thinking: None, variables: Default::default() };
    let request = GenerateRequest {
        prompt,
        max_tokens: Some(1),
        sampling: SamplerOptions { temperature: 0.0, ..SamplerOptions::default() },
        stop: Vec::new(),
        ignore_stop_tokens: true,
        top_logprobs: None,
        truncates: false,
    };
    let mut engine = load(&arguments.model, false).await?;
    let tokens = engine.generate(&request, |_| {}).await?.usage.prompt_tokens;
    let size_bytes = save(&mut engine, &arguments.output, arguments.session_kv_format).await?;
    if json {
        say_json(&json!({"tokens": tokens, "size_bytes": size_bytes}));
    } else {
        say(format_args!("{tokens} tokens, {size_bytes} bytes"));
    }
    Ok(())
}
