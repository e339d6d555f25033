"""English to a script that reads: what it calls, and what it gives on the samples."""

from typing import Final

from evals.case import Case, tell
from evals.properties import Gives, Script
from evals.writing import command, fetch, give, written

CASES: Final = (
    Case(
        "headcount",
        (
            "Create a script headcount that returns the number of employees of a department, which is its parameter: {count: number}.",
        ),
        (
            Script("headcount", "company", ("department",)),
            Gives({"department": "Engineering"}, {"count": 4}),
            Gives({"department": "Legal"}, {"count": 0}),
        ),
        written(
            "headcount",
            [
                fetch("employees", "rows", filter={"department": "{{ department }}"}),
                give({"count": "{{ size(rows) }}"}),
            ],
            "company",
            ["department"],
        ),
        wrong={
            "counts everybody": written(
                "headcount",
                [fetch("employees", "rows"), give({"count": "{{ size(rows) }}"})],
                "company",
                ["department"],
            ),
            "has no parameter": written(
                "headcount",
                [fetch("employees", "rows", filter={"department": "Engineering"}), give({"count": "{{ size(rows) }}"})],
                "company",
            ),
            "writes nothing": [[tell("You could count them with a select.")]],
        },
    ),
    Case(
        "payroll",
        (
            "I want a script payroll: the total and the average salary of each department, as a list of {department, total, average}.",
        ),
        (
            Script("payroll", "company", (), (("aggregate", "select"),)),
            Gives(
                {},
                [
                    {"department": "Engineering", "total": 481000, "average": 120250},
                    {"department": "Sales", "total": 184000, "average": 92000},
                    {"department": "Support", "total": 109000, "average": 54500},
                ],
            ),
        ),
        written(
            "payroll",
            [
                command(
                    "aggregate",
                    "groups",
                    store="employees",
                    group_by=["department"],
                    values={"total": {"op": "sum", "value": "salary"}, "average": {"op": "avg", "value": "salary"}},
                ),
                give("{{ groups }}"),
            ],
            "company",
        ),
        wrong={
            "only Engineering": written(
                "payroll",
                [
                    command(
                        "aggregate",
                        "groups",
                        store="employees",
                        group_by=["department"],
                        filter={"department": "Engineering"},
                        values={"total": {"op": "sum", "value": "salary"}, "average": {"op": "avg", "value": "salary"}},
                    ),
                    give("{{ groups }}"),
                ],
                "company",
            )
        },
    ),
    Case(
        "seniority",
        (
            "Create seniority: for an employee_id return {level}. The level is 'senior' if the salary is more than 100000 and they were hired before "
            "2020-01-01, 'junior' if they were hired on or after 2022-01-01, otherwise 'regular'. If there is no such employee, fail with the code not_found.",
        ),
        (
            Script("seniority", "company", ("employee_id",), types=("if",)),
            Gives({"employee_id": 1}, {"level": "senior"}),
            Gives({"employee_id": 7}, {"level": "regular"}),
            Gives({"employee_id": 8}, {"level": "junior"}),
            Gives({"employee_id": 2}, {"level": "regular"}),
            Gives({"employee_id": 99}, fails="not_found"),
        ),
        written(
            "seniority",
            [
                command("get", "found", store="employees", key="{{ employee_id }}"),
                {
                    "type": "if",
                    "condition": "found == null",
                    "then": [
                        {"type": "fail", "code": "not_found", "message": "There is no employee {{ employee_id }}."}
                    ],
                },
                {
                    "type": "if",
                    "condition": "found.salary > 100000 && found.hired < '2020-01-01'",
                    "then": [give({"level": "senior"})],
                },
                {"type": "if", "condition": "found.hired >= '2022-01-01'", "then": [give({"level": "junior"})]},
                give({"level": "regular"}),
            ],
            "company",
            ["employee_id"],
        ),
        wrong={
            "forgets who is not there": written(
                "seniority",
                [
                    command("get", "found", store="employees", key="{{ employee_id }}"),
                    {
                        "type": "if",
                        "condition": "found.salary > 100000 && found.hired < '2020-01-01'",
                        "then": [give({"level": "senior"})],
                    },
                    {"type": "if", "condition": "found.hired >= '2022-01-01'", "then": [give({"level": "junior"})]},
                    give({"level": "regular"}),
                ],
                "company",
                ["employee_id"],
            ),
            "or instead of and": written(
                "seniority",
                [
                    command("get", "found", store="employees", key="{{ employee_id }}"),
                    {
                        "type": "if",
                        "condition": "found == null",
                        "then": [{"type": "fail", "code": "not_found", "message": "?"}],
                    },
                    {
                        "type": "if",
                        "condition": "found.salary > 100000 || found.hired < '2020-01-01'",
                        "then": [give({"level": "senior"})],
                    },
                    {"type": "if", "condition": "found.hired >= '2022-01-01'", "then": [give({"level": "junior"})]},
                    give({"level": "regular"}),
                ],
                "company",
                ["employee_id"],
            ),
        },
    ),
    Case(
        "over_budget",
        (
            "Make a script over_budget that returns the names of the departments whose salaries together are more than their budget, as a list of names.",
        ),
        (Script("over_budget", "company", ()), Gives({}, ["Sales"])),
        written(
            "over_budget",
            [
                command(
                    "aggregate",
                    "sums",
                    store="employees",
                    group_by=["department"],
                    values={"total": {"op": "sum", "value": "salary"}},
                ),
                fetch("departments", "departments"),
                give(
                    "{{ departments.filter(d, sums.exists(s, s.department == d.name && s.total > d.budget)).map(d, d.name) }}"
                ),
            ],
            "company",
        ),
    ),
    Case(
        "stock_value",
        (
            "stock_value: a script without parameters that gives the value of our stock (stock times price) as {value}, rounded to two decimals.",
        ),
        (Script("stock_value", "warehouse", ()), Gives({}, {"value": 817.4})),
        written(
            "stock_value",
            [fetch("items", "items"), give({"value": "{{ sum(items.map(i, i.stock * i.price)) }}"})],
            "warehouse",
        ),
        samples=("warehouse",),
    ),
    Case(
        "late_flights",
        (
            "Create late_flights with the parameter minutes: the ids of all flights that were late by more than so many minutes, in the order of their ids. Flights without a delay do not count.",
        ),
        (
            Script("late_flights", "flights", ("minutes",)),
            Gives({"minutes": 30}, [2, 4, 5]),
            Gives({"minutes": 70}, [2]),
        ),
        written(
            "late_flights",
            [fetch("flights", "rows", filter={"delay": {"$gt": "{{ minutes }}"}}), give("{{ rows.map(r, r.id) }}")],
            "flights",
            [{"name": "minutes", "type": "integer"}],
        ),
        samples=("flights",),
    ),
    Case(
        "worst_carrier",
        (
            "Write a script worst_carrier: the carrier with the highest average delay, as {name, average}, with the name from the carriers store. Flights that have no delay recorded do not count.",
        ),
        (Script("worst_carrier", "flights", ()), Gives({}, {"name": "United", "average": 53.5})),
        written(
            "worst_carrier",
            [
                command(
                    "aggregate",
                    "groups",
                    store="flights",
                    group_by=["carrier"],
                    filter={"delay": {"$ne": None}},
                    values={"average": {"op": "avg", "value": "delay"}},
                    order_by="-average",
                    limit=1,
                ),
                command("get", "carrier", store="carriers", key="{{ groups[0].carrier }}"),
                give({"name": "{{ carrier.name }}", "average": "{{ groups[0].average }}"}),
            ],
            "flights",
        ),
        samples=("flights",),
        wrong={
            "the best": written(
                "worst_carrier",
                [
                    command(
                        "aggregate",
                        "groups",
                        store="flights",
                        group_by=["carrier"],
                        values={"average": {"op": "avg", "value": "delay"}},
                        order_by="average",
                        limit=1,
                    ),
                    command("get", "carrier", store="carriers", key="{{ groups[0].carrier }}"),
                    give({"name": "{{ carrier.name }}", "average": "{{ groups[0].average }}"}),
                ],
                "flights",
            )
        },
    ),
    Case(
        "route_report",
        (
            "A script route_report with the parameters origin and dest, please: {flights: how many, late: how many of them by more than 15 minutes}.",
        ),
        (
            Script("route_report", "flights", ("origin", "dest")),
            Gives({"origin": "JFK", "dest": "LAX"}, {"flights": 2, "late": 1}),
            Gives({"origin": "JFK", "dest": "SFO"}, {"flights": 0, "late": 0}),
        ),
        written(
            "route_report",
            [
                command(
                    "aggregate",
                    "found",
                    store="flights",
                    filter={"origin": "{{ origin }}", "dest": "{{ dest }}"},
                    values={"flights": "count", "late": {"op": "count", "where": {"delay": {"$gt": 15}}}},
                ),
                give("{{ found[0] }}"),
            ],
            "flights",
            ["origin", "dest"],
        ),
        samples=("flights",),
    ),
    Case(
        "spenders",
        ("Create spenders: the names of users whose orders sum up to at least a minimum (a parameter, default 50).",),
        (Script("spenders", "accounts", ("minimum",)), Gives({}, ["Uma"]), Gives({"minimum": 10}, ["Uma", "Xia"])),
        written(
            "spenders",
            [
                command(
                    "aggregate",
                    "sums",
                    store="orders",
                    group_by=["user_id"],
                    values={"total": {"op": "sum", "value": "total"}},
                ),
                fetch("users", "users"),
                give("{{ users.filter(u, sums.exists(s, s.user_id == u.id && s.total >= minimum)).map(u, u.name) }}"),
            ],
            "accounts",
            [{"name": "minimum", "type": "number", "default": 50}],
        ),
        samples=("accounts",),
    ),
)
