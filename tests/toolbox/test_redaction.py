"""Values out of texts: known however they are written, and nothing else is touched."""

import base64
import json
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from toolbox.vault import Redaction


@settings(deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=8, max_size=40),
    st.binary(max_size=4),
    st.binary(max_size=4),
)
def test_a_value_is_known_however_it_is_written(value: str, before: bytes, after: bytes) -> None:
    redaction = Redaction([value])
    whole = before + value.encode() + after
    for text in (
        value, f"a{value}b", json.dumps([value]), json.dumps([value], ensure_ascii=False), quote(f"x {value}"), quote(value, safe=""),
        base64.b64encode(whole).decode(), base64.urlsafe_b64encode(whole).decode(),
    ):  # fmt: skip
        assert redaction.has(text)
        assert redaction.text(text) != text
        assert redaction.value({"a": [{text: 1}]}) == {"a": [{redaction.text(text): 1}]}


def test_what_is_no_secret_stays() -> None:
    given = {"a": [1, None, 2.5, True, "words", {"b": "more words"}]}
    assert Redaction(["c4nary-7f3e91"]).value(given) == given
    assert Redaction(["c4nary-7f3e91"]).value({"a": ["x c4nary-7f3e91 y"]}) == {"a": ["x [redacted] y"]}
    assert not Redaction([])
