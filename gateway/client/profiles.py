"""Profiles: gateways by name, in `./sop.toml` and `~/.config/sop/config.toml` (or `$XDG_CONFIG_HOME/sop/config.toml`).

    [profile.prod]
    url = "https://sop.example.com"
    key = "sop_..."
    output = "json"

A file that has keys is refused if others can read it. A key belongs to the address beside it, and is sent to no other: so a `sop.toml` that
somebody left in a directory cannot send the user's own keys elsewhere.
"""

import os
import stat
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from gateway.client.errors import NotConfigured

PROJECT_FILE: Final = Path("sop.toml")
DEFAULT: Final = "default"
OUTPUTS: Final = ("table", "json", "ndjson", "csv")
_FIELDS: Final = ("url", "key", "output")


@dataclass(frozen=True)
class Profile:
    """A profile as one file has it."""

    name: str
    file: Path
    url: str | None = None
    key: str | None = None
    output: str | None = None

    def __repr__(self) -> str:
        return f"Profile({self.name!r}, {str(self.file)!r}, url={self.url!r})"


def user_file(environ: Mapping[str, str]) -> Path:
    """The user's own file."""
    folder = environ.get("XDG_CONFIG_HOME")
    return (Path(folder) if folder else Path.home() / ".config") / "sop" / "config.toml"


def read_profiles(file: Path) -> dict[str, Profile]:
    """The profiles of a file; none if it is not there. Raises NotConfigured."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            found = tomllib.load(opened)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise NotConfigured("unreadable_profiles", f"{file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise NotConfigured("invalid_profiles", f"{file}: {error}") from None
    _only(file, "", found, ("profile",))
    sections = found.get("profile", {})
    if not isinstance(sections, dict):
        raise NotConfigured("invalid_profiles", f"{file}: profiles are tables", hint="[profile.prod]")
    profiles = {name: _profile(file, name, section) for name, section in sections.items()}
    if any(profile.key for profile in profiles.values()) and stat.S_IMODE(mode) & 0o077:
        raise NotConfigured("key_exposed", f"{file} has keys, and others can read it", hint=f"chmod 600 {file}")
    return profiles


def chosen(name: str | None, files: Sequence[Path]) -> list[Profile]:
    """The profile of a name (None: `default`, which need not be there) in each file that has it, in order. Raises NotConfigured."""
    read = [read_profiles(file) for file in files]
    found = [profiles[name or DEFAULT] for profiles in read if (name or DEFAULT) in profiles]
    if name is not None and not found:
        known = sorted({known for profiles in read for known in profiles})
        near = get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"
        places = " and ".join(map(str, files))
        raise NotConfigured("unknown_profile", f"there is no profile {name!r} in {places}", hint=hint)
    return found


def _profile(file: Path, name: str, section: Any) -> Profile:
    where = f"[profile.{name}]"
    if not isinstance(section, dict):
        raise NotConfigured("invalid_profiles", f"{file}: profile.{name} is a table", hint=where)
    _only(file, f"{where} ", section, _FIELDS)
    for field, value in section.items():
        if not isinstance(value, str) or not value:
            raise NotConfigured("invalid_profiles", f"{file}: {where} {field} is a text")
    profile = Profile(name, file, section.get("url"), section.get("key"), section.get("output"))
    if profile.url is not None and not profile.url.startswith(("http://", "https://")):
        raise NotConfigured("invalid_profiles", f"{file}: {where} url begins with http:// or https://")
    if profile.output is not None and profile.output not in OUTPUTS:
        raise NotConfigured("invalid_profiles", f"{file}: {where} output is one of {', '.join(OUTPUTS)}")
    if profile.key is not None and profile.url is None:
        hint = "a key is sent only to the address that stands beside it"
        raise NotConfigured("invalid_profiles", f"{file}: {where} has a key and no url", hint=hint)
    return profile


def _only(file: Path, where: str, found: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raises NotConfigured for a name that means nothing: a typo must not become a default."""
    for name in found:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
            raise NotConfigured("invalid_profiles", f"{file}: {where}{name} means nothing", hint=hint)
