//! The rules of ARCHITECTURE.md that a program can check: which part names what, how long files
//! and functions are, and what must not be in the repository at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use tablm::formats::Format;
use tablm::kernels::Kernel;
use tablm::models::ARCHITECTURES;

const LINES_OF_A_FILE: usize = 500;
const LINES_OF_A_FUNCTION: usize = 70;

/// Which parts of the crate each part may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("formats", &["error"]),
    ("noise", &[]),
    ("kernels", &["formats", "noise", "error"]),
    ("plan", &["kernels", "formats", "error"]),
    // No weight format: a model speaks of matrices. (Except EXCEPTIONS.)
    ("layers", &["plan", "kernels", "error"]),
    ("models", &["layers", "plan", "kernels", "weights", "error"]),
    // No executor.
    ("weights", &["formats", "error"]),
    ("text", &["weights", "noise", "error"]),
    // Not each other.
    ("gpu", &["plan", "kernels", "formats", "error"]),
    ("cpu", &["plan", "kernels", "formats", "error"]),
    ("engine", &["models", "plan", "kernels", "weights", "text", "gpu", "cpu", "error"]),
    ("web", &["engine", "text", "weights", "error"]),
];

/// Who names a part that the table above denies it, and why.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Says what a plan asks of a checkpoint, formats included; neither of the two knows the other.
    ("src/models/config.rs", "formats"),
    // Makes up a matrix in the format that the model's have.
    ("src/engine/choice.rs", "formats"),
    // Writes a model file, in which the formats' names stand.
    ("src/engine/quantize.rs", "formats"),
];

/// Names that only some files of the crate may use.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("wgpu", &["src/gpu/"]),
    ("naga", &[]),
    ("wasm_bindgen", &["src/web/"]),
    ("wasm_bindgen_futures", &["src/web/"]),
    ("js_sys", &["src/web/"]),
    ("web_sys", &["src/web/"]),
    ("console_error_panic_hook", &["src/web/"]),
    ("minijinja", &["src/text/"]),
    ("minijinja_contrib", &["src/text/"]),
    ("tokenizers", &["src/text/"]),
    ("clap", &["src/bin/"]),
    ("pollster", &["src/bin/"]),
    ("num_cpus", &["src/bin/"]),
    ("signal_hook", &["src/bin/"]),
    ("rayon", &["src/cpu/threads.rs", "src/bin/"]),
    // Calls of functions for instructions that the processor was asked for, and one such instruction.
    ("unsafe", &["src/cpu/dotprod.rs", "src/cpu/variant.rs"]),
    (
        "target_arch",
        &["src/lib.rs", "src/bin/", "src/cpu/", "src/gpu/", "src/web/", "src/weights/mod.rs"],
    ),
];

/// Parts of `std` that only some files may use: the core does no input or output and has no threads.
const STD_ONLY_IN: &[(&str, &[&str])] = &[
    ("fs", &["src/weights/disk.rs", "src/bin/"]),
    ("process", &["src/bin/"]),
    ("thread", &[]),
    ("net", &[]),
];

/// Macros that have no place in the crate but its command line.
const MACROS: &[&str] =
    &["todo", "unimplemented", "unreachable", "dbg", "print", "println", "eprint", "eprintln"];

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

/// Hosts that a file may name in an address.
const HOSTS: &[&str] = &[
    "127.0.0.1",
    "localhost",
    "example.com",
    "github.com",
    "git-lfs",
    "git-lfs.github.com",
    "huggingface.co",
    "keepachangelog.com",
    "paulmillr.com",
    "semver.org",
    "www.apache.org",
    "www.w3.org",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of all files that are or may become part of the repository, relative to its root.
fn files() -> Vec<String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output =
        Command::new("git").args(list).current_dir(root()).output().expect("git is not there");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths = paths.split('\0').filter(|path| root().join(path).is_file());
    paths.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

fn files_with(extensions: &[&str]) -> Vec<String> {
    let wanted = |path: &String| extension(path).is_some_and(|found| extensions.contains(&found));
    files().into_iter().filter(wanted).collect()
}

fn extension(path: &str) -> Option<&str> {
    Path::new(path).extension().and_then(|extension| extension.to_str())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The crate's own files, with their tokens.
fn sources() -> Vec<(String, Vec<Token>)> {
    let paths = files_with(&["rs"]).into_iter().filter(|path| path.starts_with("src/"));
    paths.map(|path| (path.clone(), tokens(&path, &read(&path)))).collect()
}

/// A token of Rust and its line. Comments are none, documentation is a literal.
struct Token {
    text: String,
    line: usize,
    /// Groups that are open before it.
    depth: usize,
}

fn tokens(path: &str, text: &str) -> Vec<Token> {
    let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut tokens = Vec::new();
    flatten(stream, 0, &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, depth: usize, tokens: &mut Vec<Token>) {
    for tree in stream {
        let line = tree.span().start().line;
        let TokenTree::Group(group) = tree else {
            tokens.push(Token { text: tree.to_string(), line, depth });
            continue;
        };
        let (open, close) = match group.delimiter() {
            Delimiter::Parenthesis => ("(", ")"),
            Delimiter::Brace => ("{", "}"),
            Delimiter::Bracket => ("[", "]"),
            Delimiter::None => ("", ""),
        };
        tokens.push(Token { text: open.into(), line, depth });
        flatten(group.stream(), depth + 1, tokens);
        tokens.push(Token { text: close.into(), line: group.span_close().end().line, depth });
    }
}

/// Names after `parent::`, those in braces too, with their lines.
fn named_in<'a>(tokens: &'a [Token], parent: &'a str) -> Vec<(&'a str, usize)> {
    let mut names = Vec::new();
    for (i, window) in tokens.windows(4).enumerate() {
        let [first, colon, other, next] = window else { unreachable!() };
        if first.text != parent || colon.text != ":" || other.text != ":" {
            continue;
        }
        if next.text != "{" {
            names.push((next.text.as_str(), next.line));
            continue;
        }
        let inside = tokens[i + 4..].iter().take_while(|token| token.depth > next.depth);
        let mut is_start = true;
        for token in inside.filter(|token| token.depth == next.depth + 1) {
            if is_start {
                names.push((token.text.as_str(), token.line));
            }
            is_start = token.text == ",";
        }
    }
    names
}

/// Names, first lines and lengths in lines of functions.
fn functions(tokens: &[Token]) -> Vec<(&str, usize, usize)> {
    let mut functions = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let Some(name) = tokens.get(i + 1).filter(|_| token.text == "fn") else { continue };
        let mut rest = tokens[i..].iter().filter(|other| other.depth == token.depth);
        if name.text == "("
            || rest.by_ref().find(|other| other.text == "{" || other.text == ";").is_none()
        {
            continue;
        }
        if let Some(end) = rest.next().filter(|end| end.text == "}") {
            functions.push((name.text.as_str(), token.line, end.line - token.line + 1));
        }
    }
    functions
}

/// The part of the crate that a file belongs to.
fn part(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let part = inside.split('/').next()?.trim_end_matches(".rs");
    (!["lib", "bin"].contains(&part)).then_some(part)
}

fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}

#[test]
fn the_checks_see_what_they_should() {
    let code = tokens(
        "here",
        "// wgpu\nuse crate::{gpu::{Gpu}, error};\nfn f(a: fn(u8)) -> [u8; 2]\n{\n  crate::web::g()\n}",
    );
    assert_eq!(named_in(&code, "crate"), [("gpu", 2), ("error", 2), ("web", 5)]);
    assert_eq!(functions(&code), [("f", 3, 4)]);
    assert!(!code.iter().any(|token| token.text == "wgpu"));
    assert_eq!(part("src/engine/load.rs"), Some("engine"));
    assert_eq!(words("LayerIdx_num2"), ["layer", "idx", "num2"]);
    assert_eq!(
        hosts("see https://example.com/b and http://localhost:80."),
        ["example.com", "localhost"]
    );
}

#[test]
fn parts_depend_one_way() {
    let mut violations = Vec::new();
    for (path, tokens) in sources() {
        let Some(part) = part(&path) else { continue };
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == part) else {
            violations.push(format!("{path}: the part {part} is not in this test's table"));
            continue;
        };
        let mut names = named_in(&tokens, "crate");
        // From the file at the top of a part, `super` is the crate.
        if path == format!("src/{part}.rs") || path == format!("src/{part}/mod.rs") {
            names.extend(named_in(&tokens, "super"));
        }
        for (name, line) in names {
            let is_part = MAY_NAME.iter().any(|(part, _)| *part == name);
            let is_allowed = allowed.contains(&name) || EXCEPTIONS.contains(&(path.as_str(), name));
            if is_part && name != part && !is_allowed {
                violations.push(format!("{path}:{line}: {part} names {name}"));
            }
        }
        let upwards = named_in(&tokens, "super").into_iter().filter(|(name, _)| *name == "super");
        violations.extend(
            upwards.map(|(_, line)| format!("{path}:{line}: super::super, expected crate::…")),
        );
    }
    none("dependencies point one way", violations);
}

#[test]
fn platforms_and_libraries_stay_in_their_part() {
    let outside =
        |path: &str, allowed: &[&str]| !allowed.iter().any(|start| path.starts_with(start));
    let mut violations = Vec::new();
    for (path, tokens) in sources() {
        for (name, allowed) in ONLY_IN {
            let found =
                tokens.iter().find(|token| token.text == *name).filter(|_| outside(&path, allowed));
            violations.extend(found.map(|token| format!("{path}:{}: {name}", token.line)));
        }
        for (name, line) in named_in(&tokens, "std") {
            let rule = STD_ONLY_IN.iter().find(|(wanted, _)| *wanted == name);
            if rule.is_some_and(|(_, allowed)| outside(&path, allowed)) {
                violations.push(format!("{path}:{line}: std::{name}"));
            }
        }
    }
    none("names that belong to one part", violations);
}

#[test]
fn the_library_neither_prints_nor_gives_up() {
    let mut violations = Vec::new();
    for (path, tokens) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/bin/")) {
        for pair in tokens.windows(2).filter(|pair| pair[1].text == "!") {
            if MACROS.contains(&pair[0].text.as_str()) {
                violations.push(format!("{path}:{}: {}!", pair[0].line, pair[0].text));
            }
        }
    }
    none("no output, no unfinished code", violations);
}

#[test]
fn files_and_functions_are_short_and_introduced() {
    let mut violations = Vec::new();
    for path in files_with(&["rs", "wgsl", "ts", "mjs", "js", "sh", "py"]) {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > LINES_OF_A_FILE {
            violations.push(format!("{path}: {lines} lines, at most {LINES_OF_A_FILE}"));
        }
        if extension(&path) != Some("rs") {
            continue;
        }
        if !text.starts_with("//! ") {
            violations.push(format!("{path}: does not open with a sentence after //!"));
        }
        for (name, line, lines) in functions(&tokens(&path, &text)) {
            if lines > LINES_OF_A_FUNCTION {
                violations.push(format!(
                    "{path}:{line}: {name} has {lines} lines, at most {LINES_OF_A_FUNCTION}"
                ));
            }
        }
    }
    none("short files and functions, each file introduced", violations);
}

#[test]
fn tests_are_never_switched_off() {
    let mut violations = Vec::new();
    for path in files_with(&["rs"]) {
        for window in tokens(&path, &read(&path)).windows(3) {
            if window[0].text == "#" && window[1].text == "[" && window[2].text == "ignore" {
                violations.push(format!("{path}:{}", window[0].line));
            }
        }
    }
    none("no ignored tests", violations);
}

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
        for token in tokens.iter().filter(|token| token.text.starts_with(char::is_alphabetic)) {
            let is_ours = !NAMES_OF_OTHERS.contains(&token.text.as_str());
            if is_ours && words(&token.text).iter().any(|word| WORDS.contains(&word.as_str())) {
                violations.insert(format!("{path}: {}", token.text));
            }
        }
    }
    none("words that the vocabulary has another for", violations.into_iter().collect());
}

/// Hosts of the addresses in a text.
fn hosts(text: &str) -> Vec<&str> {
    let addresses = text.split("://").skip(1).zip(text.split("://"));
    let addresses =
        addresses.filter(|(_, before)| before.ends_with("http") || before.ends_with("https"));
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '.' || letter == '-';
    let hosts = addresses
        .map(|(after, _)| after.split(|letter| !is_part(letter)).next().unwrap_or_default());
    hosts.map(|host| host.trim_end_matches('.')).filter(|host| !host.is_empty()).collect()
}

#[test]
fn nothing_of_a_developers_machine_is_in_the_repository() {
    // In pieces, or this file would be its own violation.
    let folders = ["home", "root", "work", "Users", "mnt"].map(|name| format!("/{name}/"));
    let mut violations = Vec::new();
    for path in files() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (i, line) in text.lines().enumerate() {
            let hosts = hosts(line).into_iter().filter(|host| !HOSTS.contains(host));
            violations.extend(hosts.map(|host| format!("{path}:{}: host {host}", i + 1)));
            let inside = |start: &usize| {
                line[..*start]
                    .ends_with(|letter: char| letter.is_alphanumeric() || ".}~*".contains(letter))
            };
            let found = folders
                .iter()
                .filter(|folder| line.find(folder.as_str()).is_some_and(|start| !inside(&start)));
            violations
                .extend(found.map(|folder| format!("{path}:{}: absolute path {folder}", i + 1)));
        }
    }
    none("no absolute paths, no hosts but the known ones", violations);
}

#[test]
fn kernels_formats_and_architectures_have_files_of_their_names() {
    let kernels = Kernel::ALL.iter().map(|(name, _)| format!("src/kernels/{name}.rs"));
    let shaders = Kernel::ALL.iter().map(|(name, _)| format!("shaders/{name}.wgsl"));
    let formats = Format::ALL.iter().flat_map(|format| {
        [
            format!("src/formats/{}.rs", format.stem()),
            format!("shaders/formats/{}.wgsl", format.stem()),
            format!("tests/data/formats/{}.bin", format.name().to_lowercase()),
        ]
    });
    let models = ARCHITECTURES.iter().map(|known| format!("src/models/{}.rs", known.gguf));
    let expected = kernels.chain(shaders).chain(formats).chain(models);
    none(
        "one file each, of the same name",
        expected.filter(|path| !root().join(path).is_file()).collect(),
    );
}

#[test]
fn the_changelog_has_a_place_for_what_is_not_released() {
    let text = read("CHANGELOG.md");
    let first = text.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## [Unreleased]"), "the first section of CHANGELOG.md");
}
