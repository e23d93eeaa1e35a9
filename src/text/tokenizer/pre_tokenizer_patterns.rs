//! Pre-tokenizer patterns: how text is split into words, and which patterns the name of a GGUF
//! file's pre-tokenizer stands for. Names and patterns are those of llama.cpp (`llama-vocab.cpp`).

use bitcannon::classify::{classify, in_mask, mask};
use tokenizers::SplitDelimiterBehavior;
use tokenizers::pipeline::PipelinePreTokenizer;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern as NativePattern};
use tokenizers::utils::{DEEPSEEK_PATTERNS, Grammar, byte_level::GPT2_REGEX_STR};

use super::char_set::CharSet;
use super::split_pattern::SplitPattern;
use super::splitter::Splitter;
use crate::error::{Error, Result, quoted};

/// Single digits, and runs of digits.
const DIGIT: &str = r"\p{N}";
const DIGITS: &str = r"\p{N}+";
/// Digits in groups of three from the right: what Tekken's later pattern has in place of `\p{N}`.
const DIGIT_GROUPS: &str = r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|\p{N}{1,2}";
/// Cuts before each group of three digits, counted from the right.
const GROUP_STARTS: &str = r"(?=(\d{3})+(?!\d))";
const ASCII_DIGIT_TRIPLES: &str = "[0-9][0-9][0-9]";
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

/// Later Tekken: digits in groups of three from the right.
const TEKKEN_GROUPS: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|",
    r"\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))|\p{N}{1,2}|",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Qwen 3.5: as Qwen 2, but letters include marks.
const QWEN35: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}|",
    r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Seed-Coder: as Qwen 2, but line breaks are not part of a run of punctuation.
const SEED_CODER: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}|",
    r" ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Youtu: runs of East Asian characters, then GPT-4o's pattern with single digits.
const YOUTU: [&str; 2] = [
    "[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+",
    concat!(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
        r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
];
/// Kimi K2: as GPT-4o, with runs of Han characters.
const KIMI_K2: &str = concat!(
    r"[\p{Han}]+|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+",
    r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);
/// Ling: as Qwen 2, with possessive repetitions and single line breaks.
const LING: &str = concat!(
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}|",
    r" ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
);
/// Punctuation and ASCII symbols, which Falcon and llama.cpp's default split off first.
const FALCON_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|`]+";
const DEFAULT_PUNCTUATION: &str = r"[\p{P}\$\+<=>\^~\|]+";
const LINE_BREAK: &str = r"[\r\n]";
const CJK: &str = "[一-龥ࠀ-一가-퟿]+";
const DEEPSEEK_CODER: &[&str] = &[LINE_BREAK, r"\s?\p{L}+", r"\s?\p{P}+", CJK, DIGIT];
const DEEPSEEK_TEXT: &[&str] = &[
    LINE_BREAK,
    concat!(
        r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚ",
        "Ḁ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u{1f7d}ᾀ-ᾴᾶ-ᾼ\u{1fbe}ῂ-ῄῆ-ῌῐ-\u{1fd3}ῖ-\u{1fdb}ῠ-Ῥῲ-ῴῶ-ῼ",
        "ℂℇℊ-ℓℕℙ-ℝℤ\u{2126}ℨ\u{212a}-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄ",
        "Ⰰ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ",
        "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+"
    ),
    r"\s?[!-/:-~！-／：-～‘-‟　-。]+",
    r"\s+$",
    CJK,
    DIGITS,
];

/// A pre-tokenizer and the tokenizer settings that its name implies.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedPreTokenizer {
    /// Regular expressions, each of which splits the words of those before.
    pub(super) patterns: &'static [&'static str],
    /// A word that is a token is not merged from smaller symbols.
    pub(super) ignore_merges: bool,
    /// Default of `add_bos_token`.
    pub(super) add_bos: bool,
    names: &'static [&'static str],
}

const fn named(
    patterns: &'static [&'static str],
    names: &'static [&'static str],
) -> NamedPreTokenizer {
    NamedPreTokenizer { patterns, ignore_merges: false, add_bos: false, names }
}

const fn whole_words(
    patterns: &'static [&'static str],
    add_bos: bool,
    names: &'static [&'static str],
) -> NamedPreTokenizer {
    NamedPreTokenizer { patterns, ignore_merges: true, add_bos, names }
}

const NAMED: &[NamedPreTokenizer] = &[
    named(&[DEFAULT_PUNCTUATION, GPT2_REGEX_STR, DIGITS, ASCII_DIGIT_TRIPLES], &["default"]),
    named(&[FALCON_PUNCTUATION, GPT2_REGEX_STR, ASCII_DIGIT_TRIPLES], &["falcon"]),
    named(
        &[GPT2_REGEX_STR],
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
        &[DIGIT, GPT2_REGEX_STR],
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
        &[LLAMA3],
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
    named(&[LLAMA3], &["dbrx", "smaug-bpe", "chatglm-bpe"]),
    whole_words(&[LLAMA3], false, &["glm4", "glm5"]),
    whole_words(&[DIGITS, LLAMA3], false, &["minicpm5"]),
    named(
        &[QWEN2],
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
    named(&[GPT4O], &["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"]),
    // Converters write `pixtral` for Tekken's vocabulary without a begin-of-sequence token, as in
    // Nemotron 3. llama.cpp splits it differently from the model's own tokenizer, which is
    // followed.
    whole_words(&[TEKKEN], true, &["tekken", "pixtral"]),
    whole_words(&[TEKKEN_GROUPS], true, &["tekken-num3"]),
    named(&[QWEN35], &["qwen35"]),
    named(&[LING], &["bailingmoe", "bailingmoe2", "llada-moe"]),
    named(&[SEED_CODER], &["seed-coder"]),
    named(&[KIMI_K2], &["kimi-k2"]),
    named(&[DIGITS, GROUP_STARTS], &["superbpe"]),
    named(DEEPSEEK_TEXT, &["deepseek-llm"]),
    named(DEEPSEEK_CODER, &["deepseek-coder"]),
    whole_words(&YOUTU, false, &["youtu"]),
    named(&DEEPSEEK_PATTERNS, &["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"]),
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

/// True for word characters, in the sense of `\w`.
pub(super) fn is_in_word(character: char) -> bool {
    let mut tags = [0; 4];
    classify(character.encode_utf8(&mut [0; 4]).as_bytes(), &mut tags);
    in_mask(tags[0], mask::WORD)
}

/// Splitters for regular expressions that are applied in order; `unsupported-format` as for
/// [`splitters`].
pub(super) fn splitters_in_order(
    file: &str,
    field: &str,
    patterns: &[&str],
) -> Result<Vec<Splitter>> {
    if patterns == DEEPSEEK_PATTERNS {
        // The crate splits by these three at once.
        let native = patterns.iter().map(|regex| native(file, field, regex));
        let splits = native.map(|split| split.map(PipelinePreTokenizer::Split));
        return Ok(vec![Splitter::sequence(splits.collect::<Result<_>>()?)]);
    }
    let mut steps = Vec::new();
    for regex in patterns {
        steps.extend(splitters(file, field, regex)?);
    }
    Ok(steps)
}

/// Splitters for a regular expression: a native one of the crate if it has one;
/// `unsupported-format` for syntax that no known pre-tokenizer uses, because the browser build has
/// no regular expression engine.
pub(super) fn splitters(file: &str, field: &str, regex: &str) -> Result<Vec<Splitter>> {
    let digits = |single| Splitter::Native(PipelinePreTokenizer::Digits(Digits::new(single)));
    match regex {
        DIGIT => return Ok(vec![digits(true)]),
        DIGITS => return Ok(vec![digits(false)]),
        GROUP_STARTS => {
            let digits = CharSet::category("Nd").map(Splitter::DigitGroups);
            return Ok(digits.into_iter().collect());
        }
        _ => {}
    }
    let split = native(file, field, regex)?;
    match split.grammar() {
        // The crate's splitter for this family ignores digit counts other than one and three.
        Some(Grammar::Cl100k { digit_cap }) if digit_cap != 1 && digit_cap != 3 => {}
        Some(_) => return Ok(vec![Splitter::Native(PipelinePreTokenizer::Split(split))]),
        None => {}
    }
    let groups = regex.contains(DIGIT_GROUPS).then(|| CharSet::category("N")).flatten();
    let known = SplitPattern::new(&regex.replace(DIGIT_GROUPS, DIGITS));
    let Some(known) = known else {
        let found = format!("split pattern {}", quoted(regex));
        let expected = "alternatives of characters, classes and their repetitions";
        return Err(Error::unsupported_value(file, field, found, expected));
    };
    let splitters = [Some(Splitter::Pattern(known)), groups.map(Splitter::DigitGroups)];
    Ok(splitters.into_iter().flatten().collect())
}

fn native(file: &str, field: &str, regex: &str) -> Result<Split> {
    Split::native(NativePattern::Regex(regex.to_owned()), SplitDelimiterBehavior::Isolated, false)
        .map_err(|error| Error::unsupported(file, field, format!("split pattern: {error}")))
}
