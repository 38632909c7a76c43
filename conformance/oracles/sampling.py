"""Sampling by hand: logits through transformers' own warpers, and a token for each row from torch's generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    """The sampled ``tokens`` ``(rows, steps)``, and the state in which the generator of random numbers is then."""

    tokens: Tensor
    random: Tensor


def sample(logits: Tensor, asked: Mapping[str, Any], seed: int) -> Sample:
    """A token for every row and step of ``logits`` ``(rows, steps, vocabulary)``, as ``asked``, beginning with ``seed``.

    Every step draws for all rows at once, so that a batch is sampled as a batch.
    """
    generator, warp, tokens = torch.Generator().manual_seed(seed), _warpers(asked), []
    for step in logits.unbind(1):
        # In the layout in which generate has them: the bits of a softmax may depend on it.
        tokens.append(torch.multinomial(warp(step.contiguous()).softmax(-1), 1, generator=generator))
    return Sample(torch.cat(tokens, dim=1), generator.get_state())


def _warpers(asked: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """Temperature, then the k best, then those that have p together; none of them looks at the text."""
    from transformers import (
        LogitsProcessorList,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    warpers = LogitsProcessorList(
        [
            TemperatureLogitsWarper(asked["temperature"]),
            TopKLogitsWarper(asked["top_k"]),
            TopPLogitsWarper(asked["top_p"]),
        ]
    )
    nothing: Any = torch.zeros(0, 0, dtype=torch.long)
    warped: Callable[[Any], Tensor] = lambda logits: warpers(nothing, logits)  # noqa: E731
    return warped
