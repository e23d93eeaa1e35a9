//! Filters, tests, functions and methods of templates: those of Jinja, each with what it costs.
//!
//! Only what is named here exists. A charge counts an effort before it is made: what the largest
//! values would take, where the exact effort is not known.

use std::borrow::Cow;

use minijinja::functions::{self, Function};
use minijinja::value::{FunctionArgs, FunctionResult, Kwargs, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, Value, filters, tests};

use super::template_guard::{ITEM_BYTES, Meter, items, refused};
use super::template_operators::{compare, contain};
use super::{chat_filters, chat_functions, chat_methods};

/// How much longer sorting takes than looking at everything once.
const SORT_STEPS: u64 = 24;
/// Most bytes by which one field of a format is longer than its value: its width has three digits.
const FIELD_BYTES: u64 = 1000;
/// Most spaces before a line, and bytes that a directive of a time may give.
const WIDTH_BYTES: u64 = 256;
/// Bounds of what `range` takes.
const MAX_RANGE: i64 = 1 << 30;

/// Counts what a call with these arguments may take.
type Charge = fn(&mut Meter, &[Value]) -> Result<(), Error>;

/// Adds a filter with its charge.
pub(super) fn add_filter<F, Rv, Args>(
    environment: &mut Environment<'_>,
    name: &'static str,
    charge: Charge,
    filter: F,
) where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let filter = Value::from_function(filter);
    environment.add_filter(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
        call(state, &filter, charge, &args.into_values())
    });
}

/// Adds a test with its charge.
pub(super) fn add_test<F, Rv, Args>(
    environment: &mut Environment<'_>,
    name: &'static str,
    charge: Charge,
    test: F,
) where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let test = Value::from_function(test);
    environment.add_test(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
        call(state, &test, charge, &args.into_values())
    });
}

/// Adds a function with its charge.
pub(super) fn add_function<F, Rv, Args>(
    environment: &mut Environment<'_>,
    name: &'static str,
    charge: Charge,
    function: F,
) where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let function = Value::from_function(function);
    environment.add_function(name, move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
        call(state, &function, charge, &args.into_values())
    });
}

fn call(
    state: &mut State<'_, '_>,
    function: &Value,
    charge: Charge,
    args: &[Value],
) -> Result<Value, Error> {
    Meter::around(state, |meter| charge(meter, args), |state| function.call(state, args))
}

/// Adds what every template has.
pub(super) fn add_builtins(environment: &mut Environment<'_>) {
    add_filters(environment);
    add_tests(environment);
    add_function(environment, "dict", deep, functions::dict);
    add_function(environment, "namespace", named, functions::namespace);
    add_function(environment, "range", ranged, functions::range);
    add_function(environment, "raise_exception", written, chat_functions::raise_exception);
    environment.set_unknown_method_callback(method);
}

fn add_filters(environment: &mut Environment<'_>) {
    macro_rules! add {
        ($($charge:ident: $($name:literal = $filter:expr),+;)+) => {
            $($(add_filter(environment, $name, $charge, $filter);)+)+
        };
    }
    add! {
        flat: "default" = chat_filters::default, "d" = chat_filters::default, "abs" = filters::abs,
            "round" = filters::round, "bool" = filters::bool;
        shallow: "length" = chat_filters::length, "count" = chat_filters::length,
            "first" = chat_filters::first, "last" = chat_filters::last, "int" = chat_filters::int,
            "float" = chat_filters::float, "safe" = filters::safe, "list" = filters::list,
            "reverse" = filters::reverse, "items" = chat_filters::items,
            "batch" = chat_filters::batch, "slice" = chat_filters::slice;
        keyed: "attr" = filters::attr;
        cased: "upper" = filters::upper, "lower" = filters::lower, "title" = filters::title,
            "capitalize" = filters::capitalize;
        trimmed: "trim" = chat_filters::trim;
        replaced: "replace" = chat_filters::replaced;
        joined: "join" = filters::join;
        // Not Jinja's, but templates for other engines have it.
        divided: "split" = filters::split;
        written: "string" = chat_filters::string, "tojson" = chat_functions::to_json,
            "wordcount" = chat_filters::word_count, "truncate" = chat_filters::truncate;
        padded: "center" = chat_filters::center;
        spaced: "indent" = chat_functions::indent, "pprint" = filters::pprint;
        escaped: "escape" = chat_filters::escape, "e" = chat_filters::escape,
            "forceescape" = chat_filters::force_escape;
        formatted: "format" = chat_functions::format;
        sorted: "sort" = chat_filters::sort, "unique" = chat_filters::unique,
            "groupby" = filters::groupby, "dictsort" = chat_filters::dictsort, "min" = filters::min, "max" = filters::max;
        each: "map" = filters::map, "select" = filters::select, "reject" = filters::reject,
            "selectattr" = filters::selectattr, "rejectattr" = filters::rejectattr;
        summed: "sum" = filters::sum;
    }
}

fn add_tests(environment: &mut Environment<'_>) {
    macro_rules! add {
        ($($charge:ident: $($name:literal = $test:expr),+;)+) => {
            $($(add_test(environment, $name, $charge, $test);)+)+
        };
    }
    add! {
        flat: "undefined" = tests::is_undefined, "defined" = tests::is_defined, "none" = tests::is_none,
            "safe" = tests::is_safe, "escaped" = tests::is_safe, "boolean" = tests::is_boolean,
            "odd" = tests::is_odd, "even" = tests::is_even, "number" = tests::is_number,
            "integer" = tests::is_integer, "int" = tests::is_integer, "float" = tests::is_float,
            "string" = tests::is_string, "sequence" = chat_filters::is_sequence, "callable" = chat_filters::is_callable, "mapping" = tests::is_mapping,
            "true" = tests::is_true, "false" = tests::is_false, "filter" = tests::is_filter,
            "test" = tests::is_test;
        shallow: "iterable" = chat_functions::is_iterable, "lower" = tests::is_lower,
            "upper" = tests::is_upper;
        divisor: "divisibleby" = tests::is_divisibleby;
        written: "startingwith" = tests::is_startingwith, "endingwith" = tests::is_endingwith;
        contain: "in" = tests::is_in;
        compare: "sameas" = tests::is_sameas,
            "eq" = tests::is_eq, "equalto" = tests::is_eq, "==" = tests::is_eq,
            "ne" = tests::is_ne, "!=" = tests::is_ne,
            "lt" = tests::is_lt, "lessthan" = tests::is_lt, "<" = tests::is_lt,
            "le" = tests::is_le, "<=" = tests::is_le,
            "gt" = tests::is_gt, "greaterthan" = tests::is_gt, ">" = tests::is_gt,
            "ge" = tests::is_ge, ">=" = tests::is_ge;
    }
}

/// Python's methods, each with what it costs.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let charge: Charge = match name {
        "upper" | "lower" | "title" | "capitalize" | "casefold" | "swapcase" => cased,
        "strip" | "lstrip" | "rstrip" => trimmed,
        "replace" => replaced,
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => divided,
        "join" => |meter, values| match values {
            [joiner, list, ..] => joined(meter, &[list.clone(), joiner.clone()]),
            _ => Ok(()),
        },
        "format" => formatted,
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => padded,
        "get" | "pop" | "setdefault" => keyed,
        "items" | "keys" | "values" => shallow,
        // A mapping's own, which is called as a function.
        _ if value.kind() == ValueKind::Map => flat,
        _ => deep,
    };
    let values: Vec<Value> = std::iter::once(value).chain(args).cloned().collect();
    Meter::around(
        state,
        |meter| charge(meter, &values),
        |state| chat_methods::method(state, value, name, args),
    )
}

/// The same for values of every size.
pub(super) fn flat(meter: &mut Meter, _: &[Value]) -> Result<(), Error> {
    meter.steps(1)
}

/// All items and characters once, not what the items hold; they may become a list.
pub(super) fn shallow(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let count = meter.items(value)?;
        if count > 1 {
            meter.bytes(ITEM_BYTES * count)?;
        }
    }
    Ok(())
}

/// Everything that the values hold.
pub(super) fn deep(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| meter.size(value))
}

/// The first value is looked into with the others.
fn keyed(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    match values.split_first() {
        Some((value, keys)) => {
            meter.scan(value.as_str().map_or(0, str::len))?;
            deep(meter, keys)
        }
        None => Ok(()),
    }
}

/// All values as text.
pub(super) fn written(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| meter.display(value).map(|_| ()))
}

/// Every character looked up, and up to three for it.
fn cased(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = meter.display(value)?;
        meter.steps(length / 4)?;
        meter.room(length.saturating_mul(3))?;
    }
    Ok(())
}

/// Every character of the first compared with all of the second.
fn trimmed(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    written(meter, values)?;
    let [value, marks, ..] = values else { return Ok(()) };
    meter.steps((1 + items(value) / 8).saturating_mul(1 + items(marks)))
}

fn text_of(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// The first with the third in every place of the second.
fn replaced(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    written(meter, values)?;
    let [value, from, to, ..] = values else { return Ok(()) };
    let (text, from) = (text_of(value), text_of(from));
    meter.scan(text.len())?;
    let count = text.matches(from.as_ref()).count() as u64;
    let length = meter.display(to)?;
    meter.room((text.len() as u64).saturating_add(count.saturating_mul(length)))
}

/// Everything in the first as text, with the second between.
fn joined(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let Some((list, rest)) = values.split_first() else { return Ok(()) };
    let mut between = 0;
    for value in rest {
        between += meter.display(value)?;
    }
    let mut length = 0;
    if list.as_str().is_none() {
        for item in list.try_iter()? {
            length += meter.display(&item)?;
        }
    }
    let count = meter.items(list)?;
    meter.room(length.saturating_add(count.saturating_mul(between + 1)))
}

/// The first cut at every place of the second.
fn divided(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    written(meter, values)?;
    let Some(text) = values.first().and_then(Value::as_str) else { return Ok(()) };
    meter.scan(2 * text.len())?;
    let count = match values.get(1).and_then(Value::as_str) {
        Some(mark) => text.matches(mark).count(),
        None => text.split_whitespace().count() + text.matches('\n').count(),
    };
    meter.steps(count as u64)?;
    meter.bytes((1 + count as u64).saturating_mul(ITEM_BYTES))?;
    // What is cut out is no longer than the text, all of it together.
    meter.room(text.len() as u64)
}

/// Everything as text, with spaces before each line.
fn spaced(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = meter.display(value)?;
        let lines = match value.as_str() {
            Some(text) => text.matches('\n').count() as u64,
            // A line for each value and bracket, which have a character or more.
            None if value.as_object().is_some() => length,
            None => 0,
        };
        meter.room(length.saturating_add((1 + lines).saturating_mul(WIDTH_BYTES)))?;
    }
    Ok(())
}

/// Everything as text, with up to six characters for each.
fn escaped(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    for value in values {
        let length = meter.display(value)?;
        meter.steps(length)?;
        meter.room(length.saturating_mul(6))?;
    }
    Ok(())
}

/// Every field of the first may hold the longest of the others.
fn formatted(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let Some((format, rest)) = values.split_first() else { return Ok(()) };
    let length = meter.display(format)?;
    let fields = format.as_str().map_or(0, |text| text.matches(['%', '{']).count() as u64);
    let mut longest = 0;
    for value in rest {
        longest = meter.display(value)?.max(longest);
    }
    meter.scan(format.as_str().map_or(0, str::len))?;
    meter.room(length.saturating_add(fields.saturating_mul(FIELD_BYTES + longest)))
}

/// A text as wide as a number says.
fn padded(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    written(meter, values)?;
    let Some((text, rest)) = values.split_first() else { return Ok(()) };
    let width = rest.iter().filter_map(Value::as_usize).max().unwrap_or(8) as u64;
    let tabs = text.as_str().map_or(0, |text| text.matches('\t').count() as u64);
    meter.room(width.saturating_mul(4 + tabs))
}

/// Everything compared as often as sorting does.
fn sorted(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let steps = meter.counting(|meter| deep(meter, values))?;
    meter.steps(steps.saturating_mul(SORT_STEPS))?;
    let count = values.first().map_or(0, items);
    meter.bytes(count.saturating_mul(4 * ITEM_BYTES))
}

/// Every item of the first, each with all the others.
fn each(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    let Some((list, rest)) = values.split_first() else { return Ok(()) };
    let steps = meter.counting(|meter| deep(meter, rest))?;
    let count = meter.items(list)?;
    meter.steps(count.saturating_mul(2 + steps))?;
    meter.bytes(count.saturating_mul(ITEM_BYTES))
}

/// Numbers alone: each text or list would be copied into the next.
fn summed(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    each(meter, values)?;
    let keyword = values.last().cloned().and_then(|last| Kwargs::try_from(last).ok());
    let keyword = keyword.and_then(|keywords| keywords.peek::<Value>("start").ok());
    let start = values.get(2).filter(|value| !value.is_kwargs()).cloned().or(keyword);
    match start {
        Some(start) if !start.is_number() => {
            Err(refused(format!("a sum that starts with {}, expected a number", start.kind())))
        }
        _ => Ok(()),
    }
}

/// A division that has a result.
fn divisor(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    meter.steps(1)?;
    let number = |value: Option<&Value>| value.and_then(|value| i128::try_from(value.clone()).ok());
    match (number(values.first()), number(values.get(1))) {
        (_, Some(0)) | (Some(i128::MIN), Some(-1)) => {
            Err(Error::new(ErrorKind::InvalidOperation, "a division by 0, expected another number"))
        }
        _ => Ok(()),
    }
}

/// Values that a namespace holds.
fn named(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    values.iter().try_for_each(|value| meter.nest(value))
}

/// Numbers whose differences are numbers.
fn ranged(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    meter.steps(1)?;
    let far = |value: &&Value| {
        i64::try_from((*value).clone())
            .is_ok_and(|number| !(-MAX_RANGE..=MAX_RANGE).contains(&number))
    };
    match values.iter().find(far) {
        Some(value) => Err(refused(format!("a range with {value}, expected at most {MAX_RANGE}"))),
        None => Ok(()),
    }
}

/// A time in the form that the first says.
pub(super) fn timed(meter: &mut Meter, values: &[Value]) -> Result<(), Error> {
    written(meter, values)?;
    let marks = values.first().and_then(Value::as_str).map_or(0, |text| text.matches('%').count());
    meter.room((marks as u64).saturating_mul(WIDTH_BYTES))
}
