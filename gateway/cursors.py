"""Cursors: where the next page goes on, opaque to clients and signed.

A cursor is the base64 of a JSON object with an HMAC in front, made with the installation's secret. It carries what the
listing was about, so that a cursor of one listing is refused by another.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import orjson

from btree import VersionNotFound
from gateway.problems import ApiError

_TAG: Final = 12


class Cursors:
    """Makes and opens the cursors of one installation."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def seal(self, about: str, position: Any) -> str:
        """The cursor of a position in a listing."""
        body = orjson.dumps([about, position])
        return base64.urlsafe_b64encode(self._tag(body) + body).decode().rstrip("=")

    def open(self, about: str, cursor: str) -> Any:
        """The position. Raises ApiError `invalid_cursor` for one that is forged, damaged, or of another listing."""
        try:
            data = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            data = b""
        tag, body = data[:_TAG], data[_TAG:]
        if body and hmac.compare_digest(tag, self._tag(body)):
            made_for, position = orjson.loads(body)
            if made_for == about:
                return position
        raise ApiError(
            "invalid_cursor",
            "this cursor is not one of this listing",
            pointer="?cursor",
            hint="take next_cursor of the page before, with the same parameters",
        )

    def digest(self, text: bytes) -> str:
        """A hash that nobody else can compute, in hex: it tells that two texts differ, and nothing of them."""
        return hmac.new(self._secret, b"digest/" + text, hashlib.sha256).hexdigest()[:32]

    def _tag(self, body: bytes) -> bytes:
        return hmac.new(self._secret, b"cursor/" + body, hashlib.sha256).digest()[:_TAG]


@contextmanager
def going_on(cursor: str | None) -> Iterator[None]:
    """Reading on behind a cursor, in the version that the listing began with: if that is gone, the listing has to begin again.

    Raises ApiError `version_not_found`.
    """
    try:
        yield
    except VersionNotFound as error:
        if cursor is None:
            raise
        raise ApiError(
            error.code,
            f"this listing cannot go on: {error.message}",
            pointer="?cursor",
            hint="begin the listing again, without a cursor",
        ) from error
