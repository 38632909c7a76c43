"""What clauses assert of how an answer was decoded from its logits."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
