"""HTTP to a gateway: answers as JSON, pages, streams of records, downloads. What goes wrong is an exception of `errors`.

httpx2 is imported with the first connection: a command that asks nobody starts without it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from gateway.client.errors import GatewayError, NotConfigured, TimedOut, Unreachable, refused

if TYPE_CHECKING:
    import httpx2

SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 5.0
PAGE: Final = 1000


class Transport:
    """A gateway's address and a key for it. Proxies of the environment are not used: keys would go through them. Raises NotConfigured for
    what is no address or no key."""

    def __init__(self, url: str, key: str, *, timeout: float = SECONDS) -> None:
        self.url = url.rstrip("/")
        self._connect = min(timeout, CONNECT_SECONDS)
        if not key or not key.isascii() or not key.isprintable() or " " in key:
            raise NotConfigured("invalid_key", "the API key is empty, or none", hint="sop_<id>_<secret>, on one line")
        import httpx2

        plain = self.url.startswith("http://")  # there is nothing to verify, and reading certificates takes a while
        try:
            self.http = httpx2.Client(
                base_url=self.url,
                headers={"Authorization": f"Bearer {key}"},
                timeout=httpx2.Timeout(timeout, connect=self._connect),
                trust_env=False,
                verify=not plain,
            )
        except httpx2.InvalidURL as error:
            raise NotConfigured("invalid_url", f"{self.url} is no address: {error}") from None

    def close(self) -> None:
        self.http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON (None if it has no body)."""
        answer = self.answer(method, path, **options)
        try:
            return answer.json() if answer.content else None
        except ValueError:
            raise _stranger(answer) from None

    def answer(self, method: str, path: str, **options: Any) -> "httpx2.Response":
        """A whole answer, its headers included."""
        with self._explained():
            answer = self.http.request(method, path, **options)
        if not answer.is_success:
            raise refusal(answer)
        return answer

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self.request("POST", path, **options)

    def pages(self, path: str, limit: int | None, **params: Any) -> Iterator[Any]:
        """The entries of a listing, page after page, at most `limit` (None: all)."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            page = self.get(path, params=given(params, cursor=cursor) | {"limit": min(left or PAGE, PAGE)})
            yield from page["data"]
            left = None if left is None else left - len(page["data"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def stream(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """The records of an NDJSON answer. Ends quietly when the connection is cut: who reads knows what the last record has to be."""
        import httpx2

        try:
            with self.http.stream(method, path, timeout=self._patient(), **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise refusal(answer)
                for line in lines(answer):
                    if not line.strip():
                        continue
                    try:
                        record = json.loads(line)
                    except ValueError:
                        return
                    yield record
        except httpx2.ConnectTimeout:
            raise self._late() from None
        except httpx2.ConnectError as error:
            raise self._unreachable(error) from None
        except httpx2.TransportError:
            return

    @contextmanager
    def download(self, path: str, method: str = "GET", **options: Any) -> Iterator["httpx2.Response"]:
        """An answer whose body is read piece by piece."""
        with self._explained(), self.http.stream(method, path, timeout=self._patient(), **options) as answer:
            if not answer.is_success:
                answer.read()
                raise refusal(answer)
            yield answer

    def _patient(self) -> "httpx2.Timeout":
        """A stream may be silent for as long as it wants."""
        import httpx2

        return httpx2.Timeout(None, connect=self._connect)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        import httpx2

        try:
            yield
        except httpx2.TimeoutException:
            raise self._late() from None
        except httpx2.TransportError as error:
            raise self._unreachable(error) from None

    def _late(self) -> GatewayError:
        return TimedOut("timed_out", f"{self.url} did not answer in time", retryable=True)

    def _unreachable(self, error: Exception) -> GatewayError:
        hint = "is it running? `sop dev` starts everything; SOP_URL says where it is"
        message = f"the gateway at {self.url} is not reachable: {error}"
        return Unreachable("unreachable", message, hint=hint, retryable=True)


def refusal(answer: "httpx2.Response") -> GatewayError:
    """The exception of an answer that is no success and was read."""
    kind = answer.headers.get("content-type", "")
    try:
        found = answer.json() if kind.startswith("application/problem+json") else None
    except ValueError:
        found = None
    if isinstance(found, dict):
        return refused(answer.status_code, found)
    return _stranger(answer)


def _stranger(answer: "httpx2.Response") -> GatewayError:
    return Unreachable("no_gateway", f"{answer.url} answered {answer.status_code}, and is no gateway of ours")


def lines(answer: "httpx2.Response") -> Iterator[bytes]:
    """Lines end with a line feed and with nothing else: `iter_lines` would cut text at U+2028 and U+0085 too."""
    rest = b""
    for piece in answer.iter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def given(fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in {**fields, **more}.items() if value is not None}


def part(text: str) -> str:
    """A name as one part of an address."""
    return quote(text, safe="")
