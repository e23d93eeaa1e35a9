//! Accounting of a rendering: what a template has done, and the bounds of it.
//!
//! Every value that a template makes is bounded in depth when it is made, so that writing,
//! comparing and dropping it recurse no deeper; what takes longer or more for a larger value is
//! counted before it is done. A value that holds another twice counts it twice.

use std::fmt::{self, Write};
use std::sync::Arc;

use minijinja::value::{DynObject, ValueKind};
use minijinja::{AutoEscape, Error, ErrorKind, Output, State, Value, escape_formatter};

use super::chat_filters::is_float;
use super::chat_functions::number;

/// Most steps of one rendering, each about a value looked at or [`SCANNED`] bytes of text.
const MAX_STEPS: u64 = 16_000_000;
/// Most bytes of values in one rendering: of lists, mappings and short texts all that were made,
/// of long texts those that are still there.
const MAX_BYTES: u64 = 128 << 20;
/// Bytes of a long text. Templates that put a prompt together piece by piece make many.
const LONG: usize = 1024;
/// Most bytes written in one rendering, into the prompt, a block or a macro's result.
const MAX_WRITTEN: u64 = 64 << 20;
/// How deep lists and mappings nest, as deep as the JSON of a request.
pub(super) const MAX_DEPTH: usize = 128;
/// How deep filters call filters: `map('map', …)`.
const MAX_NESTED: usize = 8;
/// Bytes of text per step, where characters are looked at and where they are copied.
const SCANNED: u64 = 8;
pub(super) const COPIED: u64 = 256;
/// What a value takes in a list, and a key with its value in a mapping.
pub(super) const ITEM_BYTES: u64 = 32;
pub(super) const PAIR_BYTES: u64 = 96;

/// An error of a template that does too much.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// What one rendering has done.
#[derive(Default)]
pub(super) struct Meter {
    steps: u64,
    bytes: u64,
    /// Long texts, which are given up when nothing else holds them, and their bytes.
    texts: Vec<Arc<str>>,
    text_bytes: u64,
    written: u64,
    nested: usize,
}

impl Meter {
    /// The meter of this rendering.
    pub(super) fn of<'s>(state: &'s mut State<'_, '_>) -> &'s mut Self {
        state.get_or_insert_extension_with(Self::default)
    }

    pub(super) fn steps(&mut self, count: u64) -> Result<(), Error> {
        self.steps = self.steps.saturating_add(count);
        self.check()
    }

    /// Bytes of values that are made.
    pub(super) fn bytes(&mut self, count: u64) -> Result<(), Error> {
        self.bytes = self.bytes.saturating_add(count);
        self.room(0)
    }

    /// Refuses a text of so many bytes where there is no room for it.
    pub(super) fn room(&mut self, length: u64) -> Result<(), Error> {
        let needed =
            |meter: &Self| meter.bytes.saturating_add(meter.text_bytes).saturating_add(length);
        if needed(self) > MAX_BYTES && !self.texts.is_empty() {
            self.steps(4 * self.texts.len() as u64)?;
            // A text that several values were is here several times.
            self.texts.sort_unstable_by_key(|text| text.as_ptr());
            self.texts.dedup_by_key(|text| text.as_ptr());
            self.texts.retain(|text| Arc::strong_count(text) > 1);
            self.text_bytes = self.texts.iter().map(|text| text.len() as u64).sum();
        }
        self.steps(1 + length / COPIED)?;
        match needed(self) > MAX_BYTES {
            true => Err(refused(format!(
                "takes more than {MAX_BYTES} bytes of values, expected an end"
            ))),
            false => Ok(()),
        }
    }

    fn check(&self) -> Result<(), Error> {
        let limits =
            [(self.steps, MAX_STEPS, "steps"), (self.written, MAX_WRITTEN, "bytes of output")];
        match limits.into_iter().find(|(count, limit, _)| count > limit) {
            Some((_, limit, what)) => {
                Err(refused(format!("takes more than {limit} {what}, expected an end")))
            }
            None => Ok(()),
        }
    }

    /// A text that is written.
    fn writes(&mut self, length: u64) -> Result<(), Error> {
        self.written = self.written.saturating_add(length);
        self.steps(1 + length / COPIED)
    }

    /// A text whose characters are looked at.
    pub(super) fn scan(&mut self, length: usize) -> Result<(), Error> {
        self.steps(1 + length as u64 / SCANNED)
    }

    /// Items of a list or mapping, or characters of a text, which may become a list.
    pub(super) fn items(&mut self, value: &Value) -> Result<u64, Error> {
        let count = items(value);
        self.steps(1 + count)?;
        Ok(count)
    }

    /// The steps that `charge` counts.
    pub(super) fn counting(
        &mut self,
        charge: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<u64, Error> {
        let before = self.steps;
        charge(self)?;
        Ok(self.steps - before)
    }

    /// What comparing or hashing `value` looks at.
    pub(super) fn size(&mut self, value: &Value) -> Result<(), Error> {
        self.visit(value, MAX_DEPTH + 2, true)
    }

    /// Refuses a value that nests too deep, or holds what may change and so come to hold itself.
    pub(super) fn nest(&mut self, value: &Value) -> Result<(), Error> {
        self.visit(value, MAX_DEPTH, false)
    }

    fn visit(&mut self, value: &Value, allowed: usize, texts: bool) -> Result<(), Error> {
        self.steps(1)?;
        let Some(object) = value.as_object() else {
            return match value.as_str() {
                Some(text) if texts => self.scan(text.len()),
                _ => Ok(()),
            };
        };
        if !texts && changes(object) {
            return Err(refused(
                "a namespace or `loop` within a value, expected only what cannot change",
            ));
        }
        if allowed == 0 {
            return Err(refused(format!(
                "a value nests deeper than {MAX_DEPTH}, expected at most as deep"
            )));
        }
        if value.kind() == ValueKind::Map {
            for (key, value) in object.try_iter_pairs().into_iter().flatten() {
                self.visit(&key, allowed - 1, texts)?;
                self.visit(&value, allowed - 1, texts)?;
            }
        } else {
            for item in object.try_iter().into_iter().flatten() {
                self.visit(&item, allowed - 1, texts)?;
            }
        }
        Ok(())
    }

    /// A text that was made.
    fn keep(&mut self, value: &Value) -> Result<(), Error> {
        let length = value.as_str().map_or(0, str::len);
        match value.to_str() {
            Some(text) if length >= LONG => {
                self.texts.push(text);
                self.text_bytes += length as u64;
                self.room(0)
            }
            _ => self.bytes(length as u64),
        }
    }

    /// A value that was made: lists that would be made again each time they are looked at are
    /// made once.
    pub(super) fn settle(&mut self, value: Value) -> Result<Value, Error> {
        let value = match value.kind() {
            ValueKind::String => {
                self.keep(&value)?;
                return Ok(value);
            }
            ValueKind::Iterable => {
                let mut list = Vec::new();
                for item in value.try_iter()?.checked() {
                    self.steps(1)?;
                    self.bytes(ITEM_BYTES)?;
                    list.push(item?);
                }
                Value::from(list)
            }
            ValueKind::Seq => {
                self.bytes(ITEM_BYTES * items(&value))?;
                value
            }
            ValueKind::Map if value.as_object().is_some_and(changes) => return Ok(value),
            ValueKind::Map => {
                self.bytes(PAIR_BYTES * items(&value))?;
                value
            }
            _ => return Ok(value),
        };
        self.nest(&value)?;
        Ok(value)
    }

    /// How many bytes `value` is as text.
    pub(super) fn display(&mut self, value: &Value) -> Result<u64, Error> {
        match value.as_str() {
            Some(text) => self.steps(1 + text.len() as u64 / COPIED).map(|()| text.len() as u64),
            None => self.write(value, &mut Nowhere),
        }
    }

    /// Writes `value` as text, until it is too much, and gives its bytes.
    pub(super) fn write(&mut self, value: &Value, out: &mut dyn Write) -> Result<u64, Error> {
        let before = std::mem::take(&mut self.written);
        let mut metered = Metered { meter: self, out };
        let written = match is_float(value) {
            true => metered.write_str(&number(value)),
            false => write!(metered, "{value}"),
        };
        if written.is_err() {
            self.check()?;
            return Err(Error::from(ErrorKind::WriteFailure));
        }
        let length = std::mem::replace(&mut self.written, before);
        self.steps(1)?;
        Ok(length)
    }

    /// Does what a filter, test, function or method does, within the bound for how deep they
    /// call each other, after `charge` counted its effort.
    pub(super) fn around(
        state: &mut State<'_, '_>,
        charge: impl FnOnce(&mut Self) -> Result<(), Error>,
        work: impl FnOnce(&mut State<'_, '_>) -> Result<Value, Error>,
    ) -> Result<Value, Error> {
        let meter = Self::of(state);
        if meter.nested >= MAX_NESTED {
            return Err(refused(format!(
                "filters call filters deeper than {MAX_NESTED}, expected none to"
            )));
        }
        charge(meter)?;
        meter.nested += 1;
        let result = work(state);
        let meter = Self::of(state);
        meter.nested -= 1;
        meter.settle(result?)
    }
}

/// Whether an object may change after it was made.
fn changes(object: &DynObject) -> bool {
    matches!(object.type_name().rsplit("::").next(), Some("Namespace" | "Loop"))
}

/// How many items a value has; bytes of a text.
pub(super) fn items(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.len() as u64,
        None => value.as_object().and_then(|object| object.enumerator_len()).unwrap_or(1) as u64,
    }
}

/// A writer that counts what it writes.
struct Metered<'a> {
    meter: &'a mut Meter,
    out: &'a mut dyn Write,
}

impl Write for Metered<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.meter.writes(text.len() as u64).map_err(|_| fmt::Error)?;
        self.out.write_str(text)
    }
}

/// A writer for texts whose length alone is wanted.
struct Nowhere;

impl Write for Nowhere {
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
    let meter = Meter::of(state);
    match value.as_str() {
        _ if escapes => {
            // An escaped character has up to six.
            let length = meter.display(value)?;
            meter.writes(6 * length)?;
            escape_formatter(out, state, value)
        }
        Some(text) => {
            meter.writes(text.len() as u64)?;
            out.write_str(text).map_err(Error::from)
        }
        None => {
            let length = meter.write(value, out)?;
            meter.writes(length)
        }
    }
}
