"""Telling somebody: by a signed webhook or by mail. The tool `notify`, and what notices of schedules are sent with.

The idempotency key names the message (webhook-id, Message-ID): an attempt that may have arrived and is made again can be
recognised.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import orjson

from toolbox.context import Services, ToolContext
from toolbox.errors import InvalidArguments
from toolbox.outside import send_mail
from toolbox.tool import tool
from toolbox.webhooks import message_id, send_webhook

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
    """Who is told: an address for webhooks, with the name of the secret, or addresses for mails."""

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


async def deliver(services: Services, key: str, whom: Receiver, message: Message) -> dict[str, Any]:
    """Send a message under an idempotency key; gives {status, channel, id}. Raises ToolError."""
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
    await send_webhook(services.http, services.webhooks, whom.secret, whom.url, name, orjson.dumps(body))
    return {"status": "sent", "channel": "webhook", "id": name}


@tool(effect="external")
async def notify(
    ctx: ToolContext,
    message: str,
    subject: str = "",
    channel: Channel | None = None,
    to: str | list[str] | None = None,
    url: str | None = None,
    data: Any = None,
    secret: str = "default",
) -> dict[str, Any]:
    """Tell somebody: a webhook to `url`, signed with the secret of this name (Standard Webhooks), or a mail to `to`."""
    whom = receiver(channel, to, url, secret)
    subject = subject or (message.splitlines() or [""])[0][:100]
    facts = {"run": ctx.run_id, "step": ctx.step}
    return await deliver(
        ctx.services, ctx.idempotency_key, whom, Message("notify", subject, message, ctx.now, data, facts)
    )


TOOLS: Final = (notify,)
