//! Arguments of filters and methods, given by position or by name.

use minijinja::value::{Kwargs, Rest, ValueOrKwargs, from_args};
use minijinja::{Error, ErrorKind, Value};

use super::render_error::refused_value;

/// Arguments in the order of `names`, given by position or name. None counts as absent. The first
/// `required` must be present.
pub(super) fn arguments<'a, const N: usize>(
    args: &'a [Value],
    names: [&'static str; N],
    required: usize,
) -> Result<[Option<Value>; N], Error> {
    let (values, kwargs): (Rest<&'a Value>, Kwargs) = from_args(args)?;
    if values.len() > N {
        return Err(Error::from(ErrorKind::TooManyArguments));
    }
    let mut found = [const { None }; N];
    for (place, (slot, name)) in found.iter_mut().zip(names).enumerate() {
        let value = match values.get(place) {
            Some(value) => Some((*value).clone()),
            None => kwargs.get::<Option<Value>>(name)?,
        };
        if value.is_none() && place < required {
            return Err(Error::from(ErrorKind::MissingArgument));
        }
        *slot = value.filter(|value| !value.is_none());
    }
    kwargs.assert_all_used()?;
    Ok(found)
}

/// Arguments converted to keyword arguments, for filters of minijinja that accept no others.
pub(super) fn keywords(args: Rest<ValueOrKwargs>, names: &[&'static str]) -> Result<Kwargs, Error> {
    let mut given = Vec::new();
    for (place, value) in args.into_values().into_iter().enumerate() {
        match (Kwargs::try_from(value.clone()), names.get(place)) {
            (Ok(kwargs), _) if value.is_kwargs() => {
                for name in kwargs.args() {
                    given.push((name.to_owned(), kwargs.peek(name)?));
                }
            }
            (_, Some(name)) => given.push(((*name).to_owned(), value)),
            (_, None) => return Err(Error::from(ErrorKind::TooManyArguments)),
        }
    }
    Ok(given.into_iter().collect())
}

/// An optional string argument.
pub(super) fn as_text(value: &Option<Value>) -> Result<Option<&str>, Error> {
    match value {
        Some(value) if value.as_str().is_none() => Err(refused_value(value.kind(), "a string")),
        value => Ok(value.as_ref().and_then(Value::as_str)),
    }
}

/// An optional integer argument.
pub(super) fn as_number(value: &Option<Value>) -> Result<Option<i64>, Error> {
    value.clone().map(i64::try_from).transpose()
}

/// True if an optional argument is present and true.
pub(super) fn is_set(value: &Option<Value>) -> bool {
    value.as_ref().is_some_and(Value::is_true)
}
