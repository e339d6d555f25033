"""Comparisons in which null comes before everything else: null < 1, and not null < null.

The runtime refuses to compare null, and takes no overload of `<` for it. So an expression that met a null in a comparison is evaluated
once more as a twin: the same checked tree, in which `<`, `<=`, `>` and `>=` are functions of ours. (What the first evaluation took as
given, `false && ...` say, does not depend on such a comparison, so both agree where the first one gives a value.)

The tree is a `cel.expr.CheckedExpr` (https://github.com/google/cel-spec, proto/cel/expr/checked.proto and syntax.proto). The messages
declared here are the part of it in which expressions nest; protocol buffers keep the fields that they do not know.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from cel_expr_python import cel
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.any_pb2 import Any as Packed

_TREE: Final[dict[str, list[tuple[str, int, str, bool]]]] = {
    "CheckedExpr": [("expr", 4, "Expr", False)],
    "Expr": [
        ("select_expr", 5, "Select", False),
        ("call_expr", 6, "Call", False),
        ("list_expr", 7, "List", False),
        ("struct_expr", 8, "Struct", False),
        ("comprehension_expr", 9, "Comprehension", False),
    ],
    "Select": [("operand", 1, "Expr", False)],
    "Call": [("target", 1, "Expr", False), ("function", 2, "", False), ("args", 3, "Expr", True)],
    "List": [("elements", 1, "Expr", True)],
    "Struct": [("entries", 2, "Entry", True)],
    "Entry": [("map_key", 3, "Expr", False), ("value", 4, "Expr", False)],
    "Comprehension": [
        ("iter_range", 2, "Expr", False),
        ("accu_init", 4, "Expr", False),
        ("loop_condition", 5, "Expr", False),
        ("loop_step", 6, "Expr", False),
        ("result", 7, "Expr", False),
    ],
}
"""Of each message the fields that are needed: name, number, message (a text without one), repeated."""

_PACKAGE: Final = "sop.cel"
_COMPARISONS: Final = ("_<_", "_<=_", "_>_", "_>=_")
_OURS: Final = {name: f"@null_first{name}" for name in _COMPARISONS}
"""No expression can call these by name: it has no such character."""


def compares_null(error: str) -> bool:
    """Whether an error of the runtime says that null was compared."""
    return "null_type" in error and any(f" {name}(" in error for name in _COMPARISONS)


def null_first(environment: cel.Env, expression: cel.Expression) -> cel.Expression:
    """The twin of an expression; the environment declares its names, and `comparisons()`."""
    packed = Packed.FromString(expression.serialize())
    tree = _messages()["CheckedExpr"].FromString(packed.value)
    for call in _calls(tree.expr):
        call.function = _OURS.get(call.function, call.function)
    packed.value = tree.SerializeToString(deterministic=True)
    return environment.deserialize(packed.SerializeToString(deterministic=True))


def comparisons() -> cel.CelExtension:
    """The functions that twins call."""
    dyn = cel.Type.DYN

    def declared(name: str, work: Callable[[Any, Any], bool]) -> cel.FunctionDecl:
        return cel.FunctionDecl(
            _OURS[name], [cel.Overload(f"null_first{name}", cel.Type.BOOL, [dyn, dyn], False, work)]
        )

    return cel.CelExtension(
        "null_first",
        [
            declared("_<_", lambda a, b: _less(a, b)),
            declared("_<=_", lambda a, b: a is None or (b is not None and _ordered(a, b) and a <= b)),
            declared("_>_", lambda a, b: _less(b, a)),
            declared("_>=_", lambda a, b: b is None or (a is not None and _ordered(a, b) and a >= b)),
        ],
    )


def _less(left: Any, right: Any) -> bool:
    if left is None or right is None:
        return left is None and right is not None
    return bool(_ordered(left, right) and left < right)


def _ordered(left: Any, right: Any) -> bool:
    """True for values that have an order. Raises ValueError in the words of the runtime for others, an int and a text say."""
    if _family(left) is None or _family(left) is not _family(right):
        raise ValueError(f"No matching overloads found : _<_({_name(left)}, {_name(right)})")
    return True


def _family(value: Any) -> type | None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float
    return next((kind for kind in (bool, str, bytearray, datetime, timedelta) if isinstance(value, kind)), None)


def _name(value: Any) -> str:
    names = {bool: "bool", int: "int64", float: "double", str: "string", bytearray: "bytes", list: "list", dict: "map"}
    return names.get(type(value), type(value).__name__)


def _calls(expression: Any) -> Iterator[Any]:
    """All calls in a tree of `Expr`, whose depth the runtime limits."""
    if expression.DESCRIPTOR.name == "Call":
        yield expression
    for field, found in expression.ListFields():
        if field.message_type is not None:
            for inner in found if field.is_repeated else (found,):
                yield from _calls(inner)


@cache
def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="sop/cel.proto", package=_PACKAGE, syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in _TREE.items():
        declared = file.message_type.add(name=message)
        for name, number, inner, repeated in fields:
            declared.field.add(
                name=name,
                number=number,
                label=kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL,
                type=kinds.TYPE_MESSAGE if inner else kinds.TYPE_STRING,
                type_name=f".{_PACKAGE}.{inner}" if inner else None,
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{message}"))
        for message in _TREE
    }
