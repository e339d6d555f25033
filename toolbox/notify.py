"""Telling somebody: by a signed webhook or by mail. The tool `notify`, and what notices of schedules are sent with.

The idempotency key names the message (webhook-id, Message-ID): an attempt that may have arrived and is made again can be
recognised.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field

from script.compiler.secrets import NAMED, SCHEME, SECRETS
from toolbox.context import Services, ToolContext
from toolbox.errors import InvalidArguments
from toolbox.http import parse_url
from toolbox.outside import send_mail
from toolbox.tool import tool
from toolbox.vault import Filling
from toolbox.webhooks import message_id, secret_key, send_webhook

Channel = Literal["webhook", "email"]


@dataclass(frozen=True)
class Message:
    """What is told. `kind` is the type of the webhook's body; `facts` are its further fields beside subject, message and data."""

    kind: str
    subject: str
    text: str
    at: datetime
    data: Any = None
    facts: dict[str, Any] | None = None


@dataclass(frozen=True)
class Receiver:
    """Who is told: an address for webhooks, with the name of the secret (`secret://name`: one of the vault), or addresses for mails."""

    url: str | None = None
    to: tuple[str, ...] = ()
    secret: str = "default"

    @property
    def channel(self) -> Channel:
        return "email" if self.url is None else "webhook"


def receiver(channel: Channel | None, to: str | list[str] | None, url: str | None, secret: str = "default") -> Receiver:
    """Who is told. Raises InvalidArguments unless exactly one of `to` and `url` is given, and is what the channel needs."""
    if (to is None) == (url is None):
        raise InvalidArguments("give either url (a webhook) or to (a mail)", pointer="/url")
    found = Receiver(url, tuple([to] if isinstance(to, str) else to or ()), secret)
    if channel is not None and channel != found.channel:
        needed = "url" if channel == "webhook" else "to"
        raise InvalidArguments(f"the channel {channel} needs {needed}", pointer="/channel")
    return found


async def deliver(
    services: Services, key: str, whom: Receiver, message: Message, secrets: Filling | None = None
) -> dict[str, Any]:
    """Send a message under an idempotency key; gives {status, channel, id}. `secrets` are those of a step. Raises ToolError."""
    if whom.url is None:
        text = message.text
        if message.data is not None:
            text += "\n\n" + orjson.dumps(message.data, option=orjson.OPT_INDENT_2).decode()
        sent = await send_mail(services, key, list(whom.to), message.subject, text + "\n")
        return {"status": "sent", "channel": "email", "id": sent["message_id"]}
    name = message_id(key)
    told = {"subject": message.subject, "message": message.text, **(message.facts or {})}
    if message.data is not None:
        told["data"] = message.data
    body = {"type": message.kind, "timestamp": message.at.isoformat(timespec="milliseconds"), "data": told}
    signing = _signing_key(services, whom, secrets)
    await send_webhook(services.http, services.webhooks, signing, whom.url, name, orjson.dumps(body))
    return {"status": "sent", "channel": "webhook", "id": name}


def _signing_key(services: Services, whom: Receiver, secrets: Filling | None) -> bytes:
    """The bytes of a receiver's secret: one of the settings, or of the vault. Raises ToolError."""
    if SCHEME not in whom.secret:
        return services.webhooks.key(whom.secret)
    known = secrets or Filling(services.vault, frozenset(NAMED.findall(whom.secret)))
    return secret_key(known.fill(whom.secret, "/secret", parse_url(whom.url or "").raw_host.decode()))


@tool(effect="external")
async def notify(
    ctx: ToolContext,
    message: str,
    subject: str = "",
    channel: Channel | None = None,
    to: str | list[str] | None = None,
    url: str | None = None,
    data: Any = None,
    secret: Annotated[str, Field(json_schema_extra={SECRETS: True})] = "default",
) -> dict[str, Any]:
    """Tell somebody: a webhook to `url`, signed with the secret of this name (Standard Webhooks), or a mail to `to`.

    secret is a name of SOP_WEBHOOK_SECRETS, or secret://name for a secret of the vault: whsec_ and 24 to 64 bytes in base64.
    """
    whom = receiver(channel, to, url, secret)
    subject = subject or (message.splitlines() or [""])[0][:100]
    facts = {"run": ctx.run_id, "step": ctx.step}
    told = Message("notify", subject, message, ctx.now, data, facts)
    return await deliver(ctx.services, ctx.idempotency_key, whom, told, ctx.secrets)


TOOLS: Final = (notify,)
