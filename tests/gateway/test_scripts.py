"""Scripts over HTTP: immutable versions, all problems at once."""

from tests.gateway.conftest import Gateway, problem_of

TEXT = """{ // with a comment
  "name": "greet", "parameters": ["who"],
  "steps": [{"type": "say", "message": "hello {{ who }}"}] }"""


async def test_saving_makes_versions_and_the_same_text_makes_none(gateway: Gateway) -> None:
    http, text = gateway.http, {"Content-Type": "text/plain"}
    first = await http.post("/v1/scripts", content=TEXT, headers=text)
    again = await http.post("/v1/scripts", content=TEXT.replace("// with a comment", ""), headers=text)
    assert first.status_code == again.status_code == 201
    assert first.json()["version"] == again.json()["version"] and again.json()["number"] == 1
    second = await http.post("/v1/scripts", content=TEXT.replace("hello", "bye"), headers=text)
    assert second.json()["number"] == 2
    versions = (await http.get("/v1/scripts/greet/versions")).json()["data"]
    assert [version["number"] for version in versions] == [2, 1]
    old = await http.get(first.headers["location"])
    assert old.json()["script"]["steps"][0]["message"] == "hello {{ who }}"
    assert old.headers["etag"] == first.headers["etag"] == f'"{first.json()["version"]}"'
    latest = (await http.get("/v1/scripts/greet")).json()
    assert (latest["number"], latest["version"]) == (2, second.json()["version"])
    by_number = await http.get("/v1/scripts/greet?version=1")
    by_prefix = await http.get(f"/v1/scripts/greet?version={first.json()['version'][:12]}")
    assert by_number.json() == by_prefix.json() == old.json()
    unchanged = await http.get("/v1/scripts/greet", headers={"If-None-Match": second.headers["etag"]})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert [entry["name"] for entry in (await http.get("/v1/scripts")).json()["data"]] == ["greet"]


async def test_all_problems_of_a_script_at_once(gateway: Gateway) -> None:
    script = {"name": "bad", "steps": [
        {"type": "set", "variable": "x", "value": "{{ nope }}"},
        {"type": "command", "command": "selct"},
        {"type": "if", "condition": "x >", "then": []}]}  # fmt: skip
    problem = problem_of(await gateway.http.post("/v1/scripts", json=script), 422, "script_invalid")
    pointers = [found["pointer"] for found in problem["errors"]]
    assert {pointer.split("/")[2] for pointer in pointers} == {"0", "1", "2"}
    assert "did you mean 'select'?" in [found.get("hint") for found in problem["errors"]]
    checked = (await gateway.http.post("/v1/scripts:check", json=script)).json()
    assert checked["ok"] is False
    assert [found["pointer"] for found in checked["problems"] if found["severity"] == "error"] == pointers
    problem_of(await gateway.http.get("/v1/scripts/bad"), 404, "script_not_found")


async def test_checking_saves_nothing(gateway: Gateway) -> None:
    good = await gateway.http.post("/v1/scripts:check", content=TEXT, headers={"Content-Type": "text/plain"})
    assert good.json()["ok"] is True
    assert (await gateway.http.get("/v1/scripts")).json()["data"] == []


async def test_older_spellings_are_told(gateway: Gateway) -> None:
    steps = [{"type": "assignment", "variable": "x", "value": 1}]
    saved = await gateway.http.post("/v1/scripts", json={"name": "old", "steps": steps})
    assert saved.status_code == 201
    assert [notice["pointer"] for notice in saved.json()["notices"]] == ["/steps/0/type"]


async def test_bodies_that_are_no_scripts(gateway: Gateway) -> None:
    http, json = gateway.http, {"Content-Type": "application/json"}
    wrong = await http.post("/v1/scripts", content=TEXT, headers={"Content-Type": "application/xml"})
    problem_of(wrong, 415, "unsupported_media_type")
    problem_of(await http.post("/v1/scripts", content=b"\xff", headers=json), 422, "not_json")
    for body in (b"", b"[]", b"{", b'{"name": "a", "name": "b"}', b"[" * 100_000):
        found = problem_of(await http.post("/v1/scripts", content=body, headers=json), 422, "script_invalid")
        assert found["errors"]


async def test_scripts_that_are_not_there(gateway: Gateway) -> None:
    await gateway.save("greet", [{"type": "say", "message": "x"}])
    problem = problem_of(await gateway.http.get("/v1/scripts/gret"), 404, "script_not_found")
    assert problem["hint"] == "did you mean 'greet'?"
    problem_of(await gateway.http.get("/v1/scripts/greet?version=7"), 404, "version_not_found")
    problem_of(await gateway.http.get("/v1/scripts/greet?version=00000000"), 404, "version_not_found")
    problem_of(await gateway.http.get("/v1/scripts/gret/versions"), 404, "script_not_found")
