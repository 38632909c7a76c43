"""How the reference wrapper goes on from logits, in plain tensor operations: the best token, or a sampled one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


class Decoding:
    """What was asked of one call of generate."""

    def __init__(self, do_sample: bool = False, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> None:
        self.sampled, self.temperature, self.top_k, self.top_p = do_sample, temperature, top_k, top_p

    def next_token(self, logits: Tensor) -> Tensor:
        """The token that each row of ``logits`` ``(rows, vocabulary)`` goes on with, ``(rows, 1)``."""
        if not self.sampled:
            return logits.argmax(-1, keepdim=True)
        return torch.multinomial(self.likely(logits / self.temperature).softmax(-1), 1)

    def likely(self, scores: Tensor) -> Tensor:
        """The ``scores`` of the k best tokens, of which those that have p together; minus infinity for all others."""
        if self.top_k:
            scores = scores.masked_fill(scores < scores.topk(self.top_k).values[:, -1:], -torch.inf)
        if self.top_p < 1:
            rising, order = scores.sort()
            least = rising.softmax(-1).cumsum(-1) <= 1 - self.top_p
            least[:, -1:] = False
            scores = scores.masked_fill(least.scatter(1, order, least), -torch.inf)
        return scores


def asked_of(request: Mapping[str, Any]) -> tuple[Decoding, dict[str, Any]]:
    """What ``request`` says of decoding, and the rest: what is read."""
    known = inspect.signature(Decoding).parameters
    asked = {name: value for name, value in request.items() if name in known}
    return Decoding(**asked), {name: value for name, value in request.items() if name not in known}
