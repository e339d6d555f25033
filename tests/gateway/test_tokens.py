"""Bearer tokens of an identity provider: a real one on a socket of this machine, and the attacks on JWTs (A20)."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx2
import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from gateway.access.providers import fetching
from gateway.access.tokens import FRESH, PAUSE, STALE, Tokens, TokenSettings, token_scopes
from gateway.app import create_app
from gateway.serve import create_tokens
from settings import Settings
from tests.gateway.conftest import Gateway, problem_of
from tests.gateway.test_limits import Clock

AUDIENCE = "https://sop.example.com"
SCOPES = {"analysts": ["data:crm:read", "runs:read"], "ops": ["admin"]}
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()


def jwk(kid: str, made: Any, **more: Any) -> dict[str, Any]:
    return {**made, "kid": kid, "use": "sig", **more}


RSA_JWK = jwk("r1", RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), alg="RS256")
EC_JWK = jwk("e1", ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True))
ED_JWK = jwk("d1", OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True))
OCT_JWK = jwk("o1", {"kty": "oct", "k": base64.urlsafe_b64encode(b"k" * 32).decode().rstrip("=")})


@dataclass
class Provider:
    """An identity provider. `asked` counts how often its keys were fetched."""

    server: ThreadingHTTPServer
    keys: list[Any] = field(default_factory=lambda: [RSA_JWK, EC_JWK, ED_JWK, OCT_JWK])
    status: int = 200
    asked: int = 0
    described_as: str | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    @property
    def issuer(self) -> str:
        return f"http://{self.host}"

    def token(self, key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "r1", **claims: Any) -> str:
        now = int(time.time())
        told = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "exp": now + 300,
            "groups": ["analysts"],
        }
        told = {name: value for name, value in (told | claims).items() if value is not None}
        headers = {"kid": kid} if kid is not None else {}
        return jwt.encode(told, key, algorithm, headers=headers)


@pytest.fixture(scope="module")
def listening() -> Iterator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/.well-known/openid-configuration":
                body: Any = {"issuer": provider.described_as or provider.issuer, "jwks_uri": f"{provider.issuer}/keys"}
            else:
                provider.asked += 1
                body = {"keys": provider.keys}
            text = json.dumps(body).encode()
            self.send_response(provider.status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider = Provider(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield provider
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def provider(listening: Provider) -> Provider:
    listening.keys, listening.status, listening.asked = [RSA_JWK, EC_JWK, ED_JWK, OCT_JWK], 200, 0
    listening.described_as = None
    return listening


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(provider: Provider, **more: Any) -> TokenSettings:
    given = {"algorithms": ("RS256", "ES256", "EdDSA"), "claim": "groups", "scopes": token_scopes(SCOPES)}
    return TokenSettings(provider.issuer, AUDIENCE, **(given | more))


@pytest_asyncio.fixture(loop_scope="session")
async def http(gateway: Gateway, provider: Provider, clock: Clock) -> AsyncIterator[httpx2.AsyncClient]:
    """The gateway, which takes the provider's tokens."""
    tokens = Tokens(told(provider), fetching(provider.issuer, None, [provider.host]), clock)
    app = create_app(replace(gateway.services, tokens=tokens))
    async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway") as found:
        yield found


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_token_may_what_its_claim_says(gateway: Gateway, provider: Provider, http: httpx2.AsyncClient) -> None:
    assert (await http.get("/v1/runs", headers=bearer(provider.token()))).status_code == 200
    problem_of(await http.get("/v1/audit", headers=bearer(provider.token())), 403, "forbidden")
    ops = provider.token(groups=["ops", "unknown"])
    entries = (await http.get("/v1/audit", headers=bearer(ops))).json()["data"]
    assert [(entry["key"], entry["name"], entry["status"]) for entry in entries] == [("oidc:alice", "alice", 403)]
    for claim in ([], ["unknown"], None, "admin", {"ops": 1}, [["ops"]]):
        problem_of(await http.get("/v1/runs", headers=bearer(provider.token(groups=claim))), 403, "forbidden")
    assert (await http.get("/v1/runs", headers=bearer(provider.token(groups="x analysts")))).status_code == 200
    assert (await http.get("/v1/runs", headers=bearer(gateway.key))).status_code == 200
    assert provider.asked == 1
    assert "oidc:alice" not in gateway.services.notes.last_uses()


async def test_who_comes_while_the_keys_are_fetched_waits_for_them(
    provider: Provider, http: httpx2.AsyncClient, clock: Clock
) -> None:
    """At the beginning, and when the provider has a new key."""
    first = await asyncio.gather(*(http.get("/v1/runs", headers=bearer(provider.token())) for _ in range(5)))
    assert [answer.status_code for answer in first] == [200] * 5
    provider.keys = [{**RSA_JWK, "kid": "renewed"}]
    clock.now += PAUSE
    token = provider.token(kid="renewed")
    later = await asyncio.gather(*(http.get("/v1/runs", headers=bearer(token)) for _ in range(5)))
    assert [answer.status_code for answer in later] == [200] * 5
    assert provider.asked == 2


async def test_every_kind_of_key(provider: Provider, http: httpx2.AsyncClient) -> None:
    for key, algorithm, kid in ((EC_KEY, "ES256", "e1"), (ED_KEY, "EdDSA", "d1"), (RSA_KEY, "RS256", "r1")):
        answer = await http.get("/v1/runs", headers=bearer(provider.token(key, algorithm, kid)))
        assert answer.status_code == 200, algorithm


def segment(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def forged(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """A token with any header; signed with a secret, or not at all."""
    text = f"{segment(header)}.{segment(claims)}"
    signature = hmac.new(secret, text.encode(), hashlib.sha256).digest() if secret is not None else b""
    return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


async def test_attacks(provider: Provider, http: httpx2.AsyncClient) -> None:
    now = int(time.time())
    claims = {"iss": provider.issuer, "aud": AUDIENCE, "sub": "eve", "exp": now + 300, "groups": ["ops"]}
    pem = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    good = provider.token()
    head, body, signature = good.split(".")
    small = {"kid": "r1", "alg": "RS256"}
    attacks = {
        "none": forged({"alg": "none", "kid": "r1"}, claims),
        "None": forged({"alg": "None", "kid": "r1"}, claims),
        "no algorithm": forged({"kid": "r1"}, claims),
        "algorithm of another type": forged({"alg": ["RS256"], "kid": "r1"}, claims),
        "public key as a secret": forged({"alg": "HS256", "kid": "r1"}, claims, pem),
        "modulus as a secret": forged({"alg": "HS256", "kid": "r1"}, claims, str(RSA_JWK["n"]).encode()),
        "symmetric key of the set": forged({"alg": "HS256", "kid": "o1"}, claims, b"k" * 32),
        "RS256 said, HMAC made": forged(small, claims, pem),
        "key in the header": forged({**small, "jwk": RSA_JWK, "jku": "http://evil.example/keys"}, claims, b"x"),
        "another key's id": provider.token(RSA_KEY, "RS256", "e1"),
        "algorithm not allowed": provider.token(RSA_KEY, "RS512"),
        "PSS with a key for RS256": provider.token(RSA_KEY, "PS256"),
        "key of somebody else": provider.token(OTHER_KEY),
        "no kid": provider.token(kid=None),
        "unknown kid": provider.token(kid="r2"),
        "kid that is a path": provider.token(kid="../../dev/null"),
        "wrong issuer": provider.token(iss="https://evil.example"),
        "issuer with a slash": provider.token(iss=provider.issuer + "/"),
        "no issuer": provider.token(iss=None),
        "wrong audience": provider.token(aud="another"),
        "audience that begins alike": provider.token(aud=AUDIENCE + ".evil.example"),
        "no audience": provider.token(aud=None),
        "expired": provider.token(exp=now - 60),
        "never expires": provider.token(exp=None),
        "expires at no time": provider.token(exp="soon"),
        "expires after the end of time": provider.token(exp=10**18),
        "not yet": provider.token(nbf=now + 120),
        "from the future": provider.token(iat=now + 120),
        "no subject": provider.token(sub=None),
        "subject with a line": provider.token(sub="alice\nadmin"),
        "empty subject": provider.token(sub=""),
        "critical header": forged({**small, "crit": ["exp"], "exp": 1}, claims, b"x"),
        "changed body": f"{head}.{segment(claims)}.{signature}",
        "no signature": f"{head}.{body}.",
        "no body": f"{head}..{signature}",
        "two tokens": f"{good}.{good}",
        "large": "a" * 20_000 + ".b.c",
        "header that is no JSON": f"bm8.{body}.{signature}",
        "deep header": base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=") + f".{body}.{signature}",
    }
    for name, token in attacks.items():
        answer = await http.get("/v1/runs", headers=bearer(token))
        assert answer.status_code == 401, name
        problem_of(answer, 401, "not_authenticated")
    assert (await http.get("/v1/runs", headers=bearer(good))).status_code == 200
    assert provider.asked <= 1 + len(attacks)


async def test_clocks_may_differ_a_little(provider: Provider, http: httpx2.AsyncClient) -> None:
    now = int(time.time())
    near = [provider.token(exp=now - 10), provider.token(nbf=now + 10), provider.token(iat=now + 10)]
    for token in near:
        assert (await http.get("/v1/runs", headers=bearer(token))).status_code == 200


async def test_a_new_key_is_found_and_unknown_ones_are_not_sought_all_the_time(
    provider: Provider, http: httpx2.AsyncClient, clock: Clock
) -> None:
    assert (await http.get("/v1/runs", headers=bearer(provider.token()))).status_code == 200
    for number in range(20):
        token = provider.token(kid=f"x{number}")
        problem_of(await http.get("/v1/runs", headers=bearer(token)), 401, "not_authenticated")
    assert provider.asked == 1
    new = jwk("r2", RSAAlgorithm.to_jwk(OTHER_KEY.public_key(), as_dict=True))
    provider.keys = [new]
    rotated = bearer(provider.token(OTHER_KEY, "RS256", "r2"))
    problem_of(await http.get("/v1/runs", headers=rotated), 401, "not_authenticated")
    clock.now += PAUSE
    assert (await http.get("/v1/runs", headers=rotated)).status_code == 200
    assert provider.asked == 2
    problem_of(await http.get("/v1/runs", headers=bearer(provider.token())), 401, "not_authenticated")


async def test_a_key_that_was_withdrawn_is_good_for_an_hour_at_most(
    provider: Provider, http: httpx2.AsyncClient, clock: Clock
) -> None:
    token = bearer(provider.token())
    assert (await http.get("/v1/runs", headers=token)).status_code == 200
    provider.keys = [EC_JWK]
    clock.now += FRESH + 1
    problem_of(await http.get("/v1/runs", headers=token), 401, "not_authenticated")


async def test_a_provider_that_does_not_answer(provider: Provider, http: httpx2.AsyncClient, clock: Clock) -> None:
    provider.status = 500
    token = bearer(provider.token())
    problem = problem_of(await http.get("/v1/runs", headers=token), 503, "provider_unavailable")
    assert problem["retryable"] is True
    problem_of(await http.get("/v1/runs", headers=token), 503, "provider_unavailable")
    assert provider.asked == 0  # its description fails already
    provider.status = 200
    clock.now += PAUSE
    assert (await http.get("/v1/runs", headers=token)).status_code == 200
    provider.status = 500
    clock.now += FRESH + 1
    assert (await http.get("/v1/runs", headers=token)).status_code == 200
    unknown = bearer(provider.token(OTHER_KEY, "RS256", "r2"))
    problem_of(await http.get("/v1/runs", headers=unknown), 503, "provider_unavailable")
    clock.now += STALE
    problem_of(await http.get("/v1/runs", headers=token), 503, "provider_unavailable")
    forgery = forged({"alg": "none", "kid": "r1"}, {})
    problem_of(await http.get("/v1/runs", headers=bearer(forgery)), 401, "not_authenticated")


async def test_what_is_no_key_set_is_not_taken(provider: Provider, http: httpx2.AsyncClient, clock: Clock) -> None:
    token = bearer(provider.token())
    for keys in (None, {}, [RSA_JWK] * 200):
        provider.keys = keys  # type: ignore[assignment]
        problem_of(await http.get("/v1/runs", headers=token), 503, "provider_unavailable")
        clock.now += PAUSE
    provider.keys = [None, 1, {}, {"kid": "r1"}, {**RSA_JWK, "use": "enc"}, {**RSA_JWK, "kid": 7}]
    problem_of(await http.get("/v1/runs", headers=token), 401, "not_authenticated")
    clock.now += PAUSE
    provider.keys = [{**RSA_JWK, "n": "AQAB"}]
    problem_of(await http.get("/v1/runs", headers=token), 401, "not_authenticated")
    provider.keys, provider.described_as = [RSA_JWK], "https://evil.example"
    clock.now += FRESH + STALE + 1
    problem_of(await http.get("/v1/runs", headers=token), 503, "provider_unavailable")


async def test_the_key_set_comes_over_the_guarded_connection(provider: Provider) -> None:
    with pytest.raises(Exception, match=r"127\.0\.0\.1"):
        await fetching(provider.issuer, None, [])()
    assert provider.asked == 0


@pytest.mark.parametrize("algorithms", [("HS256",), ("none",), ("RS256", "HS512"), ()])
def test_only_asymmetric_algorithms_can_be_allowed(provider: Provider, algorithms: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="tokens are signed with"):
        told(provider, algorithms=algorithms)


def test_scopes_of_claims_are_checked_at_the_start() -> None:
    for wrong in ([], {"a": "admin"}, {"a": ["everything"]}, None):
        with pytest.raises(ValueError, match="scope"):
            token_scopes(wrong)


def test_a_provider_is_configured_by_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    assert create_tokens(Settings()) is None
    monkeypatch.setenv("SOP_OIDC_ISSUER", "https://login.example.com")
    with pytest.raises(ValueError, match="SOP_OIDC_AUDIENCE"):
        create_tokens(Settings())
    monkeypatch.setenv("SOP_OIDC_AUDIENCE", AUDIENCE)
    assert create_tokens(Settings()) is not None
    for name, value, message in (
        ("SOP_OIDC_SCOPES", "analysts=admin", "no JSON"),
        ("SOP_OIDC_SCOPES", '{"analysts": ["everything"]}', "no scope"),
        ("SOP_OIDC_ALGORITHMS", "RS256, HS256", "HS256"),
        ("SOP_HTTP_ALLOW", "http://x/", "x"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValueError, match=message):
                create_tokens(Settings())
    monkeypatch.setenv("SOP_OIDC_SCOPES", json.dumps(SCOPES))
    for name, value in Settings().environment().items():
        monkeypatch.setenv(name, value)
    found = Settings().oidc()
    assert found is not None
    assert (found["scopes"], found["algorithms"]) == (SCOPES, ("RS256", "ES256"))
    assert create_tokens(Settings()) is not None
