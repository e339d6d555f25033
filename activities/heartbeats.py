"""Heartbeats for every running activity, from one thread.

Temporal hears that a worker died only by missing heartbeats, so every step needs them, also one that waits two minutes for
a mail server. A step that ends within the interval, as nearly all do, costs an entry in a dictionary.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context

from temporalio import activity
from temporalio.exceptions import CancelledError


class Heartbeats:
    """Beats for the activities inside of `running()`. `interval` is in seconds."""

    def __init__(self, interval: float = 2.0) -> None:
        self._interval = interval
        self._running: dict[int, Context] = {}
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Beat for the current activity until the block ends."""
        context = copy_context()
        with self._lock:
            self._running[id(context)] = context
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="heartbeats", daemon=True)
                self._thread.start()
        try:
            yield
        finally:
            with self._lock:
                del self._running[id(context)]

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _beat(self) -> None:
        while not self._stopped.wait(self._interval):
            with self._lock:
                contexts = list(self._running.values())
            for context in contexts:
                with suppress(RuntimeError):  # the activity ended just now, or is inside of its context
                    context.run(activity.heartbeat)


def check_cancelled() -> None:
    """Raises CancelledError within an activity that nobody waits for any more; anywhere else nothing happens."""
    if activity.in_activity() and activity.is_cancelled():
        raise CancelledError("nobody waits for it any more")
