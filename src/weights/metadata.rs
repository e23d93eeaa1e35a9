//! Keys and values of a GGUF file, with accessors that check the type.
//!
//! Arrays keep the file's bytes and are decoded when asked for: a vocabulary of 131,072 strings
//! is two allocations, not 131,072. Text is checked to be UTF-8 when it is asked for, so that a
//! broken string which nobody needs does no harm.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// The type of a value, or of an array's elements, as the file says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    /// The kind that GGUF gives this number.
    pub(super) fn from_number(number: u32) -> Option<Kind> {
        use Kind::*;
        let all = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        all.get(usize::try_from(number).ok()?).copied()
    }

    /// Bytes of one value; `None` for strings and arrays.
    pub(super) fn size_bytes(self) -> Option<usize> {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => Some(1),
            Kind::U16 | Kind::I16 => Some(2),
            Kind::U32 | Kind::I32 | Kind::F32 => Some(4),
            Kind::U64 | Kind::I64 | Kind::F64 => Some(8),
            Kind::String | Kind::Array => None,
        }
    }

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Kind::U8 => "u8",
            Kind::I8 => "i8",
            Kind::U16 => "u16",
            Kind::I16 => "i16",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::F32 => "f32",
            Kind::Bool => "bool",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::U64 => "u64",
            Kind::I64 => "i64",
            Kind::F64 => "f64",
        }
    }
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or bool.
    Scalar(Scalar),
    /// Bytes that should be UTF-8.
    String(Vec<u8>),
    /// Values of one kind.
    Array(Array),
}

/// A number or bool with the kind the file gave it.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
}

/// An array of numbers, bools or strings, still as bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// What the elements are.
    pub(super) kind: Kind,
    /// How many there are.
    pub(super) count: usize,
    /// Little-endian values one after another; of strings the contents.
    pub(super) bytes: Vec<u8>,
    /// Of strings: where each one ends in `bytes`.
    pub(super) ends: Vec<u32>,
}

/// Decodes one number of `kind`; `bytes` holds exactly its size.
pub(super) fn decode(kind: Kind, bytes: &[u8]) -> Scalar {
    let mut wide = [0; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    let unsigned = u64::from_le_bytes(wide);
    let unused = 64 - 8 * bytes.len() as u32;
    match kind {
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => {
            Scalar::Signed(unsigned.cast_signed() << unused >> unused)
        }
        Kind::F32 => Scalar::Float(f64::from(f32::from_bits(unsigned as u32))),
        Kind::F64 => Scalar::Float(f64::from_bits(unsigned)),
        Kind::Bool => Scalar::Bool(unsigned != 0),
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::String | Kind::Array => {
            Scalar::Unsigned(unsigned)
        }
    }
}

impl Array {
    /// What the elements are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The numbers in order; nothing for strings.
    fn scalars(&self) -> impl Iterator<Item = Scalar> {
        let size = self.kind.size_bytes();
        let bytes = if size.is_some() { self.bytes.as_slice() } else { &[] };
        bytes.chunks_exact(size.unwrap_or(1)).map(|bytes| decode(self.kind, bytes))
    }

    /// The strings in order, as bytes; nothing for numbers.
    fn strings(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let string = &self.bytes[start..end as usize];
            start = end as usize;
            string
        })
    }
}

impl Value {
    /// The type for messages, e.g. `array of string`.
    pub fn type_name(&self) -> String {
        match self {
            Value::Scalar(Scalar::Unsigned(_)) => "unsigned integer".to_owned(),
            Value::Scalar(Scalar::Signed(_)) => "signed integer".to_owned(),
            Value::Scalar(Scalar::Float(_)) => "float".to_owned(),
            Value::Scalar(Scalar::Bool(_)) => "bool".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(array) => format!("array of {}", array.kind.name()),
        }
    }
}

/// The keys and values of a GGUF file.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub(super) file: String,
    pub(super) values: BTreeMap<String, Value>,
}

/// An integer that is not negative.
fn unsigned(scalar: Scalar) -> Option<u64> {
    match scalar {
        Scalar::Unsigned(value) => Some(value),
        Scalar::Signed(value) => u64::try_from(value).ok(),
        Scalar::Float(_) | Scalar::Bool(_) => None,
    }
}

/// An integer in the range of i64.
fn signed(scalar: Scalar) -> Option<i64> {
    match scalar {
        Scalar::Unsigned(value) => i64::try_from(value).ok(),
        Scalar::Signed(value) => Some(value),
        Scalar::Float(_) | Scalar::Bool(_) => None,
    }
}

/// Any number.
fn float(scalar: Scalar) -> Option<f64> {
    match scalar {
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Signed(value) => Some(value as f64),
        Scalar::Float(value) => Some(value),
        Scalar::Bool(_) => None,
    }
}

impl Metadata {
    /// The file's name for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Every key, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A number that is an integer and not negative; `None` without the key, `malformed` when
    /// the value is something else.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.scalar(key, "non-negative integer", unsigned)
    }

    /// Any number; `None` without the key, `malformed` when the value is something else.
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.scalar(key, "number", float)
    }

    /// A bool; `None` without the key, `malformed` when the value is something else.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.scalar(key, "bool", |scalar| match scalar {
            Scalar::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// Text; `None` without the key, `malformed` when the value is something else or not UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(bytes)) => self.text(key, None, bytes).map(Some),
            Some(other) => Err(self.mismatch(key, other, "string")),
        }
    }

    /// An array of text; `None` without the key, `malformed` when the value is something else or
    /// one of the strings is not UTF-8 (the message names its index).
    pub fn strings(&self, key: &str) -> Result<Option<Vec<&str>>> {
        let Some(array) = self.array(key, "array of string", |kind| kind == Kind::String)? else {
            return Ok(None);
        };
        let strings = array.strings().enumerate();
        strings
            .map(|(index, bytes)| self.text(key, Some(index), bytes))
            .collect::<Result<_>>()
            .map(Some)
    }

    /// An array of floats; `None` without the key, `malformed` when the value is something else.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let is_float = |kind| matches!(kind, Kind::F32 | Kind::F64);
        let array = self.array(key, "array of float", is_float)?;
        Ok(array.map(|array| array.scalars().filter_map(float).map(|value| value as f32).collect()))
    }

    /// An array of integers; `None` without the key, `malformed` when the value is something else.
    pub fn i64s(&self, key: &str) -> Result<Option<Vec<i64>>> {
        const EXPECTED: &str = "array of integer";
        let Some(array) = self.array(key, EXPECTED, |kind| kind.size_bytes().is_some())? else {
            return Ok(None);
        };
        self.numbers(key, array, EXPECTED, signed).map(Some)
    }

    /// An array of non-negative integers, or one of them, which gives an array of one; `None`
    /// without the key, `malformed` when the value is something else.
    pub fn u64s_or_scalar(&self, key: &str) -> Result<Option<Vec<u64>>> {
        const EXPECTED: &str = "non-negative integer or array of them";
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if array.kind.size_bytes().is_some() => {
                self.numbers(key, array, EXPECTED, unsigned).map(Some)
            }
            Some(Value::Scalar(scalar)) => match unsigned(*scalar) {
                Some(value) => Ok(Some(vec![value])),
                None => Err(self.wrong_scalar(key, *scalar, EXPECTED)),
            },
            Some(other) => Err(self.mismatch(key, other, EXPECTED)),
        }
    }

    fn scalar<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(Scalar) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Scalar(scalar)) => match convert(*scalar) {
                Some(value) => Ok(Some(value)),
                None => Err(self.wrong_scalar(key, *scalar, expected)),
            },
            Some(other) => Err(self.mismatch(key, other, expected)),
        }
    }

    fn array(
        &self,
        key: &str,
        expected: &str,
        fits: impl Fn(Kind) -> bool,
    ) -> Result<Option<&Array>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Array(array)) if fits(array.kind) => Ok(Some(array)),
            Some(other) => Err(self.mismatch(key, other, expected)),
        }
    }

    fn numbers<T>(
        &self,
        key: &str,
        array: &Array,
        expected: &str,
        convert: impl Fn(Scalar) -> Option<T>,
    ) -> Result<Vec<T>> {
        let numbers = array.scalars().enumerate().map(|(index, scalar)| {
            convert(scalar)
                .ok_or_else(|| self.wrong_scalar(&format!("{key}[{index}]"), scalar, expected))
        });
        numbers.collect()
    }

    fn text<'a>(&self, key: &str, index: Option<usize>, bytes: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(bytes).map_err(|error| {
            let field = index.map_or_else(|| key.to_owned(), |index| format!("{key}[{index}]"));
            Error::malformed(
                &self.file,
                &field,
                format!("invalid UTF-8 at byte {}, expected text", error.valid_up_to()),
            )
        })
    }

    fn wrong_scalar(&self, key: &str, found: Scalar, expected: &str) -> Error {
        let found = match found {
            Scalar::Unsigned(value) => value.to_string(),
            Scalar::Signed(value) => value.to_string(),
            Scalar::Float(value) => format!("float {value:?}"),
            Scalar::Bool(value) => format!("bool {value}"),
        };
        Error::malformed(&self.file, key, format!("found {found}, expected {expected}"))
    }

    fn mismatch(&self, key: &str, found: &Value, expected: &str) -> Error {
        Error::malformed(
            &self.file,
            key,
            format!("found {}, expected {expected}", found.type_name()),
        )
    }
}
