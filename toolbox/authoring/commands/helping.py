"""/help, and the words for completion."""

from toolbox.authoring.commands.table import COMMANDS, GROUPS, WORDS, Command
from toolbox.authoring.commands.values import suggestion
from toolbox.errors import UnknownCommand
from toolbox.registry import Registry


def help_text(about: str, registry: Registry) -> str:
    """The commands, or one of them, or a tool. Raises UnknownCommand."""
    name = about.strip().removeprefix("/").lower().replace("-", "_")
    if not name:
        return _all()
    if name in WORDS:
        return _one(WORDS[name])
    if name in registry.names():
        return _tool(name, registry)
    hint = suggestion(name, [*WORDS, *registry.names()], "/help lists the commands")
    raise UnknownCommand(f"there is no command /{name[:80]}", hint=hint)


def words(registry: Registry | None = None) -> dict[str, str]:
    """Every word behind a slash, with one line about it: the commands, and with a registry the tools that no command is named after."""
    found = {word: command.help for word, command in WORDS.items()}
    for name in registry.names() if registry is not None else ():
        if name not in found:
            found[name] = registry.get(name).description.partition("\n")[0] if registry is not None else ""
    return dict(sorted(found.items()))


def usage(command: Command) -> str:
    """ "/record NAME [--ask] [--force]" """
    return f"/{command.name} {command.usage}".rstrip()


def _all() -> str:
    width = max(len(name) for name in COMMANDS) + 1
    parts = []
    for title, names in GROUPS.items():
        parts.append(f"{title}\n" + "\n".join(f"  /{name:<{width}} {COMMANDS[name].help}" for name in names))
    parts.append("/TOOL name=value ... calls any tool; /help COMMAND tells more. All else is for the model.")
    return "\n\n".join(parts)


def _one(command: Command) -> str:
    also = f"\nalso: {', '.join(f'/{word}' for word in command.others)}" if command.others else ""
    return f"{usage(command)}\n{command.help}{also}\n" + "\n".join(f"  {example}" for example in command.examples)


def _tool(name: str, registry: Registry) -> str:
    tool = registry.get(name)
    schema = tool.arguments_schema
    needed = schema.get("required", [])
    shown = [each if each in needed else f"[{each}]" for each in schema.get("properties", {})]
    return (
        f"/{name} {' '.join(f'{each}=...' if each[0] != '[' else f'{each[:-1]}=...]' for each in shown)}".rstrip()
        + f"\n{tool.description}"
    )
