"""Content negotiation (RFC 9110, section 12.5.1): which of the forms that the server has a client likes best.

A form may have several media types, the first is the one that it is sent as. Its quality is that of the media types that the client
names; if it names none of them, that of `type/*`, and last that of `*/*`. Of equals the form wins that the server has first. A range whose
quality is no number from 0 to 1 is not acceptable, like one of quality 0.
"""

import re
from collections.abc import Mapping
from typing import Final, TypeVar

from fastapi import Request

from gateway.problems import ApiError
from query.transfer.arrow import installed

Form = TypeVar("Form", bound=str)

_QUALITY: Final = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")


def preferred(accept: str, known: Mapping[str, Form]) -> Form | None:
    """The form that `accept` likes best of those that media types are `known` of; None where it accepts none."""
    ranges = _ranges(accept)
    types: dict[Form, list[str]] = {}
    for media_type, form in known.items():
        types.setdefault(form, []).append(media_type)
    liked = {form: _quality(ranges, names) for form, names in types.items()}
    best = max(liked, key=lambda form: liked[form])
    return best if liked[best] else None


def chosen(
    request: Request, named: str | None, forms: Mapping[Form, str], known: Mapping[str, Form], what: str
) -> Form:
    """The form that `?format=` names, or else Accept likes best of those that media types are `known` of; `forms` has the media type that
    each is sent as. Raises ApiError `not_acceptable`, which tells `what` there is no such form of."""
    if named is not None:
        form = next((form for form in forms if form == named), None)
        told, pointer = f"there is no format {named!r}", "?format"
    else:
        accept = ",".join(request.headers.getlist("accept") or ["*/*"])
        form = preferred(accept, known)
        told, pointer = f"{what} does not come as {accept}", "Accept"
    if form is None:
        listed = ", ".join(f"{form} ({media_type})" for form, media_type in forms.items())
        raise ApiError("not_acceptable", told, pointer=pointer, hint=f"the formats are {listed}", status=406)
    return form


def require_installed(form: str) -> None:
    """Raises ApiError `not_acceptable` for Arrow where there is no pyarrow."""
    if form == "arrow" and not installed():
        message = "arrow needs pyarrow, which is not installed in this gateway"
        raise ApiError(
            "not_acceptable", message, pointer="?format", hint="pip install 'sop-temporal[arrow]'", status=406
        )


def _ranges(accept: str) -> dict[str, float]:
    """What each media range is worth. Parameters other than `q` make no difference."""
    found: dict[str, float] = {}
    for part in accept.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        found[name] = max(found.get(name, 0.0), _weight(parameters))
    return found


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            return float(value) if _QUALITY.fullmatch(value) else 0.0
    return 1.0


def _quality(ranges: Mapping[str, float], names: list[str]) -> float:
    named = [ranges[name] for name in names if name in ranges]
    if named:
        return max(named)
    return ranges.get(f"{names[0].partition('/')[0]}/*", ranges.get("*/*", 0.0))
