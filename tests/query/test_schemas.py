"""Schemas of records: compiled tests against `jsonschema`, strict reading, clear refusals, and schemas of samples."""

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from query.errors import InvalidRecord, InvalidSchema
from query.stores.schemas import FORMATS, RecordSchema, infer_schema
from script.schema_tests import TYPES, compile_test

PAGE = (Path(__file__).parents[2] / "docs" / "updates.md").read_text(encoding="utf-8")
ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "name": {"type": "string"},
        "status": {"enum": ["open", "paid", None]},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}, "additionalProperties": False},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 3}},
        "day": {"format": "date"},
        "kids": {"type": "array", "items": {"$ref": "#"}},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "required": ["id", "name"],
    "additionalProperties": False,
}

names = st.sampled_from(["a", "b", "c", "d"])
scalars = st.sampled_from(
    [None, True, False, 0, 1, -1, 2, 2**53 + 1, 0.0, 1.0, -0.5, 1.5, 1e300, "", "a", "ab", "ü", "2026-01-31"]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3), max_leaves=6
)
records = st.dictionaries(names, values, max_size=4)

types = st.sampled_from(sorted(TYPES))
numbers = st.sampled_from([-1, 0, 1, 0.5, 1.0])
lengths = st.integers(0, 2)


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": types | st.lists(types, min_size=1, max_size=3, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3) | st.lists(st.sampled_from(["", "a", "ab"]), min_size=1),
        "const": values,
        **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], numbers),
        **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems"], lengths),
        "pattern": st.sampled_from(["a", "^a$", "."]),
        "format": st.sampled_from(["date", "email"]),
        "properties": st.dictionaries(names, inner, max_size=3),
        "required": st.lists(names, max_size=2, unique=True),
        "additionalProperties": inner,
        "items": inner,
        "title": st.just("a title"),
        "x-note": st.just({"requird": 1}),
        "anyOf": st.lists(inner, min_size=1, max_size=2),
        "not": inner,
        "uniqueItems": st.booleans(),
        "patternProperties": st.dictionaries(st.sampled_from(["a", "^b"]), inner, max_size=1),
        "unevaluatedProperties": st.booleans(),
    }
    return st.sets(st.sampled_from(sorted(keywords)), max_size=4).flatmap(
        lambda chosen: st.fixed_dictionaries({keyword: keywords[keyword] for keyword in sorted(chosen)})
    )


subschemas = st.recursive(st.booleans(), schemas, max_leaves=5)
objects = st.tuples(schemas(subschemas), subschemas, subschemas).map(
    lambda parts: {"properties": {"a": parts[1], "b": parts[2]}, **parts[0], "type": "object"}
)


@settings(deadline=None, max_examples=400)
@given(subschemas, values)
def test_the_compiled_test_accepts_what_jsonschema_accepts(schema: Any, value: Any) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    assert compile_test(validator)(value) == validator.is_valid(value)


@settings(deadline=None, max_examples=300)
@given(
    st.dictionaries(
        st.sampled_from(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]), numbers, min_size=1, max_size=2
    ),
    st.sampled_from([-1, -1.0, 0, 0.0, 0.5, 1, 1.0, True, 2]),
    st.dictionaries(
        st.sampled_from(["minLength", "maxLength", "minItems", "maxItems"]), lengths, min_size=1, max_size=2
    ),
    st.sampled_from(["", "ü", "ab", "abc", [], [1], [1, 2], [1, 2, 3]]),
)
def test_bounds_are_those_of_jsonschema(bounds: Any, number: Any, sizes: Any, sized: Any) -> None:
    for schema, value in ((bounds, number), (sizes, sized)):
        validator = Draft202012Validator(schema)
        assert compile_test(validator)(value) == validator.is_valid(value)


@settings(deadline=None, max_examples=300)
@given(objects, records)
def test_a_record_is_refused_where_jsonschema_refuses_it(schema: dict[str, Any], record: Any) -> None:
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    try:
        RecordSchema.parse(schema).check(record, "/record")
    except InvalidRecord as error:
        assert not validator.is_valid(record)
        assert error.pointer is not None and error.pointer.startswith("/record")
    else:
        assert validator.is_valid(record)


@pytest.mark.parametrize(
    ("schema", "value", "valid"),
    [
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 1.5, False),
        ({"type": "integer"}, True, False),
        ({"type": "number"}, False, False),
        ({"type": ["integer", "string"]}, 2.0, True),
        ({"enum": [1]}, True, False),
        ({"enum": [1]}, 1.0, True),
        ({"const": [0]}, [False], False),
        ({"minimum": 5}, "text", True),
        ({"minimum": 5}, True, True),
        ({"required": ["a"]}, [], True),
    ],
)
def test_the_standards_corners(schema: Any, value: Any, valid: bool) -> None:
    assert compile_test(Draft202012Validator(schema))(value) is valid


def test_a_record_of_a_subclass_of_dict_is_a_record() -> None:
    RecordSchema.parse(ORDER).check(OrderedDict(id=1, name="x", address=OrderedDict(city="Rome")))
    for schema in ({"required": ["a"]}, {"properties": {"b": {"type": "string"}}}):
        assert not compile_test(Draft202012Validator(schema))(OrderedDict(b=1))


def test_the_fields_of_a_closed_schema() -> None:
    assert RecordSchema.parse(ORDER).fields == frozenset(ORDER["properties"])
    assert RecordSchema.parse({"type": "object", "properties": {"a": {}}}).fields is None
    assert RecordSchema.parse({"type": "object", "additionalProperties": False}).fields == frozenset()
    assert RecordSchema.parse({"type": "object", "additionalProperties": {"type": "string"}}).fields is None
    by_pattern = {"type": "object", "patternProperties": {"^x": {}}, "additionalProperties": False}
    assert RecordSchema.parse(by_pattern).fields is None


def test_the_documented_schema() -> None:
    schema = next(orjson.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"$defs"' in text)
    parsed = RecordSchema.parse(schema)
    parsed.check({"id": 1, "name": "Ann", "status": "paid", "ordered": None, "lines": [{"item": 1}]})
    with pytest.raises(InvalidRecord, match=r"lines\.0\.item is missing"):
        parsed.check({"id": 1, "name": "Ann", "lines": [{}]})
    assert [name for name in FORMATS if f"`{name}`" not in PAGE] == []


@pytest.mark.parametrize(
    ("change", "pointer", "message", "hint"),
    [
        ({"nmae": 1}, "/nmae", "there is no field 'nmae'", "did you mean 'name'?"),
        ({"zzz": 1}, "/zzz", "there is no field 'zzz'", "the fields are: id, name,"),
        ({"address": {"ctiy": 1}}, "/address/ctiy", "there is no field 'ctiy' in address", "did you mean 'city'?"),
        ({"id": True}, "/id", "id is true, and has to be integer", None),
        ({"id": 0}, "/id", "id is 0, less than the minimum 1", None),
        ({"name": None}, "/name", "name is null, and has to be string", None),
        (
            {"status": "piad"},
            "/status",
            'status is "piad", which is not among "open", "paid", null',
            "did you mean 'paid'?",
        ),
        ({"status": 5}, "/status", "status is 5, which is not among", None),
        ({"tags": ["x", "long"]}, "/tags/1", 'tags.1 is "long", longer than 3 characters', None),
        ({"day": "31.1.2026"}, "/day", 'day is "31.1.2026", which is no date', None),
        ({"kids": [{"id": 2}]}, "/kids/0/name", "the field kids.0.name is missing", None),
        ({"kids": [{"id": 2, "name": 3}]}, "/kids/0/name", "kids.0.name is 3, and has to be string", None),
        ({"either": [1] * 1000}, "/either", "either: ", None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_refusal_tells_place_reason_and_remedy(change: Any, pointer: str, message: str, hint: str | None) -> None:
    with pytest.raises(InvalidRecord) as caught:
        RecordSchema.parse(ORDER).check({"id": 1, "name": "x", **change}, "/record")
    assert caught.value.pointer == f"/record{pointer}"
    assert caught.value.message.startswith(message)
    assert len(caught.value.message) < 300
    assert (caught.value.hint or "").startswith(hint or "")
    assert (caught.value.hint is None) == (hint is None)


def test_a_misspelt_field_is_told_before_the_missing_one() -> None:
    with pytest.raises(InvalidRecord) as caught:
        RecordSchema.parse(ORDER).check({"id": 1, "nmae": "x"})
    assert (caught.value.pointer, caught.value.hint) == ("/nmae", "did you mean 'name'?")


def test_what_is_no_record() -> None:
    wrong: list[Any] = [[], None, "x"]
    for value in wrong:
        with pytest.raises(InvalidRecord, match="has to be object"):
            RecordSchema.parse({"type": "object"}).check(value)


def test_a_pointer_is_escaped() -> None:
    schema = {"type": "object", "properties": {"a/b~": {"type": "string"}}}
    with pytest.raises(InvalidRecord) as caught:
        RecordSchema.parse(schema).check({"a/b~": 1})
    assert caught.value.pointer == "/a~1b~0"


@pytest.mark.parametrize(
    ("schema", "pointer", "told"),
    [
        (True, "", "a schema is an object"),
        ([], "", "a schema is an object"),
        ({}, "", '"type": "object"'),
        ({"type": "array"}, "", '"type": "object"'),
        ({"type": ["object", "null"]}, "", '"type": "object"'),
        ({"type": "object", "requird": ["a"]}, "/requird", "did you mean 'required'?"),
        (
            {"type": "object", "properties": {"a": {"minLenght": 1}}},
            "/properties/a/minLenght",
            "did you mean 'minLength'?",
        ),
        (
            {"type": "object", "properties": {"a": {"items": {"nullable": True}}}},
            "/properties/a/items/nullable",
            '"null"',
        ),
        ({"type": "object", "anyOf": [{}, {"colour": 1}]}, "/anyOf/1/colour", "begin with x-"),
        ({"type": "object", "definitions": {}}, "/definitions", "write $defs"),
        ({"type": "object", "properties": {"a": {"$id": "x"}}}, "/properties/a/$id", "at the top only"),
        ({"type": "object", "properties": {"a": {"type": "strng"}}}, "/properties/a/type", "did you mean 'string'?"),
        ({"type": "object", "required": "a"}, "/required", "no JSON Schema"),
        ({"type": "object", "properties": {"a": {"minimum": "1"}}}, "/properties/a/minimum", "no JSON Schema"),
        ({"type": "object", "properties": {"a": {"pattern": "("}}}, "/properties/a/pattern", "regex"),
        ({"type": "object", "patternProperties": {"(": {}}}, "/patternProperties", "regex"),
        (
            {"type": "object", "properties": {"a": {"format": "date-tme"}}},
            "/properties/a/format",
            "did you mean 'date-time'?",
        ),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/s"}}}, "/properties/a/$ref", "no schema"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/b"}}}, "/properties/a/$ref", "no schema"),
        (
            {"type": "object", "default": {}, "properties": {"a": {"$ref": "#/default"}}},
            "/properties/a/$ref",
            "no schema",
        ),
        ({"type": "object", "$ref": "#"}, "/$ref", "circle"),
        ({"type": "object", "allOf": [{"not": {"$ref": "#"}}]}, "/allOf/0/not/$ref", "circle"),
        ({"type": "object", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "/$defs/", "circle"),
        ({"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"}, "/$schema", "draft-07"),
        ({"type": "object", "default": {1, 2}}, "", "no JSON"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_schema_is_read_strictly(schema: Any, pointer: str, told: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        RecordSchema.parse(schema, "/args/schema")
    assert (caught.value.pointer or "").startswith(f"/args/schema{pointer}")
    assert pointer.endswith("/") or caught.value.pointer == f"/args/schema{pointer}"
    assert told in f"{caught.value.message} {caught.value.hint}"


def test_a_schema_too_deep_to_read_is_refused() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(120):
        schema = {"type": "object", "properties": {"a": schema}}
    with pytest.raises(InvalidSchema, match="too deeply"):
        RecordSchema.parse(schema)


def test_a_schema_of_this_draft_with_words_of_its_own_is_read() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:x",
        "x-owner": "me",
        "type": "object",
    }
    parsed = RecordSchema.parse(schema | {"properties": {"kid": {"$ref": "#"}}})
    parsed.check({"kid": {"kid": {}}})
    with pytest.raises(InvalidRecord):
        parsed.check({"kid": {"kid": 1}})


def test_a_schema_is_not_changed_by_its_owner_afterwards() -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    parsed = RecordSchema.parse(schema)
    schema["properties"]["a"]["type"] = "integer"
    parsed.check({"a": "x"})
    assert parsed.schema["properties"]["a"] == {"type": "string"}


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("date-time", ["2026-01-31T10:00:00Z", "2026-01-31t10:00:00.123+02:00", "2026-01-31t10:00:00z"], ["2026-01-31", "2026-01-31T10:00:00", "2026-02-30T10:00:00Z", "2026-W05-6T10:00:00Z"]),
        ("time", ["10:00:00Z", "10:00:00z", "10:00:00-03:30"], ["10:00:00", "25:00:00Z", "10:00Z"]),
        ("date", ["2026-01-31"], ["2026-02-30", "20260131"]),
        ("uuid", ["6f1c1a52-94b1-4a29-8d0e-7a7f1c0f8f5e"], ["6f1c1a52"]),
        ("email", ["a@example.com"], ["a"]),
        ("ipv4", ["127.0.0.1"], ["127.0.0.256"]),
        ("ipv6", ["::1"], ["::g"]),
        ("regex", ["a+"], ["("]),
    ],
)  # fmt: skip
def test_formats_are_checked(kind: str, good: list[str], bad: list[str]) -> None:
    parsed = RecordSchema.parse({"type": "object", "properties": {"a": {"format": kind}}})
    for value in (*good, 5, None):
        parsed.check({"a": value})
    for value in bad:
        with pytest.raises(InvalidRecord, match=f"which is no {kind}"):
            parsed.check({"a": value})


def test_every_format_is_tried() -> None:
    tried = next(mark for mark in test_formats_are_checked.pytestmark if mark.name == "parametrize").args[1]  # type: ignore[attr-defined]
    assert {kind for kind, _, _ in tried} == set(FORMATS)


def test_a_record_too_deep_to_look_at_is_refused() -> None:
    parsed = RecordSchema.parse({"type": "object", "properties": {"a": {"$ref": "#"}}})
    record: dict[str, Any] = {}
    for _ in range(2000):
        record = {"a": record}
    with pytest.raises(InvalidRecord, match="too deeply"):
        parsed.check(record)


@settings(deadline=None)
@given(st.lists(records, max_size=8), st.integers(0, 4), st.booleans())
def test_a_sample_is_valid_under_its_schema(sample: list[Any], depth: int, ranges: bool) -> None:
    schema = infer_schema(sample, depth=depth, ranges=ranges)
    parsed = RecordSchema.parse(schema)
    for record in sample:
        parsed.check(record)


@settings(deadline=None)
@given(st.lists(records, min_size=1, max_size=8))
def test_a_schema_tells_no_more_than_was_seen(sample: list[Any]) -> None:
    schema = infer_schema(sample)
    assert set(schema["required"]) == set.intersection(*(set(record) for record in sample))
    assert set(schema["properties"]) == set().union(*sample)
    for name, part in schema["properties"].items():
        seen = [record[name] for record in sample if name in record]
        assert part["type"] == sorted(part["type"])
        for kind in part["type"]:
            assert any(Draft202012Validator({"type": kind}).is_valid(value) for value in seen)


def test_a_sample_by_example() -> None:
    sample = [
        {"id": 1, "price": 2.5, "tags": ["x", None], "address": {"city": "Rome", "zip": "1"}},
        {"id": 7, "price": 3, "tags": [], "address": {"city": "Oslo"}, "note": None},
    ]
    text = {"type": ["string"]}
    assert infer_schema(iter(sample), ranges=True) == {
        "type": "object",
        "properties": {
            "id": {"type": ["integer"], "minimum": 1, "maximum": 7},
            "price": {"type": ["number"], "minimum": 2.5, "maximum": 3},
            "tags": {"type": ["array"], "items": {"type": ["null", "string"]}},
            "address": {"type": ["object"], "properties": {"city": text, "zip": text}, "required": ["city"]},
            "note": {"type": ["null"]},
        },
        "required": ["id", "price", "tags", "address"],
    }
    assert infer_schema(sample, depth=0)["properties"]["address"] == {"type": ["object"]}
    nested = [{"a": [[{"b": 1}]]}]
    assert infer_schema(nested, depth=2)["properties"]["a"]["items"]["items"] == {"type": ["object"]}
    assert infer_schema(nested, depth=3)["properties"]["a"]["items"]["items"]["required"] == ["b"]
    assert infer_schema([]) == {"type": "object"}
