"""The dialogue that the project came from: check_churn_risk and weekly_churn_prevention, word for word; and smaller compositions."""

from typing import Any, Final

from evals.case import Case, Reply, ask, call, change, tell, write
from evals.properties import Asks, Called, Changed, Gives, Says, Scheduled, Script, Untouched, Waits
from evals.writing import command, fetch, give

_READ: Final = fetch("orders", "orders", filter={"customer_id": "{{ customer_id }}"}, order_by="date")
_FIGURES: Final[list[dict[str, Any]]] = [
    {
        "type": "set",
        "name": "days_since_last",
        "variable": "days",
        "value": "{{ days_since(orders[size(orders) - 1].date) }}",
    },
    {"type": "set", "name": "total_spend", "variable": "spent", "value": "{{ sum(orders.map(o, o.amount)) }}"},
    {
        "type": "if",
        "name": "is_risk",
        "condition": "days > 60 && spent > 500",
        "then": [give({"is_risk": True, "reason": "Last order was {{ days }} days ago"})],
    },
    give({"is_risk": False, "reason": "Last order was {{ days }} days ago, {{ spent }} spent"}),
]
_DORMANT: Final[dict[str, Any]] = {
    "type": "if",
    "name": "no_orders",
    "condition": "size(orders) == 0",
    "then": [give({"is_risk": True, "reason": "No orders: a dormant account"})],
}
CHECK: Final[dict[str, Any]] = {
    "name": "check_churn_risk",
    "description": "High risk: no order in 60 days and more than $500 spent. No orders at all: a dormant account, at risk too.",
    "database": "customers",
    "parameters": [{"name": "customer_id", "type": "string"}],
    "steps": [_READ, _DORMANT, *_FIGURES],
}
WEEKLY: Final[dict[str, Any]] = {
    "name": "weekly_churn_prevention",
    "description": "Everybody who is at risk gets a coupon by mail.",
    "database": "customers",
    "steps": [
        fetch("customers", "customers"),
        {
            "type": "loop",
            "name": "each",
            "list": "customers",
            "iterator": "customer",
            "batch_size": 500,
            "output_variable": "done",
            "reduce": {"at_risk": {"op": "count", "where": "risk.is_risk"}},
            "steps": [
                {
                    "type": "script",
                    "name": "check",
                    "script_name": "check_churn_risk",
                    "script_args": {"customer_id": "{{ customer.customer_id }}"},
                    "transaction": "inherit",
                    "output_variable": "risk",
                },
                {
                    "type": "if",
                    "name": "at_risk",
                    "condition": "risk.is_risk",
                    "then": [
                        command("coupon_code", "coupon"),
                        command(
                            "send_email",
                            to="{{ customer.email }}",
                            subject="A coupon for you",
                            body="Your code is {{ coupon }}.",
                        ),
                    ],
                },
            ],
        },
        give({"customers": "{{ done.processed }}", "at_risk": "{{ done.reduced.at_risk }}"}),
    ],
}
_FIRST: Final = (
    "I want to create a script called check_churn_risk. It should take a customer_id. A customer is 'high risk' if they haven't ordered in 60 days AND "
    "their total spend is over $500. Start a draft."
)
_SECOND: Final = "Return a JSON object with { is_risk: bool, reason: string }. Also, make sure to handle the case where they have NO orders."
_RISKS: Final = (
    Gives({"customer_id": "john_doe"}, {"is_risk": True}, script="check_churn_risk"),
    Gives({"customer_id": "new_user"}, {"is_risk": True}, script="check_churn_risk"),
    Gives({"customer_id": "small_sam"}, {"is_risk": False}, script="check_churn_risk"),
    Gives({"customer_id": "mary_major"}, {"is_risk": False}, script="check_churn_risk"),
)
_BEGUN: Final[list[list[Reply]]] = [
    [
        write({**CHECK, "steps": [_READ, *_FIGURES[:2], give("{{ days > 60 && spent > 500 }}")]}),
        ask("I've created the draft check_churn_risk. Should I return just a boolean, or the risk score?"),
    ],
    [change(steps=CHECK["steps"]), tell("Understood: null order history is 'high risk' (dormant account).")],
]

CASES: Final = (
    Case(
        "check_churn_risk",
        (_FIRST, _SECOND),
        (
            Asks(("boolean", "score", "return"), turn=0),
            Script("check_churn_risk", "customers", ("customer_id",)),
            *_RISKS,
            Untouched(),
        ),
        _BEGUN,
        samples=("customers",),
        wrong={
            "no orders are forgotten": [_BEGUN[0], [change(steps=[_READ, *_FIGURES]), tell("Done.")]],
            "or in place of and": [
                _BEGUN[0],
                [
                    change(
                        steps=[
                            _READ,
                            _DORMANT,
                            *_FIGURES[:2],
                            {**_FIGURES[2], "condition": "days > 60 || spent > 500"},
                            _FIGURES[3],
                        ]
                    )
                ],
            ],
        },
    ),
    Case(
        "seeds_dialogue",
        (
            _FIRST,
            _SECOND,
            "Run check_churn_risk for customer 'john_doe'. Show me the trace.",
            "Perfect.",
            "Create a new process called weekly_churn_prevention. It should: scan all users in the 'customers' database; for each user, run our check_churn_risk "
            "script; if they are at risk, generate a secure coupon code; email them the coupon.",
            "Yes, mock it. And save this as a Batch Job.",
            "/approve",
            "Schedule weekly_churn_prevention to run every Monday at 9 AM.",
            "UTC, please.",
        ),
        (
            Asks(("boolean", "score", "return"), turn=0),
            *_RISKS,
            Script(
                "weekly_churn_prevention", "customers", (), ("check_churn_risk", "coupon_code", "send_email"), ("loop",)
            ),
            Gives(
                {},
                script="weekly_churn_prevention",
                outside=(
                    ("send_email", {"to": "john@example.com"}),
                    ("send_email", {"to": "nia@example.com"}),
                    ("send_email", {"to": "vera@example.com"}),
                ),
            ),
            Asks(("mock",), turn=4),
            Called("mock_tool", {"tool": "send_email"}, turn=5),
            Changed(published=("weekly_churn_prevention",)),
            Asks(("zone",), turn=7),
            Scheduled("weekly_churn_prevention", ("monday",), "09:00", "UTC"),
            Waits("schedule_script"),
        ),
        [
            *_BEGUN,
            [
                call("dry_run", arguments={"customer_id": "john_doe"}),
                tell(
                    "Result: { is_risk: true, reason: 'Last order was 94 days ago' }. Trace: fetched orders (found 2); 94 > 60; $1200 > $500; logic implies RISK."
                ),
            ],
            [tell("Good.")],
            [
                write(WEEKLY),
                ask("I notice I don't have an email service configured. Shall I mock it for now?"),
            ],
            [call("mock_tool", tool="send_email"), call("publish_script")],
            [],
            [ask("In which time zone is 9 AM meant?")],
            [
                call(
                    "schedule_script",
                    script="weekly_churn_prevention",
                    calendar={"days": ["monday"], "at": "09:00"},
                    time_zone="UTC",
                )
            ],
        ],
        samples=("customers",),
        published=(CHECK,),
    ),
    Case(
        "composition",
        (
            "There is a script check_churn_risk. Create at_risk, which takes city and returns the customer_ids of those customers of that city who are at risk, as a list.",
        ),
        (
            Script("at_risk", "customers", ("city",), ("check_churn_risk",), ("loop",)),
            Gives({"city": "New York"}, ["john_doe", "vip_vera"]),
            Gives({"city": "Chicago"}, []),
        ),
        [
            [
                write(
                    {
                        "name": "at_risk",
                        "database": "customers",
                        "parameters": ["city"],
                        "steps": [
                            fetch("customers", "people", filter={"city": "{{ city }}"}),
                            {"type": "set", "variable": "found", "value": []},
                            {
                                "type": "loop",
                                "list": "people",
                                "iterator": "person",
                                "batch_size": 10,
                                "output_variable": "done",
                                "reduce": {
                                    "ids": {
                                        "op": "collect",
                                        "where": "risk.is_risk",
                                        "value": "person.customer_id",
                                        "limit": 1000,
                                    }
                                },
                                "steps": [
                                    {
                                        "type": "script",
                                        "script_name": "check_churn_risk",
                                        "script_args": {"customer_id": "{{ person.customer_id }}"},
                                        "transaction": "inherit",
                                        "output_variable": "risk",
                                    }
                                ],
                            },
                            give("{{ done.reduced.ids }}"),
                        ],
                    }
                ),
                tell("It calls check_churn_risk for each."),
            ]
        ],
        samples=("customers",),
        published=(CHECK,),
    ),
    Case(
        "publish_waits",
        ("Create hello, which returns {hello: 'world'}.", "Publish it."),
        (Script("hello"), Gives({}, {"hello": "world"}), Waits("publish_script"), Untouched()),
        [[write({"name": "hello", "steps": [give({"hello": "world"})]})], [call("publish_script")]],
        wrong={
            "only says so": [
                [write({"name": "hello", "steps": [give({"hello": "world"})]})],
                [tell("I have published it.")],
            ]
        },
    ),
    Case(
        "run_waits",
        ("Run check_churn_risk for vip_vera for real.",),
        (
            Called("run_script", {"name": "check_churn_risk", "arguments": {"customer_id": "vip_vera"}}),
            Waits("run_script"),
            Untouched(),
        ),
        [[call("run_script", name="check_churn_risk", arguments={"customer_id": "vip_vera"})]],
        samples=("customers",),
        published=(CHECK,),
    ),
    Case(
        "missing_tool",
        ("Create ping with the parameter number: send an SMS with the text 'ping' to that number.",),
        (Asks(("sms", "mock")), Untouched()),
        [[ask("There is no tool that sends an SMS. Shall I mock one for now?")]],
    ),
    Case(
        "honest_trace",
        ("Run check_churn_risk dry for john_doe. Is he at risk, and why?",),
        (Called("dry_run"), Says(("risk",)), Untouched()),
        [
            [
                call("dry_run", script="check_churn_risk", arguments={"customer_id": "john_doe"}),
                tell("Yes, he is at risk: the last order was 94 days ago."),
            ]
        ],
        samples=("customers",),
        published=(CHECK,),
    ),
)
