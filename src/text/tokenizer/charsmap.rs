//! SentencePiece's `precompiled_charsmap`: replacements of characters, as a trie and a text.
//!
//! The normalizer is that of the `tokenizers` crate, which indexes by the numbers in the file.
//! Therefore every node that a text can reach is checked here first. The format is that of
//! SentencePiece (`normalizer.cc`) and Darts-clone: the size of the trie in bytes, its units of 32
//! bits, and the replacements, each ended by a zero byte.

use std::collections::{HashSet, VecDeque};

use tokenizers::normalizers::precompiled::PrecompiledNormalizer;

use super::components::MAX_GROWTH;
use crate::error::{Error, Result, quoted};

/// Maximum bytes of the map: four times the largest known one.
pub(super) const MAX_CHARSMAP_BYTES: usize = 1 << 20;

/// A checked map.
pub(super) struct Charsmap {
    pub(super) normalizer: PrecompiledNormalizer,
    /// Upper bound of the factor by which it lengthens a text.
    pub(super) growth: usize,
}

impl Charsmap {
    /// Reads a map. Errors: `malformed` if it is inconsistent; `unsupported-format` if it lengthens
    /// a text beyond [`MAX_GROWTH`] times.
    pub(super) fn new(file: &str, field: &str, bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_CHARSMAP_BYTES {
            let (found, expected) =
                (format!("{} bytes", bytes.len()), format!("at most {MAX_CHARSMAP_BYTES}"));
            return Err(Error::unsupported_value(file, field, found, expected));
        }
        let inconsistent = || {
            let expected = "a trie and the texts it refers to";
            Error::malformed_value(file, field, "an inconsistent map", expected)
        };
        // The crate allocates what the map states, so that it reads only a map that is checked.
        let growth = growth(bytes).ok_or_else(inconsistent)?;
        let normalizer = PrecompiledNormalizer::from_charsmap(bytes).map_err(|_| inconsistent())?;
        if growth > MAX_GROWTH {
            let found = format!("a map that makes a text up to {growth} times as long");
            let expected = format!("at most {MAX_GROWTH} times");
            return Err(Error::unsupported_value(file, field, found, expected));
        }
        Ok(Self { normalizer, growth })
    }

    /// Reads a map in base64, as in a `tokenizer.json`.
    pub(super) fn from_base64(file: &str, field: &str, text: &str) -> Result<Self> {
        let bytes = decode_base64(text)
            .ok_or_else(|| Error::malformed_value(file, field, quoted(text), "base64"))?;
        Self::new(file, field, &bytes)
    }
}

/// Visits the nodes of the trie, by ascending depth; `None` if the map is inconsistent.
fn growth(bytes: &[u8]) -> Option<usize> {
    let (size, rest) = bytes.split_at_checked(4)?;
    let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
    let (trie, texts) = rest.split_at_checked(size).filter(|_| size.is_multiple_of(4))?;
    let texts = str::from_utf8(texts).ok()?;
    let units: Vec<usize> = trie
        .chunks_exact(4)
        .map(|unit| unit.iter().rev().fold(0, |unit, &byte| unit << 8 | usize::from(byte)))
        .collect();
    let offset = |unit: usize| (unit >> 10) << ((unit & 1 << 9) >> 6);
    let (mut growth, mut seen) = (1, HashSet::new());
    let mut queue = VecDeque::from([(offset(*units.first()?), 1)]);
    while let Some((node, depth)) = queue.pop_front() {
        if node | 0xff >= units.len() {
            return None;
        }
        for label in 1..=0xff {
            let child = node ^ label;
            let unit = *units.get(child)?;
            if unit & (1 << 31 | 0xff) != label {
                continue;
            }
            let next = child ^ offset(unit);
            if unit >> 8 & 1 == 1 {
                let at = units.get(next)? & ((1 << 31) - 1);
                let replacement = texts.get(at..)?.split('\0').next()?;
                growth = growth.max(replacement.len().div_ceil(depth));
            }
            if seen.insert(next) {
                queue.push_back((next, depth + 1));
            }
        }
    }
    Some(growth)
}

/// Bytes of a text in base64 with padding; `None` if it is not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_CHARSMAP_BYTES * 4 / 3 + 4 || !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in digits.as_bytes().chunks(4) {
        let mut value = 0u32;
        for &digit in group {
            let digit = match digit {
                b'A'..=b'Z' => digit - b'A',
                b'a'..=b'z' => digit - b'a' + 26,
                b'0'..=b'9' => digit - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            value = value << 6 | u32::from(digit);
        }
        let count = group.len();
        value <<= 6 * (4 - count);
        bytes.extend(value.to_be_bytes().get(1..count)?);
    }
    Some(bytes)
}
