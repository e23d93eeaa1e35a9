//! Hostile templates: each ends within a bound of time and memory, with a text or with an error
//! that names file, field and line.

use std::time::Duration;

use serde_json::json;
use tablm::text::{ChatTemplate, CivilTime, RenderOptions};

use super::allocations::measured;
use super::template_cases::*;

/// Limits of time and memory for any template. A template without limits would run for hours, so
/// the time leaves room for a busy machine.
const MAX_TIME: Duration = Duration::from_secs(if cfg!(target_arch = "wasm32") { 30 } else { 10 });
const MAX_BYTES: isize = 256 << 20;
/// Stack of the browser build.
#[cfg(not(target_arch = "wasm32"))]
const STACK_BYTES: usize = 1 << 20;

/// The first 300 characters of a text, for messages.
fn head(text: &str) -> String {
    text.chars().take(300).collect()
}

/// Compiles and renders `source` and checks the bounds; returns the text or the error message.
fn bounded(source: &str) -> Result<String, String> {
    let (head, source) = (head(source), source.to_owned());
    let work = move || {
        let call = json!([{"function": {"name": "f", "arguments": {"x": 1}}}]);
        let messages = json!([
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a".repeat(4000)},
            {"role": "assistant", "content": null, "tool_calls": call}
        ]);
        let tools = json!([{"type": "function", "function": {"name": "f", "parameters": {}}}]);
        let options = RenderOptions {
            tools: Some(&tools),
            add_generation_prompt: true,
            extra: None,
            now: Some(CivilTime::from_unix(1_700_000_000)),
        };
        measured(|| {
            ChatTemplate::new("t.jinja", &source, "<s>", "</s>")?.render(&messages, &options)
        })
    };
    let (result, time, memory) = on_a_small_stack(work).expect(&head);
    assert!(time < MAX_TIME, "{head}: {time:?}");
    assert!(memory < MAX_BYTES, "{head}: {} MiB", memory >> 20);
    result.map_err(|error| {
        assert!(
            matches!(error.code().as_str(), "malformed" | "invalid-request"),
            "{head}: {error}"
        );
        assert!(
            error.message().len() < 4000,
            "{head}: a message of {} bytes",
            error.message().len()
        );
        error.message().to_owned()
    })
}

/// Runs `work` on a stack as small as the browser's; wasm has one anyway.
#[cfg(not(target_arch = "wasm32"))]
fn on_a_small_stack<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> std::thread::Result<T> {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).expect("a thread").join()
}

#[cfg(target_arch = "wasm32")]
fn on_a_small_stack<T>(work: impl FnOnce() -> T) -> Result<T, &'static str> {
    Ok(work())
}

/// Checks that the error for `source` names a line and contains `words`.
fn refused(source: &str, words: &str) {
    let result = bounded(source);
    let is_expected = |message: &String| {
        message.starts_with("t.jinja: chat_template: line ") && message.contains(words)
    };
    if !result.as_ref().is_err_and(is_expected) {
        let (source, found) = (head(source), head(&format!("{result:?}")));
        panic!("{source}\n expected: {words}\n found: {found}");
    }
}

/// Checks the lines of a table: `source => words of the error`, `source ==> text`, or a source for
/// which only the bounds are checked; `template` completes a source to a template. Checks every
/// fourth line in wasm, where all of them take a minute.
fn check(table: &str, template: impl Fn(&str) -> String) {
    let step = if cfg!(target_arch = "wasm32") { 4 } else { 1 };
    for line in table.lines().filter(|line| !line.is_empty()).step_by(step) {
        if let Some((source, text)) = line.split_once(" ==> ") {
            assert_eq!(bounded(&template(source)).as_deref(), Ok(text), "{source}");
        } else if let Some((source, words)) = line.split_once(" => ") {
            refused(&template(source), words);
        } else {
            let _ = bounded(&template(line));
        }
    }
}

/// Repeats the part between two `…`, as in `1…~1…`.
fn repeated(source: &str, count: usize) -> String {
    let mut parts = source.split('…');
    let mut part = || parts.next().expect("two marks");
    let (before, middle, after) = (part(), part(), part());
    format!("{before}{}{after}", middle.repeat(count))
}

#[test]
fn long_operator_chains_are_refused_before_compilation() {
    for chain in CHAINS.lines().filter(|line| !line.is_empty()) {
        let _ = bounded(&repeated(chain, 50));
        for count in [400, 10_000] {
            refused(&repeated(chain, count), "more than 300 chained or nested operators");
        }
    }
    // Lists and comparisons in a row do not count as chains.
    for (list, text) in [("{{ […1,…]|length }}", "20000"), ("{{ 1…<1… }}", "False")] {
        let count = text.parse().unwrap_or(100);
        assert_eq!(bounded(&repeated(list, count)).as_deref(), Ok(text));
    }
    let macros = repeated("…{% macro m(a, b=2) %}{{ a }}{% endmacro %}…{{ m(1) }}", 2_500);
    assert_eq!(bounded(&macros).as_deref(), Ok("1"));
}

#[test]
fn deep_nesting_is_refused_before_compilation() {
    for open in OPENING.lines().filter(|line| !line.is_empty()) {
        for count in [33, 400, 10_000] {
            refused(&repeated(open, count), "line 1");
        }
    }
    for block in BLOCKS.lines().filter(|line| !line.is_empty()) {
        for count in [33, 10_000] {
            refused(&block.repeat(count), "blocks nested deeper than 32");
        }
    }
    let elif = "{% if 0 %}…\n{% elif 0 %}…{% endif %}";
    refused(
        &repeated(elif, 200),
        "line 129: found more than 128 nested blocks and `elif` branches",
    );
    refused(&repeated(elif, 10_000), "more than 128");
    assert_eq!(bounded(&repeated(elif, 100)).as_deref(), Ok(""));
    refused(&"{{1}}".repeat(200_000), "more than 65536 tokens");
    refused(&repeated("{{ dict(…1,…) }}", 2_500), "Too many arguments");
    refused(&repeated("{{ [1…\n,1…] }}", 100_000), "more than 65536 tokens");
    refused(&repeated("…\n…{{ 1 is divisibleby 0 }}", 70_000), "line 65535: ");
    for name in ["{{ …a…() }}", "{{ 1|…a… }}", "{{ 1 is …a… }}"] {
        refused(&repeated(name, 1 << 19), "is unknown");
    }
}

#[test]
fn sources_are_read_in_linear_time() {
    for source in FRAGMENTS {
        let _ = bounded(&source.repeat((1 << 20) / source.len()));
    }
}

/// A template that repeatedly replaces `n.x` by an expression of itself.
fn grown(count: usize, step: &str) -> String {
    let (start, step) = step.split_once("; ").unwrap_or(("1", step));
    format!(
        "{{% set n = namespace(x={start}) %}}{{% for i in range({count}) %}}{{% set n.x = {step} \
            %}}{{% endfor %}}"
    )
}

#[test]
fn value_depth_is_bounded() {
    check(DEEPER, |step| grown(5000, step));
    check(DEEP, str::to_owned);
    let lists = format!("{}n.x{}", "[".repeat(25), "]".repeat(25));
    for after in ["{{ n.x }}", "{{ n.x == n.x[0] }}", "{{ {n.x: 1} }}", "{{ n.x|tojson }}", ""] {
        refused(&(grown(800, &lists) + after), "nested deeper than 128");
    }
    assert_eq!(bounded(&(grown(5, &lists) + "{{ n.x|string|length }}")).as_deref(), Ok("251"));
    refused(&repeated("{{ ['a']|map(…'map', …'upper') }}", 1500), "filters that call filters");
}

#[test]
fn shared_values_cost_steps_for_each_reference() {
    let doubled = grown(60, "[1]; [n.x, n.x]");
    for after in ["{{ n.x == [n.x, n.x] }}", "{{ 2 in n.x }}", "{{ {n.x: 1} }}", ""] {
        refused(&format!("{doubled}{after}"), "more than 16000000 steps");
    }
    check(DOUBLED, |step| grown(64, step));
}

#[test]
fn operations_cost_steps_in_proportion_to_size() {
    let again =
        |source: &str| format!("{{% for i in range(100000) %}}{{{{ {source} }}}}{{% endfor %}}");
    check(OVER_LISTS, |source| format!("{{% set l = [1] * 100000 %}}{}", again(source)));
    check(OVER_TEXTS, |source| format!("{{% set t = 'ab ' * 200000 %}}{}", again(source)));
}

#[test]
fn statements_and_values_cost_steps_in_proportion_to_size() {
    check(LARGE, str::to_owned);
    let splats =
        |mark: &str| format!("{{% set l = [1] * 1000000 %}}{{{{ dict({}) }}}}", mark.repeat(1500));
    refused(&splats("*l, "), "more than");
    refused(&splats("**l, "), "expected a mapping");
    let raw = format!("{{% for i in range(100000) %}}{}{{% endfor %}}", "a".repeat(1 << 19));
    refused(&raw, "bytes of output");
    let long = bounded("{{ 'ab' * 10000000 }}").expect_err("more than a prompt");
    assert_eq!(
        long,
        "t.jinja: chat_template: found a prompt of 20000000 bytes, expected at most 16777216"
    );
    let raised = bounded("{{ raise_exception('a' * 1000000) }}").expect_err("an exception");
    assert!(raised.starts_with("messages: aaaa"), "{raised}");
}

#[test]
fn prompt_may_be_concatenated_piece_by_piece() {
    // Strings that are no longer referenced do not count: here 3,000 of up to 600 kB each.
    let source = grown(3000, "''; n.x ~ 'a' * 200") + "{{ n.x|length }}";
    assert_eq!(bounded(&source).as_deref(), Ok("600000"));
    // Strings that are referenced do.
    refused(&grown(3000, "['']; [n.x[0] ~ 'a' * 200] + n.x"), "bytes of values");
}

#[test]
fn slices_and_calculations_accept_any_number() {
    for number in NUMBERS.iter().flat_map(|number| [number.to_string(), format!("-{number}")]) {
        for value in
            ["'abcde'", "[1,2,3]", "(1,2,3)", "range(5)", "none", "undefined_name", "'é東'"]
        {
            let slices = SLICES.replace('N', &number).replace('X', value);
            assert!(bounded(&slices).is_ok(), "{slices}: {:?}", bounded(&slices));
        }
        for line in CALCULATIONS.lines().filter(|line| !line.is_empty()) {
            let _ = bounded(&format!("{{{{ {} }}}}", line.replace('N', &format!("({number})"))));
        }
    }
    check(SLICED, str::to_owned);
}

#[test]
fn accounting_does_not_change_results() {
    check(RESULTS, str::to_owned);
}
