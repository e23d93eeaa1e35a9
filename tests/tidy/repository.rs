//! Contents of the repository: sizes and names of files, addresses, tests that run.

use tablm::formats::Format;
use tablm::kernels::Kernel;
use tablm::models::ARCHITECTURES;

use super::source::{functions, tokens};
use super::{extension, files, files_with, none, read, root};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;

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

#[test]
fn files_and_functions_are_short_and_introduced() {
    let mut violations = Vec::new();
    for path in files_with(&["rs", "wgsl", "ts", "mjs", "js", "css", "sh", "py"]) {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            violations.push(format!("{path}: {lines} lines, at most {MAX_FILE_LINES}"));
        }
        if extension(&path) != Some("rs") {
            continue;
        }
        if !text.starts_with("//! ") {
            violations.push(format!("{path}: does not open with a sentence after //!"));
        }
        for (name, line, lines) in functions(&tokens(&path, &text)) {
            if lines > MAX_FUNCTION_LINES {
                violations.push(format!(
                    "{path}:{line}: {name} has {lines} lines, at most {MAX_FUNCTION_LINES}"
                ));
            }
        }
    }
    none("short files and functions, each file introduced", violations);
}

/// Files of which lines are data.
const DATA_IN_LINES: &[&str] = &[
    "tests/data/text/corpus.py",
    "tests/data/text/texts.py",
    "tests/text/answer_cases.rs",
    "tests/text/template_cases.rs",
];

#[test]
fn lines_fit_a_screen() {
    let kinds = ["rs", "wgsl", "ts", "mjs", "js", "css", "html", "sh", "py"];
    let mut violations = Vec::new();
    for path in files_with(&kinds) {
        let is_data = DATA_IN_LINES.contains(&path.as_str()) || path.ends_with("former_sw.js");
        for (i, line) in read(&path).lines().enumerate().filter(|_| !is_data) {
            let columns = line.chars().count();
            // An address stays whole.
            if columns > MAX_COLUMNS && !line.contains("://") {
                violations.push(format!("{path}:{}: {columns} columns", i + 1));
            }
        }
    }
    none("lines of at most 100 columns", violations);
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

#[test]
fn hosts_are_found_in_a_text() {
    let text = "see https://example.com/b and http://localhost:80.";
    assert_eq!(hosts(text), ["example.com", "localhost"]);
}
