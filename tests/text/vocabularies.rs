//! Full-size vocabularies: ids of a corpus of varied texts equal those of the reference
//! implementations.

use super::tokenizers::{from_gguf, open};
use super::{cache, files, ids, json, text};
use tablm::text::Tokenizer;

/// Vocabularies of llama.cpp, whose expected ids are those of Hugging Face.
const LLAMA_CPP: &[&str] = &[
    "command-r",
    "deepseek-coder",
    "deepseek-llm",
    "falcon",
    "gemma-4",
    "gpt-2",
    "llama-bpe",
    "llama-spm",
    "mpt",
    "phi-3",
    "qwen2",
    "qwen35",
    "refact",
    "starcoder",
];

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

/// Checks the ids of the texts that llama.cpp has for one of its vocabularies.
pub(crate) fn gives_the_ids_of_llama_cpp(name: &str) {
    let path = |end: &str| cache::llama_cpp(&format!("ggml-vocab-{name}.gguf{end}"));
    let tokenizer = from_gguf(&open(&path("")));
    let read = |end: &str| String::from_utf8(files::read(path(end))).expect("a text");
    let (texts, expected) = (read(".inp"), read(".out"));
    let texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
    let expected: Vec<&str> = expected.lines().collect();
    assert!(texts.len() >= 45 && expected.len() + 1 >= texts.len(), "{name}");
    for (source, expected) in texts.into_iter().zip(expected) {
        let expected: Vec<u32> =
            expected.split_whitespace().map(|id| id.parse().expect("an id")).collect();
        let found = tokenizer.encode(source).expect(source);
        assert_eq!(found, expected, "{name}: {source:?}");
    }
}

#[test]
fn vocabularies_of_llama_cpp_give_the_ids_of_hugging_face() {
    LLAMA_CPP.iter().for_each(|name| gives_the_ids_of_llama_cpp(name));
}

#[test]
fn gemma4_always_starts_with_its_begin_token() {
    let tokenizer = from_gguf(&open(&cache::llama_cpp("ggml-vocab-gemma-4.gguf")));
    assert_eq!((tokenizer.prefix(), tokenizer.add_bos()), (&[2][..], true));
    for source in ["a  b\n\n c\t", " x", "\u{2581}", "\u{1f9ff}\u{fe0f}\u{10ffff}", ""] {
        let ids = tokenizer.encode(source).expect(source);
        // The mark for a space cannot be told from a space.
        let expected = source.replace('\u{2581}', " ");
        assert_eq!(tokenizer.decode(&ids, true).expect("text"), expected);
    }
    // Runs of line feeds are single tokens up to 31.
    for (count, expected) in [(1, vec![107]), (5, vec![111]), (31, vec![137])] {
        assert_eq!(tokenizer.encode(&"\n".repeat(count)).expect("ids"), expected);
    }
}
