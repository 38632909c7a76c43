"""How Hypothesis draws stories: each step is one that may be taken where it stands, and the last one asks for an answer.

The simple model of :mod:`conformance.core.story` runs while the steps are drawn. What comes of it is data, so that a story is
shrunk, written down and replayed like the rest of its Case.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import product
from typing import Any, get_args

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from conformance.core.case import Case
from conformance.core.story import SAYS, Act, Do, Name, Situation, following
from conformance.strategies.values import Drawer

VALUES: dict[str, tuple[Any, ...]] = {
    "adapter": get_args(Name),
    "source": get_args(Name),
    "decoding": ("plain", "plain", "sampled", "searched", "looked_up"),
    "other_length": (False, True),
    "seed": tuple(range(5)),
}
"""What is drawn for the fields of a step, simplest first."""
ENABLED = frozenset({"go_on", "load", "resume", "switch", "delete", "enable"})
"""Steps that another one must make possible."""
OFTEN = 5
SETTLED: frozenset[Do] = frozenset({"save", "disable", "enable", "switch", "raise", "interrupt", "resume"})
"""Steps that say nothing new right after themselves."""
NOTHING_INSIDE: tuple[Do, Do] = ("disable", "enable")


def stories(case: Case, length: int) -> SearchStrategy[tuple[Act, ...]]:
    """Stories of ``length`` steps with the model of ``case``."""

    @st.composite
    def drawn(draw: Drawer) -> tuple[Act, ...]:
        state, steps, could = case.begun, list[Act](), set[Do]()
        while len(steps) < length - 1:
            may = _kinds(state, steps)
            do = draw(st.sampled_from(_weighted(may, could, {step.do for step in steps})))
            could = set(may)
            steps.append(draw(st.sampled_from(may[do])))
            state = _then(state, steps[-1])
        return (*steps, Act())

    return drawn()


def _kinds(state: Situation, steps: list[Act]) -> dict[Do, list[Act]]:
    """What may be done after ``steps``, and in which ways."""
    before = steps[-1].do if steps else ""
    kinds = [do for do in get_args(Do) if not (do in SETTLED and do == before) and (before, do) != NOTHING_INSIDE]
    return {do: found for do in kinds if (found := _possible(state, do))}


def _weighted(may: Iterable[Do], could: Collection[Do], done: Collection[Do]) -> list[Do]:
    """What is drawn from: mostly what the last step made possible, or what was not done yet. Every change is worth a question."""
    new = [do for do in may if do not in done]
    opened = [do for do in may if do not in could and do in ENABLED]
    return ["generate", *may, *new, *new, *opened * OFTEN]


def _possible(state: Situation, do: Do) -> list[Act]:
    """The steps of one kind that may be taken."""
    return [step for step in _steps(do) if following(state, step) is not None and not _changes_nothing(state, step)]


def _steps(do: Do) -> Iterator[Act]:
    """All steps of one kind, simplest first."""
    names = [name for name in VALUES if name in SAYS.get(do, ())]
    for values in product(*(VALUES[name] for name in names)):
        yield Act(do=do, **dict(zip(names, values, strict=True)))


def _changes_nothing(state: Situation, step: Act) -> bool:
    """Whether it switches to the adapter that is active already."""
    return step.do == "switch" and step.adapter == state.active


def _then(state: Situation, step: Act) -> Situation:
    then = following(state, step)
    assert then is not None, "only steps that may be taken are drawn"
    return then
