"""A server on this machine with pages that answer in all sorts of ways."""

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from toolbox.requests import MAX_RESPONSE_BYTES

HUGE = gzip.compress(bytes(60_000_000), 9)
"""60 MB in 58 KB."""


class Site:
    """A server on this machine; `seen` is what came: (method, path, headers, body)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.stop = threading.Event()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                site.seen.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                getattr(self, "page_" + self.path.strip("/").partition("?")[0])()

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815

            def give(self, data: bytes, status: int = 200, **headers: str) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def page_json(self) -> None:
                self.give(b'{"a": [1, 2]}', content_type="application/json; charset=utf-8")

            def page_text(self) -> None:
                self.give("grün".encode("latin-1"), 404, content_type="text/plain; charset=iso-8859-1")

            def page_binary(self) -> None:
                self.give(b"\xff\xfe\x00", content_type="application/octet-stream")

            def page_echo(self) -> None:
                """All that came, in the headers and the body of the answer."""
                _, path, headers, body = site.seen[-1]
                told = {"path": path, "headers": headers, "body": body.decode("latin-1")}
                self.give(json.dumps(told).encode(), content_type="application/json", x_seen=headers.get("x-token", ""))

            def page_large(self) -> None:
                self.give(b"x" * (MAX_RESPONSE_BYTES + 1))

            def page_bomb(self) -> None:
                self.give(gzip.compress(b"x" * 5_000_000), content_encoding="gzip")

            def page_huge(self) -> None:
                self.give(HUGE, content_encoding="gzip")

            def page_nested(self) -> None:
                self.give(gzip.compress(HUGE), content_encoding="gzip, gzip")

            def page_zipped(self) -> None:
                """As large as it may be, in two members."""
                half = MAX_RESPONSE_BYTES // 2
                data = gzip.compress(b"x" * half) + gzip.compress(b"y" * half)
                self.give(data, content_encoding="gzip", content_type="text/plain")

            def page_torn(self) -> None:
                self.give(gzip.compress(b"x" * 100)[:-9], content_encoding="gzip")

            def page_no_gzip(self) -> None:
                self.give(b"x" * 100, content_encoding="gzip")

            def page_empty(self) -> None:
                self.give(b"", content_encoding="gzip")

            def page_moved(self) -> None:
                self.give(b"", 302, location="/json")

            def page_away(self) -> None:
                self.give(b"", 302, location=f"http://localhost:{site.port}/json")

            def page_round(self) -> None:
                self.give(b"", 302, location="/round")

            def page_hang_up(self) -> None:
                self.close_connection = True
                self.connection.close()

            def page_drip(self) -> None:
                self.send_response(200)
                self.end_headers()
                try:
                    while not site.stop.wait(0.05):
                        self.wfile.write(b"x")
                except OSError:
                    pass
                self.close_connection = True

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
