"""Renders llama.cpp's chat templates with Jinja2 as configured by Hugging Face.

Usage: `templates.py FOLDER OUT.json`. Renders each template with the chats and options of
tests/data/text/templates.json, and with more of both: long ones, calls and their results, unusual
roles and white space.
"""

import json
import pathlib
import sys

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "data/text"))
sys.dont_write_bytecode = True
from jinja_environment import NOW, environment, outcome  # noqa: E402

golden = json.loads((here.parent / "data/text/templates.json").read_text(encoding="utf-8"))
chats, options = golden["chats"], golden["options"]
call = {
    "id": "abcdefghi",
    "type": "function",
    "function": {
        "name": "get_weather",
        "arguments": {"place": "Zürich", "days": 2, "ok": True, "no": None},
    },
}
user = {"role": "user", "content": "Rain?"}
result = {
    "role": "tool",
    "tool_call_id": "abcdefghi",
    "name": "get_weather",
    "content": '{"rain": [1]}',
}
thought = {"reasoning_content": "hm", "thinking": "hm"}
chats |= {
    "long": [
        {"role": "system", "content": " Be brief. "},
        user,
        {"role": "assistant", "content": "Yes."},
        user,
        {"role": "assistant", "content": "No.", **thought},
        user,
    ],
    "empty_call": [
        user,
        {"role": "assistant", "content": "", "tool_calls": [call], **thought},
        result,
    ],
    "text_call": [
        user,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "f", "arguments": '{"a": 1}'}}],
        },
        result,
    ],
    "call_and_more": [
        user,
        {"role": "assistant", "content": "Wait.", "tool_calls": [call, call]},
        result,
        result,
        {"role": "assistant", "content": "Rain."},
        user,
    ],
    "developer": [{"role": "developer", "content": "Do."}, user],
    "spaces": [
        {"role": "user", "content": "a\r\nb\tc\x1f \u00a0"},
        {"role": "assistant", "content": "\x1c x \x1c"},
        {"role": "user", "content": "{{ x }}"},
    ],
}
schema = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string"}},
        "one": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "deep": {"type": "object", "properties": {"items": {"type": "number", "description": "n"}}},
    },
    "required": ["tags"],
}
tool = {
    "type": "function",
    "function": {"name": "deep", "description": "<d>", "parameters": schema},
}
extra = {
    "thinking": True,
    "enable_thinking": True,
    "reasoning_effort": "low",
    "builtin_tools": ["code_interpreter"],
    "pad_token": "<pad>",
}
options += [{"add_generation_prompt": True, "tools": [tool], "extra": extra}]
templates, cases = {}, []
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.jinja")):
    templates[path.name] = path.read_bytes().decode("utf-8")
    template = environment.from_string(templates[path.name])
    for chat, messages in chats.items():
        for index, given in enumerate(options):
            cases.append(
                {
                    "template": path.name,
                    "chat": chat,
                    "options": index,
                    **outcome(template, messages, given),
                }
            )
out = {
    "now": golden["now"],
    "templates": templates,
    "chats": chats,
    "options": options,
    "cases": cases,
}
pathlib.Path(sys.argv[2]).write_text(json.dumps(out), encoding="utf-8")
