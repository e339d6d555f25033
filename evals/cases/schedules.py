"""Schedules in conversation: the times, the time zone, and that they wait for the person."""

from typing import Any, Final

from evals.case import Case, Reply, ask, call
from evals.properties import Asks, Never, Scheduled, Untouched, Waits

TIDY_UP: Final[dict[str, Any]] = {
    "name": "tidy_up",
    "description": "Removes tickets that are closed.",
    "database": "support",
    "steps": [
        {
            "type": "command",
            "command": "select",
            "args": {"store": "tickets", "filter": {"status": "closed"}, "action": "delete"},
        }
    ],
}


def case(name: str, says: tuple[str, ...], expect: Scheduled, *turns: list[Reply], **more: Any) -> Case:
    """A case that ends with a schedule that waits."""
    return Case(
        name,
        says,
        (expect, Waits("schedule_script"), Untouched()),
        turns,
        samples=("support",),
        published=(TIDY_UP,),
        **more,
    )


def schedule(**args: Any) -> Reply:
    return call("schedule_script", script="tidy_up", **args)


CASES: Final = (
    case(
        "every_monday",
        ("Schedule tidy_up every Monday at 9 AM, New York time.",),
        Scheduled("tidy_up", ("monday",), "09:00", "America/New_York"),
        [schedule(calendar={"days": ["monday"], "at": "09:00"}, time_zone="America/New_York")],
        wrong={
            "in UTC": [[schedule(calendar={"days": ["monday"], "at": "09:00"}, time_zone="UTC")]],
            "in the evening": [[schedule(calendar={"days": ["monday"], "at": "21:00"}, time_zone="America/New_York")]],
            "asks although all is said": [[ask("In which time zone?")]],
        },
    ),
    case(
        "by_cron",
        ("Run tidy_up on Mondays and Thursdays at half past five in the afternoon, time zone Europe/Madrid.",),
        Scheduled("tidy_up", ("monday", "thursday"), "17:30", "Europe/Madrid"),
        [schedule(cron="30 17 * * 1,4", time_zone="Europe/Madrid")],
    ),
    case(
        "every_quarter_of_an_hour",
        ("tidy_up should run every 15 minutes.",),
        Scheduled("tidy_up", every=900),
        [schedule(every=900)],
        wrong={"every 15 seconds": [[schedule(every=15)]]},
    ),
    case(
        "working_days",
        ("Please run tidy_up on every working day at noon UTC.",),
        Scheduled("tidy_up", ("monday", "tuesday", "wednesday", "thursday", "friday"), "12:00", "UTC"),
        [
            schedule(
                calendar={"days": ["monday", "tuesday", "wednesday", "thursday", "friday"], "at": "12:00"},
                time_zone="UTC",
            )
        ],
        wrong={"every day": [[schedule(calendar={"at": "12:00"}, time_zone="UTC")]]},
    ),
    case(
        "first_of_the_month",
        ("Schedule tidy_up for the first of every month at 6 in the morning, UTC.",),
        Scheduled("tidy_up", cron="0 6 1 * *", time_zone="UTC"),
        [schedule(cron="0 6 1 * *", time_zone="UTC")],
    ),
    case(
        "zone_when_asked",
        ("Schedule tidy_up every Monday at 9 AM.", "Berlin, please."),
        Scheduled("tidy_up", ("monday",), "09:00", "Europe/Berlin"),
        [ask("In which time zone is 9 AM meant?")],
        [schedule(calendar={"days": ["monday"], "at": "09:00"}, time_zone="Europe/Berlin")],
    ),
    Case(
        "no_time_zone",
        ("Schedule tidy_up every Monday at 9 AM.",),
        (Asks(("time zone", "timezone", "zone")), Never(("schedule_script",)), Untouched()),
        [[ask("In which time zone is 9 AM meant?")]],
        samples=("support",),
        published=(TIDY_UP,),
        wrong={"makes one up": [[schedule(calendar={"days": ["monday"], "at": "09:00"}, time_zone="UTC")]]},
    ),
)
