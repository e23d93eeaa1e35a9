//! Operators of templates that account for what they do: filters in their place, or before them.

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::chat_operators::{MAPPING_METHODS, method_or_item, remainder, sum};
use super::template_guard::{COPIED, ITEM_BYTES, Meter, PAIR_BYTES, items, refused, write};

/// Names of the filters that stand in for operators. No template can write them as
/// names, and none has white space, which the engine takes out.
pub(super) mod operator {
    pub(in crate::text) const ADD: &str = "+";
    pub(in crate::text) const ARGUMENTS: &str = "(*)";
    pub(in crate::text) const COMPARE: &str = "==";
    pub(in crate::text) const CONCAT: &str = "~";
    pub(in crate::text) const CONTAIN: &str = "[in]";
    pub(in crate::text) const ITEM: &str = "[]";
    pub(in crate::text) const ITERATE: &str = "[for]";
    pub(in crate::text) const KEYWORDS: &str = "(**)";
    pub(in crate::text) const LOOP: &str = "loop.";
    pub(in crate::text) const MAP: &str = "{}";
    pub(in crate::text) const MULTIPLY: &str = "*";
    pub(in crate::text) const NEST: &str = "[,]";
    pub(in crate::text) const REMAINDER: &str = "%";
    pub(in crate::text) const SET: &str = ".=";
    pub(in crate::text) const SETTLE: &str = "=";
    pub(in crate::text) const SLICE: &str = "[:]";
}

/// A filter that stands in for an operator, or gives back its operands, the topmost first.
type Operator = fn(&mut Meter, Vec<Value>) -> Result<Value, Error>;

/// Adds the operators and the writer.
pub(super) fn add_operators(environment: &mut Environment<'_>) {
    environment.set_formatter(write);
    // Formats by a filter that accounts for itself.
    environment.add_filter(operator::REMAINDER, remainder);
    for (operator, name) in MAPPING_METHODS {
        environment.add_filter(operator, move |value: &Value| method_or_item(value, name));
    }
    let operators: [(&'static str, Operator); 15] = [
        (operator::ADD, add),
        (operator::ARGUMENTS, arguments),
        (operator::COMPARE, |meter, values| {
            compare(meter, &values)?;
            give_back(values)
        }),
        (operator::CONCAT, concat),
        (operator::CONTAIN, |meter, values| {
            contain(meter, &values)?;
            give_back(values)
        }),
        (operator::ITEM, item),
        (operator::ITERATE, iterate),
        (operator::KEYWORDS, keywords),
        (operator::LOOP, of_loop),
        (operator::MAP, map),
        (operator::MULTIPLY, multiply),
        (operator::NEST, |meter, values| meter.settle(first(values)?)),
        (operator::SET, set),
        (operator::SETTLE, |meter, values| meter.settle(first(values)?)),
        (operator::SLICE, slice),
    ];
    for (name, operator) in operators {
        environment.add_filter(
            name,
            move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
                operator(Meter::of(state), values.into_values())
            },
        );
    }
}

fn give_back(mut values: Vec<Value>) -> Result<Value, Error> {
    values.reverse();
    Ok(Value::from(values))
}

fn first(values: Vec<Value>) -> Result<Value, Error> {
    values.into_iter().next().ok_or_else(|| Error::from(ErrorKind::MissingArgument))
}

/// The operands of an operator, however it was called.
fn exactly<const N: usize>(values: &[Value]) -> Result<&[Value; N], Error> {
    values.try_into().map_err(|_| Error::from(ErrorKind::MissingArgument))
}

/// `+`: numbers, texts or lists.
fn add(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let length = values.iter().map(items).fold(0, u64::saturating_add);
    if values.iter().all(|value| value.as_str().is_some()) {
        // An escaped character has up to six.
        let is_escaped = values.iter().any(Value::is_safe);
        meter.room(if is_escaped { length.saturating_mul(6) } else { length })?;
    } else {
        meter.steps(length)?;
        meter.room(length.saturating_mul(ITEM_BYTES))?;
    }
    let [left, right] = exactly(&values)?;
    meter.settle(sum(left, right)?)
}

/// `*`: a text or list that is repeated, or numbers.
fn multiply(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let [left, right] = exactly(&values)?;
    let times = |count: &Value| count.as_usize().map_or(1, |count| count as u64);
    for (value, count) in [(left, right), (right, left)] {
        let length = items(value).saturating_mul(times(count));
        if value.as_str().is_some() {
            meter.room(length)?;
        } else if value.as_object().is_some() {
            meter.steps(length)?;
            meter.room(length.saturating_mul(ITEM_BYTES))?;
        }
    }
    give_back(values)
}

/// `~`: both as text.
fn concat(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let mut out = String::new();
    for value in &values {
        match value.as_str() {
            Some(text) => {
                meter.room((out.len() + text.len()) as u64)?;
                out.push_str(text);
            }
            None => {
                meter.write(value, &mut out)?;
            }
        }
    }
    meter.settle(Value::from(out))
}

/// What comparing the first two values looks at.
pub(super) fn compare(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let [left, right, ..] = values else { return meter.steps(1) };
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => meter.steps(1 + left.len().min(right.len()) as u64 / COPIED),
        _ => {
            meter.size(left)?;
            meter.size(right)
        }
    }
}

/// What finding the first value in the second looks at.
pub(super) fn contain(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let [value, container, ..] = values else { return meter.steps(1) };
    if let Some(text) = container.as_str() {
        meter.display(value)?;
        return meter.scan(text.len());
    }
    meter.size(value)?;
    match container.kind() {
        ValueKind::Map => Ok(()),
        _ => meter.size(container),
    }
}

/// `value[key]`.
fn item(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let [value, key] = exactly(&values)?;
    if let Some(text) = value.as_str() {
        meter.scan(text.len())?;
    }
    meter.size(key)?;
    give_back(values)
}

/// What is looked through item by item.
fn iterate(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let value = first(values)?;
    match value.as_str() {
        Some(text) => meter.scan(text.len())?,
        None => meter.steps(1 + items(&value))?,
    }
    Ok(value)
}

/// The arguments of `loop.changed(…)`, which are compared, and of `loop.cycle(…)`, which counts
/// them and divides by the count.
fn of_loop(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    if values.len() < 2 {
        return Err(refused("no argument, expected one or more"));
    }
    for value in values.iter().skip(1) {
        meter.size(value)?;
    }
    give_back(values)
}

/// `namespace.name = value`.
fn set(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let [value, _] = exactly(&values)?;
    meter.nest(value)?;
    meter.bytes(PAIR_BYTES)?;
    give_back(values)
}

/// `{key: value, …}`.
fn map(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        meter.size(&key)?;
        pairs.push((key, value));
    }
    meter.settle(Value::from_pairs(pairs))
}

/// `f(*list, …)`: all arguments in one list.
fn arguments(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for value in values {
        for item in value.try_iter()?.checked() {
            meter.steps(1)?;
            meter.bytes(ITEM_BYTES)?;
            all.push(item?);
        }
    }
    if let [only] = all.as_slice() {
        meter.steps(items(only))?;
    }
    Ok(Value::from(all))
}

/// `f(**mapping, …)`: all keywords in one mapping.
fn keywords(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for value in &values {
        if value.is_undefined() {
            continue;
        }
        let object = value.as_object().filter(|_| value.kind() == ValueKind::Map);
        let Some(pairs) = object.and_then(|object| object.try_iter_pairs()) else {
            return Err(refused(format!(
                "keyword arguments from {}, expected a mapping",
                value.kind()
            )));
        };
        for (key, value) in pairs {
            meter.size(&key)?;
            meter.bytes(PAIR_BYTES)?;
            let name =
                key.as_str().ok_or_else(|| refused("a keyword argument whose name is no text"))?;
            all.push((name.to_owned(), value));
        }
    }
    Ok(Value::from(Kwargs::from_iter(all)))
}

/// `value[start:stop:step]` as Python has it: bounds outside the value are its ends.
fn slice(meter: &mut Meter, values: Vec<Value>) -> Result<Value, Error> {
    let [value, start, stop, step] = exactly(&values)?;
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if step == 0 {
        return Err(refused("a slice with a step of 0, expected another number"));
    }
    if let Some(text) = value.as_str() {
        meter.scan(text.len())?;
        let length = text.chars().count();
        let (first, count) = positions(length, start, stop, step);
        let stride = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        let taken: String = if step > 0 {
            text.chars().skip(first).step_by(stride).take(count).collect()
        } else {
            text.chars()
                .rev()
                .skip(length.saturating_sub(first + 1))
                .step_by(stride)
                .take(count)
                .collect()
        };
        return meter.settle(Value::from(taken));
    }
    let mut list = Vec::new();
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(Value::from(list)),
        ValueKind::Seq | ValueKind::Iterable => {}
        kind => return Err(refused(format!("a slice of {kind}, expected a text or a list"))),
    }
    let count = meter.items(value)?;
    meter.bytes(ITEM_BYTES * count)?;
    let all: Vec<Value> = value.try_iter()?.collect();
    let (first, count) = positions(all.len(), start, stop, step);
    for index in 0..count as i64 {
        let index = (first as i64).saturating_add(index.saturating_mul(step));
        list.extend(usize::try_from(index).ok().and_then(|index| all.get(index)).cloned());
    }
    Ok(if value.is_tuple() { Value::from(Tuple::from(list)) } else { Value::from(list) })
}

/// A bound of a slice; one past every value where it is larger than that.
fn bound(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    let number = i128::try_from(value.clone())?;
    Ok(Some(number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64))
}

/// The first position and the count of those that a slice takes.
fn positions(length: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> (usize, usize) {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (low, high) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let within = |bound: i64| {
        let from_end = if bound < 0 { bound.saturating_add(length) } else { bound };
        from_end.clamp(low, high)
    };
    let (first, last) = match step > 0 {
        true => (start.map_or(low, within), stop.map_or(high, within)),
        false => (start.map_or(high, within), stop.map_or(low, within)),
    };
    let span = if step > 0 { last - first } else { first - last };
    if span <= 0 {
        return (0, 0);
    }
    let count = (span as u64 - 1) / step.unsigned_abs() + 1;
    (usize::try_from(first).unwrap_or(0), usize::try_from(count).unwrap_or(0))
}
