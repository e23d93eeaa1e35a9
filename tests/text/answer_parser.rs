//! Parsing of answers: the expected parts in every format of tool calls, however the text is cut
//! into pieces, and no loss of text that turns out to be no call.

use serde_json::{Value, json};
use tablm::text::{AnswerParser, AnswerStyle, Delta, ReasoningFormat, ToolCallFormat, Tools};

use super::{Random, answer_cases, dialects};

fn tools() -> Tools {
    let function = |name: &str, properties: Value| {
        json!({"type": "function",
        "function": {"name": name, "parameters": {"type": "object", "properties": properties}}})
    };
    let list = json!([
        function("weather", json!({
            "place": {"type": "string"},
            "days": {"type": ["integer", "null"]},
            "unit": {"enum": ["C", "F", null]},
        })),
        function("add", json!({
            "a": {"anyOf": [{"type": "number"}, {"type": "null"}]},
            "b": {"type": "number"},
            "exact": {"type": "boolean"},
        })),
        function("note", json!({
            "text": {"type": "string"},
            "tags": {"type": "array"},
            "meta": {"type": "object"},
            "mixed": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
            "point": {"$ref": "#/$defs/Point"},
        })),
        {"type": "function", "function": {"name": "now", "description": null}},
    ]);
    Tools::new(list).expect("tools")
}

/// Style of a model that reasons and writes tool calls in `format`.
fn style(format: Option<ToolCallFormat>) -> AnswerStyle {
    let reasoning = match format {
        Some(ToolCallFormat::Gemma4) => ReasoningFormat::Channel,
        Some(ToolCallFormat::Mistral) => ReasoningFormat::BracketThink,
        Some(ToolCallFormat::Harmony) => ReasoningFormat::Harmony,
        _ => ReasoningFormat::Think,
    };
    AnswerStyle { reasons: true, reasoning, switch: None, calls: format }
}

/// Marks that open and close reasoning in the style of [`style`].
fn reasoning_marks(format: Option<ToolCallFormat>) -> (&'static str, &'static str) {
    match format {
        Some(ToolCallFormat::Gemma4) => ("<|channel>thought", "<channel|>"),
        Some(ToolCallFormat::Mistral) => ("[THINK]", "[/THINK]"),
        _ => ("<think>", "</think>"),
    }
}

/// Parses an answer piece by piece.
fn parse<'a>(
    format: Option<ToolCallFormat>,
    prompt: &str,
    pieces: impl IntoIterator<Item = &'a str>,
) -> Delta {
    let mut parser = AnswerParser::new(style(format), prompt, Some(tools()), 7);
    let mut all = Delta::default();
    for piece in pieces {
        all.extend(parser.push(piece));
    }
    all.extend(parser.finish());
    all
}

fn characters(text: &str) -> Vec<&str> {
    text.split("").filter(|piece| !piece.is_empty()).collect()
}

/// Cuts `text` into pieces of random length.
fn cut<'a>(text: &'a str, random: &mut Random) -> Vec<&'a str> {
    let mut bounds: Vec<usize> =
        text.char_indices().map(|(at, _)| at).filter(|_| random.below(6) == 0).collect();
    bounds.extend([0, text.len()]);
    bounds.sort_unstable();
    bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

/// Parses at once, character by character and in random pieces; all results must be equal.
fn parse_in_every_way(
    format: Option<ToolCallFormat>,
    prompt: &str,
    text: &str,
    random: &mut Random,
) -> Delta {
    let whole = parse(format, prompt, [text]);
    assert_eq!(
        parse(format, prompt, characters(text)),
        whole,
        "{format:?}, by characters: {text:?}"
    );
    assert_eq!(parse(format, prompt, cut(text, random)), whole, "{format:?}, in pieces: {text:?}");
    whole
}

fn calls_of(delta: &Delta) -> Vec<(&str, &str)> {
    assert!(delta.tool_calls.iter().all(|call| call.kind == "function" && call.id.len() == 9));
    delta.tool_calls.iter().map(|call| (&*call.function.name, &*call.function.arguments)).collect()
}

const THOUGHT: &str = "Hm — let me see.\n\n<b>2 < 3</think";

#[test]
fn answers_are_parsed_the_same_in_any_pieces() {
    let mut random = Random(1);
    let mut count = 0;
    for (format, input, text, expected) in answer_cases::cases() {
        // Prompt, answer, expected reasoning and text: without reasoning, with reasoning that the
        // prompt closes, that the prompt opens, and that the answer opens.
        let (open, close) = reasoning_marks(format);
        let after = text.trim_start();
        let ways = [
            ("<|im_start|>assistant\n".to_owned(), input.to_owned(), "", text),
            (format!("assistant\n{open}{close}"), input.to_owned(), "", after),
            (
                format!("assistant\n{open}\n"),
                format!("{THOUGHT}\n{close}\n\n{input}"),
                THOUGHT,
                after,
            ),
            ("assistant\n".to_owned(), format!("\n{open} {THOUGHT}{close}{input}"), THOUGHT, after),
        ];
        for (prompt, input, reasoning, text) in ways {
            let found = parse_in_every_way(format, &prompt, &input, &mut random);
            let about = format!("{format:?}, after {prompt:?}: {input:?}");
            assert_eq!(
                (found.text.as_str(), found.reasoning.as_str()),
                (text, reasoning),
                "{about}"
            );
            assert_eq!(calls_of(&found), expected, "{about}");
            count += 1;
        }
    }
    assert!(count >= 900, "{count} cases");
}

#[test]
fn channels_of_gemma4_are_reasoning() {
    let mut random = Random(8);
    let format = Some(ToolCallFormat::Gemma4);
    for (answer, reasoning, text, count) in dialects::gemma4::CHANNELS {
        for prompt in ["<|turn>model\n", "<|channel>thought\n<channel|>"] {
            let found = parse_in_every_way(format, prompt, answer, &mut random);
            assert_eq!((&*found.reasoning, &*found.text), (*reasoning, *text), "{answer:?}");
            assert_eq!(calls_of(&found), vec![("now", "{}"); *count], "{answer:?}");
        }
        // Channels are reasoning without tools, too.
        if *count == 0 {
            let mut parser = AnswerParser::new(style(format), "", None, 0);
            let mut found = parser.push(answer);
            found.extend(parser.finish());
            assert_eq!((&*found.reasoning, &*found.text), (*reasoning, *text), "{answer:?}");
        }
    }
}

#[test]
fn messages_of_gpt_oss_are_parsed_the_same_in_any_pieces() {
    let mut random = Random(9);
    let format = Some(ToolCallFormat::Harmony);
    assert!(dialects::harmony::CASES.len() >= 40);
    for (answer, reasoning, text, calls) in dialects::harmony::CASES {
        let found = parse_in_every_way(format, "<|start|>assistant", answer, &mut random);
        assert_eq!((&*found.reasoning, &*found.text), (*reasoning, *text), "{answer:?}");
        assert_eq!(calls_of(&found), *calls, "{answer:?}");
        for (end, _) in answer.char_indices() {
            parse_in_every_way(format, "", &answer[..end], &mut random);
        }
    }
    // Calls without tools in the request are not shown.
    let mut parser = AnswerParser::new(style(format), "", None, 0);
    let mut found = parser.push("<|channel|>commentary to=functions.now<|message|>{}<|end|>");
    found.extend(parser.finish());
    assert_eq!(found, Delta::default());
    let marks = ["<|channel|>", "<|start|>", "<|end|>", "<|message|>", " to=functions.", "{}", "a"];
    for _ in 0..500 {
        let count = random.below(14);
        let text: String = (0..count).map(|_| marks[random.below(marks.len())]).collect();
        parse_in_every_way(format, "", &text, &mut random);
    }
    for opening in [marks[0], marks[4], " ", "<", "<|channel|>final<|message|>", "{\"a\":"] {
        let text = opening.repeat(20_000);
        assert_eq!(parse(format, "", characters(&text)), parse(format, "", [text.as_str()]));
    }
}

#[test]
fn calls_in_unclosed_reasoning_are_recognized() {
    const ELEMENTS: &str = "<tool_call>\n<function=now>\n</function>\n</tool_call>";
    const JSON: &str = "<tool_call>{\"name\": \"now\"}</tool_call>";
    let mut random = Random(4);
    // Answer, expected reasoning, expected text, expected number of calls.
    let cases = |call: &str| {
        [
            (format!("I look.\n{call}"), "I look.".to_owned(), "", 1),
            (call.to_owned(), String::new(), "", 1),
            (format!("{call}\n{call}\n"), String::new(), "", 2),
            (format!("a\n{call}\nb {call} c\n"), "a\nb c\n".to_owned(), "", 2),
            (format!("a\n{call}\n</think>\n\nNo."), format!("a\n{call}"), "No.", 0),
            (format!("a {call} b</think>{call}"), format!("a {call} b"), "", 1),
            (format!("a <tool_call> b {call}"), "a <tool_call> b".to_owned(), "", 1),
            ("a <tool_call> b</think>c".to_owned(), "a <tool_call> b".to_owned(), "c", 0),
            (call[..call.len() - 20].to_owned(), call[..call.len() - 20].to_owned(), "", 0),
            (
                format!("{}</think>c", &call[..call.len() - 20]),
                call[..call.len() - 20].to_owned(),
                "c",
                0,
            ),
        ]
    };
    let formats = [(ToolCallFormat::Elements, ELEMENTS), (ToolCallFormat::TaggedJson, JSON)];
    for (format, call) in formats {
        for (answer, reasoning, text, count) in cases(call) {
            let inputs = [("<think>\n", answer.clone()), ("", format!("<think>{answer}"))];
            for (prompt, input) in inputs {
                let found = parse_in_every_way(Some(format), prompt, &input, &mut random);
                let about = format!("{format:?}, after {prompt:?}: {input:?}");
                assert_eq!((&*found.reasoning, &*found.text), (&*reasoning, text), "{about}");
                assert_eq!(calls_of(&found), vec![("now", "{}"); count], "{about}");
            }
        }
    }
    // Without tools in the request nothing is a call.
    let mut parser = AnswerParser::new(style(Some(ToolCallFormat::Elements)), "<think>", None, 0);
    let mut found = parser.push(ELEMENTS);
    found.extend(parser.finish());
    assert_eq!((&*found.reasoning, found.tool_calls.len()), (ELEMENTS, 0));
}

/// Checks that the parts lack nothing of `text` but white space, tags and complete calls.
fn check_nothing_lost(format: Option<ToolCallFormat>, text: &str, found: &Delta, about: &str) {
    let (open, close) = reasoning_marks(format);
    let without_spaces = |text: &str| {
        let text = text.split_whitespace().collect::<String>();
        if format != Some(ToolCallFormat::Gemma4) {
            return text;
        }
        // Channels may start anywhere, so that reasoning may follow text.
        let marks = [open, "<|channel>", close].into_iter();
        let mut left: Vec<char> =
            marks.fold(text, |text, mark| text.replace(mark, "")).chars().collect();
        left.sort_unstable();
        left.into_iter().collect()
    };
    let (mut expected, kept) =
        (without_spaces(text), without_spaces(&format!("{}{}", found.reasoning, found.text)));
    if found.tool_calls.is_empty() {
        if !found.reasoning.is_empty() || expected.starts_with(open) {
            expected = expected.strip_prefix(open).unwrap_or(&expected).to_owned();
            expected = expected.replacen(close, "", 1);
        }
        assert_eq!(kept, expected, "{about}");
    } else {
        let mut rest = expected.chars();
        assert!(
            kept.chars().all(|kept| rest.any(|character| character == kept)),
            "{about}: {kept:?}"
        );
    }
}

#[test]
fn truncated_answers_lose_no_text() {
    let mut random = Random(2);
    for (format, input, ..) in answer_cases::cases() {
        for (end, _) in input.char_indices() {
            let text = &input[..end];
            let found = parse_in_every_way(format, "", text, &mut random);
            // After a call, an incomplete closing tag is dropped: the text is compared with the
            // answer that completes it.
            let complete = if found.tool_calls.is_empty() { text } else { input };
            check_nothing_lost(format, complete, &found, &format!("{format:?}: {text:?}"));
        }
    }
}

/// Pieces of answers in all formats.
const FRAGMENTS: &[&str] = &[
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<TOOLCALL>",
    "</TOOLCALL>",
    "<|python_tag|>",
    "<|tool_call_start|>",
    "<|tool_call_end|>",
    "[now()]",
    "<|tool_call>",
    "<tool_call|>",
    "call:now{",
    "<|\"|>",
    "<|channel>thought",
    "<|channel>",
    "<channel|>",
    "[TOOL_CALLS]",
    "[ARGS]",
    "[THINK]",
    "[/THINK]",
    "<function name=\"now\">",
    "<param name=\"x\">",
    "<![CDATA[",
    "]]></param>",
    "(",
    ")",
    "=",
    "'",
    "<function=",
    "<function=now>",
    "</function>",
    "<parameter=",
    "<parameter=x>",
    "</parameter>",
    "now",
    ">",
    "<",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "\\",
    ";",
    ",",
    ":",
    " ",
    "\n",
    "\u{a0}",
    "é",
    "東京",
    "🗼",
    "null",
    "-1",
    "{\"name\": \"now\"}",
    "{\"name\": \"now\", \"parameters\": {\"x\": \"}</tool_call>\"}}",
    "\"name\"",
];

#[test]
fn random_answers_lose_no_text() {
    let mut random = Random(3);
    for _ in 0..1000 {
        let count = random.below(14);
        let text: String = (0..count).map(|_| FRAGMENTS[random.below(FRAGMENTS.len())]).collect();
        for format in answer_cases::FORMATS {
            for prompt in ["", "<think>"] {
                parse_in_every_way(format, prompt, &text, &mut random);
            }
            let found = parse(format, "", [text.as_str()]);
            if found.tool_calls.is_empty() {
                check_nothing_lost(format, &text, &found, &format!("{format:?}: {text:?}"));
            }
        }
    }
}

/// A parser that rescans its input for every piece would take minutes.
#[test]
fn huge_answers_take_linear_time() {
    let long = "x</parameter> <function= \\\"{[ ".repeat(5_000);
    let openings = [
        "<tool_call>",
        "<function=",
        "<parameter=a>",
        "{",
        "[",
        "\"",
        "</think>",
        " ",
        "<",
        "{\"name\":",
        "<|tool_call_start|>[",
        "<|tool_call_start|>[now(a=\"",
        "<|tool_call>call:now{a:",
        "<|channel>thought",
        "[TOOL_CALLS]now[ARGS]{",
        "<function name=\"now\"><param name=\"a\">",
    ];
    for format in answer_cases::FORMATS {
        for opening in openings {
            for text in [opening.repeat(20_000), format!("<tool_call>{opening}{long}")] {
                for prompt in ["", "<think>"] {
                    let whole = parse(format, prompt, [text.as_str()]);
                    assert_eq!(parse(format, prompt, characters(&text)), whole);
                }
            }
        }
    }
    let value = "é".repeat(200_000);
    let text = format!(
        "<tool_call><function=note><parameter=text>{value}</parameter></function></tool_call>"
    );
    let found = parse(Some(ToolCallFormat::Elements), "", characters(&text));
    assert_eq!(calls_of(&found), [("note", json!({"text": value}).to_string().as_str())]);
}

#[test]
fn calls_are_recognized_only_with_tools() {
    let text = "<tool_call>{\"name\": \"now\"}</tool_call> ";
    let mut parser = AnswerParser::new(style(Some(ToolCallFormat::TaggedJson)), "", None, 0);
    let mut found = parser.push(text);
    // Nothing is held back if there is nothing to search for.
    assert_eq!(found.text, text);
    found.extend(parser.finish());
    assert_eq!((found.text.as_str(), found.tool_calls.len()), (text, 0));
}

#[test]
fn call_ids_are_distinct_and_reproducible() {
    let text = "<tool_call>{\"name\": \"now\"}</tool_call>".repeat(2);
    let ids = |salt| {
        let mut parser =
            AnswerParser::new(style(Some(ToolCallFormat::TaggedJson)), "", Some(tools()), salt);
        parser.push(&text).tool_calls.into_iter().map(|call| call.id).collect::<Vec<_>>()
    };
    let (first, other) = (ids(1), ids(2));
    assert_eq!(first, ids(1));
    assert!(first[0] != first[1] && !other.contains(&first[0]) && !other.contains(&first[1]));
    let call = parse(Some(ToolCallFormat::TaggedJson), "", [text.as_str()]).tool_calls[0].clone();
    let expected =
        json!({"id": call.id, "type": "function", "function": {"name": "now", "arguments": "{}"}});
    assert_eq!(json!(call), expected);
}
