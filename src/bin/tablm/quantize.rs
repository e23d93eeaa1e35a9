//! `tablm quantize`: writes a folder that appears complete or not at all.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

use super::arguments::{ModelArguments, Quantize};
use super::load::load;
use super::terminal::{read_text, say, say_json};
use tablm::engine::Engine;
use tablm::error::{Code, Error, Result, visible};
use tablm::weights::disk::{open_file, open_path};

/// Lock file that the writer of an incomplete folder holds; if it is not locked, the writer died.
const LOCK: &str = ".lock";
/// Part of an incomplete folder's name, between the final name and the writer's process id.
const PARTIAL: &str = ".partial-";

pub(super) async fn quantize(arguments: &Quantize, json: bool) -> Result<()> {
    let text = arguments.text.as_deref().map(read_text).transpose()?;
    let files = open_path(&arguments.input)?;
    check_links(&arguments.input, files.iter().map(|file| file.name()))?;
    let is_stopped = stop_by_signal()?;
    let mut folder = NewFolder::begin(&arguments.input, &arguments.output)?;
    let report = tablm::engine::quantize(files, arguments.format, &mut |name, bytes| {
        if is_stopped.load(Ordering::Relaxed) {
            return Err(Error::new(Code::Aborted, "stopped by a signal, nothing is written"));
        }
        folder.write(name, bytes)
    })
    .await?;
    folder.finish()?;
    // Nothing is left to clean up: with the flag set, a signal ends the program at once.
    is_stopped.store(true, Ordering::Relaxed);
    let mut output = json!(report);
    if let Some(text) = text {
        output["perplexity"] = perplexities(arguments, &text).await?;
    }
    if json {
        say_json(&output);
        return Ok(());
    }
    for tensor in &report.tensors {
        let (from, to, error) = (tensor.from, tensor.format, tensor.relative_rms_error);
        let name = visible(&tensor.name);
        say(format_args!("{from:>6} {to:>6} {:>12} {error:.5} {name}", tensor.size_bytes));
    }
    say(format_args!("{} bytes of weights, before {}", report.size_bytes, report.from_bytes));
    if output["perplexity"].is_object() {
        say(format_args!("perplexity {}", output["perplexity"]));
    }
    Ok(())
}

/// A flag that the first signal to terminate sets; the second signal ends the program at once.
fn stop_by_signal() -> Result<Arc<AtomicBool>> {
    let is_stopped = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        let ended = flag::register_conditional_shutdown(*signal, 128 + signal, is_stopped.clone());
        let registered = ended.and_then(|_| flag::register(*signal, is_stopped.clone()));
        registered.map_err(|error| Error::internal(format!("signal {signal}: {error}")))?;
    }
    Ok(is_stopped)
}

/// Refuses files to be copied that are links out of the folder: their targets may be secret. Allows
/// the links of Hugging Face's cache from `snapshots/REVISION` to `blobs` of the same model.
fn check_links<'a>(input: &Path, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let failed =
        |error| Error::new(Code::InvalidRequest, format!("input: {}: {error}", input.display()));
    let folder = fs::canonicalize(input).map_err(failed)?;
    if !folder.is_dir() {
        return Ok(());
    }
    let snapshots = folder.parent().filter(|snapshots| snapshots.ends_with("snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|model| model.join("blobs"));
    for name in names.filter(|name| !name.ends_with(".safetensors")) {
        let target = fs::canonicalize(folder.join(name)).map_err(failed)?;
        if !target.starts_with(&folder)
            && !blobs.as_ref().is_some_and(|blobs| target.starts_with(blobs))
        {
            let message =
                format!("{name}: found a link out of the folder, expected a file of the folder");
            return Err(Error::invalid_request("input", message));
        }
    }
    Ok(())
}

/// Perplexity of a text before and after, and the increase of its logarithm.
async fn perplexities(arguments: &Quantize, text: &str) -> Result<Value> {
    let mean_nll = async |path: &Path| -> Result<(f64, usize)> {
        let model = ModelArguments {
            model: path.to_owned(),
            backend: arguments.backend,
            context: arguments.context,
            chunk: None,
            threads: None,
            quantize: None,
            kv: None,
            snapshots: None,
        };
        let mut engine: Engine = load(&model, true).await?;
        let ids = engine.text().raw_ids(text)?;
        engine.mean_nll(&ids).await
    };
    let (before, tokens) = mean_nll(&arguments.input).await?;
    let (after, _) = mean_nll(&arguments.output).await?;
    Ok(json!({
        "tokens": tokens,
        "before": before.exp(),
        "after": after.exp(),
        "rise_of_logarithm": after - before,
    }))
}

/// A folder that is renamed to its final name when it is complete.
struct NewFolder {
    /// Temporary path in the same parent folder, while the folder is incomplete.
    partial: PathBuf,
    /// Final path.
    wanted: PathBuf,
    /// Lock file, locked while the folder is incomplete.
    lock: File,
    /// File that is being written, and its name.
    open: Option<(String, File)>,
}

impl NewFolder {
    /// Creates the folder under its temporary name.
    ///
    /// # Errors
    /// `invalid-request` if the path is taken or inside the input; `storage-full`.
    fn begin(input: &Path, wanted: &Path) -> Result<Self> {
        let refused = |what: &str| {
            let message =
                format!("{}: found {what}, expected a new or empty folder", wanted.display());
            Error::invalid_request("output", message)
        };
        let failed = |error| failed(wanted, &error);
        let name = wanted.file_name().ok_or_else(|| refused("no folder name"))?;
        // A path with a trailing slash would follow a link.
        let parent = wanted.parent().filter(|parent| !parent.as_os_str().is_empty());
        let place = fs::canonicalize(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        let wanted = place.join(name);
        match fs::symlink_metadata(&wanted) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if found.is_symlink() => return Err(refused("a symbolic link")),
            Ok(found)
                if found.is_dir() && fs::read_dir(&wanted).map_err(failed)?.next().is_none() => {}
            Ok(_) => return Err(refused("an existing file or folder")),
        }
        if fs::canonicalize(input).is_ok_and(|input| place.starts_with(input)) {
            return Err(refused("a path inside the input"));
        }
        let mut prefix = name.to_owned();
        prefix.push(PARTIAL);
        let prefix = prefix.to_string_lossy().into_owned();
        remove_left_behind(&place, &prefix);
        let partial = place.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&partial).map_err(failed)?;
        let lock = File::create_new(partial.join(LOCK)).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { partial, wanted, lock, open: None })
    }

    /// Writes the next bytes of a file; files are written one after another.
    fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.close()?;
            let path = self.partial.join(name);
            // Only modules of sentence-transformers have a folder.
            let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
            let file = folder.and_then(|()| File::create_new(path));
            self.open =
                Some((name.to_owned(), file.map_err(|error| failed(&self.wanted, &error))?));
        }
        let written = self.open.as_mut().map_or(Ok(()), |(_, file)| file.write_all(bytes));
        written.map_err(|error| failed(&self.wanted, &error))
    }

    /// Syncs the file that was written last to the disk.
    fn close(&mut self) -> Result<()> {
        let synced = self.open.take().map_or(Ok(()), |(_, file)| file.sync_all());
        synced.map_err(|error| failed(&self.wanted, &error))
    }

    /// Syncs the folder to the disk and renames it to its final name.
    fn finish(mut self) -> Result<()> {
        self.close()?;
        let failed = |error| failed(&self.wanted, &error);
        fs::remove_file(self.partial.join(LOCK)).map_err(failed)?;
        sync_folder(&self.partial).map_err(failed)?;
        if self.wanted.exists() {
            fs::remove_dir(&self.wanted).map_err(failed)?;
        }
        fs::rename(&self.partial, &self.wanted).map_err(failed)?;
        self.wanted.parent().map_or(Ok(()), sync_folder).map_err(failed)
    }
}

impl Drop for NewFolder {
    /// Removes a folder that did not become complete.
    fn drop(&mut self) {
        // After `finish` there is nothing to remove; before, the error that led here matters more.
        let _ = (self.lock.unlock(), fs::remove_dir_all(&self.partial));
    }
}

/// Syncs the names in a folder to the disk, on systems that can open folders.
fn sync_folder(path: &Path) -> std::io::Result<()> {
    File::open(path).map_or(Ok(()), |folder| folder.sync_all())
}

/// Removes the incomplete folders of killed runs, which are not locked.
fn remove_left_behind(place: &Path, prefix: &str) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let id = name.strip_prefix(prefix).filter(|id| !id.is_empty());
        let is_ours = id.is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_digit()))
            && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_ours && open_file(&entry.path().join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
        {
            // A folder that cannot be removed does no harm.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn failed(wanted: &Path, error: &std::io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Code::StorageFull
        }
        _ => Code::InvalidRequest,
    };
    Error::new(code, format!("output: {}: {error}", wanted.display()))
}
