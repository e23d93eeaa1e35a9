//! Pre-tokenizer patterns: how text is split into words, and which pattern the name of a GGUF
//! file's pre-tokenizer stands for. Names and patterns are those of llama.cpp (`llama-vocab.cpp`).

use std::ops::Range;

use bitcannon::classify::{classify, in_mask, mask};
use tokenizers::SplitDelimiterBehavior;
use tokenizers::pipeline::PipelinePreTokenizer;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::PipelineSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::utils::{DEEPSEEK_PATTERNS, Grammar, byte_level::GPT2_REGEX_STR};

use crate::error::{Error, Result, quoted};

/// GPT-4 (`cl100k_base`) and Llama 3: up to three digits together.
const LLAMA3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Qwen 2: as Llama 3, but single digits.
const QWEN2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// GPT-4o (`o200k_base`) and Llama 4: words split by case.
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Mistral Tekken: words split by case, single digits, no contractions.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// A pre-tokenizer of a GGUF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreTokenizerKind {
    /// llama.cpp's default for files without a name; no model was trained with it.
    Default,
    /// Runs of punctuation first, then GPT-2's pattern, then groups of three digits from the left.
    Falcon,
    Gpt2,
    /// Single digits first, then GPT-2's pattern.
    Digits,
    Llama3,
    /// Runs of digits first, then Llama 3's pattern.
    MiniCpm5,
    Qwen2,
    Gpt4o,
    Tekken,
    DeepSeek3,
}

/// A pre-tokenizer and the tokenizer settings that its name implies.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedPreTokenizer {
    pub(super) kind: PreTokenizerKind,
    /// A word that is a token is not merged from smaller symbols.
    pub(super) ignore_merges: bool,
    /// Default of `add_bos_token`.
    pub(super) add_bos: bool,
    names: &'static [&'static str],
}

const fn named(kind: PreTokenizerKind, names: &'static [&'static str]) -> NamedPreTokenizer {
    NamedPreTokenizer { kind, ignore_merges: false, add_bos: false, names }
}

const fn whole_words(
    kind: PreTokenizerKind,
    add_bos: bool,
    names: &'static [&'static str],
) -> NamedPreTokenizer {
    NamedPreTokenizer { kind, ignore_merges: true, add_bos, names }
}

const NAMED: &[NamedPreTokenizer] = &[
    named(PreTokenizerKind::Default, &["default"]),
    named(PreTokenizerKind::Falcon, &["falcon"]),
    named(
        PreTokenizerKind::Gpt2,
        &[
            "gpt-2",
            "gpt2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "roberta-bpe",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
            "exaone4",
        ],
    ),
    named(
        PreTokenizerKind::Digits,
        &[
            "smollm",
            "starcoder",
            "refact",
            "command-r",
            "codeshell",
            "exaone",
            "minerva-7b",
            "mellum2",
        ],
    ),
    whole_words(
        PreTokenizerKind::Llama3,
        true,
        &[
            "llama3",
            "llama-v3",
            "llama-bpe",
            "falcon3",
            "falcon-h1",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
    ),
    named(PreTokenizerKind::Llama3, &["dbrx", "smaug-bpe", "chatglm-bpe"]),
    whole_words(PreTokenizerKind::Llama3, false, &["glm4", "glm5"]),
    whole_words(PreTokenizerKind::MiniCpm5, false, &["minicpm5"]),
    named(
        PreTokenizerKind::Qwen2,
        &[
            "qwen2",
            "stablelm2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "hunyuan",
            "megrez",
            "solar-open",
            "grok-2",
        ],
    ),
    named(PreTokenizerKind::Gpt4o, &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"]),
    // Converters write `pixtral` for Tekken's vocabulary without a begin-of-sequence token, as in
    // Nemotron 3. llama.cpp splits it differently from the model's own tokenizer, which is
    // followed.
    whole_words(PreTokenizerKind::Tekken, true, &["tekken", "pixtral"]),
    named(PreTokenizerKind::DeepSeek3, &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"]),
];

/// Pre-tokenizer names by architecture, where all models of an architecture share one, for files
/// that name none.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("gpt2", "gpt-2"),
    ("phi2", "phi-2"),
    ("qwen2", "qwen2"),
    ("qwen2moe", "qwen2"),
    ("qwen3", "qwen2"),
];

/// Name of the pre-tokenizer that all models of the architecture use, if there is only one.
pub(super) fn name_for_architecture(architecture: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|known| known.0 == architecture).map(|known| known.1)
}

/// The pre-tokenizer called `name` in a GGUF file; `unsupported-format` for an unknown name.
pub(super) fn from_name(file: &str, field: &str, name: &str) -> Result<NamedPreTokenizer> {
    NAMED.iter().find(|named| named.names.contains(&name)).copied().ok_or_else(|| {
        let known: Vec<&str> = NAMED.iter().flat_map(|named| named.names).copied().collect();
        let expected = format!("one of {}", known.join(", "));
        Error::unsupported_value(file, field, format!("pre-tokenizer {}", quoted(name)), expected)
    })
}

impl PreTokenizerKind {
    /// Splitters of the `tokenizers` crate for this kind. The caller applies
    /// [`PreTokenizerKind::isolated_punctuation`] before and
    /// [`PreTokenizerKind::group_digits`] after them.
    pub(super) fn splitter(self, file: &str, field: &str) -> Result<PipelinePreTokenizer> {
        let digits = |single| PipelinePreTokenizer::Digits(Digits::new(single));
        let steps = match self {
            PreTokenizerKind::Default => vec![pattern(file, field, GPT2_REGEX_STR)?, digits(false)],
            PreTokenizerKind::Falcon | PreTokenizerKind::Gpt2 => {
                vec![pattern(file, field, GPT2_REGEX_STR)?]
            }
            PreTokenizerKind::Digits => vec![digits(true), pattern(file, field, GPT2_REGEX_STR)?],
            PreTokenizerKind::Llama3 => vec![pattern(file, field, LLAMA3)?],
            PreTokenizerKind::MiniCpm5 => vec![digits(false), pattern(file, field, LLAMA3)?],
            PreTokenizerKind::Qwen2 => vec![pattern(file, field, QWEN2)?],
            PreTokenizerKind::Gpt4o => vec![pattern(file, field, GPT4O)?],
            PreTokenizerKind::Tekken => vec![pattern(file, field, TEKKEN)?],
            PreTokenizerKind::DeepSeek3 => {
                let patterns =
                    DEEPSEEK_PATTERNS.into_iter().map(|regex| native(file, field, regex));
                patterns
                    .map(|split| split.map(PipelinePreTokenizer::Split))
                    .collect::<Result<_>>()?
            }
        };
        Ok(sequence(steps))
    }

    /// Class of characters whose runs are words by themselves, split off first.
    pub(super) fn isolated_punctuation(self) -> Option<fn(char) -> bool> {
        match self {
            PreTokenizerKind::Default => {
                Some(|character| character != '`' && is_of(character, mask::PUNCT))
            }
            PreTokenizerKind::Falcon => Some(|character| is_of(character, mask::PUNCT)),
            _ => None,
        }
    }

    /// Splits a word around groups of three ASCII digits, counted from the left of each run, and
    /// appends the parts to `words`.
    pub(super) fn group_digits(
        self,
        text: &str,
        word: Range<usize>,
        words: &mut Vec<Range<usize>>,
    ) {
        let (mut done, mut digits) = (word.start, 0);
        let bytes = text.as_bytes().get(word.clone()).unwrap_or(&[]);
        for (at, byte) in (word.start..).zip(bytes) {
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            if digits == 3 {
                let start = at + 1 - digits;
                if start > done {
                    words.push(done..start);
                }
                words.push(start..at + 1);
                (done, digits) = (at + 1, 0);
            }
        }
        if done < word.end {
            words.push(done..word.end);
        }
    }
}

/// True for word characters, in the sense of `\w`.
pub(super) fn is_in_word(character: char) -> bool {
    is_of(character, mask::WORD)
}

fn is_of(character: char, classes: u16) -> bool {
    let mut tags = [0; 4];
    classify(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut tags);
    in_mask(tags[0], classes)
}

fn native(file: &str, field: &str, regex: &str) -> Result<Split> {
    Split::native(SplitPattern::Regex(regex.to_owned()), SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| Error::unsupported(file, field, format!("split pattern: {error}")))
}

/// Splitter for a known pattern; `unsupported-format` for others, because the browser build has no
/// regular expression engine.
pub(super) fn pattern(file: &str, field: &str, regex: &str) -> Result<PipelinePreTokenizer> {
    let split = native(file, field, regex)?;
    match split.grammar() {
        // The crate's splitter for this family ignores digit counts other than one and three.
        Some(Grammar::Cl100k { digit_cap }) if digit_cap != 1 && digit_cap != 3 => {}
        Some(_) => return Ok(PipelinePreTokenizer::Split(split)),
        None => {}
    }
    let found = format!("split pattern {}", quoted(regex));
    let expected = "that of GPT-2, Llama 3, Qwen 2, GPT-4o, Tekken or Kimi";
    Err(Error::unsupported_value(file, field, found, expected))
}

/// Combines splitters that are applied in order.
pub(super) fn sequence(mut steps: Vec<PipelinePreTokenizer>) -> PipelinePreTokenizer {
    match steps.len() {
        0 => PipelinePreTokenizer::None,
        1 => steps.remove(0),
        _ => PipelinePreTokenizer::Sequence(PipelineSequence::new(steps)),
    }
}
