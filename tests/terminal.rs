//! Safety of the command line: control characters of a model never reach a terminal, only regular
//! files are read, and requests that cannot succeed are refused early.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::assert_contains;
use common::gguf::{Gguf, f32_bytes, tiny_llama};
use serde_json::Value;
use tablm::error::{Code, Error, visible};
use tablm::formats::Format;

/// Text that sets a terminal's title and colors, reverses the writing direction, and imitates a
/// line of an error.
const HOSTILE: &str =
    "\u{1b}]0;PWNED\u{7}\u{1b}[31m\u{9b}31m\u{202e}\u{2066}\u{200f}\u{7f}\nerror: x: y\r";
/// Characters that control a terminal.
const CONTROL: [char; 8] =
    ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{7f}', '\r'];

/// Calls the command line; panics if the call takes more than 20 s.
fn tablm(arguments: &[&str]) -> Output {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tablm"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{arguments:?} takes more than 20 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Arguments that generate a token on the CPU.
fn generate_one_token(model: &str) -> [&str; 9] {
    ["generate", "--model", model, "--raw-prompt", "a", "--max-tokens", "1", "--backend", "cpu"]
}

/// Arguments that write [`HOSTILE`] as the text of byte tokens.
fn detokenize_hostile(model: &str) -> [String; 5] {
    // Tokens of bytes follow four special tokens.
    let ids: Vec<_> = HOSTILE.bytes().map(|byte| (4 + usize::from(byte)).to_string()).collect();
    let ids = ids.join(",");
    ["detokenize", "--model", model, "--tokens", &ids].map(str::to_owned)
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> String {
    std::fs::write(folder.join(name), bytes).unwrap();
    folder.join(name).to_str().unwrap().to_owned()
}

fn tiny() -> Gguf {
    tiny_llama(64, Format::Q8_0)
}

#[test]
fn control_characters_of_model_files_are_escaped() {
    let folder = folder("control-characters");
    let extra = |name: &str| tiny().tensor(name, Format::F32, &[1], f32_bytes([0.0]));
    let architecture =
        |name: &str| tiny().without_key("general.architecture").str("general.architecture", name);
    let template = format!("{{{{ raise_exception('{HOSTILE}') }}}}");
    let truncated = extra(&"\u{1b}".repeat(60_000)).bytes();
    let models = [
        write(&folder, "tensor.gguf", &extra(HOSTILE).bytes()),
        write(&folder, "architecture.gguf", &architecture(HOSTILE).bytes()),
        write(&folder, "long.gguf", &architecture(&HOSTILE.repeat(5000)).bytes()),
        write(&folder, "truncated.gguf", &truncated[..truncated.len() - 32]),
        write(&folder, HOSTILE, b"GGUF"),
        write(&folder, "template.gguf", &tiny().str("tokenizer.chat_template", template).bytes()),
    ];
    for model in &models {
        for json in [&[][..], &["--json"]] {
            for arguments in [
                &["inspect", model][..],
                &["generate", "--model", model, "--prompt", "a", "--backend", "cpu"],
            ] {
                let output = tablm(&[arguments, json].concat());
                let text =
                    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
                assert!(!text.contains(CONTROL), "{arguments:?}: {text:?}");
                assert!(!text.contains("\nerror: x"), "{arguments:?}: {text:?}");
                assert!(text.len() < 40_000, "{arguments:?}: {} bytes", text.len());
                if !json.is_empty() {
                    serde_json::from_slice::<Value>(&output.stdout).unwrap();
                }
            }
        }
    }
    // A tensor that no plan uses does not keep the tokenizer from being used.
    let output = tablm(&["tokenize", "--model", &models[0], "--text", "a", "--json"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn log_escapes_control_characters_of_file_names() {
    let folder = folder("named");
    let model = write(&folder, "\u{1b}[31m\u{9b}\u{202e}.gguf", &tiny().bytes());
    let output = tablm(&generate_one_token(&model));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log:?}");
    assert!(log.contains("\\u{1b}[31m\\u{9b}\\u{202e}.gguf on "), "{log:?}");
}

#[test]
fn piped_output_has_the_exact_text_and_json_escapes_control_characters() {
    let model = write(&folder("piped"), "m.gguf", &tiny().bytes());
    let arguments = detokenize_hostile(&model);
    let arguments = arguments.each_ref().map(String::as_str);
    assert_eq!(String::from_utf8(tablm(&arguments).stdout).unwrap(), format!("{HOSTILE}\n"));
    let json = tablm(&[&arguments[..], &["--json"]].concat()).stdout;
    assert!(!String::from_utf8_lossy(&json).contains(CONTROL), "{json:?}");
    assert_eq!(serde_json::from_slice::<Value>(&json).unwrap()["text"], HOSTILE);
}

/// The command `script` provides a terminal.
#[cfg(target_os = "linux")]
#[test]
fn output_on_a_terminal_escapes_control_characters() {
    let model = write(&folder("terminal"), "m.gguf", &tiny().bytes());
    let arguments = detokenize_hostile(&model).join(" ");
    let command = format!("{} {arguments}", env!("CARGO_BIN_EXE_tablm"));
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    assert!(text.contains("\\u{1b}]0;PWNED") && !text.contains(CONTROL), "{text:?}");
}

#[test]
fn error_messages_are_one_line_of_bounded_length() {
    let error = Error::new(Code::Malformed, format!("{HOSTILE}{}", "\u{1b}".repeat(100_000)));
    assert!(!error.to_string().contains(CONTROL) && !error.message().contains('\n'), "{error}");
    assert!(error.message().starts_with("\\u{1b}]0;PWNED\\u{7}") && error.message().ends_with('…'));
    assert!(error.message().len() < 9_000);
    assert_eq!(visible("naïve 東京 🗼"), "naïve 東京 🗼");
    assert_eq!(visible("a\tb\nc"), "a\\tb\\nc");
}

#[test]
fn only_regular_files_are_read() {
    let folder = folder("irregular");
    let pipe = folder.join("pipe.gguf").to_str().unwrap().to_owned();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let socket = folder.join("socket.gguf").to_str().unwrap().to_owned();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let model = write(&folder, "m.gguf", &tiny().bytes());
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = tablm(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: invalid-request: "), "{arguments:?}: {errors}");
        assert_contains(&errors, words);
    };
    let generate = ["generate", "--model", &model, "--backend", "cpu"];
    for irregular in [&pipe, &socket, "/dev/zero"] {
        let words = [irregular, "a pipe, socket or device", "expected a regular file"];
        refused(&["inspect", irregular], &words);
        refused(&["tokenize", "--model", irregular, "--text", "a"], &words);
        refused(&[&generate[..], &["--messages", irregular]].concat(), &words);
        refused(&[&generate[..], &["--prompt", "a", "--tools", irregular]].concat(), &words);
        refused(&["perplexity", "--model", &model, "--text", irregular], &words);
    }
    let path = folder.to_str().unwrap();
    let words = [path, "found a folder, expected a regular file"];
    refused(&[&generate[..], &["--messages", path]].concat(), &words);
    let words = ["nothing.json", "no such file"];
    refused(&[&generate[..], &["--messages", "nothing.json"]].concat(), &words);
    for part in ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"] {
        let inner = folder.join(format!("in-{part}"));
        std::fs::create_dir(&inner).unwrap();
        assert!(Command::new("mkfifo").arg(inner.join(part)).status().unwrap().success());
        refused(&["inspect", inner.to_str().unwrap()], &[part, "expected a regular file"]);
    }
}

#[test]
fn invalid_request_is_refused_before_the_model_is_read() {
    for (option, value, field) in [
        ("--top-p", "1.5", "top_p: found 1.5, expected 0 to 1"),
        ("--temperature", "3", "temperature: found 3, expected 0 to 2"),
        ("--frequency-penalty", "-3", "frequency_penalty: found -3, expected -2 to 2"),
        ("--stop", "", "stop[0]: found 0 characters"),
        ("--max-tokens", "0", "max_tokens: found 0"),
    ] {
        let output = tablm(&["generate", "--model", "/nowhere", "--prompt", "a", option, value]);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            errors.starts_with(&format!("error: invalid-request: {field}")),
            "{option} {value}: {errors}"
        );
    }
}

/// Linux grants more memory than it has and kills the process that uses it.
#[cfg(target_os = "linux")]
#[test]
fn context_length_beyond_the_memory_is_refused() {
    let model =
        tiny().without_key("llama.context_length").u32("llama.context_length", (1 << 30) - 1);
    let model = write(&folder("long-context"), "m.gguf", &model.bytes());
    let generate = generate_one_token(&model);
    assert!(tablm(&generate).status.success());
    let output = tablm(&[&generate[..], &["--context", "1073741823"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.starts_with("error: out-of-memory: "), "{errors}");
    assert_contains(&errors, &["a context length of "]);
}
