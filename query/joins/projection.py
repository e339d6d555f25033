"""Fields of joined rows: `left.name`, `right.total AS total`, `left`.

Fields of the sides' records are taken as they stand in the JSON: of each side an object is decoded that has those fields as raw JSON, and
nothing else of the record is looked at. Deeper paths, and a side as a whole beside fields of it, are done by decoding (`query.fields`).
"""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec
import orjson

from query.values.fields import Projection
from query.values.members import attributes_of, is_plain, member_struct

_NULL: Final = msgspec.Raw(b"null")


class JoinedProjection(Projection):
    """The wanted fields of joined rows, in the order asked for; missing ones are null."""

    def __init__(self, wanted: Sequence[tuple[str, tuple[str, ...]]]) -> None:
        super().__init__(wanted)
        sides: dict[str, list[str]] = {}
        for _, path in wanted:
            sides.setdefault(path[0], []).extend(path[1:])
        whole = {path[0] for _, path in wanted if len(path) == 1}
        deep = any(len(path) > 2 for _, path in wanted)
        odd = not all(is_plain(name) for _, path in wanted for name in path)
        self._fast = not deep and not odd and not any(sides[name] for name in whole)
        if self._fast:
            self._prepare(wanted, sides)

    def _prepare(self, wanted: Sequence[tuple[str, tuple[str, ...]]], sides: dict[str, list[str]]) -> None:
        members: list[tuple[str, Any, Any]] = []
        attributes: dict[tuple[str, ...], str] = {}
        self._nulls: list[tuple[str, bytes, Any]] = []
        for at, (side, names) in enumerate(sides.items()):
            if not names:
                members.append((f"s{at}", msgspec.Raw, _NULL))
                attributes[(side,)] = f"s{at}"
                continue
            inside = attributes_of(dict.fromkeys(names))
            struct = member_struct(inside, (msgspec.Raw, _NULL))
            members.append((f"s{at}", struct | None, None))
            attributes |= {(side, name): f"s{at}.{attribute}" for name, attribute in inside.items()}
            self._nulls.append((f"s{at}", b"%b:null" % orjson.dumps(side), struct()))
        row = msgspec.defstruct("Row", members, rename={f"s{at}": side for at, side in enumerate(sides)}, gc=False)
        self._decode_rows = msgspec.json.Decoder(list[row]).decode  # type: ignore[valid-type]
        self._get: Callable[[Any], Any] = attrgetter(*(attributes[path] for _, path in wanted))
        names_json = [orjson.dumps(alias).replace(b"%", b"%%") for alias, _ in wanted]
        self._row = b"{" + b",".join(name + b":%b" for name in names_json) + b"}"
        self._single = len(wanted) == 1

    def run(self, run: bytes) -> bytes:
        """The same for JSON texts that are divided by `,\\n`."""
        if not self._fast or not run:
            return super().run(run)
        rows = self._decode_rows(b"[%b]" % run)
        for attribute, text, nulls in self._nulls:
            if text in run:  # it may stand elsewhere in a record too
                for row in rows:
                    if getattr(row, attribute) is None:
                        setattr(row, attribute, nulls)
        template, get = self._row, self._get
        if self._single:
            return b",\n".join([template % (get(row),) for row in rows])
        return b",\n".join([template % get(row) for row in rows])
