"""Webhooks out, signed as Standard Webhooks says (https://www.standardwebhooks.com): one POST of a JSON body.

    webhook-id          msg_<40 hex digits>, made from the idempotency key: the same at every attempt, for the receiver to know it again
    webhook-timestamp   seconds since 1970, of this attempt
    webhook-signature   v1,<base64 of HMAC-SHA256 over "id.timestamp.body" with the secret's bytes>

Who may be reached is decided by the address that is connected to, not by the name: a name is resolved once, each of its addresses is
checked, and the connection goes to one of these very addresses, with the name only in the Host header and in the certificate's
check. So a name that answers differently the second time gains nothing.
Redirects are not followed, and proxies of the environment are not used.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from toolbox.errors import InvalidArguments, ToolNotConfigured, WebhookDelayed, WebhookRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TOTAL_SECONDS: Final = 30.0
CONNECT_SECONDS: Final = 10.0
LONGEST_PAUSE: Final = 3600.0
"""A receiver may ask for a pause (Retry-After), but not for a longer one."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_MAY_PASS: Final = frozenset({408, 425, 429})


@dataclass(frozen=True)
class WebhookSettings:
    """Who gets webhooks. `hosts`: if there are any, only these (`*.example.com` is every name below). `networks`: addresses that are not
    public, and may be reached all the same, also without TLS. `secrets` by name, as `whsec_...`."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

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


async def send_webhook(settings: WebhookSettings, secret: str, url: str, name: str, body: bytes) -> int:
    """POST a signed body; gives the status of the answer (2xx).

    Raises InvalidArguments for an address that is none, ToolNotConfigured, WebhookRefused, and WebhookDelayed where trying again may help.
    """
    key = settings.key(secret)
    target = _target(settings, url)
    try:
        async with asyncio.timeout(TOTAL_SECONDS):
            addresses = await _addresses(settings, target)
            return await _post(target, addresses, key, name, body)
    except TimeoutError as error:
        raise WebhookDelayed(f"{target.host} took longer than {TOTAL_SECONDS:.0f} s") from error


def _target(settings: WebhookSettings, url: str) -> httpx2.URL:
    try:
        found = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError):
        raise InvalidArguments(f"{url!r} is no address", pointer="/url") from None
    if found.scheme not in ("https", "http") or not found.host or found.userinfo:
        raise InvalidArguments(
            f"{url!r} is no address for a webhook",
            pointer="/url",
            hint="https://host/path, without a name and password in it",
        )
    host = found.raw_host.decode().lower().rstrip(".")
    if settings.hosts and not any(
        host == rule or (rule.startswith("*.") and host.endswith(rule[1:])) for rule in settings.hosts
    ):
        raise WebhookRefused(
            f"{host} is not on the list of allowed hosts", pointer="/url", hint="see SOP_WEBHOOK_HOSTS"
        )
    return found.copy_with(fragment=None)


async def _addresses(settings: WebhookSettings, target: httpx2.URL) -> list[Address]:
    """The addresses of a host, all of them checked."""
    loop = asyncio.get_running_loop()
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        found = await loop.getaddrinfo(target.raw_host.decode(), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise WebhookDelayed(f"{target.host} has no address: {error}") from error
    addresses = list(dict.fromkeys(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found))
    networks = [ipaddress.ip_network(text) for text in settings.networks]
    for address in addresses:
        check_address(address, networks, tls=target.scheme == "https", host=target.host)
    return addresses


def check_address(address: Address, networks: list[Network], *, tls: bool, host: str) -> None:
    """Raises WebhookRefused for an address that is not public, unless a network of the settings has it; and for one without TLS."""
    inner = _embedded(address)
    if any(inner in network for network in networks if network.version == inner.version):
        return
    if not inner.is_global or inner.is_multicast or inner.is_reserved:
        raise WebhookRefused(
            f"{host} is at {address}, which is no public address",
            pointer="/url",
            hint="SOP_WEBHOOK_NETWORKS can allow it",
        )
    if not tls:
        raise WebhookRefused(f"{host} would be reached without TLS", pointer="/url", hint="use https")


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    teredo = address.teredo
    return address.ipv4_mapped or address.sixtofour or (teredo[1] if teredo else address)


async def _post(target: httpx2.URL, addresses: list[Address], key: bytes, name: str, body: bytes) -> int:
    timestamp = int(datetime.now(UTC).timestamp())
    headers = {
        "host": target.netloc.decode(),
        "content-type": "application/json",
        "user-agent": "sop-temporal",
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(key, name, timestamp, body),
    }
    timeout = httpx2.Timeout(TOTAL_SECONDS, connect=CONNECT_SECONDS)
    failed: Exception | None = None
    async with httpx2.AsyncClient(trust_env=False, follow_redirects=False, timeout=timeout) as client:
        for address in addresses:
            request = client.build_request(
                "POST",
                target.copy_with(host=str(address)),
                content=body,
                headers=headers,
                extensions={"sni_hostname": target.raw_host.decode()},
            )
            try:
                answer = await client.send(request, stream=True)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failed = error
                continue
            except httpx2.HTTPError as error:
                raise WebhookDelayed(f"{target.host} did not answer: {error or type(error).__name__}") from error
            await answer.aclose()
            return _status(target.host, answer)
    raise WebhookDelayed(f"{target.host} cannot be reached: {failed or 'it has no address'}") from failed


def _status(host: str, answer: httpx2.Response) -> int:
    """The status of an answer that took the message. Raises WebhookRefused, WebhookDelayed."""
    status = answer.status_code
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
