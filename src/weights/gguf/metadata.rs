//! Metadata of a GGUF file, with accessors that check the type.
//!
//! Arrays are kept as the file's bytes and decoded on access: a vocabulary of 131,072 strings takes
//! two allocations. Strings are checked to be UTF-8 on access, so that an invalid string that
//! nothing reads causes no error.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// Type of a value or of an array's elements.
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
    /// The kind with the given number in the GGUF specification.
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

    /// Name for messages.
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

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number or bool.
    Scalar(Scalar),
    /// Bytes that should be UTF-8.
    String(Vec<u8>),
    /// Values of the same kind.
    Array(Array),
}

/// A number or bool, with the signedness of its kind.
#[derive(Debug, Clone, Copy, PartialEq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Scalar {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
}

/// An array of numbers, bools or strings, as bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Kind of the elements.
    pub(super) kind: Kind,
    /// Number of elements.
    pub(super) count: usize,
    /// Little-endian values, or the concatenated contents of strings.
    pub(super) bytes: Vec<u8>,
    /// End of each string in `bytes`.
    pub(super) ends: Vec<u32>,
}

/// Decodes a number of the given kind; `bytes` has exactly its size.
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
    /// Kind of the elements.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.count
    }

    /// True if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Iterates over numbers; empty for strings.
    fn scalars(&self) -> impl Iterator<Item = Scalar> {
        let size = self.kind.size_bytes();
        let bytes = if size.is_some() { self.bytes.as_slice() } else { &[] };
        bytes.chunks_exact(size.unwrap_or(1)).map(|bytes| decode(self.kind, bytes))
    }

    /// Iterates over strings as bytes; empty for numbers.
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
    /// Type name for messages, such as `array of string`.
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

/// Keys and values of a GGUF file.
#[derive(Debug, Clone)]
pub struct Metadata {
    pub(super) file: String,
    pub(super) values: BTreeMap<String, Value>,
}

/// Value of a non-negative integer.
fn unsigned(scalar: Scalar) -> Option<u64> {
    match scalar {
        Scalar::Unsigned(value) => Some(value),
        Scalar::Signed(value) => u64::try_from(value).ok(),
        Scalar::Float(_) | Scalar::Bool(_) => None,
    }
}

/// Value of an integer in the range of i64.
fn signed(scalar: Scalar) -> Option<i64> {
    match scalar {
        Scalar::Unsigned(value) => i64::try_from(value).ok(),
        Scalar::Signed(value) => Some(value),
        Scalar::Float(_) | Scalar::Bool(_) => None,
    }
}

/// Value of any number.
fn float(scalar: Scalar) -> Option<f64> {
    match scalar {
        Scalar::Unsigned(value) => Some(value as f64),
        Scalar::Signed(value) => Some(value as f64),
        Scalar::Float(value) => Some(value),
        Scalar::Bool(_) => None,
    }
}

impl Metadata {
    /// File name, for messages.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All keys, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A non-negative integer; `None` without the key, `malformed` for a value of another type.
    pub fn u64(&self, key: &str) -> Result<Option<u64>> {
        self.scalar(key, "non-negative integer", unsigned)
    }

    /// A number; `None` without the key, `malformed` for a value of another type.
    pub fn f64(&self, key: &str) -> Result<Option<f64>> {
        self.scalar(key, "number", float)
    }

    /// A bool; `None` without the key, `malformed` for a value of another type.
    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.scalar(key, "bool", |scalar| match scalar {
            Scalar::Bool(value) => Some(value),
            _ => None,
        })
    }

    /// A string; `None` without the key, `malformed` for a value of another type or invalid UTF-8.
    pub fn str(&self, key: &str) -> Result<Option<&str>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(bytes)) => self.text(key, None, bytes).map(Some),
            Some(other) => Err(self.mismatch(key, other, "string")),
        }
    }

    /// An array of strings; `None` without the key, `malformed` for a value of another type or,
    /// with the index, for invalid UTF-8.
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

    /// An array of floats; `None` without the key, `malformed` for a value of another type.
    pub fn f32s(&self, key: &str) -> Result<Option<Vec<f32>>> {
        let is_float = |kind| matches!(kind, Kind::F32 | Kind::F64);
        let array = self.array(key, "array of float", is_float)?;
        Ok(array.map(|array| array.scalars().filter_map(float).map(|value| value as f32).collect()))
    }

    /// An array of integers; `None` without the key, `malformed` for a value of another type.
    pub fn i64s(&self, key: &str) -> Result<Option<Vec<i64>>> {
        const EXPECTED: &str = "array of integer";
        let Some(array) = self.array(key, EXPECTED, |kind| kind.size_bytes().is_some())? else {
            return Ok(None);
        };
        self.numbers(key, array, EXPECTED, signed).map(Some)
    }

    /// An array of non-negative integers, or a single one as an array of one; `None` without the
    /// key, `malformed` for a value of another type.
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

    /// An array of bools, or of integers that are not zero for true; `None` without the key or for
    /// a value that is no array.
    pub fn flags(&self, key: &str) -> Result<Option<Vec<bool>>> {
        let Some(Value::Array(array)) = self.get(key) else { return Ok(None) };
        let flag = |scalar| match scalar {
            Scalar::Bool(flag) => Some(flag),
            other => unsigned(other).map(|number| number != 0),
        };
        self.numbers(key, array, "array of bools", flag).map(Some)
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
            let found = format!("invalid UTF-8 at byte {}", error.valid_up_to());
            Error::malformed_value(&self.file, &field, found, "text")
        })
    }

    fn wrong_scalar(&self, key: &str, found: Scalar, expected: &str) -> Error {
        let found = match found {
            Scalar::Unsigned(value) => value.to_string(),
            Scalar::Signed(value) => value.to_string(),
            Scalar::Float(value) => format!("float {value:?}"),
            Scalar::Bool(value) => format!("bool {value}"),
        };
        Error::malformed_value(&self.file, key, found, expected)
    }

    fn mismatch(&self, key: &str, found: &Value, expected: &str) -> Error {
        Error::malformed_value(&self.file, key, found.type_name(), expected)
    }
}
