//! Weights with separate scales: values equal to those of other packages, logits on both executors
//! equal to those of the same values in F32, and errors if the tensors do not fit together.

use std::rc::Rc;

use serde_json::{Value, json};
use tablm::Code;
use tablm::cpu::CpuVariant;
use tablm::engine::{DeviceChoice, Engine, LoadOptions, normalized_error};
use tablm::formats::Format;
use tablm::kernels::CacheFormat;
use tablm::weights::Checkpoint;
use tablm::weights::source::ByteSource;

use crate::common::adapter::gpu;
use crate::common::files;
use crate::common::gguf::f32_bytes;
use crate::common::safetensors::{Folder, file, raw_file};
use crate::folder_variants;
use crate::real_files::{checksum, values};
use crate::{content, data_start, open_all, refused};

/// A tiny Llama of tests/data/make_quantized.py, and the checksums of its values.
fn quantized(name: &str) -> (Folder, Value) {
    let path = format!("{}/tests/data/folders/{name}", env!("CARGO_MANIFEST_DIR"));
    let weights = files::read(format!("{path}.safetensors"));
    let known = files::read(format!("{path}.json"));
    let known: Value = serde_json::from_slice(&known).unwrap();
    let tokenizer = include_bytes!("../data/text/small_tokenizer.json");
    let folder = Folder::new(weights)
        .with("config.json", known["config"].to_string().as_bytes())
        .with("tokenizer.json", tokenizer);
    (folder, known["values"].clone())
}

/// The folder with all weights converted to F32.
fn in_f32(folder: &Folder, checkpoint: &Checkpoint) -> Folder {
    let tensors = checkpoint.tensors.iter().map(|(name, tensor)| {
        let values = values(checkpoint, name, 0, tensor.rows());
        (name.as_str(), "F32", tensor.shape.clone(), f32_bytes(values))
    });
    folder.clone().with("model.safetensors", &file(&tensors.collect::<Vec<_>>()))
}

/// Logits after 40 tokens, with the CPU references of kernels or on the GPU.
pub(crate) async fn logits(files: Vec<Rc<dyn ByteSource>>, device: DeviceChoice) -> Vec<f32> {
    // The KV format of the same model in F32.
    let (kv_format, cpu_variant) = (Some(CacheFormat::F32), Some(CpuVariant::Exact));
    let options = LoadOptions { device, kv_format, cpu_variant, ..LoadOptions::default() };
    let mut engine = Engine::load(files, &options, &mut |_| {}).await.unwrap();
    engine.logits(&(0..40).map(|i| i * 7 % 96).collect::<Vec<_>>()).await.unwrap()
}

/// Checks that a model answers like the same model in F32.
pub(crate) async fn logits_are_equal(
    name: &str,
    files: Vec<Rc<dyn ByteSource>>,
    in_f32: Vec<Rc<dyn ByteSource>>,
) {
    let expected = logits(in_f32, DeviceChoice::Cpu).await;
    assert_eq!(logits(files.clone(), DeviceChoice::Cpu).await, expected, "{name}");
    if gpu().await.is_some() {
        let error = normalized_error(&expected, &logits(files, DeviceChoice::WebGpu).await);
        assert!(error < 1e-10, "{name}: {error:e}");
    }
}

pub(crate) fn values_and_logits_are_equal(name: &str, formats: &[&str]) {
    let (folder, known) = quantized(name);
    let checkpoint = open_all(folder.sources()).unwrap();
    checkpoint.check_complete().unwrap();
    let names: Vec<&String> = checkpoint.tensors.keys().collect();
    assert_eq!(names, known.as_object().unwrap().keys().collect::<Vec<_>>());
    for (name, tensor) in &checkpoint.tensors {
        assert_eq!(known[name], checksum(&values(&checkpoint, name, 0, tensor.rows())), "{name}");
        let last = tensor.rows() - 1;
        let all = values(&checkpoint, name, 0, tensor.rows());
        assert_eq!(values(&checkpoint, name, last, 1), all[last * tensor.columns()..], "{name}");
    }
    for format in formats {
        assert!(
            checkpoint.tensors.values().any(|tensor| tensor.format.name() == *format),
            "{format}"
        );
    }
    pollster::block_on(async {
        logits_are_equal(name, folder.sources(), in_f32(&folder, &checkpoint).sources()).await;
    });
}

#[test]
fn fp8_values_equal_those_of_ml_dtypes() {
    values_and_logits_are_equal("fp8", &["F8_E4M3", "BF16", "F16", "F32"]);
    values_and_logits_are_equal("fp8_blocks", &["F8_E4M3", "F8_E4M3_128", "BF16"]);
}

#[test]
fn mlx_values_equal_those_of_mlx() {
    values_and_logits_are_equal(
        "mlx",
        &[
            "MLX4_32_F16",
            "MLX4_64_BF16",
            "MLX4_128_BF16",
            "MLX8_32_BF16",
            "MLX8_64_F16",
            "MLX8_128_BF16",
            "MLX4_64_F32",
        ],
    );
    values_and_logits_are_equal(
        "mlx_bits",
        &[
            "MLX2_32_F16",
            "MLX2_64_BF16",
            "MLX3_64_F16",
            "MLX3_128_BF16",
            "MLX5_32_F32",
            "MLX5_64_BF16",
            "MLX6_64_F16",
            "MLX6_128_BF16",
        ],
    );
}

/// A folder with the given tensors, all bytes 1, and configuration.
pub(crate) fn folder(tensors: &[(&str, &str, &[usize])], config: &Value) -> Folder {
    let bytes = |dtype: &str| match dtype {
        "F32" | "U32" | "I32" => 4,
        "F16" | "BF16" => 2,
        _ => 1,
    };
    let tensors = tensors.iter().map(|&(name, dtype, shape)| {
        (name, dtype, shape.to_vec(), vec![1; shape.iter().product::<usize>() * bytes(dtype)])
    });
    let tensors: Vec<_> = tensors.collect();
    Folder::new(file(&tensors)).with("config.json", config.to_string().as_bytes())
}

#[test]
fn fp8_scales_that_do_not_fit_are_named() {
    let fp8 = |scale: Option<(&'static str, &[usize])>| {
        let mut tensors = vec![("a.weight", "F8_E4M3", &[6, 4][..]), ("a.input_scale", "F32", &[])];
        tensors.extend(scale.map(|(dtype, shape)| ("a.weight_scale", dtype, shape)));
        tensors.extend([("a.k_proj.k_scale", "F32", &[][..]), ("b.v_proj.v_scale", "F32", &[1])]);
        open_all(folder(&tensors, &json!({})).sources())
    };
    for shape in [&[][..], &[1], &[1, 1], &[6], &[6, 1]] {
        let checkpoint = fp8(Some(("F32", shape))).unwrap();
        let weight = &checkpoint.tensors["a.weight"];
        assert_eq!(
            (weight.format, &weight.shape[..], checkpoint.tensors.len()),
            (Format::F8_E4M3, &[6, 4][..], 1)
        );
    }
    for shape in [&[4][..], &[1, 6], &[2, 3], &[6, 4], &[12]] {
        refused(
            fp8(Some(("BF16", shape))),
            Code::UnsupportedFormat,
            &["a.weight_scale: found shape", "each of 6 rows"],
        );
    }
    refused(
        fp8(None),
        Code::MissingTensors,
        &["model.safetensors: tensor a.weight", "found no scales, expected a.weight_scale"],
    );
    for dtype in ["U8", "I32", "F8_E4M3"] {
        refused(
            fp8(Some((dtype, &[]))),
            Code::UnsupportedFormat,
            &["tensor a.weight_scale", dtype],
        );
    }
}

#[test]
fn fp8_scales_may_be_those_of_squares() {
    let shape = |rows: usize, columns: usize, name: &str, scales: &[usize]| {
        let weight = [rows, columns];
        let tensors = [("a.weight", "F8_E4M3", &weight[..]), (name, "F32", scales)];
        let checkpoint = open_all(folder(&tensors, &json!({})).sources())?;
        Ok(checkpoint.tensors["a.weight"].format)
    };
    for scales in [&[3, 2][..], &[3, 1, 2, 1]] {
        for name in ["a.weight_scale_inv", "a.weight_scale"] {
            assert_eq!(shape(300, 256, name, scales).unwrap(), Format::F8_E4M3_128);
        }
    }
    assert_eq!(shape(2, 256, "a.weight_scale", &[2, 1]).unwrap(), Format::F8_E4M3);
    assert_eq!(shape(2, 256, "a.weight_scale", &[1, 2]).unwrap(), Format::F8_E4M3_128);
    for (columns, scales) in [(192, [3, 2]), (256, [2, 3]), (256, [2, 2]), (256, [3, 3])] {
        let found: tablm::Result<Format> = shape(300, columns, "a.weight_scale_inv", &scales);
        let words = ["a.weight_scale_inv: found shape", "each of 300 rows or 128 × 128"];
        refused(found, Code::UnsupportedFormat, &words);
    }
}

#[test]
fn non_finite_fp8_weights_and_scales_are_refused() {
    let load = |weight: u8, scale: f32, missing_bytes: usize| {
        let (folder, _) = quantized("fp8");
        let name = "model.layers.0.self_attn.v_proj.weight";
        let checkpoint = open_all(folder.sources()).unwrap();
        let mut bytes = content(&folder, "model.safetensors").to_vec();
        bytes[checkpoint.tensors[name].offset as usize + 130] = weight;
        let start = data_start(&bytes);
        let header: Value = serde_json::from_slice(&bytes[8..start]).unwrap();
        let scales = &header[format!("{name}_scale")]["data_offsets"][0];
        // The BF16 scale of row 2.
        let at = start + scales.as_u64().unwrap() as usize + 4;
        bytes[at..at + 2].copy_from_slice(&scale.to_le_bytes()[2..]);
        bytes.truncate(bytes.len() - missing_bytes);
        let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
        let folder = folder.with("model.safetensors", &bytes);
        pollster::block_on(Engine::load(folder.sources(), &options, &mut |_| {})).map(|_| ())
    };
    load(0x7e, 1.0, 0).unwrap();
    refused(load(0x7f, 1.0, 0), Code::Malformed, &["v_proj.weight", "row 1", "NaN"]);
    refused(load(0xff, 1.0, 0), Code::Malformed, &["v_proj.weight", "row 1", "NaN"]);
    refused(load(0, f32::NAN, 0), Code::Malformed, &["v_proj.weight", "row 2", "NaN"]);
    refused(load(0, f32::INFINITY, 0), Code::Malformed, &["v_proj.weight", "row 2", "infinite"]);
    refused(load(0, 1.0, 9), Code::Malformed, &["found the end of the file", "expected bytes"]);
}

#[test]
fn u8_tensors_are_blocks_if_the_metadata_names_a_format() {
    let open = |entry: Value, metadata: Value, bytes: usize| {
        let header = json!({"__metadata__": metadata, "a.weight": entry}).to_string();
        open_all(Folder::new(raw_file(&header, &vec![0; bytes])).sources())
    };
    let entry = |shape: &[usize]| {
        json!({"dtype": "U8", "shape": shape, "data_offsets": [0,
        shape.iter().product::<usize>()]})
    };
    for (format, row_bytes, columns) in [("T4", 36, 64), ("Q8_0", 34, 32), ("Q4_K", 144, 256)] {
        let checkpoint =
            open(entry(&[3, row_bytes]), json!({"a.weight": format}), 3 * row_bytes).unwrap();
        let weight = &checkpoint.tensors["a.weight"];
        assert_eq!((weight.format.name(), &weight.shape[..]), (format, &[3, columns][..]));
        checkpoint.check_complete().unwrap();
    }
    let t4 = || json!({"a.weight": "T4"});
    refused(open(entry(&[3, 36]), json!({}), 108), Code::UnsupportedFormat, &["a.weight", "U8"]);
    refused(
        open(entry(&[3, 36]), json!({"a.weight": "T5"}), 108),
        Code::Malformed,
        &["a.weight", "T5"],
    );
    for shape in [&[3, 35][..], &[108], &[3, 2, 18]] {
        let bytes = shape.iter().product();
        refused(open(entry(shape), t4(), bytes), Code::Malformed, &["a.weight", "shape"]);
    }
    let cut = json!({"dtype": "U8", "shape": [4, 36], "data_offsets": [0, 108]});
    refused(open(cut, t4(), 108), Code::Malformed, &["a.weight", "108"]);
}

/// Opens a folder with a packed matrix of 6 rows, its scales and its biases.
fn mlx(parts: [(&'static str, &[usize]); 3], quantization: Value) -> tablm::Result<Checkpoint> {
    let names = ["m.a.weight", "m.a.scales", "m.a.biases"];
    let tensors: Vec<_> =
        names.iter().zip(parts).map(|(name, (dtype, shape))| (*name, dtype, shape)).collect();
    open_all(folder(&tensors, &json!({ "quantization": quantization })).sources())
}

#[test]
fn mlx_modules_may_differ() {
    let halves = [("U32", &[6, 24][..]), ("F16", &[6, 3]), ("F16", &[6, 3])];
    let own = json!({"group_size": 32, "bits": 8, "m.a": {"group_size": 64, "bits": 4}});
    for quantization in [json!({"group_size": 64, "bits": 4, "mode": "affine", "m.a": true}), own] {
        let checkpoint = mlx(halves, quantization).unwrap();
        let weight = &checkpoint.tensors["m.a.weight"];
        assert_eq!((weight.format.name(), &weight.shape[..]), ("MLX4_64_F16", &[6, 192][..]));
        assert_eq!((checkpoint.tensors.len(), weight.size_bytes), (1, 6 * 3 * 36));
    }
    let eight = json!({"group_size": 32, "bits": 8});
    assert_eq!(mlx(halves, eight).unwrap().tensors["m.a.weight"].shape, [6, 96]);
}

/// Words of a row and columns.
#[test]
fn mlx_quants_may_span_words() {
    for (bits, words, columns) in
        [(2, 12, 192), (3, 18, 192), (4, 24, 192), (5, 30, 192), (6, 36, 192), (8, 48, 192)]
    {
        for (group, dtype) in [(32, "F16"), (64, "BF16"), (64, "F32")] {
            let (words, groups) = ([3, words], [3, columns / group]);
            let tensors = [("U32", &words[..]), (dtype, &groups[..]), (dtype, &groups[..])];
            let quantization = json!({"group_size": group, "bits": bits});
            let names = ["m.a.weight", "m.a.scales", "m.a.biases"];
            let tensors: Vec<_> = names
                .iter()
                .zip(tensors)
                .map(|(name, (dtype, shape))| (*name, dtype, shape))
                .collect();
            let config = json!({ "quantization": quantization });
            let checkpoint = open_all(folder(&tensors, &config).sources()).unwrap();
            let weight = &checkpoint.tensors["m.a.weight"];
            assert_eq!(weight.format.name(), format!("MLX{bits}_{group}_{dtype}"));
            assert_eq!(weight.shape, [3, columns]);
            // Quants of ones, whatever their number of bits: the first is the lowest of a word.
            let values = values(&checkpoint, "m.a.weight", 2, 1);
            let one = values[0];
            assert!(values.iter().step_by(8).all(|value| *value == one), "{values:?}");
        }
    }
}

#[test]
fn mlx_scales_that_do_not_fit_are_named() {
    let halves = |words: &'static [usize], scales: &'static [usize], biases: &'static [usize]| {
        [("U32", words), ("F16", scales), ("F16", biases)]
    };
    let right = halves(&[6, 24], &[6, 3], &[6, 3]);
    let four = || json!({"group_size": 64, "bits": 4});
    for parts in [
        halves(&[6, 24], &[6, 2], &[6, 3]),
        halves(&[6, 24], &[6, 3], &[6, 2]),
        halves(&[6, 24], &[3, 6], &[3, 6]),
        halves(&[6, 24], &[18], &[18]),
        halves(&[6, 20], &[6, 3], &[6, 3]),
        halves(&[6, 20], &[6, 2], &[6, 2]),
        halves(&[6, 2], &[6, 1], &[6, 1]),
        halves(&[], &[], &[]),
        [("U32", &[6, 24]), ("F16", &[6, 3]), ("BF16", &[6, 3])],
    ] {
        refused(
            mlx(parts, four()),
            Code::Malformed,
            &["tensor m.a.weight: found shape", "4 bits in groups of 64"],
        );
    }
    refused(
        mlx(right, json!({"group_size": 64, "bits": 8})),
        Code::Malformed,
        &["m.a.weight", "8 bits"],
    );
}

#[test]
fn mlx_quantization_settings_are_checked() {
    let right = [("U32", &[6, 24][..]), ("F16", &[6, 3]), ("F16", &[6, 3])];
    for (bits, group, mode) in [
        (1, 64, "affine"),
        (7, 64, "affine"),
        (16, 64, "affine"),
        (4, 16, "affine"),
        (4, 16, "mxfp4"),
        (4, 32, "nvfp4"),
        (4, 32, "mxfp8"),
        (4, 64, "mxfp3"),
        (0, 0, "affine"),
    ] {
        let found = format!("{mode} of {bits} bits in groups of {group}");
        let numbers = json!({"group_size": group, "bits": bits, "mode": mode});
        refused(
            mlx(right, numbers.clone()),
            Code::UnsupportedFormat,
            &["config.json: quantization: found", &found],
        );
        let own = json!({"group_size": 64, "bits": 4, "m.a": numbers});
        refused(mlx(right, own), Code::UnsupportedFormat, &["quantization: m.a", &found]);
    }
    for wrong in [
        json!({}),
        json!(3),
        json!({"bits": 4.5, "group_size": 64}),
        json!({"bits": 4, "group_size": -1}),
    ] {
        refused(
            mlx(right, wrong),
            Code::Malformed,
            &["config.json: quantization", "expected a whole number"],
        );
    }
}

#[test]
fn missing_mlx_tensors_are_named() {
    let parts = |names: [&str; 2]| {
        let shapes: [&[usize]; 2] = [&[6, 24], &[6, 3]];
        let tensors = [(names[0], "U32", shapes[0]), (names[1], "F16", shapes[1])];
        let quantization = json!({"group_size": 64, "bits": 4});
        open_all(folder(&tensors, &json!({ "quantization": quantization })).sources())
    };
    refused(
        parts(["a.weight", "a.scales"]),
        Code::MissingTensors,
        &["a.weight", "found no scales, expected a.biases"],
    );
    refused(
        parts(["a.weight", "a.biases"]),
        Code::MissingTensors,
        &["a.weight", "found no scales, expected a.scales"],
    );
    refused(parts(["a.qweight", "a.scales"]), Code::UnsupportedFormat, &["a.qweight", "U32"]);
}

/// MLX stores the channels of a convolution last; with one channel the bytes are the same.
#[test]
fn convolution_weights_may_be_channels_last() {
    let folder = folder_variants::tiny("nemotron_h-attention_first");
    let weights = content(&folder, "model.safetensors");
    let (start, data) = weights.split_at(data_start(weights));
    let header = str::from_utf8(&start[8..]).unwrap();
    assert!(header.contains("[176,1,4]"), "{header}");
    let header = header.replace("[176,1,4]", "[176,4,1]");
    let channels_last = folder.clone().with("model.safetensors", &raw_file(&header, data));
    pollster::block_on(async {
        assert_eq!(
            logits(channels_last.sources(), DeviceChoice::Cpu).await,
            logits(folder.sources(), DeviceChoice::Cpu).await
        );
    });
}
