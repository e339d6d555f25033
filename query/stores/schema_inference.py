"""What records look like: a JSON Schema of a sample, for people and models that are to write a filter, an update or a schema.

Each place has its types, as a sorted list; objects have their fields, and those that were always there as `required`; arrays
have one schema for all of their elements. Every record of the sample is valid under it, and every type in it was seen. `number` takes in
`integer` where both were seen. Memory grows with the different places of the sample, not with its records.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

DEPTH: Final = 4

_NAMES: Final[dict[type, str]] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
}


def infer_schema(records: Iterable[Mapping[str, Any]], *, depth: int = DEPTH, ranges: bool = False) -> dict[str, Any]:
    """The schema of a sample of records.

    Objects and arrays more than `depth` levels inside of a record are `object` and `array` without more. `ranges` adds the
    least and the greatest of the numbers of a place, as `minimum` and `maximum`.
    """
    whole = _Place()
    for record in records:
        whole.see(record, depth)
    return {**whole.schema(ranges), "type": "object"}


class _Place:
    """What was seen in one place of the records."""

    def __init__(self) -> None:
        self.types: set[str] = set()
        self.objects = 0
        self.fields: dict[str, _Place] = {}
        self.counts: dict[str, int] = {}
        self.elements: _Place | None = None
        self.least: float | None = None
        self.greatest: float | None = None

    def see(self, value: Any, depth: int) -> None:
        """Take one value in; `depth` levels are left to go inside."""
        kind = _NAMES.get(type(value), "object")
        self.types.add(kind)
        if kind in ("integer", "number"):
            self.least = value if self.least is None else min(self.least, value)
            self.greatest = value if self.greatest is None else max(self.greatest, value)
        elif kind == "object" and depth >= 0:
            self._see_object(value, depth)
        elif kind == "array" and depth >= 0:
            for element in value:
                self.elements = self.elements or _Place()
                self.elements.see(element, depth - 1)

    def _see_object(self, value: Mapping[str, Any], depth: int) -> None:
        self.objects += 1
        for name, element in value.items():
            place = self.fields.get(name)
            if place is None:
                place = self.fields[name] = _Place()
            self.counts[name] = self.counts.get(name, 0) + 1
            place.see(element, depth - 1)

    def schema(self, ranges: bool) -> dict[str, Any]:
        """The schema of what was seen."""
        kinds = self.types - {"integer"} if "number" in self.types else self.types
        found: dict[str, Any] = {"type": sorted(kinds)}
        if self.objects:
            found["properties"] = {name: place.schema(ranges) for name, place in self.fields.items()}
            found["required"] = [name for name, count in self.counts.items() if count == self.objects]
        if self.elements is not None:
            found["items"] = self.elements.schema(ranges)
        if ranges and self.least is not None:
            found |= {"minimum": self.least, "maximum": self.greatest}
        return found
