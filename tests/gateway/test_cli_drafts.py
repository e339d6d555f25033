"""sop draft: from a name to a version, and two people who edit at once."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from tests.gateway.conftest import Gateway, Sop

SAY = {"type": "say", "name": "greet", "message": "hello"}


def editor(monkeypatch: pytest.MonkeyPatch, folder: Path, code: str) -> None:
    """An editor that runs some Python with the file's `path`."""
    program = folder / "editor.py"
    program.write_text(f"import json, pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{code}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", shlex.join([sys.executable, str(program)]))


async def test_from_a_name_to_a_version(
    gateway: Gateway, sop: Sop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = (await sop("draft", "create", "--name", "greet", "-o", "json")).json
    assert (made["name"], made["revision"]) == ("greet", 1)
    wrong = json.dumps({"name": "greet", "steps": [{"type": "sya"}]})
    editor(monkeypatch, tmp_path, f"path.write_text({wrong!r})")
    edited = await sop("draft", "edit", made["id"], "-o", "json")
    assert (edited.code, edited.json["revision"]) == (0, 2)
    assert "error: /steps/0/type: there is no step type 'sya' (did you mean 'say'?)" in edited.err
    checked = await sop("draft", "check", made["id"], "-o", "json")
    assert (checked.code, [found["pointer"] for found in checked.json]) == (2, ["/steps/0/type"])
    assert (await sop("draft", "publish", made["id"])).code == 2

    mend = 'text = path.read_text(); assert text.startswith("// error: /steps/0/type"); '
    mend += 'path.write_text(text.replace(\'"sya"\', \'"say", "message": "hello"\'))'
    editor(monkeypatch, tmp_path, mend)
    assert (await sop("draft", "edit", made["id"])).code == 0
    given_up = await sop("draft", "edit", made["id"])
    assert (given_up.code, "ended with 1: nothing was changed" in given_up.err) == (2, True)
    editor(monkeypatch, tmp_path, "")
    assert "nothing was changed" in (await sop("draft", "edit", made["id"])).err
    diff = await sop("draft", "diff", made["id"], "--from", "2", "-o", "json")
    assert [change["text"] for change in diff.json] == ["step 1 (sya) is gone", "step 1 (say) is new, at the beginning"]
    assert (await sop("draft", "publish", made["id"], "--revision", "2")).code == 5
    published = await sop("draft", "publish", made["id"], "--revision", "3", "-o", "json")
    assert published.json[0]["number"] == 1
    shown = await sop("draft", "show", made["id"])
    assert shown.json["steps"][0]["message"] == "hello"
    assert (await sop("draft", "show", made["id"], "--revision", "2", "-o", "ndjson")).json["steps"] == [
        {"type": "sya"}
    ]
    revisions = (await sop("draft", "show", made["id"], "--revisions", "-o", "json")).json
    assert [found["revision"] for found in revisions] == [4, 3, 2, 1]
    assert [draft["id"] for draft in (await sop("draft", "list", "-o", "json")).json] == [made["id"]]
    assert (await sop("draft", "delete", made["id"], "--revision", "1")).code == 5
    assert (await sop("draft", "delete", made["id"])).code == 0
    assert (await sop("draft", "show", made["id"])).code == 3


async def test_whoever_is_slower_keeps_the_text(
    gateway: Gateway, sop: Sop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, url: str
) -> None:
    await gateway.save("greet", [SAY])
    made = (await sop("draft", "create", "--from", "greet", "-o", "json")).json
    faster = f"""
import urllib.request
script = json.loads(path.read_text())
request = urllib.request.Request("{url}/v1/drafts/{made["id"]}", method="PUT", data=json.dumps(dict(script, description="faster")).encode(),
    headers={{"Authorization": "Bearer {gateway.key}", "If-Match": "*", "Content-Type": "application/json"}})
urllib.request.urlopen(request).close()
path.write_text(json.dumps(dict(script, description="slower")))"""
    editor(monkeypatch, tmp_path, faster)
    slower = await sop("draft", "edit", made["id"])
    assert slower.code == 5
    assert '  the script: description is "faster", and was not set' in slower.err
    kept = Path(slower.err.partition("your text is in ")[2].strip())
    again = await sop("draft", "edit", made["id"], "--file", str(kept), "-o", "json")
    assert (again.code, again.json["revision"]) == (0, 3)
    assert (await sop("draft", "show", made["id"])).json["description"] == "slower"


async def test_what_makes_no_draft(sop: Sop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "greet.json"
    file.write_text('{"name": "greet", "steps": []} // nothing yet')
    made = await sop("draft", "create", str(file), "-o", "json")
    assert (made.code, made.json["name"]) == (0, "greet")
    for words in (
        [],
        ["--version", "1", "--name", "x"],
        [str(file), "--name", "x"],
        [str(file), "--from", "x"],
        [str(tmp_path / "no")],
    ):
        assert (await sop("draft", "create", *words)).code == 2, words
    assert (await sop("draft", "create", "--from", "nothing")).code == 3
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.delenv("EDITOR", raising=False)
    refused = await sop("draft", "edit", made.json["id"])
    assert (refused.code, "there is no editor" in refused.err) == (2, True)
    monkeypatch.setenv("EDITOR", str(tmp_path / "nothing"))
    assert (await sop("draft", "edit", made.json["id"])).code == 2


async def test_a_list_goes_on_over_pages(sop: Sop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.client.transport.PAGE", 2)
    ids = {(await sop("draft", "create", "--name", f"s{number}", "-o", "json")).json["id"] for number in range(5)}
    assert {found["id"] for found in (await sop("draft", "list", "-o", "json")).json} == ids
    assert len((await sop("draft", "list", "--limit", "3", "-o", "json")).json) == 3
    assert [found["name"] for found in (await sop("draft", "list", "--script", "s3", "-o", "json")).json] == ["s3"]
