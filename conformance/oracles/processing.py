"""Processing logits by hand: what penalties, bans and ends make of them, given the text and the answer so far."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from conformance.core.case import PAD
from conformance.families.vocabulary import letter_of


def processed(logits: Tensor, ids: Tensor, read: Tensor, step: int, steps: int, asked: Mapping[str, Any]) -> Tensor:
    """The ``logits`` ``(rows, vocabulary)`` of step ``step`` of ``steps``, processed as ``asked``.

    ``ids`` ``(rows, length)`` are text and answer so far, of an encoder-decoder the start token and the answer; ``read`` ``(rows,
    width)`` is the text.
    """
    # What is said of an encoder's text is a reward: its inverse is a penalty.
    scores = _penalised(logits, read, 1 / asked["encoder_repetition_penalty"])
    scores = _penalised(scores, ids, asked["repetition_penalty"])
    for row, told in zip(scores, ids.tolist(), strict=True):
        row[_repeating(told, asked["no_repeat_ngram_size"])] = -torch.inf
    if step < asked["min_new_tokens"]:
        scores[:, asked["eos_token_id"]] = -torch.inf
    if step == steps - 1:
        scores = torch.full_like(scores, -torch.inf)
        scores[:, asked["forced_eos_token_id"]] = 0
    scores[:, asked["suppress_tokens"]] = -torch.inf
    if step == 0:
        scores[:, asked["begin_suppress_tokens"]] = -torch.inf
    return scores


def answer(logits: Tensor, start: Tensor, read: Tensor, steps: int, asked: Mapping[str, Any]) -> Tensor:
    """The best tokens ``(rows, answered)`` of the processed ``logits`` ``(rows, steps, vocabulary)``; pads after an end.

    ``start`` ``(rows, width)`` is what the decoder begins with, ``read`` the text, and ``steps`` how many tokens there may be.
    """
    ids, ended = start, torch.zeros(len(start), dtype=torch.bool)
    for step, seen in enumerate(logits.unbind(1)):
        best = processed(seen, ids, read, step, steps, asked).argmax(-1)
        best = best.masked_fill(ended, PAD)
        ids = torch.cat([ids, best[:, None]], dim=1)
        ended = ended | torch.isin(best, torch.tensor(asked["eos_token_id"]))
        if ended.all():
            break
    return ids[:, start.shape[1] :]


def cut(tokens: Tensor, start: Tensor, strings: Sequence[str], ends: Container[int]) -> Tensor:
    """The answers ``tokens`` ``(rows, steps)``, each as far as the first of the ``strings`` or of the tokens ``ends``, then pads.

    ``start`` ``(rows, width)`` is what stands before the answer, in which a string may begin. What no row has a token for is cut.
    """
    rows = [
        _cut_row(answer, said, tuple(strings), ends)
        for answer, said in zip(tokens.tolist(), start.tolist(), strict=True)
    ]
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])


def _cut_row(answer: list[int], start: list[int], strings: tuple[str, ...], ends: Container[int]) -> list[int]:
    # What is no letter stands between letters all the same.
    said = "".join(letter_of(token) or "\0" for token in start)
    for step, token in enumerate(answer):
        said += letter_of(token) or "\0"
        if token in ends or said.endswith(strings):
            return answer[: step + 1]
    return answer


def _penalised(scores: Tensor, told: Tensor, penalty: float) -> Tensor:
    """The ``scores`` ``(rows, vocabulary)``, of which those of the row's tokens in ``told`` ``(rows, length)`` weigh less."""
    seen = torch.zeros_like(scores, dtype=torch.bool).scatter(1, told, torch.ones_like(told, dtype=torch.bool))
    return torch.where(seen, torch.where(scores < 0, scores * penalty, scores / penalty), scores)


def _repeating(told: list[int], size: int) -> list[int]:
    """The tokens with which the last ``size`` tokens would have been ``told`` before."""
    begun = told[len(told) + 1 - size :]
    return [told[at + size - 1] for at in range(len(told) - size + 1) if told[at : at + size - 1] == begun]
