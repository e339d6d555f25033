"""Rows of some members of JSON objects: msgspec makes objects that have only these, and skips the rest of the text."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec


def is_plain(name: str) -> bool:
    """Whether a name stands in JSON text as it is, so that a decoder can look for it. Others are written with escapes."""
    return name.isprintable() and '"' not in name and "\\" not in name


def attributes_of(names: Collection[str]) -> dict[str, str]:
    """An attribute for each name: a member may be called what no attribute can be."""
    return {name: f"f{number}" for number, name in enumerate(names)}


def member_struct(
    attributes: Mapping[str, str], kinds: Sequence[tuple[Any, Any]] | tuple[Any, Any], *, gc: bool = False
) -> type[msgspec.Struct]:
    """The type of rows with these members (name -> attribute). `kinds` are type and default, of each or of all; all names are plain.

    `gc=False` is for values that refer to no row.
    """
    each = [kinds] * len(attributes) if isinstance(kinds, tuple) else kinds
    fields = [(attribute, *kind) for attribute, kind in zip(attributes.values(), each, strict=True)]
    return msgspec.defstruct("Row", fields, rename={attribute: name for name, attribute in attributes.items()}, gc=gc)
