"""Inside of a chunk: where the body of a batch ends for an element, and is counted into the loop's reductions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from script.compiler.program import Instruction
from script.machine import reduce
from script.machine.effects import StepFailure
from script.machine.state import Frame

if TYPE_CHECKING:
    from script.machine.machine import Machine


@contextmanager
def reducing() -> Iterator[None]:
    """What values cannot be combined is an error of the loop, never of the machine."""
    try:
        yield
    except TypeError:
        message = "reduce: min and max need values of one type, all numbers or all strings"
        raise StepFailure("type_mismatch", message) from None
    except OverflowError as error:
        raise StepFailure("overflow", f"reduce: {error}") from None


def iterated(
    machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any], *, stop: bool = False
) -> None:
    """The body of a chunk's iteration is over: count it in, and give the machine back."""
    reduce_iteration(machine, frame, head, record)
    machine.state["done"] = {"status": "stopped" if stop else "iterated", "value": None, "error": None}


def reduce_iteration(machine: "Machine", frame: Frame, head: Instruction, record: dict[str, Any]) -> None:
    """Count one finished iteration into the loop's reductions."""
    table = head.operands.get("reduce") or {}

    def where(name: str) -> bool:
        return f"reduce/{name}/where" not in head.conditions or machine.condition(frame, head, f"reduce/{name}/where")

    def value(name: str) -> Any:
        element = machine.render(frame, head, f"reduce/{name}/value")
        op = table[name]["op"]
        number = isinstance(element, int | float) and not isinstance(element, bool)
        if element is not None and op in ("sum", "avg") and not number:
            raise StepFailure("type_mismatch", f"reduce {name}: {op} needs numbers, and got {element!r}")
        if element is not None and op in ("min", "max") and not (number or isinstance(element, str)):
            raise StepFailure("type_mismatch", f"reduce {name}: {op} needs numbers or strings, and got {element!r}")
        return element

    with reducing():
        reduce.add(record["reduced"], table, where, value)
