"""Fetching a provider's key set: over the guarded connection of the tools, by TLS, bounded in time and size.

Without an address of the key set, the provider's own description (`/.well-known/openid-configuration`) says it, if it is that of the
configured issuer. Providers in a private network, or without TLS, are reached if `SOP_HTTP_ALLOW` names them, as everything of ours.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import orjson

from gateway.access.tokens import Fetch
from toolbox.addresses import HttpPolicy
from toolbox.http import request

SECONDS: Final = 5.0
MAX_BYTES: Final = 512 * 1024


def fetching(issuer: str, address: str | None, allowed: Sequence[str]) -> Fetch:
    """What fetches the key set of an issuer."""
    policy = HttpPolicy.allowing(allowed)

    def get(url: str) -> bytes:
        answer = request(
            policy,
            "GET",
            url,
            headers={"accept": "application/json"},
            timeout_seconds=SECONDS,
            max_bytes=MAX_BYTES,
            needs_tls=True,
        )
        if answer.status != 200:
            raise ValueError(f"{url} answers {answer.status}")
        return answer.body

    def fetch() -> bytes:
        return get(address or _described(orjson.loads(get(f"{issuer.rstrip('/')}/.well-known/openid-configuration"))))

    def _described(document: Any) -> str:
        if not isinstance(document, dict) or document.get("issuer") != issuer:
            raise ValueError("the description of the provider is that of another issuer")
        return str(document["jwks_uri"])

    return lambda: asyncio.to_thread(fetch)
