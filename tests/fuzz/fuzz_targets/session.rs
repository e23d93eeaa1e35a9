//! A valid session with a few changes and a new checksum, or arbitrary bytes: restored into a model
//! on the CPU, which then generates two tokens.
#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::arbitrary::Result;
use libfuzzer_sys::fuzz_target;
use tablm::engine::{Engine, Prompt};
use tablm_fuzz::load::{options, request};
use tablm_fuzz::{Unstructured, bounds, check, file, ready, tiny_gguf};
use xxhash_rust::xxh64::xxh64;

/// Bytes of the checksum at the end.
const HASH_BYTES: usize = 8;

thread_local! {
    /// Loaded models, each with a session.
    static MODELS: RefCell<Vec<(Engine, Vec<u8>)>> = RefCell::new(models());
}

fn models() -> Vec<(Engine, Vec<u8>)> {
    let load = |model: &tablm_fuzz::writers::gguf::Gguf| {
        let files = vec![file("m.gguf", &model.bytes())];
        ready(Engine::load(files, &options(), &mut |_| {})).expect("a valid model")
    };
    let with_session = |mut engine: Engine| {
        generate(&mut engine);
        let mut session = Vec::new();
        let mut write = |bytes: &[u8]| {
            session.extend_from_slice(bytes);
            Ok(())
        };
        ready(engine.save_session(None, &mut write)).expect("a session");
        (engine, session)
    };
    tiny_gguf::models().iter().map(load).map(with_session).collect()
}

/// Generates two tokens after a prompt of its own, and after what the engine has read.
fn generate(engine: &mut Engine) {
    for ids in [vec![0, 1, 2, 3, 4], vec![0, 1]] {
        // A changed state may yield logits that are not finite.
        let _ = ready(engine.generate(&request(Prompt::Tokens(ids)), |_| {})).inspect_err(check);
    }
}

/// The session with a few bytes replaced, removed or added, and the checksum of the result.
fn changed(session: &[u8], input: &mut Unstructured) -> Result<Vec<u8>> {
    let mut bytes = session[..session.len() - HASH_BYTES].to_vec();
    for _ in 0..input.int_in_range(0..=4)? {
        let at = input.choose_index(bytes.len())?;
        match input.int_in_range(0..=3)? {
            0 => bytes[at] = input.arbitrary()?,
            1 => drop(bytes.drain(at..bytes.len().min(at + input.int_in_range(1..=8)?))),
            2 => bytes.insert(at, input.arbitrary()?),
            // Digits of the header.
            _ => bytes[at] = input.int_in_range(b'0'..=b'9')?,
        }
        if bytes.is_empty() {
            break;
        }
    }
    let hash = xxh64(&bytes, 0);
    bytes.extend_from_slice(&hash.to_le_bytes());
    Ok(bytes)
}

fn run(input: &[u8]) {
    MODELS.with_borrow_mut(|models| {
        let mut input = Unstructured::new(input);
        let Ok(index) = input.choose_index(models.len()) else { return };
        let (engine, valid) = &mut models[index];
        let bytes = match input.ratio(1, 8) {
            Ok(true) => input.take_rest().to_vec(),
            _ => changed(valid, &mut input).unwrap_or_else(|_| valid.clone()),
        };
        match ready(engine.restore_session(&*file("session", &bytes))) {
            Ok(_) => generate(engine),
            Err(error) => check(&error),
        }
    });
}

fuzz_target!(|input: &[u8]| {
    // Loaded first: the limits concern the session.
    MODELS.with_borrow(|_| ());
    bounds::within(input.len(), 16 << 20, 64, || run(input));
});
