"""Where a server may listen: on loopback, unless it is allowed explicitly to be reached by others."""

import contextlib
import ipaddress
from typing import Final

_HINT: Final = (
    "keys and data would cross the network in the clear. Put a TLS proxy in front, or set SOP_ALLOW_REMOTE=true"
)


class NotLoopback(ValueError):
    """The gateway was told to listen where others can reach it, and was not told that this is meant."""


def check_host(host: str, allow_remote: bool, setting: str = "SOP_HOST") -> None:
    """Raises NotLoopback for an address that others can reach, unless that is allowed."""
    if allow_remote or host == "localhost":
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).is_loopback:
            return
    raise NotLoopback(f"{setting}={host} is not loopback: {_HINT}")


def metrics_address(text: str, setting: str, *, allow_remote: bool) -> tuple[str, int]:
    """The host and the port of `host:port`, as in 127.0.0.1:9464 or [::1]:9464.

    Raises ValueError for what is none, NotLoopback.
    """
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or (":" in host and not text.startswith("[")) or not port.isascii() or not port.isdigit():
        raise ValueError(f"{setting} is host:port, as 127.0.0.1:9464, and not {text!r}")
    if not 0 < int(port) <= 65535:
        raise ValueError(f"{setting} has a port of 1 to 65535, and not {port}")
    check_host(host, allow_remote, setting)
    return host, int(port)
