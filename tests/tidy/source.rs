//! Tokens of Rust source files, and the paths and functions in them.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::{files_with, read};

/// The crate's own files, with their tokens.
pub(crate) fn sources() -> Vec<(String, Vec<Token>)> {
    let paths = files_with(&["rs"]).into_iter().filter(|path| path.starts_with("src/"));
    paths.map(|path| (path.clone(), tokens(&path, &read(&path)))).collect()
}

/// A token of Rust. Comments are not tokens; a doc comment is a string literal.
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Number of open delimiters before the token.
    pub(crate) depth: usize,
}

pub(crate) fn tokens(path: &str, text: &str) -> Vec<Token> {
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

/// A path as a `use` or an expression names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NamedPath<'a> {
    /// Segments after the start, up to the first that is no identifier.
    pub(crate) segments: Vec<&'a str>,
    /// Name under which it is known in the file: after `as`, or the last segment.
    pub(crate) name: &'a str,
    pub(crate) line: usize,
}

/// Paths that start with `start::`; a tree in braces gives one path per leaf.
pub(crate) fn paths_in<'a>(tokens: &'a [Token], start: &str) -> Vec<NamedPath<'a>> {
    let mut paths = Vec::new();
    for (i, window) in tokens.windows(4).enumerate() {
        let is_inner = i >= 2 && is_colons(&tokens[i - 2..]);
        if window[0].text == start && is_colons(&window[1..]) && !is_inner {
            expand(&tokens[i + 3..], &mut Vec::new(), &mut paths);
        }
    }
    paths
}

/// Appends the paths of the tree that starts at the first token, each after the segments `before`.
pub(crate) fn expand<'a>(
    tokens: &'a [Token],
    before: &mut Vec<&'a str>,
    paths: &mut Vec<NamedPath<'a>>,
) {
    let [first, rest @ ..] = tokens else { return };
    if first.text == "{" {
        let mut is_start = true;
        for (i, token) in rest.iter().enumerate().take_while(|(_, token)| token.depth > first.depth)
        {
            if is_start {
                expand(&rest[i..], before, paths);
            }
            is_start = token.text == "," && token.depth == first.depth + 1;
        }
        return;
    }
    before.push(&first.text);
    let continues = |token: &Token| token.text == "{" || is_word(&token.text);
    if is_colons(rest) && rest.get(2).is_some_and(continues) {
        expand(&rest[2..], before, paths);
    } else {
        let name = match rest {
            [word, name, ..] if word.text == "as" => &name.text,
            _ => &first.text,
        };
        paths.push(NamedPath { segments: before.clone(), name, line: first.line });
    }
    before.pop();
}

pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|letter: char| letter.is_alphabetic() || letter == '_')
}

pub(crate) fn is_colons(tokens: &[Token]) -> bool {
    matches!(tokens, [first, second, ..] if first.text == ":" && second.text == ":")
}

/// Name, first line and number of lines of each function with a body.
pub(crate) fn functions(tokens: &[Token]) -> Vec<(&str, usize, usize)> {
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

#[test]
fn tokens_paths_and_functions_are_found() {
    let code = tokens(
        "here",
        "// wgpu\nuse crate::{gpu::{Gpu as G}, error};\n\
         fn f(a: fn(u8), b: crate::cpu::H) -> [u8; 2]\n{\n  crate::web::g::<u8>()\n}",
    );
    let found = paths_in(&code, "crate");
    let found: Vec<_> = found.iter().map(|it| (it.segments.join("::"), it.name, it.line)).collect();
    let expected =
        [("gpu::Gpu", "G", 2), ("error", "error", 2), ("cpu::H", "H", 3), ("web::g", "g", 5)];
    assert_eq!(found, expected.map(|(path, name, line)| (path.to_owned(), name, line)));
    assert_eq!(functions(&code), [("f", 3, 4)]);
    assert!(!code.iter().any(|token| token.text == "wgpu"));
}
