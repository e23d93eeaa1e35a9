//! A GGUF vocabulary assembled from components, or, after a first byte `#`, read from lines: names
//! of model and pre-tokenizer, tokens preceded by type and score, an empty line, merges.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::text::{GgufVocabulary, Tokenizer};
use tablm_fuzz::{Unstructured, bounds, check, tokenizer_parts};

/// Reads the vocabulary and uses it to encode and decode texts, among them `own_text`.
fn run(parts: GgufVocabulary, own_text: &str) {
    let size = parts.tokens.len();
    let tokenizer = match Tokenizer::from_gguf(parts) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check(&error),
    };
    for text in [own_text, " it's 12345 naïve 東京 🗼\n\n  x"] {
        for ids in [tokenizer.encode(text), tokenizer.encode_plain(text)] {
            let ids = match ids {
                Ok(ids) => ids,
                Err(error) => return check(&error),
            };
            assert!(ids.iter().all(|&id| (id as usize) < size));
            assert!(tokenizer.decode(&ids, false).is_ok());
        }
    }
}

fn run_lines(source: &str) {
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
    run(parts, source);
}

fn run_assembled(input: &mut Unstructured) -> Option<()> {
    let known = tokenizer_parts::gguf(input).ok()?;
    let tokens: Vec<&str> = known.tokens.iter().map(String::as_str).collect();
    let merges: Vec<&str> = known.merges.iter().map(String::as_str).collect();
    let parts = GgufVocabulary {
        file: "m.gguf",
        model: known.model,
        pre: input.ratio(7, 8).ok()?.then_some(known.pre),
        tokens: &tokens,
        scores: input.ratio(7, 8).ok()?.then_some(&known.scores),
        token_types: input.ratio(7, 8).ok()?.then_some(&known.types),
        merges: input.ratio(7, 8).ok()?.then_some(&merges),
        unk: Some(input.int_in_range(0..=300).ok()?),
        ..GgufVocabulary::default()
    };
    run(parts, &known.tokens.concat());
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    bounds::within(bytes.len(), 16 << 20, 256, || match bytes.split_first() {
        Some((b'#', rest)) => run_lines(&String::from_utf8_lossy(rest)),
        _ => {
            run_assembled(&mut Unstructured::new(bytes));
        }
    });
});
