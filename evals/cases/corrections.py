"""Conversations in which the person changes their mind, or corrects what was understood."""

from typing import Any, Final

from evals.case import Case, Reply, change, tell, write
from evals.properties import Gives, Script
from evals.writing import command, fetch, give


def bonus(percent: float, condition: str = "e.department == 'Sales'") -> list[dict[str, Any]]:
    return [
        fetch("employees", "rows"),
        give({"bonus": f"{{{{ sum(rows.filter(e, {condition}).map(e, e.salary * {percent})) }}}}"}),
    ]


def first(name: str, steps: list[dict[str, Any]], database: str = "company", **more: Any) -> list[Reply]:
    return [write({"name": name, "database": database, "steps": steps, **more}), tell("The draft is ready.")]


def then(**fields: Any) -> list[Reply]:
    return [change(**fields), tell("Changed.")]


_OPEN: Final = [
    command("aggregate", "found", store="orders", filter={"status": "open"}, values={"count": "count"}),
    give("{{ found[0] }}"),
]

CASES: Final = (
    Case(
        "another_percentage",
        ("Create bonus: the sum of 10 percent of the salaries in Sales, as {bonus}.", "No, make that 5 percent."),
        (Script("bonus", "company", ()), Gives({}, {"bonus": 9200})),
        [first("bonus", bonus(0.1)), then(steps=bonus(0.05))],
        wrong={"does not listen": [first("bonus", bonus(0.1)), [tell("It is 5 percent now.")]]},
    ),
    Case(
        "becomes_a_parameter",
        (
            "Create bonus: the sum of 10 percent of the salaries in Sales, as {bonus}.",
            "Make the department a parameter.",
        ),
        (
            Script("bonus", "company", ("department",)),
            Gives({"department": "Support"}, {"bonus": 10900}),
            Gives({"department": "Sales"}, {"bonus": 18400}),
        ),
        [first("bonus", bonus(0.1)), then(parameters=["department"], steps=bonus(0.1, "e.department == department"))],
        wrong={"is not used": [first("bonus", bonus(0.1)), then(parameters=["department"])]},
    ),
    Case(
        "other_database_meant",
        ("Create open_orders: how many orders are open, as {count}.", "I meant the database customers."),
        (Script("open_orders", "customers", ()), Gives({}, {"count": 1})),
        [first("open_orders", _OPEN, "accounts"), then(database="customers")],
        samples=("accounts", "customers"),
        wrong={"stays": [first("open_orders", _OPEN, "accounts"), [tell("Yes.")]]},
    ),
    Case(
        "another_name",
        ("Create a script x1 that returns the number of employees as {count}.", "Call it head_count instead."),
        (Script("head_count", "company", ()), Gives({}, {"count": 8}, script="head_count")),
        [first("x1", [fetch("employees", "rows"), give({"count": "{{ size(rows) }}"})]), then(name="head_count")],
    ),
    Case(
        "taken_back",
        (
            "Create shout with the parameter text: it returns {text: the text in capital letters}... no wait, return the text as it is.",
            "Add an exclamation mark at its end.",
            "Forget the exclamation mark.",
        ),
        (Script("shout", parameters=("text",)), Gives({"text": "Hello"}, {"text": "Hello"})),
        [
            [write({"name": "shout", "parameters": ["text"], "steps": [give({"text": "{{ text }}"})]})],
            then(steps=[give({"text": "{{ text }}!"})]),
            then(steps=[give({"text": "{{ text }}"})]),
        ],
        wrong={
            "keeps it": [
                [write({"name": "shout", "parameters": ["text"], "steps": [give({"text": "{{ text }}"})]})],
                then(steps=[give({"text": "{{ text }}!"})]),
                [tell("It is gone.")],
            ]
        },
    ),
    Case(
        "one_step_more",
        (
            "Create fire with the parameter id: delete that employee and return {deleted: 1 or 0}.",
            "Before that, mail hr@example.com with the subject 'Fired' and the employee's name as body.",
        ),
        (
            Script("fire", "company", ("id",), ("send_email", ("delete", "select"))),
            Gives(
                {"id": 6},
                {"deleted": 1},
                {"company/employees": {"deleted": 1}},
                (("send_email", {"to": "hr@example.com", "subject": "Fired", "body": "Finn"}),),
            ),
        ),
        [
            first(
                "fire",
                [command("delete", "done", store="employees", key="{{ id }}"), give("{{ done }}")],
                parameters=["id"],
            ),
            then(
                steps=[
                    command("get", "person", store="employees", key="{{ id }}"),
                    command("send_email", to="hr@example.com", subject="Fired", body="{{ person.name }}"),
                    command("delete", "done", store="employees", key="{{ id }}"),
                    give("{{ done }}"),
                ]
            ),
        ],
    ),
    Case(
        "one_step_less",
        (
            "Create onboard with name and department: add an employee with the id 100 (salary 0, hired 2026-07-01, mail new@example.com) and mail it@example.com about it. Return {id: 100}.",
            "IT knows already: leave the mail out.",
        ),
        (
            Script("onboard", "company", ("name", "department"), without=("send_email",)),
            Gives({"name": "Ida", "department": "Legal"}, {"id": 100}, {"company/employees": {"added": 1}}),
        ),
        [
            first(
                "onboard",
                [
                    command(
                        "add",
                        store="employees",
                        record={
                            "id": 100,
                            "name": "{{ name }}",
                            "department": "{{ department }}",
                            "salary": 0,
                            "hired": "2026-07-01",
                            "email": "new@example.com",
                        },
                    ),
                    command("send_email", to="it@example.com", subject="New", body="{{ name }}"),
                    give({"id": 100}),
                ],
                parameters=["name", "department"],
            ),
            then(
                steps=[
                    command(
                        "add",
                        store="employees",
                        record={
                            "id": 100,
                            "name": "{{ name }}",
                            "department": "{{ department }}",
                            "salary": 0,
                            "hired": "2026-07-01",
                            "email": "new@example.com",
                        },
                    ),
                    give({"id": 100}),
                ]
            ),
        ],
    ),
    Case(
        "edge_is_handled",
        (
            "Create average_order with the parameter customer_id: the average amount of that customer's orders, as {average}.",
            "Also make sure to handle the case where they have NO orders: average 0 then.",
        ),
        (
            Script("average_order", "customers", ("customer_id",)),
            Gives({"customer_id": "john_doe"}, {"average": 600}),
            Gives({"customer_id": "new_user"}, {"average": 0}),
        ),
        [
            first(
                "average_order",
                [
                    fetch("orders", "orders", filter={"customer_id": "{{ customer_id }}"}),
                    give({"average": "{{ avg(orders.map(o, o.amount)) }}"}),
                ],
                "customers",
                parameters=["customer_id"],
            ),
            then(
                steps=[
                    fetch("orders", "orders", filter={"customer_id": "{{ customer_id }}"}),
                    {"type": "if", "condition": "size(orders) == 0", "then": [give({"average": 0})]},
                    give({"average": "{{ avg(orders.map(o, o.amount)) }}"}),
                ]
            ),
        ],
        samples=("customers",),
        wrong={
            "not handled": [
                first(
                    "average_order",
                    [
                        fetch("orders", "orders", filter={"customer_id": "{{ customer_id }}"}),
                        give({"average": "{{ orders[0].amount }}"}),
                    ],
                    "customers",
                    parameters=["customer_id"],
                ),
                [tell("I have taken care of that.")],
            ]
        },
    ),
)
