//! Weights of packed integers: values equal to those of the packages that write them, logits equal
//! to those of the same values in F32, strips of large matrices, and errors if parts do not fit.

use serde_json::{Value, json};
use tablm::formats::Format;
use tablm::weights::Checkpoint;
use tablm::{Code, Result};

use crate::common::random::Random;
use crate::common::safetensors::{Folder, file};
use crate::real_files::values;
use crate::separate_scales::{folder, values_and_logits_are_equal};
use crate::{open_all, refused};

#[test]
fn compressed_tensors_values_equal_those_of_the_package() {
    let formats = [
        "INT4_32_BF16",
        "INT4_64_F16",
        "INT8_64_F32",
        "INT4_128_F32",
        "INT8_128_BF16",
        "INT8_128_F16",
        "INT4_128_BF16",
    ];
    values_and_logits_are_equal("compressed_integers", &formats);
}

#[test]
fn awq_values_equal_those_of_autoawq() {
    values_and_logits_are_equal("awq", &["INT4_32_F16", "INT4_128_BF16"]);
}

#[test]
fn gptq_values_equal_those_of_gptqmodel() {
    let formats = ["INT4_32_F16", "INT8_64_F16", "INT4_128_F16"];
    values_and_logits_are_equal("gptq", &formats);
    values_and_logits_are_equal("gptq_act_order", &["F16"]);
}

type Entry = (&'static str, &'static str, &'static [usize]);

/// Opens a folder with these tensors of module `m`.
fn open(tensors: &[Entry], quantization: Value) -> Result<Checkpoint> {
    open_all(folder(tensors, &json!({ "quantization_config": quantization })).sources())
}

fn groups(weights: Value) -> Value {
    let groups = json!({"group_0": {"weights": weights}});
    json!({"quant_method": "compressed-tensors", "config_groups": groups})
}

#[test]
fn groups_of_any_size_are_read() {
    let form = |columns: usize, scales: usize, group: Value| {
        let words: &[usize] = Box::leak(Box::new([6, columns / 8]));
        let scales: &[usize] = Box::leak(Box::new([6, scales]));
        let tensors = [("m.weight_packed", "I32", words), ("m.weight_scale", "BF16", scales)];
        let checkpoint =
            open(&tensors, groups(json!({"num_bits": 4, "group_size": group}))).unwrap();
        let weight = &checkpoint.tensors["m.weight"];
        assert_eq!(weight.shape, [6, columns]);
        let stored = pollster::block_on(checkpoint.read_rows(weight, 0, 6)).unwrap();
        assert_eq!(stored.len() as u64, weight.size_bytes);
        weight.format.name()
    };
    for (group, format) in [(32, "INT4_32_BF16"), (96, "INT4_32_BF16"), (64, "INT4_64_BF16")] {
        assert_eq!(form(4 * group, 4, json!(group)), format, "{group}");
    }
    for group in [128, 256, 512, 1024] {
        assert_eq!(form(2 * group, 2, json!(group)), "INT4_128_BF16", "{group}");
    }
    for group in [8, 16, 48] {
        assert_eq!(form(2 * group, 2, json!(group)), "BF16", "{group}");
    }
    for (columns, format) in
        [(256, "INT4_128_BF16"), (192, "INT4_64_BF16"), (96, "INT4_32_BF16"), (72, "BF16")]
    {
        assert_eq!(form(columns, 1, json!(null)), format);
        assert_eq!(form(columns, 1, json!(-1)), format);
    }
}

#[test]
fn one_scale_may_hold_for_the_whole_matrix() {
    let quants: Vec<u8> = (0..96).map(|i| (i * 37) as u8).collect();
    let tensors = [
        ("m.weight", "I8", vec![3, 32], quants.clone()),
        ("m.weight_scale", "F32", vec![1], 0.1f32.to_le_bytes().to_vec()),
        ("m.weight_zero_point", "I8", vec![1], vec![0xfd]),
    ];
    let asymmetric = groups(json!({"num_bits": 8, "symmetric": false, "strategy": "tensor"}));
    let config = json!({ "quantization_config": asymmetric }).to_string();
    let folder = Folder::new(file(&tensors)).with("config.json", config.as_bytes());
    let checkpoint = open_all(folder.sources()).unwrap();
    let expected = quants.iter().map(|quant| (f32::from(*quant as i8) + 3.0) * 0.1);
    assert_eq!(values(&checkpoint, "m.weight", 0, 3), expected.collect::<Vec<_>>());
}

/// A matrix of several strips, in the layout of AWQ or GPTQ.
#[test]
fn strips_of_transposed_matrices_are_seamless() {
    let (inputs, outputs) = (256, 40_000);
    let mut random = Random::new(7);
    let mut words =
        |count: usize| -> Vec<u8> { (0..4 * count).map(|_| random.bits() as u8).collect() };
    let zeros = words(2 * outputs / 8);
    let scales: Vec<u8> = vec![0x3c00u16.to_le_bytes(); 2 * outputs].concat();
    for (method, rows) in [("awq", inputs), ("gptq", inputs / 8)] {
        let quants = words(inputs * outputs / 8);
        let tensors = [
            ("m.qweight", "I32", vec![rows, inputs * outputs / 8 / rows], quants.clone()),
            ("m.qzeros", "I32", vec![2, outputs / 8], zeros.clone()),
            ("m.scales", "F16", vec![2, outputs], scales.clone()),
        ];
        let config = json!({"quantization_config": {"quant_method": method, "group_size": 128}});
        let folder = Folder::new(file(&tensors)).with("config.json", config.to_string().as_bytes());
        let checkpoint = open_all(folder.sources()).unwrap();
        let nibble =
            |bytes: &[u8], index: usize| i32::from(bytes[index / 2] >> (index % 2 * 4) & 15);
        let awq = |bytes: &[u8], index: usize| {
            nibble(bytes, index / 8 * 8 + [0, 4, 1, 5, 2, 6, 3, 7][index % 8])
        };
        let weight = |row: usize, column: usize| {
            let zero = column / 128 * outputs + row;
            if method == "awq" {
                return awq(&quants, column * outputs + row) - awq(&zeros, zero);
            }
            let quant = nibble(&quants, (column / 8 * outputs + row) * 8 + column % 8);
            quant - (nibble(&zeros, zero) + 1) % 16
        };
        let strip = (4 << 20) / inputs;
        for (first, count) in [(strip - 3, 5), (0, 2), (2 * strip - 1, 2), (outputs - 4, 4), (7, 1)]
        {
            let found = values(&checkpoint, "m.weight", first, count);
            for (index, value) in found.iter().enumerate() {
                let (row, column) = (first + index / inputs, index % inputs);
                assert_eq!(*value, weight(row, column) as f32, "{method} {row} {column}");
            }
        }
    }
}

#[test]
fn parts_of_compressed_integers_that_do_not_fit_are_named() {
    let four = || groups(json!({"num_bits": 4, "group_size": 32}));
    let parts = |scales: &'static [usize]| {
        [("m.weight_packed", "I32", &[6, 8][..]), ("m.weight_scale", "F16", scales)]
    };
    open(&parts(&[6, 2]), four()).unwrap();
    for scales in [&[6, 1][..], &[6, 4], &[5, 2], &[2, 6], &[12], &[6, 2, 1], &[1, 2]] {
        let words =
            ["model.safetensors: tensor m.weight_packed: found shape [6, 8]", "config_groups"];
        refused(open(&parts(scales), four()), Code::Malformed, &words);
    }
    for wrong in [json!({}), groups(json!({})), groups(json!({"num_bits": 0})), json!(7)] {
        refused(
            open(&parts(&[6, 2]), wrong),
            Code::Malformed,
            &["m.weight_packed", "config_groups"],
        );
    }
    let missing = open(&parts(&[6, 2])[..1], four());
    refused(missing, Code::MissingTensors, &["m.weight_packed", "expected m.weight_scale"]);
    let asymmetric = || groups(json!({"num_bits": 4, "group_size": 32, "symmetric": false}));
    let missing = open(&parts(&[6, 2]), asymmetric());
    refused(missing, Code::MissingTensors, &["m.weight_packed", "expected m.weight_zero_point"]);
    for (dtype, shape) in
        [("I32", &[6, 2][..]), ("I32", &[2, 1]), ("I8", &[6, 1]), ("F16", &[6, 2])]
    {
        let zeros = [&parts(&[6, 2])[..], &[("m.weight_zero_point", dtype, shape)]].concat();
        refused(open(&zeros, asymmetric()), Code::Malformed, &["m.weight_zero_point: found"]);
    }
    let six = open(
        &[("m.weight_packed", "I32", &[6, 6]), ("m.weight_scale", "F16", &[6, 1])],
        groups(json!({"num_bits": 6, "group_size": 32})),
    );
    refused(six, Code::UnsupportedFormat, &["m.weight_packed: found 6 bits", "2, 4 or 8"]);
    let bytes = |scales: &'static [usize]| {
        let tensors = [("m.weight", "I8", &[6, 8][..]), ("m.weight_scale", "F16", scales)];
        open(&tensors, groups(json!({"num_bits": 8})))
    };
    bytes(&[6, 2]).unwrap();
    for scales in [&[5][..], &[6, 3], &[1, 2]] {
        refused(bytes(scales), Code::Malformed, &["tensor m.weight: found scales"]);
    }
}

/// Quants, zero points and scales of GPTQ.
const GPTQ: [Entry; 3] =
    [("m.qweight", "I32", &[8, 16]), ("m.qzeros", "I32", &[2, 2]), ("m.scales", "F16", &[2, 16])];

fn method(name: &str) -> Value {
    json!({"quant_method": name, "group_size": 32})
}

#[test]
fn parts_of_gptq_and_awq_that_do_not_fit_are_named() {
    assert_eq!(open(&GPTQ, method("gptq")).unwrap().tensors["m.weight"].shape, [16, 64]);
    for (index, shape) in [(0, &[8, 8][..]), (0, &[8]), (1, &[1, 2]), (2, &[2]), (0, &[8, 16, 1])] {
        let mut parts = GPTQ;
        parts[index].2 = shape;
        let words = ["tensor m.qweight: found shape", "whole groups of inputs"];
        refused(open(&parts, method("gptq")), Code::Malformed, &words);
    }
    for (index, name) in [(1, "m.qzeros"), (2, "m.scales")] {
        let mut parts = GPTQ.to_vec();
        parts.remove(index);
        refused(open(&parts, method("gptq")), Code::MissingTensors, &["m.qweight", name]);
    }
    let mut three = GPTQ;
    three[1].2 = &[2, 3];
    three[2].2 = &[2, 32];
    refused(open(&three, method("gptq")), Code::UnsupportedFormat, &["m.qweight", "4 bits"]);
    let mut eight = GPTQ;
    eight[1].2 = &[2, 4];
    open(&eight, method("gptq")).unwrap();
    refused(open(&eight, method("awq")), Code::UnsupportedFormat, &["m.qweight", "4 bits"]);
    let integers = [GPTQ[0], GPTQ[1], ("m.scales", "I32", &[2, 16])];
    refused(open(&integers, method("gptq")), Code::UnsupportedFormat, &["m.scales", "I32"]);
    for (settings, found) in [
        (json!({"quant_method": "awq", "version": "GEMV"}), "\"gemv\""),
        (json!({"quant_method": "gptq", "checkpoint_format": "marlin"}), "\"marlin\""),
        (json!({"quant_method": "gptq", "is_marlin_format": true}), "is_marlin_format"),
        (json!({"quant_method": "auto-round", "packing_format": "auto_round:ark"}), "ark"),
    ] {
        let words = ["config.json: quantization_config", found, "expected gemm"];
        refused(open(&GPTQ, settings), Code::UnsupportedFormat, &words);
    }
    for name in ["auto-round", "intel/auto-round"] {
        open(&GPTQ, json!({"quant_method": name, "packing_format": "auto_round:auto_gptq"}))
            .unwrap();
    }
}

#[test]
fn group_indices_are_checked() {
    let read = |index: &[u32], settings: Value| {
        let bytes = |words: usize| vec![1; 4 * words];
        let index: Vec<u8> = index.iter().flat_map(|group| group.to_le_bytes()).collect();
        let tensors = [
            ("m.qweight", "I32", vec![8, 16], bytes(128)),
            ("m.qzeros", "I32", vec![2, 2], bytes(4)),
            ("m.scales", "F16", vec![2, 16], bytes(16)),
            ("m.g_idx", "I32", vec![index.len() / 4], index),
        ];
        let config = json!({ "quantization_config": settings }).to_string();
        let folder = Folder::new(file(&tensors)).with("config.json", config.as_bytes());
        let checkpoint = open_all(folder.sources())?;
        let weight = &checkpoint.tensors["m.weight"];
        pollster::block_on(checkpoint.read_finite_rows(weight, 0, 16)).map(|_| weight.format)
    };
    let sequential: Vec<u32> = (0..64).map(|input| input / 32).collect();
    let int = Format::from_name("INT4_32_F16");
    assert_eq!(read(&sequential, method("gptq")).ok(), int);
    let mut swapped = sequential.clone();
    swapped.swap(0, 40);
    let words = ["model.safetensors: tensor m.g_idx: found group 1 of column 0", "0, or desc_act"];
    refused(read(&swapped, method("gptq")), Code::Malformed, &words);
    let ordered = || json!({"quant_method": "gptq", "group_size": 32, "desc_act": true});
    assert_eq!(read(&swapped, ordered()).ok(), Some(Format::F16));
    for (group, found) in [(2, "group 2 of column 9"), (u32::MAX, "group -1 of column 9")] {
        swapped[9] = group;
        let words = ["m.g_idx", found, "expected a group below 2"];
        refused(read(&swapped, ordered()), Code::Malformed, &words);
    }
    refused(read(&sequential[1..], ordered()), Code::Malformed, &["m.g_idx: found shape [63]"]);
}

#[test]
fn other_methods_are_refused_by_name() {
    let floats: [Entry; 1] = [("m.weight", "F32", &[4, 4])];
    let names = [
        "bitsandbytes",
        "torchao",
        "hqq",
        "bitnet",
        "eetq",
        "aqlm",
        "vptq",
        "spqr",
        "higgs",
        "mxfp4",
        "quanto",
        "fp_quant",
    ];
    for name in names {
        let field = format!("config.json: quantization_config: quant_method: found {name:?}");
        let words = [&*field, "AWQ, GPTQ or MLX", "a GGUF file"];
        refused(open(&floats, method(name)), Code::UnsupportedFormat, &words);
    }
    open(&floats, method("quark")).unwrap();
    let packed: [Entry; 1] = [("m.weight", "I32", &[4, 4])];
    for name in ["quark", "something new"] {
        refused(open(&packed, method(name)), Code::UnsupportedFormat, &["quant_method", name]);
    }
    refused(open(&packed, method("gptq")), Code::UnsupportedFormat, &["m.weight", "I32"]);
}
