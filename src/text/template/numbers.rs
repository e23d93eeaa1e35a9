//! Numbers as Python writes them.

use minijinja::Value;
use minijinja::value::ValueKind;

/// True for numbers that are written with a decimal point or an exponent.
pub(super) fn is_float(value: &Value) -> bool {
    value.kind() == ValueKind::Number && !value.is_integer()
}

/// A number as `repr` and `json.dumps` write it in Python.
pub(super) fn python_number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(number) = f64::try_from(value.clone()) else { return value.to_string() };
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // The shortest digits that read back as the number, with at least two digits of exponent.
    let text = format!("{number:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => match exponent.strip_prefix('-') {
            Some(exponent) => format!("{}e-{exponent:0>2}", digits.trim_end_matches(".0")),
            None => format!("{}e+{exponent:0>2}", digits.trim_end_matches(".0")),
        },
        None => text,
    }
}
