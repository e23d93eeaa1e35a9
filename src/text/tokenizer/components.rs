//! Components of a `tokenizer.json`: normalizers, pre-tokenizers, post-processors and decoders.

use std::fmt::Display;

use serde_json::Value;

use super::SPACE_MARK;
use crate::error::{Error, Result, excerpt, quoted};

/// Maximum factor by which all replacements of a file together may lengthen a text, and maximum
/// bytes of a text that a component inserts.
pub(super) const MAX_GROWTH: usize = 64;
/// Maximum normalizers or splitters, and maximum nesting of their sequences.
const MAX_STEPS: usize = 16;

/// A component, with its file and top-level field for error messages.
#[derive(Clone, Copy)]
pub(super) struct Component<'a> {
    pub(super) file: &'a str,
    field: &'static str,
    value: &'a Value,
}

impl<'a> Component<'a> {
    /// The component `value` of the given file and field.
    pub(super) fn new(file: &'a str, field: &'static str, value: &'a Value) -> Self {
        Self { file, field, value }
    }

    /// The `type`; empty if there is none.
    pub(super) fn kind(self) -> &'a str {
        self.str("type").unwrap_or("")
    }

    /// True for `null`, which stands for an absent component.
    pub(super) fn is_null(self) -> bool {
        self.value.is_null()
    }

    /// Value at a dotted path.
    pub(super) fn get(self, path: &str) -> Option<&'a Value> {
        path.split('.').try_fold(self.value, |value, key| value.get(key))
    }

    /// An optional boolean.
    pub(super) fn flag(self, key: &str) -> Option<bool> {
        flag(self.value, key)
    }

    /// An optional string at a dotted path.
    pub(super) fn str(self, path: &str) -> Option<&'a str> {
        self.get(path).and_then(Value::as_str)
    }

    /// A required string at a dotted path; `malformed` if it is absent.
    pub(super) fn text(self, path: &str) -> Result<&'a str> {
        self.str(path).ok_or_else(|| {
            let found = self.excerpt(path);
            Error::malformed_value(self.file, &self.field_name(path), found, "text")
        })
    }

    /// Character by which a Metaspace component replaces spaces; `malformed` if it is not one.
    pub(super) fn metaspace_mark(self) -> Result<char> {
        let Some(replacement) = self.str("replacement") else { return Ok(SPACE_MARK) };
        let mut characters = replacement.chars();
        match (characters.next(), characters.next()) {
            (Some(mark), None) => Ok(mark),
            _ => {
                let found = format!("Metaspace replacement {}", quoted(replacement));
                Err(self.malformed(found, "one character"))
            }
        }
    }

    /// Members of a sequence, listed under `key`.
    pub(super) fn members(self, key: &str) -> impl Iterator<Item = Component<'a>> {
        let members = self.get(key).and_then(Value::as_array).into_iter().flatten();
        members.map(move |value| Self { value, ..self })
    }

    /// Refuses too many steps before this one, or too deep a nesting of sequences around it.
    pub(super) fn check_bounds(self, step_count: usize, depth: usize) -> Result<()> {
        if step_count.max(depth) < MAX_STEPS {
            return Ok(());
        }
        let found = format!("more than {MAX_STEPS} steps or levels");
        Err(self.unsupported(found, "at most as many"))
    }

    /// Name of the field at `path`, for messages.
    pub(super) fn field_name(self, path: &str) -> String {
        format!("{}: {}.{path}", self.field, self.kind())
    }

    /// Excerpt of the value at a dotted path, for messages.
    pub(super) fn excerpt(self, path: &str) -> String {
        self.get(path).map_or("nothing".to_owned(), excerpt)
    }

    /// `malformed`, naming file and field.
    pub(super) fn malformed(self, found: impl Display, expected: impl Display) -> Error {
        Error::malformed_value(self.file, self.field, found, expected)
    }

    /// `unsupported-format`, naming file and field.
    pub(super) fn unsupported(self, found: impl Display, expected: impl Display) -> Error {
        Error::unsupported_value(self.file, self.field, found, expected)
    }

    /// `unsupported-format`, for a component whose type is none of `known`.
    pub(super) fn unknown_type(self, known: &str) -> Error {
        self.unsupported(quoted(self.kind()), format!("one of {known}"))
    }
}

/// An optional boolean.
pub(super) fn flag(value: &Value, key: &str) -> Option<bool> {
    value.get(key).and_then(Value::as_bool)
}
