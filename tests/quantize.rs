//! Weights turned into another format: how well, and the same whether once or at every load.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use common::engines::{devices, load};
use common::random::Random;
use tablm::engine::{DeviceChoice, LoadOptions, estimate, normalized_error};
use tablm::formats::Format;
use tablm::weights::disk::open_path;
use tablm::weights::quantize::Target;

const BLOCK: usize = 32;

/// Mean squared error of the format's own rounding.
fn error(format: Format, values: &[f32]) -> f64 {
    let rules = format.rules();
    let (mut block, mut held) = (vec![0; rules.block_bytes()], vec![0.0; BLOCK]);
    let of = |values: &[f32]| {
        assert!(rules.quantize(values, &mut block), "{format:?}: {values:?}");
        rules.dequantize_row(&block, &mut held);
        distance(values, &held)
    };
    values.chunks_exact(BLOCK).map(of).sum::<f64>() / values.len() as f64
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

/// Mean squared error of Q4_0 as it is usually rounded: the weight farthest from zero becomes -8.
fn plain_q4_0_error(values: &[f32]) -> f64 {
    let of = |values: &[f32]| {
        let farthest =
            values.iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a }).unwrap();
        let scale = half::f16::from_f32(farthest / -8.0).to_f32();
        let round = |value: &f32| scale * (value / scale).round().clamp(-8.0, 7.0);
        distance(values, &values.iter().map(round).collect::<Vec<f32>>())
    };
    values.chunks_exact(BLOCK).map(of).sum::<f64>() / values.len() as f64
}

#[test]
fn t4_loses_little_on_weights_that_nobody_has_rounded_before() {
    let mut random = Random::new(5);
    let normal = random.normals(2000 * BLOCK);
    // Like an embedding: some weights are far out.
    let heavy: Vec<f32> = normal.iter().map(|x| x / (0.3 + random.uniform().abs())).collect();
    for (name, values, limit) in [("normal", normal, 0.62), ("heavy", heavy, 0.56)] {
        let ratio = error(Format::T4, &values) / plain_q4_0_error(&values);
        println!("{name}: mean squared error {ratio:.3} of Q4_0's");
        assert!(ratio < limit, "{name}: {ratio}");
    }
}

#[test]
fn q8_0_is_rounded_at_least_as_well_as_by_the_greatest_weight() {
    let values = Random::new(6).normals(500 * BLOCK);
    let plain = |values: &[f32]| {
        let greatest = values.iter().fold(0.0f32, |greatest, value| greatest.max(value.abs()));
        let scale = half::f16::from_f32(greatest / 127.0).to_f32();
        distance(
            values,
            &values.iter().map(|value| (value / scale).round() * scale).collect::<Vec<f32>>(),
        )
    };
    let plain = values.chunks_exact(BLOCK).map(plain).sum::<f64>() / values.len() as f64;
    let ratio = error(Format::Q8_0, &values) / plain;
    println!("mean squared error {ratio:.3} of plain rounding's");
    assert!(ratio < 0.97, "{ratio}");
}

#[test]
fn blocks_of_any_numbers_are_rounded_or_refused() {
    for target in Target::ALL {
        let format = target.format();
        let rules = format.rules();
        let relative = |values: &[f32; BLOCK]| {
            let size =
                values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() / BLOCK as f64;
            (error(format, values) / size).sqrt()
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
        assert!(!rules.quantize(&[1e30; BLOCK], &mut block), "{format:?} has no room for 1e30");
    }
}

// ---------------------------------------------------------------- models

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    path
}

/// A tiny llama of tests/data/folders on disk: `fp8` is in FP8 and floats, `mlx` in formats of MLX.
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

#[test]
fn a_folder_quantized_once_is_the_model_quantized_at_every_load() {
    for kind in ["fp8", "mlx"] {
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
            pollster::block_on(compare(&input, target, &output));
        }
    }
}

/// Loads `input` turned into the target, and `output`, in which it was turned before.
async fn compare(input: &Path, target: Target, output: &Path) {
    let tokens = [3, 50, 95, 7, 7, 0];
    for device in devices().await {
        let name = format!("{} as {target:?} on {device:?}", input.display());
        let plain = LoadOptions { device, ..LoadOptions::default() };
        let options = LoadOptions { quantize: Some(target), ..plain.clone() };
        let promised = estimate(open_path(input).unwrap(), &options, None).await.unwrap().memory;
        let mut twice = load(input, options).await;
        let mut once = load(output, plain.clone()).await;
        assert_eq!(once.info().memory.weights_bytes, promised.weights_bytes, "{name}");
        assert_eq!(twice.info().memory.weights_bytes, promised.weights_bytes, "{name}");
        let expected = twice.logits(&tokens).await.unwrap();
        assert_eq!(once.logits(&tokens).await.unwrap(), expected, "{name}");
        let full = load(input, plain).await.logits(&tokens).await.unwrap();
        let distance = normalized_error(&full, &expected);
        println!("{name}: {distance:e} from the logits of the original");
        assert!(distance > 0.0 && distance < 0.05, "{name}: {distance}");
    }
}

#[test]
fn what_cannot_be_quantized_leaves_nothing_behind() {
    let input = tiny("fp8", "fp8-again");
    let refused = |input: &Path, output: &Path, more: &[&str], code: &str, words: &[&str]| {
        let found = json_of(&quantize(input, output, more));
        assert_eq!(found["error"]["code"], code, "{found}");
        let message = found["error"]["message"].as_str().unwrap();
        words
            .iter()
            .for_each(|word| assert!(message.contains(word), "{word:?} is not in {message:?}"));
    };
    let output = folder("fp8-refused");
    let t4 = ["--format", "T4"];
    refused(
        &input,
        &output,
        &["--format", "Q4_0"],
        "invalid-request",
        &["--format", "Q4_0", "T4", "Q8_0"],
    );
    refused(&input, &input, &t4, "invalid-request", &["output", "an existing file or folder"]);
    let gguf = common::gguf::tiny_llama(64, Format::F32).bytes();
    let file = input.with_file_name("tiny-to-quantize.gguf");
    std::fs::write(&file, gguf).unwrap();
    refused(
        &file,
        &output,
        &t4,
        "invalid-request",
        &["tiny-to-quantize.gguf", "safetensors folder"],
    );
    // The weights end too soon: found while it is read.
    let weights = std::fs::read(input.join("model.safetensors")).unwrap();
    std::fs::write(input.join("model.safetensors"), &weights[..weights.len() - 64]).unwrap();
    refused(&input, &output, &t4, "malformed", &["model.safetensors"]);
    let left: Vec<_> = std::fs::read_dir(input.parent().unwrap()).unwrap().collect();
    let left = left.into_iter().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(left.filter(|name| name.starts_with("fp8-refused")).count(), 0);
}

/// Names in a folder that begin so.
fn names(place: &Path, beginning: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(beginning)).collect()
}

#[cfg(unix)]
#[test]
fn the_output_is_checked_before_anything_is_written() {
    use std::os::unix::fs::symlink;
    let place = folder("outputs");
    std::fs::create_dir(&place).unwrap();
    let input = tiny("fp8", "outputs/in");
    let refused = |output: &Path, words: &[&str]| {
        let found = json_of(&quantize(&input, output, &["--format", "T4"]));
        assert_eq!(found["error"]["code"], "invalid-request", "{found}");
        let message = found["error"]["message"].as_str().unwrap();
        words
            .iter()
            .for_each(|word| assert!(message.contains(word), "{word:?} is not in {message:?}"));
    };
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
    // An empty folder is taken.
    assert!(quantize(&input, &place.join("empty"), &["--format", "T4"]).status.success());
    assert_eq!(names(&place, "empty"), ["empty"]);
}

#[cfg(unix)]
#[test]
fn what_links_elsewhere_is_not_copied() {
    use std::os::unix::fs::symlink;
    let place = folder("links");
    std::fs::create_dir(&place).unwrap();
    std::fs::write(place.join("secret"), "of somebody").unwrap();
    let (input, output) = (tiny("fp8", "links/in"), place.join("out"));
    symlink(place.join("secret"), input.join("chat_template.jinja")).unwrap();
    let found = json_of(&quantize(&input, &output, &["--format", "T4"]));
    assert_eq!(found["error"]["code"], "invalid-request", "{found}");
    let message = found["error"]["message"].as_str().unwrap();
    assert!(message.contains("chat_template.jinja") && message.contains("link"), "{message}");
    assert!(names(&place, "out").is_empty());
    // Links as in the cache of the hub.
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

/// A folder whose weights, zeros that take no room, take seconds to quantize.
#[cfg(unix)]
fn long(name: &str) -> PathBuf {
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
        header.insert(
            name.to_owned(),
            json!({"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}),
        );
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

/// Begins to quantize, and sends a signal when there are weights.
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
fn a_signal_leaves_nothing_behind_and_what_was_killed_is_tidied_up() {
    let place = folder("signals");
    std::fs::create_dir(&place).unwrap();
    let (input, output) = (long("signals/in"), place.join("out"));
    for signal in ["TERM", "INT"] {
        let stopped = interrupt(&input, &output, signal);
        assert_eq!(json_of(&stopped)["error"]["code"], "aborted", "{signal}: {stopped:?}");
        assert_eq!(names(&place, "out"), [""; 0], "{signal}");
    }
    interrupt(&input, &output, "KILL");
    assert_eq!(names(&place, "out.partial-").len(), 1);
    // Not ours: no lock, or another name.
    for other in ["out.partial-1", "out.partial-x", "out.partial-"] {
        std::fs::create_dir(place.join(other)).unwrap();
    }
    assert!(quantize(&tiny("fp8", "signals/small"), &output, &["--format", "T4"]).status.success());
    let mut left = names(&place, "out");
    left.sort();
    assert_eq!(left, ["out", "out.partial-", "out.partial-1", "out.partial-x"]);
    assert!(!output.join(".lock").exists());
}

/// A disk without room, as a limit of a file's size has it.
#[cfg(unix)]
#[test]
fn a_full_disk_is_said_and_leaves_nothing_behind() {
    let place = folder("full");
    std::fs::create_dir(&place).unwrap();
    let input = long("full/in");
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
fn options_name_the_format() {
    let options =
        serde_json::from_value::<LoadOptions>(json!({"quantize": "T4", "device": "cpu"})).unwrap();
    assert_eq!((options.quantize, options.device), (Some(Target::T4), DeviceChoice::Cpu));
    let wrong =
        serde_json::from_value::<LoadOptions>(json!({"quantize": "q4"})).unwrap_err().to_string();
    assert!(wrong.contains("q4") && wrong.contains("T4") && wrong.contains("Q8_0"), "{wrong}");
}
