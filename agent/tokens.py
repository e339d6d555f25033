"""About how many tokens something is: four bytes of English or JSON are roughly one. For budgets, and where an endpoint counts nothing."""

from agent.protocol import Message

_BYTES = 4
_AROUND = 4
"""What a message costs beside its text."""


def tokens(text: str) -> int:
    """About how many tokens a text is."""
    return -(-len(text.encode(errors="replace")) // _BYTES)


def tokens_of(message: Message) -> int:
    """About how many tokens a message is."""
    calls = sum(tokens(call.tool) + tokens(call.text or str(call.arguments)) for call in message.calls)
    return _AROUND + tokens(message.content) + calls
