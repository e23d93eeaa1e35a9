//! Floats of four and eight bits with scales for groups, as compressed-tensors, ModelOpt, MLX and
//! GGUF files have them.

use std::rc::Rc;

use serde_json::{Value, json};
use tablm::Code;
use tablm::formats::Format;
use tablm::weights::Checkpoint;
use tablm::weights::source::MemorySource;

use crate::common::gguf::{Gguf, Tensor, f32_bytes, random_rows, tiny_llama};
use crate::common::random::Random;
use crate::common::safetensors::{Folder, file};
use crate::real_files::values;
use crate::separate_scales::{folder, logits_are_equal, values_and_logits_are_equal};
use crate::{content, open, open_all, refused};

#[test]
fn values_in_mlx_modes_equal_those_of_mlx() {
    let formats = ["MXFP4", "MXFP8", "NVFP4_F32", "MLX6_64_BF16"];
    values_and_logits_are_equal("mlx_modes", &formats);
}

#[test]
fn values_equal_those_of_compressed_tensors() {
    let formats = ["MXFP4", "MXFP8", "NVFP4_F32", "F8_E4M3", "BF16"];
    values_and_logits_are_equal("compressed_floats", &formats);
}

#[test]
fn values_equal_those_of_modelopt() {
    values_and_logits_are_equal("modelopt", &["NVFP4_F32", "F8_E4M3", "BF16"]);
}

/// Element types and shapes of the tensors of a module `a`.
type Parts = [(&'static str, &'static str, &'static [usize])];

fn open_parts(parts: &Parts, quantization: &Value) -> tablm::Result<Checkpoint> {
    open_all(folder(parts, &json!({ "quantization": quantization })).sources())
}

/// Parameters of an MLX mode.
fn mode(mode: &str, bits: u32, group: u32) -> Value {
    json!({"mode": mode, "bits": bits, "group_size": group})
}

#[test]
fn schemes_are_recognized_by_their_tensors() {
    let none = json!({});
    let cases: [(&Parts, Value, &str); 9] = [
        (
            &[
                ("a.weight_packed", "U8", &[6, 24]),
                ("a.weight_scale", "F8_E4M3", &[6, 3]),
                ("a.weight_global_scale", "F32", &[1]),
                ("a.input_global_scale", "F32", &[1]),
            ],
            none.clone(),
            "NVFP4_F32",
        ),
        (
            &[
                ("a.weight", "U8", &[6, 24]),
                ("a.weight_scale", "F8_E4M3", &[6, 3]),
                ("a.weight_scale_2", "F32", &[]),
                ("a.input_scale", "F32", &[]),
            ],
            none.clone(),
            "NVFP4_F32",
        ),
        (
            &[("a.weight_packed", "U8", &[6, 16]), ("a.weight_scale", "U8", &[6, 1])],
            none.clone(),
            "MXFP4",
        ),
        (
            &[("a.weight", "U8", &[6, 32]), ("a.weight_scale", "F8_E8M0", &[6, 2])],
            none.clone(),
            "MXFP4",
        ),
        (
            &[("a.weight", "F8_E4M3", &[6, 64]), ("a.weight_scale", "U8", &[6, 2])],
            none.clone(),
            "MXFP8",
        ),
        (
            &[("a.weight", "F8_E4M3", &[6, 64]), ("a.weight_scale", "F8_E8M0", &[6, 2])],
            none.clone(),
            "MXFP8",
        ),
        (
            &[("a.weight", "U32", &[6, 8]), ("a.scales", "U8", &[6, 2])],
            mode("mxfp4", 4, 32),
            "MXFP4",
        ),
        (
            &[("a.weight", "U32", &[6, 6]), ("a.scales", "U8", &[6, 3])],
            mode("nvfp4", 4, 16),
            "NVFP4_F32",
        ),
        (
            &[("a.weight", "U32", &[6, 16]), ("a.scales", "U8", &[6, 2])],
            mode("mxfp8", 8, 32),
            "MXFP8",
        ),
    ];
    for (parts, quantization, format) in cases {
        let checkpoint = open_parts(parts, &quantization).unwrap();
        let names: Vec<_> = checkpoint.tensors.keys().collect();
        assert_eq!(names, ["a.weight"], "{parts:?}");
        let weight = &checkpoint.tensors["a.weight"];
        assert_eq!(weight.format.name(), format, "{parts:?}");
        let columns = parts[1].2[1] * if format == "NVFP4_F32" { 16 } else { 32 };
        assert_eq!(weight.shape, [6, columns], "{parts:?}");
        checkpoint.check_complete().unwrap();
    }
}

#[test]
fn scales_that_do_not_fit_are_named() {
    let none = json!({});
    for scales in [&[6, 2][..], &[3, 6], &[6, 4], &[18], &[6, 3, 1], &[]] {
        let parts = [
            ("a.weight_packed", "U8", &[6, 24][..]),
            ("a.weight_scale", "F8_E4M3", scales),
            ("a.weight_global_scale", "F32", &[1][..]),
        ];
        let found = open_all(folder(&parts, &none).sources());
        let words = ["model.safetensors: tensor a.weight_packed: found shape [6, 24]", "NVFP4_F32"];
        refused(found, Code::Malformed, &words);
    }
    let cases: [(&Parts, Code, &[&str]); 7] = [
        (
            &[("a.weight_packed", "U8", &[6, 20]), ("a.weight_scale", "U8", &[6, 1])],
            Code::Malformed,
            &["tensor a.weight_packed: found shape [6, 20]", "for each 32 weights"],
        ),
        (
            &[("a.weight_packed", "U8", &[6, 16]), ("a.weight_scale", "F16", &[6, 1])],
            Code::Malformed,
            &["tensor a.weight_packed", "in F16", "a scale in U8 or F8_E8M0"],
        ),
        (
            &[("a.weight_packed", "U8", &[6, 16])],
            Code::MissingTensors,
            &["tensor a.weight_packed: found no scales, expected a.weight_scale beside U8"],
        ),
        (
            &[("a.weight", "U8", &[6, 8]), ("a.weight_scale_2", "F32", &[])],
            Code::MissingTensors,
            &["tensor a.weight: found no scales, expected a.weight_scale"],
        ),
        (
            &[
                ("a.weight_packed", "U8", &[6, 8]),
                ("a.weight_scale", "F8_E4M3", &[6, 1]),
                ("a.weight_global_scale", "F32", &[6]),
            ],
            Code::UnsupportedFormat,
            &["tensor a.weight_global_scale: found shape [6], expected one number"],
        ),
        (
            &[
                ("a.weight", "U8", &[6, 8]),
                ("a.weight_scale", "F8_E4M3", &[6, 1]),
                ("a.weight_scale_2", "I32", &[]),
            ],
            Code::UnsupportedFormat,
            &["tensor a.weight_scale_2", "element type I32"],
        ),
        (
            &[("a.weight", "F8_E4M3", &[6, 48]), ("a.weight_scale", "U8", &[6, 1])],
            Code::Malformed,
            &["tensor a.weight: found shape [6, 48]", "expected MXFP8"],
        ),
    ];
    for (parts, code, words) in cases {
        refused(open_parts(parts, &none), code, words);
    }
}

#[test]
fn mlx_scales_that_do_not_fit_are_named() {
    let (none, mode) = (json!({}), mode("nvfp4", 4, 16));
    let parts = [("a.weight", "U32", &[6, 6][..]), ("a.scales", "U8", &[6, 2])];
    refused(open_parts(&parts, &mode), Code::Malformed, &["a.weight: found shape [6, 6]"]);
    refused(open_parts(&parts[..1], &mode), Code::MissingTensors, &["expected a.scales"]);
    let twice = [
        ("a.weight", "F32", &[6, 32][..]),
        ("a.weight_packed", "U8", &[6, 16]),
        ("a.weight_scale", "U8", &[6, 1]),
    ];
    refused(open_parts(&twice, &none), Code::Malformed, &["a.weight", "expected one of them"]);
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    let load = |scale: u8, factor: f32, divisor: f32| {
        let tensors = [
            ("a.weight_packed", "U8", vec![1, 8], vec![0x77; 8]),
            ("a.weight_scale", "F8_E4M3", vec![1, 1], vec![scale]),
            ("a.weight_global_scale", "F32", vec![1], f32_bytes([divisor])),
            ("b.weight", "U8", vec![1, 8], vec![0x77; 8]),
            ("b.weight_scale", "F8_E4M3", vec![1, 1], vec![scale]),
            ("b.weight_scale_2", "F32", vec![], f32_bytes([factor])),
        ];
        let checkpoint = open_all(Folder::new(file(&tensors)).sources()).unwrap();
        ["a.weight", "b.weight"].map(|name| {
            let tensor = &checkpoint.tensors[name];
            pollster::block_on(checkpoint.read_finite_rows(tensor, 0, 1)).map(|_| ())
        })
    };
    for good in load(0x7e, 2.0, 3.0) {
        good.unwrap();
    }
    for (scale, factor, divisor) in [
        (0x7f, 1.0, 1.0),
        (0xff, 1.0, 1.0),
        (0x7e, f32::INFINITY, 0.0),
        (0x7e, f32::NAN, f32::NAN),
        (0x7e, f32::MAX, f32::MIN_POSITIVE),
        (0, f32::INFINITY, f32::INFINITY),
    ] {
        for refusal in load(scale, factor, divisor) {
            refused(refusal, Code::Malformed, &[".weight: found a NaN or infinite", "row 0"]);
        }
    }
}

/// A tiny llama as GGUF in NVFP4, and with factors beside some matrices.
#[test]
fn factors_of_nvfp4_in_gguf_multiply_the_weights() {
    let mut random = Random::new(11);
    let data = random_rows(&mut random, Format::NVFP4, 6, 128, 1.0);
    let factor = 0.0123_f32;
    let file = |scale: &[f32]| {
        Gguf::new()
            .tensor("a.weight", Format::NVFP4, &[6, 128], data.clone())
            .tensor("a.scale", Format::F32, &[scale.len()], f32_bytes(scale.iter().copied()))
            .tensor("a.input_scale", Format::F32, &[1], f32_bytes([2.0]))
            .tensor("b.weight", Format::NVFP4, &[6, 128], data.clone())
            .tensor("c.scale", Format::F32, &[1], f32_bytes([2.0]))
            .bytes()
    };
    let checkpoint = open("m.gguf", file(&[factor])).unwrap();
    checkpoint.check_complete().unwrap();
    let names: Vec<_> = checkpoint.tensors.keys().map(String::as_str).collect();
    assert_eq!(names, ["a.weight", "b.weight", "c.scale"]);
    assert_eq!(checkpoint.tensors["a.weight"].format, Format::NVFP4_F32);
    for (found, plain) in
        values(&checkpoint, "a.weight", 1, 5).iter().zip(values(&checkpoint, "b.weight", 1, 5))
    {
        // Products of four-bit numbers and scales are exact.
        let expected = f64::from(plain) * f64::from(factor);
        assert!((f64::from(*found) - expected).abs() <= expected.abs() * 1.2e-7, "{found}");
    }
    refused(
        open("m.gguf", file(&[factor, 1.0])),
        Code::Malformed,
        &["m.gguf: tensor a.scale: found shape [2] in F32, expected one number in F32"],
    );
}

#[test]
fn gguf_models_with_factors_answer_like_the_same_model_in_f32() {
    let mut model = tiny_llama(64, Format::NVFP4);
    let matrices: Vec<String> = model.tensors.iter().map(|it| name(it).to_owned()).collect();
    let matrices = matrices.iter().filter(|name| name.starts_with("blk") && !name.contains("norm"));
    for (index, matrix) in matrices.enumerate() {
        let factor = f32_bytes([0.3 + 0.1 * index as f32]);
        model = model.tensor(&matrix.replace(".weight", ".scale"), Format::F32, &[1], factor);
    }
    let files = |model: &Gguf| vec![Rc::new(MemorySource::new("m.gguf", model.bytes())) as Rc<_>];
    let checkpoint = open_all(files(&model)).unwrap();
    let mut plain = model.clone();
    plain.tensors.retain(|tensor| !name(tensor).ends_with(".scale"));
    for (name, tensor) in &checkpoint.tensors {
        let values = f32_bytes(values(&checkpoint, name, 0, tensor.rows()));
        plain = plain.without(name).tensor(name, Format::F32, &tensor.shape, values);
    }
    pollster::block_on(logits_are_equal("NVFP4", files(&model), files(&plain)));
}

fn name(tensor: &Tensor) -> &str {
    str::from_utf8(&tensor.name).unwrap()
}

#[test]
fn a_truncated_tensor_of_scales_is_named() {
    let parts: &Parts = &[("a.weight_packed", "U8", &[6, 16]), ("a.weight_scale", "U8", &[6, 1])];
    let whole = folder(parts, &json!({}));
    let bytes = content(&whole, "model.safetensors");
    let cut = whole.clone().with("model.safetensors", &bytes[..bytes.len() - 1]);
    let checkpoint = open_all(cut.sources()).unwrap();
    refused(checkpoint.check_complete(), Code::Malformed, &["tensor a.weight_scale", "the end of"]);
    let weight = &checkpoint.tensors["a.weight"];
    let read = pollster::block_on(checkpoint.read_rows(weight, 0, 6));
    refused(read, Code::Malformed, &["tensor a.weight_scale"]);
}
