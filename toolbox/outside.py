"""Tools that reach outside, and codes that nobody can guess.

Mail has a Message-ID made from the idempotency key: a step that is tried again sends the same message again, which mail systems
recognise. Header injection is impossible (the standard library's EmailMessage refuses line breaks), and said before.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from email.message import EmailMessage
from typing import Any, Final

import aiosmtplib

from script.compiler.secrets import NAMED, SCHEME
from toolbox.context import Services, SmtpSettings, ToolContext
from toolbox.errors import InvalidArguments, MailDelayed, MailRefused, RecipientRefused, ToolError, ToolNotConfigured
from toolbox.tool import tool
from toolbox.vault import Filling

_ATOM: Final = r"[^\s@<>,;:\"()\[\]\\.]+"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS: Final = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})*")
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@tool(effect="external")
async def send_email(ctx: ToolContext, to: str | list[str], subject: str, body: str) -> dict[str, Any]:
    """Send a plain-text mail."""
    return await send_mail(ctx.services, ctx.idempotency_key, [to] if isinstance(to, str) else to, subject, body)


async def send_mail(services: Services, key: str, to: list[str], subject: str, body: str) -> dict[str, Any]:
    """Send a mail under an idempotency key; gives {status, message_id}. Raises ToolError."""
    smtp = services.smtp
    if smtp is None:
        raise ToolNotConfigured(
            "send_email has no mail server",
            hint='set SOP_SMTP_URL and SOP_SMTP_FROM, or mock it: "mocks": ["send_email"], sop run --mock send_email',
        )
    message = build_message(smtp, key, to, subject, body)
    password = smtp.password
    if password is not None and SCHEME in password:
        password = Filling(services.vault, frozenset(NAMED.findall(password))).fill(
            password, "/SOP_SMTP_URL", smtp.host
        )
    try:
        refused, _ = await aiosmtplib.send(
            message,
            hostname=smtp.host,
            port=smtp.port,
            username=smtp.username,
            password=password,
            start_tls=smtp.use_tls,
            timeout=30,
        )
    except aiosmtplib.SMTPResponseException as error:
        kind = MailDelayed if 400 <= error.code < 500 else MailRefused
        raise kind(f"the mail server answered {error.code}: {error.message}") from error
    except aiosmtplib.SMTPRecipientsRefused as error:
        raise _refusal({found.recipient: (found.code, found.message) for found in error.recipients}) from error
    except (aiosmtplib.SMTPException, OSError) as error:
        raise MailDelayed(f"the mail server did not take the message: {error or type(error).__name__}") from error
    if refused:
        raise _refusal({name: (answer[0], str(answer[1])) for name, answer in refused.items()})
    return {"status": "sent", "message_id": message["Message-ID"]}


def _refusal(refused: Mapping[str, tuple[int, str]]) -> ToolError:
    """The error for refused recipients: it may pass if the server says so (4xx) of each of them."""
    kind = MailDelayed if all(400 <= code < 500 for code, _ in refused.values()) else MailRefused
    return kind(
        f"the mail server refused {', '.join(f'{name} ({code} {text})' for name, (code, text) in refused.items())}"
    )


def build_message(smtp: SmtpSettings, key: str, to: list[str], subject: str, body: str) -> EmailMessage:
    """The message. Raises InvalidArguments for an address or a subject that is none, RecipientRefused."""
    if not to:
        raise InvalidArguments("a mail needs a recipient", pointer="/to")
    for address in to:
        if not _ADDRESS.fullmatch(address):
            raise InvalidArguments(f"{address!r} is no mail address", pointer="/to")
        if smtp.recipients and not any(
            address == rule or (rule.startswith("@") and address.endswith(rule)) for rule in smtp.recipients
        ):
            raise RecipientRefused(f"{address} is not on the list of allowed recipients", pointer="/to")
    if any(ord(char) < 32 for char in subject) or len(subject.splitlines()) > 1:
        raise InvalidArguments("the subject has a line break or another control character", pointer="/subject")
    try:
        return _message(smtp, key, to, subject, body)
    except ValueError as error:  # what the standard library makes of an address that the pattern lets through
        raise InvalidArguments(f"the mail cannot be written: {error}", pointer="/to") from error


def _message(smtp: SmtpSettings, key: str, to: list[str], subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = smtp.sender
    message["To"] = ", ".join(to)
    message["Subject"] = subject
    message["Message-ID"] = (
        f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{smtp.sender.rpartition('@')[2].rstrip('>')}>"
    )
    message.set_content(body)
    return message


@tool(effect="pure")
def coupon_code(ctx: ToolContext) -> str:
    """A code of twelve characters that nobody can guess, the same one whenever this step is tried again."""
    digest = hmac.new(ctx.services.secret, b"coupon/" + ctx.idempotency_key.encode(), hashlib.sha256).digest()
    number = int.from_bytes(digest[:8], "big")
    characters = "".join(_CROCKFORD[(number >> (5 * place)) & 31] for place in range(12))
    return "-".join(characters[start : start + 4] for start in (0, 4, 8))


TOOLS: Final = (send_email, coupon_code)
