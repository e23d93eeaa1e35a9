//! gpt-oss: messages in channels.

/// Answer, expected reasoning, text, and calls as names and JSON arguments.
pub(crate) type Case =
    (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const NOW: &[(&str, &str)] = &[("now", "{}")];
const A: &[(&str, &str)] = &[("add", r#"{"a":1}"#)];

pub(crate) const CASES: &[Case] = &[
    ("", "", "", &[]),
    (" \n", "", "", &[]),
    ("<|channel|>final<|message|>Hello\nyou?", "", "Hello\nyou?", &[]),
    ("<|channel|>final<|message|> a\n\nb \n", "", " a\n\nb \n", &[]),
    ("<|channel|>commentary<|message|>Hello", "", "Hello", &[]),
    (
        "<|channel|>analysis<|message|>I'm\nthinking<|end|><|start|>assistant<|channel|>final\
            <|message|>Hello",
        "I'm\nthinking",
        "Hello",
        &[],
    ),
    ("<|channel|>analysis<|message|>I'm\nthinking", "I'm\nthinking", "", &[]),
    (" to=functions.add<|channel|>analysis<|message|>{\"a\": 1}", "", "", A),
    ("<|channel|>analysis to=functions.add<|message|>{\"a\": 1}", "", "", A),
    (" to=functions.add<|channel|>analysis <|constrain|>json<|message|>{\"a\": 1}", "", "", A),
    ("<|channel|>commentary to=functions.add<|message|>{\"a\": 1}", "", "", A),
    ("<|channel|>commentary to=functions.add<|message|>{\"a\": 1}<|call|>", "", "", A),
    ("<|channel|>commentary to=functions.now <|constrain|>json<|message|>{}<|call|>", "", "", NOW),
    ("<|channel|>commentary to=functions.now json<|message|>{}", "", "", NOW),
    ("<|channel|>commentary to=functions.now<|message|><|call|>", "", "", NOW),
    (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant to=functions.add<|channel|>\
            analysis<|message|>{\"a\": 1}",
        "Hm",
        "",
        A,
    ),
    (
        "<|channel|>analysis<|message|>Hm...<|end|><|start|>assistant<|channel|>commentary \
            to=functions.note <|constrain|>json<|message|>{\"text\": \"if (x < 1) {\"}",
        "Hm...",
        "",
        &[("note", r#"{"text":"if (x < 1) {"}"#)],
    ),
    (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>final \
            <|constrain|>json<|message|>{\"amount\": 123.45}",
        "Hm",
        "{\"amount\": 123.45}",
        &[],
    ),
    (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant to=container.exec<|channel|>\
            commentary<|message|>python3 -c 'print()'",
        "Hm",
        "",
        &[],
    ),
    (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary to=python \
            <|constrain|>code<|message|>print()",
        "Hm",
        "",
        &[],
    ),
    (
        "<|channel|>commentary to=assistant<|channel|>analysis<|message|>Hm<|end|><|start|>\
            assistant<|channel|>final<|message|>Hello",
        "Hm",
        "Hello",
        &[],
    ),
    (
        "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary \
            to=assistant<|channel|>final<|message|>Hello",
        "Hm",
        "Hello",
        &[],
    ),
    (
        "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b\
            <|end|><|start|>assistant<|channel|>final<|message|>c",
        "a\nb",
        "c",
        &[],
    ),
    (
        "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary \
            to=functions.now<|message|>{}<|call|>",
        "",
        "I look.",
        NOW,
    ),
    (
        "<|channel|>commentary<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b",
        "",
        "a\nb",
        &[],
    ),
    (
        "<|channel|>commentary to=functions.now<|message|>{}<|end|><|start|>assistant<|channel|>\
            commentary to=functions.add<|message|>{\"a\": 1}<|call|>",
        "",
        "",
        &[("now", "{}"), ("add", r#"{"a":1}"#)],
    ),
    ("<|start|>assistant<|channel|>final<|message|>Hello<|return|>", "", "Hello", &[]),
    ("<|message|>Hello", "", "Hello", &[]),
    ("<|channel|>other<|message|>Hello", "", "Hello", &[]),
    ("<|channel|>final<|message|>a <b> <|c| <|", "", "a <b> <|c| <|", &[]),
    ("<|channel|>final<|message|><|end|>", "", "", &[]),
    ("<|channel|>final<|message|>a<|channel|>final<|message|>b", "", "a\nb", &[]),
    ("Hello, world!", "", "Hello, world!", &[]),
    (" to be or not", "", " to be or not", &[]),
    ("The end.<|end|>", "", "The end.", &[]),
    ("<|channel|>fin", "", "<|channel|>fin", &[]),
    ("<|chan", "", "<|chan", &[]),
    ("<|channel|>analysis<|message|>a<|en", "a<|en", "", &[]),
    ("<|channel|>commentary to=functions.add<|message|>{\"a\": 1", "", "{\"a\": 1", &[]),
    ("<|channel|>commentary to=functions.add<|message|>[1]<|call|>", "", "[1]", &[]),
    ("<|channel|>commentary to=functions.add<|message|>a: 1<|end|>", "", "a: 1", &[]),
    ("<|channel|>commentary to=functions.<|message|>{}", "", "", &[]),
    ("<|end|><|start|>assistant<|channel|>final<|message|>a", "", "a", &[]),
    ("<|channel|>analysis<|message|>a<|end|>\n", "a", "", &[]),
    ("<|channel|>analysis<|message|>a<|end|>b", "a", "b", &[]),
];
