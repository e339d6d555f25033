"""Webhooks out, signed as Standard Webhooks says (https://www.standardwebhooks.com): one POST of a JSON body.

    webhook-id          msg_<40 hex digits>, made from the idempotency key: the same at every attempt, for the receiver to know it again
    webhook-timestamp   seconds since 1970, of this attempt
    webhook-signature   v1,<base64 of HMAC-SHA256 over "id.timestamp.body" with the secret's bytes>

They go over the connection of all tools (`http.py`) with its policy: to public addresses, and over TLS, unless the policy names the
host. Redirects are not followed, and of an answer only the status and Retry-After are read.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from toolbox import http
from toolbox.addresses import HttpPolicy
from toolbox.errors import (
    AddressRefused,
    HttpInterrupted,
    HttpUnavailable,
    ToolNotConfigured,
    WebhookDelayed,
    WebhookRefused,
)
from toolbox.hosts import fits

TOTAL_SECONDS: Final = 30.0
LONGEST_PAUSE: Final = 3600.0
"""A receiver may ask for a pause (Retry-After), but not for a longer one."""
_MAY_PASS: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class WebhookSettings:
    """Who gets webhooks. `hosts`: if there are any, only these (`*.example.com` is every name below). `secrets` by name, as `whsec_...`."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()

    def key(self, name: str) -> bytes:
        """The bytes of a secret. Raises ToolNotConfigured."""
        found = self.secrets.get(name)
        if found is None:
            raise ToolNotConfigured(
                f"there is no secret {name!r} for webhooks",
                hint='set SOP_WEBHOOK_SECRETS to name=whsec_..., or mock it: "mocks": ["notify"], sop run --mock notify',
            )
        return secret_key(found)


def secret_key(secret: str) -> bytes:
    """The bytes of a `whsec_` secret: 24 to 64 of them in base64. Raises ToolNotConfigured."""
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith("whsec_") or not 24 <= len(key) <= 64:
        raise ToolNotConfigured("a secret for webhooks is whsec_ and 24 to 64 bytes in base64")
    return key


def message_id(key: str) -> str:
    """The webhook-id of an idempotency key."""
    return f"msg_{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def signature(key: bytes, name: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature."""
    digest = hmac.new(key, f"{name}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


async def send_webhook(
    policy: HttpPolicy, settings: WebhookSettings, key: bytes, url: str, name: str, body: bytes
) -> int:
    """POST a body signed with a key; gives the status of the answer (2xx).

    Raises InvalidArguments for an address that is none, ToolNotConfigured, WebhookRefused, and WebhookDelayed where trying again may help.
    """
    host = http.parse_url(url).raw_host.decode()
    if settings.hosts and not fits(host.lower().rstrip("."), settings.hosts):
        raise WebhookRefused(
            f"{host} is not on the list of allowed hosts", pointer="/url", hint="see SOP_WEBHOOK_HOSTS"
        )
    return _status(host, await asyncio.to_thread(_post, policy, key, url, name, body))


def _post(policy: HttpPolicy, key: bytes, url: str, name: str, body: bytes) -> http.HttpResponse:
    timestamp = int(datetime.now(UTC).timestamp())
    headers = {
        "content-type": "application/json",
        "user-agent": "sop-temporal",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, name, timestamp, body),
    }
    try:
        return http.request(
            policy,
            "POST",
            url,
            headers=headers,
            content=body,
            timeout_seconds=TOTAL_SECONDS,
            max_bytes=None,
            needs_tls=True,
        )
    except AddressRefused as error:
        raise WebhookRefused(error.message, pointer="/url", hint=error.hint) from error
    except (HttpUnavailable, HttpInterrupted) as error:  # the receiver knows it again by its id
        raise WebhookDelayed(error.message) from error


def _status(host: str, answer: http.HttpResponse) -> int:
    """The status of an answer that took the message. Raises WebhookRefused, WebhookDelayed."""
    status = answer.status
    if 200 <= status < 300:
        return status
    if 300 <= status < 400:
        raise WebhookRefused(f"{host} answered {status}, a redirect, which is not followed", status=status)
    if status >= 500 or status in _MAY_PASS:
        raise WebhookDelayed(
            f"{host} answered {status}", status=status, retry_after=_retry_after(answer.headers.get("retry-after"))
        )
    raise WebhookRefused(f"{host} answered {status}", status=status)


def _retry_after(text: str | None) -> float | None:
    """The seconds that a Retry-After asks for: a number of them, or a date."""
    if text is None:
        return None
    if text.strip().isdigit():
        seconds = float(text)
    else:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_PAUSE)
