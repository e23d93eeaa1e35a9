//! A GGUF vocabulary of any content. The input is lines: names, then tokens with their type and
//! score in front, an empty line, merges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm_fuzz::check;
use tablm_fuzz::text::{GgufVocabulary, Tokenizer};

fuzz_target!(|bytes: &[u8]| {
    let source = String::from_utf8_lossy(bytes);
    let mut lines = source.split('\n');
    let (model, pre) = lines.next().unwrap_or("").split_once(' ').unwrap_or(("gpt2", "gpt-2"));
    let (mut tokens, mut types, mut scores) = (Vec::new(), Vec::new(), Vec::new());
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let mut marks = line.chars();
        types.push(marks.next().map_or(1, |mark| i64::from(mark as u32) - 48));
        scores.push(marks.next().map_or(0.0, |mark| -(mark as u32 as f32)));
        tokens.push(marks.as_str());
    }
    let merges: Vec<&str> = lines.collect();
    let parts = GgufVocabulary {
        file: "m.gguf",
        model,
        pre: Some(pre),
        tokens: &tokens,
        scores: Some(&scores),
        token_types: Some(&types),
        merges: Some(&merges),
        unk: Some(0).filter(|_| !tokens.is_empty()),
        ..GgufVocabulary::default()
    };
    let tokenizer = match Tokenizer::from_gguf(parts) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check(&error),
    };
    for text in [source.as_ref(), " it's 12345 naïve 東京 🗼\n\n  x"] {
        for ids in [tokenizer.encode(text), tokenizer.encode_plain(text)] {
            let ids = ids.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(ids.iter().all(|&id| (id as usize) < tokens.len()));
            tokenizer.decode(&ids, false);
        }
    }
});
