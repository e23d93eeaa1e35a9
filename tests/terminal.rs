//! Terminals and files of the command line: no text of a model steers a terminal, and only regular
//! files are read.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]
#![cfg(unix)]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::gguf::{Gguf, byte_letters, f32_bytes, tiny_llama};
use serde_json::Value;
use tablm::error::{Code, Error, visible};
use tablm::formats::Format;

/// Sets a title, colors, by C0 and by C1; turns text; and begins what looks like an error.
const EVIL: &str =
    "\u{1b}]0;PWNED\u{7}\u{1b}[31m\u{9b}31m\u{202e}\u{2066}\u{200f}\u{7f}\nerror: x: y\r";
const STEERING: [char; 8] =
    ['\u{1b}', '\u{7}', '\u{9b}', '\u{202e}', '\u{2066}', '\u{200f}', '\u{7f}', '\r'];

/// A call that ends soon, whatever happens.
fn tablm(arguments: &[&str]) -> Output {
    let command = env!("CARGO_BIN_EXE_tablm");
    let started = Instant::now();
    let mut child = Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("{arguments:?} does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
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
fn names_of_a_file_cannot_steer_a_terminal() {
    let folder = folder("steering");
    let extra = |name: &str| tiny().tensor(name, Format::F32, &[1], f32_bytes([0.0]));
    let architecture =
        |name: &str| tiny().without_key("general.architecture").str("general.architecture", name);
    let cut = extra(&"\u{1b}".repeat(60_000)).bytes();
    let models = [
        write(&folder, "tensor.gguf", &extra(EVIL).bytes()),
        write(&folder, "architecture.gguf", &architecture(EVIL).bytes()),
        write(&folder, "long.gguf", &architecture(&EVIL.repeat(5000)).bytes()),
        write(&folder, "cut.gguf", &cut[..cut.len() - 32]),
        write(&folder, EVIL, b"GGUF"),
        write(
            &folder,
            "template.gguf",
            &tiny()
                .str("tokenizer.chat_template", format!("{{{{ raise_exception('{EVIL}') }}}}"))
                .bytes(),
        ),
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
                assert!(!text.contains(STEERING), "{arguments:?}: {text:?}");
                assert!(
                    text.len() < 40_000 && !text.contains("\nerror: x"),
                    "{arguments:?}: {text:?}"
                );
                if !json.is_empty() {
                    serde_json::from_slice::<Value>(&output.stdout).unwrap();
                }
            }
        }
    }
    // The names are still there, as JSON has them.
    let output = tablm(&["tokenize", "--model", &models[0], "--text", "a", "--json"]);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn tables_escape_names_and_json_keeps_them() {
    // A name that the plan uses, so that the table is shown: the folder's own, which may hold
    // anything.
    let folder = folder("named");
    let model = write(&folder, "\u{1b}[31m\u{9b}\u{202e}.gguf", &tiny().bytes());
    let output = tablm(&[
        "generate",
        "--model",
        &model,
        "--raw-prompt",
        "a",
        "--max-tokens",
        "1",
        "--backend",
        "cpu",
    ]);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && log.contains("\\u{1b}[31m\\u{9b}\\u{202e}.gguf on "),
        "{log:?}"
    );
    // Output that is no terminal gets the exact text, and valid JSON.
    let ids: Vec<String> = EVIL.bytes().map(|byte| (4 + usize::from(byte)).to_string()).collect();
    assert_eq!(byte_letters().len(), 256);
    let arguments = ["detokenize", "--model", &model, "--tokens", &ids.join(",")];
    assert_eq!(String::from_utf8(tablm(&arguments).stdout).unwrap(), format!("{EVIL}\n"));
    let json = tablm(&[&arguments[..], &["--json"]].concat()).stdout;
    assert!(!String::from_utf8_lossy(&json).contains(STEERING), "{json:?}");
    assert_eq!(serde_json::from_slice::<Value>(&json).unwrap()["text"], EVIL);
}

/// A terminal, which `script` provides, gets the text escaped.
#[cfg(target_os = "linux")]
#[test]
fn answers_cannot_steer_a_terminal() {
    let folder = folder("answers");
    let model = write(&folder, "m.gguf", &tiny().bytes());
    let ids: Vec<String> = EVIL.bytes().map(|byte| (4 + usize::from(byte)).to_string()).collect();
    let command = format!(
        "{} detokenize --model {model} --tokens {}",
        env!("CARGO_BIN_EXE_tablm"),
        ids.join(",")
    );
    let output = Command::new("script")
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    assert!(text.contains("\\u{1b}]0;PWNED") && !text.contains(STEERING), "{text:?}");
}

#[test]
fn messages_are_one_line_of_bounded_length() {
    let error = Error::new(Code::Malformed, format!("{EVIL}{}", "\u{1b}".repeat(100_000)));
    assert!(!error.to_string().contains(STEERING) && !error.message().contains('\n'), "{error}");
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
    let own = folder.to_str().unwrap();
    let call = |arguments: &[&str], words: &[&str]| {
        let output = tablm(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: invalid-request: "), "{arguments:?}: {errors}");
        words.iter().for_each(|word| {
            assert!(errors.contains(word), "{arguments:?}: {word:?} is not in {errors}")
        });
    };
    let generate = ["generate", "--model", &model, "--backend", "cpu"];
    for irregular in [&pipe, &socket, "/dev/zero"] {
        let words = [irregular, "a pipe, socket or device", "expected a regular file"];
        call(&["inspect", irregular], &words);
        call(&["tokenize", "--model", irregular, "--text", "a"], &words);
        call(&[&generate[..], &["--messages", irregular]].concat(), &words);
        call(&[&generate[..], &["--prompt", "a", "--tools", irregular]].concat(), &words);
        call(&["perplexity", "--model", &model, "--text", irregular], &words);
    }
    call(
        &[&generate[..], &["--messages", own]].concat(),
        &[own, "found a folder, expected a regular file"],
    );
    call(
        &[&generate[..], &["--messages", "nothing.json"]].concat(),
        &["nothing.json", "no such file"],
    );
    for part in ["config.json", "tokenizer.json", "model.safetensors", "chat_template.jinja"] {
        let inner = folder.join(format!("in-{part}"));
        std::fs::create_dir(&inner).unwrap();
        assert!(Command::new("mkfifo").arg(inner.join(part)).status().unwrap().success());
        call(&["inspect", inner.to_str().unwrap()], &[part, "expected a regular file"]);
    }
}

#[test]
fn a_wrong_request_is_refused_before_the_model_is_read() {
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

/// The system would promise it and then end the program.
#[cfg(target_os = "linux")]
#[test]
fn a_context_without_room_is_refused() {
    let folder = folder("no-room");
    let model =
        tiny().without_key("llama.context_length").u32("llama.context_length", (1 << 30) - 1);
    let model = write(&folder, "m.gguf", &model.bytes());
    let generate = [
        "generate",
        "--model",
        &model,
        "--raw-prompt",
        "a",
        "--max-tokens",
        "1",
        "--backend",
        "cpu",
    ];
    assert!(tablm(&generate).status.success());
    let output = tablm(&[&generate[..], &["--context", "1073741823"]].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        errors.starts_with("error: out-of-memory: ") && errors.contains("a context length of "),
        "{errors}"
    );
}
