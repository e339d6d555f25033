"""Secrets by their names: `secret://name` in an argument of a step stands for a value that nobody sees but the tool that needs it.

A tool says with `x-secrets` in an argument's schema that texts in it may name secrets. Only names that are written in the step itself
count: which secrets a script uses is known before it runs (`toolbox.access` asks for them), and a text that comes from a row, an answer or
an argument of the run opens nothing, whatever it looks like. The value is put in where the tool runs, and is in no history.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from script.environment import ToolSignature
from script.errors import Problem

SECRETS: Final = "x-secrets"
SCHEME: Final = "secret://"
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
NAMED: Final = re.compile(rf"{SCHEME}({NAME.pattern})(?![A-Za-z0-9_])")


def texts_with_secrets(value: Any) -> Iterator[str]:
    """The texts in a JSON value that seem to name secrets, however deep."""
    left = [value]
    while left:
        part = left.pop()
        if isinstance(part, str):
            if SCHEME in part:
                yield part
        elif isinstance(part, Mapping):
            left += part.values()
        elif isinstance(part, list):
            left += part


def named_secrets(args: Mapping[str, Any], tool: ToolSignature | str | None) -> dict[str, list[str]]:
    """The operands of a call with the secrets that its arguments name: {secrets: [...], named: mentions(...)}, or none."""
    schema = tool.arguments_schema if isinstance(tool, ToolSignature) else {}
    texts = [text for name in args if _takes(schema, name) for text in texts_with_secrets(args[name])]
    names = sorted({name for text in texts for name in NAMED.findall(text)})
    return {"secrets": names, "named": mentions(args)} if names else {}


def mentions(args: Any) -> list[str]:
    """All names of secrets in the texts of arguments, each as often as it is there; an empty one where a name is missing.

    Those of a step as it is written and as it is called are the same, or a variable has brought one in.
    """
    found = []
    for text in texts_with_secrets(args):
        names = NAMED.findall(text)
        found += names + [""] * (text.count(SCHEME) - len(names))
    return sorted(found)


def check_secrets(args: Mapping[str, Any], schema: Mapping[str, Any], pointer: str, tool: str) -> Iterator[Problem]:
    """What is wrong with the secrets of a step: one without a name, or with one that is known only later; and a warning where a text would
    be sent as it is."""
    for name, value in args.items():
        texts = list(texts_with_secrets(value))
        if not _takes(schema, name):
            if texts:
                yield Problem(
                    "no_secret",
                    f"{pointer}/{name}",
                    f"{tool} takes no secret in {name}: {SCHEME} is a text like others there",
                    severity="warning",
                )
        elif any(text.count(SCHEME) != len(NAMED.findall(text)) for text in texts):
            hint = f"{SCHEME}name, the name written out: lower-case letters, digits and _, beginning with a letter"
            yield Problem("invalid_secret", f"{pointer}/{name}", "this is no name of a secret", hint)


def _takes(schema: Mapping[str, Any], name: str) -> bool:
    return bool(schema.get("properties", {}).get(name, {}).get(SECRETS))
