//! Chat requests as JSON: accepted fields and ranges, errors for all others, and the help texts of
//! the command line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::process::Command;

use serde_json::{Value, json};
use tablm::engine::{GenerateRequest, MAX_MESSAGES, Prompt};
use tablm::error::{Code, Error};
use tablm::sampling::NUMBER_FIELDS;

/// Reads a request with one field added or replaced.
fn read(field: &str, value: Value) -> Result<GenerateRequest, Error> {
    let mut request = json!({"messages": [{"role": "user", "content": "Hi"}]});
    request[field] = value;
    GenerateRequest::from_json(&request.to_string(), 7)
}

#[test]
fn numeric_fields_accept_their_ranges_and_refuse_other_values() {
    let bounds = [
        ("temperature", 0.0, 2.0),
        ("top_p", 0.0, 1.0),
        ("min_p", 0.0, 1.0),
        ("repetition_penalty", 0.01, 10.0),
        ("frequency_penalty", -2.0, 2.0),
        ("presence_penalty", -2.0, 2.0),
    ];
    for (field, least, most) in bounds {
        for value in [least, most] {
            assert!(read(field, json!(value)).is_ok(), "{field}: {value}");
        }
        for value in [least - 0.005, most + 0.005, -1e30, 1e300] {
            refused(field, json!(value), field);
        }
    }
    for (field, least, most) in [("top_k", 0, i32::MAX), ("max_completion_tokens", 1, i32::MAX)] {
        for value in [least, most] {
            assert!(read(field, json!(value)).is_ok(), "{field}: {value}");
        }
        for value in [json!(least - 1), json!(i64::from(most) + 1), json!(1.5), json!(u64::MAX)] {
            refused(field, value, field);
        }
    }
    let request = read("max_completion_tokens", json!(5)).unwrap();
    let sampling = request.sampling;
    assert_eq!((request.max_tokens, sampling.temperature, sampling.seed), (Some(5), 1.0, 7));
    for (seed, expected) in [(json!(3), 3), (json!(-1), u64::MAX), (json!(u64::MAX), u64::MAX)] {
        assert_eq!(read("seed", seed).unwrap().sampling.seed, expected);
    }
}

/// Checks that a value is refused with an error that begins with `named`, the field or a part of
/// it.
fn refused(field: &str, value: Value, named: &str) {
    let error =
        read(field, value.clone()).err().unwrap_or_else(|| panic!("{field}: {value} is accepted"));
    assert_eq!(error.code(), Code::InvalidRequest, "{error}");
    let message = error.message();
    assert!(message.starts_with(&format!("{named}: found ")) && message.len() < 300, "{message}");
    assert!(message.contains("expected") || message.contains("unknown field"), "{message}");
}

#[test]
fn wrong_types_are_refused_with_the_name_of_the_field() {
    for field in [
        "temperature",
        "top_p",
        "min_p",
        "repetition_penalty",
        "frequency_penalty",
        "presence_penalty",
        "top_k",
        "seed",
        "max_completion_tokens",
    ] {
        for value in [json!("1"), json!([1]), json!({}), json!(true), json!("x".repeat(100_000))] {
            refused(field, value, field);
        }
        assert!(read(field, Value::Null).is_ok(), "{field}: null");
    }
    refused("seed", json!(0.5), "seed");
    refused("thinking", json!("on"), "thinking");
    refused("messages", Value::Null, "messages");
    refused("surprise", json!(1), "surprise");
    for (stop, named) in [
        (json!(1), "stop"),
        (json!([1]), "stop[0]"),
        (json!(""), "stop[0]"),
        (json!(["a", "b".repeat(1025)]), "stop[1]"),
        (json!(vec!["a"; 17]), "stop"),
    ] {
        refused("stop", stop, named);
    }
    for (stop, expected) in
        [(json!("a"), vec!["a"]), (json!(["a", "b"]), vec!["a", "b"]), (json!([]), vec![])]
    {
        assert_eq!(read("stop", stop).unwrap().stop, expected);
    }
    let many: Value = (0..1025).map(|token| (token.to_string(), json!(1))).collect();
    for (bias, named) in [
        (json!([1]), "logit_bias"),
        (json!({"x": 1}), "logit_bias"),
        (json!({"-1": 1}), "logit_bias"),
        (json!({"+1": 1}), "logit_bias"),
        (json!({"": 1}), "logit_bias"),
        (json!({"4294967296": 1}), "logit_bias"),
        (json!({"5": 101}), "logit_bias.5"),
        (json!({"5": "1"}), "logit_bias.5"),
        (many, "logit_bias"),
    ] {
        refused("logit_bias", bias, named);
    }
    for logprobs in [json!(1), json!("true"), json!([])] {
        refused("logprobs", logprobs, "logprobs");
    }
    // Without `logprobs` there is nothing to add the most probable tokens to.
    for top in [json!(1), json!(21), json!(-1), json!(0.5), json!("1")] {
        refused("top_logprobs", top, "top_logprobs");
    }
    assert_eq!(read("top_logprobs", json!(0)).unwrap().top_logprobs, None);
    assert_eq!(read("logprobs", json!(true)).unwrap().top_logprobs, Some(0));
    let request = read("logit_bias", json!({"5": -100, "6": 100})).unwrap();
    assert_eq!(request.sampling.logit_bias.len(), 2);
    let prompt = read("thinking", json!(true)).unwrap().prompt;
    assert!(matches!(prompt, Prompt::Chat { thinking: Some(true), tools: None, .. }), "{prompt:?}");
}

#[test]
fn invalid_json_is_refused() {
    for text in ["", "[]", "1", "{", "{\"messages\": []} x"] {
        let error = GenerateRequest::from_json(text, 0).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!(error.code(), Code::InvalidRequest, "{error}");
    }
}

#[test]
fn number_of_messages_is_bounded() {
    let messages = |count| json!(vec![json!({"role": "user", "content": "Hi"}); count]);
    assert!(read("messages", messages(MAX_MESSAGES)).is_ok());
    refused("messages", messages(MAX_MESSAGES + 1), "messages");
}

/// A text on one line, without indentation.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn command_line_documents_every_numeric_field() {
    let help = Command::new(env!("CARGO_BIN_EXE_tablm")).args(["generate", "--help"]).output();
    let help = one_line(&String::from_utf8(help.unwrap().stdout).unwrap());
    for field in NUMBER_FIELDS {
        let option = format!("--{}", field.name.replace('_', "-"));
        let documentation = field.to_string();
        // clap drops the full stop at the end of a help text.
        let expected = one_line(documentation.trim_end_matches('.'));
        assert!(help.contains(&option) && help.contains(&expected), "{option}: {expected}: {help}");
    }
}
