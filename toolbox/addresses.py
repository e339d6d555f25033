"""Which addresses tools may reach, and the policy that decides it.

A URL may come from a row or from a model, so it must not lead into the network that the worker stands in (server-side request
forgery). What counts is the address and never the name. Refused is what is not of the public network: private, loopback, link-local (the
metadata services of clouds), shared, multicast, reserved, and the IPv6 forms that carry such an IPv4 address. An operator may name hosts
that are reached all the same.

Of IPv6 only 2000::/3 is public: nothing else was given out for it. The networks listed here are refused besides because versions of
Python do not agree about them, or, the one of Azure, because a public address leads to a metadata service.
"""

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from toolbox.errors import AddressRefused

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Iterable[str]]
_GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP: Final = (0x0000_5EFE, 0x0200_5EFE)
"""The third quarter of an address that ends in an IPv4 address (RFC 5214)."""
_REFUSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2001::/23", "2001:db8::/32", "3fff::/20")
)
_ALLOWED: Final = re.compile(r"(?P<host>\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::(?P<port>[0-9]{1,5}))?")


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name. Raises OSError, UnicodeError."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


def is_public(address: str) -> bool:
    """Whether an address is one of the public network. Raises ValueError for what is no address."""
    return _is_public(ipaddress.ip_address(address.partition("%")[0]))


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None or address in _NAT64:
            return _is_public(_last_quarter(address))
        if address not in _GLOBAL_UNICAST:
            return False
        inner = [address.sixtofour] if address.sixtofour is not None else []
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP:
            inner.append(_last_quarter(address))
        if not all(map(_is_public, inner)):
            return False
    if any(address in network for network in _REFUSED if network.version == address.version):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _last_quarter(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


def named(host: str) -> str:
    """A host as URLs name it: in lower case, IPv6 addresses in brackets. Raises ValueError for a host with colons that is no address."""
    return f"[{ipaddress.IPv6Address(host)}]" if ":" in host else host.lower()


@dataclass(frozen=True)
class HttpPolicy:
    """What may be reached. `allowed` are hosts, or host:port, as `named` gives them, whatever their addresses are."""

    allowed: frozenset[str] = frozenset()
    resolve: Resolve = resolve

    @classmethod
    def allowing(cls, hosts: Iterable[str]) -> "HttpPolicy":
        """The policy that allows these hosts besides: host, host:port, [IPv6] or [IPv6]:port. Raises ValueError for what is none."""
        return cls(frozenset(map(_allowed, hosts)))

    def names(self, host: str, port: int) -> bool:
        """Whether the operator named this host."""
        return bool({named(host), f"{named(host)}:{port}"} & self.allowed)

    def addresses(self, host: str, port: int) -> list[str]:
        """The addresses of a host that may be connected to. Asks for them once. Raises AddressRefused, OSError, UnicodeError."""
        found = list(self.resolve(host, port))
        if self.names(host, port):
            return found
        public = [address for address in found if is_public(address)]
        if not public:
            raise AddressRefused(
                f"{host} is {', '.join(found) or 'no address'}, which is not of the public network",
                hint=f"an operator may allow it: SOP_HTTP_ALLOW={named(host)}",
            )
        return public


def _allowed(text: str) -> str:
    found = _ALLOWED.fullmatch(text.lower())
    if found is None or not 0 < int(found["port"] or 1) < 65536:
        raise ValueError(f"SOP_HTTP_ALLOW is hosts, or host:port, as URLs name them; {text!r} is none")
    host = found["host"]
    if host.startswith("["):
        host = f"[{ipaddress.IPv6Address(host[1:-1])}]"
    return f"{host}:{found['port']}" if found["port"] else host
