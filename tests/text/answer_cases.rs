//! Answers and their expected parts: well-formed, malformed and truncated.

use tablm::text::ToolCallFormat;

use ToolCallFormat::{
    BareJson, Elements, Gemma4, MarkedList, Mistral, NamedElements, Python, TaggedJson, TaggedList,
};

use super::dialects::{gemma4, mistral, named_elements, python};

/// Every format of tool calls but gpt-oss's, and none.
pub(super) const FORMATS: [Option<ToolCallFormat>; 10] = [
    Some(Elements),
    Some(NamedElements),
    Some(TaggedJson),
    Some(TaggedList),
    Some(MarkedList),
    Some(BareJson),
    Some(Python),
    Some(Gemma4),
    Some(Mistral),
    None,
];

/// Format of tool calls, answer, expected text, and expected calls as names and JSON arguments.
pub(super) type Case =
    (Option<ToolCallFormat>, &'static str, &'static str, &'static [(&'static str, &'static str)]);
/// A case of one format: answer, expected text, expected calls.
pub(super) type Answer = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

pub(super) fn cases() -> Vec<Case> {
    let tables = [
        (Some(Elements), ELEMENTS),
        (Some(TaggedJson), TAGGED_JSON),
        (Some(TaggedList), TAGGED_LIST),
        (Some(MarkedList), MARKED_LIST),
        (Some(BareJson), BARE_JSON),
        (Some(NamedElements), named_elements::CASES),
        (Some(Python), python::CASES),
        (Some(Gemma4), gemma4::CASES),
        (Some(Mistral), mistral::CASES),
        (None, PLAIN),
    ];
    let cases = tables.into_iter().flat_map(|(format, answers)| {
        answers.iter().map(move |&(answer, text, calls)| (format, answer, text, calls))
    });
    cases.collect()
}

const NOW: &[(&str, &str)] = &[("now", "{}")];

const ELEMENTS: &[Answer] = &[
    ("", "", &[]),
    ("Hello.", "Hello.", &[]),
    (" a\n\nb \n", " a\n\nb \n", &[]),
    (
        "<tool_call>\n<function=weather>\n<parameter=place>\nZürich\n</parameter>\n</function>\n\
            </tool_call>",
        "",
        &[("weather", r#"{"place":"Zürich"}"#)],
    ),
    ("I look.\n\n<tool_call>\n<function=now>\n</function>\n</tool_call>", "I look.", NOW),
    ("<tool_call>\n<function=now>\n</function>\n</tool_call>\n", "", NOW),
    ("  \n<tool_call><function=now></function></tool_call>\n\nDone.", "Done.", NOW),
    ("A\n<tool_call><function=now></function></tool_call>\nB\n", "A\nB\n", NOW),
    ("A\n<tool_call><function=now></function></tool_call>\n \n", "A", NOW),
    (
        "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=add>\n\
            <parameter=a>\n1\n</parameter>\n</function>\n</tool_call>",
        "",
        &[("now", "{}"), ("add", r#"{"a":1}"#)],
    ),
    (
        "<tool_call>\n<function=now>\n</function>\n<function=now>\n</function>\n</tool_call>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    ("<function=now>\n</function>", "", NOW),
    ("<function=now>\n</function>\n</tool_call>", "", NOW),
    ("So: <function=now></function> and <b>more</b>", "So: and <b>more</b>", NOW),
    (
        "<tool_call><function=add><parameter=a>1.5</parameter><parameter=b>-2e3</parameter>\
            <parameter=exact>True</parameter></function></tool_call>",
        "",
        &[("add", r#"{"a":1.5,"b":-2000.0,"exact":true}"#)],
    ),
    (
        "<tool_call><function=weather><parameter=place>12</parameter><parameter=days>3</parameter>\
            </function></tool_call>",
        "",
        &[("weather", r#"{"place":"12","days":3}"#)],
    ),
    (
        "<tool_call><function=weather><parameter=place>true</parameter><parameter=days>\
            None</parameter></function></tool_call>",
        "",
        &[("weather", r#"{"place":"true","days":null}"#)],
    ),
    (
        "<tool_call><function=weather><parameter=unit>null</parameter><parameter=days>\
            three</parameter></function></tool_call>",
        "",
        &[("weather", r#"{"unit":null,"days":"three"}"#)],
    ),
    (
        "<tool_call><function=note><parameter=text>\n{\"x\": 1}\n</parameter>\
            <parameter=tags>\n[\"a\", \"b\"]\n</parameter><parameter=meta>{\"k\": {\"n\": [1]}}\
            </parameter></function></tool_call>",
        "",
        &[("note", r#"{"text":"{\"x\": 1}","tags":["a","b"],"meta":{"k":{"n":[1]}}}"#)],
    ),
    (
        "<tool_call><function=note><parameter=tags>a, b</parameter><parameter=meta>[1]</parameter>\
            <parameter=mixed>5</parameter></function></tool_call>",
        "",
        &[("note", r#"{"tags":"a, b","meta":"[1]","mixed":"5"}"#)],
    ),
    (
        "<tool_call><function=note><parameter=point>{\"x\": 1}</parameter><parameter=new>\
            [2]</parameter><parameter=n>5</parameter></function></tool_call>",
        "",
        &[("note", r#"{"point":{"x":1},"new":[2],"n":"5"}"#)],
    ),
    (
        "<tool_call>\n<function=note>\n<parameter=text>\n\n  \
            a\n\nb  \n\n</parameter>\n</function>\n</tool_call>",
        "",
        &[("note", r#"{"text":"\n  a\n\nb  \n"}"#)],
    ),
    (
        "<tool_call><function=note><parameter=text>x</parameter> y </parameter></function>\
            </tool_call>",
        "",
        &[("note", r#"{"text":"x</parameter> y "}"#)],
    ),
    (
        "<tool_call><function=note><parameter=text><tool_call>{}</tool_call></function> \
            z</parameter></function></tool_call>",
        "",
        &[("note", r#"{"text":"<tool_call>{}</tool_call></function> z"}"#)],
    ),
    (
        "<tool_call>\n<function=note>\n<parameter=text>\nlast\n</function>\n</tool_call> ok",
        "ok",
        &[("note", r#"{"text":"last"}"#)],
    ),
    (
        "<tool_call><function=note><parameter=text></parameter></function></tool_call>",
        "",
        &[("note", r#"{"text":""}"#)],
    ),
    (
        "<tool_call><function=note><parameter=text>a</parameter><parameter=text>b</parameter>\
            </function></tool_call>",
        "",
        &[("note", r#"{"text":"b"}"#)],
    ),
    ("<tool_call><function= now ></function></tool_call>", "", NOW),
    (
        "<tool_call><function=other><parameter=x>1</parameter></function></tool_call>",
        "",
        &[("other", r#"{"x":"1"}"#)],
    ),
    ("<tool_call>\n<function=now>\n</function>\nHello", "Hello", NOW),
    ("<tool_call>\n<function=now>\n</function>\n</tool", "", NOW),
    ("東京 🗼 <tool_call><function=now></function></tool_call>", "東京 🗼", NOW),
    ("<tool_call><tool_call><function=now></function></tool_call>", "<tool_call>", NOW),
    ("<tool_call>hello</tool_call>", "<tool_call>hello</tool_call>", &[]),
    ("<tool_call></tool_call>", "<tool_call></tool_call>", &[]),
    ("a <tool_call> \n b", "a <tool_call> \n b", &[]),
    (
        "<tool_call><function=></function></tool_call>",
        "<tool_call><function=></function></tool_call>",
        &[],
    ),
    ("<tool_call><function=a\nb></function>", "<tool_call><function=a\nb></function>", &[]),
    ("<tool_call><function=a<b></function>", "<tool_call><function=a<b></function>", &[]),
    ("<tool_call><function=now>\nfoo</function>", "<tool_call><function=now>\nfoo</function>", &[]),
    ("<function=now><parameter=a", "<function=now><parameter=a", &[]),
    (
        "x\n<tool_call>\n<function=note>\n<parameter=text>\nhalf",
        "x\n<tool_call>\n<function=note>\n<parameter=text>\nhalf",
        &[],
    ),
    (
        "<tool_call><function=note><parameter=text>a</parameter></tool_call>",
        "<tool_call><function=note><parameter=text>a</parameter></tool_call>",
        &[],
    ),
    ("if a < b, use <tool", "if a < b, use <tool", &[]),
    ("Write `<function=` and a name.", "Write `<function=` and a name.", &[]),
    ("{\"name\": \"now\"}", "{\"name\": \"now\"}", &[]),
    ("a</think>b", "a</think>b", &[]),
];

const TAGGED_JSON: &[Answer] = &[
    ("", "", &[]),
    ("Hello <b>.", "Hello <b>.", &[]),
    (
        "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"place\": \"Zürich\", \"days\": \
            3}}\n</tool_call>",
        "",
        &[("weather", r#"{"place":"Zürich","days":3}"#)],
    ),
    ("Yes.\n<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>\n", "Yes.", NOW),
    ("<tool_call>{\"arguments\": null, \"name\": \"now\"}</tool_call>", "", NOW),
    ("<tool_call>{\"name\": \"now\"}", "", NOW),
    ("<tool_call>{\"name\": \"now\"}</tool_ca", "", NOW),
    ("<tool_call>{\"name\": \"now\"} so", "so", NOW),
    (
        "<tool_call>{\"name\": \"now\"}\n<tool_call>{\"name\": \"now\"}</tool_call>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    (
        "<tool_call>[{\"name\": \"now\"}, {\"name\": \"add\", \"arguments\": {\"a\": 1}}\
            ]</tool_call>",
        "",
        &[("now", "{}"), ("add", r#"{"a":1}"#)],
    ),
    (
        "<tool_call>{\"name\": \"add\", \"parameters\": {\"b\": 2, \"a\": 1.0}}</tool_call>",
        "",
        &[("add", r#"{"b":2,"a":1.0}"#)],
    ),
    (
        "<tool_call>{\"name\": \"add\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>",
        "",
        &[("add", r#"{"a":1}"#)],
    ),
    (
        "<tool_call>{\"name\": \"note\", \"arguments\": {\"text\": \"}</tool_call>\\\" {\\\\\"}}\
            </tool_call>ok",
        "ok",
        &[("note", r#"{"text":"}</tool_call>\" {\\"}"#)],
    ),
    (
        "<tool_call>{\"name\": \"note\", \"arguments\": {\"text\": \"\\ud83d\\uddfc 🗼\"}}\
            </tool_call>",
        "",
        &[("note", r#"{"text":"🗼 🗼"}"#)],
    ),
    (
        "<tool_call>{\"name\": \"other\", \"arguments\": {\"x\": null}}</tool_call>",
        "",
        &[("other", r#"{"x":null}"#)],
    ),
    ("A <tool_call>{\"name\": \"now\"}</tool_call>\n\nB", "A\n\nB", NOW),
    ("<tool_call>{\"name\": \"\"}</tool_call>", "<tool_call>{\"name\": \"\"}</tool_call>", &[]),
    ("<tool_call>{\"name\": 5}</tool_call>", "<tool_call>{\"name\": 5}</tool_call>", &[]),
    ("<tool_call>{}</tool_call>", "<tool_call>{}</tool_call>", &[]),
    ("<tool_call>[]</tool_call>", "<tool_call>[]</tool_call>", &[]),
    (
        "<tool_call>[{\"name\": \"now\"}, 5]</tool_call>",
        "<tool_call>[{\"name\": \"now\"}, 5]</tool_call>",
        &[],
    ),
    (
        "<tool_call>{\"name\": \"now\", \"arguments\": 5}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": 5}</tool_call>",
        &[],
    ),
    (
        "<tool_call>{\"name\": \"now\", \"arguments\": \"x\"}</tool_call>",
        "<tool_call>{\"name\": \"now\", \"arguments\": \"x\"}</tool_call>",
        &[],
    ),
    ("<tool_call>{'name': 'now'}</tool_call>", "<tool_call>{'name': 'now'}</tool_call>", &[]),
    (
        "<tool_call>{\"name\": \"now\"</tool_call> x",
        "<tool_call>{\"name\": \"now\"</tool_call> x",
        &[],
    ),
    ("<tool_call>{\"name\": \"now</tool_call> x", "<tool_call>{\"name\": \"now</tool_call> x", &[]),
    (
        "<tool_call>{\"name\": \"now\"]</tool_call>",
        "<tool_call>{\"name\": \"now\"]</tool_call>",
        &[],
    ),
    ("<tool_call>now()</tool_call>", "<tool_call>now()</tool_call>", &[]),
    ("<tool_call>\n\n<tool_call>{\"name\": \"now\"}</tool_call>", "<tool_call>", NOW),
    (
        "<tool_call>{\"name\": \"x\", <tool_call>{\"name\": \"now\"}</tool_call>",
        "<tool_call>{\"name\": \"x\",",
        NOW,
    ),
    ("<tool_call", "<tool_call", &[]),
    ("<tool_calls> {\"name\": \"now\"}", "<tool_calls> {\"name\": \"now\"}", &[]),
    ("{\"name\": \"now\"}", "{\"name\": \"now\"}", &[]),
];

const TAGGED_LIST: &[Answer] = &[
    ("<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL>", "", NOW),
    (
        "Right.\n<TOOLCALL>[{\"name\": \"now\"}, {\"name\": \"add\", \"arguments\": {\"b\": [{}]}}\
            ]</TOOLCALL>\n",
        "Right.",
        &[("now", "{}"), ("add", r#"{"b":[{}]}"#)],
    ),
    ("<TOOLCALL>{\"name\": \"now\"}</TOOLCALL>", "", NOW),
    ("<TOOLCALL> [{\"name\": \"now\"}] </TOOLCALL> x", "x", NOW),
    (
        "<TOOLCALL>[{\"name\": \"now\"}]</TOOLCALL><TOOLCALL>[{\"name\": \"now\"}]</TOOLCALL>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    (
        "<TOOLCALL>[{\"name\": \"note\", \"arguments\": {\"text\": \"]</TOOLCALL>\"}}]</TOOLCALL>",
        "",
        &[("note", r#"{"text":"]</TOOLCALL>"}"#)],
    ),
    ("<TOOLCALL>[]</TOOLCALL>", "<TOOLCALL>[]</TOOLCALL>", &[]),
    ("<TOOLCALL>[{\"name\": \"now\"}</TOOLCALL>", "<TOOLCALL>[{\"name\": \"now\"}</TOOLCALL>", &[]),
    ("<TOOLCALL>now</TOOLCALL>", "<TOOLCALL>now</TOOLCALL>", &[]),
    ("<TOOLCALL>[{\"name\": \"no", "<TOOLCALL>[{\"name\": \"no", &[]),
    (
        "<toolcall>[{\"name\": \"now\"}]</toolcall>",
        "<toolcall>[{\"name\": \"now\"}]</toolcall>",
        &[],
    ),
    (
        "<tool_call>{\"name\": \"now\"}</tool_call>",
        "<tool_call>{\"name\": \"now\"}</tool_call>",
        &[],
    ),
];

const MARKED_LIST: &[Answer] = &[
    ("", "", &[]),
    ("Hello.\n", "Hello.\n", &[]),
    ("<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]", "", NOW),
    ("<|tool_call|> [{\"name\": \"now\", \"arguments\": {}}]\n", "", NOW),
    ("<|tool_call|>{\"name\": \"now\", \"arguments\": {}}", "", NOW),
    (
        "Well.\n<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"add\", \
            \"arguments\": {\"a\": 1}}]",
        "Well.",
        &[("now", "{}"), ("add", r#"{"a":1}"#)],
    ),
    (
        "<|tool_call|>[{\"name\": \"note\", \"arguments\": {\"text\": \"<|tool_call|>]\"}}]",
        "",
        &[("note", r#"{"text":"<|tool_call|>]"}"#)],
    ),
    ("<|tool_call|>[{\"name\": \"now\"}] Done.", "Done.", NOW),
    ("<|tool_call|>[]", "<|tool_call|>[]", &[]),
    ("<|tool_call|>[now()]", "<|tool_call|>[now()]", &[]),
    ("<|tool_call|>now", "<|tool_call|>now", &[]),
    ("<|tool_call|>[{\"name\": \"now\"", "<|tool_call|>[{\"name\": \"now\"", &[]),
    ("<|tool_call|>[<|tool_call|>[{\"name\": \"now\"}]", "<|tool_call|>[", NOW),
    ("<|tool_ca", "<|tool_ca", &[]),
];

const BARE_JSON: &[Answer] = &[
    ("", "", &[]),
    ("It is {hot}.", "It is {hot}.", &[]),
    (
        "{\"name\": \"weather\", \"parameters\": {\"place\": \"Oslo\"}}",
        "",
        &[("weather", r#"{"place":"Oslo"}"#)],
    ),
    ("\n {\"name\": \"now\", \"parameters\": {}}\n", "", NOW),
    ("{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}", "", NOW),
    ("{\"name\": \"now\", \"arguments\": {}}", "", NOW),
    ("<|python_tag|>{\"name\": \"now\", \"parameters\": {}}", "", NOW),
    ("Let me see. <|python_tag|>{\"name\": \"now\", \"parameters\": {}}", "Let me see.", NOW),
    (
        "{\"name\": \"now\", \"parameters\": {}}; {\"name\": \"add\", \"parameters\": {\"a\": -1}}",
        "",
        &[("now", "{}"), ("add", r#"{"a":-1}"#)],
    ),
    ("{\"name\": \"now\", \"parameters\": {}} {\"x\": 1}", "{\"x\": 1}", NOW),
    ("{\"name\": \"now\", \"parameters\": {}} I called it.", "I called it.", NOW),
    (
        "{\"name\": \"note\", \"parameters\": {\"text\": \"a}\\\"b\"}}",
        "",
        &[("note", r#"{"text":"a}\"b"}"#)],
    ),
    ("{\"name\": \"other\", \"parameters\": {}}", "{\"name\": \"other\", \"parameters\": {}}", &[]),
    ("{\"answer\": 42}", "{\"answer\": 42}", &[]),
    ("{\"name\": \"now\", \"parameters\": {}", "{\"name\": \"now\", \"parameters\": {}", &[]),
    ("{\"name\": \"now\", \"parameters\": 5}", "{\"name\": \"now\", \"parameters\": 5}", &[]),
    ("{now}", "{now}", &[]),
    ("{ <b>x</b>", "{ <b>x</b>", &[]),
    (
        "Call {\"name\": \"now\", \"parameters\": {}}",
        "Call {\"name\": \"now\", \"parameters\": {}}",
        &[],
    ),
    ("[{\"name\": \"now\"}]", "[{\"name\": \"now\"}]", &[]),
    ("<|python_tag|>print(1)", "<|python_tag|>print(1)", &[]),
    ("<|python", "<|python", &[]),
    (
        "{}\n{\"name\": \"now\", \"parameters\": {}}",
        "{}\n{\"name\": \"now\", \"parameters\": {}}",
        &[],
    ),
];

const PLAIN: &[Answer] = &[
    ("", "", &[]),
    ("Hello.\n", "Hello.\n", &[]),
    (" \n", " \n", &[]),
    (
        "<tool_call>{\"name\": \"now\"}</tool_call>",
        "<tool_call>{\"name\": \"now\"}</tool_call>",
        &[],
    ),
    ("a <think>b</think>", "a <think>b</think>", &[]),
    ("<thin", "<thin", &[]),
];
