"""Rates: token buckets with an injected clock, and what a client hears of them."""

from collections.abc import AsyncIterator
from dataclasses import replace

import httpx2
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access import create_limits, limits
from gateway.access.limits import Buckets, Rate, address_of
from gateway.app import create_app
from tests.gateway.conftest import Gateway, authorization, problem_of


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest_asyncio.fixture(loop_scope="session")
async def http(gateway: Gateway, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    """The gateway with limits: 5 requests at once and 2 a second; 3 failures a minute."""
    few = create_limits(per_second=2, burst=5, failures_per_minute=3, clock=clock)
    app = create_app(replace(gateway.services, limits=few))
    transport = httpx2.ASGITransport(app, client=("192.0.2.1", 1))
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://g", headers=authorization(gateway.key)
    ) as found:
        yield found


async def test_a_key_has_its_burst_and_then_its_rate(gateway: Gateway, http: httpx2.AsyncClient, clock: Clock) -> None:
    told = []
    for _ in range(5):
        answer = await http.get("/v1/databases")
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == '"key";q=5;w=3'
        told.append(answer.headers["ratelimit"])
    assert told == [f'"key";r={left};t={seconds}' for left, seconds in ((4, 1), (3, 1), (2, 2), (1, 2), (0, 3))]
    for _ in range(3):  # what is refused takes nothing
        refused = await http.get("/v1/databases")
        assert problem_of(refused, 429, "rate_limited")["retryable"] is True
        assert (refused.headers["retry-after"], refused.headers["ratelimit"]) == ("1", '"key";r=0;t=3')
    other = authorization(gateway.services.keys.create("bob"))
    assert (await http.get("/v1/databases", headers=other)).status_code == 200
    assert (await http.get("/livez")).status_code == 200
    clock.now += 0.5
    assert (await http.get("/v1/databases")).status_code == 200
    assert (await http.get("/v1/databases")).status_code == 429
    clock.now += 1.0
    assert [(await http.get("/v1/databases")).status_code for _ in range(3)] == [200, 200, 429]


async def test_whoever_fails_too_often_hears_so(gateway: Gateway, http: httpx2.AsyncClient, clock: Clock) -> None:
    wrong = authorization("sop_000000000000_0")
    for _ in range(3):
        problem_of(await http.get("/v1/databases", headers=wrong), 401, "not_authenticated")
    refused = await http.get("/v1/databases", headers=wrong)
    problem_of(refused, 429, "rate_limited")
    assert refused.headers["retry-after"] == "20"
    assert "www-authenticate" not in refused.headers
    assert (await http.get("/v1/databases")).status_code == 200  # a valid key is let in from there
    clock.now += 20
    problem_of(await http.get("/v1/databases", headers=wrong), 401, "not_authenticated")
    problem_of(await http.get("/v1/databases", headers=wrong), 429, "rate_limited")
    entries = gateway.services.notes.entries(limit=10)[0]
    assert sum(entry["times"] for entry in entries if entry["status"] == 401) == 4
    assert [entry["target"] for entry in entries if entry["status"] == 429] == [{"address": "192.0.2.1"}]


async def test_who_fails_too_often_is_kept_once_a_minute_and_cannot_fill_the_log(
    gateway: Gateway, clock: Clock
) -> None:
    app = create_app(
        replace(gateway.services, limits=create_limits(per_second=0, burst=1, failures_per_minute=1, clock=clock))
    )

    async def knock(address: str, times: int) -> None:
        async with httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app, client=(address, 1)), base_url="http://g"
        ) as http:
            for _ in range(times):
                assert (await http.get("/v1/databases")).status_code in (401, 429)

    def kept() -> list[str]:
        entries = gateway.services.notes.entries(limit=1000)[0]
        return [entry["target"]["address"] for entry in entries if entry["status"] == 429][::-1]

    await knock("192.0.2.1", 1)
    assert kept() == []
    await knock("192.0.2.1", 20)
    await knock("2001:db8::1", 2)
    await knock("2001:db8::2", 20)
    assert kept() == ["192.0.2.1", "2001:db8::/64"]
    clock.now += 30
    await knock("192.0.2.1", 3)
    assert kept() == ["192.0.2.1", "2001:db8::/64"]
    clock.now += 30
    await knock("192.0.2.1", 3)
    assert kept() == ["192.0.2.1", "2001:db8::/64", "192.0.2.1"]
    for number in range(30):
        await knock(f"198.51.100.{number}", 2)
    assert len(kept()) == 2 + limits.TOLD


async def test_no_limits_tell_nothing(gateway: Gateway) -> None:
    assert "ratelimit" not in (await gateway.http.get("/v1/databases")).headers
    none = create_limits(per_second=0, burst=1, failures_per_minute=0)
    assert (none.keys, none.failures) == (None, None)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 20),
    st.floats(0.1, 50),
    st.lists(st.floats(0, 3), max_size=60),
)
def test_a_bucket_is_a_bucket(burst: int, per_second: float, pauses: list[float]) -> None:
    clock = Clock()
    buckets, tokens = Buckets("key", Rate(per_second, burst), clock), float(burst)
    for pause in pauses:
        clock.now += pause
        tokens = min(burst, tokens + pause * per_second)
        if abs(tokens - round(tokens)) < 1e-6:
            tokens = float(round(tokens))
        taken = buckets.take("a")
        if abs(tokens - 1) > 1e-6:
            assert taken.allowed == (tokens >= 1), tokens
        tokens -= taken.allowed
        assert 0 <= taken.remaining <= burst
        if not taken.allowed:
            assert taken.next_in == pytest.approx((1 - tokens) / per_second, abs=1e-5)
            clock.now += taken.next_in + 1e-6
            assert buckets.take("a").allowed
            tokens = 0.0


def test_memory_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST", 100)
    buckets = Buckets("address", Rate(1, 5), clock)
    for number in range(1000):
        assert buckets.take(str(number)).allowed
        assert len(buckets) <= 100
    clock.now += 10
    buckets.take("one")
    assert len(buckets) == 1


def test_an_address_is_that_of_a_host() -> None:
    assert address_of(("192.0.2.7", 1)) == "192.0.2.7"
    assert address_of(("2001:db8::1", 1)) == address_of(("2001:db8::ffff:1", 2)) == "2001:db8::/64"
    assert address_of(("2001:db8:0:1::1", 1)) != address_of(("2001:db8::1", 1))
    assert address_of(("::ffff:192.0.2.7", 1)) != address_of(("::ffff:192.0.2.8", 1))
    assert (address_of(None), address_of(("testclient", 1))) == ("", "testclient")
