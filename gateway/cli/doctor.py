"""sop doctor: whether this command reaches a gateway, with a key, and whether a run would get anywhere there. Each finding with a hint."""

import ipaddress
import platform
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from gateway.cli.connection import find_address
from gateway.cli.failures import NOT_AUTHENTICATED, RUN_FAILED, CommandFailed, of_error, told
from gateway.cli.output import Format, write_rows
from gateway.client.addresses import Address
from gateway.client.errors import GatewayError, NotAllowed, NotAuthenticated, NotFound, Unreachable
from gateway.client.transport import Transport
from gateway.product import product_version

PATIENCE: Final = 10.0
SLOW_FSYNC_MS: Final = 50.0
NO_FSYNC_MS: Final = 0.02
LITTLE_ROOM: Final = 5 << 30
NO_ROOM: Final = 256 << 20
SKEW_SECONDS: Final = 2.0
WRONG_CLOCK_SECONDS: Final = 60.0
_READY_CHECKS: Final = ("temporal", "worker", "data_dir")
_DISK_CHECKS: Final = ("version", "clock", "fsync", "disk")
_READY: Final = {
    "temporal": "start Temporal, or set SOP_TEMPORAL_ADDRESS (TEMPORAL_ADDRESS) of the gateway; `sop dev` starts everything",
    "worker": "start a worker (python worker.py) with the gateway's SOP_TASK_QUEUE and Temporal namespace",
    "data_dir": "the gateway's user has to own SOP_DATA_DIR, and the disk must not be full or read-only",
    "gateway": "it is being stopped: wait for the next one",
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `exit_code` is what it means for the command if it is not in order."""

    check: str
    state: Literal["ok", "warning", "failed", "skipped"]
    detail: str
    hint: str = ""
    exit_code: int = RUN_FAILED

    def row(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "exit_code"}


def doctor(output: Format = "table") -> None:
    """Look whether everything is in order: address, key, versions, Temporal, worker, data directory, disk, clocks."""
    found = list(_findings())
    write_rows([finding.row() for finding in found], ("check", "state", "detail", "hint"), output)
    failed = [finding for finding in found if finding.state == "failed"]
    if failed:
        names = ", ".join(finding.check for finding in failed)
        raise CommandFailed(failed[0].exit_code, f"error: not in order: {names}")


def _findings() -> Iterator[Finding]:
    yield Finding("command", "ok", f"sop {product_version()}, Python {platform.python_version()}")
    try:
        address = find_address()
        with told():
            gateway = Transport(address.url, address.key, timeout=PATIENCE)
    except CommandFailed as failed:
        yield _failed("address", failed)
        yield from _skipped("gateway", "key", *_READY_CHECKS, *_DISK_CHECKS)
        return
    yield _address(address)
    try:
        yield from _of_gateway(gateway, address, product_version())
    finally:
        gateway.close()


def _address(address: Address) -> Finding:
    detail = f"{address.url} (from {address.url_from})"
    url = urlsplit(address.url)
    if url.scheme == "http" and not _loopback(url.hostname or ""):
        return Finding("address", "warning", detail, "keys cross the network in the clear: use https")
    return Finding("address", "ok", detail)


def _of_gateway(gateway: Transport, address: Address, ours: str) -> Iterator[Finding]:
    began = time.monotonic()
    try:
        alive = gateway.get("/livez")
        if not isinstance(alive, dict) or alive.get("status") != "alive":
            raise Unreachable("no_gateway", f"{gateway.url} is no gateway of ours", hint="SOP_URL says where it is")
    except GatewayError as error:
        yield _failed("gateway", of_error(error))
        yield from _skipped("key", *_READY_CHECKS, *_DISK_CHECKS)
        return
    yield Finding("gateway", "ok", f"it answers in {(time.monotonic() - began) * 1000:.0f} ms")
    sent = datetime.now(UTC)
    found: dict[str, Any] | None = None
    try:
        found = gateway.get("/v1/diagnostics")
        yield _key(found, address)
    except NotAuthenticated:
        hint = "sop key create makes one; the first is in the file api-key of the gateway's data directory"
        detail = f"the key from {address.key_from} is not valid there"
        yield Finding("key", "failed", detail, hint, NOT_AUTHENTICATED)
    except (NotAllowed, NotFound) as error:
        yield Finding("key", "warning", f"the key is valid, but {error.message}", "the rest is not told to this key")
    except GatewayError as error:
        yield _failed("diagnostics", of_error(error))
    received = datetime.now(UTC)
    yield from _ready(gateway)
    if found is None:
        yield from _skipped(*_DISK_CHECKS)
        return
    yield _version(ours, found["version"])
    yield clock(datetime.fromisoformat(found["time"]), sent, received)
    yield fsync(found["disk"]["fsync_ms"])
    yield room(found["disk"]["free_bytes"], found["disk"]["total_bytes"])


def _key(found: dict[str, Any], address: Address) -> Finding:
    detail = f"valid, that of {found['key']['name']} (from {address.key_from})"
    with suppress(OSError):
        if stat.S_IMODE(Path(address.key_from).stat().st_mode) & 0o077:
            return Finding("key", "warning", detail, f"others can read it: chmod 600 {address.key_from}")
    return Finding("key", "ok", detail)


def _ready(gateway: Transport) -> Iterator[Finding]:
    """What /readyz says, one by one."""
    wrong: dict[str, str] = {}
    try:
        gateway.get("/readyz")
    except GatewayError as error:
        places = getattr(error, "places", ())
        wrong = {place.pointer.removeprefix("/checks/"): place.detail for place in places}
        if not wrong:
            yield _failed("ready", of_error(error))
    for name in dict.fromkeys([*_READY_CHECKS, *wrong]):
        if name in wrong:
            yield Finding(name, "failed", wrong[name], _READY.get(name, ""))
        else:
            yield Finding(name, "ok", {"temporal": "answers", "worker": "polls"}.get(name, "can be written"))


def _version(ours: str, theirs: str) -> Finding:
    if ours == theirs:
        return Finding("version", "ok", f"the gateway is {theirs} too")
    return Finding("version", "warning", f"the gateway is {theirs}, this command {ours}", "install the same version")


def clock(theirs: datetime, sent: datetime, received: datetime) -> Finding:
    """How far the gateway's clock is from ours: it read its clock between `sent` and `received`."""
    skew = max((sent - theirs).total_seconds(), (theirs - received).total_seconds(), 0.0)
    detail = f"it differs from this machine's by {skew:.1f} s or more" if skew else "it agrees with this machine's"
    hint = "set both clocks by NTP: schedules and expiries follow the servers'"
    if skew < SKEW_SECONDS:
        return Finding("clock", "ok", detail)
    return Finding("clock", "warning" if skew < WRONG_CLOCK_SECONDS else "failed", detail, hint)


def fsync(milliseconds: float | None) -> Finding:
    """Every commit waits for the disk."""
    if milliseconds is None:
        return Finding("fsync", "failed", "nothing can be written to the data directory", _READY["data_dir"])
    detail = f"{milliseconds:g} ms to make a page durable"
    if milliseconds > SLOW_FSYNC_MS:
        return Finding("fsync", "warning", detail, "every commit waits so long: a local SSD is faster")
    if milliseconds < NO_FSYNC_MS:
        return Finding(
            "fsync",
            "warning",
            detail,
            "no disk (tmpfs?), or one that does not sync: commits do not survive a power cut",
        )
    return Finding("fsync", "ok", detail)


def room(free: int, total: int) -> Finding:
    """How much room the disk of the data directory has."""
    detail = f"{free / 2**30:.1f} GiB free of {total / 2**30:.1f}"
    hint = "sop db compact gives room back; SOP_RETENTION_SECONDS and SOP_HISTORY_BYTES say how much history is kept"
    if free < NO_ROOM:
        return Finding("disk", "failed", detail, hint)
    return Finding("disk", "warning" if free < LITTLE_ROOM else "ok", detail, hint if free < LITTLE_ROOM else "")


def _failed(check: str, failed: CommandFailed) -> Finding:
    detail, *more = [line.partition(": ")[2] or line for line in failed.lines]
    return Finding(check, "failed", detail, "; ".join(more), failed.exit_code)


def _skipped(*checks: str) -> Iterator[Finding]:
    for check in checks:
        yield Finding(check, "skipped", "")


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
