"""Random scripts that the checker accepts, with every step type that runs: what a test draws its programs from.

`scripts(random)` gives the text of a few scripts, the first of which calls the others: subroutines, and one with a database of its own.
Loops and pauses are short, so that real runs of them are, too.
"""

from random import Random
from typing import Any

from script.checker.checker import check_script
from script.environment import ScriptSignature, StaticEnvironment, ToolSignature
from script.source.ast import Parameter
from script.source.loading import load_script
from tests.script.machine_driver import EFFECTS

Step = dict[str, Any]

ENVIRONMENT = StaticEnvironment(
    known_tools={
        **{
            name: ToolSignature({"type": "object", "properties": {"x": {}, "undo": {}}}, effect)
            for name, effect in EFFECTS.items()
        },
        "manage_transaction": ToolSignature({"type": "object", "properties": {"action": {}}}, "write"),
    },
    known_scripts={
        "helper": ScriptSignature((Parameter(name="a"),)),
        "deeper": ScriptSignature((Parameter(name="a"),)),
        "other": ScriptSignature((Parameter(name="a"),), "elsewhere"),
    },
)
READ = ["a + b", "a * 2", "size(c) + a", "b", "c + [a]", "a == b ? 1 : 2", "7", "c[5]"]
CONDITIONS = ["a < b", "size(c) > 1", "true", "a + b > 5", "a == 1 || b == 2", "b"]
TOOLS = ["add", "add", "update", "get", "send_email", "light"]
ERRORS = ["failed", "drawn", "timeout", "conflict", "rejected", "*"]


class Drawing:
    """One script that is being drawn. `calls` are the scripts that it may call."""

    def __init__(self, random: Random, calls: list[str]) -> None:
        self.random = random
        self.calls = calls
        self._variables = 0
        self._names = 0

    def fresh(self) -> str:
        """A variable that nothing else sets."""
        self._variables += 1
        return f"v{self._variables}"

    def steps(self, depth: int, *, loop: bool = False, beside: bool = False, most: int = 3) -> list[Step]:
        """A list of steps. `loop`: in a loop that break and continue may leave; `beside`: beside others, so nothing from outside is set."""
        return [self.step(depth, loop=loop, beside=beside) for _ in range(self.random.randint(1, most))]

    def step(self, depth: int, *, loop: bool, beside: bool) -> Step:
        asynchronous = self.random.random() < 0.2
        if asynchronous:
            loop, beside = False, True
        found = self._plain(depth, loop=loop, beside=beside)
        self._names += 1
        found["name"] = f"s{self._names}"
        if asynchronous:
            found["is_async"] = True
        if self.random.random() < 0.5:
            self._around(found, depth, loop=loop, beside=beside)
        return found

    def _target(self, beside: bool) -> str:
        return self.fresh() if beside else self.random.choice("ab")

    def _plain(self, depth: int, *, loop: bool, beside: bool) -> Step:
        random = self.random
        kinds = [
            "set",
            "say",
            "command",
            "command",
            "command",
            "fetch",
            "wait",
            "approval",
            "ask",
            "fail",
            "transaction",
        ]
        kinds += (
            ["call"] * (3 if self.calls else 0) + (["leave", "leave"] if loop else []) + ([] if beside else ["return"])
        )
        kinds += ["if", "block", "block", "elsewhere", "loop", "parallel", "while", "batch"] * (depth > 0)
        kind = random.choice(kinds)
        target = self._target(beside)
        value = "{{ " + random.choice(READ) + " }}"
        if kind == "set":
            return {"type": "set", "variable": target, "value": value}
        if kind == "say":
            return {"type": "say", "message": "it is " + value}
        if kind == "command":
            step = {
                "type": "command",
                "command": random.choice(TOOLS),
                "args": {"x": "{{ a }}"},
                "output_variable": target,
            }
            return step | ({"database": "third"} if random.random() < 0.1 and step["command"] in ("add", "get") else {})
        if kind == "fetch":
            return {"type": "fetch", "source": "btree", "resource": "s", "variable": self.fresh() if beside else "c"}
        if kind == "wait":
            return {"type": "wait", "duration": random.choice([0.01, 0.05])}
        if kind == "approval":
            timeout = {"timeout": 0.2} if random.random() < 0.5 else {}
            return {"type": "wait", "approval": {"by": ["someone"], "prompt": "may it?", **timeout}}
        if kind == "fail":
            return {"type": "fail", "code": "drawn", "message": "a is {{ a }}"}
        if kind == "transaction":
            action = random.choice(["begin", "commit", "rollback"])
            return {"type": "command", "command": "manage_transaction", "args": {"action": action}}
        if kind == "call":
            return {
                "type": "script",
                "script_name": random.choice(self.calls),
                "script_args": {"a": "{{ a }}"},
                "output_variable": target,
            }
        if kind == "ask":
            return {"type": "ask", "prompt": "{{ a }}?", "output_variable": target}
        if kind == "leave":
            return {"type": random.choice(["break", "continue"])}
        if kind == "return":
            return {"type": "return", "value": value}
        return self._nested(kind, depth - 1, loop=loop, beside=beside)

    def _nested(self, kind: str, depth: int, *, loop: bool, beside: bool) -> Step:
        random = self.random
        if kind == "if":
            both = [self.steps(depth, loop=loop, beside=beside) for _ in range(2)]
            return {"type": "if", "condition": random.choice(CONDITIONS), "then": both[0], "else": both[1]}
        if kind == "elsewhere":
            return {
                "type": "block",
                "database": "far",
                "steps": self.steps(depth, beside=beside),
                "output_variable": self._target(beside),
            }
        if kind == "block":
            return {
                "type": "block",
                "steps": self.steps(depth, loop=loop, beside=beside),
                "output_variable": self._target(beside),
            }
        step: Step = {"type": "loop", "list": str(list(range(random.randint(0, 3)))), "iterator": f"i{self.fresh()}"}
        if random.random() < 0.5:
            step["output_variable"] = self._target(True)
        if kind == "while":
            del step["list"]
            step["while"] = f"{step['iterator']} < {random.randint(0, 3)}"
        if kind == "batch":
            step |= {"batch_size": 2, "list": str(list(range(random.randint(0, 7))))}
            if random.random() < 0.5:
                step["concurrency"] = random.randint(2, 3)
        if kind == "parallel":
            step |= {"concurrency": random.randint(2, 3), "list": str(list(range(random.randint(1, 5))))}
        if random.random() < 0.3:
            step["reduce"] = {
                "n": {"op": "sum", "value": step["iterator"], "where": "a < 100"},
                "all": {"op": "collect", "value": step["iterator"]},
            }
        step["steps"] = self.steps(depth, loop=True, beside=beside or kind in ("parallel", "batch"))
        return step

    def _around(self, step: Step, depth: int, *, loop: bool, beside: bool) -> None:
        random = self.random
        deeper = max(0, depth - 1)
        for name in random.sample(
            ["ignore", "retry", "timeout", "catch", "finally", "compensate", "when"], random.randint(1, 2)
        ):
            if name == "ignore":
                step["continue_on_error"] = True
            elif name == "retry":
                step["retry"] = {"max_attempts": random.randint(2, 3), "initial_interval": 0.01}
            elif name == "timeout" and "timeout" not in step.get("approval", {}):
                step["timeout"] = random.choice([0.02, 0.1])
            elif name == "catch":
                caught = {
                    "errors": random.sample(ERRORS, 2),
                    "steps": self.steps(deeper, loop=loop, beside=beside, most=2),
                }
                step["catch"] = [caught]
            elif name == "finally":
                step["finally"] = self.steps(deeper, loop=loop, beside=beside, most=2)
            elif name == "compensate":
                step["compensate"] = (
                    self.steps(deeper, beside=True, most=2)
                    if random.random() < 0.3
                    else {"type": "command", "command": "update", "args": {"undo": "{{ a }}"}}
                )
            elif name == "when":
                step["when"] = random.choice(CONDITIONS)


def one(random: Random, head: dict[str, Any], calls: list[str], depth: int) -> dict[str, Any]:
    """A script that the checker accepts."""
    while True:
        drawing = Drawing(random, calls)
        first = [
            {"type": "set", "name": f"first_{name}", "variable": name, "value": value}
            for name, value in (("a", 1), ("b", 2), ("c", [3]))
            if name not in head.get("parameters", ())
        ]
        script = {**head, "steps": first + drawing.steps(depth, most=4)}
        if random.random() < 0.2:
            again = [{**step, "name": f"again_{step['name']}"} for step in first]
            script["on_failure"] = again + drawing.steps(1, beside=True)
        found = check_script(load_script(script).script, ENVIRONMENT)
        if not any(problem.severity == "error" for problem in found):
            return script


def scripts(random: Random, depth: int = 3) -> list[dict[str, Any]]:
    """The text of a script and of those that it calls."""
    main: dict[str, Any] = {"name": "main"}
    if random.random() < 0.7:
        main["database"] = "shop"
    return [
        one(random, main, ["helper", "other"], random.randint(1, depth)),
        one(random, {"name": "helper", "parameters": ["a"]}, ["deeper", "other"], random.randint(1, depth - 1)),
        one(random, {"name": "deeper", "parameters": ["a"]}, [], 1),
        one(random, {"name": "other", "parameters": ["a"], "database": "elsewhere"}, ["deeper"], 1),
    ]
