"""The script library: immutable versions in the system database.

Saving checks a script, pins what it calls (the version of each called script is written into its steps, so it is part of the
text), and stores the canonical form under its sha256. The same text is the same version, whoever saves it and how often.

    _versions   key hash     {hash, name, number, script, saved_at, author}
    _scripts    key name     {name, description, parameters, latest (hash), number}
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

import orjson

from btree import Transaction
from query import SYSTEM, Databases, View, create_store, list_stores, open_store, select
from script.checker.checker import check_script
from script.compiler.compiler import compile_script
from script.compiler.program import Program
from script.errors import Problem, ScriptInvalid
from script.source.ast import Script
from script.source.loading import canonical_json, load_script, script_hash
from toolbox.environment import LibraryEnvironment
from toolbox.errors import ScriptNotFound, VersionNotFound
from toolbox.registry import Registry

SCRIPTS: Final = "_scripts"
VERSIONS: Final = "_versions"


@dataclass(frozen=True)
class ScriptVersion:
    """A saved version. `script` is its canonical JSON, calls pinned."""

    name: str
    hash: str
    number: int
    saved_at: str
    author: str
    script: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class ScriptLibrary:
    """Scripts by name and version."""

    def __init__(self, databases: Databases, registry: Registry, *, has_model: bool | None = None) -> None:
        self._databases = databases
        self._registry = registry
        self._has_model = has_model
        self._database = databases.ensure(SYSTEM)
        self._programs: dict[str, Program] = {}
        self._lock = threading.Lock()
        if not {SCRIPTS, VERSIONS} <= {info.name for info in list_stores(self._database.snapshot())}:
            self._database.transact(_create_stores)

    def check(self, source: str | bytes | Mapping[str, Any]) -> tuple[Script, list[Problem]]:
        """A script from its text, and all that is wrong with it. Raises ScriptInvalid for a text that is none."""
        loaded = load_script(source)
        notices = [
            Problem("translated", notice.pointer, notice.message, severity="notice") for notice in loaded.notices
        ]
        return loaded.script, notices + check_script(loaded.script, self.environment())

    def environment(self) -> LibraryEnvironment:
        """The world that scripts are checked against: the tools, scripts and stores that there are now."""
        return LibraryEnvironment(self._registry, self, self._databases, self._has_model)

    def save(
        self,
        source: str | bytes | Mapping[str, Any],
        *,
        author: str = "",
        also: Callable[[Transaction, ScriptVersion], None] | None = None,
    ) -> ScriptVersion:
        """Check, pin and save; `also` belongs to the same transaction. Raises ScriptInvalid with all errors, and what `also` raises."""
        script = self._checked(source)

        def work(transaction: Transaction) -> ScriptVersion:
            saved = self._save(transaction, script, author)
            if also is not None:
                also(transaction, saved)
            return saved

        return self._database.transact(work)

    def save_in(
        self, transaction: Transaction, source: str | bytes | Mapping[str, Any], *, author: str
    ) -> ScriptVersion:
        """The same within a transaction on the system database. Raises ScriptInvalid."""
        return self._save(transaction, self._checked(source), author)

    def would_be(self, view: View, source: str | bytes | Mapping[str, Any]) -> str:
        """The hash of the version that a text would be saved as, with what it calls pinned as now. Raises ScriptInvalid, ToolError."""
        return script_hash(self._pinned(view, self._checked(source)))

    def _checked(self, source: str | bytes | Mapping[str, Any]) -> Script:
        script, problems = self.check(source)
        errors = [problem for problem in problems if problem.severity == "error"]
        if errors:
            raise ScriptInvalid(errors)
        compile_script(script, self._registry.signatures())
        return script

    def get(self, name: str, version: str | int | None = None) -> ScriptVersion:
        """A version: by number, by hash or the beginning of one (8 digits or more), or the latest.

        Raises ScriptNotFound, VersionNotFound.
        """
        return self._get(self._database.snapshot(), name, version)

    def scripts(self) -> list[dict[str, Any]]:
        """All scripts with their latest versions."""
        return list(select(self._database.snapshot(), SCRIPTS))

    def versions(self, name: str) -> list[ScriptVersion]:
        """All versions of a script, newest first. Raises ScriptNotFound."""
        self.get(name)
        rows = select(self._database.snapshot(), VERSIONS, filter={"name": name}, order_by="-number")
        return [ScriptVersion(**row) for row in rows]

    def text(self, version: str) -> dict[str, Any]:
        """The text of a version, by its whole hash. Raises VersionNotFound."""
        found = open_store(self._database.snapshot(), VERSIONS).get(version)
        if found is None:
            raise VersionNotFound(f"there is no version {version[:12]} of any script")
        return ScriptVersion(**found).script

    def closure(self, name: str, version: str | int | None = None) -> list[Program]:
        """The program of a script and those of every script that it reaches, its own first, all calls resolved.

        Raises ScriptNotFound, VersionNotFound.
        """
        view = self._database.snapshot()
        order = [self._get(view, name, version)]
        programs: dict[str, Program] = {}
        for saved in order:
            if saved.hash in programs:
                continue
            calls: dict[str, str] = {}
            for call, (called, pin) in self._program(saved).script_calls().items():
                itself = called == saved.name and pin is None
                target = saved if itself else self._get(view, called, None if pin in (None, "latest") else pin)
                calls[call] = target.hash
                order.append(target)
            programs[saved.hash] = self._program(saved).with_calls(calls)
        return list(programs.values())

    def resolved(self, calls: Mapping[str, Mapping[str, str]]) -> list[Program]:
        """Programs by hash, with their calls as they were resolved before. Raises VersionNotFound."""
        versions = open_store(self._database.snapshot(), VERSIONS)
        programs = []
        for number, targets in calls.items():
            row = versions.get(number)
            if row is None:
                raise VersionNotFound(f"there is no version {number[:12]} of any script")
            programs.append(self._program(ScriptVersion(**row)).with_calls(targets))
        return programs

    def _program(self, saved: ScriptVersion) -> Program:
        with self._lock:
            if saved.hash not in self._programs:
                script = load_script(saved.script).script
                self._programs[saved.hash] = compile_script(script, self._registry.signatures())
            return self._programs[saved.hash]

    def _get(self, view: View, name: str, version: str | int | None) -> ScriptVersion:
        head = open_store(view, SCRIPTS).get(name)
        if head is None:
            near = get_close_matches(name, [row["name"] for row in select(view, SCRIPTS)], n=1)
            raise ScriptNotFound(
                f"there is no script {name!r}", hint=f"did you mean {near[0]!r}?" if near else "save it first"
            )
        if version is None or version == "latest":
            found: Any = open_store(view, VERSIONS).get(head["latest"])
            return ScriptVersion(**found)
        rows = list(select(view, VERSIONS, filter=_version_filter(name, version), limit=2))
        if len(rows) != 1:
            what = "more than one version" if rows else "no version"
            raise VersionNotFound(
                f"{name} has {what} {version!r}", hint=f"the latest is {head['number']} ({head['latest'][:12]})"
            )
        return ScriptVersion(**rows[0])

    def _save(self, transaction: Transaction, script: Script, author: str) -> ScriptVersion:
        pinned = self._pinned(transaction, script)
        versions, scripts = open_store(transaction, VERSIONS), open_store(transaction, SCRIPTS)
        number = script_hash(pinned)
        known = versions.get(number)
        head = scripts.get(script.name)
        if known is None:
            saved = ScriptVersion(
                name=script.name,
                hash=number,
                number=(head["number"] if head else 0) + 1,
                saved_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                author=author,
                script=orjson.loads(canonical_json(pinned)),
            )
            versions.add(saved.to_dict())
        else:
            saved = ScriptVersion(**known)
        if head is None or head["latest"] != saved.hash:
            parameters = [parameter.model_dump(mode="json", exclude_unset=True) for parameter in script.parameters]
            newest = max(saved.number, head["number"] if head else 0)
            described = {
                "name": script.name,
                "description": script.description,
                "parameters": parameters,
                "database": script.database,
            }
            scripts.upsert({**described, "latest": saved.hash, "number": newest})
        return saved

    def _pinned(self, view: View, script: Script) -> Script:
        """The script with the versions of what it calls written into its steps."""

        def pin(node: Any) -> Any:
            if isinstance(node, list):
                return [pin(element) for element in node]
            if not isinstance(node, Mapping):
                return node
            found = {name: pin(value) if name in _STEP_LISTS else value for name, value in node.items()}
            if (
                found.get("type") == "script"
                and found["script_name"] != script.name
                and found.get("version") != "latest"
            ):
                found["version"] = self._get(view, found["script_name"], found.get("version")).hash
            return found

        return load_script(pin(orjson.loads(canonical_json(script)))).script


_STEP_LISTS: Final = ("steps", "then", "else", "catch", "finally", "compensate", "on_failure")


def _version_filter(name: str, version: str | int) -> dict[str, Any]:
    text = str(version)
    if isinstance(version, int) or (text.isdigit() and len(text) < 8):
        return {"name": name, "number": int(version)}
    if len(text) < 8:
        raise VersionNotFound(f"{version!r} is no version", hint="a number, or 8 or more digits of a hash")
    return {"hash": {"$starts_with": text}, "name": name}


def _create_stores(transaction: Transaction) -> None:
    names = {info.name for info in list_stores(transaction)}
    for name, key in ((SCRIPTS, "name"), (VERSIONS, "hash")):
        if name not in names:
            create_store(transaction, name, primary_key=[key])
