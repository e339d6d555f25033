"""Processes that write until they are killed.

Starting a Python process takes longer than the writing that is to be interrupted. So one process, which never opens a database, is
started for a whole test, and forks the writers: `python -m tests.btree.faults.writers FOLDER`. It reads commands:

    start FILE ROUND SEED    fork two writers on the file; answers "pids A B"
    reap                     wait until both are gone; answers "reaped"

Writers tell what was acknowledged on the same output, a line for each fact, behind the call that acknowledged it. A
line is one write of few bytes to a pipe: it is there as a whole or not at all.

    began ID | saved ID N | ending ID | committed ID | refused ID | put KEY
"""

import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO

from btree import Conflict, Database, Transaction

WRITERS = 2
STEPS_AT_MOST = 4


def say(*words: object) -> None:
    """One line, at once."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


# --- in the writers ---


def write_forever(path: Path, name: str, seed: int) -> None:
    """One-record commits, and now and then a branch of several saves."""
    rng = random.Random(seed)
    with Database.open(path) as database:
        for number in count():
            if rng.random() < 0.7:
                put_both(database, b"%s-%d" % (name.encode(), number), rng)
            else:
                write_branch(database, f"{name}-branch-{number}", rng)


def put_both(database: Database, key: bytes, rng: random.Random) -> None:
    """One record, in two trees."""
    value = b'"' + b"x" * rng.randrange(700) + b'"'

    def work(transaction: Transaction) -> None:
        for tree in ("t", "u"):
            transaction.tree(tree).put(key, value)

    database.transact(work, attempts=1000)
    say("put", key.decode())


def write_branch(database: Database, txn_id: str, rng: random.Random) -> None:
    """Several saved steps, and then a commit, which another writer may have made impossible."""
    transaction = database.begin(txn_id)
    say("began", txn_id)
    steps = rng.randint(1, STEPS_AT_MOST)
    for step in range(steps):
        for key in branch_keys(txn_id, step):
            transaction.tree("t").put(key, b"%d" % step)
        transaction.save(f"step-{step}", b"%d" % step)
        say("saved", txn_id, step)
    say("ending", txn_id)
    try:
        transaction.commit()
    except Conflict:
        transaction.rollback()
        say("refused", txn_id)
    else:
        say("committed", txn_id)


def branch_keys(txn_id: str, step: int) -> list[bytes]:
    """The keys that a step of a branch puts."""
    return [f"{txn_id}/{step}/{part}".encode() for part in range(6)]


# --- in the process that forks them ---


def serve(folder: Path) -> None:
    """Obey commands until there are no more."""
    children: list[int] = []
    for line in sys.stdin:
        command, *words = line.split()
        if command == "start":
            children = [
                fork_writer(folder / words[0], f"w{writer}-{words[1]}", int(words[2]) + writer)
                for writer in range(WRITERS)
            ]
            say("pids", *children)
        elif command == "reap":
            for child in children:
                os.waitpid(child, 0)
            say("reaped")


def fork_writer(path: Path, name: str, seed: int) -> int:
    """A child that writes; gives its process id."""
    child = os.fork()
    if child:
        return child
    try:
        write_forever(path, name, seed)
    except BaseException as error:
        say("failed", name, repr(error))
    finally:
        os._exit(1)


# --- in the test ---


@dataclass
class Told:
    """What the writers of a round have told."""

    puts: list[bytes] = field(default_factory=list)
    saved: dict[str, list[int]] = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def hear(self, line: str) -> None:
        word, name, *rest = line.split()
        if word == "put":
            self.puts.append(name.encode())
        elif word == "saved":
            self.saved[name].append(int(rest[0]))
        elif word == "failed":
            self.failures.append(line)
        else:
            self.state[name] = word
            self.saved.setdefault(name, [])


class Nursery:
    """The process that forks writers, from the outside."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.btree.faults.writers", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )

    def start(self, file: str, number: int, seed: int) -> tuple[list[int], Told]:
        """Two writers: their process ids, and what they tell before the ids could be read."""
        self._command(f"start {file} {number} {seed}")
        told = Told()
        pids = self._until("pids", told)
        return [int(pid) for pid in pids], told

    def reap(self, told: Told) -> Told:
        """All that they have told, when both are dead."""
        self._command("reap")
        self._until("reaped", told)
        return told

    def close(self) -> None:
        self._pipe(self._process.stdin).close()
        self._pipe(self._process.stdout).close()
        self._process.wait(10)

    def _command(self, line: str) -> None:
        stdin = self._pipe(self._process.stdin)
        stdin.write(line + "\n")
        stdin.flush()

    def _until(self, answer: str, told: Told) -> list[str]:
        for line in self._pipe(self._process.stdout):
            word, *rest = line.split()
            if word == answer:
                return rest
            told.hear(line)
        raise AssertionError("the process that forks writers has ended")

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe is not None
        return pipe


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
