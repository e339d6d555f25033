"""The time zone of the person, as their machine knows it."""

import os
from pathlib import Path
from zoneinfo import available_timezones

LOCALTIME = Path("/etc/localtime")


def local_zone() -> str | None:
    """The IANA name of this machine's time zone; None where it says none, or UTC, as machines do that nobody has told where they are."""
    name = os.environ.get("TZ", "").removeprefix(":")
    if not name and LOCALTIME.is_symlink():
        name = str(LOCALTIME.resolve()).partition("/zoneinfo/")[2]
    if name not in available_timezones() or name.rpartition("/")[2] in ("UTC", "UCT", "Universal", "Zulu"):
        return None
    return name
