//! Registration of filters, tests, functions and methods, each with the function of [`costs`] that
//! bounds its effort. Templates can use nothing else.

use minijinja::functions::{self, Function};
use minijinja::value::{FunctionArgs, FunctionResult, Rest, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, State, Value, filters as jinja, tests};

use super::budget::RenderBudget;
use super::costs::{self, Cost};
use super::render_error::raise_exception;
use super::{filters, json, methods};

/// Positional and keyword arguments of a call.
type Arguments = Rest<ValueOrKwargs>;

/// Wraps a filter, test or function so that each call first spends its cost.
pub(super) fn metered<F, Rv, Args>(
    cost: Cost,
    function: F,
) -> impl Fn(&mut State<'_, '_>, Arguments) -> Result<Value, Error> + Send + Sync + 'static
where
    F: Function<Rv, Args>,
    Rv: FunctionResult,
    Args: for<'a> FunctionArgs<'a>,
{
    let function = Value::from_function(function);
    move |state: &mut State<'_, '_>, args: Arguments| {
        let args = args.into_values();
        RenderBudget::metered_call(
            state,
            |budget| cost(budget, &args),
            |state| function.call(state, &args),
        )
    }
}

/// Adds everything that templates can use.
pub(super) fn add_builtins(environment: &mut Environment<'_>) {
    add_filters(environment);
    add_tests(environment);
    environment.add_function("dict", metered(costs::everything, functions::dict));
    environment.add_function("namespace", metered(costs::namespace, functions::namespace));
    environment.add_function("range", metered(costs::range, functions::range));
    environment.add_function("raise_exception", metered(costs::text, raise_exception));
    environment.set_unknown_method_callback(method);
}

fn add_filters(environment: &mut Environment<'_>) {
    macro_rules! add {
        ($($cost:ident: $($name:literal = $filter:expr),+;)+) => {
            $($(environment.add_filter($name, metered(costs::$cost, $filter));)+)+
        };
    }
    add! {
        constant: "default" = filters::default, "d" = filters::default, "abs" = jinja::abs,
            "round" = jinja::round, "bool" = jinja::bool;
        items: "length" = filters::length, "count" = filters::length, "first" = filters::first,
            "last" = filters::last, "int" = filters::int, "float" = filters::float,
            "safe" = jinja::safe, "list" = jinja::list, "reverse" = jinja::reverse,
            "items" = filters::items, "batch" = filters::batch, "slice" = filters::slice;
        lookup: "attr" = jinja::attr;
        case_mapping: "upper" = jinja::upper, "lower" = jinja::lower, "title" = jinja::title,
            "capitalize" = jinja::capitalize;
        trim: "trim" = filters::trim;
        replace: "replace" = filters::replace;
        join: "join" = jinja::join;
        // Not part of Jinja, but used by templates written for other engines.
        split: "split" = jinja::split;
        text: "string" = filters::string, "tojson" = json::to_json,
            "wordcount" = filters::word_count, "truncate" = filters::truncate;
        pad: "center" = filters::center;
        indent: "indent" = filters::indent, "pprint" = jinja::pprint;
        escape: "escape" = filters::escape, "e" = filters::escape,
            "forceescape" = filters::force_escape;
        format: "format" = filters::format;
        sort: "sort" = filters::sort, "unique" = filters::unique, "groupby" = jinja::groupby,
            "dictsort" = filters::dictsort, "min" = jinja::min, "max" = jinja::max;
        call_per_item: "map" = jinja::map, "select" = jinja::select, "reject" = jinja::reject,
            "selectattr" = jinja::selectattr, "rejectattr" = jinja::rejectattr;
        sum: "sum" = jinja::sum;
    }
}

fn add_tests(environment: &mut Environment<'_>) {
    macro_rules! add {
        ($($cost:ident: $($name:literal = $test:expr),+;)+) => {
            $($(environment.add_test($name, metered(costs::$cost, $test));)+)+
        };
    }
    add! {
        constant: "undefined" = tests::is_undefined, "defined" = tests::is_defined,
            "none" = tests::is_none, "safe" = tests::is_safe, "escaped" = tests::is_safe,
            "boolean" = tests::is_boolean, "odd" = tests::is_odd, "even" = tests::is_even,
            "number" = tests::is_number, "integer" = tests::is_integer, "int" = tests::is_integer,
            "float" = tests::is_float, "string" = tests::is_string,
            "sequence" = filters::is_sequence, "callable" = filters::is_callable,
            "mapping" = tests::is_mapping, "true" = tests::is_true, "false" = tests::is_false,
            "filter" = tests::is_filter, "test" = tests::is_test;
        items: "iterable" = filters::is_iterable, "lower" = tests::is_lower,
            "upper" = tests::is_upper;
        division: "divisibleby" = tests::is_divisibleby;
        text: "startingwith" = tests::is_startingwith, "endingwith" = tests::is_endingwith;
        containment: "in" = tests::is_in;
        comparison: "sameas" = tests::is_sameas,
            "eq" = tests::is_eq, "equalto" = tests::is_eq, "==" = tests::is_eq,
            "ne" = tests::is_ne, "!=" = tests::is_ne,
            "lt" = tests::is_lt, "lessthan" = tests::is_lt, "<" = tests::is_lt,
            "le" = tests::is_le, "<=" = tests::is_le,
            "gt" = tests::is_gt, "greaterthan" = tests::is_gt, ">" = tests::is_gt,
            "ge" = tests::is_ge, ">=" = tests::is_ge;
    }
}

/// Callback for methods that a value does not implement: Python's methods, with their costs.
fn method(
    state: &mut State<'_, '_>,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let cost: Cost = match name {
        "upper" | "lower" | "title" | "capitalize" | "casefold" | "swapcase" => costs::case_mapping,
        "strip" | "lstrip" | "rstrip" => costs::trim,
        "replace" => costs::replace,
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" => costs::split,
        "join" => |budget, values| match values {
            [joiner, list, ..] => costs::join(budget, &[list.clone(), joiner.clone()]),
            _ => Ok(()),
        },
        "format" => costs::format,
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs" => costs::pad,
        "get" | "pop" | "setdefault" => costs::lookup,
        "items" | "keys" | "values" => costs::items,
        // A function stored in a mapping, which spends its own cost when it is called.
        _ if value.kind() == ValueKind::Map => costs::constant,
        _ => costs::everything,
    };
    let values: Vec<Value> = std::iter::once(value).chain(args).cloned().collect();
    RenderBudget::metered_call(
        state,
        |budget| cost(budget, &values),
        |state| methods::method(state, value, name, args),
    )
}
