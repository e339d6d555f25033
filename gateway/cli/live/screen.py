"""The tree on a terminal, as long as the run is watched.

Events are taken in as they come, whatever the terminal does; it is drawn anew eight times a second. Where the run is its worker tells:
asked a moment after something has happened (once a second where something happens all the time), and else every five seconds. What a
worker does not tell is not shown.

At the end the last picture stays, whole, with what did not end marked as such.
"""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from rich.console import Console, Group
from rich.live import Live

from gateway.cli.live.steps import Event, Steps
from gateway.cli.live.view import frame

_DRAWN: Final = 8
_SOON: Final = 0.3
_BUSY: Final = 1.0
_LATER: Final = 5.0
_CHILDREN: Final = 5
"""Child runs that are asked, too, where they are."""

Ask = Callable[[str], Mapping[str, Any] | None]
"""Gives the `where` of a run's description, or None."""


class Screen:
    """Use it as a context manager, and give it the events."""

    def __init__(self, run_id: str, ask: Ask, console: Console | None = None) -> None:
        self._steps = Steps()
        self._run_id = run_id
        self._ask = ask
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._over = threading.Event()
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            get_renderable=self._picture,
            refresh_per_second=_DRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._asking = threading.Thread(target=self._keep_asking, name="where", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        with self._lock:
            self._steps.add(event)
        self._news.set()

    def __enter__(self) -> "Screen":
        self._live.start()
        self._asking.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._news.set()
        self._asking.join(1)
        self._live.stop()
        with self._lock:
            for line in frame(self._steps, time.monotonic(), ended=True):
                self._console.print(line, soft_wrap=True)

    def _picture(self) -> Group:
        height = self._console.size.height - 1
        with self._lock:
            return Group(*frame(self._steps, time.monotonic(), height=height))

    def _keep_asking(self) -> None:
        while not self._over.is_set():
            self._news.wait(_LATER)
            self._news.clear()
            before = self._steps.seq
            if self._over.wait(_SOON) or not before or self._steps.end is not None:
                continue
            if self._steps.seq != before and not self._over.wait(_BUSY):
                before = self._steps.seq
            where, silent = None, False
            try:
                where = self._where()
            except (
                Exception
            ):  # the picture is less exact; what matters comes with the events, which are waited for elsewhere
                silent = True
            with self._lock:
                self._steps.silent = silent
                if self._steps.seq == before and self._steps.end is None:
                    self._steps.stand(where, time.monotonic())

    def _where(self) -> Mapping[str, Any] | None:
        where = self._ask(self._run_id)
        if where is None:
            return None
        children = [dict(found) for found in where.get("children", ())]
        for found in children[:_CHILDREN]:
            found["where"] = self._ask(found["run_id"])
        return {**where, "children": children}


def suits(stream: Any = None) -> bool:
    """Whether a tree can be drawn on stderr: it is a terminal that moves its cursor, and takes our marks."""
    found = stream or sys.stderr
    console = Console(file=found)
    return console.is_terminal and not console.is_dumb_terminal and (found.encoding or "").lower().startswith("utf")
