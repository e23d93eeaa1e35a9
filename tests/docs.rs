//! Documents against the repository: their tables equal the registries, their paths and links
//! exist, their commands and options are known, and they keep their size and form.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use tablm::Code;
use tablm::formats::Format;
use tablm::models::ARCHITECTURES;

const MAX_README_LINES: usize = 150;
const MAX_ARCHITECTURE_BYTES: usize = 16 << 10;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of the repository's files that git tracks or does not ignore, relative to its root.
fn files() -> Vec<String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").args(list).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths = paths.split('\0').filter(|path| !path.is_empty() && root().join(path).is_file());
    paths.map(str::to_owned).collect()
}

/// All Markdown files.
fn documents() -> Vec<String> {
    files().into_iter().filter(|path| path.ends_with(".md")).collect()
}

/// Rows, as cells, of the table whose first header cell is `header`.
fn table(text: &str, header: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        // An empty cell is `| |`; splitting at ` | ` needs a second space.
        let line = line.trim().replace("| |", "|  |");
        let inside = line.trim_start_matches('|').trim_end_matches('|');
        inside.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    assert!(lines.next().is_some(), "no table begins with {header}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// Code spans, outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut quoted = Vec::new();
    for outside_of_blocks in text.split("```").step_by(2) {
        quoted.extend(outside_of_blocks.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    quoted
}

#[test]
fn documented_architectures_equal_the_registry() {
    let rows = table(&read("docs/models.md"), "architecture");
    let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[1]), quoted(&row[2]))).collect();
    let known = ARCHITECTURES.iter().map(|known| {
        let hugging_face = known.hugging_face.iter().map(|name| (*name).to_owned()).collect();
        (vec![known.gguf.to_owned()], hugging_face)
    });
    assert_eq!(documented, known.collect::<Vec<_>>(), "docs/models.md, and src/models/mod.rs");
}

#[test]
fn documented_formats_equal_the_registry() {
    let documented = table(&read("docs/models.md"), "weight format");
    let known = Format::ALL.map(|format| {
        let rules = format.rules();
        let bits = (8 * rules.block_bytes()) as f64 / rules.block_weights() as f64;
        let in_gguf = format.gguf_type().is_some();
        let is_dtype = Format::from_safetensors_dtype(format.name()).is_some();
        let in_safetensors = !in_gguf || is_dtype || format == Format::MXFP4;
        let yes = |is: bool| if is { "yes" } else { "" };
        [format.name(), &bits.to_string(), yes(in_gguf), yes(in_safetensors)]
            .map(str::to_owned)
            .to_vec()
    });
    assert_eq!(documented, known, "docs/models.md, and src/formats/");
}

/// The help of `tablm`, or of one of its commands.
fn help(command: Option<&str>) -> String {
    let mut call = Command::new(env!("CARGO_BIN_EXE_tablm"));
    let output = call.args(command).arg("--help").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The commands that `tablm --help` lists.
fn commands() -> Vec<String> {
    let help = help(None);
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with("  "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    let names: Vec<_> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(names.len() > 3, "{help}");
    names
}

#[test]
fn documented_commands_equal_the_command_line() {
    let rows = table(&read("README.md"), "call");
    let documented =
        rows.iter().map(|row| row[0].trim_start_matches("`tablm ").split(' ').next().unwrap());
    assert_eq!(documented.collect::<Vec<_>>(), commands(), "README.md, and tablm --help");
}

/// Options among the words of a code span, without a value after `=`.
fn options(span: &str) -> impl Iterator<Item = &str> {
    span.split_whitespace()
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap())
}

#[test]
fn documented_calls_use_known_commands_and_options() {
    let commands: Vec<_> = commands().into_iter().map(|name| (help(Some(&name)), name)).collect();
    let takes = |help: &str, option: &str| {
        option == "--help" || help.split_whitespace().any(|word| word == option)
    };
    let mut violations = Vec::new();
    for document in documents() {
        for span in quoted(&read(&document)) {
            let Some(call) = span.strip_prefix("tablm ") else { continue };
            let name = call.split_whitespace().next().unwrap_or_default();
            let Some((help, _)) = commands.iter().find(|(_, known)| known == name) else {
                if name != "COMMAND" && name != "quantise" && !name.starts_with("--") {
                    violations.push(format!("{document}: {span}: no such command"));
                }
                continue;
            };
            let unknown = options(call).filter(|option| !takes(help, option));
            violations.extend(unknown.map(|option| format!("{document}: {span}: {option}")));
        }
    }
    let readme = read("README.md");
    let section = readme.split("## Command line").nth(1).unwrap().split("\n## ").next().unwrap();
    for span in quoted(section) {
        let unknown =
            options(&span).filter(|option| !commands.iter().any(|(help, _)| takes(help, option)));
        violations.extend(unknown.map(|option| format!("README.md: no command takes {option}")));
    }
    assert!(violations.is_empty(), "unknown commands or options: {violations:#?}");
}

#[test]
fn documented_targets_equal_the_makefile() {
    let makefile = read("Makefile");
    let known = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let rows = table(&read("docs/development.md"), "target");
    let documented: Vec<_> =
        rows.iter().map(|row| row[0].trim_matches('`').replace("make ", "")).collect();
    let known: Vec<_> = known.split(' ').collect();
    assert_eq!(documented, known, "docs/development.md, and the Makefile");
}

/// True if a code span looks like a path from the repository's root: it begins with a top-level
/// folder and ends with a folder or a known file extension. Excludes build outputs.
fn is_path(span: &str) -> bool {
    let is_plain =
        span.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let endings = [".rs", ".wgsl", ".md", ".mjs", ".ts", ".sh", ".toml", ".py", ".html", ".json"];
    let is_built = ["dist/", "target/", "node_modules"].iter().any(|folder| span.contains(folder));
    let is_ours = span.split_once('/').is_some_and(|(first, _)| root().join(first).is_dir());
    is_plain
        && is_ours
        && !is_built
        && (span.ends_with('/') || endings.iter().any(|end| span.ends_with(end)))
}

/// Anchors of the headings of a Markdown text, as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| {
        let title = line.trim_start_matches('#');
        (title.len() < line.len()).then(|| title.trim().to_lowercase())
    });
    let kept = |letter: &char| letter.is_alphanumeric() || "-_ ".contains(*letter);
    headings.map(|title| title.chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn paths_and_links_in_documents_exist() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = read(&document);
        let folder = root().join(&document).parent().unwrap().to_owned();
        let paths = quoted(&text).into_iter().filter(|span| is_path(span));
        let paths = paths.filter(|path| !root().join(path).exists() && !folder.join(path).exists());
        missing.extend(paths.map(|path| format!("{document}: {path}")));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { root().join(&document) } else { folder.join(path) };
            let found = std::fs::read_to_string(&target).unwrap_or_default();
            if !target.exists() || !(anchor.is_empty() || anchors(&found).contains(anchor)) {
                missing.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(missing.is_empty(), "missing paths and anchors: {missing:#?}");
}

/// The folders on the map of ARCHITECTURE.md. A line has two spaces per level, the folder's name,
/// two spaces and an explanation.
fn map() -> Vec<String> {
    let text = read("ARCHITECTURE.md");
    let text = text.split("## Map").nth(1).expect("a section called Map");
    let block = text.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut folders: Vec<&str> = Vec::new();
    let mut paths = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let name = line.trim_start().split("  ").next().unwrap();
        assert!(line.trim_start().len() > name.len(), "no explanation in {line:?}");
        assert!(name.ends_with('/'), "{line:?}: found a file, expected a folder");
        folders.truncate(depth);
        folders.push(name);
        paths.push(folders.concat());
    }
    paths
}

#[test]
fn architecture_map_lists_all_folders() {
    let map = map();
    let missing: Vec<_> = map.iter().filter(|path| !root().join(path).is_dir()).collect();
    assert!(missing.is_empty(), "on the map of ARCHITECTURE.md, but absent: {missing:#?}");
    let mut expected = BTreeSet::new();
    for path in files() {
        let folders: Vec<_> = path.split('/').collect();
        let folders = &folders[..folders.len() - 1];
        let Some(first) = folders.first() else { continue };
        expected.insert(format!("{first}/"));
        if let ("src" | "shaders" | "tests", Some(second)) = (*first, folders.get(1)) {
            expected.insert(format!("{first}/{second}/"));
        }
    }
    let unlisted: Vec<_> = expected.iter().filter(|path| !map.contains(path)).collect();
    assert!(unlisted.is_empty(), "not on the map of ARCHITECTURE.md: {unlisted:#?}");
}

#[test]
fn documented_dependency_rules_equal_those_of_tidy() {
    let tidy = read("tests/tidy/dependencies.rs");
    let list = tidy.split("const MAY_NAME: &[(&str, &[&str])] = &[").nth(1).unwrap();
    let list: String = list
        .lines()
        .take_while(|line| *line != "];")
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let names = |text: &str| -> Vec<String> {
        text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let known: Vec<_> = list.split('(').skip(1).map(names).collect();
    let rows = table(&read("ARCHITECTURE.md"), "module");
    let documented: Vec<_> = rows.iter().map(|row| quoted(&row.join(" "))).collect();
    assert_eq!(documented, known, "ARCHITECTURE.md, and MAY_NAME in tests/tidy/dependencies.rs");
}

#[test]
fn documents_are_within_their_size_limits() {
    let lines = read("README.md").lines().count();
    assert!(lines <= MAX_README_LINES, "README.md: {lines} lines, at most {MAX_README_LINES}");
    let bytes = read("ARCHITECTURE.md").len();
    assert!(
        bytes <= MAX_ARCHITECTURE_BYTES,
        "ARCHITECTURE.md: {bytes} bytes, at most {MAX_ARCHITECTURE_BYTES}"
    );
}

#[test]
fn decisions_and_measurements_have_all_sections() {
    // Folder, required parts of each section, documents without these parts.
    let forms: [(&str, &[&str], &[&str]); 2] = [
        ("docs/decisions/", &["Context", "Decision", "Consequences"], &["seams.md"]),
        ("docs/measurements/", &["Idea", "Setup", "Result", "Verdict"], &[]),
    ];
    let mut violations = Vec::new();
    for (folder, parts, exempt) in forms {
        let index = read(&format!("{folder}README.md"));
        for document in documents().into_iter().filter(|path| path.starts_with(folder)) {
            let name = document.trim_start_matches(folder);
            if name == "README.md" {
                continue;
            }
            if !index.contains(&format!("({name})")) {
                violations.push(format!("{folder}README.md: no link to {name}"));
            }
            for section in read(&document).split("\n## ").skip(1) {
                let title = section.lines().next().unwrap_or_default();
                let wrong = parts.iter().filter(|part| {
                    !exempt.contains(&name)
                        && section.matches(&format!("\n**{part}.** ")).count() != 1
                        && section.matches(&format!("\n**{part}.**\n")).count() != 1
                });
                violations.extend(wrong.map(|part| format!("{document}: {title}: {part}")));
            }
        }
    }
    assert!(violations.is_empty(), "missing links and parts of sections: {violations:#?}");
}

#[test]
fn error_codes_equal_those_of_typescript() {
    let sources = files().into_iter().filter(|path| path.starts_with("pkg/src/"));
    let lists: Vec<_> = sources
        .filter(|path| path.ends_with(".ts"))
        .filter_map(|path| {
            let text = read(&path);
            let list = text.split("export const errorCodes = [").nth(1)?.split(']').next()?;
            Some(list.split('"').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>())
        })
        .collect();
    let known = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(lists, [known], "errorCodes in pkg/src/, and src/error.rs");
}

#[test]
fn every_error_code_is_explained() {
    let document = read("docs/troubleshooting.md");
    let sections: Vec<_> = document.split("\n## `").skip(1).collect();
    let titles = sections.iter().filter_map(|section| section.lines().next()?.strip_suffix('`'));
    let found: Vec<_> = titles.collect();
    assert_eq!(found, Code::ALL.map(Code::as_str), "sections of docs/troubleshooting.md");
    for section in &sections {
        for part in ["**Meaning.** ", "**Causes.** ", "**What to do.** "] {
            assert!(section.contains(part), "docs/troubleshooting.md: {part} in {section}");
        }
    }
}

#[test]
fn readmes_show_the_same_example() {
    let example = |path: &str| {
        let text = read(path);
        let code = text.split("```js\n").nth(1).unwrap_or_else(|| panic!("{path} has no example"));
        code.split("```").next().unwrap().to_owned()
    };
    let ours = example("README.md");
    let lines = ours.lines().filter(|line| !line.is_empty()).count();
    assert!(lines <= 10, "the example has {lines} lines, expected at most ten");
    assert_eq!(ours, example("pkg/README.md"), "README.md, and pkg/README.md");
}
