"""Writes templates.json: chat templates rendered by Jinja2 as configured by Hugging Face.

Usage: `make_templates.py`, with the package jinja2.

The templates in templates/ are written for this test in the style of the models they are named
after; features.jinja covers the features that templates may use.
"""

import datetime
import json
import pathlib

from jinja_environment import NOW, environment, outcome

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": " The weather at a place, <now> & here. ",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "City, e.g. “Zürich”"},
                "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                "days": {"type": ["integer", "null"], "minimum": 1, "maximum": 7.5},
            },
            "required": ["place"],
        },
        "return": {"type": "string"},
        "strict": True,
    },
}
ADD = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object", "properties": {}}},
}


def call(name, arguments, identifier="abcdefghi"):
    return {
        "id": identifier,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


SYSTEM = {"role": "system", "content": "Be brief.\n"}
USER = {"role": "user", "content": "  What's 1 < 2?\n\nTell me — 東京 🗼  "}
THOUGHT = {"role": "assistant", "content": "<think>\nlet me see\n</think>\n\nYes."}
CHATS = {
    "one": [USER],
    "system": [SYSTEM, USER],
    "turns": [
        USER,
        {"role": "assistant", "content": " Yes. "},
        {"role": "user", "content": "Sure?"},
    ],
    "thoughts": [
        SYSTEM,
        USER,
        THOUGHT,
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "reasoning_content": "hm", "content": "Because."},
    ],
    "call": [
        SYSTEM,
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                call("get_weather", {"place": "Zürich", "days": 2, "opts": {"a": [1, 2.0]}})
            ],
        },
        {"role": "tool", "tool_call_id": "abcdefghi", "name": "get_weather", "content": "sunny"},
    ],
    "calls": [
        USER,
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [call("add", {}), call("add", {"x": None}, "123456789")],
        },
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "1"},
        {"role": "tool", "tool_call_id": "123456789", "content": "2"},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Thanks"},
    ],
    "twice": [USER, USER],
    "parts": [
        SYSTEM,
        {
            "role": "user",
            "content": [
                {"type": "text", "text": " one "},
                {"type": "image"},
                {"type": "text", "text": "two"},
            ],
        },
    ],
    "odd": [{"role": "wizard", "content": "Abracadabra"}],
    "bare": [{"role": "user"}],
    "empty": [],
}
OPTIONS = [
    {"add_generation_prompt": True},
    {"add_generation_prompt": False},
    {"add_generation_prompt": True, "tools": [WEATHER, ADD]},
    {
        "add_generation_prompt": True,
        "extra": {
            "enable_thinking": False,
            "truncate_history_thinking": False,
            "tools_in_user_message": False,
            "date_string": "1 May 2025",
        },
        "tools": [WEATHER],
    },
]
here = pathlib.Path(__file__).parent
cases = []
for path in sorted((here / "templates").glob("*.jinja")):
    template = environment.from_string(path.read_bytes().decode("utf-8"))
    for chat, messages in CHATS.items():
        for index, options in enumerate(OPTIONS):
            case = {
                "template": path.name,
                "chat": chat,
                "options": index,
                **outcome(template, messages, options),
            }
            cases.append(case)
out = {
    "now": int(NOW.replace(tzinfo=datetime.timezone.utc).timestamp()),
    "chats": CHATS,
    "options": OPTIONS,
    "cases": cases,
}
# Leap days, ends of a day and of a year, and distant dates.
SECONDS = [
    0,
    951782400,
    951868799,
    1709164800,
    1735689599,
    1772895849,
    4102444800,
    -1,
    -2208988800,
    253402300799,
]
FORMAT = "%Y-%m-%d %H:%M:%S %A %a %B %b %j %y %e %I %p %F %T %D %h %-d %-m %-H %%"
EPOCH = datetime.datetime.fromtimestamp(0, datetime.timezone.utc)
out["dates"] = [
    [seconds, (EPOCH + datetime.timedelta(seconds=seconds)).strftime(FORMAT)] for seconds in SECONDS
]
(here / "templates.json").write_text(
    json.dumps(out, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8"
)
