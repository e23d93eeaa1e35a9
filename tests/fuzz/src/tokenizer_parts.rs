//! Vocabularies in `tokenizer.json` and GGUF form, assembled from the components of real ones.

use libfuzzer_sys::arbitrary::Result;
use serde_json::{Map, Value, json};

use crate::tiny_folder::odd_json;
use crate::writers::gguf::byte_letters;
use crate::{Unstructured, odd_number, odd_text};

/// Split patterns of published tokenizers, and similar ones.
const PATTERNS: [&str; 10] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    r"\p{N}{1,3}",
    concat!(
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    ),
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|\p{N}{1,2}|[^\p{N}]++",
    r"(?=(\d{3})+(?!\d))",
    r"\S*\S*\S*x|a+$",
    r"(a+)+$",
    r"\s+",
];

/// Up to `most` components. The length of the input bounds how deep they nest.
fn several(
    input: &mut Unstructured,
    most: usize,
    one: fn(&mut Unstructured) -> Result<Value>,
) -> Result<Vec<Value>> {
    (0..input.int_in_range(0..=most)?).map(|_| one(input)).collect()
}

fn normalizer(input: &mut Unstructured) -> Result<Value> {
    Ok(match input.int_in_range(0..=11)? {
        0 => json!({"type": "NFC"}),
        1 => json!({"type": "NFKD"}),
        2 => json!({"type": "NFKC"}),
        3 => json!({"type": "Lowercase"}),
        4 => json!({"type": "Prepend", "prepend": odd_text(input)?}),
        5 | 6 => {
            json!({"type": "Replace", "pattern": {"String": odd_text(input)?},
                "content": odd_text(input)?})
        }
        7 => {
            json!({"type": "Replace", "pattern": {"Regex": input.choose(&PATTERNS)?},
                "content": odd_text(input)?})
        }
        8 => {
            json!({"type": "Strip", "strip_left": input.arbitrary::<bool>()?, "strip_right": true})
        }
        10 => {
            json!({"type": "BertNormalizer", "clean_text": input.arbitrary::<bool>()?,
                "handle_chinese_chars": true, "lowercase": input.arbitrary::<bool>()?})
        }
        9 => json!({"type": "Sequence", "normalizers": several(input, 6, normalizer)?}),
        _ => odd_json(input)?,
    })
}

fn pre_tokenizer(input: &mut Unstructured) -> Result<Value> {
    Ok(match input.int_in_range(0..=8)? {
        0 | 1 => {
            json!({"type": "ByteLevel", "add_prefix_space": input.arbitrary::<bool>()?,
                "use_regex": input.arbitrary::<bool>()?})
        }
        2 | 3 => {
            let behavior = input.choose(&[
                "Isolated",
                "Removed",
                "MergedWithPrevious",
                "MergedWithNext",
                "Contiguous",
            ])?;
            let pattern = match input.arbitrary::<bool>()? {
                true => json!({"Regex": input.choose(&PATTERNS)?}),
                false => json!({"String": odd_text(input)?}),
            };
            json!({"type": "Split", "pattern": pattern, "behavior": behavior,
                "invert": input.arbitrary::<bool>()?})
        }
        4 => json!({"type": "Digits", "individual_digits": input.arbitrary::<bool>()?}),
        5 => {
            json!({"type": "Metaspace", "replacement": odd_text(input)?,
                "prepend_scheme": input.choose(&["always", "first", "never"])?})
        }
        6 => {
            json!({"type": input.choose(&["Punctuation", "Whitespace", "WhitespaceSplit",
                "BertPreTokenizer"])?})
        }
        7 => json!({"type": "Sequence", "pretokenizers": several(input, 4, pre_tokenizer)?}),
        _ => Value::Null,
    })
}

fn decoder(input: &mut Unstructured) -> Result<Value> {
    Ok(match input.int_in_range(0..=8)? {
        0 | 1 => json!({"type": "ByteLevel"}),
        2 => json!({"type": "ByteFallback"}),
        3 => json!({"type": "Fuse"}),
        4 | 5 => {
            json!({"type": "Replace", "pattern": {"String": odd_text(input)?},
                "content": odd_text(input)?})
        }
        6 => {
            json!({"type": "Strip", "content": odd_text(input)?, "start": odd_number(input)?,
                "stop": odd_number(input)? % 2})
        }
        7 => {
            json!({"type": "Metaspace", "replacement": odd_text(input)?,
                "prepend_scheme": "always"})
        }
        _ => json!({"type": "Sequence", "decoders": several(input, 5, decoder)?}),
    })
}

fn post_processor(input: &mut Unstructured) -> Result<Value> {
    let piece = |input: &mut Unstructured| {
        Ok(match input.arbitrary::<bool>()? {
            true => json!({"SpecialToken": {"id": odd_text(input)?, "type_id": 0}}),
            false => json!({"Sequence": {"id": "A", "type_id": 0}}),
        })
    };
    let special = |input: &mut Unstructured| {
        let id = odd_text(input)?;
        let ids: Vec<u64> = (0..input.int_in_range(0..=40)?)
            .map(|_| Ok(odd_number(input)? % 400))
            .collect::<Result<_>>()?;
        Ok((id.clone(), json!({"id": id, "ids": ids, "tokens": [id]})))
    };
    let specials: Map<String, Value> =
        (0..input.int_in_range(0..=3)?).map(|_| special(input)).collect::<Result<_>>()?;
    let single: Vec<Value> =
        (0..input.int_in_range(0..=8)?).map(|_| piece(input)).collect::<Result<_>>()?;
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": [],
            "special_tokens": specials}))
}

fn added_token(input: &mut Unstructured) -> Result<Value> {
    let flags: u8 = input.arbitrary()?;
    let is = |bit: u8| flags >> bit & 1 == 1;
    Ok(json!({
        "id": odd_number(input)? % 400, "content": odd_text(input)?, "special": is(0),
            "single_word": is(1),
        "lstrip": is(2), "rstrip": is(3), "normalized": is(4),
    }))
}

/// Texts of tokens by id: bytes or characters first, then concatenations of two earlier ones.
fn tokens(input: &mut Unstructured) -> Result<(Vec<String>, Vec<[String; 2]>)> {
    let mut tokens: Vec<String> = match input.int_in_range(0..=3)? {
        0 => ["▁", "a", "b", "é", "東"].map(str::to_owned).into(),
        1 => (0..=255)
            .map(|byte: u8| format!("<0x{byte:02X}>"))
            .chain(["▁", "a", "<unk>"].map(str::to_owned))
            .collect(),
        _ => byte_letters().iter().map(char::to_string).collect(),
    };
    let mut merges = Vec::new();
    for _ in 0..input.int_in_range(0..=12)? {
        let pair = [input.choose(&tokens)?.clone(), input.choose(&tokens)?.clone()];
        if !input.ratio(1, 8)? {
            tokens.push(pair.concat());
        }
        merges.push(pair);
    }
    for _ in 0..input.int_in_range(0..=4)? {
        tokens.push(odd_text(input)?);
    }
    Ok((tokens, merges))
}

/// A `tokenizer.json`.
pub fn json(input: &mut Unstructured) -> Result<Value> {
    let (texts, merges) = tokens(input)?;
    let scored: Vec<Value> =
        texts.iter().enumerate().map(|(id, text)| json!([text, -(id as f64)])).collect();
    let mut vocab = Map::new();
    for (id, text) in texts.into_iter().enumerate() {
        vocab.entry(text).or_insert(json!(id));
    }
    let mut model = json!({
        "type": "BPE", "vocab": vocab, "merges": merges,
            "byte_fallback": input.arbitrary::<bool>()?,
        "unk_token": if input.ratio(1, 3)? { json!(odd_text(input)?) } else { Value::Null },
        "ignore_merges": input.arbitrary::<bool>()?, "fuse_unk": input.arbitrary::<bool>()?,
    });
    match input.int_in_range(0..=5)? {
        0 => model["type"] = json!("WordPiece"),
        1 => {
            model["type"] = json!("Unigram");
            model["vocab"] = json!(scored);
            model["unk_id"] = json!(odd_number(input)? % 400);
        }
        _ => {}
    }
    let mut whole =
        json!({"version": "1.0", "model": model, "added_tokens": several(input, 6, added_token)?});
    let parts: [(&str, fn(&mut Unstructured) -> Result<Value>); 4] = [
        ("pre_tokenizer", pre_tokenizer),
        ("decoder", decoder),
        ("normalizer", normalizer),
        ("post_processor", post_processor),
    ];
    for (name, part) in parts {
        if input.ratio(2, 3)? {
            whole[name] = part(input)?;
        }
    }
    Ok(whole)
}

/// The vocabulary of a GGUF file.
pub struct Vocabulary {
    pub model: &'static str,
    pub pre: &'static str,
    pub tokens: Vec<String>,
    pub types: Vec<i64>,
    pub scores: Vec<f32>,
    pub merges: Vec<String>,
}

/// Assembles a GGUF vocabulary.
pub fn gguf(input: &mut Unstructured) -> Result<Vocabulary> {
    const PRE: [&str; 15] = [
        "gpt-2",
        "llama-bpe",
        "smollm",
        "qwen2",
        "tekken",
        "default",
        "gemma",
        "deepseek-llm",
        "starcoder",
        "falcon",
        "x",
        "phi-2",
        "qwen35",
        "superbpe",
        "youtu",
    ];
    let (tokens, merges) = tokens(input)?;
    let number = |input: &mut Unstructured, most: u64| Ok(odd_number(input)? % most);
    let types = tokens
        .iter()
        .map(|_| Ok(if input.ratio(1, 9)? { number(input, 8)? as i64 } else { 1 }))
        .collect::<Result<_>>()?;
    let odd = [0.0, f32::NAN, f32::NEG_INFINITY, -1e30, 5.0];
    let scores = (0..tokens.len())
        .map(|id| Ok(if input.ratio(1, 9)? { *input.choose(&odd)? } else { -(id as f32) }))
        .collect::<Result<_>>()?;
    Ok(Vocabulary {
        model: input.choose(&["gpt2", "llama", "gpt2", "llama", "bert", "t5", "gemma4"])?,
        pre: input.choose(&PRE)?,
        tokens,
        types,
        scores,
        merges: merges.iter().map(|pair| pair.join(" ")).collect(),
    })
}
