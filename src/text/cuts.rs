//! How text is cut into words: the patterns that are known, and those that the names of a GGUF file's
//! pre-tokenizers stand for. Names and cuts are llama.cpp's.

use std::ops::Range;

use bitcannon::classify::{classify, in_mask, mask};
use tokenizers::SplitDelimiterBehavior;
use tokenizers::pipeline::PipelinePreTokenizer;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::PipelineSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::utils::{DEEPSEEK_PATTERNS, Grammar, byte_level::GPT2_REGEX_STR};

use super::split::unsupported;
use crate::error::Result;

/// The split pattern of GPT-4 and Llama 3: up to three digits together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits: Qwen.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o and Llama 4: letters by case.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral: letters by case, single digits, no contractions.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// A way to cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// llama.cpp's for files that name none: no model was trained with it.
    Default,
    /// Runs of punctuation first, then GPT-2's, then groups of three digits from the left.
    Falcon,
    Gpt2,
    /// Single digits first, then GPT-2's.
    Digits,
    Llama3,
    /// Runs of digits first, then Llama 3's.
    MiniCpm5,
    Qwen2,
    Gpt4o,
    Tekken,
    DeepSeek3,
}

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) cut: Cut,
    /// A word that is a token is taken as it is, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether such files start a text with the begin token when they do not say.
    pub(super) add_bos: bool,
    names: &'static [&'static str],
}

const fn named(cut: Cut, names: &'static [&'static str]) -> Named {
    Named { cut, ignore_merges: false, add_bos: false, names }
}

const fn whole_words(cut: Cut, add_bos: bool, names: &'static [&'static str]) -> Named {
    Named { cut, ignore_merges: true, add_bos, names }
}

const NAMED: &[Named] = &[
    named(Cut::Default, &["default"]),
    named(Cut::Falcon, &["falcon"]),
    named(
        Cut::Gpt2,
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
        Cut::Digits,
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
        Cut::Llama3,
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
    named(Cut::Llama3, &["dbrx", "smaug-bpe", "chatglm-bpe"]),
    whole_words(Cut::Llama3, false, &["glm4", "glm5"]),
    whole_words(Cut::MiniCpm5, false, &["minicpm5"]),
    named(
        Cut::Qwen2,
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
    named(Cut::Gpt4o, &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"]),
    // `pixtral` is what converters call Tekken's vocabulary when no begin token is put before a text:
    // Nemotron 3's files say so. ARCHITECTURE.md has why it is not cut as llama.cpp cuts it.
    whole_words(Cut::Tekken, true, &["tekken", "pixtral"]),
    named(Cut::DeepSeek3, &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"]),
];

/// The cut that every model of an architecture was trained with, for files that name none.
const ARCHITECTURES: &[(&str, &str)] = &[
    ("gpt2", "gpt-2"),
    ("phi2", "phi-2"),
    ("qwen2", "qwen2"),
    ("qwen2moe", "qwen2"),
    ("qwen3", "qwen2"),
];

/// The name that a file of this architecture would give its pre-tokenizer, if there is only one.
pub(super) fn of_architecture(architecture: &str) -> Option<&'static str> {
    ARCHITECTURES.iter().find(|known| known.0 == architecture).map(|known| known.1)
}

/// What a GGUF file means by `name`; an unknown one is `unsupported-format`.
pub(super) fn of_name(file: &str, field: &str, name: &str) -> Result<Named> {
    NAMED.iter().find(|named| named.names.contains(&name)).copied().ok_or_else(|| {
        let known: Vec<&str> = NAMED.iter().flat_map(|named| named.names).copied().collect();
        let message = format!("pre-tokenizer `{name}`, expected one of {}", known.join(", "));
        unsupported(file, field, message)
    })
}

impl Cut {
    /// The crate's splitters for it; [`Cut::punctuation`] and [`Cut::thirds`] are for it to do besides.
    pub(super) fn splitter(self, file: &str, field: &str) -> Result<PipelinePreTokenizer> {
        let digits = |single| PipelinePreTokenizer::Digits(Digits::new(single));
        let steps = match self {
            Cut::Default => vec![pattern(file, field, GPT2_REGEX_STR)?, digits(false)],
            Cut::Falcon | Cut::Gpt2 => vec![pattern(file, field, GPT2_REGEX_STR)?],
            Cut::Digits => vec![digits(true), pattern(file, field, GPT2_REGEX_STR)?],
            Cut::Llama3 => vec![pattern(file, field, LLAMA3)?],
            Cut::MiniCpm5 => vec![digits(false), pattern(file, field, LLAMA3)?],
            Cut::Qwen2 => vec![pattern(file, field, QWEN2)?],
            Cut::Gpt4o => vec![pattern(file, field, GPT4O)?],
            Cut::Tekken => vec![pattern(file, field, TEKKEN)?],
            Cut::DeepSeek3 => {
                let patterns =
                    DEEPSEEK_PATTERNS.into_iter().map(|regex| native(file, field, regex));
                patterns
                    .map(|split| split.map(PipelinePreTokenizer::Split))
                    .collect::<Result<_>>()?
            }
        };
        Ok(sequence(steps))
    }

    /// Whether a run of this character is a word by itself, cut before anything else.
    pub(super) fn punctuation(self) -> Option<fn(char) -> bool> {
        match self {
            Cut::Default => Some(|character| character != '`' && is_of(character, mask::PUNCT)),
            Cut::Falcon => Some(|character| is_of(character, mask::PUNCT)),
            _ => None,
        }
    }

    /// The word cut once more, where digits stand in groups of three; the others lie between.
    pub(super) fn thirds(self, text: &str, word: Range<usize>, words: &mut Vec<Range<usize>>) {
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

/// Whether a character is part of a word, in the sense of `\w`.
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
        .map_err(|error| unsupported(file, field, format!("split pattern: {error}")))
}

/// A splitter for a known pattern.
pub(super) fn pattern(file: &str, field: &str, regex: &str) -> Result<PipelinePreTokenizer> {
    let split = native(file, field, regex)?;
    match split.grammar() {
        // The crate's splitter for this family knows one digit and three, whatever the pattern says.
        Some(Grammar::Cl100k { digit_cap }) if digit_cap != 1 && digit_cap != 3 => {}
        Some(_) => return Ok(PipelinePreTokenizer::Split(split)),
        None => {}
    }
    let regex: String = regex.chars().take(200).collect();
    Err(unsupported(
        file,
        field,
        format!(
            "split pattern `{regex}`, expected that of GPT-2, Llama 3, Qwen 2, GPT-4o, Tekken or Kimi"
        ),
    ))
}

/// One splitter of several.
pub(super) fn sequence(mut steps: Vec<PipelinePreTokenizer>) -> PipelinePreTokenizer {
    match steps.len() {
        0 => PipelinePreTokenizer::None,
        1 => steps.remove(0),
        _ => PipelinePreTokenizer::Sequence(PipelineSequence::new(steps)),
    }
}
