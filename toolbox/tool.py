"""A tool: one decorated Python function.

    @tool(effect="read")
    def get(ctx: ToolContext, store: str, key: Any) -> dict[str, Any] | None:
        "The record of a key, or null."

Its name, description, argument schema and result schema come from the function itself. Its effect class says what a caller
has to reckon with: `pure` (only its arguments), `read` and `write` (the step's transaction), `external` (the world outside:
may be mocked, has an idempotency key, may happen more than once), and `session`
(the conversation that it is called in: scripts cannot call it). What needs a person's approval says what is to be
approved (`approval`), bound by a hash to what it was when it was shown.

Arguments are checked before the function sees them: an unknown one is an error with the nearest known name.
"""

import asyncio
import hashlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any, Final, Literal, get_type_hints

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, create_model

from script.environment import ToolSignature
from toolbox.context import ToolContext
from toolbox.errors import InvalidArguments, NoSession

Effect = Literal["pure", "read", "write", "external", "session"]
_ATTRIBUTE: Final = "__tool__"
_SHOWN: Final = 200
"""Characters of the arguments in the sentence about a call that says nothing better."""


@dataclass(frozen=True)
class Bound:
    """What a person is asked to approve. `hash` is another one as soon as it means something else; `what` is one English sentence,
    `shown` the whole of it (a script's text, arguments)."""

    hash: str
    what: str
    shown: dict[str, Any] = field(default_factory=dict)


Approval = Callable[[ToolContext, dict[str, Any]], Bound]
"""Says what a call with these arguments (checked, with their defaults) binds. Raises what the call would raise."""


def binding(*parts: Any) -> str:
    """The hash of JSON values."""
    return hashlib.sha256(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS)).hexdigest()


@dataclass(frozen=True)
class Declaration:
    """What the decorator was told."""

    effect: Effect
    name: str | None
    needs_approval: bool
    writes_with: str | None
    approval: Approval | None


def tool(
    *,
    effect: Effect,
    name: str | None = None,
    needs_approval: bool = False,
    writes_with: str | None = None,
    approval: Approval | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function as a tool; a registry takes it in. With the argument `writes_with`, one that reads writes. `approval` says what
    a person approves, and makes it need that."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        needed = needs_approval or approval is not None
        setattr(function, _ATTRIBUTE, Declaration(effect, name, needed, writes_with, approval))
        return function

    return declare


class Tool:
    """A tool in a registry."""

    def __init__(self, function: Callable[..., Any]) -> None:
        declaration: Declaration | None = getattr(function, _ATTRIBUTE, None)
        if declaration is None:
            raise TypeError(f"{function.__name__} is not declared with @tool")
        self._function = function
        self.name = declaration.name or function.__name__
        self.effect: Effect = declaration.effect
        self.needs_approval = declaration.needs_approval
        self.mocked = False
        self._writes_with = declaration.writes_with
        self._approval = declaration.approval
        self.description = inspect.getdoc(function) or ""
        hints = get_type_hints(function, include_extras=True)
        parameters = list(inspect.signature(function).parameters.values())
        self._takes_context = bool(parameters) and hints.get(parameters[0].name) is ToolContext
        taken = parameters[1 if self._takes_context else 0 :]
        self._attributes = {f"argument_{parameter.name}": parameter.name for parameter in taken}
        fields: dict[str, Any] = {  # under names of our own: pydantic has uses for some, such as `schema`
            f"argument_{parameter.name}": (
                hints.get(parameter.name, Any),
                Field(... if parameter.default is parameter.empty else parameter.default, alias=parameter.name),
            )
            for parameter in taken
        }
        self._model: type[BaseModel] = create_model(
            self.name, __config__=ConfigDict(extra="forbid", strict=True), **fields
        )
        self._result = TypeAdapter(hints.get("return", Any))

    @property
    def arguments_schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments."""
        return self._arguments_schema

    @property
    def result_schema(self) -> dict[str, Any]:
        """The JSON Schema of the result."""
        return self._result_schema

    @cached_property
    def _arguments_schema(
        self,
    ) -> dict[str, Any]:  # made once: it takes milliseconds, and every check of a script asks every tool
        schema = self._model.model_json_schema()
        schema.pop("title", None)
        for described in schema.get("properties", {}).values():
            described.pop("title", None)
        return schema

    @cached_property
    def _result_schema(self) -> dict[str, Any]:
        return self._result.json_schema()

    @property
    def signature(self) -> ToolSignature:
        """What checker and compiler have to know."""
        return ToolSignature(self.arguments_schema, self.effect, self._writes_with)

    def writes(self, args: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments writes."""
        return self.effect == "write" or (self._writes_with is not None and args.get(self._writes_with) is not None)

    def describe(self) -> dict[str, Any]:
        """All of it, as JSON."""
        return {
            "name": self.name,
            "description": self.description,
            "effect": self.effect,
            "needs_approval": self.needs_approval,
            "arguments": self.arguments_schema,
            "result": self.result_schema,
        }

    def checked(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments with their defaults. Raises InvalidArguments with a pointer."""
        try:
            model = self._model.model_validate(dict(args))
        except ValidationError as error:
            raise self._invalid(dict(error.errors()[0])) from None
        return {name: getattr(model, attribute) for attribute, name in self._attributes.items()}

    def call_sync(self, context: ToolContext, args: Mapping[str, Any]) -> Any:
        """Check the arguments and call the function; an asynchronous one is run to its end here."""
        fields = self.checked(args)
        self._at_desk(context)
        result = self._function(context, **fields) if self._takes_context else self._function(**fields)
        return asyncio.run(result) if inspect.iscoroutine(result) else result

    def seen(self, written: Any) -> Any:
        """What a step sees of a call that was written down instead of made; `written` is what the outbox gives."""
        return written

    def bound(self, context: ToolContext, args: Mapping[str, Any]) -> Bound:
        """What a call binds that a person is to approve. Raises InvalidArguments, and what the tool says of what is not there."""
        fields = self.checked(args)
        if self._approval is not None:
            self._at_desk(context)
            return self._approval(context, fields)
        told = orjson.dumps(dict(args)).decode()
        what = f"Call {self.name} with {told if len(told) <= _SHOWN else told[:_SHOWN] + '…'}."
        return Bound(binding(self.name, dict(args)), what, {"tool": self.name, "args": dict(args)})

    def _at_desk(self, context: ToolContext) -> None:
        """The desk of a session's tool reaches what its services reach. Raises NoSession."""
        if self.effect != "session":
            return
        if context.session is None:
            raise NoSession(f"{self.name} works on a session, and there is none here", hint="call it in a session")
        if context.session.drafts is None:
            context.session.drafts = context.services.drafts

    def _invalid(self, error: dict[str, Any]) -> InvalidArguments:
        pointer = "".join(f"/{part}" for part in error["loc"])
        known = list(self._attributes.values())
        if error["type"] == "extra_forbidden":
            name = str(error["loc"][0])
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"its arguments are: {', '.join(known) or 'none'}"
            return InvalidArguments(f"{self.name} has no argument {name!r}", pointer=pointer, hint=hint)
        if error["type"] == "missing":
            return InvalidArguments(f"{self.name} needs the argument {error['loc'][0]!r}", pointer=pointer)
        return InvalidArguments(
            f"{self.name}: {error['loc'][0]}: {error['msg'][:1].lower()}{error['msg'][1:]}", pointer=pointer
        )
