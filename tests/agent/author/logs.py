"""Logs of sessions, for tests."""

from typing import Any


class Log:
    """Records, one behind the other."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.turn = 0

    def say(self, type: str, **fields: Any) -> "Log":
        self.records.append(
            {"session": "s", "seq": len(self.records) + 1, "turn": self.turn, "at": "", "type": type, **fields}
        )
        return self

    def person(self, text: str) -> "Log":
        self.turn += 1
        return self.say("user", text=text)

    def calls(self, call: str, tool: str, by: str = "model", **args: Any) -> "Log":
        return self.say("tool_call", call=call, tool=tool, args=args, by=by)

    def gives(self, call: str, tool: str, result: Any, status: str = "done", **fields: Any) -> "Log":
        return self.say("tool_result", call=call, tool=tool, status=status, result=result, **fields)
