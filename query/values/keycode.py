"""Keys as bytes that sort like their values.

    null < false < true < numbers < strings < arrays < objects

    null 01 | false 02 | true 03
    number 10, eight bytes, two bytes     the nearest double not above it, ordered; then the rest, for ints beyond 2**53
    string 20, UTF-8, 00 00               a zero byte inside is written 00 ff; UTF-8 sorts by code point
    array  30, elements, 00
    object 38, name (as a string) and value of each field in the order of the names, 00        for sorting and indexes only

int and float compare by value, so 1 and 1.0 are one key; a key that is a whole number is read back as an int. A composite key is
the concatenation of its parts: a prefix of the parts is a prefix of the bytes, and everything under it lies
between `encode(prefix)` and `encode(prefix) + ff`.

`encode` is for primary keys, and takes what can be one; `encode_any` takes any JSON value. The encodings are prefix-free: none is the
beginning of another one.
"""

import math
import struct
import sys
from collections.abc import Sequence
from typing import Any, Final

from query.errors import InvalidKeyValue

KeyValue = None | bool | int | float | str | list[Any]

_NULL, _FALSE, _TRUE, _NUMBER, _STRING, _ARRAY = b"\x01", b"\x02", b"\x03", b"\x10", b"\x20", b"\x30"
_OBJECT: Final = b"\x38"
_DOUBLE: Final = struct.Struct(">Q")
_SHORT: Final = struct.Struct(">BdH")
_EXACT: Final = 1 << 53
COMPLEMENT: Final = bytes(range(255, -1, -1))
"""For `bytes.translate`: every byte's complement."""
_IEEE: Final = struct.Struct(">d")
_REST: Final = struct.Struct(">H")
_EXACTLY: Final = struct.Struct(">BQH").pack
_SIGN: Final = 1 << 63
_LARGEST: Final = 1 << 64


def encode(values: Sequence[Any]) -> bytes:
    """The bytes of a composite key. Raises InvalidKeyValue."""
    return b"".join([_encode(value) for value in values])


def prefix_range(values: Sequence[Any]) -> tuple[bytes, bytes]:
    """The keys that begin with these parts: from the first, up to but without the second."""
    lower = encode(values)
    return lower, lower + b"\xff"


def encode_any(value: Any) -> bytes:
    """The bytes of any JSON value. Raises InvalidKeyValue for what is none."""
    if isinstance(value, dict):
        return _OBJECT + b"".join([_encode(name) + encode_any(value[name]) for name in sorted(value)]) + b"\x00"
    if isinstance(value, list | tuple):
        return _ARRAY + b"".join([encode_any(element) for element in value]) + b"\x00"
    return _encode(value)


def encode_many(values: Sequence[Any]) -> list[bytes]:
    """`encode_any` of each value. Texts, or numbers from 0 that a double holds, are done together, several times faster.

    Raises InvalidKeyValue.
    """
    kinds = set(map(type, values))
    if kinds == {str}:
        try:
            data = "\x00\x00 ".join(values).encode()
        except UnicodeEncodeError:
            raise InvalidKeyValue("the text has a lone surrogate, which is no character") from None
        if data.count(b"\x00") == 2 * len(values) - 2:
            return [b" %b\x00\x00" % part for part in data.split(b"\x00\x00 ")]
    elif kinds and kinds <= {int, float} and min(values) >= 0 and max(values) <= _EXACT:
        bits = struct.unpack(f">{len(values)}Q", struct.pack(f">{len(values)}d", *values))
        return [_EXACTLY(16, each | _SIGN, 0) for each in bits]
    return [encode_any(value) for value in values]


def skip(key: bytes, parts: int, at: int = 0) -> int:
    """Where the part begins that comes `parts` parts behind the one that begins at `at`. Raises InvalidKeyValue for what is no key."""
    for _ in range(parts):
        at = _end(key, at)
    return at


def decode(key: bytes) -> list[Any]:
    """The parts of a key."""
    values, at = [], 0
    while at < len(key):
        value, at = _decode(key, at)
        values.append(value)
    return values


def _encode(value: Any) -> bytes:
    kind = value.__class__
    if kind is str and "\x00" not in value:
        try:
            return f"\x20{value}\x00\x00".encode()
        except UnicodeEncodeError:
            pass
    elif (kind is int and -_EXACT <= value <= _EXACT) or (kind is float and abs(value) <= sys.float_info.max):
        # the sign bit of a double from 0 on is set by negating it; a double below 0 is complemented
        if value >= 0:
            return _SHORT.pack(0x10, -(value + 0.0), 0)
        return _SHORT.pack(0xEF, value, 0xFFFF).translate(COMPLEMENT)
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int | float):
        return _NUMBER + _number(value)
    if isinstance(value, str):
        return _STRING + _text(value) + b"\x00\x00"
    if isinstance(value, list | tuple):
        return _ARRAY + encode(value) + b"\x00"
    raise InvalidKeyValue(
        f"{type(value).__name__} cannot be part of a key",
        hint="keys are null, true, false, numbers, strings and lists of them",
    )


def _text(value: str) -> bytes:
    try:
        data = value.encode()
    except UnicodeEncodeError:
        raise InvalidKeyValue("the text has a lone surrogate, which is no character") from None
    return data.replace(b"\x00", b"\x00\xff") if b"\x00" in data else data


def _number(value: float) -> bytes:
    if isinstance(value, int):
        if not -_LARGEST // 2 <= value < _LARGEST:
            raise InvalidKeyValue(f"{value} is not a 64-bit integer")
        below = float(value)
        if int(below) > value:
            below = math.nextafter(below, -math.inf)
        rest = value - int(below)
    else:
        if not math.isfinite(value):
            raise InvalidKeyValue(f"{value} cannot be a key")
        below, rest = value, 0
    (bits,) = _DOUBLE.unpack(_IEEE.pack(below + 0.0))
    ordered = bits ^ (2 * _SIGN - 1) if bits & _SIGN else bits | _SIGN
    return _DOUBLE.pack(ordered) + _REST.pack(rest)


def _end(key: bytes, at: int) -> int:
    """Where the part that begins at `at` ends."""
    tag = key[at : at + 1]
    if tag == _NUMBER:
        return at + 11
    if tag == _STRING:  # a zero byte inside is followed by ff, and so never by another one
        return key.index(b"\x00\x00", at + 1) + 2
    if tag in (_NULL, _FALSE, _TRUE):
        return at + 1
    if tag in (_ARRAY, _OBJECT):
        at += 1
        while key[at] != 0:
            at = _end(key, at)
        return at + 1
    raise InvalidKeyValue(f"this is no key: tag {tag.hex()}")


def _decode(key: bytes, at: int) -> tuple[Any, int]:
    tag = key[at : at + 1]
    at += 1
    if tag in (_NULL, _FALSE, _TRUE):
        return {_NULL: None, _FALSE: False, _TRUE: True}[tag], at
    if tag == _NUMBER:
        return _decode_number(key[at : at + 10]), at + 10
    if tag == _STRING:
        end = key.index(b"\x00", at)
        while key[end + 1] == 0xFF:
            end = key.index(b"\x00", end + 2)
        return key[at:end].replace(b"\x00\xff", b"\x00").decode(), end + 2
    if tag == _OBJECT:
        found: dict[str, Any] = {}
        while key[at] != 0:
            name, at = _decode(key, at)
            found[name], at = _decode(key, at)
        return found, at + 1
    if tag == _ARRAY:
        values: list[Any] = []
        while key[at] != 0:
            value, at = _decode(key, at)
            values.append(value)
        return values, at + 1
    raise InvalidKeyValue(f"this is no key: tag {tag.hex()}")


def _decode_number(data: bytes) -> int | float:
    (ordered,) = _DOUBLE.unpack_from(data)
    bits = ordered ^ _SIGN if ordered & _SIGN else ordered ^ (2 * _SIGN - 1)
    (below,) = _IEEE.unpack(_DOUBLE.pack(bits))
    if -(2.0**63) <= below < 2.0**64 and below == int(below):
        return int(below) + int(_REST.unpack_from(data, 8)[0])
    return float(below)
