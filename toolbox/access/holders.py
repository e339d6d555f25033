"""Access: what whoever asks may do.

It is that of a key, or less: whoever acts for a key in something that has grants of its own (a session of authoring) may do what the key
may do *and* the grants cover. Two patterns have no pattern for what both mean (`c*`, `*m`), so the grants are kept beside the scopes, one
group for each time that something was taken away, and every group is asked. Restricting never adds anything, in whatever order.

Its JSON form goes to where the request is over (workflows, activities). It is what the key could do then: whether the key has been revoked
since, only who has the keys can tell.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolbox.access.scopes import Scope, parse_scopes
from toolbox.errors import Forbidden


@dataclass(frozen=True)
class Access:
    """Whose key a request came with, and what it may do. `expires_at` is ISO 8601 in UTC. `by_token`: it is no key of ours, but a token of
    an identity provider. `grants`: groups of scopes, each of which has to cover what is done, beside the key's own."""

    key_id: str
    name: str
    scopes: tuple[Scope, ...]
    expires_at: str | None = None
    by_token: bool = False
    grants: tuple[tuple[Scope, ...], ...] = ()

    def has(self, needed: Scope) -> bool:
        """Whether that is allowed."""
        return all(_covers(group, needed) for group in (self.scopes, *self.grants))

    def has_some(self, area: str, action: str) -> bool:
        """Whether that may be allowed with some names: never False if there is one, and for a key without grants never True without one."""
        return all(
            any(scope.covers(Scope(area, action, scope.names)) for scope in group)
            for group in (self.scopes, *self.grants)
        )

    def require(self, *needed: Scope, what: str = "this") -> None:
        """Raises Forbidden, with the scopes that are missing; `what` is what takes them."""
        missing = [scope for scope in needed if not self.has(scope)]
        if missing:
            lacking = [scope for scope in missing if not _covers(self.scopes, scope)]
            raise forbidden(missing, what, "which the key does not have" if lacking else "which is not granted here")

    def within(self, grants: Sequence[str]) -> "Access":
        """The same access, with no more than these scopes allow; none means that nothing is taken away. Raises InvalidScope."""
        return replace(self, grants=(*self.grants, parse_scopes(grants))) if grants else self

    def to_json(self) -> dict[str, Any]:
        """{key_id, name, scopes: [text], expires_at, by_token}, and `grants: [[text]]` where there are any."""
        found = {
            "key_id": self.key_id,
            "name": self.name,
            "scopes": _texts(self.scopes),
            "expires_at": self.expires_at,
            "by_token": self.by_token,
        }
        return {**found, "grants": [_texts(group) for group in self.grants]} if self.grants else found

    @classmethod
    def from_json(cls, given: Mapping[str, Any]) -> "Access":
        """What `to_json` has written. Raises InvalidScope, KeyError."""
        return cls(
            given["key_id"],
            given["name"],
            parse_scopes(given["scopes"]),
            given["expires_at"],
            given["by_token"],
            tuple(parse_scopes(group) for group in given.get("grants", ())),
        )


def forbidden(missing: Iterable[Scope], what: str = "this", why: str = "which the key does not have") -> Forbidden:
    """The refusal of who has not these scopes; `what` is what takes them."""
    texts = sorted(map(str, missing))
    listed = f"the scope {texts[0]}" if len(texts) == 1 else f"the scopes {', '.join(texts)}"
    return Forbidden(f"{what} takes {listed}, {why}", what=what, scopes=texts)


def _covers(group: Iterable[Scope], needed: Scope) -> bool:
    return any(scope.covers(needed) for scope in group)


def _texts(scopes: Iterable[Scope]) -> list[str]:
    return list(map(str, scopes))
