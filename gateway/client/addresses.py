"""Where the gateway is, and with which key: what is said outright, the environment, profiles, and what an installation left behind.

address   url given > SOP_URL > ./sop.toml > the user's file > dev.json of the data directory (`sop dev`) > the settings' address
key       SOP_API_KEY > the profile's, if the address is the one beside it > api-key of the data directory (not for a profile's address)
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.client.errors import NotConfigured
from gateway.client.profiles import PROJECT_FILE, Profile, chosen, user_file

KEY_FILE = "api-key"


@dataclass(frozen=True)
class Address:
    """A gateway's `url` and a `key` for it, and where each was found; `output` is the form that the profile prefers."""

    url: str
    key: str = field(repr=False)
    url_from: str
    key_from: str
    profile: str | None = None
    output: str | None = None


@dataclass(frozen=True)
class Installation:
    """What a machine with a data directory knows of its own gateway."""

    data_dir: Path = Path(".sop")
    url: str = "http://127.0.0.1:8080"


def find_profiles(name: str | None, environ: Mapping[str, str] = os.environ) -> list[Profile]:
    """The profile that is asked for (else SOP_PROFILE, else `default`), in `./sop.toml` and in the user's file. Raises NotConfigured."""
    return chosen(name or environ.get("SOP_PROFILE") or None, (PROJECT_FILE, user_file(environ)))


def find_gateway(
    installation: Installation,
    *,
    profile: str | None = None,
    url: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Address:
    """Where the gateway is, and a key for it. Raises NotConfigured."""
    profiles = find_profiles(profile, environ)
    place, found_in, of_profile = _url(installation, profiles, url, environ)
    output = next((found.output for found in profiles if found.output), None)
    name = profiles[0].name if profiles else None
    key = environ.get("SOP_API_KEY")
    if key:
        named = profile or environ.get("SOP_PROFILE")
        if of_profile and found_in == str(PROJECT_FILE) and not named:
            raise NotConfigured(
                "key_misdirected",
                f"the address {place} comes from ./{PROJECT_FILE}, and the key from SOP_API_KEY: they may not belong together",
                hint=f"--profile {name} or SOP_PROFILE={name} says that they do",
            )
        return Address(place, key, found_in, "SOP_API_KEY", name, output)
    for found in profiles:
        if found.key and found.url and found.url.rstrip("/") == place:
            return Address(place, found.key, found_in, str(found.file), name, output)
    if of_profile:
        hint = f"write it beside the address in {found_in}, or set SOP_API_KEY"
        raise NotConfigured("no_key", f"the profile {name} has no key for {place}", hint=hint)
    return Address(place, _key(installation.data_dir), found_in, str(installation.data_dir / KEY_FILE), name, output)


def _url(
    installation: Installation, profiles: list[Profile], url: str | None, environ: Mapping[str, str]
) -> tuple[str, str, bool]:
    """The address, where it was found, and whether that was a profile."""
    if url:
        return url.rstrip("/"), "--url", False
    if environ.get("SOP_URL"):
        return environ["SOP_URL"].rstrip("/"), "SOP_URL", False
    for found in profiles:
        if found.url:
            return found.url.rstrip("/"), str(found.file), True
    running = _running(installation.data_dir)
    return (running, "sop dev", False) if running else (installation.url, "the settings", False)


def _running(data_dir: Path) -> str | None:
    """Where `sop dev` runs the gateway of this data directory."""
    try:
        found: str = json.loads((data_dir / "dev.json").read_text(encoding="utf-8"))["gateway"]
    except (OSError, ValueError, KeyError):
        return None
    return found.rstrip("/")


def _key(data_dir: Path) -> str:
    try:
        return (data_dir / KEY_FILE).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise NotConfigured(
            "no_key",
            f"there is no API key: {data_dir / KEY_FILE} cannot be read",
            hint="set SOP_API_KEY, or SOP_DATA_DIR to the data directory of the gateway",
        ) from None
