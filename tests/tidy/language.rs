//! Language of the repository: words, openers of documentation, limits' names.

use std::collections::BTreeSet;

use super::source::{is_word, sources, tokens};
use super::{files_with, none, read};

/// Words for which ARCHITECTURE.md has another.
const WORDS: &[&str] = &[
    "idx",
    "num",
    "llm",
    "helper",
    "helpers",
    "manager",
    "threadgroup",
    "dequantise",
    "normalise",
    "quantise",
];

/// Libraries' names that have such a word.
const NAMES_OF_OTHERS: &[&str] = &["num_cpus", "num_threads", "current_num_threads"];

/// The words of a name, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for letter in name.chars() {
        if letter == '_' || (letter.is_uppercase() && was_lower) {
            words.push(String::new());
        }
        was_lower = letter.is_lowercase();
        if letter != '_' {
            words.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn one_word_for_one_thing() {
    let mut violations = BTreeSet::new();
    for (path, tokens) in sources() {
        for token in tokens.iter().filter(|token| is_word(&token.text)) {
            let is_ours = !NAMES_OF_OTHERS.contains(&token.text.as_str());
            if is_ours && words(&token.text).iter().any(|word| WORDS.contains(&word.as_str())) {
                violations.insert(format!("{path}: {}", token.text));
            }
        }
    }
    none("words that the vocabulary has another for", violations.into_iter().collect());
}

/// Words with which documentation of an item does not open: a noun phrase or a verb in the third
/// person does.
const OPENERS: &[&str] = &[
    "And", "Are", "As", "At", "But", "By", "Does", "For", "From", "Has", "How", "In", "Is", "It",
    "Its", "Of", "On", "Or", "So", "Such", "Taken", "They", "This", "These", "Those", "To", "What",
    "When", "Where", "Whether", "Which", "Who", "Whose", "Why", "With", "Without",
];

/// First lines of the blocks of documentation in a file, with their line numbers.
fn openings(path: &str, text: &str) -> Vec<(usize, String)> {
    let marks: &[&str] = match path.rsplit('.').next() {
        Some("rs") => &["///", "//!"],
        Some("wgsl") => &["//"],
        _ => &["/**"],
    };
    let is_script = marks[0] == "/**";
    let mut found = Vec::new();
    let mut was_inside = false;
    for (i, line) in text.lines().enumerate() {
        let start = if path.ends_with(".wgsl") { line } else { line.trim_start() };
        let words = marks.iter().find_map(|mark| start.strip_prefix(mark));
        if let Some(words) = words.filter(|_| is_script || !was_inside) {
            found.push((i + 1, words.trim().trim_end_matches("*/").to_owned()));
        }
        was_inside = words.is_some();
    }
    found
}

#[test]
fn documentation_opens_with_a_noun_phrase_or_a_verb() {
    let mut violations = Vec::new();
    for path in files_with(&["rs", "wgsl", "ts"]) {
        for (line, words) in openings(&path, &read(&path)) {
            let first = words.split(|letter: char| !letter.is_alphanumeric()).next().unwrap();
            if OPENERS.contains(&first) || words.starts_with("The same") {
                violations.push(format!("{path}:{line}: {words}"));
            }
        }
    }
    none("documentation that opens as a riddle", violations);
}

/// Constants of other projects whose names end so.
const OTHERS_MAXIMA: &[&str] = &["F8_MAX"];

#[test]
fn limits_are_named_alike() {
    let mut violations = Vec::new();
    for path in files_with(&["rs"]) {
        for pair in tokens(&path, &read(&path)).windows(2) {
            let name = pair[1].text.as_str();
            let is_limit = pair[0].text == "const" && name.ends_with("_MAX");
            if is_limit && !OTHERS_MAXIMA.contains(&name) {
                violations.push(format!("{path}:{}: {name}, expected MAX_…", pair[1].line));
            }
        }
    }
    none("limits are MAX_…", violations);
}

#[test]
fn words_of_names_are_told_apart() {
    assert_eq!(words("LayerIdx_num2"), ["layer", "idx", "num2"]);
}
