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

from conformance.core.case import Case
from conformance.core.errors import unknown

if TYPE_CHECKING:
    from conformance.families import Family
    from conformance.runs.lab import Lab

Check = Callable[["Lab", Case], None]
Predicate = Callable[[Case], bool]
Control = Literal["same", "runs"]


class Clause(Struct, frozen=True, kw_only=True):
    """One claim.

    ``when`` holds predicates, each with a docstring that says what the Case needs; ``over`` makes the follow-up Cases
    that are judged in its place; ``control`` is ``same`` where the claim also means something without a prefix, else
    ``runs`` (the base model must run); ``story`` judges one Case of the family's own instead of drawn ones;
    ``placed``: it is about models that a device map places, drawn from strata of their own and judged in a process of its own;
    ``sharp``: it finds much for little, and comes first where time is short;
    ``decisive`` is the number of examples that *conforms* needs in the quick profile.
    """

    id: str
    statement: str
    explanation: str
    check: Check
    sources: tuple[str, ...] = ()
    when: tuple[Predicate, ...] = ()
    over: Callable[[Case], tuple[Case, ...]] | None = None
    control: Control = "same"
    story: Callable[[Family], Case | None] | None = None
    placed: bool = False
    sharp: bool = False
    decisive: int = 5

    @property
    def chapter(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    def cases(self, case: Case) -> tuple[Case, ...]:
        """The Cases that are judged for a drawn ``case``."""
        return self.over(case) if self.over else (case,)

    def missing(self, case: Case) -> str:
        """What ``case`` lacks for the claim to say anything, in words; empty if nothing."""
        lacking = [inspect.getdoc(needs) or needs.__name__ for needs in self.when if not needs(case)]
        return lacking[0].splitlines()[0].rstrip(".") if lacking else ""


_clauses: dict[str, Clause] = {}


def clause(
    *,
    sources: Iterable[str] = (),
    when: Iterable[Predicate] = (),
    over: Callable[[Case], tuple[Case, ...]] | None = None,
    control: Control = "same",
    story: Callable[[Family], Case | None] | None = None,
    placed: bool = False,
    sharp: bool = False,
    decisive: int = 5,
) -> Callable[[Check], Check]:
    """Register the decorated function as a clause."""

    def register(check: Check) -> Check:
        statement, _, explanation = inspect.getdoc(check).partition("\n")  # type: ignore[union-attr]
        chapter = check.__module__.rpartition(".")[2]
        found = Clause(
            id=f"{chapter}.{check.__name__}",
            statement=statement,
            explanation=explanation.strip(),
            check=check,
            sources=tuple(sources),
            when=tuple(when),
            over=over,
            control=control,
            story=story,
            placed=placed,
            sharp=sharp,
            decisive=decisive,
        )
        _clauses[found.id] = found
        return check

    return register


@cache
def _load_chapters() -> None:
    import conformance.clauses as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")


def clauses() -> dict[str, Clause]:
    """Every clause by id, in the order of chapters and claims."""
    _load_chapters()
    return dict(_clauses)


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
