"""What a model costs."""

from dataclasses import dataclass

from agent.protocol import Usage

_MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost that the model reads (`input`) and writes (`output`), in any currency; None: not known."""

    input: float | None = None
    output: float | None = None

    def cost(self, usage: Usage) -> float | None:
        """What a request cost; None where a price is not known."""
        if self.input is None or self.output is None:
            return None
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / _MILLION
