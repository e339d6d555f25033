"""Drafts: revisions as a model has them, one winner of every race, and nothing but a right one is published."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import toolbox.drafts
from activities import Resources
from query import SYSTEM, Databases, drop_index, list_stores
from script.errors import ScriptInvalid
from toolbox import Drafts, ScriptLibrary, builtin_registry
from toolbox.drafts import DRAFTS, REVISIONS, TEXTS
from toolbox.errors import DraftChanged, DraftNotFound, RevisionNotFound, TooManyDrafts

GREET = {"name": "greet", "steps": [{"type": "say", "message": "hello"}]}


@pytest.fixture
def drafts(resources: Resources) -> Drafts:
    return Drafts(resources.databases, resources.library)


def renamed(name: str) -> Any:
    return lambda script: {**script, "description": name}


def test_a_draft_may_be_wrong_and_says_what_is_wrong(drafts: Drafts) -> None:
    made = drafts.create('{"name": "greet", "steps": [{"type": "sya"}] // soon\n}', author="anna")
    assert (made.revision, made.base, made.created_by, made.updated_by) == (1, None, "anna", "anna")
    head, text = drafts.get(made.id)
    assert (head, text.script) == (made, {"name": "greet", "steps": [{"type": "sya"}]})
    assert [(found.code, found.pointer) for found in drafts.problems(text.script)] == [
        ("unknown_step_type", "/steps/0/type")
    ]
    with pytest.raises(ScriptInvalid, match="sya"):
        drafts.publish(made.id, frozenset({1}), author="anna")
    assert drafts.get(made.id)[0] == made


@pytest.mark.parametrize("text", ["[]", "{", '{"steps": []}', '{"name": 1}', '{"name": "a b"}', '{"name": "a", "name": "b"}',
                                  {"name": "a", "x": {"a": [[]] * 3} | {"b": 1 << 70}}])  # fmt: skip
def test_what_no_draft_can_be(drafts: Drafts, text: Any) -> None:
    with pytest.raises(ScriptInvalid):
        drafts.create(text, author="anna")
    made = drafts.create(GREET, author="anna")
    with pytest.raises(ScriptInvalid):
        drafts.change(made.id, None, lambda _: text, author="anna")
    assert list(drafts.all()) == [made]


def test_publishing_saves_a_version_and_the_draft_goes_on_from_it(drafts: Drafts, resources: Resources) -> None:
    made = drafts.create(GREET, author="anna")
    saved, draft = drafts.publish(made.id, frozenset({1}), author="ben")
    assert resources.library.get("greet") == saved and saved.author == "ben"
    assert (draft.revision, draft.base, draft.updated_by) == (2, saved.hash, "ben")
    again, same = drafts.publish(made.id, frozenset({2}), author="ben")
    assert (again, same) == (saved, draft)
    with pytest.raises(DraftChanged):
        drafts.publish(made.id, frozenset({1}), author="ben")
    drafts.change(made.id, frozenset({2}), renamed("x"), author="anna")
    assert drafts.publish(made.id, None, author="anna")[0].number == 2


def test_a_draft_that_is_changed_while_it_is_published_is_not(
    drafts: Drafts, resources: Resources, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = drafts.create(GREET, author="anna")
    check = resources.library.check

    def slow(source: Any) -> Any:
        monkeypatch.undo()
        drafts.change(made.id, None, renamed("faster"), author="ben")
        return check(source)

    monkeypatch.setattr(resources.library, "check", slow)
    with pytest.raises(DraftChanged, match="changed by ben"):
        drafts.publish(made.id, None, author="anna")
    assert resources.library.scripts() == []


def test_of_editors_that_race_exactly_one_wins(drafts: Drafts) -> None:
    made, editors = drafts.create(GREET, author="anna"), 6
    together = Barrier(editors)

    def edit(number: int) -> int | None:
        together.wait()
        try:
            return drafts.change(made.id, frozenset({1}), renamed(f"{number}"), author=f"{number}").revision
        except DraftChanged as changed:
            assert changed.details["revision"] == 2
            return None

    with ThreadPoolExecutor(editors) as threads:
        done = list(threads.map(edit, range(editors)))
    assert sorted(done, key=str) == [2] + [None] * (editors - 1)
    assert drafts.get(made.id)[1].script["description"] == f"{done.index(2)}"


def test_older_revisions_are_let_go(drafts: Drafts, resources: Resources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbox.drafts, "REVISIONS", 3)
    made = drafts.create(GREET, author="anna")
    for number in range(2, 7):
        drafts.change(made.id, frozenset({number - 1}), renamed(f"{number}"), author="anna")
    assert [found.revision for found in drafts.revisions(made.id)] == [6, 5, 4]
    assert drafts.revision(made.id, 4).script["description"] == "4"
    for gone in (3, 7, 0):
        with pytest.raises(RevisionNotFound):
            drafts.revision(made.id, gone)
    drafts.delete(made.id, frozenset({6}))
    assert rows(resources.databases) == 0


def rows(databases: Databases) -> int:
    from query import open_store

    view = databases.open("system").snapshot()
    return sum(open_store(view, name).count() for name in (DRAFTS, TEXTS))


EDIT = st.tuples(st.just("edit"), st.integers(0, 2), st.integers(-1, 1), st.integers(0, 2))
DELETE = st.tuples(st.just("delete"), st.integers(0, 2), st.integers(-1, 1), st.just(0))
CREATE = st.tuples(st.just("create"), st.just(0), st.just(0), st.integers(0, 2))
PUBLISH = st.tuples(st.just("publish"), st.integers(0, 2), st.integers(-1, 1), st.just(0))


@settings(deadline=None, max_examples=25)
@given(st.lists(CREATE | EDIT | EDIT | DELETE | PUBLISH, min_size=1, max_size=14))
def test_revisions_are_as_the_model_has_them(work: list[tuple[str, int, int, int]]) -> None:
    with TemporaryDirectory() as folder:
        databases = Databases(Path(folder))
        try:
            follow(Drafts(databases, ScriptLibrary(databases, builtin_registry())), work)
        finally:
            databases.close()


def follow(drafts: Drafts, work: list[tuple[str, int, int, int]]) -> None:
    """Do it, and the same with lists of texts."""
    model: dict[str, list[dict[str, Any]]] = {}
    based: dict[str, dict[str, Any]] = {}
    for what, which, off, value in work:
        text = {**GREET, "description": str(value)}
        if what == "create":
            model[drafts.create(text, author="anna").id] = [text]
            continue
        known = list(model)
        draft_id = known[which] if which < len(known) else "d0"
        texts = model.get(draft_id, [])
        expected = frozenset({len(texts) + off})
        try:
            if what == "edit":
                drafts.change(draft_id, expected, lambda _, text=text: text, author="anna")
            elif what == "delete":
                drafts.delete(draft_id, expected)
            else:
                drafts.publish(draft_id, expected, author="anna")
        except DraftNotFound:
            assert draft_id not in model
        except DraftChanged:
            assert off and draft_id in model
        else:
            assert not off and draft_id in model
            if what == "delete":
                del model[draft_id]
            elif what == "publish":
                if based.get(draft_id) != texts[-1]:
                    texts.append(texts[-1])
                    based[draft_id] = texts[-1]
            elif texts[-1] != text:
                texts.append(text)
        assert sorted(draft.id for draft in drafts.all()) == sorted(model)
        for known_id, expected_texts in model.items():
            assert re.fullmatch("d[0-9a-f]{16}", known_id) and len(expected_texts) <= REVISIONS
            listed = [found.revision for found in drafts.revisions(known_id)]
            assert [(number, drafts.revision(known_id, number).script) for number in listed] == list(
                enumerate(expected_texts, 1)
            )[::-1]
            assert drafts.get(known_id)[1].script == expected_texts[-1]


def test_listing_revisions_decodes_no_script(drafts: Drafts, monkeypatch: pytest.MonkeyPatch) -> None:
    made = drafts.create({**GREET, "description": "x" * 50_000}, author="anna")
    for number in range(2, 6):
        drafts.change(made.id, None, lambda script, n=number: {**script, "author": f"{n}"}, author=f"a{number}")
    decoded: list[int] = []

    def counted(value: bytes) -> Any:
        decoded.append(len(value))
        return msgspec.json.decode(value)

    for name, module in list(sys.modules.items()):
        if name.startswith("query.") and hasattr(module, "decode_record"):
            monkeypatch.setattr(module, "decode_record", counted)
    assert [(found.revision, found.by) for found in drafts.revisions(made.id)] == [
        (number, f"a{number}" if number > 1 else "anna") for number in range(5, 0, -1)
    ]
    assert decoded and max(decoded) < 1000


def test_drafts_are_limited_by_script_and_in_all(drafts: Drafts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolbox.drafts, "PER_SCRIPT", 3)
    monkeypatch.setattr(toolbox.drafts, "MOST", 5)
    made = [drafts.create(GREET, author="anna") for _ in range(3)]
    with pytest.raises(TooManyDrafts, match="3 drafts of the script 'greet'") as refused:
        drafts.create(GREET, author="anna")
    assert refused.value.details == {"limit": 3} and refused.value.hint
    others = [drafts.create({**GREET, "name": "other"}, author="anna") for _ in range(2)]
    with pytest.raises(TooManyDrafts, match="there are 5 drafts"):
        drafts.create({**GREET, "name": "third"}, author="anna")
    with pytest.raises(TooManyDrafts):
        drafts.change(others[0].id, None, lambda script: {**script, "name": "greet"}, author="anna")
    assert drafts.get(others[0].id)[0].name == "other"
    drafts.change(made[0].id, None, renamed("still one of three"), author="anna")
    drafts.delete(made[1].id, None)
    assert drafts.change(others[0].id, None, lambda script: {**script, "name": "greet"}, author="anna").name == "greet"
    drafts.create({**GREET, "name": "third"}, author="anna")


def test_pages_have_every_allowed_draft_once(drafts: Drafts) -> None:
    made = [drafts.create({**GREET, "name": f"s{number % 3}"}, author="anna") for number in range(10)]
    for allowed, name in ((("s0", "s1", "s2"), None), (("s0", "s2"), None), (("s0", "s1"), "s1"), (("s0",), "s1")):
        expected = sorted(draft.id for draft in made if draft.name in allowed and name in (None, draft.name))
        for limit in (1, 3, len(expected) or 1, 100):
            found, after = [], None
            while True:
                page, after = drafts.page(allowed.__contains__, limit=limit, after=after, name=name)
                assert len(page) <= limit
                found += [draft.id for draft in page]
                if after is None:
                    break
            assert found == expected


def test_drafts_of_before_there_was_an_index_get_one(resources: Resources) -> None:
    drafts = Drafts(resources.databases, resources.library)
    made = drafts.create(GREET, author="anna")
    resources.databases.ensure(SYSTEM).transact(lambda transaction: drop_index(transaction, DRAFTS, "by_name"))
    assert Drafts(resources.databases, resources.library).page(lambda _: True, limit=5, name="greet") == ([made], None)
    stores = {info.name: info for info in list_stores(resources.databases.ensure(SYSTEM).snapshot())}
    assert [index.name for index in stores[DRAFTS].indexes] == ["by_name"]
