//! What happens to a text before it is merged: normalisation, and the cut into words.
//!
//! Both are the `tokenizers` crate's, chosen here from what a file names. A split pattern is one
//! of the known ones, for which the crate has an exact splitter, or plain text: there is no
//! regular-expression engine in the browser build. What is not known is `unsupported-format`.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;
use tokenizers::SplitDelimiterBehavior;
use tokenizers::normalizers::metaspace::{MetaspaceNormalizer, PrependBehavior};
use tokenizers::normalizers::prepend::Prepend;
use tokenizers::normalizers::replace::Replace;
use tokenizers::normalizers::strip::Strip;
use tokenizers::normalizers::unicode::{NFC, NFD, NFKC, NFKD};
use tokenizers::normalizers::utils::Lowercase;
use tokenizers::pipeline::{
    PipelineNormalizer, PipelinePreTokenizer, PreTokenizer, PreTokenizerScratch, Span, normalize_all,
};
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::PipelineSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::{Whitespace, WhitespaceSplit};
use tokenizers::utils::{Grammar, byte_level::GPT2_REGEX_STR};

use crate::error::{Code, Error, Result};

/// Most nested or listed components of one kind in a file.
const MAX_COMPONENTS: usize = 16;
/// How much longer normalisation may make a text, all steps together.
const MAX_GROWTH: usize = 64;

/// The split pattern of GPT-4 and Llama 3: up to three digits together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same with single digits: Qwen.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o and Llama 4: letters by case.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral: letters by case, single digits, no contractions.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Normalisation and cut of one tokenizer.
#[derive(Debug)]
pub(super) struct Splitter {
    normalizers: Vec<PipelineNormalizer>,
    pre_tokenizer: PipelinePreTokenizer,
    /// The vocabulary is spelt in the byte-level alphabet.
    pub(super) byte_level: bool,
    /// A space is put before a text that starts without one.
    prefix_space: bool,
}

/// Working memory of the cut, kept between texts.
#[derive(Default)]
pub(super) struct SplitScratch {
    inner: PreTokenizerScratch,
    spans: Vec<Span>,
}

/// What the name of a GGUF pre-tokenizer stands for.
pub(super) struct NamedSplit {
    pub(super) splitter: Splitter,
    pub(super) ignore_merges: bool,
    /// Whether such files start a text with the begin token when they do not say.
    pub(super) add_bos: bool,
}

const GPT2_NAMES: &[&str] = &[
    "default",
    "gpt-2",
    "gpt2",
    "phi-2",
    "jina-es",
    "jina-de",
    "gigachat",
    "roberta-bpe",
    "mpt",
    "olmo",
    "jais",
    "trillion",
    "granite-docling",
    "exaone4",
];
const DIGIT_NAMES: &[&str] =
    &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"];
const LLAMA3_NAMES: &[&str] =
    &["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "midm-2.0", "lfm2"];
const LLAMA3_MERGED_NAMES: &[&str] = &["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"];
const QWEN2_NAMES: &[&str] = &["qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan", "megrez"];
const GPT4O_NAMES: &[&str] = &["gpt-4o", "llama4"];
// `pixtral` is what converters call Tekken's vocabulary when no begin token is put before a text:
// Nemotron 3's files say so. ARCHITECTURE.md has why it is not cut as llama.cpp cuts it.
const TEKKEN_NAMES: &[&str] = &["tekken", "pixtral"];

impl Splitter {
    /// The splitter a GGUF file names in `tokenizer.ggml.pre`; an unknown name is
    /// `unsupported-format`.
    pub(super) fn named(file: &str, field: &str, name: &str) -> Result<NamedSplit> {
        let digits = || PipelinePreTokenizer::Digits(Digits::new(true));
        let known = |names: &[&str]| names.contains(&name);
        let (steps, ignore_merges, add_bos) = if known(GPT2_NAMES) {
            (vec![pattern(file, field, GPT2_REGEX_STR)?], false, false)
        } else if known(DIGIT_NAMES) {
            (vec![digits(), pattern(file, field, GPT2_REGEX_STR)?], false, false)
        } else if known(LLAMA3_NAMES) {
            (vec![pattern(file, field, LLAMA3)?], true, true)
        } else if known(LLAMA3_MERGED_NAMES) {
            (vec![pattern(file, field, LLAMA3)?], false, false)
        } else if known(QWEN2_NAMES) {
            (vec![pattern(file, field, QWEN2)?], false, false)
        } else if known(GPT4O_NAMES) {
            (vec![pattern(file, field, GPT4O)?], false, false)
        } else if known(TEKKEN_NAMES) {
            (vec![pattern(file, field, TEKKEN)?], true, true)
        } else {
            let names = [
                GPT2_NAMES,
                DIGIT_NAMES,
                LLAMA3_NAMES,
                LLAMA3_MERGED_NAMES,
                QWEN2_NAMES,
                GPT4O_NAMES,
                TEKKEN_NAMES,
            ];
            let message = format!("pre-tokenizer `{name}`, expected one of {}", names.concat().join(", "));
            return Err(unsupported(file, field, message));
        };
        let splitter = Self {
            normalizers: Vec::new(),
            pre_tokenizer: sequence(steps),
            byte_level: true,
            prefix_space: false,
        };
        Ok(NamedSplit { splitter, ignore_merges, add_bos })
    }

    /// The escape of SentencePiece: spaces become `▁`, and with `prefix` one is put in front.
    pub(super) fn sentencepiece(file: &str, prefix: bool) -> Result<Self> {
        let mut normalizers = Vec::new();
        if prefix {
            normalizers.push(PipelineNormalizer::Prepend(Prepend::new("▁".to_owned())));
        }
        normalizers.push(replace(file, "tokenizer.ggml.model", " ", "▁")?);
        let pre_tokenizer = PipelinePreTokenizer::None;
        Ok(Self { normalizers, pre_tokenizer, byte_level: false, prefix_space: false })
    }

    /// From the `normalizer` and `pre_tokenizer` of a `tokenizer.json`; a component or pattern
    /// that is not known here is `unsupported-format`.
    pub(super) fn from_json(
        file: &str,
        normalizer: Option<&Value>,
        pre_tokenizer: Option<&Value>,
    ) -> Result<Self> {
        let mut reader = Reader { file, normalizers: Vec::new(), byte_level: false, prefix_space: false };
        if let Some(value) = normalizer {
            reader.normalizer(value, 0)?;
        }
        let mut steps = Vec::new();
        if let Some(value) = pre_tokenizer {
            reader.pre_tokenizer(value, 0, &mut steps)?;
        }
        let Reader { normalizers, byte_level, prefix_space, .. } = reader;
        if prefix_space && steps.len() > 1 {
            let message = "ByteLevel with add_prefix_space after another step";
            return Err(unsupported(file, "pre_tokenizer", message));
        }
        Ok(Self { normalizers, pre_tokenizer: sequence(steps), byte_level, prefix_space })
    }

    /// The text as the vocabulary spells it; `offset` is where it starts in the whole.
    pub(super) fn normalise<'a>(&self, text: &'a str, offset: usize) -> Result<Cow<'a, str>> {
        let text = normalize_all(&self.normalizers, text, offset)
            .map_err(|error| Error::internal(format!("normalising a text: {error}")))?;
        if self.prefix_space && !text.starts_with(char::is_whitespace) {
            return Ok(Cow::Owned(format!(" {text}")));
        }
        Ok(text)
    }

    /// The words of a normalised text, in order.
    pub(super) fn words(&self, text: &str, scratch: &mut SplitScratch) -> Result<Vec<Range<usize>>> {
        scratch.spans.clear();
        self.pre_tokenizer
            .pre_tokenize(text, &mut scratch.inner, &mut scratch.spans)
            .map_err(|error| Error::internal(format!("splitting a text: {error}")))?;
        Ok(scratch.spans.iter().map(|span| span.start as usize..span.end as usize).collect())
    }
}

/// What has been read of a file's components so far.
struct Reader<'a> {
    file: &'a str,
    normalizers: Vec<PipelineNormalizer>,
    byte_level: bool,
    prefix_space: bool,
}

impl Reader<'_> {
    fn normalizer(&mut self, value: &Value, depth: usize) -> Result<()> {
        let field = "normalizer";
        if value.is_null() {
            return Ok(());
        }
        self.limit(field, depth.max(self.normalizers.len()))?;
        let text = |key: &str| self.text(value, field, key);
        let step = match kind(value) {
            "Sequence" => {
                for member in members(value, "normalizers") {
                    self.normalizer(member, depth + 1)?;
                }
                return Ok(());
            }
            "Prepend" => {
                PipelineNormalizer::Prepend(Prepend::new(short(self.file, field, text("prepend")?)?))
            }
            "Replace" => {
                let pattern = value.get("pattern").and_then(|pattern| pattern.get("String"));
                let Some(from) = pattern.and_then(Value::as_str) else {
                    let message = format!("Replace with the pattern {}, expected plain text", shown(value));
                    return Err(unsupported(self.file, field, message));
                };
                let to = short(self.file, field, text("content")?)?;
                replace(self.file, field, from, &to)?
            }
            "NFC" => PipelineNormalizer::NFC(NFC),
            "NFD" => PipelineNormalizer::NFD(NFD),
            "NFKC" => PipelineNormalizer::NFKC(NFKC),
            "NFKD" => PipelineNormalizer::NFKD(NFKD),
            "Lowercase" => PipelineNormalizer::Lowercase(Lowercase),
            "Strip" => PipelineNormalizer::Strip(Strip::new(
                flag(value, "strip_left").unwrap_or(true),
                flag(value, "strip_right").unwrap_or(true),
            )),
            other => {
                let known = "Sequence, Prepend, Replace, NFC, NFD, NFKC, NFKD, Lowercase, Strip";
                return Err(unsupported(self.file, field, format!("`{other}`, expected one of {known}")));
            }
        };
        self.normalizers.push(step);
        self.check_growth(field)
    }

    /// Refuses a chain of replacements that would multiply a text.
    fn check_growth(&self, field: &str) -> Result<()> {
        let growth = self.normalizers.iter().fold(1usize, |growth, step| match step {
            PipelineNormalizer::Replace(step) => growth.saturating_mul(step.content.len().max(1)),
            PipelineNormalizer::NFKC(_) | PipelineNormalizer::NFKD(_) => growth.saturating_mul(2),
            _ => growth,
        });
        if growth > MAX_GROWTH {
            let message = format!("may make a text {growth} times as long, expected at most {MAX_GROWTH}");
            return Err(unsupported(self.file, field, message));
        }
        Ok(())
    }

    fn pre_tokenizer(
        &mut self,
        value: &Value,
        depth: usize,
        steps: &mut Vec<PipelinePreTokenizer>,
    ) -> Result<()> {
        let field = "pre_tokenizer";
        if value.is_null() {
            return Ok(());
        }
        self.limit(field, depth.max(steps.len()))?;
        if self.byte_level {
            return Err(unsupported(self.file, field, "a step after ByteLevel, expected it to be the last"));
        }
        match kind(value) {
            "Sequence" => {
                for member in members(value, "pretokenizers") {
                    self.pre_tokenizer(member, depth + 1, steps)?;
                }
            }
            "ByteLevel" => {
                self.byte_level = true;
                self.prefix_space = flag(value, "add_prefix_space").unwrap_or(false);
                if flag(value, "use_regex").unwrap_or(true) {
                    steps.push(pattern(self.file, field, GPT2_REGEX_STR)?);
                }
            }
            "Split" => steps.push(self.split(value)?),
            "Metaspace" => self.metaspace(value, steps)?,
            "Digits" => {
                let individual = flag(value, "individual_digits").unwrap_or(false);
                steps.push(PipelinePreTokenizer::Digits(Digits::new(individual)));
            }
            "Punctuation" => {
                let behavior = self.behavior(value)?;
                steps.push(PipelinePreTokenizer::Punctuation(Punctuation::new(behavior)));
            }
            "Whitespace" => steps.push(PipelinePreTokenizer::Whitespace(Whitespace)),
            "WhitespaceSplit" => steps.push(PipelinePreTokenizer::WhitespaceSplit(WhitespaceSplit)),
            other => {
                let known = "Sequence, ByteLevel, Split, Metaspace, Digits, Punctuation, Whitespace";
                return Err(unsupported(self.file, field, format!("`{other}`, expected one of {known}")));
            }
        }
        Ok(())
    }

    fn split(&self, value: &Value) -> Result<PipelinePreTokenizer> {
        let field = "pre_tokenizer";
        let behavior = self.behavior(value)?;
        let invert = flag(value, "invert").unwrap_or(false);
        let source = value.get("pattern");
        if let Some(regex) = source.and_then(|source| source.get("Regex")).and_then(Value::as_str) {
            // These patterns cover every text, so removing what lies between is isolating them.
            let covers = (behavior == SplitDelimiterBehavior::Isolated && !invert)
                || (behavior == SplitDelimiterBehavior::Removed && invert);
            if !covers {
                let message =
                    format!("Split by a pattern with the behaviour {behavior:?}, expected Isolated");
                return Err(unsupported(self.file, field, message));
            }
            return pattern(self.file, field, regex);
        }
        let text = source.and_then(|source| source.get("String")).and_then(Value::as_str);
        match text {
            Some(text) if !text.is_empty() => {
                Split::native(SplitPattern::String(text.to_owned()), behavior, invert)
                    .map(PipelinePreTokenizer::Split)
                    .map_err(|error| unsupported(self.file, field, format!("Split: {error}")))
            }
            _ => {
                let message = format!("Split pattern {}, expected a text or a known pattern", shown(value));
                Err(Error::malformed(self.file, field, message))
            }
        }
    }

    /// Metaspace is an escape and a cut before each escaped space.
    fn metaspace(&mut self, value: &Value, steps: &mut Vec<PipelinePreTokenizer>) -> Result<()> {
        let field = "pre_tokenizer";
        let replacement = value.get("replacement").and_then(Value::as_str).unwrap_or("▁");
        let mut characters = replacement.chars();
        let (Some(mark), None) = (characters.next(), characters.next()) else {
            let message = format!("Metaspace replacement `{replacement}`, expected one character");
            return Err(Error::malformed(self.file, field, message));
        };
        if !steps.is_empty() {
            return Err(unsupported(self.file, field, "Metaspace after another step, expected it alone"));
        }
        let declared = value.get("prepend_scheme").and_then(Value::as_str);
        let prepend = match (declared, flag(value, "add_prefix_space")) {
            (Some("never"), _) | (None, Some(false)) => PrependBehavior::Never,
            (Some("first"), _) => PrependBehavior::First,
            (Some("always") | None, _) => PrependBehavior::Always,
            (Some(other), _) => {
                let message = format!("prepend_scheme `{other}`, expected always, first or never");
                return Err(Error::malformed(self.file, field, message));
            }
        };
        self.normalizers.push(PipelineNormalizer::Metaspace(MetaspaceNormalizer::new(mark, prepend, false)));
        if flag(value, "split").unwrap_or(true) {
            let before = SplitDelimiterBehavior::MergedWithNext;
            let split = Split::native(SplitPattern::String(replacement.to_owned()), before, false)
                .map_err(|error| unsupported(self.file, field, format!("Metaspace: {error}")))?;
            steps.push(PipelinePreTokenizer::Split(split));
        }
        Ok(())
    }

    fn behavior(&self, value: &Value) -> Result<SplitDelimiterBehavior> {
        match value.get("behavior").and_then(Value::as_str).unwrap_or("Isolated") {
            "Removed" => Ok(SplitDelimiterBehavior::Removed),
            "Isolated" => Ok(SplitDelimiterBehavior::Isolated),
            "MergedWithPrevious" => Ok(SplitDelimiterBehavior::MergedWithPrevious),
            "MergedWithNext" => Ok(SplitDelimiterBehavior::MergedWithNext),
            "Contiguous" => Ok(SplitDelimiterBehavior::Contiguous),
            other => Err(unsupported(self.file, "pre_tokenizer", format!("behaviour `{other}`"))),
        }
    }

    fn text(&self, value: &Value, field: &str, key: &str) -> Result<String> {
        value.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(|| {
            Error::malformed(self.file, field, format!("`{}` has no text in `{key}`", kind(value)))
        })
    }

    fn limit(&self, field: &str, count: usize) -> Result<()> {
        if count < MAX_COMPONENTS {
            return Ok(());
        }
        Err(unsupported(self.file, field, format!("more than {MAX_COMPONENTS} steps or levels")))
    }
}

/// A splitter for a known pattern.
fn pattern(file: &str, field: &str, regex: &str) -> Result<PipelinePreTokenizer> {
    let source = SplitPattern::Regex(regex.to_owned());
    let split = Split::native(source, SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| unsupported(file, field, format!("split pattern: {error}")))?;
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
        format!("split pattern `{regex}`, expected that of GPT-2, Llama 3, Qwen 2, GPT-4o, Tekken or Kimi"),
    ))
}

fn replace(file: &str, field: &str, from: &str, to: &str) -> Result<PipelineNormalizer> {
    if from.is_empty() {
        return Err(Error::malformed(file, field, "Replace with an empty pattern"));
    }
    let step =
        Replace::new(from, to).map_err(|error| unsupported(file, field, format!("Replace: {error}")))?;
    Ok(PipelineNormalizer::Replace(step))
}

fn sequence(mut steps: Vec<PipelinePreTokenizer>) -> PipelinePreTokenizer {
    match steps.len() {
        0 => PipelinePreTokenizer::None,
        1 => steps.remove(0),
        _ => PipelinePreTokenizer::Sequence(PipelineSequence::new(steps)),
    }
}

/// Refuses a text that is put into every other text if it is long.
fn short(file: &str, field: &str, text: String) -> Result<String> {
    if text.len() <= MAX_GROWTH {
        return Ok(text);
    }
    let found = text.len();
    Err(unsupported(file, field, format!("a text of {found} bytes, expected at most {MAX_GROWTH}")))
}

/// The `type` of a component; empty when it names none.
pub(super) fn kind(value: &Value) -> &str {
    value.get("type").and_then(Value::as_str).unwrap_or("")
}

/// The members a sequence lists under `key`.
pub(super) fn members<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A boolean that may be missing.
pub(super) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}

/// `unsupported-format`, naming file and field.
pub(super) fn unsupported(file: &str, field: &str, message: impl std::fmt::Display) -> Error {
    Error::new(Code::UnsupportedFormat, format!("{file}: {field}: {message}"))
}

/// A value cut short for a message.
fn shown(value: &Value) -> String {
    value
        .get("pattern")
        .map_or_else(|| "none".to_owned(), |found| found.to_string().chars().take(200).collect())
}
