"""An answer as a reference wrapper gives it, token by token: what may end it, when, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD

NEVER = float("-inf")


class TokenByToken:
    """The tokens so far, behind the text; ``choose(logits, step)`` gives the next of each row, ``(rows, 1)``."""

    def __init__(self, choose: Callable[[Tensor, int], Tensor], request: Mapping[str, Any], text: Tensor) -> None:
        self.choose, self.tokens = choose, [text]
        self.least: int = request.get("min_new_tokens", 0)
        ends = request.get("eos_token_id")
        self.ends = None if ends is None else torch.tensor(ends, device=text.device)
        self.streamer = request.get("streamer")
        self.ended = torch.zeros(len(text), 1, dtype=torch.bool, device=text.device)
        self.tell(text)

    def next(self, logits: Tensor, step: int) -> Tensor:
        """The token of each row, ``(rows, 1)``: none that ends it too early, and pads behind one that did."""
        if self.ends is None:
            token = self.choose(logits, step)
        else:
            allowed = logits.index_fill(-1, self.ends, NEVER) if step < self.least else logits
            token = self.choose(allowed, step).masked_fill(self.ended, PAD)
            self.ended = self.ended | torch.isin(token, self.ends)
        self.tokens.append(token)
        self.tell(token[:, 0])
        return token

    def tell(self, tokens: Tensor) -> None:
        """Tell whoever wants to know."""
        if self.streamer is not None:
            self.streamer.put(tokens.cpu())

    @property
    def over(self) -> bool:
        """Whether every row has ended."""
        return self.ends is not None and bool(self.ended.all())

    def finished(self) -> Tensor:
        """Text and answer, ``(rows, columns)``."""
        if self.streamer is not None:
            self.streamer.end()
        # Of a placed model the tokens come from where its head is.
        return torch.cat([tokens.to(self.tokens[0].device) for tokens in self.tokens], dim=1)
