"""Rows in words: filters, orders, fields. What is not of the shape that the language has comes as code, and never wrong.

Operators are MongoDB's (`query/filters`); a null there is a missing field too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from script.outline.words import code, json, listed, value, visible

_COMPARED: Final = {
    "$eq": "is",
    "$ne": "is not",
    "$gt": "is more than",
    "$gte": "is at least",
    "$lt": "is less than",
    "$lte": "is at most",
    "$starts_with": "starts with",
    "$contains": "contains",
}


def store(name: Any, database: str | None) -> str:
    """A store, with its database where it is known: users_db.customers."""
    if not isinstance(name, str) or "{{" in name:
        return value(name)
    return f"{database}.{visible(name)}" if database else visible(name)


def where(filter: Any, *, called: str = "where") -> str:
    """` where status is "active" and ...`; nothing for a filter that lets all rows through."""
    if filter is None or filter == {}:
        return ""
    if isinstance(filter, Mapping):
        return f" {called} {_all(filter)}"
    return f" {called} the filter {value(filter)} holds"


def _all(filter: Mapping[str, Any]) -> str:
    return " and ".join(_conjuncts(filter)) or "anything holds"


def _conjuncts(filter: Mapping[str, Any]) -> list[str]:
    """What all has to hold."""
    return [text for name, wanted in filter.items() for text in _condition(name, wanted)]


def _condition(name: str, wanted: Any) -> list[str]:
    if name in ("$and", "$or") and isinstance(wanted, list) and all(isinstance(each, Mapping) for each in wanted):
        texts = [_grouped(_conjuncts(each), "and") for each in wanted]
        if name == "$and":
            return texts
        return [_grouped(texts, "or") if texts else "nothing holds"]
    if name == "$not" and isinstance(wanted, Mapping):
        return [f"not ({_all(wanted)})"]
    if name.startswith("$"):
        return [code(json({name: wanted}))]
    field = visible(name)
    if isinstance(wanted, Mapping) and wanted and all(key.startswith("$") for key in wanted):
        return _operators(field, wanted)
    return [f"{field} is {_operand(wanted)}"]


def _operators(field: str, wanted: Mapping[str, Any]) -> list[str]:
    found = []
    for name, operand in wanted.items():
        if name in _COMPARED:
            found.append(f"{field} {_COMPARED[name]} {_operand(operand)}")
        elif name in ("$in", "$nin"):
            found.append(f"{field} is {'one' if name == '$in' else 'none'} of {_choices(operand)}")
        elif name == "$between" and isinstance(operand, list) and len(operand) == 2:
            found.append(f"{field} is from {value(operand[0])} to {value(operand[1])}")
        elif name == "$exists" and isinstance(operand, bool):
            found.append(f"there is {'a' if operand else 'no'} field {field}")
        elif name == "$regex":
            options = f" (with the options {value(wanted['$options'])})" if "$options" in wanted else ""
            found.append(f"{field} matches the pattern {value(operand)}{options}")
        elif name == "$options" and "$regex" in wanted:
            continue
        elif name == "$not" and isinstance(operand, Mapping) and all(key.startswith("$") for key in operand):
            found.append(f"not ({' and '.join(_operators(field, operand))})")
        elif name == "$not":
            found.append(f"not ({field} is {_operand(operand)})")
        elif name == "$elemMatch" and isinstance(operand, Mapping):
            operators = bool(operand) and all(key.startswith("$") for key in operand)
            inner = " and ".join(_operators("it", operand)) if operators else _all(operand)
            found.append(f"{field} has an element with ({inner})")
        else:
            found.append(f"{field} fits {code(json({name: operand}))}")
    return found


def _operand(wanted: Any) -> str:
    return "null or missing" if wanted is None else value(wanted)


def _choices(wanted: Any) -> str:
    if isinstance(wanted, list):
        return ", ".join(map(value, wanted)) or "nothing"
    return value(wanted)


def _grouped(texts: Sequence[str], word: str) -> str:
    return f"({f' {word} '.join(texts)})" if len(texts) > 1 else "".join(texts) or "anything holds"


def order(order_by: Any) -> str:
    """`, in the order of age (downwards), name`."""
    given = [order_by] if isinstance(order_by, str) else order_by
    if not given:
        return ""
    if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
        return f", in the order of {value(order_by)}"
    return f", in the order of {', '.join(map(_ordered, given))}"


def _ordered(item: str) -> str:
    if "{{" in item:
        return value(item)
    words = item.split()
    if len(words) == 2 and words[1].lower() in ("asc", "desc"):
        return visible(words[0]) + (" (downwards)" if words[1].lower() == "desc" else "")
    return f"{visible(item[1:])} (downwards)" if item.startswith("-") else visible(item)


def window(limit: Any, offset: Any = None) -> str:
    """`, without the first 10, at most 5`."""
    skipped = f", without the first {value(offset)}" if offset not in (None, 0) else ""
    return skipped + (f", at most {value(limit)}" if limit is not None else "")


def fields(wanted: Any) -> str:
    """`, only the fields name, price (as cost)`."""
    if wanted is None or wanted == ["*"]:
        return ""
    if not isinstance(wanted, Sequence) or isinstance(wanted, str):
        return f", only the fields {value(wanted)}"
    return f", only the {'field' if len(wanted) == 1 else 'fields'} {listed(map(named, wanted))}"


def named(field: Any) -> str:
    """A field, and what it is called: `a.b AS x`."""
    if not isinstance(field, str) or "{{" in field:
        return value(field)
    words = field.split()
    if len(words) == 3 and words[1].lower() == "as":
        return f"{visible(words[0])} (as {visible(words[2])})"
    return visible(field)


def query(args: Mapping[str, Any]) -> str:
    """Everything that says which rows and how: filter, order, window, fields."""
    return (
        where(args.get("filter"))
        + order(args.get("order_by"))
        + window(args.get("limit"), args.get("offset"))
        + fields(args.get("fields"))
    )


def keyed(key: Any) -> str:
    return f" with the key {value(key)}" if key is not None else ""


def change(values: Any) -> str:
    """New values of a record in words: set price to `row.price * 2`, add 1 to visits."""
    if not isinstance(values, Mapping) or not values:
        return f"apply {value(values)}"
    return listed([part for name, operand in values.items() for part in _changed(name, operand)])


def _changed(name: str, operand: Any) -> list[str]:
    if name == "$set" and isinstance(operand, Mapping):
        return [f"set {visible(field)} to {value(found)}" for field, found in operand.items()]
    if name == "$inc" and isinstance(operand, Mapping):
        return [f"add {value(found)} to {visible(field)}" for field, found in operand.items()]
    if name == "$mul" and isinstance(operand, Mapping):
        return [f"multiply {visible(field)} by {value(found)}" for field, found in operand.items()]
    if name == "$push" and isinstance(operand, Mapping):
        return [f"append {value(found)} to {visible(field)}" for field, found in operand.items()]
    if name == "$unset" and isinstance(operand, list | str | Mapping) and operand:
        names = [operand] if isinstance(operand, str) else [str(found) for found in operand]
        return [f"remove {listed(map(visible, names))}"]
    if name.startswith("$"):
        return [f"apply {code(json({name: operand}))}"]
    return [f"set {visible(name)} to {value(operand)}"]
