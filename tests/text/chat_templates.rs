//! Chat templates: output equal to Jinja2's under Hugging Face's settings, and safe failure.

use serde_json::{Value, json};
use tablm::text::{ChatTemplate, CivilTime, RenderOptions, flatten_text_parts};
use tablm::weights::Container;

use super::{fixture, json, template_source, text, tokenizers::default_model};

/// Templates written for these tests, named after the models whose style they have.
const MODELS: [&str; 5] = ["gemma", "llama31", "mistral", "nemotron", "qwen2"];

/// The larger collection of templates and cases that `make proof` adds.
fn collection() -> Option<Value> {
    let path = std::env::var_os("TABLM_TEMPLATES")?;
    let bytes = std::fs::read(path).expect("a collection");
    Some(serde_json::from_slice(&bytes).expect("JSON"))
}

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new("t.jinja", source, "<s>", "</s>").expect(source)
}

fn render(source: &str, messages: &Value) -> Result<String, tablm::Error> {
    ChatTemplate::new("t.jinja", source, "<s>", "</s>")?.render(messages, &RenderOptions::default())
}

#[test]
fn the_template_of_smollm2_renders_its_prompts() {
    let checkpoint = default_model();
    let Container::Gguf(metadata) = &checkpoint.container else {
        panic!("a .gguf file opened as a folder")
    };
    let source = metadata.str("tokenizer.chat_template").expect("a text").expect("a template");
    let template = ChatTemplate::new(metadata.file(), source, "<|im_start|>", "<|im_end|>")
        .expect("the template");
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    for prompt in json("smollm2.json")["prompts"].as_array().expect("prompts") {
        assert_eq!(
            template.render(&prompt["messages"], &options).expect("a prompt"),
            text(&prompt["prompt_text"])
        );
    }
}

#[test]
fn templates_render_as_in_jinja() {
    let sources =
        |name: &str| String::from_utf8(fixture(&format!("templates/{name}"))).expect(name);
    let mut failures = Vec::new();
    let count = compare(&json("templates.json"), &sources, &mut failures);
    assert!(failures.is_empty(), "{} differ, as\n{}", failures.len(), failures[0]);
    assert!(count > 300, "{count} cases");
    let Some(golden) = collection() else { return };
    let sources = |name: &str| text(&golden["templates"][name]).to_owned();
    let count = compare(&golden, &sources, &mut failures);
    println!("{count} prompts are compared, {} cases differ", failures.len());
    assert!(failures.is_empty(), "{}", failures[..failures.len().min(9)].join("\n"));
}

/// Renders every case and appends differences to `failures`; returns the number of cases for which
/// Jinja2 renders a text.
fn compare(golden: &Value, sources: &dyn Fn(&str) -> String, failures: &mut Vec<String>) -> usize {
    let now = CivilTime::from_unix(golden["now"].as_i64().expect("a time"));
    let mut count = 0;
    for case in golden["cases"].as_array().expect("cases") {
        let name = text(&case["template"]);
        let given = &golden["options"][case["options"].as_u64().expect("an index") as usize];
        let options = RenderOptions {
            tools: given.get("tools"),
            add_generation_prompt: given["add_generation_prompt"] == true,
            extra: given.get("extra").and_then(Value::as_object),
            now: Some(now),
        };
        let about = format!("{name}, {}, options {}", case["chat"], case["options"]);
        let found =
            template(&sources(name)).render(&golden["chats"][text(&case["chat"])], &options);
        let right = match (case.get("text"), case.get("raised"), &found) {
            (Some(expected), _, Ok(found)) => {
                count += 1;
                found == text(expected)
            }
            (None, Some(message), Err(error)) => {
                let message = format!("messages: {}", text(message));
                error.code().as_str() == "invalid-request" && error.message() == message
            }
            (None, None, Err(error)) => {
                let message = error.message();
                error.code().as_str() == "malformed"
                    && message.starts_with("t.jinja: chat_template: line ")
            }
            // `none` counts as an empty list here, where Jinja2 fails.
            (None, None, Ok(_)) => {
                text(&case["failed"]).ends_with("not iterable")
                    || text(&case["failed"]).ends_with("not JSON serializable")
            }
            _ => false,
        };
        if !right {
            failures.push(format!("{about}: expected {case}, found {found:?}"));
        }
    }
    count
}

#[test]
fn a_long_chat_is_within_the_budget() {
    let turn = |number: usize| match number % 2 {
        0 => json!({"role": "user", "content": "Why?"}),
        _ => json!({"role": "assistant", "content": "<think>hm</think>Because."}),
    };
    let messages: Value = (0..2001).map(turn).collect();
    let options = RenderOptions { add_generation_prompt: true, ..RenderOptions::default() };
    for name in MODELS {
        let prompt = template(&template_source(name)).render(&messages, &options).expect(name);
        assert_eq!(prompt.matches("Because.").count(), 1000, "{name}");
    }
}

/// 400 messages of 1 KB with reasoning and calls, and 64 tools of 1 KB.
#[test]
fn a_large_chat_with_tools_is_within_the_budget() {
    let words = "The quick brown fox; ".repeat(48);
    let call = json!({"id": "call00001", "type": "function", "function": {"name": "f",
        "arguments": {"x": words}}});
    let turn = |number: usize| match number % 4 {
        0 => json!({"role": "user", "content": words}),
        1 => {
            json!({"role": "assistant", "content": "", "reasoning_content": words,
                "tool_calls": [call]})
        }
        2 => json!({"role": "tool", "name": "f", "tool_call_id": "call00001", "content": words}),
        _ => json!({"role": "assistant", "content": words}),
    };
    let messages: Value = (0..400).map(turn).collect();
    let properties: Value = (0..12)
        .map(|number| {
            (format!("p{number}"), json!({"type": "string", "description": &words[..64]}))
        })
        .collect();
    let function = |number: usize| {
        json!({"name": format!("f{number}"), "description": words,
               "parameters": {"type": "object", "properties": properties, "required": ["p1"]}})
    };
    let tools: Value =
        (0..64).map(|number| json!({"type": "function", "function": function(number)})).collect();
    let options = RenderOptions {
        tools: Some(&tools),
        add_generation_prompt: true,
        ..RenderOptions::default()
    };
    let mut templates: Vec<(String, String)> =
        MODELS.map(|name| (name.to_owned(), template_source(name))).into();
    if let Some(golden) = collection() {
        let collected = golden["templates"].as_object().expect("templates").iter();
        templates.extend(collected.map(|(name, source)| (name.clone(), text(source).to_owned())));
    }
    let mut rendered = Vec::new();
    for (name, source) in templates {
        match template(&source).render(&messages, &options) {
            Ok(prompt) => rendered.push((name, prompt.len())),
            // A template may refuse a chat whose roles do not alternate, or fail as in Jinja2.
            Err(error) => {
                let bounds = ["more than", "deeper than", "at most"];
                let is_bound = bounds.iter().any(|bound| error.message().contains(bound));
                assert!(!is_bound, "{name}: {error}");
            }
        }
    }
    for name in ["llama31", "nemotron", "qwen2"] {
        assert!(
            rendered.iter().any(|(found, length)| found == name && *length > 200_000),
            "{name}: {rendered:?}"
        );
    }
}

#[test]
fn dates_equal_those_of_python() {
    for case in json("templates.json")["dates"].as_array().expect("dates") {
        let now = CivilTime::from_unix(case[0].as_i64().expect("a time"));
        let options = RenderOptions { now: Some(now), ..RenderOptions::default() };
        let format = "%Y-%m-%d %H:%M:%S %A %a %B %b %j %y %e %I %p %F %T %D %h %-d %-m %-H %%";
        let source = format!("{{{{ strftime_now({format:?}) }}}}");
        assert_eq!(
            template(&source).render(&json!([]), &options).expect("a date"),
            text(&case[1]),
            "{}",
            case[0]
        );
    }
    let options =
        RenderOptions { now: Some(CivilTime::from_unix(i64::MAX)), ..RenderOptions::default() };
    assert_eq!(
        template("{{ strftime_now('%Y') }}").render(&json!([]), &options).expect("a year"),
        "9999"
    );
    let error = template("{{ strftime_now('%Q %') }}")
        .render(&json!([]), &options)
        .expect_err("no such directive");
    assert_eq!(error.code().as_str(), "malformed");
    assert_eq!(render("{{ strftime_now is defined }}", &json!([])).expect("no time"), "False");
}

#[test]
fn endless_templates_are_stopped() {
    let long =
        "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}";
    let error = render(long, &json!([])).expect_err("no end");
    assert_eq!(error.code().as_str(), "malformed");
    assert!(error.message().contains("line 1: found too many instructions"), "{error}");
    let wide = "\n{% set x = 'abcdefgh' * 100000 %}{% for a in range(999) %}{{ x }}{% endfor %}";
    let error = render(wide, &json!([])).expect_err("too much");
    assert!(error.message().contains("bytes of output"), "{error}");
    for source in [
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 2) }}{% endmacro %}{{ f(0) }}",
        "{% include 'chat' %}",
        "{% extends 'chat' %}",
        "{{ 'a' * 100000000000 }}",
        "{{ range(10 ** 12)|list }}",
        "{{ [1] * 10 ** 15 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ '%99999999999d'|format(1) }}",
        "{{ '%*d'|format(99999999999, 1) }}",
        "{{ '{:99999999999}'.format(1) }}",
        "{{ '{:{}}'.format(1, 99999999999) }}",
        "{{ 'a'|indent(99999999999, true) }}",
        "{{ 'a'|indent(width=99999999999) }}",
        "{{ [1]|batch(99999999999, 1) }}",
        "{{ [1]|slice(99999999999) }}",
        "{{ {'a': 1}|tojson(indent=99999999999) }}",
    ] {
        if let Err(error) = render(source, &json!([])) {
            assert_eq!(error.code().as_str(), "malformed", "{source}: {error}");
        }
    }
    let nested = "{% set ns = namespace(x=1) %}{% for a in range(99999) %}{% set ns.x = [ns.x] %}\
        {% endfor %}{{ ns.x }}";
    assert!(render(nested, &json!([])).is_err());
    let nested = "{% set ns = namespace(x=1) %}{% for a in range(2000) %}{% set ns.x = [ns.x] %}\
        {% endfor %}{{ ns.x|tojson }}";
    assert!(render(nested, &json!([])).expect_err("deep").message().contains("nested deeper"));
}

#[test]
fn syntax_errors_name_the_line() {
    for (source, line) in [
        ("a\n{% if %}", 2),
        ("{{ 1 +", 1),
        ("\n\n{% endfor %}", 3),
        ("{{ x|nosuch }}", 1),
        ("{% nosuch %}", 1),
    ] {
        let error = match ChatTemplate::new("t.jinja", source, "", "") {
            Ok(template) => {
                template.render(&json!([]), &RenderOptions::default()).expect_err(source)
            }
            Err(error) => error,
        };
        assert_eq!(error.code().as_str(), "malformed", "{error}");
        assert!(
            error.message().starts_with(&format!("t.jinja: chat_template: line {line}: ")),
            "{error}"
        );
    }
    let error = ChatTemplate::new("t.jinja", &"x".repeat(2 << 20), "", "").err().expect("too long");
    assert!(error.message().contains("2097152 bytes, expected at most 1048576"), "{error}");
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(ChatTemplate::new("t.jinja", &deep, "", "").is_err());
}

#[test]
fn messages_and_tools_are_checked() {
    let cases = [
        (json!("hi"), "messages: found a string, expected a list"),
        (json!({"role": "user"}), "messages: found an object, expected a list"),
        (json!([{"role": "user"}, 5]), "messages[1]: found a number, expected an object"),
    ];
    for (messages, message) in cases {
        let error = render("{{ messages }}", &messages).expect_err(message);
        assert_eq!((error.code().as_str(), error.message()), ("invalid-request", message));
    }
    let options = RenderOptions { tools: Some(&Value::Null), ..RenderOptions::default() };
    let error = template("x").render(&json!([]), &options).expect_err("no tools");
    assert_eq!(error.message(), "tools: found null, expected a list");
    assert_eq!(ChatTemplate::missing("m.gguf").code().as_str(), "invalid-request");
}

#[test]
fn lists_of_text_parts_are_joined() {
    let mut messages = json!([
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]},
        {"role": "user", "content": "c"}, {"role": "assistant"}, 7
    ]);
    flatten_text_parts(&mut messages);
    assert_eq!(messages[0]["content"], "ab");
    assert!(messages[1]["content"].is_array());
    assert_eq!(messages[2]["content"], "c");
}
