//! Costs of filters, tests, functions, methods and operators: upper bounds of the effort of a call,
//! spent before it is made.

use std::borrow::Cow;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, Value};

use super::budget::{COPIED_BYTES, ITEM_BYTES, RenderBudget, item_count};
use super::render_error::refused_value;

/// Factor of sorting over visiting everything once.
const SORT_STEPS: u64 = 24;
/// Maximum bytes by which a formatted field exceeds its value: widths have at most three digits.
const FIELD_BYTES: u64 = 1000;
/// Maximum bytes of indentation before a line, and of a `strftime` directive.
const WIDTH_BYTES: u64 = 256;
/// Maximum absolute value of the arguments of `range`.
const MAX_RANGE: i64 = 1 << 30;

/// Spends the cost of a call with the given arguments, a method's or filter's value first.
pub(super) type Cost = fn(&mut RenderBudget, &[Value]) -> Result<(), Error>;

/// A cost that does not depend on the arguments.
pub(super) fn constant(budget: &mut RenderBudget, _: &[Value]) -> Result<(), Error> {
    budget.spend_steps(1)
}

/// Visits each item or character once, not what the items contain, and may build a list of them.
pub(super) fn items(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let count = budget.spend_items(value)?;
        if count > 1 {
            budget.spend_bytes(ITEM_BYTES * count)?;
        }
    }
    Ok(())
}

/// Visits everything that the values contain.
pub(super) fn everything(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| budget.spend_traversal(value))
}

/// Looks up the other arguments in the first.
pub(super) fn lookup(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    match values.split_first() {
        Some((value, keys)) => {
            budget.spend_scan(value.as_str().map_or(0, str::len))?;
            everything(budget, keys)
        }
        None => Ok(()),
    }
}

/// Writes all values as text.
pub(super) fn text(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| budget.text_length(value).map(|_| ()))
}

/// Maps each character to up to three.
pub(super) fn case_mapping(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = budget.text_length(value)?;
        budget.spend_steps(length / 4)?;
        budget.ensure_room(length.saturating_mul(3))?;
    }
    Ok(())
}

/// Compares characters of the first value with all characters of the second.
pub(super) fn trim(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    text(budget, values)?;
    let [value, marks, ..] = values else { return Ok(()) };
    budget.spend_steps((1 + item_count(value) / 8).saturating_mul(1 + item_count(marks)))
}

fn text_of(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// Copies the first value, with the third in place of each occurrence of the second.
pub(super) fn replace(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    text(budget, values)?;
    let [value, from, to, ..] = values else { return Ok(()) };
    let (text, from) = (text_of(value), text_of(from));
    budget.spend_scan(text.len())?;
    let count = text.matches(from.as_ref()).count() as u64;
    let length = budget.text_length(to)?;
    budget.ensure_room((text.len() as u64).saturating_add(count.saturating_mul(length)))
}

/// Copies the items of the first value, separated by the second.
pub(super) fn join(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let Some((list, rest)) = values.split_first() else { return Ok(()) };
    let mut between = 0;
    for value in rest {
        between += budget.text_length(value)?;
    }
    let mut length = 0;
    if list.as_str().is_none() {
        for item in list.try_iter()? {
            length += budget.text_length(&item)?;
        }
    }
    let count = budget.spend_items(list)?;
    budget.ensure_room(length.saturating_add(count.saturating_mul(between + 1)))
}

/// Splits the first value at each occurrence of the second, or at white space.
pub(super) fn split(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    text(budget, values)?;
    let Some(text) = values.first().and_then(Value::as_str) else { return Ok(()) };
    budget.spend_scan(2 * text.len())?;
    let count = match values.get(1).and_then(Value::as_str) {
        Some(mark) => text.matches(mark).count(),
        None => text.split_whitespace().count() + text.matches('\n').count(),
    };
    budget.spend_steps(count as u64)?;
    budget.spend_bytes((1 + count as u64).saturating_mul(ITEM_BYTES))?;
    // The parts together are no longer than the text.
    budget.ensure_room(text.len() as u64)
}

/// Writes all values as text, with indentation before each line.
pub(super) fn indent(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = budget.text_length(value)?;
        let lines = match value.as_str() {
            Some(text) => text.matches('\n').count() as u64,
            // At most one line per value or bracket, each of which has at least one character.
            None if value.as_object().is_some() => length,
            None => 0,
        };
        budget.ensure_room(length.saturating_add((1 + lines).saturating_mul(WIDTH_BYTES)))?;
    }
    Ok(())
}

/// Writes all values as text, with up to six characters for each.
pub(super) fn escape(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = budget.text_length(value)?;
        budget.spend_steps(length)?;
        budget.ensure_room(length.saturating_mul(6))?;
    }
    Ok(())
}

/// Replaces each field of the first value by, at most, the longest of the others.
pub(super) fn format(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let Some((format, rest)) = values.split_first() else { return Ok(()) };
    let length = budget.text_length(format)?;
    let fields = format.as_str().map_or(0, |text| text.matches(['%', '{']).count() as u64);
    let mut longest = 0;
    for value in rest {
        longest = budget.text_length(value)?.max(longest);
    }
    budget.spend_scan(format.as_str().map_or(0, str::len))?;
    budget.ensure_room(length.saturating_add(fields.saturating_mul(FIELD_BYTES + longest)))
}

/// Pads a text to a given width.
pub(super) fn pad(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    text(budget, values)?;
    let Some((text, rest)) = values.split_first() else { return Ok(()) };
    let width = rest.iter().filter_map(Value::as_usize).max().unwrap_or(8) as u64;
    let tabs = text.as_str().map_or(0, |text| text.matches('\t').count() as u64);
    budget.ensure_room(width.saturating_mul(4 + tabs))
}

/// Compares everything as often as sorting does.
pub(super) fn sort(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let steps = budget.count_steps(|budget| everything(budget, values))?;
    budget.spend_steps(steps.saturating_mul(SORT_STEPS))?;
    let count = values.first().map_or(0, item_count);
    budget.spend_bytes(count.saturating_mul(4 * ITEM_BYTES))
}

/// Makes a call with the other arguments for each item of the first.
pub(super) fn call_per_item(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let Some((list, rest)) = values.split_first() else { return Ok(()) };
    let steps = budget.count_steps(|budget| everything(budget, rest))?;
    let count = budget.spend_items(list)?;
    budget.spend_steps(count.saturating_mul(2 + steps))?;
    budget.spend_bytes(count.saturating_mul(ITEM_BYTES))
}

/// Sums numbers only: with strings or lists each partial sum would be copied into the next.
pub(super) fn sum(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    call_per_item(budget, values)?;
    let keyword = values.last().cloned().and_then(|last| Kwargs::try_from(last).ok());
    let keyword = keyword.and_then(|keywords| keywords.peek::<Value>("start").ok());
    let start = values.get(2).filter(|value| !value.is_kwargs()).cloned().or(keyword);
    match start {
        Some(start) if !start.is_number() => {
            Err(refused_value(format!("a sum that starts with {}", start.kind()), "a number"))
        }
        _ => Ok(()),
    }
}

/// Divides integers; refuses division by zero and overflow.
pub(super) fn division(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    budget.spend_steps(1)?;
    let number = |value: Option<&Value>| value.and_then(|value| i128::try_from(value.clone()).ok());
    match (number(values.first()), number(values.get(1))) {
        (_, Some(0)) | (Some(i128::MIN), Some(-1)) => {
            Err(refused_value("a division by 0", "another number"))
        }
        _ => Ok(()),
    }
}

/// Stores values in a namespace.
pub(super) fn namespace(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| budget.check_nesting(value))
}

/// Creates a range; refuses bounds whose differences may overflow.
pub(super) fn range(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    budget.spend_steps(1)?;
    let is_far = |value: &&Value| {
        i64::try_from((*value).clone())
            .is_ok_and(|number| !(-MAX_RANGE..=MAX_RANGE).contains(&number))
    };
    match values.iter().find(is_far) {
        Some(value) => {
            Err(refused_value(format!("a range with {value}"), format!("at most {MAX_RANGE}")))
        }
        None => Ok(()),
    }
}

/// Formats a time by the directives of the first value.
pub(super) fn strftime(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    text(budget, values)?;
    let marks = values.first().and_then(Value::as_str).map_or(0, |text| text.matches('%').count());
    budget.ensure_room((marks as u64).saturating_mul(WIDTH_BYTES))
}

/// Compares the first two values.
pub(super) fn comparison(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let [left, right, ..] = values else { return budget.spend_steps(1) };
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => {
            budget.spend_steps(1 + left.len().min(right.len()) as u64 / COPIED_BYTES)
        }
        _ => {
            budget.spend_traversal(left)?;
            budget.spend_traversal(right)
        }
    }
}

/// Searches for the first value in the second.
pub(super) fn containment(budget: &mut RenderBudget, values: &[Value]) -> Result<(), Error> {
    let [value, container, ..] = values else { return budget.spend_steps(1) };
    if let Some(text) = container.as_str() {
        budget.text_length(value)?;
        return budget.spend_scan(text.len());
    }
    budget.spend_traversal(value)?;
    match container.kind() {
        ValueKind::Map => Ok(()),
        _ => budget.spend_traversal(container),
    }
}
