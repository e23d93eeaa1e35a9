//! Gemma 4: calls with keys without quotation marks, and reasoning in channels.

use super::{Answer, NOW};

pub(crate) const CASES: &[Answer] = &[
    ("", "", &[]),
    ("Hello, world!", "Hello, world!", &[]),
    (" a\n\nb \n", " a\n\nb \n", &[]),
    ("<|tool_call>call:now{}<tool_call|>", "", NOW),
    ("<|tool_call>call:now{}<tool_call|>\n", "", NOW),
    ("Hello\nyou?<|tool_call>call:now{}<tool_call|>", "Hello\nyou?", NOW),
    ("A\n<|tool_call>call:now{}<tool_call|>\nB", "A\nB", NOW),
    (
        "<|tool_call>call:weather{place:<|\"|>San Francisco<|\"|>}<tool_call|>",
        "",
        &[("weather", r#"{"place":"San Francisco"}"#)],
    ),
    (
        "<|tool_call>call:weather{place:<|\"|>London<|\"|>}<tool_call|>\
            <|tool_call>call:weather{place:<|\"|>Paris<|\"|>,days:2}<tool_call|>",
        "",
        &[("weather", r#"{"place":"London"}"#), ("weather", r#"{"place":"Paris","days":2}"#)],
    ),
    ("<|tool_call>call:add{a:42}<tool_call|>", "", &[("add", r#"{"a":42}"#)]),
    ("<|tool_call>call:add{a:-7,b:3.14}<tool_call|>", "", &[("add", r#"{"a":-7,"b":3.14}"#)]),
    ("<|tool_call>call:add{b:1.5e10}<tool_call|>", "", &[("add", r#"{"b":15000000000.0}"#)]),
    (
        "<|tool_call>call:add{exact:true,a:null}<tool_call|>",
        "",
        &[("add", r#"{"exact":true,"a":null}"#)],
    ),
    ("<|tool_call>call:add{exact:false}<tool_call|>", "", &[("add", r#"{"exact":false}"#)]),
    (
        "<|tool_call>call:note{tags:[<|\"|>buy milk<|\"|>,<|\"|>walk dog<|\"|>]}<tool_call|>",
        "",
        &[("note", r#"{"tags":["buy milk","walk dog"]}"#)],
    ),
    (
        "<|tool_call>call:note{meta:{theme:<|\"|>dark<|\"|>,count:3}}<tool_call|>",
        "",
        &[("note", r#"{"meta":{"theme":"dark","count":3}}"#)],
    ),
    (
        "<|tool_call>call:note{tags:[],meta:{}}<tool_call|>",
        "",
        &[("note", r#"{"tags":[],"meta":{}}"#)],
    ),
    (
        "<|tool_call>call:note{meta:{a:[1,[2,{b:<|\"|>c<|\"|>}]]}}<tool_call|>",
        "",
        &[("note", r#"{"meta":{"a":[1,[2,{"b":"c"}]]}}"#)],
    ),
    (
        "<|tool_call>call:note{text:<|\"|>}<tool_call|> \"x\", {y: [z<|\"|>}<tool_call|>",
        "",
        &[("note", r#"{"text":"}<tool_call|> \"x\", {y: [z"}"#)],
    ),
    (
        "<|tool_call>call:note{text:<|\"|>line\n\\n é 🗼<|\"|>}<tool_call|>",
        "",
        &[("note", r#"{"text":"line\n\\n é 🗼"}"#)],
    ),
    ("<|tool_call>call:note{text:<|\"|><|\"|>}<tool_call|>", "", &[("note", r#"{"text":""}"#)]),
    (
        "<|tool_call>call:note{<|\"|>text<|\"|>:<|\"|>a<|\"|>}<tool_call|>",
        "",
        &[("note", r#"{"text":"a"}"#)],
    ),
    (
        "<|tool_call>call:weather{ place : \"Oslo\" , days : 1 }<tool_call|>",
        "",
        &[("weather", r#"{"place":"Oslo","days":1}"#)],
    ),
    ("<|tool_call> call:now{} <tool_call|>", "", NOW),
    ("<|tool_call>call:now{}", "", NOW),
    ("<|tool_call>call:now{} Done.", "Done.", NOW),
    ("<|tool_call>call:ns.now-2{}<tool_call|>", "", &[("ns.now-2", "{}")]),
    ("<|tool_call>now{}<tool_call|>", "<|tool_call>now{}<tool_call|>", &[]),
    ("<|tool_call>call:{}<tool_call|>", "<|tool_call>call:{}<tool_call|>", &[]),
    ("<|tool_call>call:now()<tool_call|>", "<|tool_call>call:now()<tool_call|>", &[]),
    ("<|tool_call>call:now[]<tool_call|>", "<|tool_call>call:now[]<tool_call|>", &[]),
    (
        "<|tool_call>call:weather{place:Oslo}<tool_call|>",
        "<|tool_call>call:weather{place:Oslo}<tool_call|>",
        &[],
    ),
    ("<|tool_call>call:add{a}<tool_call|>", "<|tool_call>call:add{a}<tool_call|>", &[]),
    ("<|tool_call>call:add{a:1 b:2}<tool_call|>", "<|tool_call>call:add{a:1 b:2}<tool_call|>", &[]),
    ("<|tool_call>call:add{a:[1}<tool_call|>", "<|tool_call>call:add{a:[1}<tool_call|>", &[]),
    ("<|tool_call>call:add{a:1]<tool_call|>", "<|tool_call>call:add{a:1]<tool_call|>", &[]),
    (
        "<|tool_call>call:note{text:<|\"|>a}<tool_call|>",
        "<|tool_call>call:note{text:<|\"|>a}<tool_call|>",
        &[],
    ),
    ("<|tool_call>call:add{a:1", "<|tool_call>call:add{a:1", &[]),
    ("<|tool_call>call:ad", "<|tool_call>call:ad", &[]),
    ("<|tool_call>ca", "<|tool_call>ca", &[]),
    ("<|tool_call", "<|tool_call", &[]),
    ("<|tool_call>call:add{a:<|tool_call>call:now{}<tool_call|>", "<|tool_call>call:add{a:", NOW),
];

/// Answer, expected reasoning, text and number of calls of `now`.
pub(crate) const CHANNELS: &[(&str, &str, &str, usize)] = &[
    ("<|channel>thought\nI'm\nthinking<channel|>Hello\nyou?", "I'm\nthinking", "Hello\nyou?", 0),
    ("<|channel>thought<channel|>Hello", "", "Hello", 0),
    ("<|channel>thought\n<channel|>Hello<channel|>", "", "Hello", 0),
    ("<|channel>thought\n<channel|>Hello<|channel>thought\n<channel|>", "", "Hello", 0),
    ("<|channel>thought\n<channel|>Hello<|channel>thought\n<channel|><channel|>", "", "Hello", 0),
    ("<|channel><|channel>thought\n<channel|>Hello", "", "Hello", 0),
    ("<|channel>thought\na<channel|>b<|channel>thought\nc<channel|>d", "a\n\nc", "bd", 0),
    ("<|channel>thought\na<channel|><|tool_call>call:now{}<tool_call|>", "a", "", 1),
    (
        "<|channel>thought\na<channel|>b<|tool_call>call:now{}<tool_call|>\
            <|channel>thought\nc<channel|><|tool_call>call:now{}<tool_call|>",
        "a\n\nc",
        "b",
        2,
    ),
    (
        "<|channel>thought\nNo <|tool_call>call:now{}<tool_call|> yet<channel|>b",
        "No <|tool_call>call:now{}<tool_call|> yet",
        "b",
        0,
    ),
    ("<|channel>thought\na", "a", "", 0),
    ("<|channel>thought\na<|tool_call>call:now{}<tool_call|>", "a", "", 1),
    ("a <|chan", "", "a <|chan", 0),
    ("<|tool_call>call:now{}<tool_call|><channel|>", "", "", 1),
    ("\n<|channel>thought\n\n a \n<channel|>\n\nb\n", "a", "b\n", 0),
];
