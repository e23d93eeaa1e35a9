//! Public items that are declared and never used; rustc warns only of private ones.

use std::collections::BTreeMap;

use super::source::{is_word, sources};
use super::{assert_no_violations, files_with, read};

/// Occurrences of each word in the code of the repository.
fn counts() -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for path in files_with(&["rs", "wgsl", "ts", "mjs", "js", "html"]) {
        let text = read(&path);
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
        for word in code.flat_map(|line| line.split(|letter: char| !is_part_of_word(letter))) {
            if !word.is_empty() {
                *counts.entry(word.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

fn is_part_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || letter == '_' || letter == '$'
}

/// Path, line and name of each item that is visible outside its module.
fn public_items() -> Vec<(String, usize, String)> {
    const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "const", "static", "type", "union"];
    let mut items = Vec::new();
    // JavaScript calls the items of src/web/ by other names.
    for (path, tokens) in sources().into_iter().filter(|(path, _)| !path.starts_with("src/web/")) {
        for (i, _) in tokens.iter().enumerate().filter(|(_, token)| token.text == "pub") {
            let after = tokens[i + 1..].iter().skip_while(|token| {
                ["(", ")", "crate", "super", "in", "async", "unsafe"].contains(&token.text.as_str())
            });
            let mut names = after.skip_while(|token| KINDS.contains(&token.text.as_str())).take(1);
            let is_item =
                tokens[i + 1..].iter().take(6).any(|it| KINDS.contains(&it.text.as_str()));
            if let Some(name) = names.next().filter(|name| is_item && is_word(&name.text)) {
                items.push((path.clone(), name.line, name.text.clone()));
            }
        }
    }
    items
}

/// The name that a line of a script or shader declares for use elsewhere in the repository.
fn declared(path: &str, line: &str) -> Option<String> {
    let starts: &[&str] = match path.ends_with(".wgsl") {
        true => &["fn ", "const ", "override ", "struct ", "alias "],
        false => &[
            "export function ",
            "export async function ",
            "export const ",
            "export class ",
            "export interface ",
            "export type ",
        ],
    };
    let rest = starts.iter().find_map(|start| line.strip_prefix(start))?;
    let name: String = rest.chars().take_while(|letter| is_part_of_word(*letter)).collect();
    (!name.is_empty() && name != "main").then_some(name)
}

#[test]
fn public_items_are_used() {
    let counts = counts();
    let mut items = public_items();
    for path in files_with(&["wgsl", "ts", "mjs"]) {
        let text = read(&path);
        let names =
            text.lines().enumerate().filter_map(|(i, line)| Some((i, declared(&path, line)?)));
        items.extend(names.map(|(i, name)| (path.clone(), i + 1, name)));
    }
    assert!(items.len() > 1000, "{} items", items.len());
    let unused = items.into_iter().filter(|(_, _, name)| counts.get(name).copied() <= Some(1));
    assert_no_violations(
        "no unused declarations",
        unused.map(|(path, line, name)| format!("{path}:{line}: {name}")).collect(),
    );
}
