"""A command line: its words, and what is known when it is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from toolbox.authoring.commands.outcomes import Setting
from toolbox.authoring.commands.values import suggestion, typed
from toolbox.authoring.commands.words import Word, split
from toolbox.errors import InvalidArguments


@dataclass(frozen=True)
class Line:
    """`word` is the command's, as it was written, and `text` all that stands behind it."""

    word: str
    usage: str
    text: str
    setting: Setting

    @cached_property
    def words(self) -> list[Word]:
        """The words behind the command's. Raises InvalidArguments."""
        return split(self.text)

    @property
    def bare(self) -> list[Word]:
        """The words without a name that are no flags."""
        return [word for word in self.words if word.name is None and word.flag is None]

    @property
    def named(self) -> dict[str, Word]:
        """The words with a name; those that are flags too, as booleans. Raises InvalidArguments for a name that is there twice."""
        found: dict[str, Word] = {}
        for word in self.words:
            name = word.name if word.flag is None else word.flag
            if name is None:
                continue
            if name in found:
                self.refuse(f"{name} is there twice")
            found[name] = word if word.flag is None else Word("true", "bare", name, word.start)
        return found

    def only(self, names: Sequence[str]) -> dict[str, Word]:
        """The named words; others than these are refused. Raises InvalidArguments."""
        for name in self.named:
            if name not in names:
                self.refuse(f"/{self.word} has no {name}", suggestion(name, names))
        return self.named

    def value(self, tool: str, name: str, word: Word) -> Any:
        """What a word means for an argument of a tool. Raises InvalidArguments."""
        schema = self.setting.schema(tool) or {}
        return typed(name, word, schema.get("properties", {}).get(name), schema)

    def refuse(self, message: str, hint: str | None = None) -> NoReturn:
        """Raises InvalidArguments, with the usage where there is no better hint."""
        raise InvalidArguments(message, hint=hint or f"usage: /{self.word} {self.usage}".rstrip())
