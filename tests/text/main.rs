//! Text: tokenizers compared with their reference implementations, chat templates with Jinja2,
//! streaming, stop strings and sampling. Fixtures and the scripts that made them: `data/text`.
#![cfg_attr(
    target_arch = "wasm32",
    feature(custom_test_frameworks, test),
    test_runner(wasm::register)
)]
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod added_tokens;
#[path = "../common/allocations.rs"]
mod allocations;
mod answer_cases;
mod answer_parser;
mod answer_style;
#[path = "../common/cache.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with test files that use other parts")]
mod cache;
mod chat_templates;
mod dialects;
mod encoders;
#[path = "../common/files.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with test files that use other parts")]
mod files;
mod invalid_tokenizers;
mod sampling;
mod split_patterns;
mod streaming;
mod template_cases;
mod template_limits;
mod tokenizer_limits;
mod tokenizers;
mod vocabularies;
#[cfg(target_arch = "wasm32")]
#[path = "../common/wasm.rs"]
mod wasm;

use serde_json::Value;
use tablm::text::Tokenizer;

/// Reads a fixture of `tests/data/text`.
fn fixture(name: &str) -> Vec<u8> {
    files::read(format!("{}/tests/data/text/{name}", env!("CARGO_MANIFEST_DIR")))
}

/// Reads a JSON fixture.
fn json(name: &str) -> Value {
    serde_json::from_slice(&fixture(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads a chat template of `tests/data/text/templates`.
fn template_source(name: &str) -> String {
    String::from_utf8(fixture(&format!("templates/{name}.jinja"))).expect(name)
}

/// Reads a tokenizer from the content of a `tokenizer.json`.
fn tokenizer_of(file: &Value) -> Result<Tokenizer, tablm::Error> {
    Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), None)
}

/// Converts a JSON list to token ids.
fn ids(value: &Value) -> Vec<u32> {
    let list = value.as_array().unwrap_or_else(|| panic!("{value}: expected a list"));
    list.iter().map(|id| id.as_u64().expect("an id") as u32).collect()
}

/// A JSON string.
fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}: expected a string"))
}

/// Pseudo-random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// A text of up to `most` characters: arbitrary Unicode, spaces, digits and ASCII.
    fn text(&mut self, most: usize) -> String {
        let count = self.below(most + 1);
        let character = |random: &mut Self| match random.below(6) {
            0 => ' ',
            1 => char::from(b'0' + random.below(10) as u8),
            2 => char::from(random.below(128) as u8),
            3 => char::from_u32(random.below(0x3000) as u32).unwrap_or('é'),
            4 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('東'),
            _ => char::from(b'a' + random.below(26) as u8),
        };
        (0..count).map(|_| character(self)).collect()
    }
}
