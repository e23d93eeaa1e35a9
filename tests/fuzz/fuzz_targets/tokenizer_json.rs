//! A `tokenizer.json` of arbitrary bytes, or assembled from components: read, and used to encode
//! and decode texts.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tablm::Result;
use tablm::text::{StreamingDecoder, Tokenizer};
use tablm_fuzz::{Unstructured, bounds, check, tiny_folder, tokenizer_parts};

const TEXTS: [&str; 4] =
    ["", " abcab<s>c?\n\n  12345 it's", "naïve 東京 🗼 e\u{301} \0\u{2581}x", "<s><s> a"];

fn run(bytes: &[u8]) -> Result<()> {
    let tokenizer = Tokenizer::from_json("tokenizer.json", bytes, None).inspect_err(check)?;
    let own_text: String = String::from_utf8_lossy(bytes).chars().rev().take(200).collect();
    let long = "ab é東".repeat(200);
    for text in TEXTS.into_iter().chain([own_text.as_str(), &long]) {
        for ids in [tokenizer.encode(text), tokenizer.encode_plain(text)] {
            let ids = ids.inspect_err(check)?;
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary_size()));
            let mut decoder = StreamingDecoder::new(&tokenizer);
            let pieces: String = ids.iter().map(|&id| decoder.push(&tokenizer, id)).collect();
            assert_eq!(Ok(pieces + &decoder.finish()), tokenizer.decode(&ids, true));
        }
    }
    let _ = (tokenizer.bos_token(), tokenizer.eos_token(), tokenizer.prefix(), tokenizer.eos_ids());
    Ok(())
}

fuzz_target!(|bytes: &[u8]| {
    bounds::within(bytes.len(), 16 << 20, 256, || match bytes.first() {
        // libFuzzer starts with an empty input.
        None => run(tiny_folder::tokenizer().to_string().as_bytes()).expect("a valid tokenizer"),
        Some(b'{') => drop(run(bytes)),
        Some(_) => {
            let Ok(json) = tokenizer_parts::json(&mut Unstructured::new(bytes)) else { return };
            let _ = run(json.to_string().as_bytes());
        }
    });
});
