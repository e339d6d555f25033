"""Text with the character NUL on its way into the expression runtime.

The runtime takes texts from Python up to their first NUL, and says nothing: of "a\\0b" it would see "a". A protocol buffer message it takes
whole, and a `StringValue` is a text to it like any other. So values with such text are copied with their texts in messages, here; all
other values pass as they are. What comes out of the runtime, and the texts of expressions themselves, are whole without that.

An object's key cannot be a message: the runtime gets no object with such a key (the expression is refused), and none is ever cut.

Whether there is a NUL is asked of the value's JSON text, where it is always written as an escape: a small part of the time that the
runtime takes to convert the value, and in C.
"""

from collections.abc import Callable
from typing import Any, Final

import orjson
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from script.errors import EvaluationError

NUL: Final = "\0"
_ESCAPED: Final = b"\\u0000"


def whole(value: Any, name: str) -> Any:
    """The value of a variable as the runtime takes it whole. Raises EvaluationError (`bad_value`) for an object's key with a NUL."""
    kind = type(value)
    if kind is str:
        return StringValue(value=value) if NUL in value else value
    if kind is dict or kind is list:
        try:
            if _ESCAPED not in orjson.dumps(value):
                return value
        except TypeError:  # no JSON: the copy finds what there is
            pass
        return _copied(value, name, "")
    return value


def answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of any result, whose result the runtime takes whole."""

    def call(*arguments: Any) -> Any:
        result = function(*arguments)
        return _copied(result, "its result", "") if type(result) is bytes else whole(result, "its result")

    return call


def _copied(value: Any, name: str, pointer: str) -> Any:
    if isinstance(value, str):
        return StringValue(value=value) if NUL in value else value
    if isinstance(value, bytes):
        return BytesValue(value=value)
    if isinstance(value, list):
        return [_copied(element, name, f"{pointer}/{index}") for index, element in enumerate(value)]
    if isinstance(value, dict):
        for key in value:
            if isinstance(key, str) and NUL in key:
                raise EvaluationError(
                    "bad_value",
                    f"{name}: the object at {pointer or '/'} has a field {key!r}, and expressions take no names with the character NUL",
                    variable=name,
                    hint="rename the field before it comes into an expression; the character may stand in texts",
                )
        return {key: _copied(element, name, f"{pointer}/{key}") for key, element in value.items()}
    return value
