//! LFM2 and LFM2.5: calls in Python's syntax.

use super::{Answer, NOW};

pub(crate) const CASES: &[Answer] = &[
    ("", "", &[]),
    ("Hello, world!\nWhat's up?", "Hello, world!\nWhat's up?", &[]),
    (" a\n\nb \n", " a\n\nb \n", &[]),
    ("<|tool_call_start|>[now()]<|tool_call_end|>", "", NOW),
    ("<|tool_call_start|>[now()]<|tool_call_end|>\n", "", NOW),
    ("Let me check.<|tool_call_start|>[now()]<|tool_call_end|>", "Let me check.", NOW),
    ("A\n<|tool_call_start|>[now()]<|tool_call_end|>\nB", "A\nB", NOW),
    (
        "<|tool_call_start|>[weather(place=\"Oslo\")]<|tool_call_end|>",
        "",
        &[("weather", r#"{"place":"Oslo"}"#)],
    ),
    (
        "<|tool_call_start|>[weather(place='Oslo', days=3)]<|tool_call_end|>",
        "",
        &[("weather", r#"{"place":"Oslo","days":3}"#)],
    ),
    (
        "<|tool_call_start|>[add(a=1, b=2.5), add(a=-1, b=1e3)]<|tool_call_end|>",
        "",
        &[("add", r#"{"a":1,"b":2.5}"#), ("add", r#"{"a":-1,"b":1000.0}"#)],
    ),
    (
        "<|tool_call_start|>[add(a=None, b=+2, exact=True)]<|tool_call_end|>",
        "",
        &[("add", r#"{"a":null,"b":2,"exact":true}"#)],
    ),
    (
        "<|tool_call_start|>[add(a=null, b=0, exact=false)]<|tool_call_end|>",
        "",
        &[("add", r#"{"a":null,"b":0,"exact":false}"#)],
    ),
    (
        "<|tool_call_start|>[note(meta={\"enabled\": True, 'count': 3})]<|tool_call_end|>",
        "",
        &[("note", r#"{"meta":{"enabled":true,"count":3}}"#)],
    ),
    (
        "<|tool_call_start|>[Calendar.create_event(title=\"demo\", participants=[\"Alice\", \
            \"Bob\"], metadata={\"priority\": \"high\", \"reminder\": true})]<|tool_call_end|>",
        "",
        &[(
            "Calendar.create_event",
            r#"{"title":"demo","participants":["Alice","Bob"],"metadata":{"priority":"high","reminder":true}}"#,
        )],
    ),
    (
        "Use this: [link text](url). Example: [Site](https://example.com).",
        "Use this: [link text](url). Example: [Site](https://example.com).",
        &[],
    ),
    (
        "<|tool_call_start|>[note(text=\"def f():\\n    print('hey')\")]<|tool_call_end|>",
        "",
        &[("note", r#"{"text":"def f():\n    print('hey')"}"#)],
    ),
    (
        "<|tool_call_start|>[note(text=\"print(\\\"hi\\\")\\ttab \\\\ \\u00e9 \\x41\")]\
            <|tool_call_end|>",
        "",
        &[("note", r#"{"text":"print(\"hi\")\ttab \\ é A"}"#)],
    ),
    (
        "<|tool_call_start|>[note(text='\\ud83d\\uddfc \\U0001f5fc \\d it\\'s')]<|tool_call_end|>",
        "",
        &[("note", r#"{"text":"🗼 🗼 \\d it's"}"#)],
    ),
    (
        "<|tool_call_start|>[note(text=\"\"\"a\n\"b\" c\"\"\")]<|tool_call_end|>",
        "",
        &[("note", r#"{"text":"a\n\"b\" c"}"#)],
    ),
    (
        "<|tool_call_start|>[note(text=\"]<|tool_call_end|>)\")]<|tool_call_end|>",
        "",
        &[("note", r#"{"text":"]<|tool_call_end|>)"}"#)],
    ),
    (
        "<|tool_call_start|>[note(tags=[], meta={}, text='')]<|tool_call_end|>",
        "",
        &[("note", r#"{"tags":[],"meta":{},"text":""}"#)],
    ),
    (
        "<|tool_call_start|>[note(tags=('a', 1, [2, {3: None}],),)]<|tool_call_end|>",
        "",
        &[("note", r#"{"tags":["a",1,[2,{"3":null}]]}"#)],
    ),
    (
        "<|tool_call_start|>[ now ( ) , now( ), ]<|tool_call_end|>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    ("<|tool_call_start|>now()<|tool_call_end|>", "", NOW),
    ("<|tool_call_start|>\n[now()]\n<|tool_call_end|>", "", NOW),
    (
        "<|tool_call_start|>[now()]<|tool_call_end|><|tool_call_start|>[now()]<|tool_call_end|>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    ("<|tool_call_start|>[{\"name\": \"now\", \"arguments\": {}}]<|tool_call_end|>", "", NOW),
    ("<|tool_call_start|>[now()]", "", NOW),
    ("<|tool_call_start|>[now()] Done.", "Done.", NOW),
    ("<|tool_call_start|>[]<|tool_call_end|>", "<|tool_call_start|>[]<|tool_call_end|>", &[]),
    (
        "<|tool_call_start|>[now(]<|tool_call_end|>",
        "<|tool_call_start|>[now(]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[now)]<|tool_call_end|>",
        "<|tool_call_start|>[now)]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[weather(\"Oslo\")]<|tool_call_end|>",
        "<|tool_call_start|>[weather(\"Oslo\")]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[add(a=one)]<|tool_call_end|>",
        "<|tool_call_start|>[add(a=one)]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[add(a=1 b=2)]<|tool_call_end|>",
        "<|tool_call_start|>[add(a=1 b=2)]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[add(a=--1)]<|tool_call_end|>",
        "<|tool_call_start|>[add(a=--1)]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[note(meta={[1]: 2})]<|tool_call_end|>",
        "<|tool_call_start|>[note(meta={[1]: 2})]<|tool_call_end|>",
        &[],
    ),
    (
        "<|tool_call_start|>[note(text='\\ud800')]<|tool_call_end|>",
        "<|tool_call_start|>[note(text='\\ud800')]<|tool_call_end|>",
        &[],
    ),
    ("<|tool_call_start|>[add(a=1", "<|tool_call_start|>[add(a=1", &[]),
    ("<|tool_call_start|>[note(text=\"a", "<|tool_call_start|>[note(text=\"a", &[]),
    ("<|tool_call_start|>", "<|tool_call_start|>", &[]),
    ("<|tool_call", "<|tool_call", &[]),
    ("<|tool_call_start|>1 + 2", "<|tool_call_start|>1 + 2", &[]),
    (
        "<|tool_call_start|>[now(<|tool_call_start|>[now()]<|tool_call_end|>",
        "<|tool_call_start|>[now(",
        NOW,
    ),
    ("<|tool_call_end|> a", "<|tool_call_end|> a", &[]),
];
