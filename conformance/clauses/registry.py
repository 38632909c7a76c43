"""The decorator that makes a plain function a clause, and the catalogue of all of them.

A clause is a function ``(lab, case) -> None`` whose name is the claim and whose module is the chapter; the first line of
its docstring is the statement. There is no second list. This module and the chapters import neither torch nor PEFT.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from conformance.core.case import Case
from conformance.core.errors import duplicate, missing_statement, unknown
from conformance.methods import method_named

if TYPE_CHECKING:
    from conformance.families import Family
    from conformance.runs.lab import Lab

Check = Callable[["Lab", Case], None]
Control = Literal["same", "runs", "learns"]


class Precondition(Struct, frozen=True):
    """What a Case must have for a claim to say anything; ``otherwise`` says in words what a Case without it is like."""

    need: str
    otherwise: str
    holds: Callable[[Case], bool]

    def __call__(self, case: Case) -> bool:
        """Whether ``case`` has it."""
        return self.holds(case)


def precondition(*, otherwise: str) -> Callable[[Callable[[Case], bool]], Precondition]:
    """Make the decorated predicate a :class:`Precondition`; the first line of its docstring is the need."""
    return lambda holds: Precondition(described(holds, "precondition")[0].rstrip("."), otherwise, holds)


class Floor(Struct, frozen=True, kw_only=True):
    """How little of an item may be decided: ``share`` of the examples that the claim speaks of.

    Measured over the quick profile of all families: all of them, but for 0.67 where a prefix cannot meet a static cache, and
    clauses that say their own. ``may_refuse``: whole families refuse, in words, what the claim
    asks for, and refused examples are not counted.
    """

    share: float = 0.6
    may_refuse: bool = False


NOT_AMONG = "It is not among the few Cases for which models of their own are built"
COUNTING_PADS = Floor(share=0.4)
"""Some base models count pads as positions when they are trained, with or without a prefix. Measured: at least 0.57."""


class Clause(Struct, frozen=True, kw_only=True):
    """One claim.

    * ``one_in``: of so many Cases one is judged, as its seeds decide, where each takes models of its own: in another precision,
      or of an assistant;
    * ``requires``: what a Case must have for the claim to say anything;
    * ``follow_ups``: makes the Cases that are judged in place of a drawn one;
    * ``control``: ``same`` where the claim also means something without a prefix, else ``runs`` (the base model must run), or
      ``learns`` (its training forward must) where the claim is about training alone;
    * ``fixed_case``: gives the one Case of a family that is judged, in place of drawn ones;
    * ``placed``: it is about models that a device map places, drawn from strata of their own, judged in a process of its own;
    * ``stories``: it is about sessions. Of so many Cases of each array a story is drawn, too; others say nothing, as their runs,
      which nobody shares, take long;
    * ``priority``: it is cheap and finds much, so it comes first where time is short;
    * ``decisive``: how many decisive examples *conforms* needs in the quick profile;
    * ``floor``: how little may be decided before less was tested than expected.
    """

    id: str
    statement: str
    explanation: str
    check: Check
    sources: tuple[str, ...] = ()
    one_in: int = 1
    requires: tuple[Precondition, ...] = ()
    follow_ups: Callable[[Case], tuple[Case, ...]] | None = None
    control: Control = "same"
    fixed_case: Callable[[Family], Case | None] | None = None
    placed: bool = False
    stories: int = 0
    priority: bool = False
    decisive: int = 5
    floor: Floor = Floor()

    @property
    def chapter(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    def cases(self, case: Case) -> tuple[Case, ...]:
        """The Cases that are judged for a drawn ``case``."""
        return self.follow_ups(case) if self.follow_ups else (case,)

    def own_case(self, family: Family, method: str) -> Case | None:
        """The one Case of ``family`` that is judged in place of drawn ones, with ``method``; ``None`` if there is none."""
        case = self.fixed_case(family) if self.fixed_case else None
        return case and replace(case, method=method, prefix=method_named(method).meant(case.prefix))

    def missing(self, case: Case) -> str:
        """Why the claim is not judged of ``case``, in words: nobody asks, or what it lacks; empty if it is."""
        if (case.seed + case.prefix.seed) % self.one_in:
            return NOT_AMONG
        return next((needed.otherwise for needed in self.requires if not needed(case)), "")


_clauses: dict[str, Clause] = {}


def clause(  # noqa: PLR0913 - each says one thing of a claim
    *,
    sources: Iterable[str] = (),
    one_in: int = 1,
    requires: Iterable[Precondition] = (),
    follow_ups: Callable[[Case], tuple[Case, ...]] | None = None,
    control: Control = "same",
    fixed_case: Callable[[Family], Case | None] | None = None,
    placed: bool = False,
    stories: int = 0,
    priority: bool = False,
    decisive: int = 5,
    floor: Floor = Floor(),  # noqa: B008 - it is frozen
) -> Callable[[Check], Check]:
    """Register the decorated function as a clause.

    Raises :class:`~conformance.core.errors.UserError` for one without a docstring, or with the id of another.
    """

    def register(check: Check) -> Check:
        chapter = check.__module__.rpartition(".")[2]
        statement, explanation = described(check, "clause")
        found = Clause(
            id=f"{chapter}.{check.__name__}",
            statement=statement,
            explanation=explanation,
            check=check,
            sources=tuple(sources),
            one_in=one_in,
            requires=tuple(requires),
            follow_ups=follow_ups,
            control=control,
            fixed_case=fixed_case,
            placed=placed,
            stories=stories,
            priority=priority,
            decisive=decisive,
            floor=floor,
        )
        if found.id in _clauses:
            raise duplicate("clause", found.id)
        _clauses[found.id] = found
        return check

    return register


def described(source: Callable[..., object], what: str) -> tuple[str, str]:
    """The first line of the docstring, which is the statement, and the rest. Raises for an object that has none."""
    statement, _, explanation = (inspect.getdoc(source) or "").partition("\n")
    # A subclass must say what is different about it: an inherited docstring says what is the same.
    if not statement or not source.__doc__:
        raise missing_statement(what, source.__name__)
    return statement, explanation.strip()


@cache
def _load_chapters() -> None:
    import conformance.clauses as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")


def clauses() -> dict[str, Clause]:
    """Every clause by id, in the order of chapters and claims."""
    _load_chapters()
    return dict(_clauses)


def clause_named(id: str) -> Clause:
    """The clause whose id is ``id``. Raises :class:`~conformance.core.errors.UserError` for any other."""
    known = clauses()
    if id not in known:
        raise unknown("clause", id, known)
    return known[id]


def select(patterns: Iterable[str]) -> dict[str, Clause]:
    """The clauses whose id, chapter or glob is in ``patterns`` (all if empty). Unknown names are a user's error."""
    from fnmatch import fnmatchcase

    known = clauses()
    wanted = list(patterns)
    for pattern in wanted:
        if not any(fnmatchcase(id, pattern) or found.chapter == pattern for id, found in known.items()):
            raise unknown("clause", pattern, [*known, *{found.chapter for found in known.values()}])
    return {
        id: found
        for id, found in known.items()
        if not wanted or any(fnmatchcase(id, pattern) or found.chapter == pattern for pattern in wanted)
    }
