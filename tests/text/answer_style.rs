//! Detection of the answer style, and checks of tools and of earlier calls in a request.

use serde_json::{Value, json};
use tablm::text::{
    AnswerStyle, ChatTemplate, CivilTime, ReasoningFormat, RenderOptions, ThinkingSwitch,
    ToolCallFormat, Tools, message_forms, parse_call_arguments,
};

use super::{cache, files, template_source};

#[test]
fn the_answer_style_is_detected_from_the_template() {
    let of = |source: &str, name: &str| AnswerStyle::of(source, name, false);
    // Template, format of reasoning, switch, format of calls.
    let variable = Some(ThinkingSwitch::Variable);
    let cases = [
        ("<|channel|>", ReasoningFormat::Harmony, None, ToolCallFormat::Harmony),
        (
            "[THINK] [TOOL_CALLS] [ARGS]",
            ReasoningFormat::BracketThink,
            None,
            ToolCallFormat::Mistral,
        ),
        ("<|tool_list_start|> </think>", ReasoningFormat::Think, None, ToolCallFormat::Python),
        ("List of tools: [ </think>", ReasoningFormat::Think, None, ToolCallFormat::Python),
        (
            "<|channel>thought <channel|> '<|tool_call>call:' enable_thinking",
            ReasoningFormat::Channel,
            variable,
            ToolCallFormat::Gemma4,
        ),
        (
            "<function name=\"x\"> <param name=\"y\"> <tool_call> enable_thinking",
            ReasoningFormat::Think,
            variable,
            ToolCallFormat::NamedElements,
        ),
    ];
    for (template, reasoning, switch, calls) in cases {
        let expected = AnswerStyle { reasons: true, reasoning, switch, calls: Some(calls) };
        assert_eq!(of(template, "m"), expected, "{template}");
    }
    let nemotron = of(&template_source("nemotron"), "m");
    assert_eq!(nemotron.calls, Some(ToolCallFormat::Elements));
    assert_eq!((nemotron.reasons, nemotron.switch), (true, Some(ThinkingSwitch::Variable)));
    let llama = of(&template_source("llama31"), "Llama 3.1 8B");
    assert_eq!(
        (llama.reasons, llama.switch, llama.calls),
        (false, None, Some(ToolCallFormat::BareJson))
    );
    let nano = of(&template_source("llama31"), "Llama 3.1 Nemotron Nano 4B v1.1");
    let lines = ThinkingSwitch::System("detailed thinking on", "detailed thinking off");
    assert_eq!((nano.reasons, nano.switch), (true, Some(lines)));
    assert_eq!(of("<|start_header_id|> <TOOLCALL>", "m").switch, Some(lines));
    assert_eq!(of(&template_source("qwen2"), "m").calls, Some(ToolCallFormat::TaggedJson));
    assert_eq!(of(&template_source("gemma"), "m"), AnswerStyle::default());
    assert_eq!(
        of("<TOOLCALL> /no_think", "m").switch,
        Some(ThinkingSwitch::System("/think", "/no_think"))
    );
    assert_eq!(of("<TOOLCALL> <tool_call>", "m").calls, Some(ToolCallFormat::TaggedList));
    assert!(AnswerStyle::of("", "m", true).reasons);
}

#[test]
fn published_templates_have_the_style_of_their_family() {
    use ReasoningFormat::{BracketThink, Channel, Harmony, Think};
    // File, true if answers may contain reasoning, format of reasoning, format of calls.
    let cases = [
        ("LFM2-8B-A1B", false, Think, ToolCallFormat::Python),
        ("LFM2.5-8B-A1B", true, Think, ToolCallFormat::Python),
        ("LFM2.5-Instruct", true, Think, ToolCallFormat::Python),
        ("google-gemma-4-31B-it", true, Channel, ToolCallFormat::Gemma4),
        ("google-gemma-4-31B-it-interleaved", true, Channel, ToolCallFormat::Gemma4),
        ("mistralai-Ministral-3-14B-Reasoning-2512", true, BracketThink, ToolCallFormat::Mistral),
        ("Mistral-Small-3.2-24B-Instruct-2506", false, Think, ToolCallFormat::Mistral),
        ("mistralai-Mistral-Nemo-Instruct-2407", false, Think, ToolCallFormat::Mistral),
        ("openbmb-MiniCPM5-1B", true, Think, ToolCallFormat::NamedElements),
        ("openai-gpt-oss-120b", true, Harmony, ToolCallFormat::Harmony),
        ("Qwen-Qwen3-0.6B", true, Think, ToolCallFormat::TaggedJson),
        ("Qwen3.5-4B", true, Think, ToolCallFormat::Elements),
        ("Qwen3-Coder", false, Think, ToolCallFormat::Elements),
        ("ibm-granite-granite-3.3-2B-Instruct", true, Think, ToolCallFormat::MarkedList),
        ("ibm-granite-granite-4.0", false, Think, ToolCallFormat::TaggedJson),
        ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", true, Think, ToolCallFormat::Elements),
        ("NVIDIA-Nemotron-Nano-v2", true, Think, ToolCallFormat::TaggedList),
        ("meta-llama-Llama-3.2-3B-Instruct", false, Think, ToolCallFormat::BareJson),
    ];
    for (name, reasons, reasoning, calls) in cases {
        let path = cache::llama_cpp(&format!("templates/{name}.jinja"));
        let source = String::from_utf8(files::read(path)).expect(name);
        let found = AnswerStyle::of(&source, "m", false);
        let expected = (reasons, reasoning, Some(calls));
        assert_eq!((found.reasons, found.reasoning, found.calls), expected, "{name}");
    }
}

/// A call may follow both reasoning and text, which gpt-oss's template refuses together.
#[test]
fn reasoning_and_text_before_a_call_are_rendered() {
    let path = cache::llama_cpp("templates/openai-gpt-oss-120b.jinja");
    let source = String::from_utf8(files::read(path)).expect("a template");
    let template = ChatTemplate::new("m", &source, "", "").expect("a template");
    let call = json!({"type": "function", "function": {"name": "now", "arguments": "{}"}});
    let messages = json!([
        {"role": "user", "content": "When?"},
        {"role": "assistant", "content": "I look.", "reasoning_content": "Hm.",
            "tool_calls": [call]},
        {"role": "tool", "content": "12:00"},
    ]);
    let now = Some(CivilTime::from_unix(0));
    let options = RenderOptions { add_generation_prompt: true, now, ..RenderOptions::default() };
    let forms = message_forms(&messages, false).expect("messages");
    let prompts: Vec<_> = forms.iter().map(|form| template.render(form, &options)).collect();
    assert!(prompts[0].is_err());
    let prompt = prompts.into_iter().next_back().expect("a form").expect("a prompt");
    assert!(prompt.contains("analysis<|message|>Hm.") && !prompt.contains("I look."), "{prompt}");
}

#[test]
fn tools_are_checked() {
    let cases = [
        (json!({}), "tools: found {}, expected a list"),
        (json!([1]), "tools[0].type: found null, expected \"function\""),
        (json!([{"type": "web"}]), "tools[0].type: found \"web\", expected \"function\""),
        (json!([{"type": "function"}]), "tools[0].function.name: found null, expected a name"),
        (
            json!([{"type": "function", "function": {"name": ""}}]),
            "tools[0].function.name: found \"\", expected a name",
        ),
        (
            json!([{"type": "function", "function": {"name": "f"}}, {"type": "function",
                "function": {"name": "f"}}]),
            "tools[1].function.name: found \"f\", expected a name that no other tool has",
        ),
        (
            json!([{"type": "function", "function": {"name": "f", "description": 5}}]),
            "tools[0].function.description: found 5, expected text",
        ),
        (
            json!([{"type": "function", "function": {"name": "f", "parameters": [1]}}]),
            "tools[0].function.parameters: found [1], expected a JSON schema",
        ),
    ];
    for (tools, message) in cases {
        let error = Tools::new(tools).expect_err(message);
        assert_eq!((error.code().as_str(), error.message()), ("invalid-request", message));
    }
}

#[test]
fn arguments_of_earlier_calls_become_objects() {
    let call = |arguments: Value| {
        let mut messages = json!([{"role": "user", "content": "x"}, {"role": "assistant",
            "tool_calls": [
            {"function": {"name": "f", "arguments": arguments}}, {"function": {"name": "g"}}, 5]}]);
        parse_call_arguments(&mut messages)
            .map(|()| messages[1]["tool_calls"][0]["function"]["arguments"].clone())
    };
    assert_eq!(
        call(json!("{\"b\": [1], \"a\": \"é\"}")).expect("an object").to_string(),
        r#"{"b":[1],"a":"é"}"#
    );
    assert_eq!(call(json!({"a": 1})).expect("an object"), json!({"a": 1}));
    assert_eq!(call(json!(" ")).expect("nothing"), json!({}));
    for wrong in [json!("{"), json!("[1]"), json!(5), json!(null)] {
        let error = call(wrong).expect_err("no object");
        let message = error.message();
        assert!(
            message.starts_with("messages[1].tool_calls[0].function.arguments: found "),
            "{message}"
        );
    }
}
