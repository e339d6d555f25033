"""The command's connection to the gateway: the client of `gateway.client`, whose exceptions end the command.

Where the gateway is, and the key: see `gateway.client.addresses`. What it knows of an installation of this machine is from the settings.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.failures import USAGE, CommandFailed, of_error, told
from gateway.cli.options import options
from gateway.client.addresses import Address, Installation, find_gateway
from gateway.client.errors import GatewayError

if TYPE_CHECKING:
    import httpx2

    from settings import Settings

_READ_HERE: Final = frozenset({"SOP_URL", "SOP_API_KEY", "SOP_PROFILE", "SOP_DATA_DIR"})


def read_settings(**given: Any) -> "Settings":
    """The settings of the environment. Ends the command for a setting that is none."""
    from settings import Settings, UnknownSetting  # takes the better part of a second

    try:
        return Settings(**given)
    except (UnknownSetting, ValueError) as error:
        raise CommandFailed(USAGE, f"error: {error}") from None


def find_address() -> Address:
    """Where the gateway is that this command means, and a key for it. Ends the command if that cannot be told."""
    installation = _installation()
    given = options()
    with told():
        return find_gateway(installation, profile=given.profile, url=given.url)


def _installation() -> Installation:
    """What the settings say of this machine's own gateway. They are all read, and checked, only if there are others than the usual."""
    if {name for name in os.environ if name.startswith("SOP_")} <= _READ_HERE:
        usual = Installation()
        return Installation(Path(os.environ.get("SOP_DATA_DIR") or usual.data_dir), usual.url)
    settings = read_settings()
    return Installation(settings.data_dir, f"http://{settings.host}:{settings.port}")


class Connection:
    """A connection to the gateway. Use it as a context manager."""

    def __init__(self, address: Address | None = None, **limits: float) -> None:
        from gateway.client.transport import Transport

        found = address or find_address()
        with told():
            self.gateway = Transport(found.url, found.key, **limits)
        self.url = self.gateway.url

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.gateway.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON (None if it has no body)."""
        with told():
            return self.gateway.request(method, path, **options)

    def get(self, path: str, **options: Any) -> Any:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Any:
        return self.request("POST", path, **options)

    def text(self, method: str, path: str, **options: Any) -> str:
        """The answer's text."""
        with told():
            return self.gateway.answer(method, path, **options).text

    def pages(self, path: str, limit: int | None, **params: Any) -> Iterator[Any]:
        """The entries of a listing, page after page, at most `limit` (None: all)."""
        return _told(self.gateway.pages(path, limit, **params))

    def stream(self, method: str, path: str, **options: Any) -> Iterator[dict[str, Any]]:
        """The records of an NDJSON answer. Ends quietly when the connection is cut: the caller knows the last record."""
        return _told(self.gateway.stream(method, path, **options))

    @contextmanager
    def download(self, path: str, method: str = "GET", **options: Any) -> Iterator["httpx2.Response"]:
        """An answer whose body is read piece by piece. Ends the command when it is cut."""
        with told(), self.gateway.download(path, method, **options) as answer:
            yield answer


def _told(records: Iterator[Any]) -> Iterator[Any]:
    try:
        yield from records
    except GatewayError as error:
        raise of_error(error) from None
