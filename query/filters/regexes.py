"""Regular expressions for $regex: RE2, which takes time linear in the text whatever the pattern.

A backtracking engine, such as Python's, can be kept busy for years by a short pattern and a short text, and the pattern comes from
whoever writes the query. RE2 runs an automaton, and bounds its memory (8 MiB a pattern; a larger one is refused). The worst
patterns found within that took 25 microseconds for a byte of text. The price is that it has no back-references and no
look-around; they are refused when the filter is compiled.

A pattern that is only text, perhaps with ^ before it and $ behind it, needs no automaton: the methods of str say the same sooner.

Syntax: https://github.com/google/re2/wiki/Syntax. `$` without the option m is the end of the text only.
"""

from collections.abc import Callable
from reprlib import repr
from typing import Any, Final

import re2

from query.errors import InvalidQuery

_SPECIAL: Final = frozenset("\\.^$*+?{}[]|()")
_OPTIONS: Final = {
    "i": "upper and lower case are the same",
    "m": "^ and $ at every line",
    "s": "a dot is a newline too",
}


def compile_regex(pattern: Any, options: Any, pointer: str, options_pointer: str) -> Callable[[str], bool]:
    """A function that tells whether a text has a match anywhere.

    Raises InvalidQuery for what is no pattern of RE2, and for options other than i, m and s.
    """
    if not isinstance(pattern, str):
        raise InvalidQuery(f"$regex takes a pattern as text, not {repr(pattern)}", pointer=pointer)
    if not isinstance(options, str) or not set(options) <= set(_OPTIONS):
        meanings = ", ".join(f"{letter} ({meaning})" for letter, meaning in _OPTIONS.items())
        raise InvalidQuery(f"$options {repr(options)}: the options are {meanings}", pointer=options_pointer)
    if not options and (simple := _text_only(pattern)) is not None:
        return simple
    flags = f"(?{''.join(sorted(set(options)))})" if options else ""
    settings = re2.Options()
    settings.log_errors = False
    settings.never_capture = True
    try:
        search = re2.compile((flags + pattern).encode(), settings).search
    except UnicodeEncodeError:
        raise InvalidQuery("the pattern has a lone surrogate, which is no character", pointer=pointer) from None
    except re2.error as error:
        raise InvalidQuery(
            f"{repr(pattern)} is not a regular expression: {_reason(error)}",
            pointer=pointer,
            hint="the syntax is RE2's: without back-references and look-around",
        ) from None
    return lambda text: search(text.encode(errors="surrogatepass")) is not None


def _text_only(pattern: str) -> Callable[[str], bool] | None:
    """The test of a pattern without anything special but ^ first and $ last, or None."""
    text = pattern.removeprefix("^").removesuffix("$")
    if not _SPECIAL.isdisjoint(text) or not text.isprintable():
        return None
    if len(text) == len(pattern):
        return lambda value: text in value
    if not pattern.endswith("$"):
        return lambda value: value.startswith(text)
    return text.__eq__ if pattern.startswith("^") else lambda value: value.endswith(text)


def _reason(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
