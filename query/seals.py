"""Seals of row references: only what we have made ourselves is followed.

A row reference names a database, a version, and a query or a result, and whoever follows it gets those rows. It travels through values that
the author of a script makes as he likes, and so a script could write one for a database that it does not name. Therefore each has a seal:

    {database, version, count, store, query, seal}      or      {database, version, count, result, seal}

    seal    the first 16 bytes, in hex, of HMAC-SHA256 over "rows/" and the rest as JSON, its members in order

It is made where a reference is made and looked at wherever one is followed, before anything else of it is believed. The secret is that of
the data directory, so every worker and every gateway makes and knows the same ones, before and after a restart. A reference that is passed
on is passed on whole: with another count, limit or field it is another one, which nobody has sealed.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import orjson

from query.errors import InvalidReference

SEAL: Final = "seal"
_BYTES: Final = 16


class Seals:
    """Makes and checks the seals of one data directory."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def sealed(self, reference: Mapping[str, Any]) -> dict[str, Any]:
        """A reference with its seal."""
        plain = {name: value for name, value in reference.items() if name != SEAL}
        return {**plain, SEAL: self._seal(plain)}

    def check(self, reference: Any) -> None:
        """Raises InvalidReference for anything that was not sealed here, just as it is."""
        given = reference.get(SEAL) if isinstance(reference, Mapping) else None
        if isinstance(given, str) and given.isascii():
            try:
                expected = self._seal({name: value for name, value in reference.items() if name != SEAL})
            except TypeError:  # no JSON
                expected = ""
            if hmac.compare_digest(given, expected):
                return
        raise InvalidReference(
            "this is no row reference that was made here", hint="pass a row reference on as it came, whole"
        )

    def _seal(self, plain: Mapping[str, Any]) -> str:
        text = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS)
        return hmac.new(self._secret, b"rows/" + text, hashlib.sha256).digest()[:_BYTES].hex()
