//! Embeddings against transformers: all-MiniLM-L6-v2 with its real weights (`tests/data/golden`),
//! and tiny random encoders and decoders (`tests/data/tiny/specs_embeddings.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::PathBuf;

use serde_json::{Value, json};

use common::cache;
use common::engines::{devices, greedy, load, max_difference};
use common::files;
use tablm::cpu::CpuVariant;
use tablm::engine::{
    DeviceChoice, EmbeddingInput, EmbeddingRequest, Engine, LoadOptions, Prompt, TestSwitches,
};
use tablm::error::{Code, Error};
use tablm::kernels::CacheFormat;
use tablm::weights::source::MemorySource;

/// Prompt lengths, as in specs.py.
const LENGTHS: [u32; 7] = [1, 2, 63, 64, 65, 200, 513];
/// Bound of the differences of embeddings, relative to the largest number.
const TOLERANCE: f32 = 1e-4;

fn data(path: &str) -> Vec<u8> {
    files::read(format!("{}/tests/data/{path}", env!("CARGO_MANIFEST_DIR")))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|number| f32::from_le_bytes(number.try_into().unwrap())).collect()
}

/// Embeddings of one tiny model by transformers.
struct Reference {
    name: String,
    vocabulary_size: u32,
    /// Embeddings of the prompts, of the texts, and of the first text with each named prompt.
    rows: Vec<Vec<f32>>,
    texts: Vec<String>,
    text_tokens: usize,
    prompt_tokens: Vec<(String, usize)>,
    has_gguf: bool,
}

fn references(prefix: &str) -> Vec<Reference> {
    let file: Value = serde_json::from_slice(&data("tiny/reference/embeddings.json")).unwrap();
    let manifest: Value =
        serde_json::from_slice(&files::read(cache::embeddings("manifest.json"))).unwrap();
    let texts: Vec<String> = serde_json::from_value(file["texts"].clone()).unwrap();
    let numbers = floats(&data("tiny/reference/embeddings.f32"));
    let mut numbers = numbers.into_iter();
    let read = |entry: &Value| {
        let name = entry["name"].as_str().unwrap().to_owned();
        for (path, field) in [
            (format!("{name}/model.safetensors"), "weights_sha256"),
            (format!("{name}.gguf"), "twin_sha256"),
        ] {
            let found = &manifest["files"][&path]["sha256"];
            assert!(
                entry[field].is_null() || found == &entry[field],
                "{path}: model and reference differ: make both again"
            );
        }
        let prompt_tokens = entry["prompt_tokens"].as_object().unwrap().iter();
        let prompt_tokens: Vec<_> = prompt_tokens
            .map(|(name, count)| (name.clone(), count.as_u64().unwrap() as usize))
            .collect();
        let width = entry["width"].as_u64().unwrap() as usize;
        let count = LENGTHS.len() + texts.len() + prompt_tokens.len();
        let rows = (0..count).map(|_| numbers.by_ref().take(width).collect()).collect();
        Reference {
            name,
            vocabulary_size: entry["vocab_size"].as_u64().unwrap() as u32,
            rows,
            texts: texts.clone(),
            text_tokens: entry["text_tokens"].as_u64().unwrap() as usize,
            prompt_tokens,
            has_gguf: entry["twin"].is_null(),
        }
    };
    let found: Vec<_> = file["models"].as_array().unwrap().iter().map(read).collect();
    assert!(numbers.next().is_none(), "embeddings.f32 is longer than embeddings.json says");
    found.into_iter().filter(|reference| reference.name.starts_with(prefix)).collect()
}

fn request(inputs: Vec<EmbeddingInput>, prompt_name: Option<&str>) -> EmbeddingRequest {
    EmbeddingRequest { inputs, dimensions: None, prompt_name: prompt_name.map(str::to_owned) }
}

fn assert_close(found: &[f32], expected: &[f32], at: &str) {
    let largest = expected.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
    let error = max_difference(found, expected) / largest;
    assert!(error < TOLERANCE, "{at}: differs by {error}");
}

impl Reference {
    fn prompts(&self) -> Vec<EmbeddingInput> {
        let ids = |length| (0..length).map(|i| (31 * i * i + 17 * i + 5) % self.vocabulary_size);
        LENGTHS.map(|length| EmbeddingInput::Tokens(ids(length).collect())).to_vec()
    }

    fn folder(&self) -> PathBuf {
        cache::embeddings(&self.name)
    }

    fn gguf(&self) -> Option<PathBuf> {
        self.has_gguf.then(|| cache::embeddings(&format!("{}.gguf", self.name)))
    }

    async fn check_prompts(&self, engine: &mut Engine, at: &str) {
        let (found, usage) = engine.embed(&request(self.prompts(), None)).await.unwrap();
        assert_eq!(usage.prompt_tokens, LENGTHS.iter().sum::<u32>() as usize);
        assert_eq!(found.len(), LENGTHS.len());
        for ((found, expected), length) in found.iter().zip(&self.rows).zip(LENGTHS) {
            assert_close(found, expected, &format!("{} {at} {length} tokens", self.name));
        }
    }

    /// Checks texts, and for folders the prompts that their files name.
    async fn check_texts(&self, engine: &mut Engine, at: &str, with_prompts: bool) {
        let at = format!("{} {at}", self.name);
        let texts: Vec<_> = self.texts.iter().cloned().map(EmbeddingInput::Text).collect();
        let (found, usage) = engine.embed(&request(texts.clone(), None)).await.unwrap();
        assert_eq!(usage.prompt_tokens, self.text_tokens, "{at}: tokens");
        let expected = &self.rows[LENGTHS.len()..];
        for (found, expected) in found.iter().zip(expected) {
            assert_close(found, expected, &at);
        }
        let expected = &expected[texts.len()..];
        for ((name, tokens), expected) in self.prompt_tokens.iter().zip(expected) {
            let result = engine.embed(&request(texts[..1].to_vec(), Some(name))).await;
            if !with_prompts {
                let error = result.unwrap_err();
                assert_eq!(error.code(), Code::InvalidRequest, "{at}: {error}");
                continue;
            }
            let (found, usage) = result.unwrap();
            assert_eq!(usage.total_tokens, *tokens, "{at}: {name}");
            assert_close(&found[0], expected, &format!("{at}: {name}"));
        }
    }
}

fn check(prefix: &str) {
    pollster::block_on(async {
        let references = references(prefix);
        assert!(references.len() > 1, "{prefix}");
        for reference in &references {
            for device in devices().await {
                for unfused in [false, true] {
                    let test = TestSwitches { unfused, ..TestSwitches::default() };
                    let options = || LoadOptions {
                        device,
                        context_length: Some(600),
                        test: test.clone(),
                        ..LoadOptions::default()
                    };
                    let at = format!("{device:?} {}", if unfused { "unfused" } else { "" });
                    let mut engine = load(&reference.folder(), options()).await;
                    reference.check_prompts(&mut engine, &at).await;
                    reference.check_texts(&mut engine, &at, true).await;
                    let Some(gguf) = reference.gguf() else { continue };
                    let mut engine = load(&gguf, options()).await;
                    reference.check_prompts(&mut engine, &format!("{at} gguf")).await;
                    reference.check_texts(&mut engine, &format!("{at} gguf"), false).await;
                }
            }
        }
    });
}

#[test]
fn bert() {
    check("bert");
}

#[test]
fn embeddinggemma() {
    check("embeddinggemma");
}

#[test]
fn qwen3_embedding() {
    check("qwen3-embedding");
}

#[test]
fn cpu_variants_and_chunks() {
    pollster::block_on(async {
        for reference in references("") {
            let variants = CpuVariant::ALL.into_iter().filter(|variant| variant.is_available());
            for (variant, chunk) in variants.zip([7, 64, 1, 100].into_iter().cycle()) {
                let options = LoadOptions {
                    device: DeviceChoice::Cpu,
                    context_length: Some(600),
                    cpu_variant: Some(variant),
                    chunk: Some(chunk),
                    ..LoadOptions::default()
                };
                let mut engine = load(&reference.folder(), options).await;
                reference.check_prompts(&mut engine, variant.name()).await;
            }
        }
    });
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Sentences, their embeddings by transformers, and the number of their tokens.
fn minilm() -> (Vec<String>, Vec<Vec<f32>>, usize) {
    let golden: Value = serde_json::from_slice(&data("golden/minilm.json")).unwrap();
    let sentences: Vec<String> = serde_json::from_value(golden["sentences"].clone()).unwrap();
    let rows = floats(&data("golden/minilm.f32")).chunks(384).map(<[f32]>::to_vec).collect();
    (sentences, rows, golden["tokens"].as_u64().unwrap() as usize)
}

#[test]
fn minilm_embeds_sentences_as_the_reference_does() {
    pollster::block_on(async {
        let (sentences, expected, tokens) = minilm();
        assert_eq!(sentences.len(), 50);
        let inputs: Vec<_> = sentences.iter().cloned().map(EmbeddingInput::Text).collect();
        for device in devices().await {
            for kv_format in [None, Some(CacheFormat::F16)] {
                let options = LoadOptions {
                    device,
                    kv_format,
                    cpu_variant: Some(CpuVariant::best()),
                    ..LoadOptions::default()
                };
                let mut engine = load(&cache::minilm(), options).await;
                assert_eq!(engine.info().context_length, 256);
                let (found, usage) = engine.embed(&request(inputs.clone(), None)).await.unwrap();
                assert_eq!((usage.prompt_tokens, found.len()), (tokens, 50));
                let mut least = f64::INFINITY;
                for ((found, expected), sentence) in found.iter().zip(&expected).zip(&sentences) {
                    let cosine = cosine(found, expected);
                    assert!(cosine > 0.9999, "{device:?}: {sentence}: cosine {cosine}");
                    let length = found.iter().map(|x| f64::from(x * x)).sum::<f64>();
                    assert!((length - 1.0).abs() < 1e-5, "{device:?}: {sentence}: {length}");
                    least = least.min(cosine);
                }
                println!("{device:?} {kv_format:?}: 1 - {:.1e}", 1.0 - least);
            }
        }
    });
}

async fn minilm_engine() -> Engine {
    let options = LoadOptions {
        device: DeviceChoice::Cpu,
        cpu_variant: Some(CpuVariant::best()),
        ..LoadOptions::default()
    };
    load(&cache::minilm(), options).await
}

fn refused<T>(result: Result<T, Error>, code: Code, named: &str) {
    let error = result.err().unwrap_or_else(|| panic!("{named}: accepted"));
    assert_eq!(error.code(), code, "{error}");
    assert!(error.message().starts_with(named) && error.message().contains("expected"), "{error}");
}

#[test]
fn dimensions_and_invalid_requests() {
    pollster::block_on(async {
        let mut engine = minilm_engine().await;
        let text = |text: &str| EmbeddingInput::Text(text.to_owned());
        let all = request(vec![text("A short text"), text("Another one")], None);
        let (whole, _) = engine.embed(&all).await.unwrap();
        let short = EmbeddingRequest { dimensions: Some(64), ..all.clone() };
        let (short, _) = engine.embed(&short).await.unwrap();
        for (short, whole) in short.iter().zip(&whole) {
            let length: f64 = whole[..64].iter().map(|x| f64::from(x * x)).sum();
            let expected: Vec<f32> = whole[..64].iter().map(|x| x / length.sqrt() as f32).collect();
            assert!(max_difference(short, &expected) < 1e-6);
        }
        for dimensions in [0, 385, usize::MAX] {
            let request = EmbeddingRequest { dimensions: Some(dimensions), ..all.clone() };
            refused(engine.embed(&request).await, Code::InvalidRequest, "dimensions: found");
        }
        let invalid = [
            (EmbeddingInput::Tokens(vec![]), Code::InvalidRequest),
            (EmbeddingInput::Tokens(vec![0, 30522]), Code::InvalidRequest),
            (EmbeddingInput::Tokens(vec![u32::MAX]), Code::InvalidRequest),
            (EmbeddingInput::Tokens(vec![7; 257]), Code::ContextFull),
            (text(&"word ".repeat(255)), Code::ContextFull),
            (text(""), Code::InvalidRequest),
        ];
        for (input, code) in invalid {
            let request = request(vec![text("valid"), input], None);
            refused(engine.embed(&request).await, code, "input[1]: ");
        }
        let prompt = request(vec![text("valid")], Some("query"));
        refused(engine.embed(&prompt).await, Code::InvalidRequest, "prompt_name: found");
        // The longest text, and generation, which an encoder refuses.
        engine.embed(&request(vec![EmbeddingInput::Tokens(vec![7; 256])], None)).await.unwrap();
        let chat = greedy(Prompt::Raw("Hello".to_owned()), 4);
        refused(engine.generate(&chat, |_| {}).await, Code::InvalidRequest, "model: found bert");
        refused(engine.logits(&[1, 2]).await, Code::InvalidRequest, "model: found bert");
        refused(engine.profile_briefly().await, Code::InvalidRequest, "model: found bert");
        assert_eq!(engine.embed(&all).await.unwrap().0, whole);
    });
}

#[test]
fn requests_are_checked() {
    let read = |request: &Value| EmbeddingRequest::from_json(&request.to_string());
    let inputs = |input: Value| read(&json!({ "input": input })).map(|request| request.inputs);
    let text = |text: &str| EmbeddingInput::Text(text.to_owned());
    assert_eq!(inputs(json!("a")).unwrap(), [text("a")]);
    assert_eq!(inputs(json!(["a", "b"])).unwrap(), [text("a"), text("b")]);
    assert_eq!(inputs(json!([1, 2])).unwrap(), [EmbeddingInput::Tokens(vec![1, 2])]);
    let tokens = [EmbeddingInput::Tokens(vec![1]), EmbeddingInput::Tokens(vec![2, 3])];
    assert_eq!(inputs(json!([[1], [2, 3]])).unwrap(), tokens);
    assert_eq!(inputs(json!(vec!["a"; 2048])).unwrap().len(), 2048);
    for (input, named) in [
        (json!(null), "input: found null"),
        (json!([]), "input: found 0 texts"),
        (json!({}), "input: found"),
        (json!(vec!["a"; 2049]), "input: found 2049 texts"),
        (json!([1, "a"]), "input: found"),
        (json!([1.5]), "input: found 1.5"),
        (json!([-1]), "input: found -1"),
        (json!([4_294_967_296u64]), "input: found 4294967296"),
        (json!(["a", 1]), "input[1]: found 1"),
        (json!([["a"]]), "input[0]: found"),
        (json!([null]), "input[0]: found"),
    ] {
        refused(inputs(input), Code::InvalidRequest, named);
    }
    for (field, value) in [
        ("dimensions", json!(0)),
        ("dimensions", json!(1.5)),
        ("dimensions", json!("8")),
        ("encoding_format", json!("hex")),
        ("encoding_format", json!(1)),
        ("prompt_name", json!(1)),
    ] {
        let request = json!({"input": "a", field: value});
        refused(read(&request), Code::InvalidRequest, &format!("{field}: found"));
    }
    let error = read(&json!({"input": "a", "user": "me"})).unwrap_err();
    assert_eq!(error.message(), "user: found an unknown field");
    let request = json!({
        "input": "a", "dimensions": 8, "encoding_format": "base64", "prompt_name": null,
    });
    assert_eq!(read(&request).unwrap().dimensions, Some(8));
    for text in ["", "[", "[]", "{"] {
        assert_eq!(EmbeddingRequest::from_json(text).unwrap_err().code(), Code::InvalidRequest);
    }
}

/// A model that generates text has the embedding of its last token, and still answers after it.
#[test]
fn smollm2_embeds_and_generates() {
    pollster::block_on(async {
        for device in devices().await {
            let options = LoadOptions {
                device,
                cpu_variant: Some(CpuVariant::best()),
                context_length: Some(256),
                chunk: Some(16),
                ..LoadOptions::default()
            };
            let mut engine = load(&cache::smollm2(), options).await;
            let prompt = greedy(Prompt::Raw("The capital of France is".to_owned()), 8);
            let before = engine.generate(&prompt, |_| {}).await.unwrap();
            let texts = ["The cat sat on the mat.", "A cat was sitting on the rug.", "x = 3 + 4"];
            let inputs = texts.map(|text| EmbeddingInput::Text(text.to_owned())).to_vec();
            let (rows, _) = engine.embed(&request(inputs, None)).await.unwrap();
            assert!(rows.iter().all(|row| row.len() == 576));
            assert!(cosine(&rows[0], &rows[1]) > cosine(&rows[0], &rows[2]));
            // A long text in several chunks, and its prefix again.
            let long = EmbeddingInput::Text("one two three four ".repeat(12));
            let (first, _) = engine.embed(&request(vec![long.clone()], None)).await.unwrap();
            let (second, _) = engine.embed(&request(vec![long], None)).await.unwrap();
            assert!(cosine(&first[0], &second[0]) > 0.9999);
            let after = engine.generate(&prompt, |_| {}).await.unwrap();
            assert_eq!(after.token_ids, before.token_ids, "{device:?}");
        }
    });
}

/// Files of a tiny model's folder, one of them replaced.
fn with_file(model: &str, name: &str, bytes: Option<&[u8]>) -> Result<(), Error> {
    let mut sources = files::open(&cache::embeddings(model));
    let count = sources.len();
    sources.retain(|source| source.name() != name);
    assert!(sources.len() < count, "{model} has no {name}");
    if let Some(bytes) = bytes {
        sources.push(std::rc::Rc::new(MemorySource::new(name, bytes)));
    }
    let options = LoadOptions { device: DeviceChoice::Cpu, ..LoadOptions::default() };
    pollster::block_on(Engine::load(sources, &options, &mut |_| {})).map(|_| ())
}

#[test]
fn invalid_modules_are_refused() {
    let module = |path: &str, class: &str| json!({"path": path, "type": format!("a.b.{class}")});
    let transformer = module("", "Transformer");
    let list = |modules: &[Value]| {
        let modules: Vec<_> = [&transformer].into_iter().chain(modules).cloned().collect();
        with_file("bert-mean", "modules.json", Some(json!(modules).to_string().as_bytes()))
    };
    let pooling = module("1_Pooling", "Pooling");
    list(&[]).unwrap();
    list(std::slice::from_ref(&pooling)).unwrap();
    let unsupported = Code::UnsupportedFormat;
    refused(list(&[pooling.clone(), module("2_X", "LSTM")]), unsupported, "modules.json: type");
    let twice = [pooling.clone(), pooling.clone()];
    refused(list(&twice), unsupported, "modules.json: type");
    refused(list(&[module("../1_Pooling", "Pooling")]), Code::Malformed, "modules.json: path");
    let missing = list(&[pooling.clone(), module("2_Dense", "Dense")]);
    refused(missing, Code::Malformed, "\"2_Dense/config.json\": missing file");
    refused(list(&vec![pooling; 40]), Code::Malformed, "modules.json: JSON: found [");
    for (bytes, code) in [
        (&b"{}"[..], Code::Malformed),
        (b"<html>", Code::Malformed),
        (b"[{\"path\": 1}]", Code::Malformed),
    ] {
        let error = with_file("bert-mean", "modules.json", Some(bytes)).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
    for config in [
        json!({"pooling_mode_max_tokens": true}),
        json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true}),
        json!({"pooling_mode": "weightedmean"}),
        json!({"pooling_mode": "mean", "include_prompt": false}),
        json!({}),
    ] {
        let bytes = config.to_string();
        let result = with_file("bert-mean", "1_Pooling/config.json", Some(bytes.as_bytes()));
        refused(result, unsupported, "1_Pooling/config.json: pooling_mode");
    }
    with_file("bert-mean", "1_Pooling/config.json", Some(br#"{"pooling_mode": "cls"}"#)).unwrap();
    let error = with_file("bert-mean", "1_Pooling/config.json", None).unwrap_err();
    assert_eq!(error.code(), Code::Malformed, "{error}");
    let dense = br#"{"activation_function": "torch.nn.GELU"}"#;
    let result = with_file("bert-dense", "2_Dense/config.json", Some(dense));
    refused(result, unsupported, "2_Dense/config.json: activation_function");
    let error = with_file("bert-dense", "2_Dense/model.safetensors", None).unwrap_err();
    assert_eq!(error.code(), Code::Malformed, "{error}");
}
