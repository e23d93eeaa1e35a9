//! `tablm quantise`: a folder that is there whole or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::arguments::{Model, Quantise};
use super::native::{load, read_text, say};
use tablm::engine::Engine;
use tablm::error::{Code, Error, Result};
use tablm::weights::disk::open_path;

pub(super) async fn quantise(arguments: &Quantise, json: bool) -> Result<()> {
    let text = arguments.text.as_deref().map(read_text).transpose()?;
    let folder = NewFolder::begin(&arguments.output)?;
    let mut open: Option<(String, File)> = None;
    let report =
        tablm::engine::quantise(open_path(&arguments.input)?, arguments.format, &mut |name, bytes| {
            let file = match &mut open {
                Some((current, file)) if current == name => file,
                other => &mut other.insert((name.to_owned(), folder.create(name)?)).1,
            };
            file.write_all(bytes).map_err(|error| folder.failed(&error))
        })
        .await?;
    drop(open);
    folder.finish()?;
    let mut output = json!(report);
    if let Some(text) = text {
        output["perplexity"] = perplexities(arguments, &text).await?;
    }
    if json {
        say(format_args!("{output}"));
        return Ok(());
    }
    for tensor in &report.tensors {
        let (from, to, error) = (tensor.from, tensor.format, tensor.relative_rms_error);
        say(format_args!("{from:>6} {to:>6} {:>12} {error:.5} {}", tensor.size_bytes, tensor.name));
    }
    say(format_args!("{} bytes of weights, before {}", report.size_bytes, report.from_bytes));
    if output["perplexity"].is_object() {
        say(format_args!("perplexity {}", output["perplexity"]));
    }
    Ok(())
}

/// Perplexity of a text before and after, and the rise of its logarithm.
async fn perplexities(arguments: &Quantise, text: &str) -> Result<Value> {
    let of = async |path: &Path| -> Result<(f64, usize)> {
        let model = Model {
            model: path.to_owned(),
            backend: arguments.backend,
            context: arguments.context,
            chunk: None,
            threads: None,
            quantise: None,
            kv: None,
        };
        let mut engine: Engine = load(&model, true).await?;
        let ids = engine.text().raw_ids(text)?;
        engine.mean_nll(&ids).await
    };
    let (before, tokens) = of(&arguments.input).await?;
    let (after, _) = of(&arguments.output).await?;
    Ok(json!({
        "tokens": tokens,
        "before": before.exp(),
        "after": after.exp(),
        "rise_of_logarithm": after - before,
    }))
}

/// A folder that gets its name when it is complete.
struct NewFolder {
    /// Where it is made, beside its place.
    partial: PathBuf,
    wanted: PathBuf,
}

impl NewFolder {
    /// `invalid-request` when there is something already.
    fn begin(wanted: &Path) -> Result<Self> {
        let taken = match fs::read_dir(wanted) {
            Ok(mut entries) => entries.next().is_some(),
            Err(_) => wanted.exists(),
        };
        let message =
            |what: &str| format!("{}: {what}, expected a folder that is new or empty", wanted.display());
        if taken {
            return Err(Error::invalid_request("output", message("there is something already")));
        }
        let Some(name) = wanted.file_name() else {
            return Err(Error::invalid_request("output", message("not a name")));
        };
        let mut partial = name.to_owned();
        partial.push(format!(".partial-{}", std::process::id()));
        let folder = Self { partial: wanted.with_file_name(partial), wanted: wanted.to_owned() };
        fs::create_dir(&folder.partial).map_err(|error| folder.failed(&error))?;
        Ok(folder)
    }

    fn create(&self, name: &str) -> Result<File> {
        File::create_new(self.partial.join(name)).map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        let code = match error.kind() {
            std::io::ErrorKind::StorageFull => Code::StorageFull,
            _ => Code::InvalidRequest,
        };
        Error::new(code, format!("output: {}: {error}", self.wanted.display()))
    }

    fn finish(self) -> Result<()> {
        if self.wanted.exists() {
            fs::remove_dir(&self.wanted).map_err(|error| self.failed(&error))?;
        }
        fs::rename(&self.partial, &self.wanted).map_err(|error| self.failed(&error))
    }
}

impl Drop for NewFolder {
    /// What did not become a model is not left behind.
    fn drop(&mut self) {
        // After `finish` there is nothing; of a failure to tidy up the first error is the one to tell.
        let _ = fs::remove_dir_all(&self.partial);
    }
}
