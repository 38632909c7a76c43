"""A generation config put where a user may put one, and what generate answers if nothing else says how long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, Literal
from unittest import mock

from torch import Tensor

from conformance.core.case import Case
from conformance.runs.calls import generate
from conformance.runs.subject import Subject

Way = Literal["passed to the call", "changed in place", "given to the base model", "given to the wrapped model"]


def answer_as_told(subject: Subject, case: Case, given: dict[str, Any], way: Way) -> Tensor:
    """The new tokens ``(rows, steps)`` of generate, where the config alone says ``max_new_tokens``, put there in this ``way``.

    Afterwards the configs are those of before, as far as we have changed them.
    """
    with _told(subject, case.new_tokens, way) as told:
        return generate(subject, case, given, told=told).tokens


@contextmanager
def _told(subject: Subject, steps: int, way: Way) -> Iterator[dict[str, Any]]:
    config = deepcopy(subject.base.generation_config)
    config.max_new_tokens = steps
    if way == "passed to the call":
        yield {"generation_config": config}
    elif way == "changed in place":
        with mock.patch.object(subject.model.generation_config, "max_new_tokens", steps):
            yield {}
    else:
        holder = subject.base if way == "given to the base model" else subject.model
        with mock.patch.object(holder, "generation_config", config):
            yield {}
