//! Operators with Python's semantics, where minijinja's differ: `%` also formats strings, `+`
//! escapes a string that is added to a safe string, and `mapping.items` is the method even if the
//! mapping has a key `items`.

use std::sync::Arc;

use minijinja::value::{Kwargs, Object, ObjectRepr, Tuple, ValueKind};
use minijinja::{Error, State, Value};

use super::filters::escaped;
use super::render_error::refused_value;

/// Names of the filters that resolve a mapping's method, and names of the methods. The names may
/// also be keys of a mapping, such as a JSON schema or the arguments of a call.
pub(super) const MAPPING_METHODS: [(&str, &str); 11] = [
    (".clear", "clear"),
    (".copy", "copy"),
    (".fromkeys", "fromkeys"),
    (".get", "get"),
    (".items", "items"),
    (".keys", "keys"),
    (".pop", "pop"),
    (".popitem", "popitem"),
    (".setdefault", "setdefault"),
    (".update", "update"),
    (".values", "values"),
];

/// Filter that resolves the attribute `name`, if it is one of [`MAPPING_METHODS`].
pub(super) fn mapping_method(name: &str) -> Option<&'static str> {
    MAPPING_METHODS.iter().find(|(_, method)| *method == name).map(|(operator, _)| *operator)
}

/// `left % right`: remainder with the sign of the divisor, or string formatting.
pub(super) fn remainder(
    state: &mut State<'_, '_>,
    left: &Value,
    right: &Value,
) -> Result<Value, Error> {
    if left.as_str().is_some() {
        let mut args = vec![left.clone()];
        if let Some(tuple) = right.downcast_object_ref::<Tuple>() {
            args.extend(tuple.iter().cloned());
        } else {
            args.push(right.clone());
            // `%(name)s` takes values from a mapping.
            if let Some(pairs) = right.as_object().and_then(|map| map.try_iter_pairs()) {
                let named =
                    pairs.filter_map(|(key, value)| Some((key.as_str()?.to_owned(), value)));
                args.push(Value::from(named.collect::<Kwargs>()));
            }
        }
        return state.apply_filter("format", &args);
    }
    let failed = || operands_error('%', left, right);
    if let (Some(left), Some(right)) = (integer(left), integer(right)) {
        let rest = left.checked_rem(right).ok_or_else(failed)?;
        let has_other_sign = rest != 0 && (rest < 0) != (right < 0);
        return Ok(Value::from(if has_other_sign { rest + right } else { rest }));
    }
    let (Ok(left), Ok(right)) = (f64::try_from(left.clone()), f64::try_from(right.clone())) else {
        return Err(failed());
    };
    if right == 0.0 {
        return Err(failed());
    }
    let rest = left % right;
    let has_other_sign = rest != 0.0 && (rest < 0.0) != (right < 0.0);
    Ok(Value::from(if has_other_sign { rest + right } else { rest }))
}

fn operands_error(operator: char, left: &Value, right: &Value) -> Error {
    let found = format!("{} {operator} {}", left.kind(), right.kind());
    refused_value(found, format!("operands that `{operator}` supports"))
}

fn integer(value: &Value) -> Option<i128> {
    let is_whole = value.is_integer() || value.kind() == ValueKind::Bool;
    is_whole.then(|| i128::try_from(value.clone()).ok()).flatten()
}

/// `left + right`: strings, lists or numbers.
pub(super) fn sum(left: &Value, right: &Value) -> Result<Value, Error> {
    let failed = || operands_error('+', left, right);
    if let (Some(first), Some(second)) = (left.as_str(), right.as_str()) {
        if !left.is_safe() && !right.is_safe() {
            return Ok(Value::from([first, second].concat()));
        }
        let part = |value: &Value, text: &str| {
            if value.is_safe() { text.to_owned() } else { escaped(text) }
        };
        return Ok(Value::from_safe_string(part(left, first) + &part(right, second)));
    }
    let is_list = |value: &Value| matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable);
    if is_list(left) && is_list(right) {
        let items =
            || Ok::<_, Error>(left.try_iter()?.checked().chain(right.try_iter()?.checked()));
        let all = items()?.collect::<Result<Vec<Value>, Error>>()?;
        return match (left.is_tuple(), right.is_tuple()) {
            (true, true) => Ok(Value::from(Tuple::from(all))),
            (false, false) => Ok(Value::from(all)),
            _ => Err(failed()),
        };
    }
    if let (Some(left), Some(right)) = (integer(left), integer(right)) {
        return left.checked_add(right).map(Value::from).ok_or_else(failed);
    }
    let is_number = |value: &Value| matches!(value.kind(), ValueKind::Number | ValueKind::Bool);
    match (f64::try_from(left.clone()), f64::try_from(right.clone())) {
        (Ok(first), Ok(second)) if is_number(left) && is_number(right) => {
            Ok(Value::from(first + second))
        }
        _ => Err(failed()),
    }
}

/// Attribute access `value.name` for one of [`MAPPING_METHODS`].
pub(super) fn method_or_item(value: &Value, name: &'static str) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Map if !is_namespace(value) => {
            Ok(Value::from_object(BoundMethod { value: value.clone(), name }))
        }
        _ => value.get_attr(name),
    }
}

fn is_namespace(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.type_name().ends_with("::Namespace"))
}

/// A method bound to a value.
#[derive(Debug)]
struct BoundMethod {
    value: Value,
    name: &'static str,
}

impl Object for BoundMethod {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn call(self: &Arc<Self>, state: &mut State<'_, '_>, args: &[Value]) -> Result<Value, Error> {
        self.value.call_method(state, self.name, args)
    }
}
