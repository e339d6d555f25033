"""Digests of files, as RFC 9530 (`Repr-Digest`) writes them."""

import base64
import hashlib
from typing import BinaryIO, Final

_BLOCK: Final = 1 << 20


def digest_of(file: BinaryIO) -> str:
    """A file's SHA-256; the file stands at its begin again."""
    found = hashlib.sha256()
    while block := file.read(_BLOCK):
        found.update(block)
    file.seek(0)
    return digest_text(found.digest())


def digest_text(digest: bytes) -> str:
    """A SHA-256 as a header's value."""
    return f"sha-256=:{base64.b64encode(digest).decode()}:"
