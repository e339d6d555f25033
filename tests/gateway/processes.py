"""Gateways and workers as processes, and what they print."""

import asyncio
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parents[2]


class Part:
    """`python -m MODULE` with these settings; ended at the end of the block, however that is left."""

    def __init__(self, module: str, settings: dict[str, str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SOP_", "TEMPORAL_"))}
        self._log = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=ROOT,
            env={**inherited, **settings},
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    async def ready(self) -> str:
        """What it says when it is ready: the address of a gateway, nothing for a worker."""
        assert self.process.stdout is not None
        line = await asyncio.to_thread(self.process.stdout.readline)
        match = re.fullmatch(r"(?:gateway ready on (\S+)|worker ready) \(process \d+\)\n", line)
        assert match, line or self._logged()
        return match[1] or ""

    async def ended(self) -> tuple[int, str]:
        """Wait for its end; the exit code, and what it logged."""
        code = await asyncio.to_thread(self.process.wait, 40)
        return code, self._logged()

    def _logged(self) -> str:
        self._log.seek(0)
        return self._log.read()

    async def end(self, number: int) -> tuple[int, str]:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        return await self.ended()

    def __enter__(self) -> "Part":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(15)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()
