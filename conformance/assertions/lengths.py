"""Assertions on how long an answer is, and on what is returned and told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.core.case import FIRST_END_TOKEN, PAD, START
from conformance.core.signals import violation

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.lab import Lab
    from conformance.runs.trace import Trace

NEVER = float("-inf")


def text_and_answer(lab: Lab, got: Trace) -> None:
    """What is returned is the text, or a decoder's start token, and then the answer; a streamer is told the same."""
    import torch

    case, text = got.case, lab.request(got.case)["input_ids"]
    if case.roles.encoder_layers:
        text = torch.full((len(case.rows), 1), START)
    expected = torch.cat([text, got.tokens], dim=1)
    for what, tokens in (("returned sequences", got.sequences), ("what a streamer was told", got.streamed)):
        if tokens is not None and not torch.equal(tokens, expected):
            raise violation(what, _shown(tokens), f"{_shown(expected)}: text and answer")


def ends_as_told(got: Trace) -> None:
    """The tokens are those that the logits say: none that ends an answer before the last step, and pads behind one that does."""
    expected = _by_hand(got.logits, got.case.new_tokens - 1)
    for row, (mine, its) in enumerate(zip(got.tokens.tolist(), expected.tolist(), strict=True)):
        if mine != its:
            raise violation("tokens, of which most end an answer but none before the last step", mine, its, row=row)


def _by_hand(logits: Tensor, least: int) -> Tensor:
    """The best token of each step, ``(rows, steps)``, where the first ``least`` may not end an answer; pads behind its end."""
    allowed = logits.clone()
    allowed[:, :least, FIRST_END_TOKEN:] = NEVER
    best = allowed.argmax(-1)
    over = (best >= FIRST_END_TOKEN).long().cumsum(-1).roll(1, -1)
    over[:, 0] = 0
    return best.masked_fill(over > 0, PAD)


def _shown(tokens: Tensor) -> str:
    return f"{tokens.shape[1]} columns, {tokens[:1].tolist()} first"
