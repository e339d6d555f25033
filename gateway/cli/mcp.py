"""sop mcp: an MCP server over stdio, for clients that start one, such as Claude Desktop."""

import asyncio

from gateway.cli.connection import find_address
from gateway.cli.failures import told


def mcp() -> None:
    """Serve scripts and data to an MCP client on stdin and stdout, with the key of the profile; docs/mcp.md tells how to set it up."""
    from gateway.mcp.stdio import serve

    found = find_address()
    with told():
        asyncio.run(serve(found.url, found.key))
