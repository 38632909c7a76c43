"""Trace x Trace -> the first difference. Exact where it must be, else measured against the error of the computation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.core.finding import Difference
from conformance.core.signals import Undecided, Violation, violation
from conformance.runs.tolerance import CLEAR, ERROR_CAP, ERROR_FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.trace import Trace

NOT_A_NUMBER = 1e30
"""The margin of a NaN or an infinity, finite so that JSON can hold it."""


def agree(got: Trace, expected: Trace, what: str = "the logits differ", floor: float = ERROR_FLOOR) -> None:
    """The logits of every row and step agree. Shapes ``(rows, steps, vocabulary)``.

    What is below ``floor``, relative to the spread of the logits, is right, whatever the error is.
    """
    _equal_shapes(got, expected)
    distance = (got.logits.double() - expected.logits.double()).abs().amax(-1)
    _judge(distance, got, expected, what, floor)


def agree_on_tokens(got: Trace, expected: Trace) -> None:
    """At every step the token that was got is the expected best, or within the error of it."""
    best = expected.logits.double()
    lead = best.amax(-1) - best.gather(-1, got.tokens.unsqueeze(-1)).squeeze(-1)
    _judge(lead, got, expected, "another token leads")


def differ(one: Trace, other: Trace, what: str) -> None:
    """Some logit differs by clearly more than the error. None that differs at all is what is never right.

    The same computation gives the same bits, and two prefixes may weigh very little where attention is sure of the text.
    """
    first = one.logits[:, :1].double()
    largest = float((first - other.logits[:, :1].double()).abs().max())
    if largest > CLEAR * ERROR_CAP * float((first.amax(-1) - first.amin(-1)).mean()):
        return  # no error could be as large
    if largest == 0:
        raise violation(what, "the same bits", "other logits")
    error = one.error()
    if error is None:
        raise Undecided("two right computations are too far apart to say")
    if math.isnan(largest):
        raise violation("what the logits are", "NaN or infinities", "numbers, as of the base model")
    if largest <= CLEAR * error:
        raise Undecided(f"a difference of {largest:.3g} is within {CLEAR:g} errors of {error:.3g}")


def _equal_shapes(got: Trace, expected: Trace) -> None:
    if got.logits.shape != expected.logits.shape:
        raise violation(
            "rows, steps and vocabulary of the answer", tuple(got.logits.shape), tuple(expected.logits.shape)
        )


def _judge(distance: Tensor, got: Trace, expected: Trace, what: str, floor: float = ERROR_FLOOR) -> None:
    spread = spread_of(expected)
    # After a near tie two right runs go different ways, and can no longer be compared.
    distance = distance.masked_fill(~_same_history(got.tokens, expected.tokens), 0.0)
    # Written so that a NaN fails, and an infinite spread excuses nothing.
    if math.isfinite(spread) and bool((distance <= floor * spread).all()):
        return
    error = got.error()
    if error is None:
        raise Undecided("two right computations are too far apart to say")
    if bool((distance <= error).all()):
        return
    beyond = (~(distance <= CLEAR * error)).nonzero()
    if not len(beyond):
        raise Undecided(f"a difference of {float(distance.max()):.3g} is within {CLEAR:g} errors of {error:.3g}")
    step, row = min((int(step), int(row)) for row, step in beyond)
    margin = float(distance[row, step].nan_to_num(nan=NOT_A_NUMBER, posinf=NOT_A_NUMBER))
    raise Violation(_difference(what, got, expected, row, step, margin, error))


def spread_of(trace: Trace) -> float:
    """From the least logit to the largest, on average."""
    return float((trace.logits.amax(-1) - trace.logits.amin(-1)).mean())


def _same_history(one: Tensor, other: Tensor) -> Tensor:
    """Where all *earlier* tokens of the row are equal, ``(rows, steps)``."""
    equal = (one == other).long().cumprod(-1).roll(1, -1)
    equal[:, 0] = 1
    return equal.bool()


def agree_on_loss(got: float, expected: float, trace: Trace) -> None:
    """Two losses agree; a mean of log-probabilities is off by at most twice the largest logit."""
    margin, spread = abs(got - expected), spread_of(trace)
    if math.isfinite(spread) and margin <= 2 * ERROR_FLOOR * spread:
        return
    error = trace.error()
    if error is None:
        raise Undecided("two right computations are too far apart to say")
    if margin <= 2 * error:
        return
    if margin <= CLEAR * error:
        raise Undecided(f"a difference of {margin:.3g} is within {CLEAR:g} errors of {error:.3g}")
    margin = margin if math.isfinite(margin) else NOT_A_NUMBER
    difference = Difference(
        what="the loss differs", got=f"{got:.6f}", expected=f"{expected:.6f}", margin=margin, error=error
    )
    raise Violation(difference)


def identical(got: Trace, expected: Trace, what: str) -> None:
    """The logits of every row and step agree to the bit."""
    _equal_shapes(got, expected)
    if got.logits.equal(expected.logits):
        return
    distance = (got.logits.double() - expected.logits.double()).abs().amax(-1)
    row, step = (int(i) for i in (~(distance == 0)).nonzero()[0])
    difference = _difference(what, got, expected, row, step, 0.0, 0.0)
    raise Violation(replace(difference, margin=None, error=None))


def _difference(what: str, got: Trace, expected: Trace, row: int, step: int, margin: float, error: float) -> Difference:
    got_logits, expected_logits = got.logits[row, step], expected.logits[row, step]
    worst = int((got_logits.double() - expected_logits.double()).abs().nan_to_num(nan=float("inf")).argmax())
    token = int(got.tokens[row, step]) if got.tokens.shape == got.logits.shape[:2] else int(got_logits.argmax())
    return Difference(
        what=what,
        got=f"token {token}, logit[{worst}] = {float(got_logits[worst]):.5f}",
        expected=f"token {int(expected_logits.argmax())}, logit[{worst}] = {float(expected_logits[worst]):.5f}",
        row=row,
        step=step,
        margin=margin,
        error=error,
    )
