//! Split patterns: regular expressions of `tokenizer.json` files give the ids of Hugging Face, and
//! none takes much time.

use std::time::Duration;

use serde_json::{Value, json};
use tablm::text::Tokenizer;
use web_time::Instant;

use super::tokenizers::gives_the_ids_of_split;
use super::{json, text, tokenizer_of};

/// Much longer than a test needs, in wasm too.
const MAX_TIME: Duration = Duration::from_secs(30);

/// The small vocabulary, split by these regular expressions.
fn split_by(regexes: &[&str], behavior: &str, invert: bool) -> Result<Tokenizer, tablm::Error> {
    let mut file = json("small_tokenizer.json");
    let split = |regex: &&str| {
        let pattern = json!({"Regex": regex});
        json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})
    };
    let mut steps: Vec<Value> = regexes.iter().map(split).collect();
    steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}));
    file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": steps});
    tokenizer_of(&file)
}

#[test]
fn patterns_of_tokenizer_json_give_the_ids_of_hugging_face() {
    let golden = json("byte_level.json");
    let patterns = golden["patterns"].as_object().expect("patterns");
    assert!(patterns.len() >= 19);
    let mut file = json("small_tokenizer.json");
    for (name, pattern) in patterns {
        let list = pattern["regexes"].as_array().expect("regexes");
        let split = |regex: &Value| {
            json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated",
                "invert": false})
        };
        let mut steps: Vec<Value> = list.iter().map(split).collect();
        steps.push(json!({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}));
        file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": steps});
        file["model"]["ignore_merges"] = pattern["whole"].clone();
        let added = file["added_tokens"].as_array_mut().expect("added tokens");
        added.retain(|token| token["special"] == true);
        let tokenizer = tokenizer_of(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        gives_the_ids_of_split(&tokenizer, name, &golden["splits"][name]);
    }
}

#[test]
fn inverted_patterns_keep_only_their_matches() {
    let tokenizer = split_by(&[r"\p{L}+"], "Removed", true).expect("a tokenizer");
    let ids = tokenizer.encode("ab 12, cd").expect("ids");
    assert_eq!(tokenizer.decode(&ids, true).expect("text"), "abcd");
    let isolated = split_by(&[r"\p{L}+"], "Isolated", false).expect("a tokenizer");
    let ids = isolated.encode("ab 12, cd").expect("ids");
    assert_eq!(isolated.decode(&ids, true).expect("text"), "ab 12, cd");
}

#[test]
fn patterns_outside_the_grammar_are_refused() {
    let long = "a".repeat(10_000);
    let refused = [
        "",
        "(",
        "a)",
        "[",
        "[a",
        "a|",
        "|a",
        "a**",
        "a+?",
        "a{2",
        "a{3,2}",
        "a{x}",
        "(a+)+",
        "(?:a+)",
        "(?:a|b)+",
        "(?:)",
        "(?:a|)",
        r"\p{Greek}",
        r"\p{Lu}+",
        r"[\p{Lm}x]+",
        r"\p{L",
        r"\w+",
        r"\b",
        "^a",
        ".+",
        "a*",
        r"\s*",
        "(?=a)",
        "a?b*",
        "(?<=a)b",
        "[[:alpha:]]+",
        "[a&&b]+",
        "[b-a]",
        r"[\S]+",
        "(?:a)?",
        r"(?=\d{3}+)x",
        r"[\d\p{N}]+",
        &long,
    ];
    for regex in refused {
        let error = split_by(&[regex], "Isolated", false).err();
        let error = error.unwrap_or_else(|| panic!("{regex:?} is accepted"));
        assert_eq!(error.code().as_str(), "unsupported-format", "{regex:?}: {error}");
        assert!(error.message().contains("split pattern"), "{regex:?}: {error}");
    }
    for behavior in ["Removed", "MergedWithNext", "MergedWithPrevious", "Contiguous"] {
        assert!(split_by(&["a+"], behavior, false).is_err(), "{behavior}");
    }
}

#[test]
fn known_patterns_split_long_runs_in_linear_time() {
    let golden = json("byte_level.json");
    let runs = ["a", "A", " ", "\n", "1", "!", "中", "\u{301}", "\u{a0}", " \n", "aA", "1 ", "x "];
    for (name, pattern) in golden["patterns"].as_object().expect("patterns") {
        let regexes: Vec<&str> =
            pattern["regexes"].as_array().expect("regexes").iter().map(text).collect();
        let tokenizer = split_by(&regexes, "Isolated", false).expect(name);
        for run in runs {
            for end in ["", "x", "中"] {
                let source = run.repeat(30_000) + end;
                let started = Instant::now();
                let ids =
                    tokenizer.encode(&source).unwrap_or_else(|e| panic!("{name}, {run:?}: {e}"));
                assert!(ids.len() > 1000);
                assert!(started.elapsed() < MAX_TIME, "{name}, {run:?}: {:?}", started.elapsed());
            }
        }
    }
}

/// Overlapping repetitions take a number of steps that grows with a power of the length.
#[test]
fn patterns_that_take_too_long_are_stopped() {
    let slow = "a*a*a*a*a*a*b";
    let tokenizer = split_by(&[slow], "Isolated", false).expect("a tokenizer");
    let started = Instant::now();
    let error = tokenizer.encode(&"a".repeat(50_000)).expect_err("a slow search");
    assert_eq!(error.code().as_str(), "invalid-request");
    assert!(started.elapsed() < MAX_TIME, "{:?}", started.elapsed());
    assert!(!tokenizer.encode("aab aab").expect("ids").is_empty());
}
