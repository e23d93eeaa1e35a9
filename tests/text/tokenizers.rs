//! Ids and decoded texts, equal to those of the reference implementations.

use std::path::Path;

use serde_json::{Value, json};
use tablm::text::{GgufVocabulary, Tokenizer};
use tablm::weights::{Checkpoint, Container};

use super::{Random, cache, files, fixture, ids, json, text};

/// The default model, opened.
pub(crate) fn default_model() -> Checkpoint {
    open(&cache::smollm2())
}

pub(crate) fn open(path: &Path) -> Checkpoint {
    pollster::block_on(Checkpoint::open(files::open(path)))
        .unwrap_or_else(|error| panic!("{error}"))
}

fn smollm2() -> Tokenizer {
    from_gguf(&default_model())
}

/// The tokenizer of a GGUF file.
pub(crate) fn from_gguf(checkpoint: &Checkpoint) -> Tokenizer {
    match &checkpoint.container {
        Container::Gguf(metadata) => Tokenizer::from_metadata(metadata).expect("its tokenizer"),
        Container::Safetensors(_) => panic!("a .gguf file opened as a folder"),
    }
}

/// SmolLM2's vocabulary as `tokenizer.json`.
fn smollm2_folder() -> Tokenizer {
    match &open(&cache::derived("SmolLM2-135M-Instruct-BF16")).container {
        Container::Gguf(_) => panic!("a folder opened as a .gguf file"),
        Container::Safetensors(folder) => {
            let config = folder.tokenizer_config.as_ref();
            Tokenizer::from_json("tokenizer.json", &folder.tokenizer_json, config)
                .expect("its tokenizer")
        }
    }
}

#[test]
fn smollm2_gives_the_ids_of_llama_cpp() {
    gives_the_golden_ids(&smollm2());
}

#[test]
fn tokenizer_json_of_smollm2_gives_the_ids_of_llama_cpp() {
    gives_the_golden_ids(&smollm2_folder());
}

fn gives_the_golden_ids(tokenizer: &Tokenizer) {
    let golden = json("smollm2.json");
    assert_eq!(tokenizer.vocabulary_size(), 49152);
    assert_eq!(
        (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.add_bos()),
        (Some(1), Some(2), false)
    );
    assert_eq!(tokenizer.eos_ids(), [0, 2]);
    assert_eq!(
        (tokenizer.bos_token(), tokenizer.eos_token()),
        ("<|im_start|>".into(), "<|im_end|>".into())
    );
    assert_eq!(tokenizer.id_of("<|im_end|>"), Some(2));
    for probe in golden["tokenizer"].as_array().expect("probes") {
        let source = text(&probe["text"]);
        assert_eq!(tokenizer.encode(source).expect(source), ids(&probe["ids"]), "{source:?}");
        assert_eq!(
            tokenizer.encode_plain(source).expect(source),
            ids(&probe["ids_no_special"]),
            "{source:?}"
        );
    }
    for prompt in golden["prompts"].as_array().expect("prompts") {
        let source = text(&prompt["prompt_text"]);
        assert_eq!(
            tokenizer.encode(source).expect(source),
            ids(&prompt["prompt_ids"]),
            "{source:?}"
        );
        assert_eq!(tokenizer.decode(&ids(&prompt["prompt_ids"]), false).expect("text"), source);
        let answer = tokenizer.decode(&ids(&prompt["gen_ids"]), true).expect("text");
        assert_eq!(answer, text(&prompt["gen_text"]), "{}", prompt["id"]);
    }
    let paragraph = text(&golden["paragraph"]["text"]);
    assert_eq!(tokenizer.encode(paragraph).expect("paragraph"), ids(&golden["paragraph"]["ids"]));
}

#[test]
fn byte_level_vocabularies_round_trip_any_text() {
    let tokenizer = smollm2();
    let mut random = Random(7);
    for round in 0..400 {
        // The vocabulary lacks tokens for some control characters and for the first byte of
        // characters beyond U+40000, which are dropped, as by Hugging Face.
        let mut source = random.text(if round % 50 == 0 { 3000 } else { 60 });
        source.retain(|character| character as u32 >= 0x20 && (character as u32) < 0x40000);
        let ids = tokenizer.encode_plain(&source).expect(&source);
        assert_eq!(tokenizer.decode(&ids, true).expect("text"), source);
    }
}

#[test]
fn a_tokenizer_json_gives_the_ids_of_hugging_face() {
    let config = json!({"bos_token": "<|im_start|>", "eos_token": {"content": "<|im_end|>"}});
    let tokenizer = Tokenizer::from_json(
        "small_tokenizer.json",
        &fixture("small_tokenizer.json"),
        Some(&config),
    )
    .expect("small_tokenizer.json");
    let bos = tokenizer.id_of("<|im_start|>").expect("a begin token");
    assert_eq!((tokenizer.prefix(), tokenizer.add_bos()), (&[bos][..], true));
    assert_eq!(tokenizer.bos_id(), Some(bos));
    assert!(tokenizer.eos_ids().contains(&tokenizer.id_of("<|im_end|>").expect("an end token")));
    for case in json("byte_level.json")["json"].as_array().expect("cases") {
        let source = text(&case["text"]);
        let found = tokenizer.encode(source).expect(source);
        assert_eq!(found, ids(&case["ids"]), "{source:?}");
        assert_eq!(
            tokenizer.encode_plain(source).expect(source),
            ids(&case["plain_ids"]),
            "{source:?}"
        );
        assert_eq!(
            tokenizer.decode(&found, true).expect("text"),
            text(&case["decoded"]),
            "{source:?}"
        );
    }
    let config = json!({"bos_token": "<|im_start|>", "add_bos_token": false});
    let without = Tokenizer::from_json("t", &fixture("small_tokenizer.json"), Some(&config))
        .expect("tokenizer");
    assert_eq!((without.prefix(), without.add_bos()), (&[][..], false));
}

/// The vocabulary of small_tokenizer.json as in a GGUF file.
struct SmallVocabulary {
    tokens: Vec<String>,
    types: Vec<i64>,
    merges: Vec<String>,
}

impl SmallVocabulary {
    fn read() -> Self {
        let file = json("small_tokenizer.json");
        let vocab = file["model"]["vocab"].as_object().expect("vocab");
        let mut tokens = vec![String::new(); vocab.len()];
        for (token, id) in vocab {
            tokens[id.as_u64().expect("id") as usize] = token.clone();
        }
        let mut types = vec![1; tokens.len()];
        for token in file["added_tokens"].as_array().expect("added tokens") {
            if token["special"] == true {
                types[token["id"].as_u64().expect("id") as usize] = 3;
            }
        }
        let pair = |merge: &Value| format!("{} {}", text(&merge[0]), text(&merge[1]));
        let merges = file["model"]["merges"].as_array().expect("merges").iter().map(pair).collect();
        Self { tokens, types, merges }
    }

    /// Builds a tokenizer, as from a file that names this architecture and pre-tokenizer.
    fn tokenizer(
        &self,
        architecture: Option<&str>,
        pre: Option<&str>,
    ) -> Result<Tokenizer, tablm::Error> {
        let tokens: Vec<&str> = self.tokens.iter().map(String::as_str).collect();
        let merges: Vec<&str> = self.merges.iter().map(String::as_str).collect();
        Tokenizer::from_gguf(GgufVocabulary {
            file: "small.gguf",
            architecture,
            model: "gpt2",
            pre,
            tokens: &tokens,
            token_types: Some(&self.types),
            merges: Some(&merges),
            ..GgufVocabulary::default()
        })
    }
}

/// Checks the ids of texts that byte_level.json has for the pre-tokenizer `name`.
pub(crate) fn gives_the_ids_of_split(tokenizer: &Tokenizer, name: &str, cases: &Value) {
    for case in cases.as_array().expect("cases") {
        let source = text(&case["text"]);
        let found = tokenizer.encode(source).expect(source);
        assert_eq!(found, ids(&case["ids"]), "{name}: {source:?}");
    }
}

#[test]
fn every_named_pre_tokenizer_gives_the_ids_of_its_pattern() {
    let vocabulary = SmallVocabulary::read();
    let mut golden = json("byte_level.json");
    golden["splits"]["pixtral"] = golden["splits"]["tekken"].clone();
    let splits = golden["splits"].as_object().expect("splits");
    for (name, cases) in splits.iter().filter(|(name, _)| !name.ends_with("(tokenizer.json)")) {
        let tokenizer = vocabulary.tokenizer(None, Some(name)).expect(name);
        gives_the_ids_of_split(&tokenizer, name, cases);
    }
    let error = vocabulary.tokenizer(None, Some("klingon")).expect_err("an unknown pre-tokenizer");
    assert_eq!(error.code().as_str(), "unsupported-format");
    assert!(
        error.message().contains("klingon") && error.message().contains("llama-bpe"),
        "{error}"
    );
}

#[test]
fn missing_pre_tokenizer_is_warned_of_unless_the_architecture_implies_one() {
    let vocabulary = SmallVocabulary::read();
    let golden = json("byte_level.json");
    // Architecture, pre-tokenizer in the file, expected pre-tokenizer, expected warning.
    let cases = [
        (Some("llama"), None, "default", true),
        (None, None, "default", true),
        (Some("llama"), Some("default"), "default", true),
        (Some("qwen2"), None, "qwen2", false),
        (Some("phi2"), None, "gpt-2", false),
        (Some("llama"), Some("llama-bpe"), "llama-bpe", false),
    ];
    for (architecture, pre, expected, is_warned) in cases {
        let tokenizer = vocabulary.tokenizer(architecture, pre).expect("a vocabulary");
        let warned =
            tokenizer.warnings().iter().any(|warning| warning.contains("tokenizer.ggml.pre"));
        assert_eq!(warned, is_warned, "{architecture:?} {pre:?}");
        gives_the_ids_of_split(&tokenizer, expected, &golden["splits"][expected]);
    }
}

/// A tokenizer of the given tokens, all of type `kind`, and its stop tokens.
fn tokenizer_and_stop_tokens(
    tokens: &[&str],
    kind: i64,
    eos: Option<u32>,
) -> (Tokenizer, Vec<u32>) {
    let vocabulary = GgufVocabulary {
        file: "turns.gguf",
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens,
        token_types: Some(&vec![kind; tokens.len()]),
        merges: Some(&[]),
        eos,
        ..GgufVocabulary::default()
    };
    let tokenizer = Tokenizer::from_gguf(vocabulary).expect("a vocabulary");
    let ends = tokenizer.eos_ids().to_vec();
    (tokenizer, ends)
}

/// The list is that of llama.cpp; files give these tokens various types.
#[test]
fn every_turn_end_token_is_a_stop_token() {
    let tokens = [
        "a",
        "<|im_end|>",
        "<|eot_id|>",
        "<|end|>",
        "<end_of_turn>",
        "<|endoftext|>",
        "<|eom_id|>",
        "<|end_of_text|>",
        "<turn|>",
        "<eos>",
        "</s>",
        "<EOT>",
        "[EOT]",
        "<｜end▁of▁sentence｜>",
        "</s",
    ];
    for kind in [1, 3, 4] {
        let (tokenizer, ends) = tokenizer_and_stop_tokens(&tokens, kind, None);
        assert_eq!(ends, (1..14).collect::<Vec<_>>(), "type {kind}");
        assert!(ends.iter().all(|&id| tokenizer.is_special(id)));
        assert_eq!(tokenizer.encode("<|im_end|>").expect("ids"), [1]);
    }
    // `<|end|>` ends messages in gpt-oss and Solar Open, and `</s>` is an HTML tag in Gemma 4.
    let harmony = ["a", "<|return|>", "<|call|>", "<|end|>"];
    let (tokenizer, ends) = tokenizer_and_stop_tokens(&harmony, 3, Some(1));
    assert_eq!((ends, tokenizer.is_special(3)), (vec![1, 2], false));
    assert_eq!(
        tokenizer_and_stop_tokens(&["<|end|>", "<|flush|>", "<|calls|>"], 3, None).1,
        [1, 2]
    );
    assert_eq!(tokenizer_and_stop_tokens(&["<|end|>", "<|return|>"], 3, None).1, [0, 1]);
    assert_eq!(
        tokenizer_and_stop_tokens(&["</s>", "<|tool_response>", "<turn|>"], 3, Some(2)).1,
        [1, 2]
    );
}

#[test]
fn ids_named_by_the_file_are_stop_tokens() {
    let vocabulary = GgufVocabulary {
        file: "turns.gguf",
        model: "gpt2",
        pre: Some("gpt-2"),
        tokens: &["a", "b", "c", "d"],
        merges: Some(&[]),
        eos: Some(3),
        eot: Some(1),
        eom: Some(2),
        ..GgufVocabulary::default()
    };
    assert_eq!(Tokenizer::from_gguf(vocabulary).expect("a vocabulary").eos_ids(), [1, 2, 3]);
}

#[test]
fn turn_end_tokens_of_a_tokenizer_json_need_no_special_flag() {
    let mut file = json("small_tokenizer.json");
    let added = file["added_tokens"].as_array_mut().expect("added tokens");
    let end = added.iter_mut().find(|token| token["content"] == "<|im_end|>").expect("an end");
    end["special"] = false.into();
    let id = end["id"].as_u64().expect("an id") as u32;
    file["model"]["vocab"]["<end_of_turn>"] = 5000.into();
    let tokenizer =
        Tokenizer::from_json("t", file.to_string().as_bytes(), None).expect("a tokenizer");
    assert!(tokenizer.eos_ids().contains(&id) && tokenizer.eos_ids().contains(&5000));
}

/// Behavior of transformers if tokenizer_config.json lists more tokens than tokenizer.json.
#[test]
fn added_tokens_of_tokenizer_config_are_merged() {
    let mut file = json("small_tokenizer.json");
    file["added_tokens"] = json!([]);
    file["post_processor"] = Value::Null;
    let start = file["model"]["vocab"]["<|im_start|>"].as_u64().expect("an id") as u32;
    let end = file["model"]["vocab"]["<|im_end|>"].as_u64().expect("an id") as u32;
    let bytes = file.to_string().into_bytes();
    let encode = |config: Value| {
        let tokenizer = Tokenizer::from_json("t", &bytes, Some(&config)).expect("a tokenizer");
        tokenizer.encode("<|im_start|><|im_end|>").expect("ids")
    };
    assert!(encode(json!({})).len() > 4);
    let object = json!({"content": "<|im_end|>", "special": true, "normalized": false});
    let listed = json!({(start.to_string()): {"content": "<|im_start|>", "special": true}});
    for config in [
        json!({"bos_token": "<|im_start|>", "eos_token": object.clone(),
            "pad_token": "<|im_end|>"}),
        json!({"additional_special_tokens": ["<|im_start|>", object.clone(), "not in the \
            vocabulary"]}),
        json!({"added_tokens_decoder": listed,
            "extra_special_tokens": {"end_token": "<|im_end|>"}}),
    ] {
        assert_eq!(encode(config.clone()), [start, end], "{config}");
    }
}

#[test]
fn scores_give_the_ids_of_sentencepiece() {
    let golden = json("sentencepiece.json");
    let tokens: Vec<&str> = golden["tokens"].as_array().expect("tokens").iter().map(text).collect();
    let scores: Vec<f32> = golden["scores"]
        .as_array()
        .expect("scores")
        .iter()
        .map(|s| s.as_f64().expect("score") as f32)
        .collect();
    let types: Vec<i64> = golden["token_types"]
        .as_array()
        .expect("types")
        .iter()
        .map(|t| t.as_i64().expect("type"))
        .collect();
    let build = |add_space_prefix| {
        Tokenizer::from_gguf(GgufVocabulary {
            file: "tiny.gguf",
            model: "llama",
            tokens: &tokens,
            scores: Some(&scores),
            token_types: Some(&types),
            bos: Some(1),
            eos: Some(2),
            unk: Some(0),
            add_space_prefix,
            ..GgufVocabulary::default()
        })
        .expect("a llama vocabulary")
    };
    let (with_prefix, without) = (build(None), build(Some(false)));
    assert_eq!(with_prefix.prefix(), [1]);
    assert!(
        with_prefix
            .eos_ids()
            .contains(&with_prefix.id_of("<end_of_turn>").expect("a turn end token"))
    );
    for case in golden["cases"].as_array().expect("cases") {
        let source = text(&case["text"]);
        let found = with_prefix.encode_plain(source).expect(source);
        // SentencePiece puts a space before the whole text; llama.cpp and Hugging Face put one
        // before each segment between added tokens.
        if !source.contains("<tool>") {
            assert_eq!(found, ids(&case["ids"]), "{source:?}");
            assert_eq!(
                with_prefix.decode(&found, true).expect("text"),
                text(&case["decoded"]),
                "{source:?}"
            );
        } else {
            assert_eq!(found, ids(&case["json_ids"]), "{source:?}");
        }
        assert_eq!(
            without.encode_plain(source).expect(source),
            ids(&case["ids_without_prefix"]),
            "{source:?}"
        );
    }
}

#[test]
fn a_llama_tokenizer_json_gives_the_ids_of_hugging_face() {
    let tokenizer =
        Tokenizer::from_json("llama_tokenizer.json", &fixture("llama_tokenizer.json"), None)
            .expect("llama_tokenizer.json");
    assert_eq!(tokenizer.bos_id(), Some(1));
    for case in json("sentencepiece.json")["cases"].as_array().expect("cases") {
        let source = text(&case["text"]);
        let found = tokenizer.encode(source).expect(source);
        assert_eq!(found, ids(&case["json_ids"]), "{source:?}");
        assert_eq!(
            tokenizer.decode(&found, true).expect("text"),
            text(&case["json_decoded"]),
            "{source:?}"
        );
    }
}
