"""The loss of the training path by hand: of every token that has a label, minus its log-probability; the mean over the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.families import Family
from conformance.methods.method import Injected
from conformance.oracles.decoder import answers
from conformance.oracles.handmade import handmade_rows


def log_probabilities(
    base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected, grad: bool = False
) -> list[Tensor]:
    """Of each row the log-probability of every token that could have a label, in order, by the manual forward.

    A decoder reads the text and all but the last of the ``tokens`` ``(rows, steps)``; its first one has nothing before it. The
    decoder of an encoder-decoder is asked for all ``tokens``, and for no others.
    """
    with torch.set_grad_enabled(grad):
        rows = handmade_rows(base, family, case, tokens, injected)
        if not family.encoder_decoder:
            return [_of(logits[:-1], ids[1:]) for logits, ids in zip(rows, answers(family, case, tokens), strict=True)]
        return [_of(logits, told) for logits, told in zip(rows, tokens, strict=True)]


def _of(logits: Tensor, ids: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, ids[:, None])[:, 0]


def loss_of(case: Case, found: list[Tensor]) -> Tensor:
    """The loss, given the log-probabilities ``(labels,)`` of each row; of a row's some labels the last is one."""
    counted = torch.cat([row.flip(0)[:: 2 if case.labels == "some" else 1] for row in found])
    return -counted.mean()
