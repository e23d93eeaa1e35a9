//! Budget of a rendering: steps, memory, output and nesting.
//!
//! Every value that a template creates has bounded depth, so that output, comparison and
//! destruction recurse no deeper. Operations whose cost grows with their operands spend from the
//! budget before they run. A value that contains another value twice counts it twice.

use std::fmt::{self, Write};
use std::sync::Arc;

use minijinja::value::{DynObject, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, Output, State, Value, escape_formatter};

use super::numbers::{is_float, python_number};
use super::render_error::refused_value;

/// Maximum steps of one rendering; a step is about one visited value or [`SCANNED_BYTES`] of text.
const MAX_STEPS: u64 = 16_000_000;
/// Maximum bytes of values in one rendering: all lists, mappings and short strings ever created,
/// and the long strings that are alive.
const MAX_VALUE_BYTES: u64 = 128 << 20;
/// Minimum bytes of a long string. Templates that build a prompt piece by piece create many.
const MIN_LONG_STRING_BYTES: usize = 1024;
/// Maximum bytes of output in one rendering, into the prompt, a block or a macro's result.
const MAX_OUTPUT_BYTES: u64 = 64 << 20;
/// Maximum nesting of lists and mappings, equal to that of JSON in a request.
pub(super) const MAX_DEPTH: usize = 128;
/// Maximum nesting of filters that call filters, such as `map('map', …)`.
const MAX_NESTED: usize = 8;
/// Bytes of text per step when characters are examined, and when they are copied.
const SCANNED_BYTES: u64 = 8;
pub(super) const COPIED_BYTES: u64 = 256;
/// Memory of an item in a list, and of a key and value in a mapping.
pub(super) const ITEM_BYTES: u64 = 32;
pub(super) const PAIR_BYTES: u64 = 96;

/// Resources spent by one rendering.
#[derive(Default)]
pub(super) struct RenderBudget {
    steps: u64,
    bytes: u64,
    /// Long strings; those that nothing else references are dropped when memory is short.
    texts: Vec<Arc<str>>,
    text_bytes: u64,
    written: u64,
    nested: usize,
}

impl RenderBudget {
    /// Budget of the current rendering.
    pub(super) fn of<'s>(state: &'s mut State<'_, '_>) -> &'s mut Self {
        state.get_or_insert_extension_with(Self::default)
    }

    /// Spends steps.
    pub(super) fn spend_steps(&mut self, count: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(count);
        self.check()
    }

    /// Spends bytes for values that are created.
    pub(super) fn spend_bytes(&mut self, count: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(count);
        self.ensure_room(0)
    }

    /// Refuses a string of `length` bytes if it would exceed the memory limit.
    pub(super) fn ensure_room(&mut self, length: u64) -> Result<(), Error> {
        let needed =
            |budget: &Self| budget.bytes.saturating_add(budget.text_bytes).saturating_add(length);
        if needed(self) > MAX_VALUE_BYTES && !self.texts.is_empty() {
            self.spend_steps(4 * self.texts.len() as u64)?;
            // A string shared by several values is listed several times.
            self.texts.sort_unstable_by_key(|text| text.as_ptr());
            self.texts.dedup_by_key(|text| text.as_ptr());
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.text_bytes = self.texts.iter().map(|text| text.len() as u64).sum();
        }
        self.spend_steps(1 + length / COPIED_BYTES)?;
        match needed(self) > MAX_VALUE_BYTES {
            true => Err(refused_value(
                format!("more than {MAX_VALUE_BYTES} bytes of values"),
                "at most as many",
            )),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let limits =
            [(self.steps, MAX_STEPS, "steps"), (self.written, MAX_OUTPUT_BYTES, "bytes of output")];
        match limits.into_iter().find(|(count, limit, _)| count > limit) {
            Some((_, limit, what)) => {
                Err(refused_value(format!("more than {limit} {what}"), "at most as many"))
            }
            None => Ok(()),
        }
    }

    /// Spends output.
    fn spend_output(&mut self, length: u64) -> Result<(), Error> {
        self.written = self.written.saturating_add(length);
        self.spend_steps(1 + length / COPIED_BYTES)
    }

    /// Spends steps for a string whose characters are examined.
    pub(super) fn spend_scan(&mut self, length: usize) -> Result<(), Error> {
        self.spend_steps(1 + length as u64 / SCANNED_BYTES)
    }

    /// Spends steps for the items of a list or mapping or the bytes of a string; returns their
    /// number.
    pub(super) fn spend_items(&mut self, value: &Value) -> Result<u64, Error> {
        let count = item_count(value);
        self.spend_steps(1 + count)?;
        Ok(count)
    }

    /// Runs `charge` and returns the steps that it spent.
    pub(super) fn count_steps(
        &mut self,
        charge: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let before = self.steps;
        charge(self)?;
        Ok(self.steps - before)
    }

    /// Spends steps for visiting everything in `value`, as comparing or hashing does.
    pub(super) fn spend_traversal(&mut self, value: &Value) -> Result<(), Error> {
        self.visit(value, MAX_DEPTH + 2, true)
    }

    /// Refuses a value that nests too deep, or contains a mutable object, which could come to
    /// contain itself.
    pub(super) fn check_nesting(&mut self, value: &Value) -> Result<(), Error> {
        self.visit(value, MAX_DEPTH, false)
    }

    fn visit(&mut self, value: &Value, allowed: usize, scans_strings: bool) -> Result<(), Error> {
        self.spend_steps(1)?;
        let Some(object) = value.as_object() else {
            return match value.as_str() {
                Some(text) if scans_strings => self.spend_scan(text.len()),
                _ => Ok(()),
            };
        };
        if !scans_strings && is_mutable(object) {
            return Err(refused_value(
                "a namespace or `loop` within a value",
                "values that cannot change",
            ));
        }
        if allowed == 0 {
            let found = format!("a value nested deeper than {MAX_DEPTH}");
            return Err(refused_value(found, "at most as deep"));
        }
        if value.kind() == ValueKind::Map {
            for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                self.visit(&key, allowed - 1, scans_strings)?;
                self.visit(&value, allowed - 1, scans_strings)?;
            }
        } else {
            for item in object.try_iter().into_iter().flatten() {
                self.visit(&item, allowed - 1, scans_strings)?;
            }
        }
        Ok(())
    }

    /// Spends memory for a string that was created.
    fn spend_string(&mut self, value: &Value) -> Result<(), Error> {
        let length = value.as_str().map_or(0, str::len);
        match value.to_str() {
            Some(text) if length >= MIN_LONG_STRING_BYTES => {
                self.texts.push(text);
                self.text_bytes += length as u64;
                self.ensure_room(0)
            }
            _ => self.spend_bytes(length as u64),
        }
    }

    /// Spends memory for a value that was created. Lazy sequences, which would be recomputed on
    /// every access, are turned into lists.
    pub(super) fn materialize(&mut self, value: Value) -> Result<Value, Error> {
        let value = match value.kind() {
            ValueKind::String => {
                self.spend_string(&value)?;
                return Ok(value);
            }
            ValueKind::Iterable => {
                let mut list = Vec::new();
                for item in value.try_iter()?.checked() {
                    self.spend_steps(1)?;
                    self.spend_bytes(ITEM_BYTES)?;
                    list.push(item?);
                }
                Value::from(list)
            }
            ValueKind::Seq => {
                self.spend_bytes(ITEM_BYTES * item_count(&value))?;
                value
            }
            ValueKind::Map if value.as_object().is_some_and(is_mutable) => return Ok(value),
            ValueKind::Map => {
                self.spend_bytes(PAIR_BYTES * item_count(&value))?;
                value
            }
            _ => return Ok(value),
        };
        self.check_nesting(&value)?;
        Ok(value)
    }

    /// Length in bytes of the text form of `value`.
    pub(super) fn text_length(&mut self, value: &Value) -> Result<u64, Error> {
        match value.as_str() {
            Some(text) => {
                self.spend_steps(1 + text.len() as u64 / COPIED_BYTES).map(|()| text.len() as u64)
            }
            None => self.write(value, &mut NullWriter),
        }
    }

    /// Writes the text form of `value` and returns its bytes; fails when the budget is exceeded.
    pub(super) fn write(&mut self, value: &Value, out: &mut dyn Write) -> Result<u64, Error> {
        let before = std::mem::take(&mut self.written);
        let mut metered = BudgetWriter { budget: self, out };
        let written = match is_float(value) {
            true => metered.write_str(&python_number(value)),
            false => write!(metered, "{value}"),
        };
        if written.is_err() {
            self.check()?;
            return Err(Error::from(ErrorKind::WriteFailure));
        }
        let length = std::mem::replace(&mut self.written, before);
        self.spend_steps(1)?;
        Ok(length)
    }

    /// Runs `work`, the implementation of a filter, test, function or method, after `charge` has
    /// spent its cost. Bounds the nesting of such calls.
    pub(super) fn metered_call(
        state: &mut State<'_, '_>,
        charge: impl FnOnce(&mut Self) -> Result<(), Error>,
        work: impl FnOnce(&mut State<'_, '_>) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        let budget = Self::of(state);
        if budget.nested >= MAX_NESTED {
            let found = format!("filters that call filters deeper than {MAX_NESTED}");
            return Err(refused_value(found, "at most as deep"));
        }
        charge(budget)?;
        budget.nested += 1;
        let result = work(state);
        let budget = Self::of(state);
        budget.nested -= 1;
        budget.materialize(result?)
    }
}

/// True for namespaces and `loop`, the only objects that a template can change.
fn is_mutable(object: &DynObject) -> bool {
    matches!(object.type_name().rsplit("::").next(), Some("Namespace" | "Loop"))
}

/// Number of items of a value, or bytes of a string.
pub(super) fn item_count(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.len() as u64,
        None => value.as_object().and_then(|object| object.enumerator_len()).unwrap_or(1) as u64,
    }
}

/// A writer that spends output.
struct BudgetWriter<'a> {
    budget: &'a mut RenderBudget,
    out: &'a mut dyn Write,
}

impl Write for BudgetWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.budget.spend_output(text.len() as u64).map_err(|_| fmt::Error)?;
        self.out.write_str(text)
    }
}

/// A writer that discards its output.
struct NullWriter;

impl Write for NullWriter {
    fn write_str(&mut self, _: &str) -> fmt::Result {
        Ok(())
    }
}

/// Writes a value into the prompt, a block or a macro's result.
pub(super) fn write(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    let escapes = !matches!(state.auto_escape(), AutoEscape::None);
    let budget = RenderBudget::of(state);
    match value.as_str() {
        _ if escapes => {
            // An escape has at most six characters.
            let length = budget.text_length(value)?;
            budget.spend_output(6 * length)?;
            escape_formatter(out, state, value)
        }
        Some(text) => {
            budget.spend_output(text.len() as u64)?;
            out.write_str(text).map_err(Error::from)
        }
        None => {
            let length = budget.write(value, out)?;
            budget.spend_output(length)
        }
    }
}
