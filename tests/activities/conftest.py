"""Runs without a server: a machine whose effects are performed right here, over a fresh data directory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from activities import Resources
from activities.chunks import perform
from activities.failures import error_of
from query import Record, create_store, list_stores, select
from script.machine.effects import Done, Effect, Waiting, Yielded
from script.machine.machine import Machine
from script.wire import Outcome
from tests.toolbox.conftest import resources
from worker import create_resources

__all__ = ["resources"]


@dataclass
class Local:
    """Runs scripts in this process."""

    resources: Resources

    def store(self, name: str, records: list[Record], *, key: str = "id") -> None:
        """A store of the database `shop`."""

        def fill(transaction: Any) -> None:
            store = create_store(transaction, name, primary_key=[key])
            for record in records:
                store.add(record)

        self.resources.databases.ensure("shop").transact(fill)

    def rows(self, store: str) -> list[Record]:
        """All rows of a store, none where it is not there."""
        view = self.resources.databases.open("shop").snapshot()
        return list(select(view, store)) if store in {info.name for info in list_stores(view)} else []

    def begin(self, script: dict[str, Any], arguments: dict[str, Any] | None = None, **options: Any) -> Machine:
        """A machine of a saved script."""
        self.resources.library.save(script)
        programs = {program.hash: program for program in self.resources.library.closure(script["name"])}
        options = {"run_id": "run", "key_id": "run:1", "clock": "2026-01-05T09:00:00.000+00:00", **options}
        return Machine.start(programs, next(iter(programs)), arguments=arguments or {}, **options)

    def run(self, script: dict[str, Any], arguments: dict[str, Any] | None = None, **options: Any) -> Done:
        """Run a script to its end, one effect after the other."""
        return self.drive(self.begin(script, arguments, **options))

    def drive(
        self,
        machine: Machine,
        answer: Callable[[Effect], Outcome] | None = None,
        pick: Callable[[list[Effect]], int] = lambda waiting: 0,
    ) -> Done:
        """Drive a machine; `pick` says which of the waiting effects ends next. With every outcome the state is written down and read."""
        waiting: list[Effect] = []
        while not isinstance(asked := machine.step(), Done):
            if isinstance(asked, Yielded):
                continue
            assert isinstance(asked, Waiting)
            waiting = [effect for effect in [*waiting, *asked.start] if effect.id in machine.state["effects"]]
            effect = waiting.pop(pick(waiting))
            machine.resume(effect.id, (answer or self.outcome)(effect))
            machine.state = orjson.loads(orjson.dumps(machine.state))
        return asked

    def outcome(self, effect: Effect) -> Outcome:
        """The outcome of an effect, performed here."""
        try:
            return Outcome(perform(self.resources, effect, lambda done: None))
        except Exception as error:
            known = error_of(error)
            if known is None:
                raise
            return Outcome(None, known)


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[Callable[[], Local]]:
    """Gives a system over a new data directory whenever it is called."""
    made: list[Local] = []

    def make() -> Local:
        made.append(Local(create_resources(tmp_path / str(len(made)))))
        return made[-1]

    yield make
    for local in made:
        local.resources.databases.close()


@pytest.fixture
def here(systems: Callable[[], Local]) -> Local:
    return systems()
