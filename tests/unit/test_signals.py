from __future__ import annotations

import pytest

from conformance.core.finding import Difference
from conformance.core.outcome import How
from conformance.core.signals import NotApplicable, RunFailed, Signal, Undecided, Violation, violation

pytestmark = pytest.mark.light


def test_a_plain_violation_is_one_without_a_margin() -> None:
    raised = violation("length of layer 0", 3, [4], row=1, step=2)
    assert raised.difference == Difference(what="length of layer 0", got="3", expected="[4]", row=1, step=2)
    assert (raised.how, raised.where, str(raised)) == (How.WRONG, "", "length of layer 0")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ValueError("no `x`\nand more"), "ValueError: no `x`"),
        (KeyError(), "KeyError: "),
        (RuntimeError("\n  shape\n"), "RuntimeError: shape"),
    ],
)
def test_a_failed_run_is_told_in_one_line(error: Exception, words: str) -> None:
    assert RunFailed("generate", error, "peft/x.py:1 f", refused=False).words == words


def test_every_way_an_example_can_end_is_a_signal() -> None:
    assert all(issubclass(kind, Signal) for kind in (Violation, RunFailed, NotApplicable, Undecided))
