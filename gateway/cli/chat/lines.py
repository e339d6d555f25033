"""Lines of the person on a terminal: with a history, completion of what stands behind a slash, and messages of several lines.

What is pasted is one message, with its line breaks (bracketed paste of readline). A line that ends in a backslash goes on with the
next one.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

WORDS: Final = (
    "add", "approve", "create", "databases", "delete", "delete_record", "delete_step", "diff", "draw", "drafts", "dry_run", "help",
    "insert_step", "join", "last-tool", "list", "list_databases", "list_scripts", "list_stores", "list_tools", "mock", "mocks", "open",
    "outline", "parameterize", "pause", "play", "publish", "quit", "record", "reject", "reorder_steps", "resume", "review", "run",
    "save", "save_as", "schedule", "schedules", "select", "show", "step", "stop", "stores", "switch_database", "tools", "undo",
    "unmock", "update", "update_step", "verbose",
)  # fmt: skip
"""Slash commands (`toolbox.authoring.commands`), and `/quit`, which is the command line's own."""
OF_SCRIPTS: Final = ("play", "run", "dry_run", "schedule", "show", "open")
LONGEST: Final = 1000
"""Lines of the history that are kept."""
Names = Callable[[], Sequence[str]]


class Completion:
    """What may stand behind what is typed. Names are asked for when they are needed first, and then no more."""

    def __init__(self, tools: Names, scripts: Names, databases: Names) -> None:
        self._ask = {"tools": tools, "scripts": scripts, "databases": databases}
        self._known: dict[str, Sequence[str]] = {}

    def fitting(self, line: str) -> list[str]:
        """The words that the last one of a line may become."""
        first, *rest = line.split(" ")
        if not first.startswith("/"):
            return []
        if not rest:
            return _beginning([f"/{word}" for word in {*WORDS, *self._names("tools")}], first)
        if len(rest) == 1 and first[1:] in OF_SCRIPTS:
            return _beginning(self._names("scripts"), rest[0])
        if len(rest) == 1 and first[1:] in ("switch_database", "list_stores"):
            return _beginning(self._names("databases"), rest[0])
        return []

    def _names(self, kind: str) -> Sequence[str]:
        if kind not in self._known:
            try:
                self._known[kind] = self._ask[kind]()
            except Exception:  # a gateway that does not tell now, or a key that may not know
                return ()
        return self._known[kind]


def _beginning(words: Iterable[str], begun: str) -> list[str]:
    return sorted(word for word in words if word.startswith(begun))


class Lines:
    """Reads messages. Use it as a context manager: the history is kept in a file, which only its owner reads."""

    def __init__(self, completion: Completion, history: Path) -> None:
        self._completion = completion
        self._history = history
        self._found: list[str] = []

    def __enter__(self) -> "Lines":
        try:
            import readline
        except ImportError:
            return self
        with suppress(OSError):
            readline.read_history_file(self._history)
        readline.set_history_length(LONGEST)
        readline.set_completer_delims(" ")
        readline.set_completer(self._complete)
        readline.parse_and_bind("tab: complete")
        readline.parse_and_bind("set enable-bracketed-paste on")
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ImportError, OSError):
            import readline

            self._history.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._history, os.O_CREAT | os.O_WRONLY, 0o600))
            readline.write_history_file(self._history)

    def read(self, prompt: str) -> str:
        """The next message. Raises EOFError, KeyboardInterrupt."""
        text = input(prompt)
        while text.endswith("\\"):
            text = f"{text[:-1]}\n{input('... ')}"
        return text

    def _complete(self, _: str, state: int) -> str | None:
        import readline

        if state == 0:
            self._found = self._completion.fitting(readline.get_line_buffer()[: readline.get_endidx()])
        return self._found[state] if state < len(self._found) else None


def history_file(environ: "os._Environ[str] | dict[str, str]" = os.environ) -> Path:
    """Where the history of `sop chat` is kept."""
    state = environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "sop" / "chat_history"
