"""The secrets of one step: put in where its tool asks for them, and out of all that it gives.

`guarded` is around every call of a tool that reaches the outside. Whatever it gives or raises goes into the history of a run, into events
and into logs, and whoever it has spoken with may have answered with what he was told, now or earlier: so all secrets are taken out,
not only those of the step.
"""

from collections.abc import Callable, Iterator
from typing import Any

from script.compiler.secrets import NAMED, SCHEME
from toolbox.errors import SecretRefused, ToolError
from toolbox.hosts import fits
from toolbox.vault.redaction import Redaction
from toolbox.vault.vault import Vault


class Filling:
    """Puts secrets into arguments. `names` are those that the step itself names."""

    def __init__(self, vault: Vault | None = None, names: frozenset[str] = frozenset()) -> None:
        self._vault = vault
        self._names = names
        self.used = False

    def fill(self, value: Any, pointer: str, host: str | None = None) -> Any:
        """JSON with the secrets in the place of their names; `host` is who gets it.

        Raises SecretRefused, SecretNotFound, SecretUnreadable.
        """
        if isinstance(value, str):
            return self._text(value, pointer, host) if SCHEME in value else value
        if isinstance(value, dict):
            return {name: self.fill(part, f"{pointer}/{name}", host) for name, part in value.items()}
        if isinstance(value, list):
            return [self.fill(part, f"{pointer}/{at}", host) for at, part in enumerate(value)]
        return value

    def _text(self, text: str, pointer: str, host: str | None) -> str:
        if text.count(SCHEME) != len(NAMED.findall(text)):
            raise SecretRefused(f"{SCHEME} stands without the name of a secret", pointer=pointer)
        return NAMED.sub(lambda found: self._value(found[1], pointer, host), text)

    def _value(self, name: str, pointer: str, host: str | None) -> str:
        if name not in self._names or self._vault is None:
            raise SecretRefused(
                f"the step does not name the secret {name!r} itself",
                pointer=pointer,
                hint=f"write {SCHEME}{name} into the step: what comes from a variable, a row or an argument opens no secret",
            )
        value, hosts = self._vault.reveal(name)
        if hosts and (host is None or not fits(host.lower().rstrip("."), hosts)):
            raise SecretRefused(f"the secret {name!r} is not for {host or 'this'}", pointer=pointer)
        self.used = True
        return value


def guarded(vault: Vault | None, call: Callable[[], Any]) -> Any:
    """What a call gives, without any secret. Raises what it raises, without any secret."""
    if vault is None:
        return call()
    try:
        found = call()
    except Exception as error:
        clean = redacted(vault, error)
        if clean is error:
            raise
    else:
        redaction = vault.redaction()
        return redaction.value(found) if redaction else found
    raise clean  # outside of the handler, so that what it was made of is not behind it


def redacted(vault: Vault | None, error: Exception) -> Exception:
    """The same error if it tells no secret, nor what is behind it; or one that says the rest."""
    redaction = vault.redaction() if vault is not None else None
    if redaction and any(redaction.has(text) for text in _texts(error)):
        return _clean(error, redaction)
    return error


def _texts(error: BaseException) -> Iterator[str]:
    """What an error and those behind it say."""
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        left += [one.__cause__, one.__context__]
        yield str(one)
        yield repr(one)
        yield from getattr(one, "__notes__", ())
        if isinstance(one, ToolError):
            yield str(one.to_dict())


def _clean(error: Exception, redaction: Redaction) -> Exception:
    """An error of the same kind that says the same, without what is behind it."""
    if not isinstance(error, ToolError):
        return RuntimeError(redaction.text(f"{type(error).__name__}: {error}"))
    told = redaction.value(error.to_dict())
    clean = type(error)(told["message"], pointer=told.get("pointer"), hint=told.get("hint"), **told.get("details", {}))
    clean.retryable = error.retryable
    return clean
