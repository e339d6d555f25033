"""Bearer tokens of an identity provider (OIDC), beside our own keys: JWTs, checked here against the provider's public keys.

A token is taken if all of this holds:

* it is signed by a key of the provider's key set (JWKS) that its header names (`kid`), with an algorithm that is allowed and is that key's
  own. Only asymmetric algorithms can be allowed, so a public key is never taken for a secret, and there is no `none`;
* its issuer is the configured one, our audience is among its audiences, it has a subject, and it is neither expired nor from the future
  (`skew` seconds aside);
* it has no header that we would have to understand (`crit`).

What it may do, a claim says: each of its values (a list, or words in a text) may be given scopes. A token whose values have none may do
nothing, and is 403 everywhere. The subject is in the audit log as `oidc:<sub>`; its name, whom approvals ask for, is a claim too.

The key set is fetched when it is first needed, and kept: for FRESH seconds it is not asked for again but for a `kid` that it does not have,
and that at most every PAUSE seconds, whoever sends such tokens. While the provider does not answer, the known keys are good for another
STALE seconds. Whether a token is valid that needs a key which cannot be fetched, nobody knows: that is 503, and not 401, and nothing is let
through. One fetch is under way at a time.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import jwt
import orjson
from jwt.types import Options

from gateway.problems import ApiError
from toolbox.access import Access, Scope, parse_scopes

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
FRESH: Final = 3600.0
STALE: Final = 86_400.0
PAUSE: Final = 30.0
MAX_TOKEN: Final = 16 * 1024
MAX_KEYS: Final = 100
PREFIX: Final = "oidc:"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_TEXT: Final = re.compile(r"[\x21-\x7e]{1,255}")
_OPTIONS: Final[Options] = {
    "require": ["exp", "iss", "aud", "sub"],
    "enforce_minimum_key_length": True,
}
_log = logging.getLogger("gateway")
Fetch = Callable[[], Awaitable[bytes]]
"""Gives the key set's JSON. Raises any exception if it cannot be had."""


@dataclass(frozen=True)
class TokenSettings:
    """Whose tokens are taken, and what they may do. `scopes`: value of `claim` (dots lead into objects) -> what it allows."""

    issuer: str
    audience: str
    claim: str
    scopes: Mapping[str, tuple[Scope, ...]]
    algorithms: Sequence[str] = ("RS256", "ES256")
    name_claim: str = "sub"
    skew: float = 30.0

    def __post_init__(self) -> None:
        """Raises ValueError for an algorithm that is none, or not asymmetric."""
        unfit = [name for name in self.algorithms if name not in ALGORITHMS]
        if unfit or not self.algorithms:
            raise ValueError(
                f"tokens are signed with {', '.join(sorted(ALGORITHMS))}, not {', '.join(unfit) or 'nothing'}"
            )


def token_scopes(given: Any) -> dict[str, tuple[Scope, ...]]:
    """Scopes by the values of a claim, from {value: [scope, ...]}. Raises ValueError."""
    if not isinstance(given, dict) or not all(isinstance(texts, list) for texts in given.values()):
        raise ValueError('the scopes of tokens are {"value": ["scope", ...]}')
    return {value: parse_scopes(map(str, texts)) for value, texts in given.items()}


def is_token(credential: str) -> bool:
    """Whether a credential has the shape of a JWT; a key of ours has no dots."""
    return len(credential) <= MAX_TOKEN and _TOKEN.fullmatch(credential) is not None


class Tokens:
    """Checks tokens. Not for several threads: the event loop's."""

    def __init__(self, settings: TokenSettings, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._keys = KeySet(fetch, clock)

    @property
    def skew(self) -> float:
        """Seconds that a token is taken beyond its end."""
        return self._settings.skew

    async def verify(self, token: str) -> Access | None:
        """Whose token it is, and what it may do; None if it is not valid. Raises ApiError `provider_unavailable`."""
        try:
            head = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            return None
        kid, algorithm = head.get("kid"), head.get("alg")
        if not isinstance(kid, str) or algorithm not in self._settings.algorithms or "crit" in head:
            return None
        key = await self._keys.get(kid)
        if key is None:
            return None
        try:
            claims = jwt.decode(
                token,
                jwt.PyJWK.from_dict(key, algorithm=key.get("alg") or algorithm),
                algorithms=list(self._settings.algorithms),
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=self._settings.skew,
                options=_OPTIONS,
            )
            return self._access(claims)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, OSError) as error:
            _log.debug("a bearer token was refused: %s", type(error).__name__)
            return None

    def _access(self, claims: Mapping[str, Any]) -> Access | None:
        subject, name = claims["sub"], _at(claims, self._settings.name_claim)
        if not isinstance(subject, str) or not _TEXT.fullmatch(subject) or not isinstance(name, str) or not name:
            return None
        granted = dict.fromkeys(
            scope
            for value in _values(_at(claims, self._settings.claim))
            for scope in self._settings.scopes.get(value, ())
        )
        expires_at = datetime.fromtimestamp(claims["exp"], UTC).isoformat(timespec="seconds")
        return Access(PREFIX + subject, name[:200], tuple(granted), expires_at, by_token=True)


class KeySet:
    """The public keys of a provider, by their ids."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, dict[str, Any]] = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._lock = asyncio.Lock()

    async def get(self, kid: str) -> dict[str, Any] | None:
        """A key; None if the provider has none of this id. Raises ApiError `provider_unavailable`."""
        fetching = self._lock.locked()
        if (fetching and kid not in self._keys) or (not fetching and self._is_due(kid)):
            async with self._lock:  # who needs what is being fetched waits for it
                if self._is_due(kid):
                    await self._refresh()
        if self._fetched_at is None or self._clock() - self._fetched_at > FRESH + STALE:
            raise _unavailable()
        if kid not in self._keys and self._failed:
            raise _unavailable()
        return self._keys.get(kid)

    def _is_due(self, kid: str) -> bool:
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < PAUSE:
            return False
        return self._fetched_at is None or now - self._fetched_at > FRESH or kid not in self._keys

    async def _refresh(self) -> None:
        self._tried_at = self._clock()
        try:
            self._keys = dict(_keys(orjson.loads(await self._fetch())))
        except Exception as error:
            self._failed = True
            _log.warning("the keys of the identity provider cannot be had: %s", error)
            return
        self._failed = False
        self._fetched_at = self._clock()


def _keys(document: Any) -> Iterable[tuple[str, dict[str, Any]]]:
    """The keys for signatures, with their ids; others are passed over. Raises ValueError for what is no key set."""
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list) or len(found) > MAX_KEYS:
        raise ValueError("this is no key set")
    for key in found:
        if isinstance(key, dict) and isinstance(key.get("kid"), str) and _signs(key):
            yield key["kid"], key


def _signs(key: Mapping[str, Any]) -> bool:
    return key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")


def _at(claims: Mapping[str, Any], path: str) -> Any:
    """The claim of a name; where there is none of it, dots lead into objects."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _values(claim: Any) -> list[str]:
    if isinstance(claim, str):
        return claim.split()
    return [value for value in claim if isinstance(value, str)] if isinstance(claim, list) else []


def _unavailable() -> ApiError:
    return ApiError(
        "provider_unavailable",
        "the identity provider does not answer, so this token cannot be checked",
        hint="try again; API keys work all the same",
        retryable=True,
    )
