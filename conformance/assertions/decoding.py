"""What clauses assert of how an answer was decoded from its logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from conformance.core.case import START
from conformance.core.decodings import DECODINGS
from conformance.core.signals import violation

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.trace import Trace


def sampled_by_hand(got: Trace) -> None:
    """Every token is what sampling by hand gives for the answer's own logits, and the same random numbers were drawn.

    Of logits that were seen there are no near ties: both begin with the same bits. That they are right is shown beside it.
    """
    from conformance.oracles.sampling import sample

    expected = sample(got.logits, DECODINGS[got.case.decoding], got.case.seed)
    same_tokens(got, expected.tokens, "another token was sampled")
    if got.random is None or not got.random.equal(expected.random):
        raise violation(
            "the random numbers that generate drew", "others, or not as many", "one for each token that may follow"
        )


def same_tokens(got: Trace, expected: Tensor, what: str) -> None:
    """Every token of the answer is the ``expected`` one, ``(rows, steps)``."""
    if got.tokens.equal(expected):
        return
    step, row = min((int(step), int(row)) for row, step in (got.tokens != expected).nonzero())
    raise violation(what, int(got.tokens[row, step]), int(expected[row, step]), row=row, step=step)


def told_text_only(got: Trace, request: Mapping[str, Tensor]) -> None:
    """Our processor and our criterion were given the real tokens in every step, and nothing else."""
    import torch

    begun, _ = _real_tokens(got, request)
    whole = torch.cat([begun, got.tokens], dim=1)
    for who, told, known in (("processor", got.told_to_processor, 0), ("stopping criterion", got.told_to_criterion, 1)):
        expected = [whole[:, : begun.shape[1] + step + known] for step in range(got.tokens.shape[1])]
        if len(told) != len(expected):
            raise violation(f"how often our {who} was asked", len(told), len(expected))
        for step, (seen, right) in enumerate(zip(told, expected, strict=True)):
            if not seen.equal(right):
                raise violation(f"the tokens that our {who} was given", seen.tolist(), right.tolist(), step=step)


def processed_by_hand(got: Trace, request: Mapping[str, Tensor]) -> None:
    """Every token is the best of the answer's own logits, processed by hand, and a row that has ended goes on with pads."""
    from conformance.oracles.processing import answer

    begun, text = _real_tokens(got, request)
    expected = answer(got.logits, begun, text, got.case.new_tokens, DECODINGS[got.case.decoding])
    same_tokens(got, expected, "another token is best under the processors")
    ended = bool(_ended(expected).all())
    if not ended and expected.shape[1] < got.case.new_tokens:
        raise violation("steps of an answer that has not ended", expected.shape[1], got.case.new_tokens)


def _ended(tokens: Tensor) -> Tensor:
    """Which rows of an answer ``(rows, steps)`` hold a token that ends it."""
    import torch

    return torch.isin(tokens, torch.tensor(DECODINGS["processed"]["eos_token_id"])).any(-1)


def _real_tokens(got: Trace, request: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The tokens ``(rows, width)`` that an answer goes on from, and those of the text."""
    import torch

    text = request["input_ids"]
    return (torch.full((len(text), 1), START) if got.case.roles.encoder_layers else text), text
