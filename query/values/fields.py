"""Fields of records: names against a declared schema, and projections (`a`, `a.b`, `a AS x`).

A projection of top-level fields works on pages: the run of JSON texts is decoded to objects that hold those fields as raw JSON,
and nothing else of the record is looked at.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
import orjson

from query.errors import InvalidQuery, did_you_mean
from query.values.members import attributes_of, is_plain, member_struct
from query.values.values import MISSING, follow

_NULL: Final = msgspec.Raw(b"null")
_decode_whole: Final[Callable[[bytes], list[dict[str, Any]]]] = msgspec.json.Decoder(list[dict[str, Any]]).decode


def check_field(path: str, fields: Collection[str] | None, pointer: str) -> None:
    """Refuse a path whose first name a closed schema does not have. Raises InvalidQuery with the nearest name."""
    name = path.partition(".")[0]
    if fields is None or name in fields:
        return
    hint = did_you_mean(name, sorted(fields), "its fields are")
    raise InvalidQuery(f"the store's schema has no field {name!r}", pointer=pointer, hint=hint)


class Projection:
    """The wanted fields of records, in the order asked for; missing ones are null."""

    def __init__(self, wanted: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        self._wanted = wanted
        self._flat = all(len(path) == 1 for _, path in wanted)
        roots = list(dict.fromkeys(path[0] for _, path in wanted))
        self._whole = not all(map(is_plain, roots))
        attributes = attributes_of(() if self._whole else roots)
        struct = member_struct(attributes, (msgspec.Raw, _NULL) if self._flat else (Any, MISSING), gc=not self._flat)
        self._decode = msgspec.json.Decoder(list[struct]).decode  # type: ignore[valid-type]
        self._same = (
            self._flat
            and [alias for alias, _ in wanted] == [path[0] for _, path in wanted]
            and len(roots) == len(wanted)
        )
        self._encode = msgspec.json.Encoder().encode_lines
        names = [orjson.dumps(alias).replace(b"%", b"%%") for alias, _ in wanted]
        self._template = b"{" + b",".join(name + b":%b" for name in names) + b"}"
        self._attributes = [] if self._whole else [attributes[path[0]] for _, path in wanted]

    @property
    def wanted(self) -> Sequence[tuple[str, tuple[str, ...]]]:
        """The fields: name in the projected record, and path."""
        return self._wanted

    @property
    def columns(self) -> list[str]:
        """The names of the fields of a projected record."""
        return [alias for alias, _ in self._wanted]

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The wanted fields of a record."""
        found = ((alias, follow(record, path)) for alias, path in self._wanted)
        return {alias: None if value is MISSING else value for alias, value in found}

    def run(self, run: bytes) -> bytes:
        """The same for JSON texts that are divided by `,\\n`."""
        if not run:
            return run
        if self._whole:
            return b",\n".join([orjson.dumps(self.record(row)) for row in _decode_whole(b"[%b]" % run)])
        rows = self._decode(b"[%b]" % run)
        if self._same:
            return self._encode(rows).replace(b"\n", b",\n")[:-2]
        if self._flat:
            template, attributes = self._template, self._attributes
            return b",\n".join([template % tuple([getattr(row, name) for name in attributes]) for row in rows])
        return b",\n".join([orjson.dumps(self._nested(row)) for row in rows])

    def _nested(self, row: Any) -> dict[str, Any]:
        found = {}
        for (alias, path), attribute in zip(self._wanted, self._attributes, strict=True):
            value = getattr(row, attribute)
            for name in path[1:]:
                value = follow(value, (name,)) if value is not MISSING else MISSING
            found[alias] = None if value is MISSING else value
        return found


def partial_decoder(fields: Collection[str]) -> Callable[[bytes], list[dict[str, Any]]]:
    """A function from a JSON array of records to records with some fields only, as far as they have them."""
    names = sorted(fields)
    if not all(map(is_plain, names)):
        return _decode_whole
    attributes = attributes_of(names)
    decode = msgspec.json.Decoder(list[member_struct(attributes, (Any, MISSING))]).decode  # type: ignore[misc]
    pairs = list(attributes.items())

    def partial(array: bytes) -> list[dict[str, Any]]:
        return [
            {name: value for name, attribute in pairs if (value := getattr(row, attribute)) is not MISSING}
            for row in decode(array)
        ]

    return partial


def compile_projection(fields: Sequence[str] | None, known: Collection[str] | None = None) -> Projection | None:
    """The projection that `fields` asks for; None for all fields. Raises InvalidQuery."""
    if fields is None or fields == ["*"]:
        return None
    if isinstance(fields, str) or not isinstance(fields, Sequence):
        raise InvalidQuery("fields is a list of field names", pointer="/fields")
    wanted: list[tuple[str, tuple[str, ...]]] = []
    taken: set[str] = set()
    for at, field in enumerate(fields):
        pointer = f"/fields/{at}"
        if not isinstance(field, str) or not field.strip():
            raise InvalidQuery(f"{field!r} is no field; write name, or name AS alias", pointer=pointer)
        words = field.split()
        if len(words) == 3 and words[1].lower() == "as":
            name, alias = words[0], words[2]
        elif len(words) == 1:
            name = alias = words[0]
        else:
            raise InvalidQuery(f"{field!r} is no field; write name, or name AS alias", pointer=pointer)
        if alias in taken:
            raise InvalidQuery(
                f"two fields would be called {alias!r}", pointer=pointer, hint="name one: field AS alias"
            )
        check_field(name, known, pointer)
        taken.add(alias)
        wanted.append((alias, tuple(name.split("."))))
    if not wanted:
        raise InvalidQuery("fields is empty", pointer="/fields", hint='leave it out for all, or ["*"]')
    return Projection(wanted)
