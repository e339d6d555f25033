"""English to a script that changes rows or reaches outside: which rows, and which calls."""

from typing import Any, Final

from evals.case import Case
from evals.properties import Gives, Script
from evals.writing import command, fetch, give, written

_RAISE: Final[list[dict[str, Any]]] = [
    command(
        "select",
        "done",
        store="employees",
        filter={"department": "{{ department }}"},
        action="update",
        update_values={"$mul": {"salary": "{{ 1 + percent / 100.0 }}"}},
    ),
    give({"updated": "{{ done.updated }}"}),
]

CASES: Final = (
    Case(
        "raise",
        (
            "Write a script raise with the parameters department and percent. It raises the salary of everybody in that department by so many percent, and returns {updated: how many}.",
        ),
        (
            Script("raise", "company", ("department", "percent"), (("select", "update"),)),
            Gives({"department": "Support", "percent": 10}, {"updated": 2}, {"company/employees": {"updated": 2}}),
            Gives({"department": "Legal", "percent": 10}, {"updated": 0}),
        ),
        written("raise", _RAISE, "company", ["department", "percent"]),
        wrong={
            "only tells": written(
                "raise",
                [
                    fetch("employees", "rows", filter={"department": "{{ department }}"}),
                    give({"updated": "{{ size(rows) }}"}),
                ],
                "company",
                ["department", "percent"],
            ),
            "raises everybody": written(
                "raise",
                [{**_RAISE[0], "args": {**_RAISE[0]["args"], "filter": {}}}, _RAISE[1]],
                "company",
                ["department", "percent"],
            ),
        },
    ),
    Case(
        "birthday_mail",
        (
            "Write welcome: it takes employee_id, and sends that employee a mail with the subject 'Welcome' and the text 'Hello <name>!'. Return {sent: true}.",
        ),
        (
            Script("welcome", "company", ("employee_id",), ("send_email",)),
            Gives(
                {"employee_id": 4},
                {"sent": True},
                outside=(("send_email", {"to": "dan@example.com", "subject": "Welcome", "body": "Hello Dan!"}),),
            ),
        ),
        written(
            "welcome",
            [
                command("get", "person", store="employees", key="{{ employee_id }}"),
                command("send_email", to="{{ person.email }}", subject="Welcome", body="Hello {{ person.name }}!"),
                give({"sent": True}),
            ],
            "company",
            ["employee_id"],
        ),
    ),
    Case(
        "restock",
        (
            "In the warehouse: create restock. For every item whose stock is below its minimum, add a purchase {id: the sku, sku, amount} to purchases, where the "
            "amount is twice the minimum minus the stock. Return {ordered: how many}.",
        ),
        (
            Script("restock", "warehouse", (), (("add", "upsert"),), ("loop",)),
            Gives({}, {"ordered": 3}, {"warehouse/purchases": {"added": 3}}),
        ),
        written(
            "restock",
            [
                fetch("items", "items"),
                {"type": "set", "variable": "low", "value": "{{ items.filter(i, i.stock < i.minimum) }}"},
                {
                    "type": "loop",
                    "list": "low",
                    "iterator": "item",
                    "steps": [
                        command(
                            "upsert",
                            store="purchases",
                            record={
                                "id": "{{ item.sku }}",
                                "sku": "{{ item.sku }}",
                                "amount": "{{ 2 * item.minimum - item.stock }}",
                            },
                        )
                    ],
                },
                give({"ordered": "{{ size(low) }}"}),
            ],
            "warehouse",
        ),
        samples=("warehouse",),
        wrong={
            "at most": written(
                "restock",
                [
                    fetch("items", "items"),
                    {
                        "type": "set",
                        "variable": "low",
                        "value": "{{ items.filter(i, i.stock <= i.minimum || i.stock < 10) }}",
                    },
                    {
                        "type": "loop",
                        "list": "low",
                        "iterator": "item",
                        "steps": [
                            command(
                                "upsert",
                                store="purchases",
                                record={
                                    "id": "{{ item.sku }}",
                                    "sku": "{{ item.sku }}",
                                    "amount": "{{ 2 * item.minimum - item.stock }}",
                                },
                            )
                        ],
                    },
                    give({"ordered": "{{ size(low) }}"}),
                ],
                "warehouse",
            )
        },
    ),
    Case(
        "discontinue",
        (
            "Write discontinue with the parameter supplier: it deletes all items of that supplier and returns {deleted: how many}.",
        ),
        (
            Script("discontinue", "warehouse", ("supplier",), (("select", "delete"),)),
            Gives({"supplier": "Acme"}, {"deleted": 3}, {"warehouse/items": {"deleted": 3}}),
            Gives({"supplier": "Nobody"}, {"deleted": 0}),
        ),
        written(
            "discontinue",
            [
                command("select", "done", store="items", filter={"supplier": "{{ supplier }}"}, action="delete"),
                give({"deleted": "{{ done.deleted }}"}),
            ],
            "warehouse",
            ["supplier"],
        ),
        samples=("warehouse",),
        wrong={
            "deletes all": written(
                "discontinue",
                [command("select", "done", store="items", action="delete"), give({"deleted": "{{ done.deleted }}"})],
                "warehouse",
                ["supplier"],
            )
        },
    ),
    Case(
        "order_from_supplier",
        (
            "Make a script ask_supplier: given a sku, mail the supplier of that item (subject 'Order <sku>', body: how many we need to reach the minimum, only the number) if it is below its minimum; return {asked: true or false}.",
        ),
        (
            Script("ask_supplier", "warehouse", ("sku",), ("send_email",), ("if",)),
            Gives(
                {"sku": "B-1"},
                {"asked": True},
                outside=(("send_email", {"to": "sales@borealis.example", "subject": "Order B-1", "body": "2"}),),
            ),
            Gives({"sku": "B-2"}, {"asked": False}),
        ),
        written(
            "ask_supplier",
            [
                command("get", "item", store="items", key="{{ sku }}"),
                {"type": "if", "condition": "item.stock >= item.minimum", "then": [give({"asked": False})]},
                command("get", "supplier", store="suppliers", key="{{ item.supplier }}"),
                command(
                    "send_email",
                    to="{{ supplier.email }}",
                    subject="Order {{ sku }}",
                    body="{{ string(item.minimum - item.stock) }}",
                ),
                give({"asked": True}),
            ],
            "warehouse",
            ["sku"],
        ),
        samples=("warehouse",),
    ),
    Case(
        "deactivate",
        (
            "deactivate_idle: set active to false for every user whose last login was before a given day (parameter before, YYYY-MM-DD) and who is still active. Return {deactivated: how many}.",
        ),
        (
            Script("deactivate_idle", "accounts", ("before",)),
            Gives({"before": "2026-03-01"}, {"deactivated": 2}, {"accounts/users": {"updated": 2}}),
            Gives({"before": "2025-01-01"}, {"deactivated": 0}),
        ),
        written(
            "deactivate_idle",
            [
                command(
                    "select",
                    "done",
                    store="users",
                    filter={"last_login": {"$lt": "{{ before }}"}, "active": True},
                    action="update",
                    update_values={"active": False},
                ),
                give({"deactivated": "{{ done.updated }}"}),
            ],
            "accounts",
            ["before"],
        ),
        samples=("accounts",),
    ),
    Case(
        "remind",
        (
            "Write remind_idle: mail everybody who has not logged in for 30 days (subject 'We miss you', any text), and return {mailed: how many}. Only active users.",
        ),
        (
            Script("remind_idle", "accounts", (), ("send_email",), ("loop",)),
            Gives(
                {},
                {"mailed": 2},
                outside=(("send_email", {"to": "vic@example.com"}), ("send_email", {"to": "yan@example.com"})),
            ),
        ),
        written(
            "remind_idle",
            [
                fetch("users", "users", filter={"active": True}),
                {"type": "set", "variable": "idle", "value": "{{ users.filter(u, days_since(u.last_login) > 30) }}"},
                {
                    "type": "loop",
                    "list": "idle",
                    "iterator": "user",
                    "steps": [
                        command(
                            "send_email",
                            to="{{ user.email }}",
                            subject="We miss you",
                            body="Hello {{ user.name }}, come and see what is new.",
                        )
                    ],
                },
                give({"mailed": "{{ size(idle) }}"}),
            ],
            "accounts",
        ),
        samples=("accounts",),
        wrong={
            "mails everybody": written(
                "remind_idle",
                [
                    fetch("users", "idle"),
                    {
                        "type": "loop",
                        "list": "idle",
                        "iterator": "user",
                        "steps": [command("send_email", to="{{ user.email }}", subject="We miss you", body="Hello")],
                    },
                    give({"mailed": "{{ size(idle) }}"}),
                ],
                "accounts",
            )
        },
    ),
)
