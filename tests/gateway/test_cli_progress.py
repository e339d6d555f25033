"""How far long work is, on a terminal and nowhere else; and what was meant where a name is misspelt."""

import sys
from pathlib import Path

import pytest

from tests.gateway.conftest import Gateway, Sop


async def test_long_work_shows_how_far_it_is(sop: Sop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file, backup = tmp_path / "rows.ndjson", tmp_path / "far.db"
    file.write_text("".join(f'{{"id": {number}}}\n' for number in range(100)))
    work = {
        "importing": ("data", "import", "far/rows", str(file), "--create", "--key", "id"),
        "checking": ("db", "check", "far"),
        "compacting": ("db", "compact", "far"),
        "exporting": ("data", "export", "far/rows", "--file", str(tmp_path / "out.csv")),
        "saving": ("db", "backup", "far", str(backup)),
        "sending": ("db", "restore", "far_again", str(backup)),
        "restoring": ("db", "restore", "far/rows", "--version", "2", "--dry-run"),
    }
    for label, words in work.items():
        (tmp_path / "out.csv").unlink(missing_ok=True)
        with monkeypatch.context() as patch:
            patch.setattr(sys.stderr, "isatty", lambda: True)
            shown = await sop(*words)
        assert shown.code == 0 and label in shown.err, shown.err
        assert label not in shown.out
    backup.unlink()
    for label in ("checking", "saving"):
        assert label not in (await sop(*work[label])).err
    with monkeypatch.context() as patch:
        patch.setattr(sys.stderr, "isatty", lambda: True)
        assert "checking" not in (await sop("-q", *work["checking"])).err


MEANT = {
    ("run", "list", "--limt", "3"): (2, "--limit"),
    ("run", "list", "-o", "jsn"): (2, "json"),
    ("run", "start", "letterz"): (3, "did you mean 'letters'?"),
    ("data", "ls", "custmers"): (3, "customers"),
    ("data", "ls", "customers/item"): (3, "items"),
}


async def test_what_was_meant(sop: Sop, gateway: Gateway, tmp_path: Path) -> None:
    await gateway.save("letters", [{"type": "return", "value": 1}])
    (tmp_path / "rows.ndjson").write_text('{"id": 1}\n')
    await sop("data", "import", "customers/items", str(tmp_path / "rows.ndjson"), "--create", "--key", "id")
    for words, (code, meant) in MEANT.items():
        found = await sop(*words)
        assert found.code == code and meant in found.err, (words, found.err)
