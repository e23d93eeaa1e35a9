//! Dependencies between the parts of the crate, and the files that may use a library or a part of
//! `std`.

use super::assert_no_violations;
use super::source::{paths_in, sources};

/// Parts of the crate, each with the parts that it may name.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("formats", &["error"]),
    ("sampling", &["error"]),
    ("kernels", &["formats", "sampling", "error"]),
    ("plan", &["kernels", "formats", "sampling", "error"]),
    // Models and layers handle matrices and know no weight format, except in EXCEPTIONS.
    ("layers", &["plan", "kernels", "error"]),
    ("models", &["layers", "plan", "kernels", "weights", "error"]),
    // Model files and text know no executor.
    ("weights", &["formats", "error"]),
    ("text", &["weights", "error"]),
    // The executors do not know each other.
    ("gpu", &["plan", "kernels", "formats", "error"]),
    ("cpu", &["plan", "kernels", "formats", "error"]),
    (
        "engine",
        &["models", "plan", "kernels", "weights", "text", "sampling", "gpu", "cpu", "error"],
    ),
    ("web", &["engine", "text", "weights", "error"]),
    // The engine is the crate's API; `weights` opens files on disk.
    ("bin", &["engine", "weights", "error"]),
];

/// Files that may name a part that `MAY_NAME` denies them, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    // Tells plans the shapes and formats of a checkpoint's tensors; `plan` may not name `weights`.
    ("src/models/config.rs", "formats"),
    // Measures a random matrix in the weight format of the model.
    ("src/engine/tuning/measurement.rs", "formats"),
    // Writes a model file, which contains the names of the formats.
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
    // Inline assembly of one instruction, and calls of functions for instructions that the
    // processor was found to have.
    ("unsafe", &["src/cpu/dotprod.rs", "src/cpu/prefetch.rs", "src/cpu/variant.rs"]),
    (
        "target_arch",
        &["src/lib.rs", "src/bin/", "src/cpu/", "src/gpu/", "src/web/", "src/weights/mod.rs"],
    ),
];

/// Parts of `std` that only some files may use: the core does no I/O and starts no threads.
const STD_ONLY_IN: &[(&str, &[&str])] = &[
    ("fs", &["src/weights/disk.rs", "src/bin/"]),
    ("process", &["src/bin/"]),
    ("thread", &[]),
    ("net", &[]),
];

/// Macros that only the command line may use: they print, or stand for unfinished code.
const MACROS: &[&str] =
    &["todo", "unimplemented", "unreachable", "dbg", "print", "println", "eprint", "eprintln"];

/// The part of the crate to which a file belongs; `None` for `src/lib.rs`.
pub(crate) fn part(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let part = inside.split('/').next()?.trim_end_matches(".rs");
    (part != "lib").then_some(part)
}

#[test]
fn parts_name_only_parts_of_the_dependency_table() {
    let mut violations = Vec::new();
    for (path, tokens) in sources() {
        let Some(part) = part(&path) else { continue };
        let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == part) else {
            violations.push(format!("{path}: found the part {part}, expected one of MAY_NAME"));
            continue;
        };
        // The command line is a crate of its own.
        let mut named = paths_in(&tokens, if part == "bin" { "tablm" } else { "crate" });
        // From the file at the top of a part, `super` is the crate.
        if path == format!("src/{part}.rs") || path == format!("src/{part}/mod.rs") {
            named.extend(paths_in(&tokens, "super"));
        }
        for (name, line) in named.iter().map(|named| (named.segments[0], named.line)) {
            let is_part = MAY_NAME.iter().any(|(part, _)| *part == name);
            let is_allowed = allowed.contains(&name) || EXCEPTIONS.contains(&(path.as_str(), name));
            if is_part && name != part && !is_allowed {
                violations.push(format!("{path}:{line}: {part} names {name}"));
            }
        }
        let above = paths_in(&tokens, "super").into_iter().filter(|it| it.segments[0] == "super");
        violations
            .extend(above.map(|it| format!("{path}:{}: super::super, expected crate::…", it.line)));
    }
    assert_no_violations("dependencies as in MAY_NAME", violations);
}

#[test]
fn libraries_and_parts_of_std_are_named_only_where_allowed() {
    let outside =
        |path: &str, allowed: &[&str]| !allowed.iter().any(|start| path.starts_with(start));
    let mut violations = Vec::new();
    for (path, tokens) in sources() {
        for (name, allowed) in ONLY_IN {
            let found =
                tokens.iter().find(|token| token.text == *name).filter(|_| outside(&path, allowed));
            violations.extend(found.map(|token| format!("{path}:{}: {name}", token.line)));
        }
        for (name, line) in paths_in(&tokens, "std").iter().map(|it| (it.segments[0], it.line)) {
            let rule = STD_ONLY_IN.iter().find(|(wanted, _)| *wanted == name);
            if rule.is_some_and(|(_, allowed)| outside(&path, allowed)) {
                violations.push(format!("{path}:{line}: std::{name}"));
            }
        }
    }
    assert_no_violations("libraries and parts of std only where they are allowed", violations);
}

#[test]
fn library_does_not_print_and_has_no_unfinished_code() {
    let mut violations = Vec::new();
    for (path, tokens) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/bin/")) {
        for pair in tokens.windows(2).filter(|pair| pair[1].text == "!") {
            if MACROS.contains(&pair[0].text.as_str()) {
                violations.push(format!("{path}:{}: {}!", pair[0].line, pair[0].text));
            }
        }
    }
    assert_no_violations("no output, no unfinished code", violations);
}

#[test]
fn part_is_a_folder_or_a_file_of_the_crate() {
    assert_eq!(part("src/engine/load.rs"), Some("engine"));
    assert_eq!(part("src/error.rs"), Some("error"));
    assert_eq!(part("src/lib.rs"), None);
}
