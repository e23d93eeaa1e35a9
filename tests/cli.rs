//! Commands of the command line: keys of their JSON, exit status, and errors for bad input.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use common::files::temporary_file;
use common::gguf::{Gguf, tiny_llama};
use common::{assert_contains, cache};
use tablm::formats::Format;

fn tablm(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tablm")).args(arguments).output().unwrap()
}

/// Makes a call that must succeed; returns its JSON object.
fn json_of(arguments: &[&str]) -> Value {
    let output = tablm(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}"))
}

/// Checks that a call fails with an error code and a message that contains all `words`.
#[track_caller]
fn refused(arguments: &[&str], code: &str, words: &[&str]) {
    let output = tablm(&[arguments, &["--json"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
    let line = errors.lines().find(|line| line.starts_with(&format!("error: {code}: ")));
    assert!(line.is_some(), "{arguments:?}: expected error: {code}, found {errors}");
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(object["error"]["code"], code);
    assert_contains(object["error"]["message"].as_str().unwrap(), words);
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

/// Arguments for a short greedy answer on the CPU.
fn generate<'a>(model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--model", model], GENERATE, more].concat()
}

#[test]
fn generate_reports_the_documented_keys_and_is_reproducible() {
    let model = cache::smollm2();
    let arguments = generate(text(&model), &["--prompt", "Hi"]);
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
            "usage",
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
    let memory = [
        "weights_bytes",
        "state_bytes",
        "snapshot_bytes",
        "session_bytes",
        "scratch_bytes",
        "peak_gpu_bytes",
        "peak_cpu_bytes",
    ];
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
    let messages = temporary_file("messages.json", br#"[{"role": "user", "content": "Hi"}]"#);
    let arguments = generate(text(&model), &["--messages", text(&messages)]);
    assert_eq!(json_of(&arguments)["text"], first["text"]);
}

#[test]
fn sessions_and_snapshots_are_continued_from_files() {
    let model = cache::smollm2();
    let messages = temporary_file("session.json", br#"[{"role": "user", "content": "Hi"}]"#);
    let snapshot = temporary_file("prompt.session", b"an earlier file");
    let call = ["snapshot", "--model", text(&model), "--backend", "cpu", "--context", "64"];
    let more = ["--messages", text(&messages), text(&snapshot)];
    let report = json_of(&[&call[..], &more].concat());
    assert_eq!(report["size_bytes"], std::fs::metadata(&snapshot).unwrap().len());
    let chat = ["--messages", text(&messages)];
    let plain = json_of(&generate(text(&model), &chat));
    assert_eq!(plain["usage"]["prompt_tokens"], report["tokens"]);
    assert_eq!(plain["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    let (load, save) = (["--load-session", text(&snapshot)], ["--save-session", text(&snapshot)]);
    // Continues from the snapshot, and takes its place with the state after the answer.
    let more = [&chat[..], &load, &save].concat();
    let found = json_of(&generate(text(&model), &more));
    assert_eq!(found["token_ids"], plain["token_ids"]);
    let cached = &found["usage"]["prompt_tokens_details"]["cached_tokens"];
    assert_eq!(cached.as_u64().unwrap() + 1, report["tokens"].as_u64().unwrap());
    let again = json_of(&generate(text(&model), &[&chat[..], &load].concat()));
    assert_eq!(again["token_ids"], plain["token_ids"]);
    std::fs::write(&snapshot, b"another file").unwrap();
    let refuses = generate(text(&model), &[&chat[..], &load].concat());
    refused(&refuses, "malformed", &["prompt.session", "expected a session"]);
    let folder = generate(text(&model), &["--prompt", "Hi", "--save-session", "/"]);
    refused(&folder, "invalid-request", &["/: writing failed"]);
}

#[test]
fn seeded_sampling_is_reproducible_and_a_stop_string_ends_the_answer() {
    let model = cache::smollm2();
    let answer = |more: &[&str]| -> Value {
        let base = ["generate", "--model", text(&model), "--backend", "cpu", "--context", "64"];
        json_of(&[&base[..], &["--max-tokens", "6"], more].concat())
    };
    let seeded = ["--raw-prompt", "One two", "--temperature", "1.5", "--seed", "3"];
    assert_eq!(answer(&seeded)["token_ids"], answer(&seeded)["token_ids"]);
    let full = answer(&["--raw-prompt", "1, 2, 3,", "--temperature", "0"]);
    let full = full["text"].as_str().unwrap();
    assert!(full.contains('5'), "{full}");
    let stopped = answer(&["--raw-prompt", "1, 2, 3,", "--temperature", "0", "--stop", "5"]);
    assert_eq!(stopped["finish_reason"], "stop");
    assert_eq!(stopped["text"].as_str().unwrap(), full.split('5').next().unwrap());
}

#[test]
fn logits_perplexity_tokenize_and_detokenize() {
    let model = cache::smollm2();
    let base = ["--model", text(&model), "--backend", "cpu", "--context", "64"];
    let last = json_of(&[&["logits", "--tokens", "1,2,3"], &base[..]].concat());
    let all = json_of(&[&["logits", "--tokens", "1,2,3", "--all"], &base[..]].concat());
    assert_eq!(last["logits"].as_array().unwrap().len(), 49152);
    assert_eq!(all["logits"].as_array().unwrap().len(), 3);
    let (last, row) = (last["logits"].as_array().unwrap(), all["logits"][2].as_array().unwrap());
    let difference = |(a, b): (&Value, &Value)| (a.as_f64().unwrap() - b.as_f64().unwrap()).abs();
    assert!(last.iter().zip(row).map(difference).fold(0.0, f64::max) < 1e-4);
    let sentence = temporary_file("sentence.txt", b"The quick brown fox jumps over the lazy dog.");
    let found = json_of(&[&["perplexity", "--text", text(&sentence)], &base[..]].concat());
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
fn inspect_reads_only_the_header_and_predicts_gpu_memory() {
    let model = cache::smollm2();
    let found = json_of(&["inspect", text(&model), "--context", "512"]);
    let bytes = std::fs::read(&model).unwrap();
    let header = temporary_file("header-only.gguf", &bytes[..4 << 20]);
    let from_header = json_of(&["inspect", text(&header), "--context", "512"]);
    assert_eq!(found["tensors"], from_header["tensors"]);
    assert_eq!(found["memory"], from_header["memory"]);
    assert_eq!(found["architecture"], "llama");
    assert_eq!(found["parameters"], 134_515_008);
    assert_eq!(found["tensors"].as_array().unwrap().len(), 272);
    assert_eq!(keys(&found["tensors"][0]), ["name", "format", "shape", "size_bytes"]);
    if std::env::var("ALLOW_NO_GPU").as_deref() == Ok("1") {
        return;
    }
    let arguments = ["generate", "--model", text(&model), "--context", "512", "--backend", "gpu"];
    let ran = json_of(&[&arguments[..], &["--raw-prompt", "a", "--max-tokens", "1"]].concat());
    let (predicted, measured) =
        (&found["memory"]["peak_gpu_bytes"], &ran["memory"]["peak_gpu_bytes"]);
    let ratio = predicted.as_f64().unwrap() / measured.as_f64().unwrap();
    assert!((ratio - 1.0).abs() < 0.02, "predicted {predicted}, measured {measured}");
}

#[test]
fn bench_reports_medians_and_spread() {
    let model = temporary_file("bench.gguf", &tiny().bytes());
    let arguments = ["bench", "--model", text(&model), "--backend", "cpu", "--context", "64"];
    let sizes = ["--prompt-tokens", "9", "--generate-tokens", "4", "--repeat", "3"];
    let found = json_of(&[&arguments[..], &sizes].concat());
    assert_eq!(keys(&found), ["timings", "spread", "device", "memory", "step", "reading"]);
    assert!(found["timings"]["decode_tokens_per_s"].as_f64().unwrap() > 0.0);
    assert_eq!(found["spread"]["runs"], 3);
}

#[test]
fn interactive_chat_answers_each_line_and_ends_at_an_empty_line() {
    use std::io::Write;
    let model = cache::smollm2();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tablm"))
        .args(["generate", "--model", text(&model), "--temperature", "0"])
        .args(["--max-tokens", "5", "--backend", "cpu", "--context", "256"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"Hello\nAnd again\n\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().filter(|line| !line.is_empty()).count(), 2, "{text}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(log.matches("generated at").count(), 2, "{log}");
}

/// SmolLM2 with a chat template that leads it to reason and to call a tool.
fn tool_calling_model() -> PathBuf {
    let (mut bytes, key) = (std::fs::read(cache::smollm2()).unwrap(), b"tokenizer.chat_template");
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4;
    let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
    let template = include_str!("data/text/tool_chat.jinja").trim_end();
    // Padded by a comment to the length of the original template, so that no offset changes.
    let template = format!("{template}{{#{}#}}", " ".repeat(length - template.len() - 4));
    bytes[at + 8..at + 8 + length].copy_from_slice(template.as_bytes());
    temporary_file("tool-calling.gguf", &bytes)
}

#[test]
fn reasoning_and_tool_calls_are_separated_from_the_text() {
    let model = tool_calling_model();
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
    let tools = temporary_file("tools.json", tools.to_string().as_bytes());
    let messages = temporary_file("tool-calls.json", messages.to_string().as_bytes());
    let base = ["generate", "--model", text(&model), "--backend", "cpu", "--context", "256"];
    let request = ["--messages", text(&messages), "--tools", text(&tools), "--thinking", "on"];
    let limits = ["--temperature", "0", "--stop", "A:", "--max-tokens", "60"];
    let answer = json_of(&[&base[..], &request, &limits].concat());
    assert_eq!((&answer["text"], &answer["reasoning"]), (&json!(""), &json!("Rome")));
    let call = &answer["tool_calls"][0];
    assert_eq!(keys(call), ["id", "type", "function"]);
    assert_eq!(call["function"], json!({"name": "time", "arguments": "{\"at\":\"Rome\"}"}));
    assert_eq!(answer["tool_calls"].as_array().unwrap().len(), 1);
    assert_eq!(answer["finish_reason"], "tool_calls");
}

#[test]
fn tools_and_thinking_that_the_template_lacks_are_refused() {
    let smollm2 = cache::smollm2();
    let with_tools = tiny().str("tokenizer.chat_template", "{{ tools }}").bytes();
    let with_tools = temporary_file("with-tools.gguf", &with_tools);
    let tool = json!([{"type": "function", "function": {"name": "time"}}]);
    let tools = temporary_file("tools-refused.json", tool.to_string().as_bytes());
    let no_tools = temporary_file("no-tools.json", br#"[{"role": "user", "content": "a"}]"#);
    let call = |model: &Path, more: &[&str], words: &[&str]| {
        let base = ["generate", "--model", text(model), "--backend", "cpu", "--context", "64"];
        refused(&[&base[..], more].concat(), "invalid-request", words);
    };
    let request = ["--prompt", "a", "--tools", text(&tools)];
    call(&smollm2, &request, &["tools", "SmolLM2", "without tools"]);
    let request = ["--prompt", "a", "--thinking", "on"];
    call(&smollm2, &request, &["thinking", "SmolLM2", "never reasons"]);
    let request = ["--prompt", "a", "--tools", text(&no_tools)];
    call(&with_tools, &request, &["tools[0].type", "null", "function"]);
    let request = ["--raw-prompt", "a", "--tools", text(&tools)];
    call(&with_tools, &request, &["--raw-prompt", "--tools"]);
}

#[test]
fn chat_prompt_has_a_bos_token_only_if_its_template_writes_one() {
    let key = b"tokenizer.ggml.add_bos_token";
    let mut bytes = tiny().str("tokenizer.chat_template", "{{ messages[0].content }}").bytes();
    let at = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len();
    bytes[at + 4] = 1;
    let model = temporary_file("bos.gguf", &bytes);
    let prompt_ids =
        |more: &[&str]| json_of(&generate(text(&model), more))["prompt_token_ids"].clone();
    let raw = prompt_ids(&["--raw-prompt", "a"]);
    let (bos, letter) = (raw[0].clone(), raw[1].clone());
    assert_eq!((&bos, raw.as_array().unwrap().len()), (&json!(1), 2));
    assert_eq!(prompt_ids(&["--prompt", "a"]), json!([letter]));
    assert_eq!(prompt_ids(&["--prompt", "<|im_start|>a"]), json!([bos, letter]));
}

/// Checks that a model file is refused with an error that names the file and contains all `words`.
#[track_caller]
fn load_refused(name: &str, bytes: &[u8], code: &str, words: &[&str]) {
    let path = temporary_file(name, bytes);
    let arguments = generate(text(&path), &["--raw-prompt", "a"]);
    refused(&arguments, code, &[&[name], words].concat());
}

#[test]
fn broken_files_are_refused() {
    let good = tiny().bytes();
    load_refused("empty.gguf", b"", "malformed", &["an empty file"]);
    let page = b"<!DOCTYPE html><html><body>404</body></html>";
    load_refused("page.gguf", page, "malformed", &["HTML"]);
    load_refused("noise.gguf", b"not a model at all, just some words", "malformed", &["GGUF"]);
    load_refused("short.gguf", &good[..good.len() - 1], "malformed", &["tensor"]);
    load_refused("header.gguf", &good[..100], "malformed", &[]);
    let repeated_key = tiny().str("general.architecture", "bert");
    load_refused("repeated.gguf", &repeated_key.bytes(), "malformed", &["general.architecture"]);
}

#[test]
fn missing_misshapen_unused_and_non_finite_tensors_are_refused() {
    let missing = tiny().without("blk.0.attn_q.weight").without("blk.1.ffn_down.weight");
    let words = ["blk.0.attn_q.weight", "blk.1.ffn_down.weight", "missing"];
    load_refused("missing.gguf", &missing.bytes(), "missing-tensors", &words);
    let misshapen = tiny().change("blk.0.attn_k.weight", |tensor| tensor.axes.reverse());
    let words = ["blk.0.attn_k.weight", "expected"];
    load_refused("misshapen.gguf", &misshapen.bytes(), "missing-tensors", &words);
    let unused = tiny().tensor("blk.0.attn_q.extra", Format::F32, &[64], vec![0; 256]);
    load_refused("unused.gguf", &unused.bytes(), "unsupported-format", &["blk.0.attn_q.extra"]);
    let nan = tiny().change("blk.1.attn_v.weight", |tensor| {
        // The f16 scale of a Q8_0 block is its first two bytes: 0x7e00 is NaN.
        tensor.data[..2].copy_from_slice(&[0x00, 0x7e]);
    });
    let words = ["blk.1.attn_v.weight", "row 0", "NaN"];
    load_refused("nan.gguf", &nan.bytes(), "malformed", &words);
}

#[test]
fn invalid_requests_are_refused() {
    let model = temporary_file("request.gguf", &tiny().bytes());
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
    let broken = temporary_file("broken.json", b"[{\"role\": ");
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
fn failing_and_endless_chat_templates_are_refused() {
    let with = |name: &str, template: &str| {
        temporary_file(name, &tiny().str("tokenizer.chat_template", template).bytes())
    };
    let call = |path: &Path, code: &str, words: &[&str]| {
        let arguments = ["generate", "--model", text(path), "--backend", "cpu", "--prompt", "hi"];
        refused(&arguments, code, words);
    };
    let endless =
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}";
    call(&with("loops.gguf", endless), "malformed", &["chat_template"]);
    let fails = with("fails.gguf", "{{ messages[99].content.upper() }}");
    call(&fails, "malformed", &["chat_template"]);
    let raises = with("raises.gguf", "{{ raise_exception('roles must alternate') }}");
    call(&raises, "invalid-request", &["alternate"]);
    call(&with("syntax.gguf", "{% for %}"), "malformed", &["chat_template"]);
    call(&temporary_file("untemplated.gguf", &tiny().bytes()), "invalid-request", &["template"]);
}

#[test]
fn missing_pre_tokenizer_is_a_warning_on_stderr_and_in_json() {
    let model = tiny().without_key("tokenizer.ggml.pre");
    let path = temporary_file("no_pre.gguf", &model.bytes());
    for arguments in [
        &["tokenize", "--model", text(&path), "--text", "ab 12"][..],
        &["detokenize", "--model", text(&path), "--tokens", "5,6"],
        &generate(text(&path), &["--raw-prompt", "ab"]),
    ] {
        let output = tablm(&[arguments, &["--json"]].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(errors.contains("warning: no_pre.gguf: tokenizer.ggml.pre is missing"), "{errors}");
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(object["warnings"].as_array().unwrap().len(), 1, "{object}");
    }
}
