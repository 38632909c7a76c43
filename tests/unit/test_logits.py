from __future__ import annotations

import math

import msgspec
import pytest
import torch
from torch import Tensor

from conformance.assertions.logits import NOT_A_NUMBER, agree, agree_on_loss, agree_on_tokens, differ, identical
from conformance.core.case import Case
from conformance.core.finding import Difference, encode
from conformance.core.signals import Undecided, Violation
from conformance.runs.trace import Trace

ERROR = 1e-3
LOGITS = torch.tensor(
    [[[4.0, 1.0, 0.0], [0.0, 5.0, 1.0], [2.0, 0.0, 6.0]], [[0.0, 3.0, 1.0], [7.0, 2.0, 0.0], [1.0, 0.0, 4.0]]]
)
"""Two rows, three steps, three tokens; the best are 0 1 2 and 1 0 2."""


def trace(logits: Tensor = LOGITS, error: float | None = ERROR, tokens: Tensor | None = None) -> Trace:
    return Trace(Case(family="llama"), logits.argmax(-1) if tokens is None else tokens, logits, lambda: error)


def changed(by: float, row: int = 1, step: int = 1, token: int = 2) -> Tensor:
    logits = LOGITS.clone()
    logits[row, step, token] += by
    return logits


def unasked() -> float | None:
    raise AssertionError("the error is measured only when it is needed")


def test_far_below_the_floor_the_error_is_not_even_measured() -> None:
    got = Trace(Case(family="llama"), LOGITS.argmax(-1), changed(1e-5), unasked)
    agree(got, trace())


@pytest.mark.parametrize("by", [0.0, 0.9 * ERROR, -0.9 * ERROR])
def test_within_the_error_they_agree(by: float) -> None:
    agree(trace(changed(by)), trace())


@pytest.mark.parametrize("by", [1.1 * ERROR, 9.5 * ERROR])
def test_up_to_ten_errors_it_is_undecided(by: float) -> None:
    with pytest.raises(Undecided, match="within 10 errors"):
        agree(trace(changed(by)), trace())


def test_an_error_over_the_cap_is_undecided() -> None:
    with pytest.raises(Undecided, match="too far apart"):
        agree(trace(changed(1.0), error=None), trace())


def test_beyond_it_is_a_violation_that_says_where_and_by_how_much() -> None:
    with pytest.raises(Violation) as violation:
        agree(trace(changed(0.5)), trace(), "they differ")
    assert violation.value.difference == Difference(
        what="they differ",
        got="token 0, logit[2] = 0.50000",
        expected="token 0, logit[2] = 0.00000",
        row=1,
        step=1,
        margin=0.5,
        error=ERROR,
    )


def test_the_first_difference_is_the_one_of_the_earliest_step() -> None:
    logits = changed(2.0, row=0, step=2)
    logits[1, 1, 2] += 0.5
    with pytest.raises(Violation) as violation:
        agree(trace(logits, tokens=LOGITS.argmax(-1)), trace())
    assert (violation.value.difference.row, violation.value.difference.step) == (1, 1)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_a_number_is_a_violation_that_json_can_hold(value: float) -> None:
    for got, expected in ((changed(value), LOGITS), (LOGITS, changed(value))):
        with pytest.raises(Violation) as violation:
            agree(trace(got, tokens=LOGITS.argmax(-1)), trace(expected, tokens=LOGITS.argmax(-1)))
        assert violation.value.difference.margin == NOT_A_NUMBER
        assert msgspec.json.decode(encode(violation.value.difference), type=Difference) == violation.value.difference


def test_two_traces_that_are_both_not_numbers_do_not_agree() -> None:
    both = trace(torch.full_like(LOGITS, math.nan), tokens=LOGITS.argmax(-1))
    with pytest.raises(Violation):
        agree(both, both)


def test_after_a_near_tie_the_rest_of_the_row_is_not_compared() -> None:
    mine, its = LOGITS.clone(), LOGITS.clone()
    mine[1, 0, 2] = 3.0 + ERROR / 4  # best is now 2, by a hair
    its[1, 0, 2] = 3.0 - ERROR / 4
    mine[1, 1:] += torch.tensor([0.0, 9.0, 0.0])
    agree(trace(mine), trace(its))


def test_an_answer_of_another_length_is_a_violation() -> None:
    for check in (agree, lambda one, other: identical(one, other, "")):
        for short in (LOGITS[:, :2], LOGITS[:1]):
            with pytest.raises(Violation, match="rows, steps"):
                check(trace(short), trace())


def test_a_token_that_another_leads_is_wrong() -> None:
    told = LOGITS.argmax(-1)
    told[0, 2] = 0
    agree_on_tokens(trace(), trace())
    with pytest.raises(Violation, match="another token leads") as violation:
        agree_on_tokens(trace(tokens=told), trace(tokens=told))
    assert (violation.value.difference.row, violation.value.difference.step) == (0, 2)
    assert violation.value.difference.margin == 4.0


def test_a_token_that_ties_is_not_wrong() -> None:
    told = LOGITS.argmax(-1)
    told[1, 0] = 2
    tied = changed(2.0 - ERROR / 2, row=1, step=0, token=2)
    agree_on_tokens(trace(tied, tokens=told), trace(tied, tokens=told))


def test_traces_that_must_differ_and_do_not() -> None:
    with pytest.raises(Violation, match="the same") as violation:
        differ(trace(), trace(), "the same")
    assert violation.value.difference.got == "the same bits"


@pytest.mark.parametrize("by", [1e-6, 0.5 * ERROR, 5 * ERROR])
def test_traces_that_must_differ_and_hardly_do(by: float) -> None:
    """A prefix that weighs little is not ignored, and one that is ignored changes no bit."""
    with pytest.raises(Undecided, match="within 10 errors"):
        differ(trace(), trace(changed(by, step=0)), "the same")


def test_traces_that_must_differ_and_do() -> None:
    differ(trace(), trace(changed(1.0, step=0)), "the same")


def test_logits_that_are_not_numbers_beside_a_base_model_whose_are_violate() -> None:
    with pytest.raises(Violation, match="what the logits are"):
        differ(trace(), trace(changed(math.nan, step=0)), "the same")


def test_nothing_is_concluded_where_two_right_computations_are_too_far_apart() -> None:
    with pytest.raises(Undecided, match="too far apart"):
        differ(trace(error=None), trace(changed(0.5 * ERROR, step=0)), "the same")


def test_identical_means_to_the_bit() -> None:
    identical(trace(), trace(LOGITS.clone()), "they differ")
    with pytest.raises(Violation, match="they differ") as violation:
        identical(trace(changed(1e-6)), trace(), "they differ")
    found = violation.value.difference
    assert (found.row, found.step, found.margin, found.error) == (1, 1, None, None)
    with pytest.raises(Violation):
        identical(trace(changed(math.nan)), trace(changed(math.nan)), "they differ")


@pytest.mark.parametrize(
    ("by", "signal"), [(2.1 * ERROR, Undecided), (11 * ERROR, Violation), (math.nan, Violation), (math.inf, Violation)]
)
def test_losses_that_do_not_agree(by: float, signal: type[Exception]) -> None:
    with pytest.raises(signal) as raised:
        agree_on_loss(1.0 + by, 1.0, trace())
    if isinstance(raised.value, Violation) and not math.isfinite(by):
        assert raised.value.difference.margin == NOT_A_NUMBER


def test_losses_that_agree() -> None:
    agree_on_loss(1.0, 1.0 + 1.9 * ERROR, trace())
    with pytest.raises(Undecided):
        agree_on_loss(1.0, 9.0, trace(error=None))
