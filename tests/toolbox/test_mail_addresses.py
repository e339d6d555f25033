"""Addresses and subjects that mail cannot have are the caller's error, never an error of ours."""

import pytest

from toolbox import SmtpSettings
from toolbox.errors import InvalidArguments
from toolbox.outside import build_message

SMTP = SmtpSettings(host="localhost", port=25, sender="shop@example.com")


@pytest.mark.parametrize("to", ["a@ex..com", "a@b@c", "no address", "a@", "@b", "a..b@@c.de"])
def test_addresses_that_are_none(to: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        build_message(SMTP, "key", [to], "subject", "body")
    assert raised.value.pointer == "/to"


@pytest.mark.parametrize("break_", ["\n", "\r", "\u2028", "\u2029", "\x85", "\x00"])
def test_subjects_of_several_lines(break_: str) -> None:
    with pytest.raises(InvalidArguments) as raised:
        build_message(SMTP, "key", ["a@example.com"], f"one{break_}Bcc: b@example.com", "body")
    assert raised.value.pointer == "/subject"
