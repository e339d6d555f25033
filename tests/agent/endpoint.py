"""An OpenAI-compatible endpoint on a real socket, which answers as a test says."""

import json
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any]


class Hold:
    """In a stream: nothing comes until the client has gone. `gone` is set then."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.gone = threading.Event()


class Endpoint:
    """Answers in turn with (status, body); a list as body is a stream of chunks: objects as events, text as it is, `Hold`, and None where the
    connection breaks. `requests` is what came."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                endpoint.keys.append(self.headers["Authorization"])
                endpoint.requests.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                status, body = endpoint.answers.pop(0)
                if isinstance(body, list):
                    self.stream(body)
                else:
                    self.whole(status, json.dumps(body).encode())

            def whole(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def stream(self, chunks: Iterable[Any]) -> None:
                self.close_connection = True
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for chunk in chunks:
                    if isinstance(chunk, Hold):
                        self.wfile.flush()
                        chunk.begun.set()
                        self.connection.settimeout(10)
                        assert self.connection.recv(1) == b"", "the client has closed the connection"
                        chunk.gone.set()
                        return
                    text = chunk if isinstance(chunk, str) else f"data: {json.dumps(chunk)}\n\n"
                    self.wfile.write(text.encode())

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()

    def says(self, content: str | None, **choice: Any) -> None:
        message = {"role": "assistant", "content": content, "refusal": choice.pop("refusal", None)}
        self.answers.append((200, {
            "id": "c", "object": "chat.completion", "created": 1, "model": "small-2026",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}],
            "usage": {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14},
        }))  # fmt: skip

    def streams(
        self, *deltas: Any, finish: str | None = "stop", usage: bool = True, tokens: tuple[int, int] = (20, 5)
    ) -> None:
        """A stream: a delta is {content}, {tool_calls}..., text as it is, or a `Hold`."""
        chunks = [delta if isinstance(delta, (str, Hold)) else part(delta) for delta in deltas]
        ends = [part({}, finish)] if finish else []
        costs = [
            {
                **part({}),
                "choices": [],
                "usage": dict(zip(("prompt_tokens", "completion_tokens"), tokens, strict=True))
                | {"total_tokens": sum(tokens)},
            }
        ]
        self.answers.append(
            (200, [*chunks, *ends, *(costs if usage else []), *(["data: [DONE]\n\n"] if finish else [])])
        )

    def refuses(self, status: int, message: str = "no") -> None:
        self.answers.append((status, {"error": {"message": message, "type": "x", "code": None, "param": None}}))


def part(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "small-2026", "choices": [choice]}


def calls(
    index: int | None, id: str | None = None, name: str | None = None, arguments: str | None = None
) -> dict[str, Any]:
    """A piece of a tool call."""
    found: dict[str, Any] = {
        "index": index,
        "id": id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return {"tool_calls": [{field: value for field, value in found.items() if value is not None}]}
