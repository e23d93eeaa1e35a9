//! The documents say what is so: their tables are the registries, their paths exist, their
//! commands are there.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use tablm::Code;
use tablm::formats::Format;
use tablm::models::ARCHITECTURES;

/// Documents, with the folder that their paths start from.
const DOCUMENTS: &[&str] =
    &["README.md", "ARCHITECTURE.md", "pkg/README.md", "shaders/formats/README.md"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Rows, as cells, of the table whose first header cell is that one.
fn table(text: &str, header: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| -> Vec<String> {
        // An empty cell is two bars with one space between; each cell wants its own two.
        let line = line.trim().replace("| |", "|  |");
        let inside = line.trim_start_matches('|').trim_end_matches('|');
        inside.split(" | ").map(|cell| cell.trim_matches(['|', ' ']).to_owned()).collect()
    };
    let mut lines = text.lines().skip_while(|line| !line.starts_with(&format!("| {header} |")));
    assert!(lines.next().is_some(), "no table begins with {header}");
    lines.skip(1).take_while(|line| line.starts_with('|')).map(cells).collect()
}

/// What stands between backticks, outside of code blocks.
fn quoted(text: &str) -> Vec<String> {
    let mut quoted = Vec::new();
    for (i, piece) in text.split("```").enumerate() {
        if i % 2 == 0 {
            quoted.extend(piece.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    quoted
}

#[test]
fn architectures_are_those_of_the_registry() {
    let rows = table(&read("README.md"), "architecture");
    let documented: Vec<_> = rows.iter().map(|row| (quoted(&row[1]), quoted(&row[2]))).collect();
    let known = ARCHITECTURES.iter().map(|known| {
        let hugging_face = known.hugging_face.iter().map(|name| (*name).to_owned()).collect();
        (vec![known.gguf.to_owned()], hugging_face)
    });
    assert_eq!(documented, known.collect::<Vec<_>>(), "README.md, and src/models/mod.rs");
}

#[test]
fn formats_are_those_of_the_registry() {
    let documented = table(&read("README.md"), "weight format");
    let known = Format::ALL.map(|format| {
        let rules = format.rules();
        let bits = (8 * rules.block_bytes()) as f64 / rules.block_weights() as f64;
        let in_gguf = format.gguf_type().is_some();
        let in_safetensors = !in_gguf || Format::from_safetensors_dtype(format.name()).is_some();
        let yes = |is: bool| if is { "yes" } else { "" };
        [format.name(), &bits.to_string(), yes(in_gguf), yes(in_safetensors)]
            .map(str::to_owned)
            .to_vec()
    });
    assert_eq!(documented, known, "README.md, and src/formats/mod.rs");
}

#[test]
fn commands_are_those_of_the_command_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_tablm")).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| line.starts_with("  "));
    let commands =
        commands.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help");
    let known: Vec<_> = commands.map(str::to_owned).collect();
    assert!(known.len() > 3, "{help}");
    let rows = table(&read("README.md"), "call");
    let documented =
        rows.iter().map(|row| row[0].trim_start_matches("`tablm ").split(' ').next().unwrap());
    assert_eq!(documented.collect::<Vec<_>>(), known, "README.md, and tablm --help");
}

#[test]
fn options_in_documents_exist() {
    let mut known = BTreeSet::new();
    for command in table(&read("README.md"), "call") {
        let call = quoted(&command[0]).remove(0);
        let name = call.split(' ').nth(1).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_tablm")).args([name, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        for word in call.split(' ').filter(|word| word.starts_with("--")) {
            assert!(help.contains(&format!("{word} ")), "{call}: {word} is not in {help}");
        }
        known.extend(
            help.split_whitespace().filter(|word| word.starts_with("--")).map(str::to_owned),
        );
    }
    let section = read("README.md");
    let section = section.split("## Command line").nth(1).unwrap().split("\n## ").next().unwrap();
    for text in quoted(section) {
        let options = text.split(' ').filter(|word| word.starts_with("--") && *word != "--help");
        for option in options {
            assert!(known.contains(option), "README.md: no command takes {option}");
        }
    }
}

#[test]
fn targets_are_those_of_the_makefile() {
    let makefile = read("Makefile");
    let known = makefile.lines().find_map(|line| line.strip_prefix(".PHONY: ")).unwrap();
    let rows = table(&read("README.md"), "target");
    let documented: Vec<_> =
        rows.iter().map(|row| row[0].trim_matches('`').replace("make ", "")).collect();
    assert_eq!(documented, known.split(' ').collect::<Vec<_>>(), "README.md, and the Makefile");
}

/// What looks like a path of the repository: folders and a known ending, or a folder.
fn is_path(text: &str) -> bool {
    let plain =
        text.chars().all(|letter| letter.is_ascii_alphanumeric() || "._-/".contains(letter));
    let endings = [".rs", ".wgsl", ".md", ".mjs", ".ts", ".sh", ".toml", ".py", ".html"];
    let built = ["dist/", "target/", "node_modules"].iter().any(|folder| text.contains(folder));
    plain
        && !built
        && text.contains('/')
        && (text.ends_with('/') || endings.iter().any(|end| text.ends_with(end)))
}

#[test]
fn paths_in_documents_exist() {
    let mut missing = Vec::new();
    for document in DOCUMENTS {
        let text = read(document);
        let folder = root().join(document).parent().unwrap().to_owned();
        let is_there = |path: &str| root().join(path).exists() || folder.join(path).exists();
        let paths = quoted(&text).into_iter().filter(|text| is_path(text));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let links =
            links.filter(|link| !link.contains("://") && !link.starts_with('#')).map(str::to_owned);
        let paths = paths.chain(links).filter(|path| !is_there(path));
        missing.extend(paths.map(|path| format!("{document}: {path}")));
    }
    assert!(missing.is_empty(), "paths that lead nowhere: {missing:#?}");
}

/// The map of ARCHITECTURE.md as paths: two spaces a level, the name, two spaces, what it is.
fn map() -> Vec<String> {
    let text = read("ARCHITECTURE.md");
    let text = text.split("## The map").nth(1).expect("a section called The map");
    let block = text.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let mut folders: Vec<String> = Vec::new();
    let mut paths = Vec::new();
    for line in block.lines().filter(|line| !line.trim().is_empty()) {
        let depth = (line.len() - line.trim_start().len()) / 2;
        let name = line.trim_start().split("  ").next().unwrap();
        assert!(line.trim_start().len() > name.len(), "no explanation in {line:?}");
        folders.truncate(depth);
        paths.push(format!("{}{name}", folders.concat()));
        if name.ends_with('/') {
            folders.push(name.to_owned());
        }
    }
    paths
}

#[test]
fn the_map_shows_what_is_there() {
    let map = map();
    let missing: Vec<_> = map.iter().filter(|path| !root().join(path).exists()).collect();
    assert!(missing.is_empty(), "on the map, but not there: {missing:#?}");
    let shown: BTreeSet<_> = map.iter().map(|path| path.trim_end_matches('/').to_owned()).collect();
    for folder in ["src", "shaders"] {
        for path in sources(&root().join(folder)) {
            let path = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
            let name = Path::new(&path).file_stem().unwrap().to_string_lossy();
            let parent = Path::new(&path).parent().unwrap().to_string_lossy();
            // One file for each kernel and format; the folder's line says so for all.
            let is_listed =
                ["src/kernels", "src/formats", "shaders", "shaders/formats"].contains(&&*parent);
            let is_shown =
                shown.contains(&path) || name == "mod" || (is_listed && shown.contains(&*parent));
            assert!(is_shown, "{path} is not on the map of ARCHITECTURE.md");
        }
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            paths.extend(sources(&path));
        } else if path
            .extension()
            .is_some_and(|end| ["rs", "wgsl"].iter().any(|known| end == *known))
        {
            paths.push(path);
        }
    }
    paths
}

#[test]
fn error_codes_are_the_same_in_typescript() {
    let text = read("pkg/src/errors.ts");
    let list = text.split("export const errorCodes = [").nth(1).unwrap().split(']').next().unwrap();
    let found: BTreeSet<_> = list.split('"').skip(1).step_by(2).collect();
    let known: BTreeSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(found, known, "pkg/src/errors.ts, and src/error.rs");
}

#[test]
fn both_readmes_show_the_same_example() {
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
