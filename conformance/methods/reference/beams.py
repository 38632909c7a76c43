"""The reference wrapper's beam search, over all rows at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.methods.reference.decoding import Decoding


class Answers(NamedTuple):
    """The answers ``(rows * returned, longest)``, pads behind their ends, and their scores ``(rows * returned,)``.

    ``logits`` ``(rows * beams, vocabulary)`` are those of each step.
    """

    tokens: Tensor
    scores: Tensor
    logits: tuple[Tensor, ...]


def best_answers(
    logits_after: Callable[[Tensor], Tensor],
    rows: int,
    steps: int,
    asked: Decoding,
    divisor: Callable[[int], float],
) -> Answers:
    """The best answers to every row.

    ``logits_after`` gives for the answers ``(rows, beams, length)`` the logits ``(rows, beams, vocabulary)`` of what follows,
    ``divisor`` by what a log-probability is divided for an answer of so many tokens.
    """
    ends, beams = torch.tensor(list(asked.eos_token_id)), asked.num_beams
    answers, totals = torch.zeros(rows, beams, 0, dtype=torch.long), torch.full((rows, beams), -torch.inf)
    totals[:, 0] = 0
    finished: list[list[tuple[float, list[int]]]] = [[] for _ in range(rows)]
    going_on, seen = set(range(rows)), list[Tensor]()
    for length in range(1, steps + 1):
        seen.append(logits_after(answers))
        following = seen[-1].float().log_softmax(-1)
        best, which = (totals[..., None] + following).flatten(1).sort(descending=True)
        parents, tokens = which // following.shape[-1], which % following.shape[-1]
        ended = torch.isin(tokens, ends) | (length == steps)
        lines = torch.cat([answers.gather(1, parents[..., None].expand(-1, -1, length - 1)), tokens[..., None]], dim=-1)
        # Of those that have not ended the best ones go on.
        order = ended.long().sort(dim=1, stable=True).indices[:, :beams]
        answers, totals = lines.gather(1, order[..., None].expand(-1, -1, length)), best.gather(1, order)
        for row in tuple(going_on):
            new = [
                (float(best[row, i]) / divisor(length), lines[row, i].tolist()) for i in range(beams) if ended[row, i]
            ]
            finished[row] = sorted([*finished[row], *new], reverse=True)[:beams]
            hopeless = len(finished[row]) == beams and float(totals[row, 0]) / divisor(length) <= finished[row][-1][0]
            if hopeless or (asked.early_stopping and len(finished[row]) == beams):
                going_on.remove(row)
        if not going_on:
            break
    chosen = [one for row in finished for one in row[: asked.num_return_sequences]]
    longest = max(len(tokens) for _, tokens in chosen)
    padded = [tokens + [PAD] * (longest - len(tokens)) for _, tokens in chosen]
    logits = tuple(step.flatten(0, 1) for step in seen)
    return Answers(torch.tensor(padded), torch.tensor([score for score, _ in chosen]), logits)
