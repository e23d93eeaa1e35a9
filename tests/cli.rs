//! The command line as a user meets it: keys of its JSON, exit status, and what bad input gets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use common::cache;
use common::gguf::{Gguf, tiny_llama};
use tablm::formats::Format;

fn tablm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tablm")).args(arguments).output().unwrap()
}

/// The JSON object of a call that succeeds.
fn json_of(arguments: &[&str]) -> Value {
    let output = tablm(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// Checks that a call fails with that code and that its message holds all `words`.
fn refused(arguments: &[&str], code: &str, words: &[&str]) {
    let output = tablm(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    let line = errors.lines().find(|line| line.starts_with(&format!("error: {code}: ")));
    assert!(line.is_some(), "{arguments:?}: expected error: {code}, found {errors}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["code"], code);
    let message = object["error"]["message"].as_str().unwrap();
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {word:?} is not in {message:?}");
    }
}

/// A file in the test's temporary folder.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn tiny() -> Gguf {
    tiny_llama(64, Format::Q8_0)
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const GENERATE: &[&str] =
    &["--temperature", "0", "--max-tokens", "5", "--backend", "cpu", "--context", "64"];

fn generate(model: &str, more: &[&str]) -> Vec<String> {
    let all = [&["generate", "--model", model], GENERATE, more].concat();
    all.into_iter().map(str::to_owned).collect()
}

#[test]
fn generate_has_the_keys_of_the_contract_and_repeats_itself() {
    let model = cache::smollm2();
    let arguments = generate(text(&model), &["--prompt", "Hi"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let first = json_of(&arguments);
    assert_eq!(
        keys(&first),
        [
            "text",
            "reasoning",
            "tool_calls",
            "token_ids",
            "prompt_token_ids",
            "finish_reason",
            "timings",
            "device",
            "memory",
            "step",
            "warnings"
        ]
    );
    assert_eq!(
        keys(&first["timings"]),
        [
            "load_ms",
            "prefill_ms",
            "first_token_ms",
            "decode_ms",
            "prefill_tokens_per_s",
            "decode_tokens_per_s"
        ]
    );
    assert_eq!(keys(&first["device"]), ["backend", "adapter", "features", "threads"]);
    let memory =
        ["weights_bytes", "state_bytes", "scratch_bytes", "peak_gpu_bytes", "peak_cpu_bytes"];
    assert_eq!(keys(&first["memory"]), memory);
    let step = [
        "dispatches",
        "submits",
        "bind_groups_created",
        "write_buffer_bytes",
        "readback_bytes",
        "encode_us",
        "weight_bytes",
    ];
    assert_eq!(keys(&first["step"]), step);
    assert_eq!(json_of(&arguments)["token_ids"], first["token_ids"]);
    let messages = file("messages.json", br#"[{"role": "user", "content": "Hi"}]"#);
    let arguments = generate(text(&model), &["--messages", text(&messages)]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    assert_eq!(json_of(&arguments)["text"], first["text"]);
}

#[test]
fn sampling_is_repeatable_and_stops_where_told() {
    let model = cache::smollm2();
    let arguments = |more: &[&str]| -> Value {
        let base = [
            "generate",
            "--model",
            text(&model),
            "--backend",
            "cpu",
            "--context",
            "64",
            "--max-tokens",
            "6",
        ];
        json_of(&[&base, more].concat())
    };
    let seeded = arguments(&["--raw-prompt", "One two", "--temperature", "1.5", "--seed", "3"]);
    assert_eq!(
        arguments(&["--raw-prompt", "One two", "--temperature", "1.5", "--seed", "3"])["token_ids"],
        seeded["token_ids"]
    );
    let free = arguments(&["--raw-prompt", "1, 2, 3,", "--temperature", "0"]);
    let full = free["text"].as_str().unwrap();
    assert!(full.contains('5'), "{full}");
    let stopped = arguments(&["--raw-prompt", "1, 2, 3,", "--temperature", "0", "--stop", "5"]);
    assert_eq!(stopped["finish_reason"], "stop");
    assert_eq!(stopped["text"].as_str().unwrap(), full.split('5').next().unwrap());
}

#[test]
fn logits_perplexity_and_tokens() {
    let model = cache::smollm2();
    let base = ["--model", text(&model), "--backend", "cpu", "--context", "64"];
    let last = json_of(&[&["logits", "--tokens", "1,2,3"], &base[..]].concat());
    let all = json_of(&[&["logits", "--tokens", "1,2,3", "--all"], &base[..]].concat());
    assert_eq!(last["logits"].as_array().unwrap().len(), 49152);
    assert_eq!(all["logits"].as_array().unwrap().len(), 3);
    let (last, row) = (last["logits"].as_array().unwrap(), all["logits"][2].as_array().unwrap());
    let distance = |(a, b): (&Value, &Value)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs();
    assert!(last.iter().zip(row).map(distance).fold(0.0, f64::max) < 1e-4);
    let words = file("words.txt", "The quick brown fox jumps over the lazy dog.".as_bytes());
    let found = json_of(&[&["perplexity", "--text", text(&words)], &base[..]].concat());
    assert_eq!(keys(&found), ["perplexity", "tokens", "nll"]);
    let (perplexity, nll) = (found["perplexity"].as_f64().unwrap(), found["nll"].as_f64().unwrap());
    assert!((perplexity - nll.exp()).abs() < 1e-9 && (1.0..100.0).contains(&perplexity), "{found}");
    let ids = json_of(&["tokenize", "--model", text(&model), "--text", "naïve 東京 🗼"]);
    let ids: Vec<String> =
        ids["token_ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    let back = json_of(&["detokenize", "--model", text(&model), "--tokens", &ids.join(",")]);
    assert_eq!(back, json!({"text": "naïve 東京 🗼"}));
}

#[test]
fn inspect_needs_the_header_only_and_predicts_the_memory() {
    let model = cache::smollm2();
    let whole = json_of(&["inspect", text(&model), "--context", "512"]);
    let bytes = std::fs::read(&model).unwrap();
    let cut = file("cut.gguf", &bytes[..4 << 20]);
    let from_header = json_of(&["inspect", text(&cut), "--context", "512"]);
    assert_eq!(whole["tensors"], from_header["tensors"]);
    assert_eq!(whole["memory"], from_header["memory"]);
    assert_eq!(
        (&whole["architecture"], &whole["parameters"]),
        (&json!("llama"), &json!(134_515_008))
    );
    assert_eq!(whole["tensors"].as_array().unwrap().len(), 272);
    assert_eq!(keys(&whole["tensors"][0]), ["name", "format", "shape", "size_bytes"]);
    if std::env::var("ALLOW_NO_GPU").as_deref() == Ok("1") {
        return;
    }
    let arguments = ["generate", "--model", text(&model), "--context", "512", "--backend", "gpu"];
    let ran = json_of(&[&arguments[..], &["--raw-prompt", "a", "--max-tokens", "1"]].concat());
    let (predicted, measured) =
        (&whole["memory"]["peak_gpu_bytes"], &ran["memory"]["peak_gpu_bytes"]);
    let ratio = predicted.as_f64().unwrap() / measured.as_f64().unwrap();
    assert!((ratio - 1.0).abs() < 0.02, "predicted {predicted}, measured {measured}");
}

#[test]
fn bench_reports_medians_and_spread() {
    let model = file("bench.gguf", &tiny().bytes());
    let arguments = ["bench", "--model", text(&model), "--backend", "cpu", "--context", "64"];
    let found = json_of(
        &[&arguments[..], &["--prompt-tokens", "9", "--generate-tokens", "4", "--repeat", "3"]]
            .concat(),
    );
    assert_eq!(keys(&found), ["timings", "spread", "device", "memory", "step", "reading"]);
    assert!(found["timings"]["decode_tokens_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(found["spread"]["runs"], 3);
}

#[test]
fn an_interactive_chat_remembers_and_ends() {
    use std::io::Write;
    let model = cache::smollm2();
    let arguments = generate(text(&model), &[]);
    let mut child = Command::new(env!("CARGO_BIN_EXE_tablm"))
        .args(arguments.iter().map(|argument| if argument == "64" { "256" } else { argument }))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Hello\nAnd again\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().filter(|line| !line.is_empty()).count(),
        2
    );
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.matches("generated at").count(), 2, "{log}");
}

/// SmolLM2 with a template that makes it reason and call: a conversation it goes on with.
fn calling_model() -> PathBuf {
    let (mut bytes, key) = (std::fs::read(cache::smollm2()).unwrap(), b"tokenizer.chat_template");
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let template = include_str!("data/text/tool_chat.jinja").trim_end();
    // Has the length of the model's own template: nothing else of the file moves.
    let template = format!("{template}{{#{}#}}", " ".repeat(length - template.len() - 4));
    bytes[at + 8..at + 8 + length].copy_from_slice(template.as_bytes());
    file("calling.gguf", &bytes)
}

#[test]
fn reasoning_and_calls_are_told_from_the_text() {
    let (model, plain) = (calling_model(), cache::smollm2());
    let parameters = json!({"type": "object", "properties": {"at": {"type": "string"}}});
    let tools =
        json!([{"type": "function", "function": {"name": "time", "parameters": parameters}}]);
    let call = json!({"name": "time", "arguments": "{\"at\": \"Oslo\"}"});
    let messages = json!([
        {"role": "user", "content": "time in Oslo?"},
        {
            "role": "assistant",
            "content": null,
            "tool_calls": [{"id": "abcdefghi", "type": "function", "function": call}],
        },
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "12:00"},
        {"role": "user", "content": "time in Rome?"},
    ]);
    let tools = file("tools.json", tools.to_string().as_bytes());
    let messages = file("calls.json", messages.to_string().as_bytes());
    let base = [
        "generate",
        "--model",
        text(&model),
        "--backend",
        "cpu",
        "--context",
        "256",
        "--temperature",
        "0",
    ];
    let request = ["--messages", text(&messages), "--tools", text(&tools), "--thinking", "on"];
    let answer = json_of(&[&base[..], &request, &["--stop", "A:", "--max-tokens", "60"]].concat());
    assert_eq!((&answer["text"], &answer["reasoning"]), (&json!(""), &json!("Rome")));
    let call = &answer["tool_calls"][0];
    assert_eq!(keys(call), ["id", "type", "function"]);
    assert_eq!(call["function"], json!({"name": "time", "arguments": "{\"at\":\"Rome\"}"}));
    assert_eq!(
        (&answer["tool_calls"][1], &answer["finish_reason"]),
        (&Value::Null, &json!("tool_calls"))
    );

    let refuse = |model: &Path, more: &[&str], words: &[&str]| {
        let base = ["generate", "--model", text(model), "--backend", "cpu", "--context", "64"];
        refused(&[&base[..], more].concat(), "invalid-request", words);
    };
    refuse(
        &plain,
        &["--prompt", "a", "--tools", text(&tools)],
        &["tools", "SmolLM2", "without tools"],
    );
    refuse(
        &plain,
        &["--prompt", "a", "--thinking", "on"],
        &["thinking", "SmolLM2", "never reasons"],
    );
    refuse(
        &model,
        &["--prompt", "a", "--tools", text(&messages)],
        &["tools[0].type", "null", "function"],
    );
    refuse(&model, &["--raw-prompt", "a", "--tools", text(&tools)], &["--raw-prompt", "--tools"]);
}

#[test]
fn a_chat_begins_as_its_template_says() {
    let key = b"tokenizer.ggml.add_bos_token";
    let mut bytes = tiny().str("tokenizer.chat_template", "{{ messages[0].content }}").bytes();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    bytes[at + 4] = 1;
    let model = file("begins.gguf", &bytes);
    let prompt_ids = |more: &[&str]| {
        let arguments = generate(text(&model), more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        json_of(&arguments)["prompt_token_ids"].clone()
    };
    let raw = prompt_ids(&["--raw-prompt", "a"]);
    let (begin, letter) = (raw[0].clone(), raw[1].clone());
    assert_eq!((&begin, raw.as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(prompt_ids(&["--prompt", "a"]), json!([letter]));
    assert_eq!(prompt_ids(&["--prompt", "<|im_start|>a"]), json!([begin, letter]));
}

fn load_refused(name: &str, bytes: &[u8], code: &str, words: &[&str]) {
    let path = file(name, bytes);
    let arguments = generate(text(&path), &["--raw-prompt", "a"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    refused(&arguments, code, &[&[name], words].concat());
}

#[test]
fn broken_files_are_refused() {
    let good = tiny().bytes();
    load_refused("empty.gguf", b"", "malformed", &["an empty file"]);
    load_refused(
        "page.gguf",
        b"<!DOCTYPE html><html><body>404</body></html>",
        "malformed",
        &["HTML"],
    );
    load_refused("noise.gguf", b"not a model at all, just some words", "malformed", &["GGUF"]);
    load_refused("short.gguf", &good[..good.len() - 1], "malformed", &["tensor"]);
    load_refused("header.gguf", &good[..100], "malformed", &[]);
    let other = tiny().str("general.architecture", "bert");
    load_refused("twice.gguf", &other.bytes(), "malformed", &["general.architecture"]);
}

#[test]
fn models_that_do_not_fit_their_architecture_are_refused() {
    let missing = tiny().without("blk.0.attn_q.weight").without("blk.1.ffn_down.weight");
    let words = ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "missing"];
    load_refused("missing.gguf", &missing.bytes(), "missing-tensors", &words);
    let shape = tiny().change("blk.0.attn_k.weight", |tensor| tensor.axes.reverse());
    load_refused(
        "shape.gguf",
        &shape.bytes(),
        "missing-tensors",
        &["blk.0.attn_k.weight", "expected"],
    );
    let unused = tiny().tensor("blk.0.attn_q.extra", Format::F32, &[64], vec![0; 256]);
    load_refused("unused.gguf", &unused.bytes(), "unsupported-format", &["blk.0.attn_q.extra"]);
    let infinite = tiny().change("blk.1.attn_v.weight", |tensor| {
        // The scale of a Q8_0 block is its first two bytes: 0x7e00 is NaN.
        tensor.data[..2].copy_from_slice(&[0x00, 0x7e]);
    });
    load_refused(
        "nan.gguf",
        &infinite.bytes(),
        "malformed",
        &["blk.1.attn_v.weight", "row 0", "NaN"],
    );
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let model = file("request.gguf", &tiny().bytes());
    let model = text(&model);
    let call = |more: &[&str], code: &str, words: &[&str]| {
        refused(&[&["generate", "--model", model, "--backend", "cpu"], more].concat(), code, words);
    };
    call(&["--raw-prompt", "a", "--temperature", "-1"], "invalid-request", &["temperature", "-1"]);
    call(&["--raw-prompt", "a", "--top-p", "7"], "invalid-request", &["top_p", "7"]);
    call(&["--raw-prompt", "a", "--max-tokens", "0"], "invalid-request", &["max_tokens"]);
    call(&["--raw-prompt", "a", "--context", "0"], "invalid-request", &["context"]);
    call(&["--raw-prompt", "a", "--context", "99999999"], "invalid-request", &["context"]);
    call(&["--raw-prompt", &"a b ".repeat(100), "--context", "16"], "context-full", &["16"]);
    call(&["--raw-prompt", "a", "--frobnicate"], "invalid-request", &["frobnicate"]);
    call(&["--messages", "/nowhere/at/all.json"], "invalid-request", &["all.json"]);
    let broken = file("broken.json", b"[{\"role\": ");
    call(&["--messages", text(&broken)], "malformed", &["broken.json"]);
    refused(
        &["generate", "--model", "/nowhere/model.gguf", "--raw-prompt", "a"],
        "invalid-request",
        &["model.gguf"],
    );
    refused(
        &["logits", "--model", model, "--backend", "cpu", "--tokens", "1,99999"],
        "invalid-request",
        &["99999"],
    );
    refused(&["logits", "--model", model, "--tokens", "1,x"], "invalid-request", &["x"]);
}

#[test]
fn templates_that_loop_or_fail_are_refused() {
    let with = |name: &str, template: &str| {
        file(name, &tiny().str("tokenizer.chat_template", template).bytes())
    };
    let call = |path: &Path, code: &str, words: &[&str]| {
        let arguments = ["generate", "--model", text(path), "--backend", "cpu", "--prompt", "hi"];
        refused(&arguments, code, words);
    };
    let endless =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    call(&with("loops.gguf", endless), "malformed", &["chat_template"]);
    call(
        &with("fails.gguf", "{{ messages[99].content.upper() }}"),
        "malformed",
        &["chat_template"],
    );
    call(
        &with("raises.gguf", "{{ raise_exception('roles must alternate') }}"),
        "invalid-request",
        &["alternate"],
    );
    call(&with("syntax.gguf", "{% for %}"), "malformed", &["chat_template"]);
    call(&file("untemplated.gguf", &tiny().bytes()), "invalid-request", &["template"]);
}

/// A file that does not say how text is cut.
#[test]
fn what_a_file_leaves_open_is_a_warning_on_stderr_and_in_json() {
    let mut model = tiny();
    model.keys.retain(|(key, _)| key != b"tokenizer.ggml.pre");
    let path = file("no_pre.gguf", &model.bytes());
    for arguments in [
        &["tokenize", "--model", text(&path), "--text", "ab 12"][..],
        &["detokenize", "--model", text(&path), "--tokens", "5,6"],
        &[&["generate", "--model", text(&path), "--raw-prompt", "ab"], GENERATE].concat(),
    ] {
        let output = tablm(&[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("warning: no_pre.gguf: tokenizer.ggml.pre is missing"), "{errors}");
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["warnings"].as_array().unwrap().len(), 1, "{object}");
    }
}
