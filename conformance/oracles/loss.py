"""The loss of the training path by hand: of every token that has a label, minus its log-probability; the mean over the batch.

A method says which labels count, and what each of them weighs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.families import Family
from conformance.methods import method_named
from conformance.methods.method import Injected
from conformance.oracles.decoder import answers, forwards, surroundings


def log_probabilities(
    base: Any,
    family: Family,
    case: Case,
    tokens: Tensor,
    injected: Injected,
    grad: bool = False,
    smoothing: float = 0.0,
) -> list[Tensor]:
    """Of each row the log-probability of every token that could have a label, in order, by the manual forward.

    With label smoothing so much of it is the mean over the vocabulary: as if that part of each label were spread evenly over it.

    A decoder reads the text and all but the last of the ``tokens`` ``(rows, steps)``, behind those that the virtual tokens stand
    for; the first of all has nothing before it. The decoder of an encoder-decoder is asked for the answer, and for nothing else.
    """
    front = torch.tensor(method_named(case.method).tokens_in_front(case), dtype=torch.long)
    found = []
    with torch.set_grad_enabled(grad):
        for index, ids in enumerate(answers(family, case, tokens)):
            logits = _logits(base, family, case, index, ids, injected.of(case.rows[index]))
            if family.encoder_decoder:
                answered = case.answered(index)
                found.append(_of(logits[:answered], tokens[index, :answered], smoothing))
            else:
                whole = torch.cat([front, ids])
                found.append(_of(logits[-len(whole) : -1], whole[1:], smoothing))
    return found


def _logits(base: Any, family: Family, case: Case, index: int, ids: Tensor, injected: Injected) -> Tensor:
    """Behind everything that one forward over the row reads, ``(columns, vocabulary)``: embeddings in front too."""
    alone = surroundings(base, family, case, index, injected.embeddings)
    (out,) = forwards(base, family, case, ids, injected, [len(ids)], alone)
    logits: Tensor = out.logits[0]
    return logits


def _of(logits: Tensor, ids: Tensor, smoothing: float) -> Tensor:
    told = logits.log_softmax(-1)
    labelled = told.gather(-1, ids[:, None])[:, 0]
    return (1 - smoothing) * labelled + smoothing * told.mean(-1) if smoothing else labelled


def loss_of(case: Case, found: list[Tensor]) -> Tensor:
    """The loss, given the log-probabilities ``(tokens,)`` of each row; without any label that counts it is not a number."""
    method = method_named(case.method)
    costs = [
        -weight * told
        for row, of_row in enumerate(found)
        for weight, told in zip(method.label_weights(case, row), of_row, strict=True)
        if weight is not None
    ]
    return torch.stack(costs).mean() if costs else torch.tensor(torch.nan)
