"""The syntax tree: a Script and its steps, exactly the fields of the language.

A closed union: a step is told by its `type`, and an unknown type or field is an error, never ignored. The models are
frozen. They take the language's own words only; older spellings are translated before (`loading.py`). `variable` and
`output_variable` are one thing, called `variable` here.
"""

import builtins
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

STEP_NAME = r"^[A-Za-z_][A-Za-z0-9_ .-]{0,79}$"
IDENTIFIER = r"^[A-Za-z_][A-Za-z0-9_]{0,79}$"
SCRIPT_NAME = r"^[A-Za-z_][A-Za-z0-9_-]{0,79}$"
DATABASE_NAME = r"^[a-z][a-z0-9_]{0,62}$"

StepName = Annotated[str, Field(pattern=STEP_NAME)]
Identifier = Annotated[str, Field(pattern=IDENTIFIER)]
DatabaseName = Annotated[str, Field(pattern=DATABASE_NAME)]
Seconds = Annotated[float, Field(gt=0)]


class Node(BaseModel):
    """Base of all nodes: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, strict=False)


class Parameter(Node):
    """A parameter. `type` is a JSON Schema, or the name of a JSON type."""

    name: Identifier
    type: str | dict[str, Any] | None = None
    description: str | None = None
    default: Any = None
    required: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    def json_schema(self) -> dict[str, Any] | None:
        """The parameter's JSON Schema, or None for any value."""
        if isinstance(self.type, str):
            return {"type": "string", "format": "date"} if self.type == "date" else {"type": self.type}
        return self.type


class Retry(Node):
    """When and how often a failed step is tried again. Intervals are seconds."""

    max_attempts: int = Field(3, ge=1)
    initial_interval: Seconds = 1.0
    backoff: float = Field(2.0, ge=1)
    max_interval: Seconds = 60.0
    jitter: float = Field(0.0, ge=0, le=1)
    only: list[str] = []
    never: list[str] = []


class Catch(Node):
    """Steps that handle some errors (by code; `*` is any)."""

    errors: list[str] = ["*"]
    steps: "list[Step]"


Tolerance = Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=r"^(100|\d{1,2})(\.\d+)?%$")]
"""How many elements of a batch may fail: a number, or a share such as `2%`."""


class Reduce(Node):
    """How the iterations of a loop are combined."""

    op: Literal["count", "sum", "min", "max", "avg", "collect"]
    value: Any = None
    where: str | None = None
    limit: int | None = Field(None, ge=0)


class Approval(Node):
    """A person's decision."""

    by: str | list[str]
    prompt: str
    timeout: str | float | None = None


class StepBase(Node):
    """What every step may have."""

    name: StepName | None = None
    description: str | None = None
    is_async: bool = False
    continue_on_error: bool = False
    variable: Identifier | None = None
    retry: Retry | None = None
    timeout: str | float | None = None
    catch: list[Catch] | None = None
    finally_: "list[Step] | None" = Field(None, alias="finally")
    compensate: "Step | list[Step] | None" = None
    when: str | None = None
    database: DatabaseName | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_variable(cls, value: Any) -> Any:
        if isinstance(value, dict) and "output_variable" in value:
            value = dict(value)
            output = value.pop("output_variable")
            if value.setdefault("variable", output) != output:
                raise ValueError("variable and output_variable are one thing, and differ here")
        return value


class SetStep(StepBase):
    """Sets a variable; strings in the value are templates."""

    type: Literal["set"]
    variable: Identifier
    value: Any


class IfStep(StepBase):
    """Runs `then` or `else`."""

    type: Literal["if"]
    condition: str
    then: "list[Step]" = []
    else_: "list[Step]" = Field([], alias="else")


class LoopStep(StepBase):
    """Runs its steps for each element of a list, or for each row."""

    type: Literal["loop"]
    list: str | builtins.list[Any] | None = None
    iterator: Identifier | None = None
    index: Identifier | None = None
    while_: str | None = Field(None, alias="while")
    steps: "builtins.list[Step]"
    concurrency: int = Field(1, ge=1, le=100)
    batch_size: int | None = Field(None, ge=1, le=10_000)
    tolerate_failures: Tolerance | None = None
    reduce: dict[Identifier, Reduce] | None = None

    @model_validator(mode="after")
    def _has_a_list(self) -> "LoopStep":
        if self.while_ is None and (self.list is None or self.iterator is None):
            raise ValueError("a loop needs a list and an iterator (or while)")
        return self


class BlockStep(StepBase):
    """A group of steps."""

    type: Literal["block"]
    steps: "list[Step]"


class FetchStep(StepBase):
    """Rows from a store."""

    type: Literal["fetch"]
    source: str = "btree"
    resource: str
    filter: dict[str, Any] | None = None
    key: Any = None
    fields: list[str] | None = None
    order_by: str | list[str] | None = None
    limit: int | str | None = None
    single: bool = False


class CommandStep(StepBase):
    """Calls a tool."""

    type: Literal["command"]
    command: str
    args: dict[str, Any] = {}


class ScriptStep(StepBase):
    """Calls another script. With a database of its own it has its own transaction, unless it is to inherit this one."""

    type: Literal["script"]
    script_name: str = Field(pattern=SCRIPT_NAME)
    script_args: dict[str, Any] = {}
    version: str | None = None
    transaction: Literal["own", "inherit"] = "own"


class AskStep(StepBase):
    """Asks the language model."""

    type: Literal["ask"]
    prompt: str
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    model: str | None = None
    system: str | None = None


class SayStep(StepBase):
    """A line to the person."""

    type: Literal["say"]
    message: str


class WaitStep(StepBase):
    """A durable timer, or a person's decision."""

    type: Literal["wait"]
    duration: str | float | None = None
    until: str | None = None
    approval: Approval | None = None


class ReturnStep(StepBase):
    """Ends the script with a value."""

    type: Literal["return"]
    value: Any = None


class FailStep(StepBase):
    """Ends the script with an error."""

    type: Literal["fail"]
    code: str = "failed"
    message: str = ""


class BreakStep(StepBase):
    """Ends the innermost loop."""

    type: Literal["break"]


class ContinueStep(StepBase):
    """Ends this iteration of the innermost loop."""

    type: Literal["continue"]


Step = Annotated[
    SetStep
    | IfStep
    | LoopStep
    | BlockStep
    | FetchStep
    | CommandStep
    | ScriptStep
    | AskStep
    | SayStep
    | WaitStep
    | ReturnStep
    | FailStep
    | BreakStep
    | ContinueStep,
    Field(discriminator="type"),
]


class Script(Node):
    """A program."""

    name: str = Field(pattern=SCRIPT_NAME)
    description: str = ""
    category: str = Field("general", pattern=SCRIPT_NAME)
    parameters: list[Parameter] = []
    database: DatabaseName | None = None
    isolation: Literal["serializable", "snapshot"] = "serializable"
    steps: list[Step]
    output_schema: dict[str, Any] | None = None
    on_failure: list[Step] | None = None


STEP_MODELS: dict[str, type[StepBase]] = {
    "set": SetStep,
    "if": IfStep,
    "loop": LoopStep,
    "block": BlockStep,
    "fetch": FetchStep,
    "command": CommandStep,
    "script": ScriptStep,
    "ask": AskStep,
    "say": SayStep,
    "wait": WaitStep,
    "return": ReturnStep,
    "fail": FailStep,
    "break": BreakStep,
    "continue": ContinueStep,
}

_MODELS: tuple[type[Node], ...] = (Catch, *STEP_MODELS.values(), Script)
for _model in _MODELS:
    _model.model_rebuild()


def assigned(steps: Iterable[Step]) -> set[str]:
    """The variables that some steps may set, but for those of loops that end with them."""
    names: set[str] = set()
    for node in steps:
        names |= {node.variable} if node.variable is not None else set()
        for inner in _inner_steps(node):
            names |= assigned(inner)
    return names


def _inner_steps(node: Step) -> Iterable[list[Step]]:
    for name in ("steps", "then", "else_", "finally_"):
        yield getattr(node, name, None) or []
    for handler in node.catch or []:
        yield handler.steps
