"""Values out of texts: a secret that comes back, in an answer, a header or an error, is replaced before anybody sees it.

A value is looked for as it is and as it is usually written elsewhere: in JSON, in an address, in base64 (also in the middle of a longer
text, as in `Authorization: Basic`). What a server makes of it otherwise (in capitals, encrypted, in parts) is not known again.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote, quote_plus

HIDDEN: Final = "[redacted]"
SHORTEST: Final = 8
"""Shorter forms are not looked for: they are parts of ordinary words."""
_STARTS: Final = (0, 2, 3)
"""Characters of base64 that bytes in front have a part in, by how many those are."""


class Redaction:
    """Takes values out of JSON."""

    def __init__(self, values: Iterable[str]) -> None:
        found = {form for value in values for form in _forms(value) if len(form) >= SHORTEST}
        self._forms = sorted(found, key=len, reverse=True)

    def __bool__(self) -> bool:
        return bool(self._forms)

    def has(self, text: str) -> bool:
        """Whether a text has one of them."""
        return any(form in text for form in self._forms)

    def text(self, text: str) -> str:
        """A text without them."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """JSON without them, names of members included."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                self.text(name) if isinstance(name, str) else name: self.value(part) for name, part in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.value(part) for part in value]
        return value


def _forms(value: str) -> Iterator[str]:
    raw = value.encode()
    yield value
    yield repr(value)[1:-1]
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value)
    yield quote(value, safe="")
    yield quote_plus(value)
    for before, start in enumerate(_STARTS):
        end = (before + len(raw)) * 8 // 6
        padded = b"\0" * before + raw
        yield base64.b64encode(padded).decode()[start:end]
        yield base64.urlsafe_b64encode(padded).decode()[start:end]
