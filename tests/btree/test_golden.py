"""The engine's behaviour as scripts: commands, `---`, what they answer.

    begin T [ISOLATION] | resume T | save T [STEP RESULT] | commit T | rollback T | discard T | status T | recorded T STEP | renew T
    create T TREE | drop T TREE | put T TREE K V | get T TREE K | delete T TREE K | delete_range T TREE LOWER UPPER | count T TREE
    scan T TREE [LOWER UPPER] | back T TREE | fill T TREE NUMBER
    savepoint T NAME | rollback_to T NAME | release T NAME | savepoints T
    snapshot S [SEQ] | reopen | sweep SECONDS | versions | open | trees T | wait SECONDS | at SECONDS
    pin P [SEQ] | unpin P | pins | diff FROM TO TREE | restore SEQ TREE | space | check

T names a transaction or a snapshot. After each file the database is checked.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from btree import BTreeError, Database, Transaction

FOLDER = Path(__file__).parent / "golden"


class Shell:
    """Runs commands against a database file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1000.0
        self.views: dict[str, Any] = {}
        self.database = Database.open(path, create=True, clock=lambda: self.now)

    def run(self, line: str) -> str:
        name, *words = line.split()
        try:
            return str(getattr(self, f"do_{name}")(*words))
        except BTreeError as error:
            return f"{error.code}{' (retryable)' if error.retryable else ''}: {error.message}"

    def do_begin(self, name: str, isolation: str = "serializable") -> str:
        self.views[name] = self.database.begin(name, lease_seconds=60, isolation=isolation)
        return f"{name} at version {self.views[name].base}"

    def do_resume(self, name: str) -> str:
        self.views[name] = self.database.resume(name)
        return f"{name} at version {self.views[name].base}"

    def do_reopen(self) -> str:
        self.database.close()
        self.views.clear()
        self.database = Database.open(self.path, clock=lambda: self.now)
        return "reopened"

    def do_snapshot(self, name: str, seq: str | None = None) -> str:
        self.views[name] = self.database.snapshot(int(seq) if seq else None)
        return f"{name} of version {self.views[name].seq}"

    def do_save(self, name: str, step: str | None = None, result: str = "null") -> str:
        self._txn(name).save(step, result.encode())
        return "saved"

    def do_commit(self, name: str) -> str:
        return f"version {self._txn(name).commit().seq}"

    def do_rollback(self, name: str) -> str:
        self._txn(name).rollback()
        return "rolled back"

    def do_discard(self, name: str) -> str:
        self._txn(name).discard()
        return "discarded"

    def do_status(self, name: str) -> str:
        found = self.database.status(name)
        return f"{found.state} {found.version}"

    def do_recorded(self, name: str, step: str) -> str:
        found = self.database.recorded(name, step)
        return found.decode() if found is not None else "nothing"

    def do_create(self, name: str, tree: str) -> str:
        self._txn(name).create_tree(tree)
        return "created"

    def do_drop(self, name: str, tree: str) -> str:
        self._txn(name).drop_tree(tree)
        return "dropped"

    def do_trees(self, name: str) -> str:
        return " ".join(self.views[name].trees()) or "none"

    def do_put(self, name: str, tree: str, key: str, value: str) -> str:
        self._txn(name).tree(tree).put(key.encode(), value.encode())
        return "put"

    def do_get(self, name: str, tree: str, key: str) -> str:
        found = self.views[name].tree(tree).get(key.encode())
        return found.decode() if found is not None else "nothing"

    def do_delete(self, name: str, tree: str, key: str) -> str:
        return "deleted" if self._txn(name).tree(tree).delete(key.encode()) else "nothing"

    def do_scan(self, name: str, tree: str, lower: str | None = None, upper: str | None = None) -> str:
        found = self.views[name].tree(tree).scan(lower.encode() if lower else None, upper.encode() if upper else None)
        return " ".join(f"{key.decode()}={value.decode()}" for key, value in found) or "nothing"

    def do_back(self, name: str, tree: str) -> str:
        found = self.views[name].tree(tree).scan(reverse=True)
        return " ".join(key.decode() for key, _ in found) or "nothing"

    def do_renew(self, name: str) -> str:
        self._txn(name).renew()
        return f"until {self.database.status(name).lease_until}"

    def do_wait(self, seconds: str) -> str:
        self.now += float(seconds)
        return f"it is {self.now}"

    def do_at(self, moment: str) -> str:
        return f"version {self.database.version_at(float(moment)).seq}"

    def do_delete_range(self, name: str, tree: str, lower: str, upper: str) -> str:
        return f"{self._txn(name).tree(tree).delete_range(lower.encode(), upper.encode())} deleted"

    def do_count(self, name: str, tree: str) -> str:
        return str(self.views[name].tree(tree).count())

    def do_fill(self, name: str, tree: str, number: str) -> str:
        for position in range(int(number)):
            self._txn(name).tree(tree).put(b"%06d" % position, b'"%s"' % (b"x" * 90))
        return f"{number} put"

    def do_savepoint(self, name: str, place: str) -> str:
        self._txn(name).savepoint(place)
        return "marked"

    def do_rollback_to(self, name: str, place: str) -> str:
        self._txn(name).rollback_to(place)
        return "gone back"

    def do_release(self, name: str, place: str) -> str:
        self._txn(name).release(place)
        return "released"

    def do_savepoints(self, name: str) -> str:
        return " ".join(self._txn(name).savepoints()) or "none"

    def do_pin(self, name: str, seq: str | None = None) -> str:
        return f"version {self.database.pin(int(seq) if seq else None, pin_id=name, lease_seconds=60).version}"

    def do_unpin(self, name: str) -> str:
        return "let go" if self.database.unpin(name) else "nothing"

    def do_pins(self) -> str:
        return " ".join(f"{pin.id}={pin.version}" for pin in self.database.pins()) or "none"

    def do_diff(self, old: str, new: str, tree: str) -> str:
        found = self.database.difference(int(old), int(new), tree)
        shown = [f"{key.decode()}:{(a or b'-').decode()}->{(b or b'-').decode()}" for key, a, b in found]
        return " ".join(shown) or "nothing"

    def do_restore(self, seq: str, tree: str) -> str:
        return f"{self.database.restore(int(seq), tree)} changed"

    def do_space(self) -> str:
        info = self.database.info()
        return f"{info.pages} pages, {info.history_pages} for history, {info.branch_pages} of branches, {info.versions} versions"

    def do_check(self) -> str:
        return " ".join(self.database.check().problems) or "in order"

    def do_versions(self) -> str:
        return " ".join(str(version.seq) for version in self.database.versions())

    def do_open(self) -> str:
        return " ".join(found.id for found in self.database.open_transactions()) or "none"

    def do_sweep(self, seconds: str) -> str:
        self.now += float(seconds)
        report = self.database.sweep(retention_seconds=30)
        return (
            f"{report.rolled_back} rolled back, {report.unpinned} unpinned, {report.versions} versions"
            f" and {report.pages} pages given back, {report.journals} ended transactions forgotten"
        )

    def _txn(self, name: str) -> Transaction:
        found = self.views[name]
        assert isinstance(found, Transaction)
        return found


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_golden_btree(path: Path, tmp_path: Path) -> None:
    commands = path.read_text(encoding="utf-8").split("\n---\n")[0]
    shell = Shell(tmp_path / "golden.db")
    answer: Callable[[str], str] = shell.run
    lines = [f"{line} -> {answer(line)}" for line in commands.splitlines() if line.strip() and not line.startswith("#")]
    report = shell.database.check()
    shell.database.close()
    text = commands + "\n---\n" + "\n".join(lines) + "\n"
    if os.environ.get("GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    else:
        assert text == path.read_text(encoding="utf-8")
    assert report.ok, report.problems


def test_there_are_golden_files() -> None:
    assert len(list(FOLDER.glob("*.txt"))) >= 8
