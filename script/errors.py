"""Errors of the language kernel.

ScriptError                     a stable code, a message that says what to do, a pointer, a hint
+-- ScriptInvalid               the text is no script: `problems` has all that is wrong with it
+-- ExpressionSyntaxError       an expression or a template does not parse
+-- PatchFailed                 an edit does not fit the text that it is for
+-- EvaluationError             it parses, but gives no value for these variables; its code tells why
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a script. `pointer` is a JSON Pointer into the document as it was given."""

    code: str
    pointer: str
    message: str
    hint: str | None = None
    severity: str = "error"

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value is not None}


class ScriptError(Exception):
    """Base of the errors here."""

    code = "script_error"
    retryable = False

    def __init__(self, message: str, *, pointer: str | None = None, hint: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.pointer = pointer
        self.hint = hint
        self.details = details

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: code, message, retryable, and pointer, hint, details where there are any."""
        found: dict[str, Any] = {"code": self.code, "message": self.message, "retryable": self.retryable}
        for name in ("pointer", "hint", "details"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


class ScriptInvalid(ScriptError):
    """All problems of a text that is no script."""

    code = "script_invalid"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        super().__init__(f"{first.pointer or '/'}: {first.message}{more}", pointer=first.pointer, hint=first.hint)
        self.problems = list(problems)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"problems": [problem.to_dict() for problem in self.problems]}


class PatchFailed(ScriptError):
    """An edit that cannot be done; nothing of the patch is."""

    code = "patch_failed"


class ExpressionSyntaxError(ScriptError):
    """`position` is the column (from 0) in the expression, where it is known."""

    code = "expression_syntax"

    def __init__(self, message: str, *, hint: str | None = None, position: int | None = None) -> None:
        super().__init__(message, hint=hint)
        if position is not None:
            self.details["position"] = position
        self.position = position


class EvaluationError(ScriptError):
    """`code` is one of missing_variable, missing_field, type_mismatch, divide_by_zero, overflow, budget, row_reference,
    bad_value, evaluation_failed; `variable` names the culprit where it is known."""

    def __init__(self, code: str, message: str, *, variable: str | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        if variable:
            self.details["variable"] = variable
        self.code = code
        self.variable = variable
