"""Drafts: scripts that are being written, in the system database. A draft may be wrong; publishing it is saving a version (`library`).

    _drafts            key id, index name    {id, name, revision, base, created_at, created_by, updated_at, updated_by}
    _draft_revisions   key [id, revision]    {id, revision, script, at, by, restored?}

Every change makes a revision, numbered from 1, and says which one it means to change: if the draft is at another one by then, somebody
else was faster, and nothing is done (`DraftChanged`, which has what became of it). The newest REVISIONS of them are kept, so that what
was changed can be told, and taken back. A change that changes nothing makes no revision.

There are at most MOST drafts, and PER_SCRIPT of one script (`TooManyDrafts`). They are counted before the transaction, so that drafts which
are made at the same time do not wait for each other; of these a few may come in beyond the limit.

`name` is that of the script, which a draft always has: who may write it is asked by name. `base` is the hash of the version that the
draft was made of, or was published as last.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from secrets import token_hex
from typing import Any, Final

import orjson

from btree import Transaction
from query import SYSTEM, Databases, View, create_index, create_store, list_stores, open_store, select
from script.errors import Problem, ScriptInvalid
from script.source.ast import SCRIPT_NAME
from script.source.loading import read_document
from toolbox.errors import DraftChanged, DraftNotFound, NothingToUndo, RevisionNotFound, TooManyDrafts
from toolbox.library import ScriptLibrary, ScriptVersion

DRAFTS: Final = "_drafts"
TEXTS: Final = "_draft_revisions"
REVISIONS: Final = 100
"""Revisions of a draft that are kept."""
MOST: Final = 10_000
"""Drafts of an installation."""
PER_SCRIPT: Final = 100
"""Drafts of one script."""
_BY_NAME: Final = "by_name"

Expected = frozenset[int] | None
"""The revisions that a change is for; None for any."""
Edit = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Draft:
    """A draft as it stands. Times are ISO 8601 in UTC."""

    id: str
    name: str
    revision: int
    base: str | None
    created_at: str
    created_by: str
    updated_at: str
    updated_by: str


@dataclass(frozen=True)
class Revision:
    """What a draft was, or is. `restored` is the revision that it brought back."""

    id: str
    revision: int
    script: dict[str, Any]
    at: str
    by: str
    restored: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON; `restored` only where it brought something back."""
        return {name: value for name, value in asdict(self).items() if name != "restored" or value is not None}


@dataclass(frozen=True)
class RevisionHead:
    """A revision without its text."""

    revision: int
    at: str
    by: str


class Drafts:
    """The drafts of an installation."""

    def __init__(self, databases: Databases, library: ScriptLibrary) -> None:
        self._library = library
        self._database = databases.ensure(SYSTEM)
        known = {info.name: info for info in list_stores(self._database.snapshot())}
        if not {DRAFTS, TEXTS} <= known.keys() or not known[DRAFTS].indexes:
            self._database.transact(_create_stores)

    def all(self) -> Iterator[Draft]:
        """All drafts, in the order of their ids."""
        return (Draft(**row) for row in select(self._database.snapshot(), DRAFTS))

    def page(
        self, allowed: Callable[[str], bool], *, limit: int, after: str | None = None, name: str | None = None
    ) -> tuple[list[Draft], str | None]:
        """Drafts in the order of their ids: those of scripts whose names are `allowed`, or of the script `name` only, behind the id
        `after`; and the id behind which the next page goes on."""
        where: dict[str, Any] = {"id": {"$gt": after}} if after is not None else {}
        if name is not None:
            where["name"] = name
        rows = select(self._database.snapshot(), DRAFTS, filter=where, order_by="id")
        found = list(islice((draft for row in rows if allowed((draft := Draft(**row)).name)), limit + 1))
        return found[:limit], found[limit - 1].id if len(found) > limit else None

    def get(self, draft_id: str) -> tuple[Draft, Revision]:
        """A draft and its text. Raises DraftNotFound."""
        return get_draft(self._database.snapshot(), draft_id)

    def revision(self, draft_id: str, revision: int) -> Revision:
        """What a draft was. Raises DraftNotFound, RevisionNotFound."""
        return get_revision(self._database.snapshot(), draft_id, revision)

    def revisions(self, draft_id: str) -> list[RevisionHead]:
        """All revisions that are kept, newest first; their texts are not looked at. Raises DraftNotFound."""
        view = self._database.snapshot()
        _head(view, draft_id)
        rows = select(view, TEXTS, filter={"id": draft_id}).partial(["revision", "at", "by"])
        return [RevisionHead(**row) for row in rows][::-1]

    def document(self, script: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
        """A text as a draft keeps it. Raises ScriptInvalid for what none can be."""
        return _document(script)

    def problems(self, script: Mapping[str, Any]) -> list[Problem]:
        """What the checker says about a text."""
        try:
            return self._library.check(script)[1]
        except ScriptInvalid as invalid:
            return invalid.problems

    def create(self, script: str | bytes | Mapping[str, Any], *, author: str, base: str | None = None) -> Draft:
        """A new draft. Raises ScriptInvalid for what is no JSON object with a script's name, or is too large for a script;
        TooManyDrafts."""
        return self._database.transact(
            lambda transaction: self.create_in(transaction, script, author=author, base=base)
        )

    def change(self, draft_id: str, expected: Expected, edit: Edit, *, author: str) -> Draft:
        """A draft with another text, which `edit` makes of the one it has. Raises DraftNotFound, DraftChanged, ScriptInvalid, TooManyDrafts
        where its name becomes that of another script, and what `edit` raises."""
        return self._database.transact(
            lambda transaction: self.change_in(transaction, draft_id, expected, edit, author=author)
        )

    def create_in(
        self, transaction: Transaction, script: str | bytes | Mapping[str, Any], *, author: str, base: str | None = None
    ) -> Draft:
        """A new draft, within a transaction on the system database."""
        document, now = _document(script), _now()
        self._check_room(document["name"])
        self._check_all()
        made = Draft(f"d{token_hex(8)}", document["name"], 1, base, now, author, now, author)
        open_store(transaction, DRAFTS).add(asdict(made))
        open_store(transaction, TEXTS).add(Revision(made.id, 1, document, now, author).to_dict())
        return made

    def change_in(
        self,
        transaction: Transaction,
        draft_id: str,
        expected: Expected,
        edit: Edit,
        *,
        author: str,
        restored: int | None = None,
    ) -> Draft:
        """Another text, within a transaction on the system database; `restored` is the revision that had it."""
        draft, text = get_draft(transaction, draft_id)
        _check(draft, text, expected)
        document = _document(edit(text.script))
        if _text(document) == _text(text.script):
            return draft
        if document["name"] != draft.name:
            self._check_room(document["name"])
        return _put(transaction, draft, document, author, restored=restored)

    def _check_room(self, name: str) -> None:
        """Raises TooManyDrafts."""
        rows = select(self._database.snapshot(), DRAFTS, filter={"name": name}, limit=PER_SCRIPT)
        if sum(1 for _ in rows) >= PER_SCRIPT:
            raise _too_many(
                f"there are {PER_SCRIPT} drafts of the script {name!r}, the limit of one script", PER_SCRIPT
            )

    def _check_all(self) -> None:
        """Raises TooManyDrafts."""
        if open_store(self._database.snapshot(), DRAFTS).count() >= MOST:
            raise _too_many(f"there are {MOST} drafts, the limit of all scripts", MOST)

    def delete(self, draft_id: str, expected: Expected) -> None:
        """Remove a draft with all that it was. Raises DraftNotFound, DraftChanged."""
        self._database.transact(lambda transaction: delete_draft(transaction, draft_id, expected))

    def publish(self, draft_id: str, expected: Expected, *, author: str) -> tuple[ScriptVersion, Draft]:
        """Save a draft as a version; it stays, with that version as its base. Both are done, or nothing.

        Raises DraftNotFound, DraftChanged, ScriptInvalid.
        """
        head, text = self.get(draft_id)
        _check(head, text, expected)
        published: list[Draft] = []

        def work(transaction: Transaction, saved: ScriptVersion) -> None:
            published[:] = [_published(transaction, draft_id, frozenset({text.revision}), saved, author)]

        saved = self._library.save(text.script, author=author, also=work)
        return saved, published[0]

    def publish_in(
        self, transaction: Transaction, draft_id: str, expected: Expected, *, author: str
    ) -> tuple[ScriptVersion, Draft]:
        """The same within a transaction on the system database."""
        head, text = get_draft(transaction, draft_id)
        _check(head, text, expected)
        saved = self._library.save_in(transaction, text.script, author=author)
        return saved, _published(transaction, draft_id, expected, saved, author)


# --- within a view of the system database, or a transaction on it ---


def drafts_called(view: View, name: str) -> list[Draft]:
    """The draft with this id, or those of the script of this name."""
    found = open_store(view, DRAFTS).get(name)
    return [Draft(**row) for row in ([found] if found is not None else select(view, DRAFTS, filter={"name": name}))]


def get_draft(view: View, draft_id: str) -> tuple[Draft, Revision]:
    """A draft and its text. Raises DraftNotFound."""
    head = _head(view, draft_id)
    return head, Revision(**(open_store(view, TEXTS).get([draft_id, head.revision]) or {}))


def get_revision(view: View, draft_id: str, revision: int) -> Revision:
    """What a draft was. Raises DraftNotFound, RevisionNotFound."""
    _head(view, draft_id)
    found = open_store(view, TEXTS).get([draft_id, revision])
    if found is None:
        raise RevisionNotFound(f"there is no revision {revision}", hint=f"the last {REVISIONS} revisions are kept")
    return Revision(**found)


def before_change(view: View, draft_id: str) -> tuple[int, dict[str, Any]]:
    """What a draft was before its last change: the revision, and its text. What brought a revision back counts as that one, so looking
    again goes further back. Raises DraftNotFound, NothingToUndo."""
    _, text = get_draft(view, draft_id)
    texts = open_store(view, TEXTS)
    here = text.revision if text.restored is None else text.restored
    for number in range(here - 1, 0, -1):
        row = texts.get([draft_id, number])
        if row is None:
            raise NothingToUndo(f"the last {REVISIONS} revisions are kept, and none before them")
        was = Revision(**row)
        if _text(was.script) != _text(text.script):
            return number if was.restored is None else was.restored, was.script
    raise NothingToUndo("the draft is as it was made")


def delete_draft(transaction: Transaction, draft_id: str, expected: Expected) -> None:
    """Remove a draft with all that it was. Raises DraftNotFound, DraftChanged."""
    draft, text = get_draft(transaction, draft_id)
    _check(draft, text, expected)
    texts = open_store(transaction, TEXTS)
    for revision in range(max(1, draft.revision - REVISIONS + 1), draft.revision + 1):
        texts.delete([draft_id, revision])
    open_store(transaction, DRAFTS).delete(draft_id)


def _published(transaction: Transaction, draft_id: str, expected: Expected, saved: ScriptVersion, author: str) -> Draft:
    """The draft, based on the version that it was saved as. Raises DraftNotFound, DraftChanged."""
    draft, text = get_draft(transaction, draft_id)
    _check(draft, text, expected)
    return draft if draft.base == saved.hash else _put(transaction, draft, text.script, author, base=saved.hash)


def _create_stores(transaction: Transaction) -> None:
    names = {info.name for info in list_stores(transaction)}
    for name, key in ((DRAFTS, ["id"]), (TEXTS, ["id", "revision"])):
        if name not in names:
            create_store(transaction, name, primary_key=key)
    if not open_store(transaction, DRAFTS).info.indexes:
        create_index(transaction, DRAFTS, ["name"], name=_BY_NAME)


def _too_many(message: str, limit: int) -> TooManyDrafts:
    return TooManyDrafts(message, hint="remove drafts that nobody needs: DELETE /v1/drafts/{id}", limit=limit)


def _head(view: View, draft_id: str) -> Draft:
    found = open_store(view, DRAFTS).get(draft_id)
    if found is None:
        raise DraftNotFound(f"there is no draft {draft_id!r}")
    return Draft(**found)


def _put(
    transaction: Transaction,
    draft: Draft,
    script: dict[str, Any],
    author: str,
    base: str | None = None,
    restored: int | None = None,
) -> Draft:
    """The next revision. What it does not keep any more is removed."""
    texts, number, now = open_store(transaction, TEXTS), draft.revision + 1, _now()
    texts.add(Revision(draft.id, number, script, now, author, restored).to_dict())
    if number > REVISIONS:
        texts.delete([draft.id, number - REVISIONS])
    put = {
        "name": script["name"],
        "revision": number,
        "base": base or draft.base,
        "updated_at": now,
        "updated_by": author,
    }
    made = Draft(**{**asdict(draft), **put})
    open_store(transaction, DRAFTS).upsert(asdict(made))
    return made


def _check(draft: Draft, text: Revision, expected: Expected) -> None:
    """Raises DraftChanged."""
    if expected is not None and draft.revision not in expected:
        message = f"the draft is at revision {draft.revision} by now, changed by {text.by} at {text.at}"
        raise DraftChanged(message, revision=draft.revision, by=text.by, at=text.at)


def _document(script: Any) -> dict[str, Any]:
    """A text as it is kept. Raises ScriptInvalid."""
    document = dict(read_document(script))
    name = document.get("name")
    if not isinstance(name, str) or not re.fullmatch(SCRIPT_NAME, name):
        told = "a draft has the name of its script" if name is None else f"{name!r} is no name of a script"
        hint = "letters, digits, _ and -, at most 80, beginning with a letter or _"
        raise ScriptInvalid([Problem("invalid_name", "/name", told, hint)])
    return document


def _text(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
