"""The conversation that the project came from, word for word: two scripts said, tried, published, mocked, scheduled, and run.

Through HTTP, against a real Temporal server and CDNOW's real customers; the model is a script that says the agent's lines and calls tools as
a model would. What the person sees on cards is what the lines claim. `john_doe` has orders, as the conversation tells of him, and is no
customer of CDNOW's: so those who get a coupon are CDNOW's 282.
"""

import json
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client

from activities import Notices
from agent import Message
from query import drop_store, select
from tests.authoring.harness import Actor, Line
from tests.gateway.conftest import Gateway, eventually, gateway_over
from worker import create_resources

CHURN = Path(__file__).resolve().parent.parent / "examples" / "churn"
AS_OF = "1998-07-01"
AT_RISK = 282
ADDRESSES = {
    "type": "object",
    "properties": {"to": {"type": "string"}, "subject": {"type": "string"}, "body": {"type": "string"}},
}


def script(name: str) -> dict[str, Any]:
    """One of the example's scripts."""
    text: dict[str, Any] = json.loads((CHURN / "scripts" / f"{name}.json").read_text())
    return text


def draft_of(text: dict[str, Any], *steps: str) -> dict[str, Any]:
    """The arguments of create_script: a script with these of its steps, and without what is asked for later."""
    kept = {name: text[name] for name in ("name", "description", "database", "parameters")}
    return {**kept, "steps": [step for step in text["steps"] if not steps or step.get("name") in steps]}


CHECK = script("check_churn_risk")
DORMANT = next(step for step in CHECK["steps"] if step["name"] == "has_no_orders")
PLACE = CHECK["steps"].index(DORMANT)


def weekly() -> dict[str, Any]:
    """The example's batch, which mails by the tool that the agent misses."""
    text = json.loads(json.dumps(script("weekly_churn_prevention")).replace("send_email", "email_service"))
    return draft_of(text)


class Conversation:
    """A session over HTTP, and what was said and shown in it."""

    def __init__(self, gateway: Gateway, path: str, actor: Actor) -> None:
        self._gateway = gateway
        self._path = path
        self._actor = actor

    async def person(self, text: str, *lines: Line) -> list[dict[str, Any]]:
        """Say something; the model says these lines, one for each time that it is asked."""
        return await self._turn("/messages", {"text": text}, lines)

    async def approves(self, shown: dict[str, Any], *lines: Line) -> list[dict[str, Any]]:
        """Agree to what a card has shown."""
        return await self._turn(f"/approvals/{shown['approval']}", {"approved": True}, lines)

    async def _turn(self, place: str, body: dict[str, Any], lines: Sequence[Line]) -> list[dict[str, Any]]:
        self._actor.says(*lines)
        answer = await self._gateway.http.post(
            self._path + place, json=body, headers={"Idempotency-Key": uuid.uuid4().hex}, timeout=60
        )
        assert answer.status_code == 200, answer.text
        found = [json.loads(line) for line in answer.text.splitlines()]
        assert not self._actor.lines, "the model was asked less often than it had something to say"
        return found


def card(records: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The last card of a kind."""
    return [record for record in records if record.get("card") == kind][-1]


def said(records: list[dict[str, Any]]) -> str:
    """The last text of the model, which was heard in pieces before."""
    texts = [record["text"] for record in records if record["type"] == "text"]
    return str(texts[-1])


def status(records: list[dict[str, Any]]) -> str:
    assert records[-1]["type"] == "turn"
    return str(records[-1]["status"])


def tool_results(messages: Sequence[Message]) -> str:
    return messages[-1].content


@pytest_asyncio.fixture(loop_scope="session")
async def world(client: Client, tmp_path: Path) -> AsyncIterator[tuple[Gateway, Actor]]:
    """CDNOW's customers and orders, john_doe's twelve orders, and nobody's mail server."""
    sys.path.insert(0, str(CHURN))
    import prepare

    actor = Actor()
    async with gateway_over(client, tmp_path, model=actor) as gateway:
        http = gateway.http
        (await http.post("/v1/databases", json={"name": "customers"})).raise_for_status()
        files = prepare.write(tmp_path / "import")
        keys = (["customer_id"], ["customer_id", "date", "sequence"])
        for store, file, key in zip(("customers", "orders"), files, keys, strict=True):
            declared = {"name": store, "primary_key": key}
            (await http.post("/v1/databases/customers/stores", json=declared)).raise_for_status()
            done = await http.post(
                f"/v1/databases/customers/stores/{store}/rows:import",
                content=file.read_bytes(),
                headers={"Content-Type": "application/x-ndjson"},
                timeout=60,
            )
            done.raise_for_status()
        last = date.fromisoformat(AS_OF) - timedelta(days=94)
        johns = [
            {
                "customer_id": "john_doe",
                "date": str(last - timedelta(days=30 * n)),
                "sequence": 1,
                "cds": 5,
                "dollars": 100.0,
            }
            for n in range(12)
        ]
        (await http.post("/v1/databases/customers/stores/orders/rows:import", json=johns)).raise_for_status()
        yield gateway, actor


@pytest.mark.timeout(180)
async def test_the_conversation_word_for_word(world: tuple[Gateway, Actor], client: Client) -> None:
    gateway, actor = world
    made = await gateway.http.post("/v1/sessions", json={"title": "churn", "database": "customers"})
    talk = Conversation(gateway, made.headers["location"], actor)

    # Step 1: the atomic block
    created = "I’ve created the draft check_churn_risk. I’ve added logical steps to fetch the user’s order history and calculate the last order date. Should I return just a boolean, or the risk score?"
    steps = (
        "fetch_orders",
        "calculate_days_since_last",
        "calculate_total_spend",
        "ordered_lately",
        "spent_enough",
        "small_account",
    )
    found = await talk.person(
        "I want to create a script called check_churn_risk. It should take a customer_id. A customer is ‘high risk’ if they haven’t ordered in 60 days AND their total spend is over $500. Start a draft.",
        ("", [("create_script", draft_of(CHECK, *steps))]),
        created,
    )
    shown = card(found, "draft")
    assert (shown["name"], shown["problems"], said(found), status(found)) == (
        "check_churn_risk",
        [],
        created,
        "completed",
    )
    assert (await gateway.http.get("/v1/scripts/check_churn_risk")).status_code == 404  # a draft is no script

    saved = "Understood. I’ve appended the logic to handle null order history as ‘high risk’ (dormant account). I’ve saved the script."
    found = await talk.person(
        "Return a JSON object with { is_risk: bool, reason: string }. Also, make sure to handle the case where they have NO orders.",
        ("", [
            ("set_fields", {"fields": {"output_schema": CHECK["output_schema"]}}),
            ("insert_step", {"position": PLACE, "step": DORMANT}),
            ("publish_script", {}),
        ]),
    )  # fmt: skip
    assert status(found) == "waiting"  # nothing is saved before the person has seen it
    assert any("has_no_orders" in line for line in card(found, "draft")["diff"]["text"])
    assert (await gateway.http.get("/v1/scripts/check_churn_risk")).status_code == 404
    approval = card(found, "approval")
    found = await talk.approves(approval, saved)
    assert (said(found), status(found)) == (saved, "completed")
    version = (await gateway.http.get("/v1/scripts/check_churn_risk")).json()["version"]

    # Step 2: verify it
    judged = "Result: { is_risk: true, reason: 'Last order was 94 days ago' }\nTrace:\n- Fetched orders (Found 12)\n- Calculated days_since_last (94 > 60)\n- Checked total_spend ($1200 > $500)\n- Logic implies RISK."
    head = await gateway.http.get("/v1/databases/customers")
    found = await talk.person(
        "Run check_churn_risk for customer ‘john_doe’. Show me the trace.",
        ("", [("dry_run", {"script": "check_churn_risk", "arguments": {"customer_id": "john_doe", "as_of": AS_OF}})]),
        judged,
    )
    trace = card(found, "trace")
    by_name = {step["step"]: step for step in trace["steps"]}
    assert trace["result"] == {"is_risk": True, "reason": "Last order was 94 days ago"}
    assert len(by_name["fetch_orders"]["value"]) == 12
    assert by_name["ordered_lately"]["condition"]["values"] == {"days_since_last": 94}
    assert by_name["spent_enough"]["condition"]["values"] == {"total_spend": 1200.0}
    assert by_name["spent_enough"]["condition"]["result"] is True
    assert (await gateway.http.get("/v1/databases/customers")).json() == head.json()
    await talk.person("Perfect.", "I’m glad.")

    # Step 3: compose it
    asks = "I am assembling the loop. Since we might have 1,000,000 customers, I will use a Map/Reduce pattern.\n- Map: Stream all customer IDs.\n- Process: Call check_churn_risk and email_service.\nI notice I don’t have an email_service tool configured. Shall I mock it for now?"
    told: list[str] = []

    def missing(messages: Sequence[Message]) -> str:
        told.append(tool_results(messages))
        return asks

    found = await talk.person(
        "Create a new process called weekly_churn_prevention. It should: Scan all users in the ‘customers’ database. For each user, run our check_churn_risk script. If they are at risk, generate a secure coupon code. Email them the coupon.",
        ("", [("create_script", weekly())]),
        missing,
    )
    assert [problem["code"] for problem in card(found, "problems")["problems"]] == ["unknown_tool"]
    assert "email_service" in told[0]  # the model was told that there is no such tool
    batch = "Done: email_service is mocked, and the job is saved."
    found = await talk.person(
        "Yes, mock it. And save this as a Batch Job.",
        ("", [("mock_tool", {"tool": "email_service", "description": "Sends a mail", "arguments": ADDRESSES}), ("publish_script", {})]),
    )  # fmt: skip
    assert status(found) == "waiting"
    found = await talk.approves(card(found, "approval"), batch)
    assert said(found) == batch

    # Step 4: schedule it
    scheduled = "Scheduled. The system will wake up, mount the database, stream the users through your logic, and execute the actions. I will notify you of any failures."
    found = await talk.person(
        "Schedule weekly_churn_prevention to run every Monday at 9 AM.",
        ("", [("ask_person", {"question": "In which time zone is 9 AM meant?", "options": ["America/New_York", "UTC"]})]),
    )  # fmt: skip
    assert card(found, "question")["options"] == ["America/New_York", "UTC"]
    name = f"weekly-{uuid.uuid4().hex[:8]}"
    asked = {
        "script": "weekly_churn_prevention", "id": name, "calendar": {"days": ["monday"], "at": "09:00"}, "time_zone": "America/New_York",
        "arguments": {"as_of": AS_OF},
    }  # fmt: skip
    found = await talk.person("America/New_York", ("", [("schedule_script", asked)]))
    approval = card(found, "approval")
    assert [moment["local"][11:16] for moment in approval["preview"]["next_runs"]][:2] == ["09:00", "09:00"]
    assert (await gateway.http.get(f"/v1/schedules/{name}")).status_code == 404  # not before the person agrees
    found = await talk.approves(approval, scheduled)
    assert (said(found), card(found, "schedule")["id"]) == (scheduled, name)

    # the schedule is Temporal's, and what it runs is what was approved
    described = await client.get_schedule_handle(name).describe()
    assert described.schedule.spec.time_zone_name == "America/New_York"
    (await gateway.http.post(f"/v1/schedules/{name}/trigger")).raise_for_status()
    runs = await eventually(lambda: _runs(gateway, name))
    events = [
        json.loads(line)
        for line in (await gateway.http.get(f"/v1/runs/{runs[0]}/events", timeout=120)).text.splitlines()
    ]
    assert events[-1]["status"] == "completed"
    assert (events[-1]["result"]["customers"], events[-1]["result"]["at_risk"]) == (23_570, AT_RISK)
    sent = list(select(gateway.services.databases.open("customers").snapshot(), "_outbox"))
    assert len(sent) == len({row["args"]["to"] for row in sent}) == AT_RISK
    assert {row["tool"] for row in sent} == {"email_service"}
    assert all("your coupon code is" in row["args"]["body"] for row in sent)
    assert (await gateway.http.get("/v1/scripts/check_churn_risk")).json()["version"] == version

    # "I will notify you of any failures"
    gateway.services.databases.open("customers").transact(lambda transaction: drop_store(transaction, "orders"))
    (await gateway.http.post(f"/v1/schedules/{name}/trigger")).raise_for_status()
    resources = create_resources(gateway.services.data_dir)
    notices = Notices(client, resources, gateway.services.task_queue)

    async def told_of() -> list[dict[str, Any]]:
        await notices.sweep(datetime.now(UTC))
        log = (await gateway.http.get(f"{made.headers['location']}/records")).text.splitlines()
        return [record for record in map(json.loads, log) if record.get("code") == "schedule.failure"]

    [notice] = await eventually(told_of)
    assert f"schedule {name}: weekly_churn_prevention failed" in notice["text"]
    resources.databases.close()


async def _runs(gateway: Gateway, schedule: str) -> list[str]:
    found = (await gateway.http.get(f"/v1/schedules/{schedule}")).json()
    return [run["run"] for run in found.get("recent_runs", [])]
