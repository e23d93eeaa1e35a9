//! Prompts rendered by the command line: the selected template, and its inputs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use common::files::temporary_file;
use common::gguf::{Gguf, tiny_llama};
use tablm::formats::Format;

const TEMPLATE: &str = "tokenizer.chat_template";

fn tiny() -> Gguf {
    tiny_llama(64, Format::Q8_0)
}

/// Calls the command line; returns its JSON or the error's message.
fn tablm(arguments: &[&str]) -> Result<Value, String> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_tablm")).args(arguments).arg("--json").output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    match output.status.success() {
        true => Ok(found),
        false => Err(found["error"]["message"].as_str().unwrap().to_owned()),
    }
}

/// Renders the prompt of a chat, with a tool `f` if `tools`. `name` must be unique: it names the
/// files.
fn prompt(name: &str, model: Gguf, messages: &Value, tools: bool) -> Result<String, String> {
    let model = temporary_file(&format!("{name}.gguf"), &model.bytes());
    prompt_of(name, &model, messages, tools)
}

fn prompt_of(name: &str, model: &Path, messages: &Value, tools: bool) -> Result<String, String> {
    let messages = temporary_file(&format!("{name}.json"), messages.to_string().as_bytes());
    let tool_list = json!([{"type": "function", "function": {"name": "f"}}]).to_string();
    let tool_list = temporary_file(&format!("{name}-tools.json"), tool_list.as_bytes());
    let (model, messages) = (model.to_str().unwrap(), messages.to_str().unwrap());
    let mut arguments = vec!["generate", "--model", model, "--messages", messages];
    arguments.extend(["--max-tokens", "1", "--backend", "cpu"]);
    if tools {
        arguments.extend(["--tools", tool_list.to_str().unwrap()]);
    }
    let ids = tablm(&arguments)?["prompt_token_ids"].to_string();
    let text = tablm(&["detokenize", "--model", model, "--tokens", ids.trim_matches(['[', ']'])])?;
    Ok(text["text"].as_str().unwrap().to_owned())
}

fn hi() -> Value {
    json!([{"role": "user", "content": "hi"}])
}

#[test]
fn tool_use_template_is_selected_for_chats_with_tools() {
    let named = tiny()
        .str(TEMPLATE, "plain")
        .str(
            "tokenizer.chat_template.tool_use",
            "{% for tool in tools %}[{{ tool.function.name }}]{% endfor %}",
        )
        .strings("tokenizer.chat_templates", &["tool_use"]);
    assert_eq!(prompt("named", named, &hi(), false).unwrap(), "plain");
    let named = tiny()
        .str(TEMPLATE, "plain")
        .str("tokenizer.chat_template.tool_use", "{{ tools|length }} tools");
    assert_eq!(prompt("named-tools", named, &hi(), true).unwrap(), "1 tools");
    // A template without alternatives is used with and without tools.
    let only = || {
        tiny().str("tokenizer.chat_template.tool_use", "{{ tools|default([], true)|length }} tools")
    };
    assert_eq!(prompt("only", only(), &hi(), false).unwrap(), "0 tools");
    assert_eq!(prompt("only-tools", only(), &hi(), true).unwrap(), "1 tools");
    let other = tiny()
        .str("tokenizer.chat_template.rag", "rag")
        .strings("tokenizer.chat_templates", &["rag"]);
    assert_eq!(prompt("rag", other, &hi(), false).unwrap(), "rag");
}

#[test]
fn tools_are_passed_in_the_variable_that_the_template_reads() {
    let with = |template: &str| tiny().str(TEMPLATE, template);
    for (index, name) in
        ["xml_tools", "python_tools", "functions", "custom_tools"].iter().enumerate()
    {
        // String literals and comments are not variables.
        let template = format!(
            "{{# tools #}}<tools>{{% for t in {name} %}}{{{{ t.function.name }}}}{{{{ 'tools' }}}}\
                {{% endfor %}}"
        );
        let found = prompt(&format!("by-name{index}"), with(&template), &hi(), true);
        assert_eq!(found.unwrap(), "<tools>ftools");
    }
    let set = "{% set tools = xml_tools %}{{ tools|length }}";
    assert_eq!(prompt("set", with(set), &hi(), true).unwrap(), "1");
    let both = "{{ tools|length }}{{ xml_tools is defined }}";
    assert_eq!(prompt("both", with(both), &hi(), true).unwrap(), "1False");
    let refused = prompt("none", with("{{ 'tools' }}"), &hi(), true).unwrap_err();
    let expected = "tools: none.gguf: found a chat template without tools";
    assert!(refused.starts_with(expected), "{refused}");
}

#[test]
fn templates_see_every_special_token() {
    let model = |template: &str| {
        tiny()
            .u32("tokenizer.ggml.padding_token_id", 3)
            .u32("tokenizer.ggml.eot_token_id", 5)
            .u32("tokenizer.ggml.mask_token_id", 4_000_000_000)
            .str(TEMPLATE, template)
    };
    let template = "{{ pad_token|length }} {{ eot_token|length }} {{ bos_token|length }} {{ \
        mask_token is defined }}";
    assert_eq!(prompt("special", model(template), &hi(), false).unwrap(), "8 1 12 False");
}

#[test]
fn templates_and_special_tokens_of_a_folder_are_read_from_all_its_files() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stated");
    std::fs::create_dir_all(folder.join("additional_chat_templates")).unwrap();
    let tiny = common::cache::tiny("llama-tied");
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(tiny.join(name), folder.join(name)).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let config = json!({
        "pad_token": {"__type": "AddedToken", "content": "PAD", "special": true},
        "image_token": "IMG",
        "mask_token": null, "add_bos_token": false, "extra_special_tokens": {"eoi": "END"},
        "additional_special_tokens": ["A", {"content": "B"}], "added_tokens_decoder": {},
    });
    write("tokenizer_config.json", &config.to_string());
    let map = json!({"sep_token": {"content": "SEP"}, "pad_token": "old"});
    write("special_tokens_map.json", &map.to_string());
    let names = "{{ pad_token }} {{ image_token }} {{ eoi }} {{ sep_token }} {{ mask_token is \
        defined }} {{ add_bos_token is defined }}";
    let template = format!("{names}\r\n{{{{ additional_special_tokens|join }}}}\r\n");
    write("chat_template.jinja", &template);
    write("additional_chat_templates/tool_use.jinja", "{{ tools|length }} tools");
    let plain = prompt_of("stated", &folder, &hi(), false);
    assert_eq!(plain.unwrap(), "PAD IMG END SEP False False\nAB");
    assert_eq!(prompt_of("stated-tools", &folder, &hi(), true).unwrap(), "1 tools");
}

#[test]
fn tool_calls_without_content_get_empty_content() {
    let call = json!([{"type": "function", "function": {"name": "f", "arguments": {}}}]);
    let chat = |content: Option<Value>| {
        let mut message = json!({"role": "assistant", "tool_calls": call, "name": null});
        if let Some(content) = content {
            message["content"] = content;
        }
        json!([{"role": "user", "content": "hi"}, message])
    };
    let forms = [Some(json!("")), Some(Value::Null), None];
    let template = "{% for m in messages %}{{ m.role + ':' + m.content.strip() }}{{ m.name is \
        defined }};{% endfor %}";
    for (index, content) in forms.iter().cloned().enumerate() {
        let model = tiny().str(TEMPLATE, template);
        let found = prompt(&format!("null{index}"), model, &chat(content), false);
        assert_eq!(found.unwrap(), "user:hiFalse;assistant:False;");
    }
    // A template that compares content with none gets null, unless it fails then.
    let asks = "{% for m in messages %}{{ m.content is none }}{% endfor %}";
    let found = prompt("null-known", tiny().str(TEMPLATE, asks), &chat(Some(Value::Null)), false);
    assert_eq!(found.unwrap(), "FalseTrue");
    let fails = format!("{{% if messages[0]['content'] is not none %}}{{% endif %}}{template}");
    let found = prompt("null-fails", tiny().str(TEMPLATE, fails), &chat(Some(Value::Null)), false);
    assert_eq!(found.unwrap(), "user:hiFalse;assistant:False;");
}

#[test]
fn tool_call_arguments_have_the_type_that_the_template_expects() {
    let chat = |arguments: Value| {
        json!([{"role": "user", "content": "hi"}, {"role": "assistant", "content": "",
            "tool_calls": [{"type": "function", "function": {"name": "f",
                "arguments": arguments}}]}])
    };
    let text = "{{ '<' + messages[1].tool_calls[0].function.arguments + '>' }}";
    let object = "{% for k, v in messages[1].tool_calls[0].function.arguments.items() %}{{ k }}\
        ={{ v }};{% endfor %}";
    let raises = "{% if messages[1].tool_calls[0].function.arguments is not string %}{{ \
        raise_exception('text') }}{% endif %}ok";
    let given = [json!({"a": 1, "b": [2]}), json!("{\"a\":1,\"b\":[2]}")];
    for (index, (arguments, as_text)) in
        given.iter().zip([r#"<{"a": 1, "b": [2]}>"#, r#"<{"a":1,"b":[2]}>"#]).enumerate()
    {
        let (name, chat) = (format!("arguments{index}"), chat(arguments.clone()));
        for (template, expected) in [(text, as_text), (object, "a=1;b=[2];"), (raises, "ok")] {
            let found = prompt(&name, tiny().str(TEMPLATE, template), &chat, false);
            assert_eq!(found.unwrap(), expected);
        }
    }
    // If the template fails with both types, the error is that of the first attempt.
    let neither =
        "{{ raise_exception('is ' ~ (messages[1].tool_calls[0].function.arguments is mapping)) }}";
    let found = prompt("neither", tiny().str(TEMPLATE, neither), &chat(json!({})), false);
    assert_eq!(found.unwrap_err(), "messages: is True");
}

#[test]
fn reasoning_is_passed_under_both_names() {
    let template = "{% for m in messages %}{{ m.reasoning_content }}|{{ m.thinking }};{% endfor %}";
    let chat = json!([
        {"role": "assistant", "content": "", "reasoning_content": "a"},
        {"role": "assistant", "content": "", "thinking": "b", "reasoning_content": null},
        {"role": "assistant", "content": "", "reasoning": "c"},
        {"role": "assistant", "content": "", "reasoning_content": "d", "thinking": "e"},
        {"role": "user", "content": "hi"},
    ]);
    let found = prompt("reasoning", tiny().str(TEMPLATE, template), &chat, false);
    assert_eq!(found.unwrap(), "a|a;b|b;c|c;d|e;|;");
}
