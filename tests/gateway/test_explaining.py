"""Scripts explained over HTTP, by the client and on the command line: outline, picture, review."""

import asyncio
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from gateway.client import Client, InvalidRequest, NotFound
from tests.gateway.conftest import Gateway, Sop, authorization, problem_of
from toolbox.access import parse_scopes

STEPS: list[dict[str, Any]] = [
    {"type": "fetch", "name": "users", "resource": "users", "filter": {"a": 1}, "variable": "users"},
    {"type": "command", "name": "mail", "command": "send_email", "args": {"to": "a@b.c", "subject": "s", "body": "b"}},
]
FIRST = "1. users: Fetch the rows of shop.users where a is 1; the result is `users`."


async def saved(gateway: Gateway) -> str:
    assert (await gateway.http.post("/v1/databases", json={"name": "shop"})).status_code == 201
    return await gateway.save("greet", STEPS, database="shop")


async def test_outlines(gateway: Gateway) -> None:
    http, version = gateway.http, await saved(gateway)
    await gateway.save("greet", STEPS[:1], database="shop")
    texts = {}
    for named in ("1", version, version[:12], "latest", "2"):
        answer = await http.get(f"/v1/scripts/greet/versions/{named}/outline")
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        texts[named] = answer.text
    assert texts["1"] == texts[version] == texts[version[:12]] != texts["2"] == texts["latest"]
    assert FIRST in texts["2"].splitlines() and "2. mail: Send a mail" in texts["1"] and "mail" not in texts["2"]
    text = f'{{"name": "greet", "database": "shop", "steps": {json.dumps(STEPS)} }} // a comment'
    posted = await http.post("/v1/scripts:outline", content=text, headers={"Content-Type": "text/plain"})
    assert posted.text == texts["1"]
    problem_of(await http.get("/v1/scripts/greet/versions/7/outline"), 404, "version_not_found")
    problem_of(await http.get("/v1/scripts/gret/versions/latest/outline"), 404, "script_not_found")
    problem_of(
        await http.post("/v1/scripts:outline", json={"name": "x", "steps": [{"type": "sya"}]}), 422, "script_invalid"
    )


async def test_pictures(gateway: Gateway) -> None:
    http, _ = gateway.http, await saved(gateway)
    path = "/v1/scripts/greet/versions/latest/diagram"
    for accept in ("*/*", "image/svg+xml", "image/*", "text/html, image/svg+xml;q=0.9, text/vnd.mermaid;q=0.5"):
        picture = await http.get(path, headers={"Accept": accept})
        assert (picture.status_code, picture.headers["content-type"]) == (200, "image/svg+xml; charset=utf-8"), accept
        assert ElementTree.fromstring(picture.text).tag == "{http://www.w3.org/2000/svg}svg"
        assert picture.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert picture.headers["x-content-type-options"] == "nosniff"
    chart = await http.get(path, headers={"Accept": "text/vnd.mermaid"})
    assert chart.headers["content-type"] == "text/vnd.mermaid; charset=utf-8"
    assert chart.text.startswith("flowchart TD\n")
    assert (await http.get(f"{path}?format=mermaid")).text == chart.text
    script = {"name": "greet", "database": "shop", "steps": STEPS}
    assert (await http.post("/v1/scripts:diagram?format=mermaid", json=script)).text == chart.text
    problem = problem_of(await http.get(path, headers={"Accept": "image/png"}), 406, "not_acceptable")
    assert "svg (image/svg+xml), mermaid (text/vnd.mermaid)" in problem["hint"]
    problem_of(await http.get(f"{path}?format=png"), 406, "not_acceptable")


async def test_reviews(gateway: Gateway) -> None:
    http, _ = gateway.http, await saved(gateway)
    found = (await http.get("/v1/scripts/greet/versions/latest/review")).json()
    assert found["databases"] == [{"database": "shop", "reads": ["users"], "writes": []}]
    assert [each["tool"] for each in found["outside"]] == ["send_email"]
    assert [(each["severity"], each["code"], each["step"]) for each in found["findings"]] == [
        ("warning", "unknown_store", "users"),
        ("notice", "outside_call", "mail"),
    ]
    assert (
        await http.post("/v1/scripts:review", json={"name": "greet", "database": "shop", "steps": STEPS})
    ).json() == found
    wrong = await http.post("/v1/scripts:review", json={"name": "x", "steps": [{"type": "say", "message": "{{ y }}"}]})
    assert [each["code"] for each in wrong.json()["findings"]] == ["undefined_variable"]


async def test_a_review_looks_only_into_what_the_key_may_read(gateway: Gateway) -> None:
    await saved(gateway)
    await gateway.save("caller", [{"type": "script", "name": "call", "script_name": "greet"}])

    async def review(*scopes: str) -> Any:
        key = gateway.services.keys.create("anna", parse_scopes(scopes))
        path = "/v1/scripts/caller/versions/latest/review"
        return await gateway.http.get(path, headers=authorization(key))

    outside = [each["via"] for each in (await review("scripts:read")).json()["outside"]]
    assert outside == [["greet"]]
    assert (await review("scripts:read:caller")).json()["outside"] == []
    problem_of(await review("scripts:read:greet"), 403, "forbidden")
    key = authorization(gateway.services.keys.create("bob", parse_scopes(["scripts:read"])))
    problem = problem_of(await gateway.http.get("/v1/scripts/greet/versions/1/review", headers=key), 403, "forbidden")
    assert [found["scope"] for found in problem["errors"]] == ["data:shop:read"]
    assert (await gateway.http.get("/v1/scripts/greet/versions/1/outline", headers=key)).status_code == 200


async def test_the_client_explains(gateway: Gateway, url: str) -> None:
    version = await saved(gateway)
    script = {"name": "greet", "database": "shop", "steps": STEPS}

    def explain() -> None:
        with Client(url, gateway.key) as sop:
            assert sop.scripts.outline("greet") == sop.scripts.outline("greet", 1) == sop.scripts.outline(script)
            assert sop.scripts.outline("greet", version[:10]) == sop.scripts.outline(json.dumps(script).encode())
            assert (
                sop.scripts.diagram("greet")
                == sop.scripts.diagram(script)
                != sop.scripts.diagram(script, form="mermaid")
            )
            review = sop.scripts.review("greet")
            assert [found.code for found in review.findings] == ["unknown_store", "outside_call"]
            assert review == sop.scripts.review(script) and review.record["script"] == "greet"
            with pytest.raises(NotFound):
                sop.scripts.outline("nobody")
            with pytest.raises(InvalidRequest):
                sop.scripts.review({"name": "x"})
            with pytest.raises(TypeError):
                sop.scripts.outline(script, 1)

    await asyncio.to_thread(explain)


async def test_the_command_line_explains(gateway: Gateway, sop: Sop, tmp_path: Path) -> None:
    await saved(gateway)
    file = tmp_path / "greet.json"
    file.write_text(json.dumps({"name": "greet", "database": "shop", "steps": STEPS}))
    told = await sop("script", "outline", "greet")
    assert told.code == 0 and FIRST in told.out.splitlines() and told.out.endswith(".\n")
    assert (await sop("script", "outline", str(file))).out == told.out
    assert (await sop("script", "outline", "greet", "--version", "1")).out == told.out
    assert (await sop("script", "diagram", "greet")).out.startswith("<svg ")
    assert (await sop("script", "diagram", str(file), "--format", "mermaid")).out.startswith("flowchart TD\n")
    table = await sop("script", "review", "greet", "-o", "table")
    assert table.code == 0 and "outside_call" in table.out and "shop" in table.out
    whole = await sop("script", "review", str(file), "-o", "json")
    assert [each["tool"] for each in whole.json["outside"]] == ["send_email"]
    assert (
        (await sop("script", "review", "greet", "-o", "csv"))
        .out.splitlines()[0]
        .startswith("severity,step,pointer,code")
    )
    file.write_text('{"name": "x", "steps": [{"type": "say", "message": "{{ y }}"}]}')
    assert (await sop("script", "review", str(file), "-o", "json")).code == 2
    file.write_text('{"name": "x"}')
    wrong = await sop("script", "outline", str(file))
    assert wrong.code == 2 and str(file) in wrong.err
    assert (await sop("script", "outline", "nobody")).code == 3
    assert (await sop("script", "outline", str(tmp_path / "none.json"))).code == 2
    assert (await sop("script", "outline", str(file), "--version", "1")).code == 2
