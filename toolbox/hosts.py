"""Lists of hosts."""

from collections.abc import Iterable


def fits(host: str, rules: Iterable[str]) -> bool:
    """Whether a host, in lower case, is one of these; `*.example.com` is every name below."""
    return any(host == rule or (rule.startswith("*.") and host.endswith(rule[1:])) for rule in rules)
