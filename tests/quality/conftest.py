"""Clauses without models: the engine and the strategy are real, what is judged is a function of the Case."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from conformance.clauses.registry import Clause, Control, Precondition
from conformance.core.case import Case
from conformance.core.finding import Difference, Verdict
from conformance.core.outcome import How
from conformance.core.signals import NotApplicable, RunFailed, Violation
from conformance.engine.known import KnownFailure
from conformance.engine.search import Budget, search
from conformance.families import family_named

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

Ends = Callable[[Case], Exception | None]
"""How a run of a Case with a prefix ends: with what is returned, or well."""
Search = Callable[..., Verdict]


def wrong_answer(
    words: str = "the logits differ", margin: float | None = None, error: float | None = None
) -> Violation:
    return Violation(Difference(what=words, got="1", expected="2", margin=margin, error=error))


def crash(where: str = "peft/x.py:1 f") -> RunFailed:
    return RunFailed("generate", RuntimeError("shapes"), where, refused=False)


def refusal() -> RunFailed:
    return RunFailed("generate", ValueError("no `StaticCache`"), "peft/x.py:1 f", refused=True)


class Nobody:
    """Stands in for a maker of subjects."""

    maker, found_by, mended = "nobody", "", ()


class NoModels:
    """A lab in which nothing is built.

    ``runs`` says how the base model alone runs, ``wavers`` what of it does not repeat itself; ``healthy`` is the reference's.
    """

    def __init__(
        self, runs: Ends = lambda case: None, healthy: bool = False, maker: Any = Nobody, wavers: str = ""
    ) -> None:
        self.runs, self.healthy, self.maker, self.wavers = runs, healthy, maker, wavers

    @property
    def mended(self) -> tuple[str, ...]:
        return tuple(self.maker.mended)

    def beside(self, maker: Any) -> NoModels:
        return NoModels(self.runs, self.healthy, maker, self.wavers)

    def fresh(self) -> NoModels:
        return self

    def reference(self) -> NoModels:
        return NoModels(self.runs, healthy=True)

    def some_tokens(self, case: Case) -> None:
        return None

    def predict(self, *args: object, **rest: object) -> None:
        raise NotApplicable("there is no model")

    def repeats_itself(self, case: Case) -> bool:
        return True

    def unrepeatable(self, case: Case) -> str:
        return self.wavers

    def base(self, case: Case) -> object:
        return self

    def generate(self, case: Case) -> None:
        error = self.runs(case)
        if error is not None:
            raise error


def look_for(  # noqa: PLR0913  each keyword is one thing that a test says
    ends: Ends,
    *,
    control: Control = "same",
    requires: tuple[Precondition, ...] = (),
    fixed_case: Callable[[Any], Case | None] | None = None,
    follow_ups: Callable[[Case], tuple[Case, ...]] | None = None,
    base: Ends = lambda case: None,
    name: str = "llama",
    budget: Budget | None = None,
    known: tuple[KnownFailure, ...] = (),
    mended: Callable[[tuple[str, ...], Case], Exception | None] = lambda ids, case: None,
    decisive: int = 5,
    wavers: str = "",
    stories: int = 0,
) -> Verdict:
    """Search a family for Cases with a prefix that end badly; without one, ``base`` says how they end.

    ``mended`` says how they end with some known failures mended, by their ids.
    """

    def check(lab: Lab, case: Case) -> None:
        if cast("NoModels", lab).healthy:
            return
        with_prefix = (lambda case: mended(lab.mended, case)) if lab.mended else ends
        error = with_prefix(case) if case.prefix.length else base(case)
        if error is not None:
            raise error

    clause = Clause(
        id="quality.claim",
        statement="It holds.",
        explanation="",
        check=check,
        requires=requires,
        control=control,
        fixed_case=fixed_case,
        follow_ups=follow_ups,
        decisive=decisive,
        stories=stories,
    )
    return search(clause, family_named(name), budget or Budget(), known, cast("Lab", NoModels(base, wavers=wavers)))


class Kit:
    """What the tests of this folder use."""

    search = staticmethod(look_for)
    wrong = staticmethod(wrong_answer)
    crash = staticmethod(crash)
    refusal = staticmethod(refusal)
    how = How


@pytest.fixture
def kit() -> type[Kit]:
    return Kit
