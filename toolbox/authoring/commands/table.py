"""The table of slash commands: for each, its words, and how they become the arguments of one tool.

    /record NAME [--ask] [--force]      places ("name",); --ask is ask=true
    /add STORE field=value ...          places ("store", "record"), gather "record"

Bare words fill `places` in order, those of `needs` have to be there; name=value is an argument of the tool by its own name, or goes into
the object `gather`; `rest` takes the text behind the places as it stands. `read` is for commands that need more than that.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from toolbox.authoring.commands import deciding, running, steps
from toolbox.authoring.commands.line import Line
from toolbox.authoring.commands.outcomes import Outcome


@dataclass(frozen=True)
class Command:
    """A command. `own` are the tool's arguments that can be given by name although there is `gather`."""

    name: str
    usage: str
    help: str
    examples: tuple[str, ...]
    tool: str | None = None
    places: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    rest: str | None = None
    gather: str | None = None
    own: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    read: Callable[[Line], Outcome] | None = None


_GROUPS: Final[dict[str, tuple[Command, ...]]] = {
    "Writing a script": (
        Command(
            "create",
            "NAME [DESCRIPTION] [database=DB]",
            "Begin a new script: an empty draft, which is open from now on.",
            ("/create check_churn_risk database=customers",),
            "create_script",
            places=("name",),
            needs=("name",),
            rest="description",
        ),
        Command(
            "step",
            "[{STEP AS JSON} | WORDS]",
            "Add a step at the end: JSON is a step, words are a question to the model at run time; alone, the last tool call.",
            (
                '/step {"type": "command", "command": "list_stores"}',
                "/step Summarize the orders of {{ customer_id }}",
                "/step",
            ),
            "save_step",
            read=steps.step,
        ),
        Command(
            "insert_step",
            "POSITION {STEP AS JSON} | WORDS",
            "Put a step before the one that is at this position now; the first step is 1.",
            ('/insert_step 1 {"type": "say", "message": "Hello"}',),
            "insert_step",
            read=steps.insert,
        ),
        Command(
            "update_step",
            "POSITION {FIELDS AS JSON} | field=value ...",
            "Change fields of the step at this position, or of the step of this name.",
            ('/update_step 2 {"message": "Good morning"}', "/update_step greet message='Good morning'"),
            "update_step",
            read=steps.update,
        ),
        Command(
            "delete_step",
            "POSITION",
            "Remove the step at this position, or the step of this name.",
            ("/delete_step 3",),
            "delete_step",
            read=steps.delete,
        ),
        Command(
            "reorder_steps",
            "POSITION POSITION ...",
            "Put the steps in another order: all of them, by the positions or names that they have now.",
            ("/reorder_steps 3 1 2",),
            "reorder_steps",
            read=steps.reorder,
        ),
        Command(
            "parameterize",
            "name=value ...",
            "Make parameters of values: every place of the draft that has the value takes the parameter instead.",
            ("/parameterize customer_id=00042 day=2026-01-31",),
            "parameterize_script",
            read=steps.parameterize,
        ),
        Command("undo", "", "Take the last change of the draft back.", ("/undo",), "undo"),
        Command(
            "show",
            "[NAME] [--json]",
            "Show the open draft, or a published script; with --json, its text.",
            ("/show", "/show --json", "/show check_churn_risk"),
            "show_draft",
            read=steps.show,
        ),
        Command(
            "diff", "", "What differs between the draft and the version that it is based on.", ("/diff",), "diff_script"
        ),
        Command(
            "outline",
            "[NAME]",
            "The draft, or a published script, in plain English.",
            ("/outline",),
            "outline_script",
            places=("name",),
        ),
        Command(
            "review",
            "[NAME]",
            "What the draft, or a published script, does to the world, and what looks wrong with it.",
            ("/review weekly_churn_prevention",),
            "review_script",
            places=("name",),
        ),
        Command("drafts", "", "The drafts that there are.", ("/drafts",), "list_drafts"),
        Command(
            "open",
            "SCRIPT [version=...]",
            "Go on with the draft of a script; where there is none, with a new one of its published version.",
            ("/open check_churn_risk",),
            "open_draft",
            places=("script", "version"),
            needs=("script",),
        ),
        Command(
            "delete",
            "[DRAFT]",
            "Remove the draft that is open, or another one, when that is approved; what was published stays.",
            ("/delete check_churn_risk",),
            "delete_draft",
            places=("draft",),
        ),
    ),
    "Publishing, running, scheduling": (
        Command("save", "", "Publish the draft as a new version, as /publish does.", ("/save",), "publish_script"),
        Command(
            "save_as",
            "NAME",
            "Give the draft another name, under which it is published then; what was published under the old one stays.",
            ("/save_as check_churn_risk_2",),
            read=steps.rename,
        ),
        Command(
            "publish",
            "",
            "Show what would be published, and publish it when that is approved.",
            ("/publish",),
            "publish_script",
        ),
        Command("list", "", "The published scripts.", ("/list",), "list_scripts", others=("list_scripts",)),
        Command(
            "run",
            "NAME [VALUE ...] [parameter=value ...]",
            "Run a published script; values without a name are its parameters in their order.",
            ("/run check_churn_risk customer_id=00042", "/run check_churn_risk 00042"),
            "run_script",
            read=running.run,
            others=("play",),
        ),
        Command(
            "dry_run",
            "[NAME] [parameter=value ...]",
            "Run the open draft, or a published script, without any effect, and show the trace.",
            ("/dry_run customer_id=00042", "/dry_run check_churn_risk customer_id=00042"),
            "dry_run",
            read=running.dry_run,
        ),
        Command(
            "schedule",
            "NAME WHEN [in TIME_ZONE] [arguments={...}]",
            'Run a published script by the calendar, when that is approved; cron="..." is another way to say when.',
            (
                "/schedule weekly_churn_prevention every Monday at 9 AM in America/New_York",
                '/schedule tidy_up cron="0 3 * * *" time_zone=UTC',
            ),
            "schedule_script",
            read=running.schedule,
        ),
        Command("schedules", "", "The schedules, with their next times.", ("/schedules",), "list_schedules"),
        Command("approve", "[ID] [COMMENT]", "Let happen what waits for you.", ("/approve",), read=deciding.approve),
        Command(
            "reject", "[ID] [COMMENT]", "Do not let it happen.", ("/reject not before Friday",), read=deciding.reject
        ),
        Command(
            "mock",
            "TOOL [result={...}]",
            "Let a tool answer without effect, in what is run from here.",
            ("/mock send_email",),
            "mock_tool",
            places=("tool", "result"),
            needs=("tool",),
        ),
        Command(
            "unmock",
            "TOOL",
            "Let the tool do again what it does.",
            ("/unmock send_email",),
            "unmock_tool",
            places=("tool",),
            needs=("tool",),
        ),
        Command("mocks", "", "The tools that answer without effect here.", ("/mocks",), "list_mocks"),
    ),
    "Recording": (
        Command(
            "record",
            "NAME [--ask] [--force]",
            "Record a script: from now on tool calls become its steps (with --ask, your words do); --force begins one of this name anew.",
            ("/record tidy_up", "/record tidy_up --ask --force"),
            "start_recording",
            places=("name",),
            needs=("name",),
        ),
        Command("pause", "", "Record nothing for now.", ("/pause",), "pause_recording"),
        Command("resume", "", "Go on recording.", ("/resume",), "resume_recording"),
        Command("stop", "", "End the recording; its draft is open.", ("/stop",), "stop_recording"),
        Command(
            "last_tool", "", "The last tool call, with all of its arguments.", ("/last-tool", "last-tool"), "last_tool"
        ),
    ),
    "Data": (
        Command(
            "select",
            "STORE [filter={...}] [fields=a,b] [order_by=...] [limit=n]",
            "Rows of a store.",
            (
                '/select employees filter={"department": "Engineering", "salary": {"$gt": 100000}}',
                "/select orders limit=5 fields=id,amount",
            ),
            "select",
            places=("store",),
            needs=("store",),
        ),
        Command(
            "join",
            "LEFT RIGHT on=FIELD [type=anti] [filter={...}]",
            "Rows of two stores that belong together.",
            ('/join users orders on={"id": "user_id"} type=anti',),
            "join",
            places=("left", "right"),
            needs=("left", "right", "on"),
        ),
        Command(
            "add",
            "STORE {RECORD} | field=value ...",
            "Insert a record.",
            ('/add customers {"id": "00042", "name": "Ada"}', '/add customers id="00042" name=Ada'),
            "add",
            places=("store", "record"),
            needs=("store", "record"),
            gather="record",
            own=("store", "record"),
        ),
        Command(
            "update",
            "STORE KEY field=value ...",
            "Change fields of a record; a key that is digits and yet text stands in quotes.",
            ('/update customers "00042" name=Ada', "/update orders 7 paid=true"),
            "update",
            places=("store", "key", "values"),
            needs=("store", "key", "values"),
            gather="values",
            own=("store", "key", "values"),
        ),
        Command(
            "delete_record",
            "STORE KEY",
            "Remove a record.",
            ("/delete_record orders 7",),
            "delete",
            places=("store", "key"),
            needs=("store", "key"),
        ),
        Command("list_databases", "", "The databases.", ("/list_databases",), "list_databases", others=("databases",)),
        Command(
            "list_stores",
            "[DB]",
            "The stores of the database that is meant, or of another.",
            ("/list_stores", "/list_stores customers"),
            "list_stores",
            places=("database",),
            others=("stores",),
        ),
        Command(
            "switch_database",
            "DB",
            "Mean another database where none is named.",
            ("/switch_database customers",),
            "switch_database",
            places=("database",),
            needs=("database",),
        ),
    ),
    "The session": (
        Command(
            "list_tools",
            "",
            "The tools: /TOOL name=value calls any of them.",
            ("/list_tools",),
            "list_tools",
            others=("tools",),
        ),
        Command(
            "verbose",
            "[on | off]",
            "Show every tool call and its result, or only what matters.",
            ("/verbose on",),
            "set_verbose",
            places=("on",),
        ),
        Command("help", "[COMMAND]", "The commands, or one of them.", ("/help", "/help schedule")),
    ),
}

COMMANDS: Final[dict[str, Command]] = {command.name: command for group in _GROUPS.values() for command in group}
GROUPS: Final = {title: tuple(command.name for command in group) for title, group in _GROUPS.items()}
WORDS: Final[dict[str, Command]] = {
    word: command for command in COMMANDS.values() for word in (command.name, *command.others)
}
"""Every word, with what it means."""
