"""A beam search by hand: hypotheses are lists of tokens, and what follows each of them is asked of the base model anew.

An answer ends with an end token, or at its full length, if it is then among as many of the best as there are beams. Its score is
its log-probability, divided by its length to the power of the penalty. So transformers describes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from conformance.core.case import START, Case
from conformance.families import Family
from conformance.families.inputs.text import text
from conformance.methods.method import Injected
from conformance.oracles.decoder import run_row

Answer = tuple[int, ...]
Following = Callable[[Answer], Tensor]
"""The log-probabilities ``(vocabulary,)`` of the token that follows an answer to the row's text."""


class Hypothesis(NamedTuple):
    """An answer, whose last token may end it, with its log-probability, or its score once it has ended."""

    answer: Answer
    score: float


class Found(NamedTuple):
    """The best answers to one row, best first; no decision on the way was closer than ``margin``, in log-probabilities."""

    best: list[Hypothesis]
    margin: float


class Asked(NamedTuple):
    """What is asked of the search: how many ``beams`` of at most ``steps`` tokens, and how they end."""

    beams: int
    steps: int
    returned: int
    ends: frozenset[int]
    penalty: float
    early: bool

    @classmethod
    def of(cls, case: Case, asked: Mapping[str, Any]) -> Asked:
        """What ``case`` asks, with the arguments of generate ``asked``."""
        ends, returned = frozenset(asked["eos_token_id"]), asked["num_return_sequences"]
        return cls(case.beams, case.new_tokens, returned, ends, asked["length_penalty"], asked["early_stopping"])

    def score(self, total: float, length: int) -> float:
        """The score of an answer of ``length`` tokens with the log-probability ``total``."""
        return float(total / length**self.penalty)


class Searched(NamedTuple):
    """What a search found for one row, how it asked what follows an answer, and what was asked of it."""

    found: Found
    following: Following
    asked: Asked


def beam_search(following: Following, asked: Asked) -> Found:
    """The best answers to one row."""
    running, finished, margin = [Hypothesis((), 0.0)], list[Hypothesis](), math.inf
    for length in range(1, asked.steps + 1):
        grown = _grown(running, following)
        ended = [asked.steps == length or one.answer[-1] in asked.ends for one in grown]
        among_best = zip(grown[: asked.beams], ended, strict=False)
        new = [Hypothesis(one.answer, asked.score(one.score, length)) for one, ends in among_best if ends]
        finished = sorted([*finished, *new], key=lambda one: -one.score)
        going_on = [one for one, ends in zip(grown, ended, strict=True) if not ends]
        cuts = [_cut(grown, asked.beams), _cut(finished, asked.beams), _cut(going_on, asked.beams)]
        finished, running = finished[: asked.beams], going_on[: asked.beams]
        margin = min(margin, *cuts)
        if len(finished) < asked.beams or not running:
            continue
        lead = finished[-1].score - asked.score(running[0].score, length)
        margin = margin if asked.early else min(margin, abs(lead))
        if asked.early or lead >= 0:
            break
    order = [before.score - after.score for before, after in pairwise(finished)]
    return Found(finished[: asked.returned], min(margin, *order[: asked.returned], math.inf))


def _grown(running: Sequence[Hypothesis], following: Following) -> list[Hypothesis]:
    """Every hypothesis with every token behind it, the best first."""
    grown = [
        Hypothesis((*answer, token), total + more)
        for answer, total in running
        for token, more in enumerate(following(answer).tolist())
    ]
    return sorted(grown, key=lambda one: -one.score)


def _cut(ordered: Sequence[Hypothesis], kept: int) -> float:
    """How far the last that is ``kept`` leads the first that is not."""
    return ordered[kept - 1].score - ordered[kept].score if len(ordered) > kept else math.inf


def score_of(answer: Answer, following: Following, asked: Asked) -> float:
    """The score of any answer."""
    total = sum(float(following(answer[:at])[token]) for at, token in enumerate(answer))
    return asked.score(total, len(answer))


def following_in(base: Any, family: Family, case: Case, row: int, injected: Injected) -> Following:
    """What follows answers to the row with that number: one pass of the base model over text and answer, remembered."""
    begun = torch.tensor([START]) if family.encoder_decoder else text(case, case.rows[row])
    known, front = dict[Answer, Tensor](), injected.of(case.rows[row])

    @torch.no_grad()
    def following(answer: Answer) -> Tensor:
        if answer not in known:
            ids = torch.cat([begun, torch.tensor(answer, dtype=torch.long)])
            logits = run_row(base, family, case, row, ids, front, [len(ids)])[-1]
            known[answer] = logits.double().log_softmax(-1)
        return known[answer]

    return following
