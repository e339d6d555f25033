"""Row references cannot be made up: each that is followed was made here, and is as it was made."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from query import Databases, InvalidReference, create_store, reference_page, reference_places
from query.seals import Seals

SEALS = Seals(b"s" * 32)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
REFERENCES = st.fixed_dictionaries(
    {"database": st.text(), "version": st.integers(0, 2**53), "count": st.integers(0, 2**53), "store": st.text()},
    optional={"query": st.dictionaries(st.sampled_from(["filter", "limit", "fields", "key"]), JSON)},
)


@settings(deadline=None)
@given(REFERENCES, st.randoms(use_true_random=False))
def test_a_reference_that_is_passed_on_whole_is_known_again(reference: dict[str, Any], random: Any) -> None:
    sealed = list(SEALS.sealed(reference).items())
    random.shuffle(sealed)
    SEALS.check(dict(sealed))
    assert SEALS.sealed(dict(sealed)) == SEALS.sealed(reference)


@settings(deadline=None)
@given(REFERENCES, REFERENCES)
def test_a_seal_is_of_one_reference(one: dict[str, Any], other: dict[str, Any]) -> None:
    seal = SEALS.sealed(one)["seal"]
    if SEALS.sealed(other)["seal"] != seal:
        with pytest.raises(InvalidReference):
            SEALS.check({**other, "seal": seal})
    else:
        assert one == other


def test_every_flipped_bit_is_noticed() -> None:
    sealed = SEALS.sealed({"database": "shop", "version": 7, "count": 9, "store": "items", "query": {"limit": 9}})
    for place in range(len(sealed["seal"])):
        for bit in range(8):
            flipped = chr(ord(sealed["seal"][place]) ^ (1 << bit))
            with pytest.raises(InvalidReference) as raised:
                SEALS.check({**sealed, "seal": sealed["seal"][:place] + flipped + sealed["seal"][place + 1 :]})
            assert raised.value.code == "invalid_reference"


@pytest.mark.parametrize(
    "change",
    [
        {"database": "hr"}, {"version": 8}, {"version": 7.0}, {"count": 10}, {"count": True}, {"store": "people"}, {"query": {}},
        {"query": {"limit": 10}}, {"query": {"limit": 9, "fields": ["pay"]}}, {"result": "0" * 32}, {"more": None},
        {"seal": None}, {"seal": ""}, {"seal": 0}, {"seal": "\ud800"}, {"seal": "é" * 32}, {"store": "\ud800"}, {"count": 1 << 70},
    ],
)  # fmt: skip
def test_another_reference_is_refused(change: dict[str, Any]) -> None:
    sealed = SEALS.sealed({"database": "shop", "version": 7, "count": 9, "store": "items", "query": {"limit": 9}})
    SEALS.check(sealed)
    with pytest.raises(InvalidReference):
        SEALS.check({**sealed, **change})
    if change.keys() <= sealed.keys():
        with pytest.raises(InvalidReference):
            SEALS.check({name: value for name, value in sealed.items() if name not in change})


@pytest.mark.parametrize("given", [None, 1, "x", [], {}, {"seal": "0" * 32}, {"seal": {}}, {1: 2, "seal": "0" * 32}])
def test_what_is_no_reference_at_all(given: Any) -> None:
    with pytest.raises(InvalidReference):
        SEALS.check(given)


def test_a_seal_is_that_of_the_data_directory(tmp_path: Path) -> None:
    first, again = (Databases(tmp_path, secret=b"s" * 32) for _ in range(2))
    first.create("shop").transact(lambda view: create_store(view, "items", primary_key=["id"]).add({"id": 1}))
    version = first.open("shop").head().seq
    plain = {"database": "shop", "version": version, "count": 1, "store": "items", "query": {}}
    sealed = first.seals.sealed(plain)
    assert reference_page(again, sealed, after=None, limit=9) == ([{"id": 1}], None)
    for databases in (Databases(tmp_path, secret=b"t" * 32), Databases(tmp_path)):
        for reference in (plain, sealed):
            with pytest.raises(InvalidReference):
                reference_page(databases, reference, after=None, limit=9)
            with pytest.raises(InvalidReference):
                list(reference_places(databases, reference, every=1, after=None, done=0))
        databases.close()
    first.close()
    again.close()
