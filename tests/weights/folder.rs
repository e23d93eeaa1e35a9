//! Safetensors folders, valid and invalid.

use serde_json::{Value, json};
use tablm::Code;
use tablm::formats::Format;
use tablm::weights::{Checkpoint, Container, Folder as OpenedFolder, folder};

use crate::common::safetensors::{Folder, f32_file, one_tensor, raw_file};
use crate::{data_start, open_all, refused};

const BAD: Code = Code::Malformed;

fn weights() -> Vec<u8> {
    f32_file(&[("w", &[2, 3], vec![1.0; 6]), ("norm", &[3], vec![2.0; 3])])
}

fn open(folder: &Folder) -> tablm::Result<Checkpoint> {
    open_all(folder.sources())
}

fn read(folder: &Folder) -> OpenedFolder {
    match open(folder).unwrap().container {
        Container::Safetensors(folder) => *folder,
        Container::Gguf(_) => panic!("a folder opened as a .gguf file"),
    }
}

/// Checks that the folder is refused as malformed, with these words.
#[track_caller]
fn says(folder: &Folder, words: &[&str]) {
    refused(open(folder), BAD, words);
}

/// Checks that the folder with these weights is refused as malformed, with the name of the file and
/// these words.
#[track_caller]
fn weights_say(weights: Vec<u8>, words: &[&str]) {
    says(&Folder::new(weights), &[&["model.safetensors: "], words].concat());
}

#[test]
fn a_single_weight_file_is_read() {
    let checkpoint = open(&Folder::new(weights())).unwrap();
    checkpoint.check_complete().unwrap();
    assert_eq!(checkpoint.name, "tiny");
    let w = &checkpoint.tensors["w"];
    assert_eq!((w.format, &w.shape[..], w.size_bytes), (Format::F32, &[2, 3][..], 24));
    let row = pollster::block_on(checkpoint.read_rows(w, 1, 1)).unwrap();
    assert_eq!(row, [1.0_f32.to_le_bytes(); 3].concat());
    let norm = pollster::block_on(checkpoint.read_rows(&checkpoint.tensors["norm"], 0, 1)).unwrap();
    assert_eq!(norm, [2.0_f32.to_le_bytes(); 3].concat());
}

fn sharded() -> Folder {
    let index = json!({ "metadata": {"total_size": 36}, "weight_map": {
        "w": "model-00001-of-00002.safetensors",
        "norm": "model-00002-of-00002.safetensors",
    }});
    Folder::new(vec![])
        .without("model.safetensors")
        .with("model-00001-of-00002.safetensors", &f32_file(&[("w", &[2, 3], vec![1.0; 6])]))
        .with("model-00002-of-00002.safetensors", &f32_file(&[("norm", &[3], vec![2.0; 3])]))
        .with("model.safetensors.index.json", index.to_string().as_bytes())
}

#[test]
fn shards_are_read_by_index() {
    let checkpoint = open(&sharded()).unwrap();
    checkpoint.check_complete().unwrap();
    let names: Vec<&str> =
        checkpoint.tensors.values().map(|tensor| checkpoint.files[tensor.file].name()).collect();
    assert_eq!(names, ["model-00002-of-00002.safetensors", "model-00001-of-00002.safetensors"]);

    let first = "model-00001-of-00002.safetensors";
    says(&sharded().without(first), &[first, "found only"]);
    says(
        &sharded().without("model.safetensors.index.json"),
        &["index.json", "found nothing", "2 shards"],
    );
    says(
        &sharded().with("model.safetensors.index.json", b"{}"),
        &["index.json: JSON", "weight_map"],
    );
    says(
        &sharded().with("model.safetensors.index.json", b"{\"weight_map\": {}}"),
        &["weight_map: found nothing"],
    );
    says(&sharded().with("model.safetensors.index.json", b"<html>"), &["index.json", "HTML page"]);
    let swapped = json!({ "weight_map": {
        "w": "model-00002-of-00002.safetensors",
        "norm": "model-00001-of-00002.safetensors",
    }});
    let swapped = sharded().with("model.safetensors.index.json", swapped.to_string().as_bytes());
    says(&swapped, &["weight_map", "which contains the tensor"]);
    says(&sharded().with(first, b""), &[first, "found an empty file, expected safetensors"]);
}

#[test]
fn configuration_and_tokenizer_files_are_read() {
    let folder = Folder::new(weights());
    let small = read(&folder);
    assert_eq!(small.config["model_type"], "llama");
    assert_eq!(small.tokenizer_json, b"{}");
    assert!(small.generation_config.is_none() && small.tokenizer_config.is_none());
    assert_eq!(small.chat_template, None);

    let with_template = |template: Value| {
        let config = json!({ "bos_token": "<s>", "chat_template": template });
        folder.clone().with("tokenizer_config.json", config.to_string().as_bytes())
    };
    assert_eq!(read(&with_template(json!("one"))).chat_template.as_deref(), Some("one"));
    assert_eq!(read(&with_template(Value::Null)).chat_template, None);
    assert_eq!(read(&with_template(json!([]))).chat_template, None);
    let named = json!([{"name": "tool_use", "template": "tools"}, {"name": "default",
        "template": "plain"}]);
    assert_eq!(read(&with_template(named)).chat_template.as_deref(), Some("plain"));
    let other = json!([{"name": "rag", "template": "rag"}]);
    assert_eq!(read(&with_template(other)).chat_template.as_deref(), Some("rag"));
    let file = with_template(json!("one")).with("chat_template.jinja", "zwei ☺".as_bytes());
    assert_eq!(read(&file).chat_template.as_deref(), Some("zwei ☺"));
    for wrong in [json!(7), json!({"a": 1}), json!([{"name": "default"}]), json!(["text"])] {
        says(&with_template(wrong), &["tokenizer_config.json: chat_template: found"]);
    }
    says(
        &folder.with("chat_template.jinja", b"a\xff"),
        &["chat_template.jinja: text: found invalid UTF-8 at byte 1"],
    );
}

#[test]
fn named_templates_are_found_in_every_place() {
    let folder = Folder::new(weights());
    let templates = |folder: &Folder| {
        let read = read(folder);
        (read.chat_template, read.tool_template)
    };
    let some = |plain: &str, tools: &str| (Some(plain.to_owned()), Some(tools.to_owned()));
    let config = |template: Value| json!({ "chat_template": template }).to_string();
    let list = json!([{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]);
    let map = json!({"default": "d", "tool_use": "t"});
    for stated in [&list, &map] {
        for file in ["tokenizer_config.json", "chat_template.json"] {
            let stated = folder.clone().with(file, config(stated.clone()).as_bytes());
            assert_eq!(templates(&stated), some("d", "t"), "{file}");
        }
    }
    let only = config(json!([{"name": "tool_use", "template": "t"}]));
    let only = folder.clone().with("tokenizer_config.json", only.as_bytes());
    assert_eq!(templates(&only), (None, Some("t".to_owned())));
    // Files take precedence over configurations, for each template separately.
    let stated = folder.clone().with("tokenizer_config.json", config(list).as_bytes());
    let file = stated.clone().with("tool_use.jinja", b"T");
    assert_eq!(templates(&file), some("d", "T"));
    assert_eq!(templates(&file.with("chat_template.jinja", b"D")), some("D", "T"));
    let plain = stated.with("chat_template.jinja", b"D");
    assert_eq!(templates(&plain), (Some("D".to_owned()), None));
    let both = folder.with("chat_template.json", config(json!("p")).as_bytes());
    assert_eq!(templates(&both), (Some("p".to_owned()), None));
    let both = both.with("tokenizer_config.json", config(json!("c")).as_bytes());
    assert_eq!(templates(&both), (Some("c".to_owned()), None));
}

#[test]
fn special_tokens_map_is_merged() {
    let folder = Folder::new(weights());
    let map = json!({"eos_token": {"content": "<e>", "lstrip": false}, "pad_token": "<p>",
        "bos_token": null});
    let with = |config: Value| {
        let folder = folder.clone().with("special_tokens_map.json", map.to_string().as_bytes());
        read(&folder.with("tokenizer_config.json", config.to_string().as_bytes())).tokenizer_config
    };
    let older = with(json!({"eos_token": "<x>", "bos_token": "<b>"})).expect("a configuration");
    assert_eq!(older["eos_token"]["content"], "<e>");
    assert_eq!((&older["pad_token"], &older["bos_token"]), (&json!("<p>"), &json!("<b>")));
    let newer =
        with(json!({"eos_token": "<x>", "added_tokens_decoder": {}})).expect("a configuration");
    assert_eq!((&newer["eos_token"], &newer["pad_token"]), (&json!("<x>"), &json!("<p>")));
    let alone = read(&folder.clone().with("special_tokens_map.json", map.to_string().as_bytes()));
    assert_eq!(alone.tokenizer_config.expect("made of the map")["pad_token"], "<p>");
}

#[test]
fn non_finite_numbers_in_json_are_accepted() {
    let config = br#"{"a": [0.0, Infinity], "b": -Infinity, "c": NaN,
             "d": "say \"Infinity\", NaN", "e\\": 1}"#;
    let config = read(&Folder::new(weights()).with("config.json", config)).config;
    assert_eq!(folder::number(&config["a"][0]), Some(0.0));
    assert_eq!(folder::number(&config["a"][1]), Some(f64::INFINITY));
    assert_eq!(folder::number(&config["b"]), Some(f64::NEG_INFINITY));
    assert!(folder::number(&config["c"]).unwrap().is_nan());
    assert_eq!(config["d"], "say \"Infinity\", NaN");
    assert_eq!((config["e\\"].as_u64(), folder::number(&config["d"])), (Some(1), None));
    let tagged = |tag: Value| folder::number(&json!({ "__float__": tag }));
    assert_eq!(
        (tagged(json!("Infinity")), tagged(json!("-Infinity"))),
        (Some(f64::INFINITY), Some(f64::NEG_INFINITY))
    );
    assert!(tagged(json!("NaN")).unwrap().is_nan());
    for tag in [json!("inf"), json!(1.5), json!({"__float__": "NaN"}), Value::Null] {
        assert_eq!(tagged(tag), None);
    }
    assert_eq!(folder::number(&json!({"__float__": "NaN", "more": 1})), None);
    // They are accepted in every JSON file, up to a limited number.
    let model = Folder::new(weights())
        .with("generation_config.json", b"\xef\xbb\xbf{\"eta_cutoff\": NaN}")
        .with(
            "tokenizer_config.json",
            br#"{"model_max_length": {"__float__": "Infinity"}, "x": Infinity}"#,
        );
    let small = read(&model);
    assert!(folder::number(&small.generation_config.unwrap()["eta_cutoff"]).unwrap().is_nan());
    let tokenizer = small.tokenizer_config.unwrap();
    assert_eq!(
        ["model_max_length", "x"].map(|key| folder::number(&tokenizer[key])),
        [Some(f64::INFINITY); 2]
    );
    let many = format!("[{}]", vec!["NaN"; 10_001].join(", "));
    says(&Folder::new(weights()).with("config.json", many.as_bytes()), &["config.json: JSON"]);
}

#[test]
fn missing_and_invalid_files_are_named() {
    let folder = || Folder::new(weights());
    says(
        &folder().without("config.json"),
        &["\"config.json\": missing file: found only", "tokenizer.json"],
    );
    says(&folder().without("tokenizer.json"), &["\"tokenizer.json\": missing file: found only"]);
    says(
        &folder().without("model.safetensors").with("x.bin", b"."),
        &["\"model.safetensors\"", "found only"],
    );
    for (content, words) in [
        (&b""[..], "an empty file"),
        (b"<!doctype html>", "HTML page"),
        (b"[1, 2]", "expected an object"),
        (b"{\"a\": ", "EOF"),
        (b"{\"a\": Infinit}", "JSON"),
        (b"{\"a\": 1e999}", "JSON"),
        (b"version https://git-lfs", "Git LFS"),
        (b"\"\\", "JSON"),
    ] {
        says(&folder().with("config.json", content), &["config.json: JSON: ", words]);
        says(
            &folder().with("generation_config.json", content),
            &["generation_config.json: JSON: ", words],
        );
    }
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    says(&folder().with("config.json", &deep), &["config.json: JSON"]);
    says(&folder().with("config.json", &vec![b' '; (16 << 20) + 1]), &["config.json: size"]);
}

#[test]
fn a_weight_file_truncated_anywhere_is_refused_or_incomplete() {
    let bytes = weights();
    let header = data_start(&bytes);
    for length in 0..bytes.len() {
        let folder = Folder::new(bytes[..length].to_vec());
        if length < header {
            says(&folder, &["model.safetensors: "]);
            continue;
        }
        let cut = open(&folder).unwrap();
        refused(
            cut.check_complete(),
            BAD,
            &["model.safetensors: tensor", "found the end of the file", "expected bytes"],
        );
    }
}

/// The header entry of a tensor.
fn entry(dtype: &str, shape: Value, offsets: Value) -> Value {
    json!({"dtype": dtype, "shape": shape, "data_offsets": offsets})
}

#[test]
fn tensors_of_headers_are_checked() {
    let one =
        |dtype: &str, shape: Value, offsets: Value| one_tensor(&entry(dtype, shape, offsets), 64);
    open(&Folder::new(one("F32", json!([4, 4]), json!([0, 64])))).unwrap();
    open(&Folder::new(one("BF16", json!([]), json!([0, 2])))).unwrap();
    weights_say(
        one("F32", json!([4, 4]), json!([0, 60])),
        &["tensor w: found 60 bytes, expected the size of shape [4, 4] in F32"],
    );
    weights_say(
        one("F32", json!([4, 4]), json!([4, 68])),
        &["tensor w: found bytes 4 to 68", "a start at byte 0"],
    );
    weights_say(one("F32", json!([4, 4]), json!([64, 0])), &["tensor w: found bytes 64 to 0"]);
    weights_say(
        one("F32", json!([4, 0]), json!([0, 4])),
        &["tensor w: found 4 bytes, expected the size of shape [4, 0]"],
    );
    weights_say(
        one("F32", json!([1_u64 << 40, 1_u64 << 40]), json!([0, 64])),
        &["tensor w: found 64 bytes, expected the size of shape"],
    );
    weights_say(
        one("F32", json!([1, 1, 1, 1, 1, 1, 1, 1, 16]), json!([0, 64])),
        &["tensor w: found 9 axes"],
    );
    weights_say(one("F32", json!([-4]), json!([0, 64])), &["header: found tensor \"w\"", "-4"]);
    weights_say(one("F32", json!([1.5]), json!([0, 64])), &["header: found tensor \"w\""]);
    weights_say(one("F32", json!([16]), json!([0])), &["header: found tensor \"w\""]);
    weights_say(
        raw_file(r#"{"w": {"shape": [1]}}"#, &[0; 4]),
        &["header: found tensor \"w\"", "dtype"],
    );
    weights_say(raw_file("{\"w\": 3}", &[0; 4]), &["header: found tensor \"w\""]);
    weights_say(raw_file("{\"__metadata__\": {\"format\": 1}}", &[]), &["header: "]);
    open(&Folder::new(raw_file("{\"__metadata__\": {\"format\": \"pt\"}}", &[]))).unwrap();
    weights_say(
        one("I64", json!([4, 4]), json!([0, 64])),
        &["tensor w: found 64 bytes, expected the size of shape [4, 4] in I64"],
    );
    weights_say(raw_file("{\"aé", &[]), &["header: "]);
    let end = json!([u64::MAX - 3, u64::MAX]);
    weights_say(one("F32", json!([1]), end), &["tensor w: found bytes 18446744073709551612"]);
}

#[test]
fn headers_are_checked() {
    let two = |first: Value, second: Value| {
        raw_file(
            &json!({"a": entry("F32", json!([2]), first), "b": entry("F32", json!([2]), second)})
                .to_string(),
            &[0; 32],
        )
    };
    weights_say(
        two(json!([0, 8]), json!([4, 12])),
        &["tensor b: found bytes 4 to 12", "a start at byte 8"],
    );
    weights_say(
        two(json!([0, 8]), json!([12, 20])),
        &["tensor b: found bytes 12 to 20", "a start at byte 8"],
    );
    open(&Folder::new(two(json!([8, 16]), json!([0, 8])))).unwrap();
    let twice = format!("{{\"w\": {0}, \"w\": {0}}}", entry("F32", json!([1]), json!([0, 4])));
    weights_say(raw_file(&twice, &[0; 4]), &["header: found \"w\" twice"]);

    for length in [100_000_001, u64::MAX >> 24] {
        let mut long = length.to_le_bytes().to_vec();
        long.extend(b"{\"w\"");
        weights_say(long, &["header length: found", "expected at most"]);
    }
    weights_say(
        [&999_u64.to_le_bytes()[..], b"{}"].concat(),
        &["header length: found 999", "cut off"],
    );
    weights_say(
        b"<html>no</html>".to_vec(),
        &["magic: found an HTML page", "expected safetensors"],
    );
    weights_say(vec![7; 64], &["magic: "]);
}

#[test]
fn unsupported_element_types_are_named() {
    let file = |dtype: &str, bytes: usize| {
        one_tensor(&json!({"dtype": dtype, "shape": [4], "data_offsets": [0, bytes]}), bytes)
    };
    for (dtype, bytes) in
        [("I32", 16), ("U8", 4), ("U32", 16), ("F64", 32), ("F8_E5M2", 4), ("Q7", 4)]
    {
        let words =
            ["model.safetensors: tensor w: found element type", dtype, "expected F32, F16, BF16"];
        refused(open(&Folder::new(file(dtype, bytes))), Code::UnsupportedFormat, &words);
    }
    // I64 and BOOL tensors, such as position tables and masks, are not weights.
    for (dtype, bytes) in [("I64", 32), ("BOOL", 4)] {
        assert!(open(&Folder::new(file(dtype, bytes))).unwrap().tensors.is_empty());
    }
}
