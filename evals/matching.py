"""When a value is what was expected: objects may have more, lists may be in another order, numbers may be off by a rounding."""

import json
import math
from collections.abc import Mapping
from typing import Any


def key_of(script: str | None, arguments: Mapping[str, Any]) -> str:
    """The name of a trial."""
    return json.dumps([script, arguments], sort_keys=True)


def difference(expected: Any, actual: Any, where: str = "") -> str | None:
    """What is not as expected; None if all is."""
    at = f"{where}: " if where else ""
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return (
            None
            if expected == actual and type(expected) is type(actual)
            else f"{at}{_short(actual)}, not {_short(expected)}"
        )
    if isinstance(expected, int | float):
        if isinstance(actual, bool) or not isinstance(actual, int | float):
            return f"{at}{_short(actual)}, not {expected}"
        return None if math.isclose(expected, actual, rel_tol=1e-6, abs_tol=0.006) else f"{at}{actual}, not {expected}"
    if isinstance(expected, Mapping):
        if not isinstance(actual, Mapping):
            return f"{at}{_short(actual)}, not an object"
        for name, value in expected.items():
            if name not in actual:
                return f"{at}no {name!r} in {_short(actual)}"
            found = difference(value, actual[name], f"{where}/{name}")
            if found is not None:
                return found
        return None
    if not isinstance(actual, list):
        return f"{at}{_short(actual)}, not a list"
    return _lists(list(expected), actual, at)


def _lists(expected: list[Any], actual: list[Any], at: str) -> str | None:
    if len(expected) != len(actual):
        return f"{at}{len(actual)} elements, not {len(expected)}: {_short(actual)}"
    left = list(actual)
    for element in expected:
        found = next((each for each in left if difference(element, each) is None), _NOTHING)
        if found is _NOTHING:
            return f"{at}no {_short(element)} in {_short(left)}"
        left.remove(found)
    return None


_NOTHING: Any = object()


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:200]}…"
