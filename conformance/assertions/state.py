"""Assertions on what calls leave behind: the subject, the user's tensors, the adapter's rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.cache import CLOSE
from conformance.core.signals import violation

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace


def state_unchanged(before: dict[str, object], subject: Subject, then: str = "forward and generate") -> None:
    """What the subject is made of is the same to the bit as ``before``, of which nothing else is looked at."""
    after = subject.contents()
    for name, held in before.items():
        if held != after.get(name):
            raise violation(f"{name} after {then}", "changed", "as before")


def inputs_unmodified(trace: Trace, call: str) -> None:
    """The call left the user's tensors as they were."""
    if trace.modified_inputs:
        raise violation(f"the user's {', '.join(trace.modified_inputs)} after {call}", "changed", "as before")


def equal_rows(got: Tensor, expected: Tensor, what: str) -> None:
    """Flat rows of the adapter, ``(n, 2 * L * kv_heads * head_dim)``, are equal but for the order of summation."""
    if got.shape != expected.shape:
        raise violation(f"shape of {what}", tuple(got.shape), tuple(expected.shape))
    apart = (got - expected).abs() > CLOSE
    if apart.any():
        token, index = (int(i) for i in apart.nonzero()[0])
        raise violation(
            f"{what}, virtual token {token}, number {index}", float(got[token, index]), float(expected[token, index])
        )
