"""Rates: how many requests a key may send, and how often an address may fail to authenticate.

A bucket of tokens for each: it holds `burst` of them, `per_second` come back, and a request takes one. So a key may send many at once, and
then at that rate. A stream counts when it begins; requests that the gateway sends to itself (INSIDE) belong to one that was counted.

A bucket is one number, the time at which it will be full again (GCRA), and a full one need not be kept: so what is kept are the keys and
addresses of the last moments, and at most MOST of each. Buckets are of this process: with N gateways a key may do N times as much.

A valid key is let through whatever its address has done, since many share an address behind a proxy; keys have 256 random bits, so
guessing is hopeless at any rate, and what the limit of failures saves is lines of the log and of the audit log. So that an address which
has reached it is kept there too, and cannot fill it, each is told of once a minute, and TOLD of them at most (`Told`).
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from gateway.problems import ApiError

MOST: Final = 10_000
MINUTE: Final = 60.0
TOLD: Final = 20
"""Addresses that are told of in a minute."""
INSIDE: Final = "sop.inside"
"""In the scope of a request that the gateway sends to itself. A client cannot set it: scopes are the server's."""


@dataclass(frozen=True)
class Rate:
    """`burst` at once, and `per_second` for ever."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Taken:
    """What a request found: whether it may go on, how many more may now, and in how many seconds all may again, or one."""

    allowed: bool
    remaining: int
    full_in: float
    next_in: float


class Buckets:
    """The buckets of one kind, by name. Not for several threads: the event loop's."""

    def __init__(self, kind: str, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self.kind = kind
        self.rate = rate
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str) -> Taken:
        """Take a token, if there is one."""
        now, each = self._clock(), 1 / self.rate.per_second
        full_at = max(self._full_at.get(name, now), now)
        behind = full_at - now + each
        allowed = behind <= self.rate.burst * each + 1e-9
        if allowed:
            full_at += each
            self._full_at[name] = full_at
            self._full_at.move_to_end(name)
            self._forget(now)
        left = full_at - now
        remaining = max(0, math.floor(self.rate.burst - left * self.rate.per_second + 1e-9))
        return Taken(allowed, remaining, left, 0 if remaining else left - (self.rate.burst - 1) * each)

    def _forget(self, now: float) -> None:
        """Drop buckets that are full, of those that were used longest ago; and any, if there are too many."""
        while self._full_at:
            name, full_at = next(iter(self._full_at.items()))
            if full_at > now and len(self._full_at) <= MOST:
                return
            del self._full_at[name]


class Told:
    """Which addresses were told of within the last minute. Not for several threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at: OrderedDict[str, float] = OrderedDict()

    def first(self, address: str) -> bool:
        """Whether this is the first time in a minute, and there are not too many others."""
        now = self._clock()
        while self._at and next(iter(self._at.values())) <= now - MINUTE:
            self._at.popitem(last=False)
        if address in self._at or len(self._at) >= TOLD:
            return False
        self._at[address] = now
        return True


@dataclass(frozen=True)
class Limits:
    """The limits of a gateway; None is none. `told` are the addresses that failed too often, and are in the audit log."""

    keys: Buckets | None = None
    failures: Buckets | None = None
    told: Told = field(default_factory=Told)


def headers(buckets: Buckets, taken: Taken) -> dict[str, str]:
    """What a client is told (draft-ietf-httpapi-ratelimit-headers): its quota, and what is left of it."""
    rate = buckets.rate
    window = math.ceil(rate.burst / rate.per_second)
    return {
        "RateLimit-Policy": f'"{buckets.kind}";q={rate.burst};w={window}',
        "RateLimit": f'"{buckets.kind}";r={taken.remaining};t={math.ceil(taken.full_in)}',
    }


def refusal(buckets: Buckets, taken: Taken) -> ApiError:
    """429."""
    rate = buckets.rate
    seconds = max(1, math.ceil(taken.next_in))
    error = ApiError(
        "rate_limited",
        f"too many requests of this {buckets.kind}: {rate.burst} at once, and then {rate.per_second:g} a second",
        hint=f"wait {seconds} s",
        retryable=True,
    )
    error.headers = {"Retry-After": str(seconds), **headers(buckets, taken)}
    return error


def address_of(client: tuple[str, int] | None) -> str:
    """Whose bucket a client's is: its address, or of IPv6 the network, of which one host has all."""
    host = client[0] if client is not None else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4 or address.ipv4_mapped is not None:
        return str(address)
    return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))


def create_limits(
    *, per_second: float, burst: int, failures_per_minute: float, clock: Callable[[], float] = time.monotonic
) -> Limits:
    """Limits from settings, where 0 is none."""
    keys = Buckets("key", Rate(per_second, max(1, burst)), clock) if per_second else None
    per_minute = failures_per_minute
    failures = Buckets("address", Rate(per_minute / 60, max(1, int(per_minute))), clock) if per_minute else None
    return Limits(keys, failures, Told(clock))
