//! Small tokenizer files that could take much time or memory: refused, or used within a bound.

use std::time::Duration;

use serde_json::{Value, json};
use tablm::text::{GgufVocabulary, Tokenizer};
use web_time::Instant;

use super::tokenizer_of;

/// Time limit: much longer than a test needs, and much shorter than one without the limits under
/// test would take. The wasm build of the tests is slower, as it is not optimized across crates.
const MAX_TIME: Duration = Duration::from_secs(if cfg!(target_arch = "wasm32") { 30 } else { 10 });

/// A file of three tokens that is not byte-level.
fn small() -> Value {
    json!({
        "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": [["a", "b"]]}
    })
}

/// The small file, modified by `change`.
fn changed(change: impl Fn(&mut Value)) -> Value {
    let mut file = small();
    change(&mut file);
    file
}

fn replace(from: &str, to: &str) -> Value {
    json!({"type": "Replace", "pattern": {"String": from}, "content": to})
}

#[test]
fn decoders_that_could_multiply_a_token_are_refused() {
    let chain: Vec<Value> = (0..5).map(|_| replace("a", &"a".repeat(60))).collect();
    let cases = [
        (json!({"type": "Sequence", "decoders": chain}), "unsupported-format"),
        (
            json!({"type": "Sequence", "decoders": vec![replace("a", "aa"); 7]}),
            "unsupported-format",
        ),
        (
            json!({"type": "Sequence", "decoders": vec![replace("a", "b"); 17]}),
            "unsupported-format",
        ),
        (json!({"type": "Metaspace", "replacement": ""}), "malformed"),
        (json!({"type": "Metaspace", "replacement": "ab"}), "malformed"),
        (replace("", "x"), "unsupported-format"),
    ];
    for (decoder, code) in cases {
        let error = tokenizer_of(&changed(|file| file["decoder"] = decoder.clone()))
            .expect_err("a decoder");
        assert_eq!(error.code().as_str(), code, "{error}");
        assert!(error.message().starts_with("tokenizer.json: decoder: "), "{error}");
    }
    // The longest token limits the factor by which a decoder may lengthen tokens.
    let long = changed(|file| {
        file["model"]["vocab"]["a".repeat(5000)] = 3.into();
        file["decoder"] = replace("a", &"b".repeat(60));
    });
    assert!(tokenizer_of(&long).expect_err("a decoder").message().contains("60 times as long"));
}

#[test]
fn normalizers_prepend_few_bytes() {
    let steps = vec![json!({"type": "Prepend", "prepend": "x".repeat(33)}); 2];
    let file = changed(|file| {
        file["normalizer"] = json!({"type": "Sequence", "normalizers": steps.clone()})
    });
    assert!(tokenizer_of(&file).expect_err("a normalizer").message().contains("66 bytes"));
    // The text is prepended to each segment between added tokens.
    let file = changed(|file| {
        file["normalizer"] = json!({"type": "Prepend", "prepend": "a".repeat(64)});
        file["added_tokens"] = json!([{"id": 3, "content": "c"}]);
    });
    let error = tokenizer_of(&file)
        .expect("a tokenizer")
        .encode(&"ac".repeat(1 << 20))
        .expect_err("a long text");
    assert_eq!(error.code().as_str(), "invalid-request");
}

#[test]
fn post_processors_are_read_in_linear_time_and_add_few_ids() {
    let count = 200_000;
    let vocabulary: serde_json::Map<String, Value> =
        (0..count).map(|id| (format!("t{id}"), id.into())).collect();
    let piece = |id: usize| json!({"SpecialToken": {"id": id.to_string(), "type_id": 0}});
    let ids: Vec<usize> = (0..16).map(|id| count - 1 - id).collect();
    let special = |id: usize| (id.to_string(), json!({"id": id.to_string(), "ids": ids}));
    for (pieces, is_valid) in [(4, true), (2000, false)] {
        let mut file = small();
        file["model"] = json!({"type": "BPE", "vocab": vocabulary, "merges": []});
        file["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": (0..pieces).map(piece).collect::<Vec<_>>(),
            "special_tokens": (0..pieces).map(special).collect::<serde_json::Map<_, _>>(),
        });
        let started = Instant::now();
        match tokenizer_of(&file) {
            Ok(tokenizer) => assert_eq!((tokenizer.prefix().len(), is_valid), (64, true)),
            Err(error) => {
                assert!(!is_valid && error.message().contains("more than 64 ids"), "{error}")
            }
        }
        assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    }
}

#[test]
fn added_tokens_of_many_lengths_are_found_in_linear_time() {
    let token = |(id, length): (u32, usize)| {
        json!({"id": id, "content": "a".repeat(length) + "c",
        "lstrip": true, "rstrip": true})
    };
    let file = changed(|file| {
        file["added_tokens"] = (3..).zip(0..3500).map(token).collect();
    });
    let started = Instant::now();
    let tokenizer = tokenizer_of(&file).expect("a tokenizer");
    assert_eq!(tokenizer.encode(&"a".repeat(1 << 20)).expect("ids").len(), 1 << 20);
    let spaces = " ".repeat(1 << 20) + "aac" + &" ".repeat(1 << 20) + "c";
    assert_eq!(tokenizer.encode(&spaces).expect("ids"), [5, 3]);
    // White-space tokens whose matches include further white space.
    let spaces = changed(|file| {
        file["added_tokens"] =
            json!([{"id": 3, "content": " ", "rstrip": true}, {"id": 4, "content": "\t"}]);
    });
    let tokenizer = tokenizer_of(&spaces).expect("a tokenizer");
    assert_eq!(tokenizer.encode(&" ".repeat(1 << 20)).expect("ids").len(), 1 << 20);
    assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
}

#[test]
fn counts_are_checked_before_allocation() {
    let part = |values: usize| changed(|file| file["normalizer"] = vec![json!([]); values].into());
    assert!(
        tokenizer_of(&part(70_000))
            .expect_err("too many")
            .message()
            .contains("more than 65536 values")
    );
    let pairs = r#"["a","b"],"#.repeat((1 << 22) + 1);
    let texts = [
        (
            format!(r#"{{"model":{{"vocab":{{"a":0}},"merges":[{}["a","b"]]}}}}"#, pairs),
            "4194304 merges",
        ),
        (
            format!(r#"{{"model":{{"vocab":{{{}"b":1}}}}}}"#, r#""a":0,"#.repeat(1 << 20)),
            "1048576 tokens",
        ),
        (
            format!(
                r#"{{"added_tokens":[{}{{"id":1,"content":""}}]}}"#,
                r#"{"id":1,"content":""},"#.repeat(1 << 20)
            ),
            "at most 1048576",
        ),
    ];
    for (text, named) in texts {
        let started = Instant::now();
        let error = Tokenizer::from_json("tokenizer.json", text.as_bytes(), None).expect_err(named);
        assert!(error.message().contains(named) && started.elapsed() < MAX_TIME, "{error}");
    }
    let tokens = vec![""; (1 << 20) + 1];
    let merges = vec!["a b"; (1 << 22) + 1];
    let file =
        GgufVocabulary { file: "m.gguf", model: "gpt2", merges: Some(&[]), ..Default::default() };
    for (file, named) in [
        (
            GgufVocabulary { tokens: &tokens, ..file },
            "tokenizer.ggml.tokens: found 1048577 entries",
        ),
        (
            GgufVocabulary { tokens: &["a"], merges: Some(&merges), ..file },
            "tokenizer.ggml.merges: found 4194305 entries",
        ),
    ] {
        assert!(Tokenizer::from_gguf(file).expect_err(named).message().contains(named));
    }
    let long = changed(|file| {
        file["added_tokens"] = (0..200)
            .map(|n| json!({"id": n + 3, "content": format!("{n}{}", "x".repeat(60_000))}))
            .collect();
    });
    assert!(tokenizer_of(&long).expect_err("too much").message().contains("bytes of added tokens"));
}

#[test]
fn texts_and_words_are_bounded() {
    let scores: Vec<f32> = (0..1025).map(|score| score as f32).collect();
    let tokens: Vec<String> = (1..1025).map(|n| "a".repeat(n)).chain(["a▁a".to_owned()]).collect();
    let tokens: Vec<&str> = tokens.iter().map(String::as_str).collect();
    let scored = GgufVocabulary {
        file: "m.gguf",
        model: "llama",
        tokens: &tokens,
        scores: Some(&scores),
        ..Default::default()
    };
    let scored = Tokenizer::from_gguf(scored).expect("a vocabulary");
    let started = Instant::now();
    for tokenizer in [tokenizer_of(&small()).expect("a tokenizer"), scored] {
        assert!(!tokenizer.encode(&"a".repeat(1 << 20)).expect("ids").is_empty());
        for length in [(1 << 22) + 1, (1 << 24) + 1] {
            let error = tokenizer.encode(&"a".repeat(length)).expect_err("too long");
            assert_eq!(error.code().as_str(), "invalid-request", "{error}");
        }
    }
    assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    let long = changed(|file| file["model"]["vocab"]["x".repeat(60_000)] = 3.into());
    let error =
        tokenizer_of(&long).expect("a tokenizer").decode(&[3; 2500], true).expect_err("too long");
    assert!(error.message().starts_with("tokens: "), "{error}");
}

#[test]
fn long_tokens_of_unigram_vocabularies_are_refused() {
    let unigram = |length: usize| {
        changed(|file| {
            let tokens = json!([["<unk>", 0.0], ["a", -1.0], ["a".repeat(length), -2.0]]);
            file["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": tokens});
        })
    };
    let error = tokenizer_of(&unigram(257)).expect_err("a long token");
    assert_eq!(error.code().as_str(), "unsupported-format");
    let tokenizer = tokenizer_of(&unigram(256)).expect("a tokenizer");
    let started = Instant::now();
    let ids = tokenizer.encode(&"a".repeat(256 * 2000)).expect("ids");
    assert_eq!(ids, [2; 2000]);
    assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    // Words of WordPiece have a maximum length, which the file may not raise much.
    let wordpiece = |most: u64| {
        changed(|file| {
            let tokens = json!({"[UNK]": 0, "a": 1, "##a": 2});
            file["model"] = json!({"type": "WordPiece", "unk_token": "[UNK]", "vocab": tokens,
                "max_input_chars_per_word": most});
        })
    };
    assert!(tokenizer_of(&wordpiece(1001)).is_err());
    let tokenizer = tokenizer_of(&wordpiece(1000)).expect("a tokenizer");
    assert_eq!(tokenizer.encode(&"a".repeat(1000)).expect("ids").len(), 1000);
    assert_eq!(tokenizer.encode(&"a".repeat(1_000_000)).expect("ids"), [0]);
}
