"""Keys with ids: AES-256-GCM, of which the first encrypts and all of them decrypt.

    first=<32 bytes in base64>,second=...        as a setting; in a file also one a line

To change a key, put a new one in front and keep the old one until nothing is encrypted with it any more. What is encrypted is bound to
what it is about (`about`): a text of one name is none of another one.
"""

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from toolbox.private_files import made_once

KEY_FILE: Final = "secrets-key"
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_SIZE: Final = 32
_NONCE: Final = 12


class Unreadable(Exception):
    """A text that none of the keys opens. Its message says why, and has nothing secret."""


class Keyring:
    """Keys by id, the current one first."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = dict(keys)
        self.current = next(iter(self._keys))

    @classmethod
    def parse(cls, text: str, name: str) -> "Keyring":
        """The keys of a text; `name` is where it is from. Raises ValueError, which does not repeat it."""
        keys: dict[str, bytes] = {}
        for part in filter(None, (part.strip() for part in re.split(r"[,\n]", text))):
            number, sign, encoded = part.partition("=")
            try:
                key = base64.b64decode(encoded, validate=True)
            except (binascii.Error, ValueError):
                key = b""
            if not sign or not _ID.fullmatch(number) or number in keys or len(key) != _SIZE:
                raise ValueError(f"{name} is id=<32 bytes in base64>, divided by commas, each id once")
            keys[number] = key
        if not keys:
            raise ValueError(f"{name} has no key")
        return cls(keys)

    def encrypt(self, plain: bytes, about: bytes) -> tuple[str, bytes]:
        """The id of the current key, and what only who has it, and knows what it is about, can read."""
        nonce = secrets.token_bytes(_NONCE)
        return self.current, nonce + self._ciphers[self.current].encrypt(nonce, plain, about)

    def decrypt(self, key: str, data: bytes, about: bytes) -> bytes:
        """What was encrypted. Raises Unreadable."""
        cipher = self._ciphers.get(key)
        if cipher is None:
            known = ", ".join(self._keys)
            raise Unreadable(f"it was encrypted with the key {key[:40]!r}, which is not there (there are: {known})")
        try:
            return cipher.decrypt(data[:_NONCE], data[_NONCE:], about)
        except (InvalidTag, ValueError):
            raise Unreadable(
                f"the key {key!r} does not open it: it is another key of this id, or was changed"
            ) from None

    @cached_property
    def _ciphers(self) -> dict[str, AESGCM]:
        return {number: AESGCM(key) for number, key in self._keys.items()}


def installation_keyring(data_dir: Path, setting: str | None) -> Keyring:
    """The keys that secrets are encrypted with: those of the setting, or of a file of the data directory, which is made at the first use.

    Raises ValueError.
    """
    if setting is not None:
        return Keyring.parse(setting, "SOP_SECRETS_KEYS")
    path = data_dir / KEY_FILE
    return Keyring.parse(made_once(path, _made).decode("utf-8", "replace"), str(path))


def _made() -> bytes:
    return b"file-%b=%b\n" % (secrets.token_hex(4).encode(), base64.b64encode(secrets.token_bytes(_SIZE)))
