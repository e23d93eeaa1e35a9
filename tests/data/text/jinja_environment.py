"""Jinja2 as configured by Hugging Face for chat templates, with a fixed time."""

import datetime
import json

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 3, 7, 15, 4, 9)


class Generation(Extension):
    """The `generation` block, which marks the assistant's text; its body is rendered unchanged."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = NOW.strftime


def outcome(template, messages, options):
    """Renders a chat; returns the text, or the message raised by the template or by Jinja2."""
    variables = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "documents": None,
        **options.get("extra", {}),
    }
    variables |= {"messages": messages, "tools": options.get("tools")}
    variables["add_generation_prompt"] = options["add_generation_prompt"]
    try:
        return {"text": template.render(**variables)}
    except jinja2.exceptions.TemplateError as error:
        # Subclasses are errors of Jinja2 itself, such as undefined names and unknown filters.
        is_raised = type(error) is jinja2.exceptions.TemplateError
        return {"raised" if is_raised else "failed": str(error)}
    except (TypeError, ValueError, RecursionError) as error:
        return {"failed": str(error)}
