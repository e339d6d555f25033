"""Schemas of records: what a store promises about its records, in JSON Schema (draft 2020-12).

A schema is read once, and strictly: an unknown keyword, format or reference is an error, not a promise that nobody keeps. So `format`
is checked (JSON Schema leaves that open), references lead to places in the schema itself, and keywords of one's own begin with
`x-`. Records are checked by compiled closures (`script/schema_tests.py`); only one that fails is looked at again, for the reason.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, time
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final
from urllib.parse import unquote

import orjson
from jsonschema import Draft202012Validator, FormatChecker, SchemaError, ValidationError

from query.errors import InvalidRecord, InvalidSchema, did_you_mean, point
from query.stores.schema_inference import infer_schema
from script.schema_tests import NOTES, TYPES, compile_test

__all__ = ["FORMATS", "RecordSchema", "infer_schema"]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
_ONE: Final = frozenset(
    {"not", "if", "then", "else", "contains", "propertyNames", "additionalProperties", "items"}
    | {"unevaluatedItems", "unevaluatedProperties", "contentSchema"}
)
"""Keywords that hold a schema; the next two hold lists and objects of them."""
_LISTS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_VALUES: Final = frozenset(
    {"type", "enum", "const", "multipleOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength"}
    | {"maxLength", "pattern", "minItems", "maxItems", "uniqueItems", "minContains", "maxContains", "minProperties"}
    | {"maxProperties", "required", "dependentRequired", "format", "$ref"}
)
_KEYWORDS: Final = _ONE | _LISTS | _MAPS | _VALUES | NOTES
_INSTEAD: Final = {
    "definitions": "write $defs",
    "dependencies": "write dependentRequired or dependentSchemas",
    "$anchor": "refer to the place itself, as in #/$defs/name",
    "$dynamicRef": "write $ref",
    "nullable": 'write "type": ["string", "null"]',
}
_TIME: Final = r"\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"
_IS_TIME: Final = re.compile(_TIME, re.ASCII | re.IGNORECASE)
_IS_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]" + _TIME, re.ASCII | re.IGNORECASE)


def _is_date_time(value: object) -> bool:
    """RFC 3339, section 5.6; without leap seconds."""
    return not isinstance(value, str) or (_IS_DATE_TIME.fullmatch(value) is not None and _parses(datetime, value))


def _is_time(value: object) -> bool:
    return not isinstance(value, str) or (_IS_TIME.fullmatch(value) is not None and _parses(time, value))


def _parses(kind: type[datetime] | type[time], text: str) -> bool:
    try:
        kind.fromisoformat(text.upper())
    except ValueError:
        return False
    return True


def _format_checker() -> FormatChecker:
    checker = FormatChecker(formats=("date", "email", "ipv4", "ipv6", "regex", "uuid"))
    checker.checks("date-time")(_is_date_time)
    checker.checks("time")(_is_time)
    return checker


_CHECKER: Final = _format_checker()
FORMATS: Final = tuple(sorted(_CHECKER.checkers))


class RecordSchema:
    """A schema of records. Get one from `parse`.

    `fields` are the fields that a record may have, if the schema closes them with `"additionalProperties": false`; else None.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self.fields = _closed_fields(schema)
        self._validator = Draft202012Validator(schema, format_checker=_CHECKER)
        self._test = compile_test(self._validator)

    @classmethod
    def parse(cls, schema: Mapping[str, Any], pointer: str = "/schema") -> "RecordSchema":
        """Read a schema. Raises InvalidSchema with the place of what is wrong."""
        if not isinstance(schema, Mapping):
            raise InvalidSchema(f"a schema is an object, not {_short(schema)}", pointer=pointer)
        try:
            copy: dict[str, Any] = orjson.loads(orjson.dumps(dict(schema)))
            Draft202012Validator.check_schema(copy)
        except TypeError as error:
            raise InvalidSchema(f"the schema is no JSON: {error}", pointer=pointer) from None
        except RecursionError:
            raise InvalidSchema("the schema is nested too deeply to be read", pointer=pointer) from None
        except SchemaError as error:
            raise _no_schema(error, pointer) from None
        _check_top(copy, pointer)
        places = dict(_subschemas(copy, ""))
        for place, part in places.items():
            _check_keywords(part, places, pointer + place)
        _check_circles(places, pointer)
        return cls(copy)

    def check(self, record: Any, pointer: str = "") -> None:
        """Raises InvalidRecord with the place of the first problem, below `pointer`."""
        try:
            errors = [] if self._test(record) else list(self._validator.iter_errors(record))
        except RecursionError:
            raise InvalidRecord("the record is nested too deeply to be checked", pointer=pointer) from None
        if errors:
            raise _invalid(min(errors, key=lambda error: error.validator == "required"), pointer)


def _no_schema(error: SchemaError, pointer: str) -> InvalidSchema:
    path, hint = list(error.absolute_path), None
    if path[-1:] == ["type"] and path[-2:-1] != ["properties"] and isinstance(error.instance, str):
        hint = did_you_mean(error.instance, TYPES, "the types are")
    return InvalidSchema(f"this is no JSON Schema: {_trimmed(error.message)}", pointer=point(pointer, *path), hint=hint)


def _closed_fields(schema: Mapping[str, Any]) -> frozenset[str] | None:
    if schema.get("additionalProperties") is not False or schema.get("patternProperties"):
        return None
    return frozenset(schema.get("properties", ()))


def _check_top(schema: Mapping[str, Any], pointer: str) -> None:
    if schema.get("$schema", _DRAFT).rstrip("#") != _DRAFT:
        hint = f"write the schema in {_DRAFT}, or leave $schema out"
        raise InvalidSchema(
            f"schemas of the draft {schema['$schema']!r} are not read", pointer=point(pointer, "$schema"), hint=hint
        )
    if schema.get("type") not in ("object", ["object"]):
        raise InvalidSchema(
            "a record is an object, and so is what its schema describes", pointer=pointer, hint='write "type": "object"'
        )


def _subschemas(schema: Any, place: str) -> Iterator[tuple[str, Any]]:
    """A schema and all in it, with their places."""
    yield place, schema
    if isinstance(schema, bool):
        return
    for keyword, value in schema.items():
        if keyword in _ONE:
            yield from _subschemas(value, point(place, keyword))
        elif keyword in _LISTS:
            for index, part in enumerate(value):
                yield from _subschemas(part, point(place, keyword, index))
        elif keyword in _MAPS:
            for name, part in value.items():
                yield from _subschemas(part, point(place, keyword, name))


def _check_keywords(schema: Any, places: Mapping[str, Any], pointer: str) -> None:
    if isinstance(schema, bool):
        return
    top = schema is places[""]
    for keyword, value in schema.items():
        at = point(pointer, keyword)
        if keyword.startswith("x-"):
            continue
        if keyword not in _KEYWORDS or (keyword in ("$id", "$schema") and not top):
            raise _unknown_keyword(keyword, at)
        if keyword == "$ref" and not (value.startswith("#") and unquote(value[1:]) in places):
            hint = "a reference leads to a place in this schema, as #/$defs/name does"
            raise InvalidSchema(f"there is no schema {value!r}", pointer=at, hint=hint)
        if keyword == "format" and value not in FORMATS:
            near = get_close_matches(value, FORMATS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the formats are: {', '.join(FORMATS)}; or use a pattern"
            raise InvalidSchema(f"the format {value!r} is not known", pointer=at, hint=hint)


def _check_circles(places: Mapping[str, Any], pointer: str) -> None:
    """Schemas that lead back to themselves without going into the value would never be done with one."""
    ways = {place: set(_same_value(place, part)) for place, part in places.items()}
    try:
        TopologicalSorter(ways).prepare()
    except CycleError as error:
        circle = [place for place in dict.fromkeys(error.args[1]) if "$ref" in places[place]]
        message = "the references go round in a circle: " + ", ".join(f"#{place}" for place in circle)
        raise InvalidSchema(message, pointer=pointer + point(circle[0], "$ref")) from None


def _same_value(place: str, schema: Any) -> Iterator[str]:
    """The places of the schemas that the same value has to satisfy, or is tried on."""
    if isinstance(schema, bool):
        return
    if "$ref" in schema:
        yield unquote(schema["$ref"][1:])
    for keyword in ("not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas"):
        inner = schema.get(keyword)
        if keyword in _ONE and inner is not None:
            yield point(place, keyword)
        elif inner is not None:
            yield from (point(place, keyword, key) for key in (inner if keyword in _MAPS else range(len(inner))))


def _unknown_keyword(keyword: str, pointer: str) -> InvalidSchema:
    near = [] if keyword in _INSTEAD else get_close_matches(keyword, _KEYWORDS, n=1)
    hint = _INSTEAD.get(keyword, "keywords of your own begin with x-")
    if near and near[0] != keyword:
        hint = f"did you mean {near[0]!r}?"
    elif near:
        hint = f"{keyword} stands at the top only"
    return InvalidSchema(f"the keyword {keyword!r} is not known here", pointer=pointer, hint=hint)


def _invalid(error: ValidationError, pointer: str) -> InvalidRecord:
    """The error of a record, in our words where `jsonschema` repeats the value and no more."""
    path = list(error.absolute_path)
    name, hint = ".".join(map(str, path)) or "the record", None
    keyword, value = str(error.validator), error.instance
    wanted: Any = error.validator_value
    if keyword == "required":
        fields: Any = value
        missing = next(field for field in wanted if field not in fields)
        path.append(missing)
        message = f"the field {'.'.join(map(str, path))} is missing"
    elif keyword == "additionalProperties" and wanted is False:
        message, hint, unknown = _unknown_field(error, path)
        path.append(unknown)
    elif keyword == "enum":
        message = f"{name} is {_short(value)}, which is not among {', '.join(map(_short, wanted))}"
        texts = [known for known in wanted if isinstance(known, str)]
        near = get_close_matches(value, texts, n=1) if isinstance(value, str) else []
        hint = f"did you mean {near[0]!r}?" if near else None
    elif keyword in _WORDING:
        message = f"{name} is {_short(value)}, {_WORDING[keyword](wanted)}"
    else:
        message = f"{name}: {_trimmed(error.message)}"
    return InvalidRecord(message, pointer=point(pointer, *path), hint=hint, keyword=keyword)


def _unknown_field(error: ValidationError, path: list[str | int]) -> tuple[str, str, str]:
    """The message, the hint and the name for a field that a closed schema does not have."""
    schema: Any = error.schema
    known, patterns = list(schema.get("properties", ())), schema.get("patternProperties", ())
    fields: Any = error.instance
    unknown = next(
        field for field in fields if field not in known and not any(re.search(one, field) for one in patterns)
    )
    hint = did_you_mean(unknown, known, "the fields are")
    inside = f" in {'.'.join(map(str, path))}" if path else ""
    return f"there is no field {unknown!r}{inside}", hint, unknown


def _listed(names: Any) -> str:
    return names if isinstance(names, str) else " or ".join(names)


_WORDING: Final[dict[str, Callable[[Any], str]]] = {
    "type": lambda wanted: f"and has to be {_listed(wanted)}",
    "const": lambda wanted: f"and has to be {_short(wanted)}",
    "minimum": lambda bound: f"less than the minimum {bound}",
    "maximum": lambda bound: f"more than the maximum {bound}",
    "exclusiveMinimum": lambda bound: f"and has to be more than {bound}",
    "exclusiveMaximum": lambda bound: f"and has to be less than {bound}",
    "minLength": lambda bound: f"shorter than {bound} characters",
    "maxLength": lambda bound: f"longer than {bound} characters",
    "pattern": lambda pattern: f"which does not match {pattern}",
    "format": lambda name: f"which is no {name}",
}


def _short(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _trimmed(text: str) -> str:
    return text if len(text) <= 200 else text[:197] + "..."
