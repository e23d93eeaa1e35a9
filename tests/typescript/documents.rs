//! `docs/api.md` against the declarations of the package.

use super::declaration::{Declaration, Field, parse, wrap};
use super::{compare, generated, read};

const API: &str = "docs/api.md";
const TYPES: [&str; 2] = ["pkg/src/openai_types.ts", "pkg/src/types.ts"];
const END: &str = "<!-- end -->";
/// Declarations between worker and engine, which are not part of the API.
const INTERNAL: [&str; 4] = ["AdapterHints", "EngineProgress", "AnswerDelta", "Completion"];

/// Every exported declaration of the package's types.
fn declarations() -> Vec<Declaration> {
    let generated = generated().into_iter().flat_map(|(_, declarations, _)| declarations);
    generated.chain(TYPES.iter().flat_map(|path| parse(&read(path)))).collect()
}

fn find<'a>(declarations: &'a [Declaration], name: &str) -> &'a Declaration {
    let found = declarations.iter().find(|declaration| declaration.name == name);
    found.unwrap_or_else(|| panic!("{name} is not declared"))
}

/// The fields of an interface: its own, then inherited fields that it does not redeclare.
fn all_fields(declaration: &Declaration, declarations: &[Declaration]) -> Vec<Field> {
    let mut fields = declaration.fields.clone();
    for base in &declaration.extends {
        let picked = base.strip_prefix("Pick<").and_then(|rest| rest.split_once(", "));
        let (name, names) = picked.unwrap_or((base, ""));
        for field in all_fields(find(declarations, name), declarations) {
            let is_picked = names.is_empty() || names.contains(&format!("\"{}\"", field.name));
            if is_picked && fields.iter().all(|own| own.name != field.name) {
                fields.push(field);
            }
        }
    }
    fields
}

/// A declaration as Markdown: its documentation, and a list of its fields or values.
fn markdown(declaration: &Declaration, declarations: &[Declaration]) -> String {
    let mut text = wrap(&declaration.docs, "", "");
    text.push('\n');
    match &declaration.alias {
        Some(alias) => text += &wrap(&format!("`{alias}`").replace(" | ", "` \\| `"), "", ""),
        None => {
            for Field { name, optional, typescript, docs } in all_fields(declaration, declarations)
            {
                let mark = if optional { "?" } else { "" };
                text += &wrap(&format!("- `{name}{mark}: {typescript}`: {docs}"), "", "  ");
            }
        }
    }
    text
}

/// The names in marks `<!-- NAME -->`, each of which begins a list that `<!-- end -->` ends.
fn marks(document: &str) -> Vec<&str> {
    let marks =
        document.lines().filter_map(|line| line.strip_prefix("<!-- ")?.strip_suffix(" -->"));
    marks.filter(|mark| *mark != "end").collect()
}

#[test]
fn the_api_document_lists_every_declaration() {
    let (declarations, document) = (declarations(), read(API));
    let mut expected = String::new();
    let mut rest = document.as_str();
    for name in marks(&document) {
        let mark = format!("<!-- {name} -->\n");
        let (before, after) = rest.split_once(&mark).unwrap();
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{API}: {name}: no end"));
        expected += before;
        expected +=
            &format!("{mark}\n{}\n{END}", markdown(find(&declarations, name), &declarations));
        rest = after;
    }
    compare(API, &(expected + rest));

    let marked = marks(&document);
    let extended = declarations.iter().filter(|it| marked.contains(&it.name.as_str()));
    let extended: Vec<_> = extended.flat_map(|it| it.extends.clone()).collect();
    for Declaration { name, .. } in &declarations {
        let is_shown = marked.contains(&name.as_str()) || extended.contains(name);
        assert!(is_shown != INTERNAL.contains(&name.as_str()), "{API}: no list of {name}");
    }
}

#[test]
fn every_field_and_value_has_documentation() {
    for declaration in declarations() {
        let Declaration { name, docs, fields, .. } = declaration;
        assert!(!docs.is_empty(), "{name}: no documentation");
        for field in fields {
            assert!(
                field.docs.ends_with(['.', '…']),
                "{name}.{}: found {:?}",
                field.name,
                field.docs
            );
        }
    }
}
