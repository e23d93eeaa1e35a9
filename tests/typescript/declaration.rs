//! TypeScript declarations: read from ts-rs and from source files, written in prettier's format.

use ts_rs::{Config, TS};

/// Columns of a line, as in `.prettierrc.json`.
pub(crate) const COLUMNS: usize = 100;

/// A member of an interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) optional: bool,
    pub(crate) typescript: String,
    pub(crate) docs: String,
}

/// An exported interface, or an alias of a type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) docs: String,
    /// Names of the interfaces that it extends.
    pub(crate) extends: Vec<String>,
    pub(crate) fields: Vec<Field>,
    /// Type that an alias stands for.
    pub(crate) alias: Option<String>,
}

/// Configuration of ts-rs: integers of every size are `number`.
fn config() -> Config {
    Config::new().with_large_int("number")
}

/// The declaration of a Rust struct, with renamed fields.
pub(crate) fn interface<T: TS>(rename: impl Fn(&str) -> String) -> Declaration {
    let (inline, docs) = (T::inline(&config()), T::docs().unwrap_or_default());
    let body = inline.trim().trim_start_matches('{').trim_end_matches('}');
    let mut fields = members(body, ',');
    let names: Vec<_> = fields.iter().map(|field| field.name.clone()).collect();
    for field in &mut fields {
        field.name = rename(&field.name);
        field.typescript = without_generics(&field.typescript);
        field.docs = without_links(&field.docs);
        for name in &names {
            field.docs = field.docs.replace(&format!("`{name}`"), &format!("`{}`", rename(name)));
        }
    }
    let name = T::ident(&config());
    Declaration {
        name,
        docs: without_links(&doc_text(&docs)),
        extends: Vec::new(),
        fields,
        alias: None,
    }
}

/// Replaces links of Rust's documentation, [`Type::field`], by `Type.field`.
fn without_links(docs: &str) -> String {
    let mut text = String::new();
    let mut rest = docs;
    while let Some((before, after)) = rest.split_once("[`") {
        let (path, after) = after.split_once("`]").expect("the end of a link");
        text += &format!("{before}`{}`", path.replace("::", "."));
        rest = after;
    }
    text + rest
}

/// Replaces `Array<Name>` by `Name[]`.
fn without_generics(typescript: &str) -> String {
    let Some((before, rest)) = typescript.split_once("Array<") else {
        return typescript.to_owned();
    };
    let (item, after) = rest.split_once('>').expect("an item type");
    format!("{before}{item}[]{after}")
}

/// The declaration of a type whose values are strings.
pub(crate) fn union<T: TS>(values: &[String]) -> Declaration {
    let docs = doc_text(&T::docs().unwrap_or_default());
    named_union(&T::ident(&config()), docs, values)
}

pub(crate) fn named_union(name: &str, docs: String, values: &[String]) -> Declaration {
    let alias = values.iter().map(|value| format!("{value:?}")).collect::<Vec<_>>().join(" | ");
    let (name, alias) = (name.to_owned(), Some(alias));
    Declaration { name, docs, extends: Vec::new(), fields: Vec::new(), alias }
}

/// The values of a Rust enumeration whose variants ts-rs declares as strings.
pub(crate) fn values<T: TS>() -> Vec<String> {
    T::inline(&config()).split(" | ").map(|value| value.trim_matches('"').to_owned()).collect()
}

/// Text of a TypeScript doc comment, on one line.
fn doc_text(comment: &str) -> String {
    let inner = comment.trim().trim_start_matches("/**").trim_end_matches("*/");
    let lines = inner.lines().map(|line| line.trim().trim_start_matches('*').trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Fields of a body: `/** docs */ name?: type`, each followed by `end`.
fn members(body: &str, end: char) -> Vec<Field> {
    let mut members = Vec::new();
    let mut rest = body.trim();
    while !rest.is_empty() {
        let mut docs = String::new();
        while let Some(comment) = rest.strip_prefix("/**") {
            let (comment, after) = comment.split_once("*/").expect("a comment that ends");
            docs = doc_text(comment);
            rest = after.trim_start();
        }
        let length = member_length(rest, end);
        let member = rest[..length].trim();
        rest = rest[length..].trim_start_matches(end).trim_start();
        // Skips methods and computed names.
        let Some((name, typescript)) = member.split_once(": ") else { continue };
        let plain = name.trim_start_matches("readonly ").trim_end_matches('?');
        if plain.chars().all(|letter| letter.is_alphanumeric() || letter == '_') {
            members.push(Field {
                name: plain.to_owned(),
                optional: name.ends_with('?'),
                typescript: typescript.split_whitespace().collect::<Vec<_>>().join(" "),
                docs,
            });
        }
    }
    members
}

/// Splits the list of interfaces that an interface extends.
fn bases(mut list: &str) -> Vec<String> {
    let mut bases = Vec::new();
    while !list.is_empty() {
        let length = member_length(list, ',');
        bases.push(list[..length].trim().to_owned());
        list = list[length..].trim_start_matches(',').trim_start();
    }
    bases
}

/// Bytes up to an `end` outside all brackets and comments.
fn member_length(text: &str, end: char) -> usize {
    let mut depth = 0;
    let mut from = 0;
    while let Some(letter) = text[from..].chars().next() {
        if text[from..].starts_with("/*") {
            from += text[from..].find("*/").expect("a comment that ends") + 2;
            continue;
        }
        match letter {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            '>' if !text[..from].ends_with('=') => depth -= 1,
            _ if letter == end && depth == 0 => return from,
            _ => {}
        }
        from += letter.len_utf8();
    }
    text.len()
}

/// The exported interfaces and aliases of a source file that prettier formatted.
pub(crate) fn parse(source: &str) -> Vec<Declaration> {
    let mut declarations = Vec::new();
    let mut docs = String::new();
    let mut rest = source;
    while !rest.is_empty() {
        let line_length = rest.find('\n').map_or(rest.len(), |at| at + 1);
        if rest.starts_with("/**") {
            let length = rest.find("*/").expect("a comment that ends") + 2;
            docs = doc_text(&rest[..length]);
            rest = rest[length..].trim_start();
        } else if let Some(after) = rest.strip_prefix("export interface ") {
            let (head, body) = after.split_once('{').expect("a body");
            let length = if body.starts_with('}') { 0 } else { body.find("\n}").expect("an end") };
            let head = head.split_whitespace().collect::<Vec<_>>().join(" ");
            let (name, extends) = head.split_once(" extends ").unwrap_or((&head, ""));
            declarations.push(Declaration {
                name: name.to_owned(),
                docs: std::mem::take(&mut docs),
                extends: bases(extends),
                fields: members(&body[..length], ';'),
                alias: None,
            });
            rest = body[length..].trim_start_matches(['\n', '}']);
        } else if let Some(after) =
            rest.strip_prefix("export type ").filter(|it| !it.starts_with(['*', '{']))
        {
            let length = member_length(after, ';');
            let (name, alias) = after[..length].split_once('=').expect("an alias");
            let alias = alias.split_whitespace().collect::<Vec<_>>().join(" ");
            declarations.push(Declaration {
                name: name.trim().to_owned(),
                docs: std::mem::take(&mut docs),
                extends: Vec::new(),
                fields: Vec::new(),
                alias: Some(alias.trim_start_matches("| ").to_owned()),
            });
            rest = &after[length..];
        } else {
            docs.clear();
            rest = &rest[line_length..];
        }
    }
    declarations
}

impl Declaration {
    /// Removes fields from the declaration.
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
        for name in names {
            let count = self.fields.len();
            self.fields.retain(|field| field.name != *name);
            assert!(self.fields.len() < count, "{} has no field {name}", self.name);
        }
        self
    }

    /// Makes all fields optional.
    pub(crate) fn all_optional(mut self) -> Self {
        for field in &mut self.fields {
            field.optional = true;
            field.typescript = field.typescript.trim_end_matches(" | null").to_owned();
        }
        self
    }

    /// The source text, in prettier's format.
    pub(crate) fn to_typescript(&self) -> String {
        let mut text = comment("", &self.docs);
        match &self.alias {
            Some(alias) => text.push_str(&alias_text(&self.name, alias)),
            None => {
                text.push_str(&format!("export interface {} {{\n", self.name));
                for field in &self.fields {
                    let mark = if field.optional { "?" } else { "" };
                    text.push_str(&comment("  ", &field.docs));
                    text.push_str(&format!("  {}{mark}: {};\n", field.name, field.typescript));
                }
                text.push_str("}\n");
            }
        }
        text
    }
}

/// An alias, as prettier breaks it: on one line, after a line break, or one alternative per line.
fn alias_text(name: &str, alias: &str) -> String {
    let head = format!("export type {name} =");
    if head.len() + alias.len() + 2 <= COLUMNS {
        format!("{head} {alias};\n")
    } else if alias.len() + 3 <= COLUMNS {
        format!("{head}\n  {alias};\n")
    } else {
        format!("{head}\n  | {};\n", alias.replace(" | ", "\n  | "))
    }
}

/// A list of strings: on one line, or one string per line.
pub(crate) fn list_text(head: &str, values: &[String], tail: &str) -> String {
    let quoted: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    let line = format!("{head}[{}]{tail}\n", quoted.join(", "));
    if line.len() <= COLUMNS + 1 {
        return line;
    }
    let indent = " ".repeat(head.len() - head.trim_start().len());
    let lines: String = quoted.iter().map(|value| format!("{indent}  {value},\n")).collect();
    format!("{head}[\n{lines}{indent}]{tail}\n")
}

/// A doc comment, on one line if it fits.
pub(crate) fn comment(indent: &str, text: &str) -> String {
    match indent.len() + text.chars().count() + 7 {
        _ if text.is_empty() => String::new(),
        0..=COLUMNS => format!("{indent}/** {text} */\n"),
        _ => {
            let lines = wrap(text, &format!("{indent} * "), &format!("{indent} * "));
            format!("{indent}/**\n{lines}{indent} */\n")
        }
    }
}

/// A text broken into lines of at most [`COLUMNS`] characters.
pub(crate) fn wrap(text: &str, first: &str, next: &str) -> String {
    let mut lines = String::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in text.split_whitespace() {
        if !is_empty && line.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push_str(line.trim_end());
            lines.push('\n');
            (line, is_empty) = (next.to_owned(), true);
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}
