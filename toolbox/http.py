"""HTTP to the outside: the one connection of all tools, how long it may take, and how much may come back.

Which addresses may be reached is said by the policy (`addresses.py`). A name may mean another address each time it is asked, so the check
is made where it counts: a name is resolved once for a connection, and the connection goes to one of the very addresses that were looked
at, on every connection, also behind a redirect. The name stays in the Host header, in the TLS handshake and in the check of the
certificate. No proxy and no .netrc of the worker's environment is used, and no URL with a user or password, also behind a redirect.

The time is that of the whole request, however slowly a name server answers or an answer drips in; the size is that of the decoded body.
gzip is asked for and taken off, a piece at a time; a body in any other encoding, or in several, comes as it is.
"""

import ipaddress
import re
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Final

import httpcore2
import httpx2

from toolbox.addresses import HttpPolicy, named
from toolbox.errors import AddressRefused, HttpInterrupted, HttpUnavailable, InvalidArguments, ResponseTooLarge

MAX_REDIRECTS: Final = 5
CONNECT_SECONDS: Final = 10.0
"""For one address: behind it the next address of the host is tried."""
PIECE: Final = 16 * 1024
_GZIP: Final = zlib.MAX_WBITS | 16
_IDEMPOTENT: Final = ("GET", "HEAD", "OPTIONS", "PUT", "DELETE")
_LABEL: Final = r"[A-Za-z0-9_-]{1,63}"
_HOST: Final = re.compile(rf"(?=.{{1,254}}$){_LABEL}(?:\.{_LABEL})*\.?")
_PORTS: Final = {"http": 80, "https": 443}


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
    max_bytes: int | None,
    follow_redirects: bool = False,
    needs_tls: bool = False,
) -> HttpResponse:
    """One request, and its answer, whatever its status is.

    `max_bytes`: of the body; with None it is not read at all. `needs_tls`: only hosts that the policy names are reached without TLS.
    Raises AddressRefused; InvalidArguments for a URL that is none; HttpUnavailable (may pass) where nothing was done, or may be done again;
    HttpInterrupted where nobody knows whether the request was done; ResponseTooLarge.
    """
    target = parse_url(url)
    transport = _Transport(policy, time.monotonic() + timeout_seconds, needs_tls)
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
        client.stream(method, target, headers={"accept-encoding": "gzip", **headers}, content=content) as got,
    ):
        body = b"".join(_limited(got, max_bytes)) if max_bytes is not None else b""
        return HttpResponse(got.status_code, dict(got.headers), body, str(got.url), got.encoding or "utf-8")


def parse_url(url: str) -> httpx2.URL:
    """The URL of a text. Raises InvalidArguments for what is no http or https URL with a host, and without a user and password."""
    try:
        target = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise InvalidArguments(f"this is no URL: {error}", pointer="/url") from None
    _check(target)
    return target


def _check(url: httpx2.URL) -> None:
    """What `parse_url` refuses, also of the URLs behind it, that a redirect leads to."""
    told = str(url.copy_with(userinfo=b"", query=None, fragment=None))[:200]  # not what may be secret
    if url.scheme not in _PORTS or not url.host:
        raise InvalidArguments(f"{told!r} is no http or https URL with a host", pointer="/url")
    if url.userinfo:
        raise InvalidArguments(
            "the URL holds a user or password", pointer="/url", hint="http_request takes an Authorization header"
        )
    if not _is_host(url.raw_host.decode()) or not 0 < _port(url) < 65536:
        raise InvalidArguments(f"{told!r} names no host and port that there can be", pointer="/url")


def _is_host(text: str) -> bool:
    if ":" not in text:
        return _HOST.fullmatch(text) is not None
    try:
        return ipaddress.IPv6Address(text).scope_id is None
    except ValueError:
        return False


def _port(url: httpx2.URL) -> int:
    return url.port if url.port is not None else _PORTS[url.scheme]


def _limited(got: httpx2.Response, max_bytes: int) -> Iterator[bytes]:
    """The decoded body. Raises ResponseTooLarge, httpx2.DecodingError."""
    size = 0
    for part in (
        _gunzipped(got) if got.headers.get("content-encoding", "").strip().lower() == "gzip" else got.iter_raw()
    ):
        size += len(part)
        if size > max_bytes:
            raise ResponseTooLarge(
                f"the answer of {got.url.host} is larger than {max_bytes} bytes",
                hint="ask for less, page by page",
            )
        yield part


def _gunzipped(got: httpx2.Response) -> Iterator[bytes]:
    """A body out of gzip, in pieces of at most PIECE bytes, however well it is compressed. Raises httpx2.DecodingError for a part of one.

    The client's own decoder stops behind the first of several members, and takes a body that was cut off for a whole one.
    """
    decoder, within = zlib.decompressobj(_GZIP), False
    for raw in got.iter_raw():
        more = bool(raw)
        while more:
            try:
                part = decoder.decompress(raw, PIECE)
            except zlib.error as error:
                raise httpx2.DecodingError(f"the body is no gzip: {error}") from error
            yield part
            within = not decoder.eof
            if within:
                raw = decoder.unconsumed_tail
                more = bool(raw) or len(part) == PIECE  # what was taken in already may give more
            else:
                raw, decoder = decoder.unused_data, zlib.decompressobj(_GZIP)
                more = bool(raw)
    if within:
        raise httpx2.DecodingError("the body ends within its gzip")


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
        if not transport.sent or method in _IDEMPOTENT:
            raise HttpUnavailable(f"there is no answer from {told}") from error
        raise HttpInterrupted(
            f"the request was sent, and there is no answer from {told}",
            hint="it may have been done; with `retry` it is sent again under the same Idempotency-Key",
        ) from error


class _Transport(httpx2.BaseTransport):
    """Sends requests over connections that the policy has looked at. `sent`: whether a request, or a part of one, was sent."""

    def __init__(self, policy: HttpPolicy, deadline: float, needs_tls: bool) -> None:
        self.sent = False
        self._policy, self._needs_tls = policy, needs_tls
        self._pool = httpcore2.ConnectionPool(
            ssl_context=httpcore2.default_ssl_context(),
            max_connections=1,
            max_keepalive_connections=0,
            network_backend=_Backend(policy, deadline, self),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """See httpx2.BaseTransport. Raises AddressRefused, InvalidArguments."""
        _check(request.url)
        host = request.url.raw_host.decode()
        if self._needs_tls and request.url.scheme != "https" and not self._policy.names(host, _port(request.url)):
            raise AddressRefused(
                f"{host} would be reached without TLS",
                hint=f"use https; an operator may allow it: SOP_HTTP_ALLOW={named(host)}",
            )
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
        failure: Exception = httpcore2.ConnectError("it has no address")
        for address in self._addresses(host, port):
            seconds = min(CONNECT_SECONDS, _left(self._deadline))
            try:
                stream = self._plain.connect_tcp(address, port, seconds, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
                continue
            return _Stream(stream, self._deadline, self._transport)
        raise failure

    def _addresses(self, host: str, port: int) -> list[str]:
        """What the policy says, within the time: the system's resolver has no limit that could be set, and is left alone then."""
        answers: SimpleQueue[list[str] | Exception] = SimpleQueue()

        def ask() -> None:
            try:
                answers.put(self._policy.addresses(host, port))
            except Exception as error:
                answers.put(error)

        threading.Thread(target=ask, name="resolve", daemon=True).start()
        try:
            found = answers.get(timeout=_left(self._deadline))
        except Empty:
            raise httpcore2.ConnectTimeout("it took too long to resolve the name") from None
        if isinstance(found, OSError | UnicodeError):
            raise httpcore2.ConnectError(f"the name is not known: {found}") from found
        if isinstance(found, Exception):
            raise found
        return found


class _Stream(httpcore2.NetworkStream):
    """A connection that ends with the deadline of its request, and tells that something was sent."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: float, transport: _Transport) -> None:
        self._stream, self._deadline, self._transport = stream, deadline, transport

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(self._deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        left = _left(self._deadline)
        self._transport.sent = True  # not when the connection is made: a certificate that is refused sends nothing
        self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, _left(self._deadline))
        return _Stream(stream, self._deadline, self._transport)

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _left(deadline: float) -> float:
    """Seconds until the deadline. Raises ReadTimeout behind it."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore2.ReadTimeout("it took too long")
    return left
