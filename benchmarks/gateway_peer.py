"""The peer of the gateway's benchmark: a bare FastAPI application under uvicorn, which answers one record by its key and does nothing else.

`python benchmarks/gateway_peer.py` prints the address that it listens on.
"""

import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import orjson
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from query_records import record

COUNT = 1_000
ROWS = {str(number): orjson.loads(record(number, COUNT)) for number in range(COUNT)}
app = FastAPI()


@app.get("/rows/{key}")
def get_row(key: str) -> Response:
    """A record; in a thread, as FastAPI runs functions that are not async."""
    found = ROWS.get(key)
    if found is None:
        raise HTTPException(404)
    return Response(orjson.dumps(found), media_type="application/json")


def main() -> None:
    listening = socket.socket(proto=socket.IPPROTO_TCP)  # asyncio sends at once (TCP_NODELAY) only where it sees that
    listening.bind(("127.0.0.1", 0))
    listening.listen(128)
    host, port = listening.getsockname()
    print(f"http://{host}:{port}", flush=True)  # it is listened from here on
    config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
