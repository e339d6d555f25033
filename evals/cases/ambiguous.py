"""Requests that can mean several things: they have to be answered by a question, and nothing done."""

from typing import Final

from evals.case import Case, Reply, ask, call, tell
from evals.properties import Asks, Never, Untouched

CASES: Final = (
    Case(
        "which_threshold",
        ("Create a script big_earners that lists the employees who earn a lot.",),
        (Asks(("how much", "salary", "threshold", "amount")), Untouched()),
        [[ask("From which salary on does somebody earn a lot?")]],
        wrong={
            "picks one": [
                [
                    call(
                        "create_script",
                        name="big_earners",
                        database="company",
                        steps=[
                            {
                                "type": "fetch",
                                "source": "btree",
                                "resource": "employees",
                                "filter": {"salary": {"$gt": 100000}},
                                "variable": "x",
                            }
                        ],
                    )
                ]
            ],
            "asks about something else": [[ask("Shall I also send a mail?")]],
        },
    ),
    Case(
        "which_delete",
        ("Delete the old orders.",),
        (Asks(("old", "date", "how many days", "before")), Never(("select", "delete")), Untouched()),
        [[ask("Orders from before which date are old?")]],
        samples=("customers",),
        wrong={
            "deletes all the same": [
                [
                    Reply(
                        "Shall I delete the old ones?",
                        (
                            (
                                "select",
                                {"store": "orders", "filter": {"date": {"$lt": "2026-03-01"}}, "action": "delete"},
                            ),
                        ),
                    )
                ]
            ]
        },
    ),
    Case(
        "which_store",
        ("How many orders are there?",),
        (Asks(("customers", "accounts", "which")), Untouched()),
        [[tell("There are orders in two databases: do you mean those of customers, or those of accounts?")]],
        samples=("customers", "accounts", "company"),
        database="company",
    ),
    Case(
        "who_gets_it",
        ("Send them the coupon.",),
        (Asks(("who", "whom", "which", "customers")), Never(("send_email",)), Untouched()),
        [[ask("To whom shall the coupon be sent, and which coupon is meant?")]],
        samples=("customers",),
        wrong={
            "sends it to all": [
                [call("send_email", to=["john@example.com", "mary@example.com"], subject="Coupon", body="Here it is")]
            ]
        },
    ),
    Case(
        "two_departments",
        ("Move Finn to the other department.",),
        (Asks(("which", "engineering", "sales")), Never(("update", "upsert")), Untouched()),
        [[ask("Which department shall Finn move to: Engineering, Sales or Legal?")]],
    ),
    Case(
        "boolean_or_score",
        (
            "I want to create a script called check_churn_risk. It should take a customer_id. A customer is 'high risk' if they haven't ordered in 60 days "
            "AND their total spend is over $500. Start a draft, but ask me before you decide what it returns.",
        ),
        (Asks(("boolean", "score", "return")), Untouched()),
        [
            [
                call(
                    "create_script", name="check_churn_risk", database="customers", parameters=["customer_id"], steps=[]
                ),
                ask("Should I return just a boolean, or the risk score?"),
            ]
        ],
        samples=("customers",),
    ),
    Case(
        "which_currency",
        ("Create to_euro with the parameter amount, a script that converts an amount of dollars into euros.",),
        (Asks(("rate", "exchange", "course")), Untouched()),
        [[ask("Which exchange rate shall it use, or where does it come from?")]],
        wrong={
            "makes up a rate": [
                [
                    call(
                        "create_script",
                        name="to_euro",
                        parameters=["amount"],
                        steps=[{"type": "return", "value": "{{ amount * 0.9 }}"}],
                    )
                ]
            ]
        },
    ),
)
