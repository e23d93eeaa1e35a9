//! Language of the repository: words of names, first words of documentation, names of limits.

use std::collections::BTreeSet;

use super::source::{is_word, sources, tokens};
use super::{assert_no_violations, files_with, read};

/// Words that names must not contain: abbreviations, empty words, and synonyms of a word in use,
/// such as Metal's threadgroup for a workgroup.
const FORBIDDEN_WORDS: &[&str] = &[
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

/// Names of libraries that contain such a word.
const LIBRARY_NAMES: &[&str] = &["num_cpus", "num_threads", "current_num_threads"];

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
fn names_contain_no_forbidden_word() {
    let mut violations = BTreeSet::new();
    for (path, tokens) in sources() {
        for token in tokens.iter().filter(|token| is_word(&token.text)) {
            let is_ours = !LIBRARY_NAMES.contains(&token.text.as_str());
            if is_ours
                && words(&token.text).iter().any(|word| FORBIDDEN_WORDS.contains(&word.as_str()))
            {
                violations.insert(format!("{path}: {}", token.text));
            }
        }
    }
    assert_no_violations("no forbidden words in names", violations.into_iter().collect());
}

/// First words that documentation must not have: it opens with a noun phrase or a verb in the third
/// person.
const FORBIDDEN_OPENERS: &[&str] = &[
    "And", "Are", "As", "At", "But", "By", "Does", "For", "From", "Has", "How", "In", "Is", "It",
    "Its", "Of", "On", "Or", "So", "Such", "Taken", "They", "This", "These", "Those", "To", "What",
    "When", "Where", "Whether", "Which", "Who", "Whose", "Why", "With", "Without",
];

/// First line of each doc comment in a file, with its line number.
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
            if FORBIDDEN_OPENERS.contains(&first) || words.starts_with("The same") {
                violations.push(format!("{path}:{line}: {words}"));
            }
        }
    }
    assert_no_violations("documentation opens with a noun phrase or a verb", violations);
}

#[test]
fn limit_names_start_with_max() {
    let mut violations = Vec::new();
    for path in files_with(&["rs"]) {
        for pair in tokens(&path, &read(&path)).windows(2) {
            let name = pair[1].text.as_str();
            if pair[0].text == "const" && name.ends_with("_MAX") {
                violations.push(format!("{path}:{}: {name}, expected MAX_…", pair[1].line));
            }
        }
    }
    assert_no_violations("names of limits start with MAX_", violations);
}

#[test]
fn names_are_split_into_words() {
    assert_eq!(words("LayerIdx_num2"), ["layer", "idx", "num2"]);
}
