//! Saved sessions: restored by another load, on another executor, they continue as if nothing had
//! been interrupted; what cannot be restored is refused with the reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use serde_json::{Value, json};
use xxhash_rust::xxh64::xxh64;

use common::cache;
use common::conversations::{cached, chat, message, options, request, system};
use common::engines::{devices, has_gpu, load, tokens};
use tablm::engine::{Completion, DeviceChoice, Engine, LoadOptions, Prompt};
use tablm::error::Code;
use tablm::kernels::CacheFormat;
use tablm::weights::source::MemorySource;

/// A model of every kind of state.
const MODELS: [&str; 8] = [
    "nemotron_h-g8x1",
    "falcon_h1-plain",
    "granitehybrid-groups",
    "lfm2-types",
    "lfm3-pattern",
    "gemma3-pattern",
    "llama-tied",
    "qwen3-tied",
];
async fn answer(engine: &mut Engine, prompt: &[u32], count: usize) -> Completion {
    engine.generate(&request(Prompt::Tokens(prompt.to_vec()), count), |_| {}).await.unwrap()
}

async fn saved(engine: &mut Engine) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut write = |part: &[u8]| {
        bytes.extend_from_slice(part);
        Ok(())
    };
    engine.save_session(None, &mut write).await.unwrap();
    bytes
}

async fn restore(engine: &mut Engine, bytes: &[u8]) -> tablm::Result<usize> {
    engine.restore_session(&MemorySource::new("session", bytes)).await
}

#[test]
fn a_restored_session_continues_on_every_executor_without_reading_again() {
    pollster::block_on(async {
        let mut all = devices().await;
        if has_gpu().await {
            all.push(DeviceChoice::Hybrid);
        }
        for name in MODELS {
            // More than the rings hold.
            let prompt = tokens(130);
            let mut whole = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
            let expected = answer(&mut whole, &prompt, 24).await.token_ids;
            let mut engine = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
            let mut read = prompt.clone();
            let mut ids = Vec::new();
            let route: Vec<DeviceChoice> = all.iter().chain(&all).copied().collect();
            for device in route {
                let part = answer(&mut engine, &read, 4).await;
                // The last token of a prompt is always read: its logits are needed.
                let wanted = if ids.is_empty() { 0 } else { read.len() - 1 };
                assert_eq!(cached(&part), wanted, "{name}");
                ids.extend_from_slice(&part.token_ids);
                read.extend_from_slice(&part.token_ids);
                let bytes = saved(&mut engine).await;
                engine = load(&cache::tiny(name), options(device)).await;
                // The last generated token has not been read.
                assert_eq!(restore(&mut engine, &bytes).await.unwrap(), read.len() - 1, "{name}");
                assert_eq!(saved(&mut engine).await, bytes, "{name} {device:?}");
            }
            assert_eq!(ids, expected[..ids.len()], "{name}");
        }
    });
}

#[test]
fn a_restored_conversation_goes_back_to_its_snapshots() {
    pollster::block_on(async {
        for device in devices().await {
            for name in ["nemotron_h-g8x1", "gemma3-pattern"] {
                let mut messages = vec![system(), message("user", "a question on layers")];
                let mut engine = load(&cache::tiny(name), options(device)).await;
                engine.generate(&chat(&messages), |_| {}).await.unwrap();
                let bytes = saved(&mut engine).await;
                messages.push(message("assistant", "an answer"));
                messages.push(message("user", "another question"));
                let expected = engine.generate(&chat(&messages), |_| {}).await.unwrap();
                let mut restored = load(&cache::tiny(name), options(device)).await;
                restore(&mut restored, &bytes).await.unwrap();
                let found = restored.generate(&chat(&messages), |_| {}).await.unwrap();
                assert_eq!(found.token_ids, expected.token_ids, "{device:?} {name}");
                assert!(cached(&found) > 16, "{device:?} {name}");
                assert_eq!(cached(&found), cached(&expected), "{device:?} {name}");
            }
        }
    });
}

#[test]
fn another_cache_format_and_length_of_rings_are_converted() {
    pollster::block_on(async {
        let prompt = tokens(150);
        for (kv_format, chunk) in [(CacheFormat::F16, 20), (CacheFormat::F32, 64)] {
            let other = LoadOptions {
                kv_format: Some(kv_format),
                chunk: Some(chunk),
                ..options(DeviceChoice::Cpu)
            };
            for name in ["gemma3-pattern", "llama-tied"] {
                let mut engine = load(&cache::tiny(name), options(DeviceChoice::Cpu)).await;
                let mut read = prompt.clone();
                read.extend(answer(&mut engine, &prompt, 1).await.token_ids);
                let bytes = saved(&mut engine).await;
                let expected = answer(&mut engine, &read, 6).await.token_ids;
                let mut restored = load(&cache::tiny(name), other.clone()).await;
                restore(&mut restored, &bytes).await.unwrap();
                let found = answer(&mut restored, &read, 6).await;
                assert_eq!(cached(&found), 150, "{name}");
                assert_eq!(found.token_ids, expected, "{name} {kv_format:?} {chunk}");
            }
        }
    });
}

#[test]
fn sessions_that_do_not_fit_are_refused_with_the_reason() {
    pollster::block_on(async {
        let cpu = options(DeviceChoice::Cpu);
        let mut engine = load(&cache::tiny(MODELS[0]), cpu.clone()).await;
        let empty = engine.save_session(None, &mut |_| Ok(())).await.unwrap_err();
        assert_eq!(empty.code(), Code::InvalidRequest);
        answer(&mut engine, &tokens(60), 2).await;
        let bytes = saved(&mut engine).await;
        let mut refused = async |bytes: &[u8], code: Code, reason: &str| {
            let before = saved(&mut engine).await;
            let error = restore(&mut engine, bytes).await.unwrap_err();
            assert_eq!(error.code(), code, "{error}");
            assert!(error.message().contains(reason), "{error}");
            // The conversation goes on.
            assert_eq!(saved(&mut engine).await, before, "{error}");
        };
        refused(b"", Code::Malformed, "size: found 0 bytes").await;
        refused(&vec![7; 5000], Code::Malformed, "expected a session").await;
        for length in [10, 20, 200, bytes.len() / 2, bytes.len() - 1] {
            refused(&bytes[..length], Code::Malformed, "session: ").await;
        }
        for at in [20, 60, bytes.len() / 2, bytes.len() - 20, bytes.len() - 1] {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            refused(&changed, Code::Malformed, "session: ").await;
        }
        let mut future = bytes.clone();
        future[8] = 2;
        refused(&future, Code::UnsupportedFormat, "version: found 2").await;
        let mut longer = bytes.clone();
        longer.push(0);
        refused(&longer, Code::Malformed, "size: found").await;
        let mut other = load(&cache::tiny("nemotron_h-g2x3"), cpu.clone()).await;
        answer(&mut other, &tokens(20), 2).await;
        let foreign = saved(&mut other).await;
        refused(&foreign, Code::InvalidRequest, "found a session of model (").await;
        let short = LoadOptions { context_length: Some(40), ..cpu };
        let mut short = load(&cache::tiny(MODELS[0]), short).await;
        let error = restore(&mut short, &bytes).await.unwrap_err();
        assert_eq!(error.code(), Code::ContextFull, "{error}");
    });
}

/// A snapshot in a session holds the last rows of a ring; a prompt that goes back beyond them reads
/// from the beginning.
#[test]
fn rows_that_a_restored_ring_lacks_are_read_again() {
    pollster::block_on(async {
        let path = cache::tiny("gemma3-pattern");
        let load =
            |chunk| load(&path, LoadOptions { chunk: Some(chunk), ..options(DeviceChoice::Cpu) });
        // Longer steps need longer rings.
        let (mut engine, mut restored) = (load(20).await, load(64).await);
        let mut fresh = load(64).await;
        let messages = [system(), message("user", "a question on layers, ".repeat(8))];
        let prompt = engine.generate(&chat(&messages), |_| {}).await.unwrap().prompt_token_ids;
        let bytes = saved(&mut engine).await;
        for back in [1, 8, 20, 30, 45] {
            restore(&mut restored, &bytes).await.unwrap();
            // Goes back to the snapshot, and from there farther.
            let kept = cached(&answer(&mut restored, &prompt, 1).await);
            assert!(kept > 100, "{kept} of {}", prompt.len());
            let mut other = prompt[..kept - back].to_vec();
            other.extend([7, 8, 9]);
            let with_logprobs = |prompt: &[u32]| {
                let mut request = request(Prompt::Tokens(prompt.to_vec()), 1);
                request.top_logprobs = Some(5);
                request
            };
            let found = restored.generate(&with_logprobs(&other), |_| {}).await.unwrap();
            fresh.reset();
            let expected = fresh.generate(&with_logprobs(&other), |_| {}).await.unwrap();
            let pairs =
                found.logprobs[0].top_logprobs.iter().zip(&expected.logprobs[0].top_logprobs);
            for (found, expected) in pairs {
                let difference = (found.logprob - expected.logprob).abs();
                assert!(difference < 1e-4, "{back}: {found:?}, {expected:?}");
            }
        }
    });
}

/// Sessions whose checksum is right and whose contents are not.
#[test]
fn forged_sessions_are_refused_before_anything_changes() {
    pollster::block_on(async {
        let mut engine = load(&cache::tiny("gemma3-pattern"), options(DeviceChoice::Cpu)).await;
        let messages = [system(), message("user", "a question on layers")];
        engine.generate(&chat(&messages), |_| {}).await.unwrap();
        let bytes = saved(&mut engine).await;
        let header_end = 16 + u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[16..header_end]).unwrap();
        let forged = |change: &dyn Fn(&mut Value, &mut Vec<u8>)| {
            let (mut header, mut body) =
                (header.clone(), bytes[header_end..bytes.len() - 8].to_vec());
            change(&mut header, &mut body);
            let header = header.to_string();
            let mut forged = bytes[..12].to_vec();
            forged.extend((header.len() as u32).to_le_bytes());
            forged.extend(header.as_bytes());
            forged.extend(body);
            let hash = xxh64(&forged, 0);
            forged.extend(hash.to_le_bytes());
            forged
        };
        let unchanged = forged(&|_, _| {});
        restore(&mut engine, &unchanged).await.unwrap();
        assert_eq!(saved(&mut engine).await, bytes);
        type Change = dyn Fn(&mut Value, &mut Vec<u8>);
        let changes: [(&str, &Change); 9] = [
            ("tokens: found", &|_, body| body[3] = 0x7f),
            ("unknown state", &|header, _| header["sections"][0]["name"] = json!("x")),
            ("another order", &|header, _| {
                header["sections"][1]["name"] = header["sections"][0]["name"].clone();
            }),
            ("other positions", &|header, _| {
                let sections = header["sections"].as_array_mut().unwrap();
                sections.iter_mut().for_each(|section| section["snapshot"] = json!(0));
            }),
            ("other positions", &|header, _| header["sections"][0]["rows"]["first"] = json!(1)),
            ("another width", &|header, _| header["sections"][0]["rows"]["width"] = json!(8)),
            ("number of words", &|header, _| {
                header["sections"][0]["rows"]["format"] = json!("f16")
            }),
            ("not in order", &|header, _| header["snapshots"] = json!([4_000_000])),
            ("snapshot without length", &|header, _| header["snapshots"] = json!([])),
        ];
        for (reason, change) in changes {
            let error = restore(&mut engine, &forged(change)).await.unwrap_err();
            assert!(error.message().contains(reason), "{reason}: {error}");
            assert_ne!(error.code(), Code::Internal, "{error}");
            assert_eq!(saved(&mut engine).await, bytes, "{reason}");
        }
    });
}
