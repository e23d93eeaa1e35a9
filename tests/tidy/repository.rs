//! Contents of the repository: sizes and names of files, hosts and paths in them, ignored tests.

use tablm::formats::Format;
use tablm::kernels::Kernel;
use tablm::models::ARCHITECTURES;

use super::source::{functions, tokens};
use super::{assert_no_violations, files, files_with, read, root};

const MAX_FILE_LINES: usize = 500;
const MAX_FUNCTION_LINES: usize = 70;
const MAX_COLUMNS: usize = 100;

/// Hosts that URLs may name.
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
    "www.llama.com",
    "www.nvidia.com",
    "www.w3.org",
];

#[test]
fn files_have_at_most_500_lines() {
    let mut violations = Vec::new();
    for path in files_with(&["rs", "wgsl", "ts", "mjs", "js", "css", "sh", "py"]) {
        let lines = read(&path).lines().count();
        if lines > MAX_FILE_LINES {
            violations
                .push(format!("{path}: found {lines} lines, expected at most {MAX_FILE_LINES}"));
        }
    }
    assert_no_violations("short files", violations);
}

#[test]
fn functions_have_at_most_70_lines() {
    let mut violations = Vec::new();
    for path in files_with(&["rs"]) {
        for (name, line, lines) in functions(&tokens(&path, &read(&path))) {
            if lines > MAX_FUNCTION_LINES {
                violations.push(format!(
                    "{path}:{line}: {name}: found {lines} lines, expected at most \
                     {MAX_FUNCTION_LINES}"
                ));
            }
        }
    }
    assert_no_violations("short functions", violations);
}

#[test]
fn rust_files_open_with_documentation() {
    let without = files_with(&["rs"]).into_iter().filter(|path| !read(path).starts_with("//! "));
    assert_no_violations("a sentence after //! at the start of each file", without.collect());
}

/// Files whose lines are data, of any length.
const LONG_DATA: &[&str] = &[
    "tests/data/text/corpus.py",
    "tests/data/text/texts.py",
    "tests/text/answer_cases.rs",
    "tests/text/dialects/python.rs",
    "tests/text/template_cases.rs",
];

#[test]
fn lines_have_at_most_100_columns() {
    let kinds = ["rs", "wgsl", "ts", "mjs", "js", "css", "html", "sh", "py"];
    let mut violations = Vec::new();
    for path in files_with(&kinds) {
        let is_data = LONG_DATA.contains(&path.as_str()) || path.ends_with("former_sw.js");
        for (i, line) in read(&path).lines().enumerate().filter(|_| !is_data) {
            let columns = line.chars().count();
            // A URL cannot be broken.
            if columns > MAX_COLUMNS && !line.contains("://") {
                violations.push(format!("{path}:{}: {columns} columns", i + 1));
            }
        }
    }
    assert_no_violations("lines of at most 100 columns", violations);
}

#[test]
fn no_test_is_ignored() {
    let mut violations = Vec::new();
    for path in files_with(&["rs"]) {
        for window in tokens(&path, &read(&path)).windows(3) {
            if window[0].text == "#" && window[1].text == "[" && window[2].text == "ignore" {
                violations.push(format!("{path}:{}", window[0].line));
            }
        }
    }
    assert_no_violations("no ignored tests", violations);
}

/// Hosts of the HTTP addresses in a text.
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
fn files_contain_no_absolute_path_and_no_unknown_host() {
    // Put together here, because this file is checked too.
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
    assert_no_violations("no absolute paths, only known hosts", violations);
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
    let models =
        ARCHITECTURES.iter().map(|known| format!("src/models/{}.rs", known.gguf.replace('-', "_")));
    let expected = kernels.chain(shaders).chain(formats).chain(models);
    assert_no_violations(
        "a file of the name of each kernel, format and architecture",
        expected.filter(|path| !root().join(path).is_file()).collect(),
    );
}

#[test]
fn changelog_opens_with_an_unreleased_section() {
    let text = read("CHANGELOG.md");
    let first = text.lines().find(|line| line.starts_with("## "));
    assert_eq!(first, Some("## [Unreleased]"), "the first section of CHANGELOG.md");
}

#[test]
fn hosts_of_addresses_are_found() {
    let text = "see https://example.com/b and http://localhost:80.";
    assert_eq!(hosts(text), ["example.com", "localhost"]);
}
