"""How large keys and values may be, and what is said about those that are not keys or values."""

from typing import Final

from btree.errors import InvalidKey, InvalidValue, KeyTooLarge, ValueTooLarge

MAX_KEY: Final = 1024
"""Bytes."""
MAX_VALUE: Final = 16 << 20
"""Bytes."""


def bad_key(key: object) -> InvalidKey:
    """Why this is no key."""
    if not isinstance(key, bytes):
        return InvalidKey(f"a key is bytes, not {type(key).__name__}")
    message = f"a key is at most {MAX_KEY} bytes, this is {len(key)}"
    return KeyTooLarge(message, hint="use a shorter key", size=len(key), limit=MAX_KEY)


def bad_value(value: object) -> InvalidValue:
    """Why this is no value."""
    if not isinstance(value, bytes):
        return InvalidValue(f"a value is bytes, not {type(value).__name__}")
    if len(value) > MAX_VALUE:
        message = f"a value is at most {MAX_VALUE} bytes, this is {len(value)}"
        return ValueTooLarge(message, hint="divide the record", size=len(value), limit=MAX_VALUE)
    return InvalidValue("a value is a JSON text without raw line breaks", hint="write it compactly")
