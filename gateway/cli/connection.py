"""HTTP to the gateway.

Where it is: SOP_URL, else what `sop dev` left in the data directory (dev.json), else the address of the settings. The key:
SOP_API_KEY, else the file `api-key` of the data directory. Every answer that is no success ends the command
(`failures.of_problem`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx2

from gateway.cli.failures import NOT_AUTHENTICATED, TIMED_OUT, UNREACHABLE, USAGE, CommandFailed, of_problem
from settings import Settings, UnknownSetting

TIMEOUT: Final = httpx2.Timeout(60, connect=5)


def read_settings(**given: Any) -> Settings:
    """The settings of the environment. Ends the command for a setting that is none."""
    try:
        return Settings(**given)
    except (UnknownSetting, ValueError) as error:
        raise CommandFailed(USAGE, f"error: {error}") from None


class Connection:
    """A connection to the gateway. Use it as a context manager."""

    def __init__(self) -> None:
        settings = read_settings()
        self.url = os.environ.get("SOP_URL") or _running(settings) or f"http://{settings.host}:{settings.port}"
        key = os.environ.get("SOP_API_KEY") or _key(settings.data_dir)
        self._http = httpx2.Client(
            base_url=self.url.rstrip("/"), headers={"Authorization": f"Bearer {key}"}, timeout=TIMEOUT, trust_env=False
        )

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON (None if it has no body)."""
        with self._explained():
            answer = self._http.request(method, path, **options)
        if not answer.is_success:
            raise _refused(answer)
        return answer.json() if answer.content else None

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self.request("POST", path, **options)

    def pages(self, path: str, limit: int, **params: Any) -> Iterator[Any]:
        """The entries of a listing, page after page, at most `limit`."""
        cursor: str | None = None
        while limit > 0:
            asked = {name: value for name, value in {**params, "cursor": cursor}.items() if value is not None}
            page = self.get(path, params={**asked, "limit": min(limit, 1000)})
            yield from page["data"]
            limit -= len(page["data"])
            cursor = page["next_cursor"]
            if cursor is None:
                return

    def stream(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """The records of an NDJSON answer. Ends quietly when the connection is cut: the caller knows the last record."""
        timeout = httpx2.Timeout(None, connect=5)
        try:
            with self._http.stream(method, path, timeout=timeout, **options) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _refused(answer)
                for line in _lines(answer):
                    yield json.loads(line)
        except httpx2.ConnectError as error:
            raise self._unreachable(error) from None
        except (httpx2.RemoteProtocolError, httpx2.ReadError, json.JSONDecodeError):
            return

    @contextmanager
    def download(self, path: str, method: str = "GET", **options: Any) -> Iterator[httpx2.Response]:
        """An answer whose body is read piece by piece. Ends the command when it is cut."""
        timeout = httpx2.Timeout(None, connect=5)
        with self._explained(), self._http.stream(method, path, timeout=timeout, **options) as answer:
            if not answer.is_success:
                answer.read()
                raise _refused(answer)
            yield answer

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except httpx2.TimeoutException:
            raise CommandFailed(TIMED_OUT, f"error: {self.url} did not answer in time") from None
        except httpx2.TransportError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, error: Exception) -> CommandFailed:
        hint = "hint: is it running? `sop dev` starts everything; SOP_URL says where it is"
        return CommandFailed(UNREACHABLE, f"error: the gateway at {self.url} is not reachable: {error}", hint)


def _lines(answer: httpx2.Response) -> Iterator[bytes]:
    """Lines end with a line feed and with nothing else: `iter_lines` would cut text at U+2028 and U+0085 too."""
    rest = b""
    for piece in answer.iter_bytes():
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _refused(answer: httpx2.Response) -> CommandFailed:
    if answer.headers.get("content-type", "").startswith("application/problem+json"):
        return of_problem(answer.status_code, answer.json())
    return CommandFailed(UNREACHABLE, f"error: {answer.url} answered {answer.status_code}, and is no gateway of ours")


def _running(settings: Settings) -> str | None:
    """Where `sop dev` runs the gateway of this data directory."""
    try:
        found: str = json.loads((settings.data_dir / "dev.json").read_text(encoding="utf-8"))["gateway"]
    except (OSError, ValueError, KeyError):
        return None
    return found


def _key(data_dir: Path) -> str:
    try:
        return (data_dir / "api-key").read_text(encoding="utf-8").strip()
    except OSError:
        raise CommandFailed(
            NOT_AUTHENTICATED,
            f"error: there is no API key: {data_dir / 'api-key'} cannot be read",
            "hint: set SOP_API_KEY, or SOP_DATA_DIR to the data directory of the gateway",
        ) from None
