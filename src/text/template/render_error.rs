//! Errors raised while a template is rendered.

use std::fmt::{self, Display};

use minijinja::{Error, ErrorKind, Value};

use crate::error::mismatch;

/// An error of the template.
pub(super) fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// An error of the template: `"found {found}, expected {expected}"`.
pub(super) fn refused_value(found: impl Display, expected: impl Display) -> Error {
    refused(mismatch(found, expected))
}

/// Message with which a template refuses its input.
#[derive(Debug)]
pub(super) struct RaisedException(pub(super) String);

impl Display for RaisedException {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for RaisedException {}

/// The function `raise_exception(message)`.
pub(super) fn raise_exception(message: String) -> Result<Value, Error> {
    Err(refused("the template raised an exception").with_source(RaisedException(message)))
}
