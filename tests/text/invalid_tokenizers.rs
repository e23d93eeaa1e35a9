//! Invalid tokenizer files, and unusual texts.

use serde_json::{Value, json};
use tablm::text::{GgufVocabulary, Tokenizer};

use super::{Random, fixture, tokenizer_of};

/// A valid file of six tokens, modified by `change`.
fn changed(change: impl Fn(&mut Value)) -> Value {
    let mut file = json!({
        "version": "1.0",
        "added_tokens": [{"id": 5, "content": "<s>", "single_word": false, "lstrip": false,
            "rstrip": false,
                          "normalized": false, "special": true}],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
        "post_processor": null,
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4},
                  "merges": [["a", "b"], "ab c"]}
    });
    change(&mut file);
    file
}

#[test]
fn valid_tokenizer_json_is_read() {
    let tokenizer = tokenizer_of(&changed(|_| ())).expect("a valid file");
    assert_eq!(tokenizer.encode("abcab<s>c?").expect("ids"), [4, 3, 5, 2]);
}

/// A modification of the valid file, the expected code, and words of the expected message.
type Case = (fn(&mut Value), &'static str, &'static str);

const CASES: &[Case] = &[
    (
        |file| file["model"]["type"] = json!("WordLevel"),
        "unsupported-format",
        "model.type: found \"WordLevel\"",
    ),
    (|file| file["model"]["vocab"] = json!([["a", 0.5]]), "unsupported-format", "model.vocab"),
    (|file| file["model"]["type"] = json!("Unigram"), "malformed", "model.vocab: found an object"),
    (
        |file| file["model"] = json!({"type": "Unigram", "vocab": [["a", 0.5]], "unk_id": 7}),
        "malformed",
        "model.unk_id: found 7",
    ),
    (
        |file| file["model"] = json!({"type": "WordPiece", "vocab": [["a", 0.5]]}),
        "unsupported-format",
        "model.vocab: found a list",
    ),
    (
        |file| {
            file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "!!!!"});
        },
        "malformed",
        "precompiled_charsmap: found \"!!!!\"",
    ),
    (
        |file| {
            file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"});
        },
        "malformed",
        "an inconsistent map",
    ),
    (
        |file| file["model"]["vocab"] = json!({}),
        "malformed",
        "model.merges: found merge 0 with \"a\"",
    ),
    (|file| file["model"]["vocab"]["z"] = json!(3), "malformed", "id 3 for \"ab\" and \"z\""),
    (
        |file| file["model"]["vocab"]["z"] = json!(4_000_000_000u32),
        "malformed",
        "\"z\" with the id 4000000000",
    ),
    (|file| file["model"]["vocab"]["z"] = json!(-1), "malformed", "JSON"),
    (|file| file["model"]["vocab"]["z"] = json!(1e30), "malformed", "JSON"),
    (|file| file["model"]["merges"] = json!([["a", "x"]]), "malformed", "merge 0 with \"x\""),
    (|file| file["model"]["merges"] = json!([["b", "a"]]), "malformed", "merge 0 with \"ba\""),
    (|file| file["model"]["merges"] = json!([["", "a"]]), "malformed", "merge 0 with \"\""),
    (|file| file["model"]["merges"] = json!(["ab"]), "malformed", "JSON"),
    (|file| file["model"]["merges"] = json!([["a", "b", "c"]]), "malformed", "JSON"),
    (|file| file["model"]["dropout"] = json!(0.1), "unsupported-format", "model.dropout"),
    (
        |file| file["model"]["end_of_word_suffix"] = json!("</w>"),
        "unsupported-format",
        "end_of_word_suffix: found \"</w>\"",
    ),
    (|file| file["added_tokens"][0]["id"] = json!(1), "malformed", "id 1 for \"b\" and \"<s>\""),
    (
        |file| file["added_tokens"][0]["content"] = json!("b"),
        "malformed",
        "token \"b\" with the ids 1 and 5",
    ),
    (|file| file["added_tokens"][0]["id"] = json!(1 << 21), "malformed", "added_tokens"),
    (
        |file| {
            file["pre_tokenizer"] =
                json!({"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated"})
        },
        "unsupported-format",
        "split pattern \"(a+)+b\"",
    ),
    (
        |file| file["pre_tokenizer"] = json!({"type": "Split", "pattern": {"String": ""}}),
        "malformed",
        "pre_tokenizer",
    ),
    (
        |file| file["pre_tokenizer"] = json!({"type": "Mystery"}),
        "unsupported-format",
        "pre_tokenizer: found \"Mystery\"",
    ),
    (
        |file| {
            file["normalizer"] =
                json!({"type": "Replace", "pattern": {"Regex": "a"}, "content": ""})
        },
        "unsupported-format",
        "normalizer",
    ),
    (
        |file| {
            file["normalizer"] =
                json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"})
        },
        "malformed",
        "normalizer",
    ),
    (
        |file| file["decoder"] = json!({"type": "CTC"}),
        "unsupported-format",
        "decoder: found \"CTC\"",
    ),
    (
        |file| {
            file["post_processor"] = json!({"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<s>"}}],
            "special_tokens": {"<s>": {"ids": [99]}}})
        },
        "malformed",
        "post_processor: found id 99",
    ),
    (
        |file| {
            file["post_processor"] =
                json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}]})
        },
        "malformed",
        "post_processor",
    ),
];

#[test]
fn invalid_tokenizer_json_is_refused_by_name() {
    for (change, code, named) in CASES {
        let file = changed(change);
        let error = tokenizer_of(&file).expect_err(named);
        assert_eq!(error.code().as_str(), *code, "{error}");
        assert!(
            error.message().contains(named) && error.message().starts_with("tokenizer.json: "),
            "{error}\n{named}"
        );
    }
}

/// Behavior of the crate `tokenizers`: such a file loads, and only texts that need the token fail.
#[test]
fn a_missing_unknown_token_fails_only_texts_that_need_it() {
    for text in ["", "?"] {
        let tokenizer = tokenizer_of(&changed(|file| file["model"]["unk_token"] = json!(text)))
            .expect("a tokenizer");
        assert_eq!(tokenizer.encode("abcab<s>c").expect("ids"), [4, 3, 5, 2]);
        let error = tokenizer.encode("ab?").expect_err("a text with an unknown character");
        assert_eq!(error.code().as_str(), "malformed");
        assert!(
            error.message().starts_with("tokenizer.json: model.unk_token: found \""),
            "{error}"
        );
    }
}

#[test]
fn special_token_ids_outside_the_vocabulary_count_as_absent() {
    let valid = GgufVocabulary {
        file: "m.gguf",
        model: "gpt2",
        pre: Some("llama-bpe"),
        tokens: &["a", "b", "ab", "<s>", "</s>"],
        merges: Some(&["a b"]),
        token_types: Some(&[1, 1, 1, 3, 3]),
        ..GgufVocabulary::default()
    };
    let outside = Some(5);
    let files = [
        GgufVocabulary { pad: outside, unk: outside, ..valid },
        GgufVocabulary { bos: outside, eos: Some(u32::MAX), eot: outside, eom: outside, ..valid },
        GgufVocabulary { add_bos: Some(true), add_eos: Some(true), ..valid },
    ];
    for file in files {
        let tokenizer = Tokenizer::from_gguf(file).expect("a vocabulary");
        assert_eq!(tokenizer.encode("ab</s>").expect("ids"), [2, 4]);
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.pad_id(), tokenizer.unknown_id()),
            (None, None, None)
        );
        assert_eq!(
            (tokenizer.prefix(), tokenizer.suffix(), tokenizer.eos_ids()),
            (&[][..], &[][..], &[4][..])
        );
        let warned = tokenizer.warnings().iter().filter(|warning| warning.contains("add_"));
        assert_eq!(warned.count(), if file.add_bos.is_some() { 2 } else { 0 });
    }
    // SentencePiece's default ids, as in llama.cpp.
    let scores = [0.0; 5];
    let llama =
        GgufVocabulary { model: "llama", pre: None, scores: Some(&scores), bos: outside, ..valid };
    let tokenizer = Tokenizer::from_gguf(llama).expect("a vocabulary");
    assert_eq!(
        (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.unknown_id()),
        (Some(1), Some(2), Some(0))
    );
}

#[test]
fn normalizers_that_could_multiply_a_text_are_refused() {
    let step = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
    let error = tokenizer_of(&changed(|file| {
        file["normalizer"] = json!({"type": "Sequence", "normalizers": vec![step.clone(); 9]});
    }));
    assert_eq!(error.expect_err("a chain").code().as_str(), "unsupported-format");
    let mut nested = json!({"type": "Lowercase"});
    for _ in 0..40 {
        nested = json!({"type": "Sequence", "normalizers": [nested]});
    }
    let error = tokenizer_of(&changed(|file| file["normalizer"] = nested.clone()))
        .expect_err("deep nesting");
    assert_eq!(error.code().as_str(), "unsupported-format");
}

#[test]
fn invalid_json_is_malformed() {
    for bytes in [
        &b""[..],
        b"<html>",
        b"{",
        b"null",
        b"[]",
        b"{\"model\":5}",
        b"\xff\xfe",
        b"{\"model\":{\"vocab\":{\"\xff\":1}}}",
    ] {
        let error = Tokenizer::from_json("tokenizer.json", bytes, None).expect_err("no tokenizer");
        assert_eq!(error.code().as_str(), "malformed", "{error}");
    }
    let deep = "[".repeat(100_000);
    assert!(Tokenizer::from_json("tokenizer.json", deep.as_bytes(), None).is_err());
}

#[test]
fn damaged_files_cause_no_panic() {
    let whole = fixture("small_tokenizer.json");
    let mut random = Random(5);
    for round in 0..120 {
        let mut bytes = whole.clone();
        if round % 4 == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len().max(1));
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        if let Ok(tokenizer) = Tokenizer::from_json("tokenizer.json", &bytes, None) {
            let ids = tokenizer.encode(&random.text(200)).expect("ids");
            tokenizer.decode(&ids, false).expect("text");
        }
    }
}

#[track_caller]
fn gguf_is_refused(parts: GgufVocabulary<'_>, code: &str, named: &str) {
    let error = Tokenizer::from_gguf(parts).expect_err(named);
    assert_eq!(error.code().as_str(), code, "{error}");
    assert!(
        error.message().contains(named) && error.message().starts_with("m.gguf: "),
        "{error}\n{named}"
    );
}

#[test]
fn invalid_gguf_vocabularies_are_refused_by_name() {
    let tokens = ["a", "b", "ab", "<s>"];
    let valid = GgufVocabulary {
        file: "m.gguf",
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens: &tokens,
        merges: Some(&["a b"]),
        token_types: Some(&[1, 1, 1, 3]),
        ..GgufVocabulary::default()
    };
    assert_eq!(
        Tokenizer::from_gguf(valid).expect("a valid file").encode("ab<s>b").expect("ids"),
        [2, 3, 1]
    );
    let llama = GgufVocabulary { model: "llama", scores: Some(&[0.0; 4]), ..valid };
    assert!(Tokenizer::from_gguf(llama).is_ok());
    let other = GgufVocabulary { model: "wordpiece", ..valid };
    gguf_is_refused(other, "unsupported-format", "tokenizer.ggml.model: found \"wordpiece\"");
    let cases: &[(GgufVocabulary<'_>, &str)] = &[
        (GgufVocabulary { tokens: &[], token_types: None, ..valid }, "tokenizer.ggml.tokens"),
        (GgufVocabulary { token_types: Some(&[1]), ..valid }, "token_type: found 1 entries"),
        (GgufVocabulary { token_types: Some(&[1, 1, 1, 9]), ..valid }, "type 9 of token 3"),
        (GgufVocabulary { token_types: Some(&[1, 1, 1, 6]), ..valid }, "byte token 3 \"<s>\""),
        (GgufVocabulary { merges: None, ..valid }, "tokenizer.ggml.merges: found nothing"),
        (GgufVocabulary { merges: Some(&["a"]), ..valid }, "merge 0 \"a\""),
        (GgufVocabulary { merges: Some(&["a q"]), ..valid }, "merge 0 with \"q\""),
        (GgufVocabulary { merges: Some(&["b a"]), ..valid }, "merge 0 with \"ba\""),
        (GgufVocabulary { merges: Some(&[""]), ..valid }, "merge 0"),
        (GgufVocabulary { merges: Some(&["é"]), ..valid }, "merge 0"),
        (GgufVocabulary { bos: Some(4), add_bos: Some(true), ..valid }, "bos_token_id: found 4"),
        (GgufVocabulary { eos: Some(9), add_eos: Some(true), ..valid }, "eos_token_id: found 9"),
        (GgufVocabulary { scores: None, ..llama }, "scores: found nothing"),
        (GgufVocabulary { scores: Some(&[0.0]), ..llama }, "scores: found 1 entries"),
        (
            GgufVocabulary { scores: Some(&[0.0, 0.0, f32::NAN, 0.0]), ..llama },
            "scores: found NaN for token 2",
        ),
    ];
    for (parts, named) in cases {
        gguf_is_refused(*parts, "malformed", named);
    }
}

#[test]
fn no_text_causes_a_panic_with_any_pre_tokenizer() {
    let tokens = ["a", "b", "ab", "<s>", "1"];
    let mut random = Random(9);
    for pre in ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o"] {
        let tokenizer = Tokenizer::from_gguf(GgufVocabulary {
            file: "m.gguf",
            model: "gpt2",
            pre: Some(pre),
            tokens: &tokens,
            merges: Some(&["a b"]),
            token_types: Some(&[1, 1, 1, 3, 1]),
            ..GgufVocabulary::default()
        })
        .expect(pre);
        for _ in 0..2000 {
            let source = random.text(150);
            let ids = tokenizer.encode(&source).expect(&source);
            assert!(ids.iter().all(|&id| id < 5));
        }
        for source in [
            "\0".repeat(5000),
            " ".repeat(5000),
            "a".repeat(200_000),
            "1".repeat(9999),
            "\u{301}".repeat(777),
        ] {
            tokenizer.encode(&source).expect(pre);
        }
    }
}
