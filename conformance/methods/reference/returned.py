"""What a reference wrapper returns beside tokens and logits, where it is asked for."""

from __future__ import annotations

from typing import Any

from torch import Tensor

OF_STEPS = ("attentions", "hidden_states", "decoder_attentions", "decoder_hidden_states", "cross_attentions")
OF_ENCODER = ("encoder_attentions", "encoder_hidden_states")


class Returned:
    """What each forward of a call has returned so far."""

    def __init__(self, asked: dict[str, bool]) -> None:
        self.asked = {name: True for name, wanted in asked.items() if wanted}
        self.scores: list[Tensor] = []
        self.steps: list[Any] = []

    def keep(self, out: Any) -> None:
        """Keep what a forward has returned."""
        if self.asked:
            self.steps.append(out)

    def fields(self) -> dict[str, Any]:
        """All that was kept, by the names that generate gives it: for each step, and of an encoder once."""
        if not self.steps:
            return {}
        last = self.steps[-1]
        each = {name: tuple(getattr(out, name) for out in self.steps) for name in OF_STEPS if getattr(last, name, None)}
        once = {name: getattr(last, name) for name in OF_ENCODER if getattr(last, name, None)}
        return {**each, **once, "scores": tuple(self.scores)}
