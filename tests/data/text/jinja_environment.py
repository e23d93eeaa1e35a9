"""Jinja2 as Hugging Face configures it for chat templates, with the time standing still."""

import datetime
import json

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

NOW = datetime.datetime(2026, 3, 7, 15, 4, 9)


class Generation(Extension):
    """The block that marks the assistant's text; its body is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.Scope(body, lineno=line)


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
environment.globals["strftime_now"] = NOW.strftime


def outcome(template, messages, options):
    """What becomes of a chat: its text, what the template raised, or how it failed."""
    variables = {"bos_token": "<s>", "eos_token": "</s>", "documents": None, **options.get("extra", {})}
    variables |= {"messages": messages, "tools": options.get("tools")}
    try:
        return {"text": template.render(add_generation_prompt=options["add_generation_prompt"], **variables)}
    except jinja2.exceptions.TemplateError as error:
        # What is more special is Jinja's own: a name that is undefined, a filter that is unknown.
        return {"raised" if type(error) is jinja2.exceptions.TemplateError else "failed": str(error)}
    except (TypeError, ValueError, RecursionError) as error:
        return {"failed": str(error)}
