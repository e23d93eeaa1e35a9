//! Vocabularies of embedding models, WordPiece and Unigram: ids and decoded texts as those of the
//! package tokenizers.

use serde_json::{Value, json};
use tablm::text::{GgufVocabulary, Tokenizer};

use super::tokenizers::{from_gguf, open};
use super::{Random, cache, fixture, ids, json, text, tokenizer_of};

/// The file with the values at dotted paths replaced.
fn changed(file: &Value, changes: &Value) -> Value {
    let mut file = file.clone();
    for (path, value) in changes.as_object().expect("changes") {
        let place = path.split('.').fold(&mut file, |place, key| &mut place[key]);
        *place = value.clone();
    }
    file
}

fn gives_the_ids_of_hugging_face(name: &str) {
    let file = json(&format!("{name}_tokenizer.json"));
    let variants = json("encoders.json");
    for variant in variants[name].as_array().expect("variants") {
        let changes = &variant["changes"];
        let tokenizer = tokenizer_of(&changed(&file, changes))
            .unwrap_or_else(|error| panic!("{changes}: {error}"));
        for case in variant["cases"].as_array().expect("cases") {
            let source = text(&case["text"]);
            let found = tokenizer.encode(source).expect(source);
            assert_eq!(found, ids(&case["ids"]), "{name}, {changes}: {source:?}");
            let decoded = tokenizer.decode(&found, true).expect("text");
            assert_eq!(decoded, text(&case["decoded"]), "{name}, {changes}: {source:?}");
        }
    }
}

#[test]
fn wordpiece_gives_the_ids_of_hugging_face() {
    gives_the_ids_of_hugging_face("wordpiece");
    let bytes = fixture("wordpiece_tokenizer.json");
    let config = json!({"unk_token": "[UNK]", "cls_token": "[CLS]", "pad_token": "[PAD]"});
    let tokenizer = Tokenizer::from_json("t", &bytes, Some(&config)).expect("a tokenizer");
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[2][..], &[3][..]));
    assert_eq!((tokenizer.unknown_id(), tokenizer.pad_id()), (Some(1), Some(0)));
}

#[test]
fn unigram_gives_the_ids_of_hugging_face() {
    gives_the_ids_of_hugging_face("unigram");
    let tokenizer = tokenizer_of(&json("unigram_tokenizer.json")).expect("a tokenizer");
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[0][..], &[1][..]));
    assert_eq!(tokenizer.unknown_id(), Some(2));
}

#[test]
fn bert_vocabularies_of_gguf_files_give_the_ids_of_hugging_face() {
    super::vocabularies::gives_the_ids_of_llama_cpp("bert-bge");
    let tokenizer = from_gguf(&open(&cache::llama_cpp("ggml-vocab-bert-bge.gguf")));
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[101][..], &[102][..]));
    let ids = tokenizer.encode("Embeddings aren't words").expect("ids");
    assert_eq!(tokenizer.decode(&ids, true).expect("text"), "embeddings aren ' t words");
}

#[test]
fn t5_vocabularies_of_gguf_files_give_the_ids_of_hugging_face() {
    let tokenizer = from_gguf(&open(&cache::llama_cpp("ggml-vocab-nomic-bert-moe.gguf")));
    assert_eq!((tokenizer.prefix(), tokenizer.suffix()), (&[0][..], &[2][..]));
    for case in json("encoders.json")["nomic"].as_array().expect("cases") {
        let source = text(&case["text"]);
        assert_eq!(tokenizer.encode(source).expect(source), ids(&case["ids"]), "{source:?}");
    }
}

/// A map of characters with one entry: `a` becomes `replacement`.
fn charsmap(replacement: &str) -> Vec<u8> {
    let mut units = vec![0u32; 512];
    // The root's children are in the block at 0; the value of `a` is in the block at 256.
    units[0x61] = 0x61 | 1 << 8 | (0x61 ^ 256) << 10;
    units[256] = 0x8000_0000;
    let trie = units.iter().flat_map(|unit| unit.to_le_bytes());
    let size = (units.len() as u32 * 4).to_le_bytes();
    size.into_iter().chain(trie).chain(replacement.bytes()).chain([0]).collect()
}

fn t5(charsmap: &[u8], scores: &[f32]) -> Result<Tokenizer, tablm::Error> {
    Tokenizer::from_gguf(GgufVocabulary {
        file: "t5.gguf",
        model: "t5",
        tokens: &["<unk>", "▁", "b", "▁b"],
        scores: Some(scores),
        token_types: Some(&[2, 1, 1, 1]),
        charsmap: Some(charsmap),
        ..GgufVocabulary::default()
    })
}

#[test]
fn maps_of_characters_are_checked() {
    let scores = [0.0, -1.0, -2.0, -2.5];
    let tokenizer = t5(&charsmap("b"), &scores).expect("a map");
    assert_eq!(tokenizer.encode("ab").expect("ids"), [3, 2]);
    let long = t5(&charsmap(&"b".repeat(65)), &scores).expect_err("a long replacement");
    assert_eq!(long.code().as_str(), "unsupported-format");
    let nan = t5(&charsmap("b"), &[0.0, f32::NAN, 0.0, 0.0]).expect_err("NaN");
    assert_eq!(nan.code().as_str(), "malformed");
    let valid = charsmap("b");
    let mut random = Random(11);
    for round in 0..3000 {
        let mut bytes = valid.clone();
        match round % 3 {
            0 => bytes.truncate(random.below(bytes.len())),
            1 => bytes = (0..random.below(3000)).map(|_| random.below(256) as u8).collect(),
            _ => {
                for _ in 0..=random.below(4) {
                    let at = [0, 4 + 0x61 * 4, 4 + 1024, 0][random.below(4)] + random.below(4);
                    bytes[at] = random.below(256) as u8;
                }
            }
        }
        // No map may cause a panic, whether it is accepted or not.
        if let Ok(tokenizer) = t5(&bytes, &scores) {
            tokenizer.encode("aab a\u{301}é \u{1}").expect("ids");
        }
    }
}

#[test]
fn random_texts_are_encoded() {
    let mut random = Random(5);
    let wordpiece = tokenizer_of(&json("wordpiece_tokenizer.json")).expect("a tokenizer");
    let unigram = tokenizer_of(&json("unigram_tokenizer.json")).expect("a tokenizer");
    for round in 0..200 {
        let source = random.text(if round % 50 == 0 { 3000 } else { 60 });
        for tokenizer in [&wordpiece, &unigram] {
            let ids = tokenizer.encode_plain(&source).expect(&source);
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
        }
    }
}
