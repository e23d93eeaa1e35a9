//! Full-size vocabularies: ids of a corpus of varied texts equal those of the reference
//! implementations.

use super::tokenizers::{from_gguf, open};
use super::{cache, files, ids, json, text};
use tablm::text::Tokenizer;

/// FNV-1a hash of ids, as in tests/data/text/make_corpus.py.
fn hash(ids: &[u32]) -> String {
    let bytes = ids.iter().flat_map(|id| id.to_le_bytes());
    let hash =
        bytes.fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

/// Checks that every text of the corpus has the ids of `reference` and is decoded from them, and
/// that every chat has its ids, control tokens included.
fn gives_the_ids_of(reference: &str, tokenizer: &Tokenizer) {
    let corpus = json("corpus.json");
    let texts = corpus["texts"].as_array().expect("texts");
    let hashes = text(&corpus[reference]).as_bytes().chunks(8);
    assert!(texts.len() >= 2000 && hashes.len() == texts.len());
    let mut wrong = Vec::new();
    for (source, expected) in texts.iter().map(text).zip(hashes) {
        let ids = tokenizer.encode_plain(source).expect(source);
        if hash(&ids).as_bytes() != expected
            || tokenizer.decode(&ids, true).expect("text") != source
        {
            wrong.push((source, ids));
        }
    }
    let shown = &wrong[..wrong.len().min(10)];
    assert!(wrong.is_empty(), "{} of {} texts are wrong: {shown:?}", wrong.len(), texts.len());
    for chat in corpus["chats"].as_array().expect("chats") {
        let source = text(&chat["text"]);
        assert_eq!(tokenizer.encode(source).expect(source), ids(&chat[reference]), "{source:?}");
    }
}

#[test]
fn tekken_gives_the_ids_of_mistral_common() {
    let tokenizer = from_gguf(&open(&cache::vocabulary("tekken.gguf")));
    assert_eq!(tokenizer.vocabulary_size(), 131_072);
    gives_the_ids_of("tekken", &tokenizer);
}

#[test]
fn tokenizer_json_of_tekken_gives_the_ids_of_mistral_common() {
    let json = files::read(cache::vocabulary("tekken.json"));
    let tokenizer = Tokenizer::from_json("tekken.json", &json, None).expect("tekken.json");
    gives_the_ids_of("tekken", &tokenizer);
}

#[test]
fn llama3_gives_the_ids_of_tiktoken() {
    let tokenizer = from_gguf(&open(&cache::vocabulary("llama3.gguf")));
    assert_eq!((tokenizer.vocabulary_size(), tokenizer.bos_id()), (128_256, Some(128_000)));
    gives_the_ids_of("llama3", &tokenizer);
}
