"""sop tool: the commands that a script may call, and those of sessions, as the gateway knows them now."""

from typing import Annotated, Literal

import typer

from gateway.cli.completion import tool_names
from gateway.cli.connection import Connection
from gateway.cli.output import Format, write_object, write_rows
from gateway.client.transport import part

Effect = Literal["pure", "read", "write", "external", "session"]
app = typer.Typer(no_args_is_help=True, help="The tools that scripts and sessions may call: list, show.")


@app.command("list")
def list_(
    effect: Annotated[Effect | None, typer.Option(help="only these")] = None,
    output: Format = "table",
) -> None:
    """List the tools, with what they have an effect on."""
    with Connection() as gateway:
        found = gateway.get("/v1/tools")["data"]
    wanted = [tool for tool in found if effect in (None, tool["effect"])]
    if output == "table":
        wanted = [{**tool, "description": tool["description"].partition("\n")[0]} for tool in wanted]
    columns = ("name", "effect", "description")
    write_rows(
        wanted if output != "csv" else [{name: tool[name] for name in columns} for tool in wanted], columns, output
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="the tool's name", autocompletion=tool_names)], output: Format = "table"
) -> None:
    """Show a tool: what it does, and the schemas of its arguments and its result."""
    with Connection() as gateway:
        write_object(gateway.get(f"/v1/tools/{part(name)}"), output)
