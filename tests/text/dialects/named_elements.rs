//! MiniCPM5: `<function name="…">` with `<param name="…">`.

use super::{Answer, NOW};

pub(crate) const CASES: &[Answer] = &[
    ("", "", &[]),
    ("Hello, world!\nWhat's up?", "Hello, world!\nWhat's up?", &[]),
    (" a\n\nb \n", " a\n\nb \n", &[]),
    ("<b>a</b> <function> x", "<b>a</b> <function> x", &[]),
    ("<function name=\"now\"></function>", "", NOW),
    ("<function name=\"now\">\n</function>\n", "", NOW),
    ("Well.\n<function name=\"now\"></function>", "Well.", NOW),
    ("A\n<function name=\"now\"></function>\nB", "A\nB", NOW),
    (
        "<function name=\"note\"><param name=\"text\">print('Hello, World!')</param></function>",
        "",
        &[("note", r#"{"text":"print('Hello, World!')"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><![CDATA[<a href=\"/x\">hi</a> </param>]]>\
            </param></function>",
        "",
        &[("note", r#"{"text":"<a href=\"/x\">hi</a> </param>"}"#)],
    ),
    (
        "<function name=\"now\"></function>\n<function name=\"add\"><param name=\"a\">1</param>\
            </function>",
        "",
        &[("now", "{}"), ("add", r#"{"a":1}"#)],
    ),
    (
        "<function name=\"add\"><param name=\"a\">1.5</param><param name=\"b\">-2e3</param>\
            <param name=\"exact\">true</param></function>",
        "",
        &[("add", r#"{"a":1.5,"b":-2000.0,"exact":true}"#)],
    ),
    (
        "<function name=\"weather\"><param name=\"place\">12</param><param name=\"days\">3\
            </param></function>",
        "",
        &[("weather", r#"{"place":"12","days":3}"#)],
    ),
    (
        "<function name=\"weather\"><param name=\"days\">null</param></function>",
        "",
        &[("weather", r#"{"days":null}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"tags\">[\"a\", \"b\"]</param><param name=\"meta\">\
            {\"k\": {\"n\": [1]}}</param></function>",
        "",
        &[("note", r#"{"tags":["a","b"],"meta":{"k":{"n":[1]}}}"#)],
    ),
    (
        "<function name=\"note\">\n  <param name=\"text\">\n a \n</param>\n</function>",
        "",
        &[("note", r#"{"text":"\n a \n"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"></param></function>",
        "",
        &[("note", r#"{"text":""}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><![CDATA[]]></param></function>",
        "",
        &[("note", r#"{"text":""}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><![CDATA[a]] ]]]></param></function>",
        "",
        &[("note", r#"{"text":"a]] ]"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><![CDAT</param></function>",
        "",
        &[("note", r#"{"text":"<![CDAT"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\">x</param> y </param></function>",
        "",
        &[("note", r#"{"text":"x</param> y "}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\">a</function>b</param></function>",
        "",
        &[("note", r#"{"text":"a</function>b"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><function name=\"now\"></function></param>\
            </function>",
        "",
        &[("note", r#"{"text":"<function name=\"now\"></function>"}"#)],
    ),
    (
        "<function name=\"note\"><param name=\"text\">é 🗼 &amp;</param></function>",
        "",
        &[("note", r#"{"text":"é 🗼 &amp;"}"#)],
    ),
    ("<function name=\"now\" ></function>", "", NOW),
    ("<function name=\"a.b-c\"></function>", "", &[("a.b-c", "{}")]),
    ("<function name=\"now\"></function> Done.", "Done.", NOW),
    (
        "<function name=\"now\"></function><function name=\"now\"></function>",
        "",
        &[("now", "{}"), ("now", "{}")],
    ),
    ("<function name=\"\"></function>", "<function name=\"\"></function>", &[]),
    ("<function name=now></function>", "<function name=now></function>", &[]),
    ("<function name='now'></function>", "<function name='now'></function>", &[]),
    ("<function=now></function>", "<function=now></function>", &[]),
    ("<function name=\"now\"/>", "<function name=\"now\"/>", &[]),
    ("<function name=\"now\">x</function>", "<function name=\"now\">x</function>", &[]),
    (
        "<function name=\"add\"><param name=a>1</param></function>",
        "<function name=\"add\"><param name=a>1</param></function>",
        &[],
    ),
    (
        "<function name=\"add\"><param name=\"\">1</param></function>",
        "<function name=\"add\"><param name=\"\">1</param></function>",
        &[],
    ),
    (
        "<function name=\"add\"><param name=\"a\">1</function>",
        "<function name=\"add\"><param name=\"a\">1</function>",
        &[],
    ),
    (
        "<function name=\"note\"><param name=\"text\"><![CDATA[a</param></function>",
        "<function name=\"note\"><param name=\"text\"><![CDATA[a</param></function>",
        &[],
    ),
    ("<function name=\"now\">", "<function name=\"now\">", &[]),
    ("<function name=\"no", "<function name=\"no", &[]),
    ("<function nam", "<function nam", &[]),
    ("<function name=\"add\"><function name=\"now\"></function>", "<function name=\"add\">", NOW),
    ("</function> a", "</function> a", &[]),
];
