"""HTTP to the outside, for tools: which addresses may be reached, how long it may take, and how much may come back.

A script's URL may come from a row or from a model, so it must not lead into the network that the worker stands in (server-side request
forgery). A name may mean another address each time it is asked, so the check is made where it counts: the connection goes to the
very address that was looked at, on every connection, also behind a redirect. Refused is what is not global: private, loopback, link-local
(the metadata services of clouds), shared, multicast, reserved, and the IPv6 forms that carry such an IPv4 address. `allowed` names hosts
that may be reached all the same. No proxy and no .netrc of the worker's environment is used.

The time is that of the whole request, however slowly an answer drips in; the size is that of the decoded body.
"""

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import httpcore2
import httpx2

from toolbox.errors import AddressRefused, HttpInterrupted, HttpUnavailable, InvalidArguments, ResponseTooLarge

MAX_REDIRECTS: Final = 5
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_IDEMPOTENT: Final = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")

Resolve = Callable[[str, int], Iterable[str]]


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(address: str) -> bool:
    """Whether an address is one of the public network."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner: list[ipaddress.IPv4Address | None] = []
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None or found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        inner = [found.sixtofour, *(found.teredo or ())]
    plain = found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
    return plain and all(part is None or is_public(str(part)) for part in inner)


@dataclass(frozen=True)
class HttpPolicy:
    """What may be reached. `allowed` are hosts, or host:port, as URLs name them, whatever their addresses are."""

    allowed: frozenset[str] = frozenset()
    resolve: Resolve = resolve

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to. Raises AddressRefused, OSError."""
        found = list(self.resolve(host, port))
        if {host.lower(), f"{host.lower()}:{port}"} & self.allowed:
            return found
        public = [address for address in found if is_public(address)]
        if not public:
            raise AddressRefused(
                f"{host} is {', '.join(found) or 'no address'}, which is not of the public network",
                hint=f"an operator may allow it: SOP_HTTP_ALLOW={host}",
            )
        return public


@dataclass(frozen=True)
class HttpResponse:
    """An answer: `headers` by lower-case name (one that came several times is joined by commas), `url` where it came from."""

    status: int
    headers: dict[str, str]
    body: bytes
    url: str
    encoding: str


def request(
    policy: HttpPolicy,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    content: bytes | None = None,
    timeout_seconds: float,
    max_bytes: int,
    follow_redirects: bool = False,
) -> HttpResponse:
    """One request, and its answer, whatever its status is.

    Raises AddressRefused; InvalidArguments for a URL that is none; HttpUnavailable (may pass) where nothing was done, or may be done again;
    HttpInterrupted where nobody knows whether the request was done; ResponseTooLarge.
    """
    target = _target(url)
    transport = _Transport(policy, time.monotonic() + timeout_seconds)
    client = httpx2.Client(
        transport=transport,
        follow_redirects=follow_redirects,
        max_redirects=MAX_REDIRECTS,
        trust_env=False,
        timeout=timeout_seconds,
    )
    with (
        client,
        _failures(method, target, transport),
        client.stream(method, target, headers=headers, content=content) as got,
    ):
        body = b"".join(_limited(got, max_bytes))
        return HttpResponse(got.status_code, dict(got.headers), body, str(got.url), got.encoding or "utf-8")


def _target(url: str) -> httpx2.URL:
    try:
        target = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise InvalidArguments(f"{url[:200]!r} is no URL: {error}", pointer="/url") from None
    if target.scheme not in ("http", "https") or not target.host:
        raise InvalidArguments(f"{url[:200]!r} is no http or https URL with a host", pointer="/url")
    if target.userinfo:
        raise InvalidArguments("the URL holds a user or password", pointer="/url", hint="use an Authorization header")
    return target


def _limited(got: httpx2.Response, max_bytes: int) -> Iterator[bytes]:
    size = 0
    for part in got.iter_bytes(16 * 1024):
        size += len(part)
        if size > max_bytes:
            raise ResponseTooLarge(
                f"the answer of {got.url.host} is larger than {max_bytes} bytes",
                hint="ask for less, page by page",
            )
        yield part


@contextmanager
def _failures(method: str, target: httpx2.URL, transport: "_Transport") -> Iterator[None]:
    """From the library's errors to ours."""
    try:
        yield
    except httpx2.TooManyRedirects as error:
        raise InvalidArguments(f"{target.host} redirects more than {MAX_REDIRECTS} times", pointer="/url") from error
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL, httpx2.LocalProtocolError) as error:
        raise InvalidArguments(f"the request cannot be sent: {error}", pointer="/url") from error
    except (httpx2.HTTPError, OSError, TimeoutError) as error:
        told = f"{target.host}: {error or type(error).__name__}"
        if not transport.connected or method in _IDEMPOTENT:
            raise HttpUnavailable(f"there is no answer from {told}") from error
        raise HttpInterrupted(
            f"the request was sent, and there is no answer from {told}",
            hint="it may have been done; with `retry` it is sent again under the same Idempotency-Key",
        ) from error


class _Transport(httpx2.BaseTransport):
    """Sends requests over connections that the policy has looked at. `connected`: whether anything may have been sent."""

    def __init__(self, policy: HttpPolicy, deadline: float) -> None:
        self.connected = False
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpcore2.default_ssl_context(),
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Backend(policy, deadline, self),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.BaseTransport."""
        with _mapped():
            got = self._pool.handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        stream: Any = got.stream
        return httpx2.Response(got.status, headers=got.headers, stream=_Body(stream), extensions=got.extensions)

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()


class _Body(httpx2.SyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        with _mapped():
            yield from self._stream

    def close(self) -> None:
        self._stream.close()


@contextmanager
def _mapped() -> Iterator[None]:
    """The errors of the connection as those of the client."""
    try:
        yield
    except httpcore2.UnsupportedProtocol as error:
        raise httpx2.UnsupportedProtocol(str(error)) from error
    except httpcore2.LocalProtocolError as error:
        raise httpx2.LocalProtocolError(str(error)) from error
    except (httpcore2.TimeoutException, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        raise httpx2.TransportError(str(error) or "it took too long") from error


class _Backend(httpcore2.NetworkBackend):
    """Connects to addresses that were looked at, never to a name."""

    def __init__(self, policy: HttpPolicy, deadline: float, transport: _Transport) -> None:
        self._policy, self._deadline, self._transport = policy, deadline, transport
        self._plain = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            addresses = self._policy.addresses(host, port)
        except OSError as error:
            raise httpcore2.ConnectError(f"the name is not known: {error}") from error
        failure: Exception = httpcore2.ConnectError("it has no address")
        for address in addresses:
            try:
                stream = self._plain.connect_tcp(address, port, _left(self._deadline), local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            self._transport.connected = True
            return _Stream(stream, self._deadline)
        raise failure


class _Stream(httpcore2.NetworkStream):
    """A connection that ends with the deadline of its request."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(self._deadline))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline)), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises ReadTimeout behind it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("it took too long")
    return left
