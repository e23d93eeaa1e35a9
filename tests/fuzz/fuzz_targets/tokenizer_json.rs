//! A `tokenizer.json` of any bytes: read, and used on texts that go every way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm_fuzz::check;
use tablm_fuzz::text::{Decoder, Tokenizer};

const TEXTS: [&str; 4] =
    ["", " abcab<s>c?\n\n  12345 it's", "naïve 東京 🗼 e\u{301} \0\u{2581}x", "<s><s> a"];

fuzz_target!(|bytes: &[u8]| {
    let tokenizer = match Tokenizer::from_json("tokenizer.json", bytes, None) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check(&error),
    };
    let own: String = String::from_utf8_lossy(bytes).chars().rev().take(200).collect();
    for text in TEXTS.into_iter().chain([own.as_str()]) {
        for ids in [tokenizer.encode(text), tokenizer.encode_plain(text)] {
            let ids = ids.unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
            let mut decoder = Decoder::new(&tokenizer);
            let pieces: String = ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
            assert_eq!(pieces + &decoder.finish(), tokenizer.decode(&ids, true));
        }
    }
    let _ = (tokenizer.bos_token(), tokenizer.eos_token(), tokenizer.prefix(), tokenizer.eos_ids());
});
