//! Rules of the repository that a program can check. Each module holds one kind of rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod circles;
mod dependencies;
mod language;
mod repository;
mod source;
mod unused;

use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Paths of all files that are or may become part of the repository, relative to its root.
pub(crate) fn files() -> Vec<String> {
    let list = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output =
        Command::new("git").args(list).current_dir(root()).output().expect("git is not there");
    assert!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).unwrap();
    let paths = paths.split('\0').filter(|path| root().join(path).is_file());
    paths.filter(|path| !path.is_empty()).map(str::to_owned).collect()
}

pub(crate) fn files_with(extensions: &[&str]) -> Vec<String> {
    let wanted = |path: &String| extension(path).is_some_and(|found| extensions.contains(&found));
    files().into_iter().filter(wanted).collect()
}

pub(crate) fn extension(path: &str) -> Option<&str> {
    Path::new(path).extension().and_then(|extension| extension.to_str())
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(crate) fn none(rule: &str, violations: Vec<String>) {
    assert!(violations.is_empty(), "{rule}:\n  {}", violations.join("\n  "));
}
