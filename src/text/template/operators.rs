//! Accounting for operators: filters that run before, after or instead of an operator.

use minijinja::value::{Kwargs, Rest, Tuple, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::budget::{ITEM_BYTES, PAIR_BYTES, RenderBudget, item_count, write};
use super::costs::{comparison, containment};
use super::python_operators::{MAPPING_METHODS, method_or_item, remainder, sum};
use super::render_error::refused_value;

/// Names of the filters that account for operators. No template can write them, because they are
/// not identifiers. They contain no white space, which minijinja strips.
pub(super) mod operator {
    pub(in crate::text::template) const ADD: &str = "+";
    pub(in crate::text::template) const ARGUMENTS: &str = "(*)";
    pub(in crate::text::template) const COMPARE: &str = "==";
    pub(in crate::text::template) const CONCAT: &str = "~";
    pub(in crate::text::template) const CONTAIN: &str = "[in]";
    pub(in crate::text::template) const ITEM: &str = "[]";
    pub(in crate::text::template) const ITERATE: &str = "[for]";
    pub(in crate::text::template) const KEYWORDS: &str = "(**)";
    pub(in crate::text::template) const LOOP: &str = "loop.";
    pub(in crate::text::template) const MAP: &str = "{}";
    pub(in crate::text::template) const MULTIPLY: &str = "*";
    pub(in crate::text::template) const REMAINDER: &str = "%";
    pub(in crate::text::template) const SET: &str = ".=";
    pub(in crate::text::template) const MATERIALIZE: &str = "=";
    pub(in crate::text::template) const SLICE: &str = "[:]";
}

/// A filter that replaces an operator, or returns its operands, the topmost first.
type Operator = fn(&mut RenderBudget, Vec<Value>) -> Result<Value, Error>;

/// Adds the operators and the output formatter.
pub(super) fn add_operators(environment: &mut Environment<'_>) {
    environment.set_formatter(write);
    // Not metered here: formatting calls the `format` filter, which is.
    environment.add_filter(operator::REMAINDER, remainder);
    for (operator, name) in MAPPING_METHODS {
        environment.add_filter(operator, move |value: &Value| method_or_item(value, name));
    }
    let operators: [(&'static str, Operator); 14] = [
        (operator::ADD, add),
        (operator::ARGUMENTS, arguments),
        (operator::COMPARE, |budget, values| {
            comparison(budget, &values)?;
            return_operands(values)
        }),
        (operator::CONCAT, concat),
        (operator::CONTAIN, |budget, values| {
            containment(budget, &values)?;
            return_operands(values)
        }),
        (operator::ITEM, item),
        (operator::ITERATE, iterate),
        (operator::KEYWORDS, keywords),
        (operator::LOOP, loop_method),
        (operator::MAP, map),
        (operator::MULTIPLY, multiply),
        (operator::SET, set),
        (operator::MATERIALIZE, |budget, values| budget.materialize(first(values)?)),
        (operator::SLICE, slice),
    ];
    for (name, operator) in operators {
        environment.add_filter(
            name,
            move |state: &mut State<'_, '_>, values: Rest<ValueOrKwargs>| {
                operator(RenderBudget::of(state), values.into_values())
            },
        );
    }
}

/// Returns operands to minijinja's stack, topmost first.
fn return_operands(mut values: Vec<Value>) -> Result<Value, Error> {
    values.reverse();
    Ok(Value::from(values))
}

fn first(values: Vec<Value>) -> Result<Value, Error> {
    values.into_iter().next().ok_or_else(|| Error::from(ErrorKind::MissingArgument))
}

/// Operands of an operator, checked in number.
fn exactly<const N: usize>(values: &[Value]) -> Result<&[Value; N], Error> {
    values.try_into().map_err(|_| Error::from(ErrorKind::MissingArgument))
}

/// `left + right`: numbers, strings or lists.
fn add(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let length = values.iter().map(item_count).fold(0, u64::saturating_add);
    if values.iter().all(|value| value.as_str().is_some()) {
        // An escape has at most six characters.
        let is_escaped = values.iter().any(Value::is_safe);
        budget.ensure_room(if is_escaped { length.saturating_mul(6) } else { length })?;
    } else {
        budget.spend_steps(length)?;
        budget.ensure_room(length.saturating_mul(ITEM_BYTES))?;
    }
    let [left, right] = exactly(&values)?;
    budget.materialize(sum(left, right)?)
}

/// `left * right`: a repeated string or list, or numbers.
fn multiply(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let [left, right] = exactly(&values)?;
    let times = |count: &Value| count.as_usize().map_or(1, |count| count as u64);
    for (value, count) in [(left, right), (right, left)] {
        let length = item_count(value).saturating_mul(times(count));
        if value.as_str().is_some() {
            budget.ensure_room(length)?;
        } else if value.as_object().is_some() {
            budget.spend_steps(length)?;
            budget.ensure_room(length.saturating_mul(ITEM_BYTES))?;
        }
    }
    return_operands(values)
}

/// `left ~ right`: concatenation of text forms.
fn concat(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let mut out = String::new();
    for value in &values {
        match value.as_str() {
            Some(text) => {
                budget.ensure_room((out.len() + text.len()) as u64)?;
                out.push_str(text);
            }
            None => {
                budget.write(value, &mut out)?;
            }
        }
    }
    budget.materialize(Value::from(out))
}

/// `value[key]`.
fn item(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let [value, key] = exactly(&values)?;
    if let Some(text) = value.as_str() {
        budget.spend_scan(text.len())?;
    }
    budget.spend_traversal(key)?;
    return_operands(values)
}

/// The iterable of a loop.
fn iterate(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let value = first(values)?;
    match value.as_str() {
        Some(text) => budget.spend_scan(text.len())?,
        None => budget.spend_steps(1 + item_count(&value))?,
    }
    Ok(value)
}

/// Arguments of `loop.changed(…)`, which compares them, and of `loop.cycle(…)`, which divides by
/// their number.
fn loop_method(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    if values.len() < 2 {
        return Err(refused_value("no argument", "one or more"));
    }
    for value in values.iter().skip(1) {
        budget.spend_traversal(value)?;
    }
    return_operands(values)
}

/// `namespace.name = value`.
fn set(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let [value, _] = exactly(&values)?;
    budget.check_nesting(value)?;
    budget.spend_bytes(PAIR_BYTES)?;
    return_operands(values)
}

/// `{key: value, …}`.
fn map(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let mut pairs = Vec::with_capacity(values.len() / 2);
    let mut values = values.into_iter();
    while let (Some(key), Some(value)) = (values.next(), values.next()) {
        budget.spend_traversal(&key)?;
        pairs.push((key, value));
    }
    budget.materialize(Value::from_pairs(pairs))
}

/// `f(*list, …)`: concatenates all arguments into one list.
fn arguments(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for value in values {
        for item in value.try_iter()?.checked() {
            budget.spend_steps(1)?;
            budget.spend_bytes(ITEM_BYTES)?;
            all.push(item?);
        }
    }
    if let [only] = all.as_slice() {
        budget.spend_steps(item_count(only))?;
    }
    Ok(Value::from(all))
}

/// `f(**mapping, …)`: merges all keyword arguments into one mapping.
fn keywords(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let mut all = Vec::new();
    for value in &values {
        if value.is_undefined() {
            continue;
        }
        let object = value.as_object().filter(|_| value.kind() == ValueKind::Map);
        let Some(pairs) = object.and_then(|object| object.try_iter_pairs()) else {
            let found = format!("keyword arguments from {}", value.kind());
            return Err(refused_value(found, "a mapping"));
        };
        for (key, value) in pairs {
            budget.spend_traversal(&key)?;
            budget.spend_bytes(PAIR_BYTES)?;
            let name = key.as_str().ok_or_else(|| {
                refused_value(format!("a keyword of kind {}", key.kind()), "a string")
            })?;
            all.push((name.to_owned(), value));
        }
    }
    Ok(Value::from(Kwargs::from_iter(all)))
}

/// `value[start:stop:step]` with Python's semantics: bounds outside the value mean its ends.
fn slice(budget: &mut RenderBudget, values: Vec<Value>) -> Result<Value, Error> {
    let [value, start, stop, step] = exactly(&values)?;
    let (start, stop, step) = (bound(start)?, bound(stop)?, bound(step)?.unwrap_or(1));
    if step == 0 {
        return Err(refused_value("a slice with a step of 0", "another number"));
    }
    if let Some(text) = value.as_str() {
        budget.spend_scan(text.len())?;
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
        return budget.materialize(Value::from(taken));
    }
    let mut list = Vec::new();
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(Value::from(list)),
        ValueKind::Seq | ValueKind::Iterable => {}
        kind => return Err(refused_value(format!("a slice of {kind}"), "a string or a list")),
    }
    let count = budget.spend_items(value)?;
    budget.spend_bytes(ITEM_BYTES * count)?;
    let all: Vec<Value> = value.try_iter()?.collect();
    let (first, count) = positions(all.len(), start, stop, step);
    for index in 0..count as i64 {
        let index = (first as i64).saturating_add(index.saturating_mul(step));
        list.extend(usize::try_from(index).ok().and_then(|index| all.get(index)).cloned());
    }
    Ok(if value.is_tuple() { Value::from(Tuple::from(list)) } else { Value::from(list) })
}

/// An optional bound of a slice, clamped to 64 bits.
fn bound(value: &Value) -> Result<Option<i64>, Error> {
    if value.is_none() || value.is_undefined() {
        return Ok(None);
    }
    let number = i128::try_from(value.clone())?;
    Ok(Some(number.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64))
}

/// First position and number of positions that a slice selects.
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
