//! Quantization: errors of the formats, `tablm quantize` against quantization at load, and refusals
//! and interruptions that must leave no files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use common::assert_contains;
use common::engines::{devices, load};
use common::files::temporary_file;
use common::random::Random;
use tablm::engine::{DeviceChoice, LoadOptions, estimate, normalized_error};
use tablm::formats::Format;
use tablm::weights::disk::open_path;
use tablm::weights::quantize::Target;

const BLOCK: usize = 32;

/// Mean squared error of quantizing values block by block.
fn mean_squared_error(values: &[f32], quantized: impl Fn(&[f32]) -> Vec<f32>) -> f64 {
    let blocks = values.chunks_exact(BLOCK).flat_map(quantized);
    let errors = values.iter().zip(blocks).map(|(value, found)| f64::from(value - found).powi(2));
    errors.sum::<f64>() / values.len() as f64
}

/// Mean squared error of a format's quantization.
fn error(format: Format, values: &[f32]) -> f64 {
    let rules = format.rules();
    mean_squared_error(values, |values| {
        let (mut block, mut found) = (vec![0; rules.block_bytes()], vec![0.0; BLOCK]);
        assert!(rules.quantize(values, &mut block), "{format:?}: {values:?}");
        rules.dequantize_row(&block, &mut found);
        found
    })
}

/// The value of the largest magnitude.
fn largest(values: &[f32]) -> f32 {
    values.iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a }).unwrap()
}

/// Mean squared error of Q4_0 as llama.cpp rounds: the value of the largest magnitude becomes -8.
fn plain_q4_0_error(values: &[f32]) -> f64 {
    mean_squared_error(values, |values| {
        let scale = half::f16::from_f32(largest(values) / -8.0).to_f32();
        let round = |value: &f32| scale * (value / scale).round().clamp(-8.0, 7.0);
        values.iter().map(round).collect()
    })
}

/// Mean squared error of Q8_0 as llama.cpp rounds: the largest magnitude becomes 127.
fn plain_q8_0_error(values: &[f32]) -> f64 {
    mean_squared_error(values, |values| {
        let scale = half::f16::from_f32(largest(values).abs() / 127.0).to_f32();
        values.iter().map(|value| (value / scale).round() * scale).collect()
    })
}

#[test]
fn t4_error_is_well_below_the_error_of_q4_0() {
    let mut random = Random::new(5);
    let normal = random.normals(2000 * BLOCK);
    // Heavy-tailed, as the weights of embeddings.
    let heavy: Vec<f32> = normal.iter().map(|x| x / (0.3 + random.uniform().abs())).collect();
    for (name, values, limit) in [("normal", normal, 0.62), ("heavy", heavy, 0.56)] {
        let ratio = error(Format::T4, &values) / plain_q4_0_error(&values);
        println!("{name}: {ratio:.3} of the mean squared error of Q4_0");
        assert!(ratio < limit, "{name}: {ratio}");
    }
}

#[test]
fn q8_0_error_is_below_the_error_of_plain_rounding() {
    let values = Random::new(6).normals(500 * BLOCK);
    let ratio = error(Format::Q8_0, &values) / plain_q8_0_error(&values);
    println!("{ratio:.3} of the mean squared error of plain rounding");
    assert!(ratio < 0.97, "{ratio}");
}

#[test]
fn blocks_of_extreme_values_are_quantized_or_refused() {
    for target in Target::ALL {
        let format = target.format();
        let rules = format.rules();
        let relative = |values: &[f32; BLOCK]| {
            let squares = values.iter().map(|value| f64::from(*value).powi(2));
            (error(format, values) * BLOCK as f64 / squares.sum::<f64>()).sqrt()
        };
        assert_eq!(error(format, &[0.0; BLOCK]), 0.0, "{format:?}: zeros");
        for size in [1e-3, 1.0, -3.0, 1800.0] {
            assert!(relative(&[size; BLOCK]) < 0.1, "{format:?}: all {size}");
            let mut one = [0.0; BLOCK];
            one[7] = size;
            assert!(relative(&one) < 0.1, "{format:?}: one {size}");
        }
        assert!(error(format, &[1e-30; BLOCK]).sqrt() < 1e-7, "{format:?}");
        let mut block = vec![0; rules.block_bytes()];
        assert!(!rules.quantize(&[1e30; BLOCK], &mut block), "{format:?} cannot represent 1e30");
    }
}

// ---------------------------------------------------------------- models

/// Path of a temporary folder, which does not exist.
fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// Writes a tiny llama of tests/data/folders: `fp8` is in FP8 and floats, `mlx` in MLX formats.
fn tiny(kind: &str, name: &str) -> PathBuf {
    let data = |file: &str| {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(file)).unwrap()
    };
    let description: Value =
        serde_json::from_slice(&data(&format!("folders/{kind}.json"))).unwrap();
    let path = folder(name);
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("config.json"), description["config"].to_string()).unwrap();
    std::fs::write(path.join("tokenizer.json"), data("text/small_tokenizer.json")).unwrap();
    std::fs::write(path.join("model.safetensors"), data(&format!("folders/{kind}.safetensors")))
        .unwrap();
    path
}

fn quantize(input: &Path, output: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tablm"));
    command.arg("quantize").arg(input).arg(output).args(more).arg("--json").output().unwrap()
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

/// Checks that quantizing fails with an error code and a message that contains all `words`.
#[track_caller]
fn refused(input: &Path, output: &Path, format: &str, code: &str, words: &[&str]) {
    let found = json_of(&quantize(input, output, &["--format", format]));
    assert_eq!(found["error"]["code"], code, "{found}");
    assert_contains(found["error"]["message"].as_str().unwrap(), words);
}

#[test]
fn quantized_folder_equals_quantization_at_load() {
    for kind in ["fp8", "mlx", "compressed_floats"] {
        let input = tiny(kind, kind);
        for target in Target::ALL {
            let (name, output) = (target.format().name(), folder(&format!("{kind}-{target:?}")));
            let report = json_of(&quantize(&input, &output, &["--format", name]));
            assert_eq!(report["format"], name, "{report}");
            assert!(report["size_bytes"].as_u64() < report["from_bytes"].as_u64(), "{report}");
            let limit = if target == Target::T4 { 0.08 } else { 0.01 };
            for tensor in report["tensors"].as_array().unwrap() {
                let error = tensor["relative_rms_error"].as_f64().unwrap();
                assert!(tensor["format"] == name && error > 0.0 && error < limit, "{tensor}");
            }
            pollster::block_on(check_quantized(&input, target, &output));
        }
    }
}

/// Checks that loading `output` equals loading `input` with quantization to `target`.
async fn check_quantized(input: &Path, target: Target, output: &Path) {
    let tokens = [3, 50, 95, 7, 7, 0];
    for device in devices().await {
        let name = format!("{} as {target:?} on {device:?}", input.display());
        let plain = LoadOptions { device, ..LoadOptions::default() };
        let options = LoadOptions { quantize: Some(target), ..plain.clone() };
        let estimated = estimate(open_path(input).unwrap(), &options, None).await.unwrap();
        let mut at_load = load(input, options).await;
        let mut before = load(output, plain.clone()).await;
        let weights_bytes = before.info().memory.weights_bytes;
        assert_eq!(at_load.info().memory.weights_bytes, weights_bytes, "{name}");
        // The CPU's estimate is that of its packed weights, in `tests/full_size.rs`.
        if device != DeviceChoice::Cpu {
            assert_eq!(estimated.memory.weights_bytes, weights_bytes, "{name}");
        }
        let quantized = at_load.logits(&tokens).await.unwrap();
        assert_eq!(before.logits(&tokens).await.unwrap(), quantized, "{name}");
        let original = load(input, plain).await.logits(&tokens).await.unwrap();
        let error = normalized_error(&original, &quantized);
        println!("{name}: normalized error of the logits {error:e}");
        assert!(error > 0.0 && error < 0.05, "{name}: {error}");
    }
}

#[test]
fn failed_quantization_leaves_no_files() {
    let input = tiny("fp8", "fp8-again");
    let output = folder("fp8-refused");
    let words = ["--format", "Q4_0", "T4", "Q8_0"];
    refused(&input, &output, "Q4_0", "invalid-request", &words);
    refused(&input, &input, "T4", "invalid-request", &["output", "an existing file or folder"]);
    let gguf = common::gguf::tiny_llama(64, Format::F32).bytes();
    let gguf = temporary_file("tiny-to-quantize.gguf", &gguf);
    let words = ["tiny-to-quantize.gguf", "safetensors folder"];
    refused(&gguf, &output, "T4", "invalid-request", &words);
    // Truncated weights are found while they are read.
    let weights = std::fs::read(input.join("model.safetensors")).unwrap();
    std::fs::write(input.join("model.safetensors"), &weights[..weights.len() - 64]).unwrap();
    refused(&input, &output, "T4", "malformed", &["model.safetensors"]);
    assert_eq!(names(output.parent().unwrap(), "fp8-refused"), [""; 0]);
}

/// Names in a folder that begin with `prefix`.
fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

#[cfg(unix)]
#[test]
fn invalid_output_is_refused_before_anything_is_written() {
    use std::os::unix::fs::symlink;
    let place = folder("outputs");
    std::fs::create_dir(&place).unwrap();
    let input = tiny("fp8", "outputs/in");
    let refused =
        |output: &Path, words: &[&str]| refused(&input, output, "T4", "invalid-request", words);
    std::fs::create_dir(place.join("empty")).unwrap();
    for (link, target) in [("to-empty", "empty"), ("to-nothing", "nothing"), ("to-input", "in")] {
        symlink(place.join(target), place.join(link)).unwrap();
        refused(&place.join(link), &["output", link, "a symbolic link"]);
        refused(&place.join(format!("{link}/")), &["output", "a symbolic link"]);
    }
    std::fs::write(place.join("file"), "mine").unwrap();
    refused(&place.join("file"), &["an existing file or folder"]);
    refused(&input, &["an existing file or folder"]);
    refused(&input.join("out"), &["a path inside the input"]);
    refused(&place.join("to-input/out"), &["a path inside the input"]);
    refused(&place.join("no/such/folder"), &["output", "No such file"]);
    refused(&place.join(".."), &["no folder name"]);
    assert_eq!(names(&place, "").len(), 6, "{:?}", names(&place, ""));
    assert_eq!(std::fs::read(place.join("file")).unwrap(), b"mine");
    // An empty folder is a valid output.
    assert!(quantize(&input, &place.join("empty"), &["--format", "T4"]).status.success());
    assert_eq!(names(&place, "empty"), ["empty"]);
}

#[cfg(unix)]
#[test]
fn symbolic_links_are_refused_except_in_the_hub_cache() {
    use std::os::unix::fs::symlink;
    let place = folder("links");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("secret"), "secret").unwrap();
    let (input, output) = (tiny("fp8", "links/in"), place.join("out"));
    symlink(place.join("secret"), input.join("chat_template.jinja")).unwrap();
    refused(&input, &output, "T4", "invalid-request", &["chat_template.jinja", "link"]);
    assert!(names(&place, "out").is_empty());
    // Hugging Face's cache has links to blobs.
    let revision = place.join("models--a--b/snapshots/0");
    let blobs = place.join("models--a--b/blobs");
    std::fs::create_dir_all(&revision).unwrap();
    std::fs::create_dir(&blobs).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(input.join(name), blobs.join(name)).unwrap();
        symlink(format!("../../blobs/{name}"), revision.join(name)).unwrap();
    }
    assert!(quantize(&revision, &output, &["--format", "T4"]).status.success());
    assert!(output.join("tokenizer.json").symlink_metadata().unwrap().is_file());
}

/// Writes a folder that takes seconds to quantize: weights of a large vocabulary, zeros in a sparse
/// file.
#[cfg(unix)]
fn large(name: &str) -> PathBuf {
    use std::io::Write;
    let path = tiny("fp8", name);
    let mut config: Value =
        serde_json::from_slice(&std::fs::read(path.join("config.json")).unwrap()).unwrap();
    config.as_object_mut().unwrap().remove("quantization_config");
    config["vocab_size"] = json!(1 << 18);
    config["tie_word_embeddings"] = json!(true);
    config["num_hidden_layers"] = json!(1);
    std::fs::write(path.join("config.json"), config.to_string()).unwrap();
    let count = |field: &str| config[field].as_u64().unwrap();
    let (hidden, ffn) = (count("hidden_size"), count("intermediate_size"));
    let head_dim = config["head_dim"].as_u64().unwrap_or(hidden / count("num_attention_heads"));
    let (q, kv) =
        (count("num_attention_heads") * head_dim, count("num_key_value_heads") * head_dim);
    let (mut header, mut offset) = (serde_json::Map::new(), 0);
    let mut add = |name: &str, shape: &[u64]| {
        let end = offset + 4 * shape.iter().product::<u64>();
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]});
        header.insert(name.to_owned(), entry);
        offset = end;
    };
    add("model.embed_tokens.weight", &[1 << 18, hidden]);
    add("model.norm.weight", &[hidden]);
    for (part, shape) in [
        ("input_layernorm", vec![hidden]),
        ("post_attention_layernorm", vec![hidden]),
        ("self_attn.q_proj", vec![q, hidden]),
        ("self_attn.k_proj", vec![kv, hidden]),
        ("self_attn.v_proj", vec![kv, hidden]),
        ("self_attn.o_proj", vec![hidden, q]),
        ("mlp.gate_proj", vec![ffn, hidden]),
        ("mlp.up_proj", vec![ffn, hidden]),
        ("mlp.down_proj", vec![hidden, ffn]),
    ] {
        add(&format!("model.layers.0.{part}.weight"), &shape);
    }
    let header = Value::Object(header).to_string();
    let mut file = std::fs::File::create(path.join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + offset).unwrap();
    path
}

/// Starts to quantize, and sends a signal once the output has weights.
#[cfg(unix)]
fn interrupt(input: &Path, output: &Path, signal: &str) -> Output {
    use std::process::Stdio;
    use std::time::{Duration, Instant};
    let mut command = Command::new(env!("CARGO_BIN_EXE_tablm"));
    command.arg("quantize").arg(input).arg(output).args(["--format", "T4", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let place = output.parent().unwrap();
    let name = output.file_name().unwrap().to_str().unwrap();
    let partial = place.join(format!("{name}.partial-{}", child.id())).join("model.safetensors");
    let started = Instant::now();
    while !partial.exists() {
        assert!(child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(2));
    }
    let id = child.id().to_string();
    assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
    output
}

#[cfg(unix)]
#[test]
fn signals_leave_no_files_and_the_next_run_removes_those_of_a_killed_run() {
    let place = folder("signals");
    std::fs::create_dir(&place).unwrap();
    let (input, output) = (large("signals/in"), place.join("out"));
    for signal in ["TERM", "INT"] {
        let stopped = interrupt(&input, &output, signal);
        assert_eq!(json_of(&stopped)["error"]["code"], "aborted", "{signal}: {stopped:?}");
        assert_eq!(names(&place, "out"), [""; 0], "{signal}");
    }
    interrupt(&input, &output, "KILL");
    assert_eq!(names(&place, "out.partial-").len(), 1);
    // Folders that stay: without a lock file, or with another name.
    for other in ["out.partial-1", "out.partial-x", "out.partial-"] {
        std::fs::create_dir(place.join(other)).unwrap();
    }
    assert!(quantize(&tiny("fp8", "signals/small"), &output, &["--format", "T4"]).status.success());
    let mut left = names(&place, "out");
    left.sort();
    assert_eq!(left, ["out", "out.partial-", "out.partial-1", "out.partial-x"]);
    assert!(!output.join(".lock").exists());
}

/// A limit of the file size stands in for a full disk.
#[cfg(unix)]
#[test]
fn full_disk_is_reported_and_leaves_no_files() {
    let place = folder("full");
    std::fs::create_dir(&place).unwrap();
    let input = large("full/in");
    let command = format!(
        "trap '' XFSZ; ulimit -f 1000; exec {} quantize {} {} --format T4 --json",
        env!("CARGO_BIN_EXE_tablm"),
        input.display(),
        place.join("out").display()
    );
    let found = json_of(&Command::new("bash").args(["-c", &command]).output().unwrap());
    assert_eq!(found["error"]["code"], "storage-full", "{found}");
    assert!(names(&place, "out").is_empty());
}

#[test]
fn load_options_take_a_format_name() {
    let options =
        serde_json::from_value::<LoadOptions>(json!({"quantize": "T4", "device": "cpu"})).unwrap();
    assert_eq!((options.quantize, options.device), (Some(Target::T4), DeviceChoice::Cpu));
    let wrong =
        serde_json::from_value::<LoadOptions>(json!({"quantize": "q4"})).unwrap_err().to_string();
    assert!(wrong.contains("q4") && wrong.contains("T4") && wrong.contains("Q8_0"), "{wrong}");
}
