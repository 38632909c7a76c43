"""A soak: round after round of work, each with a seed of its own, spread over processes, until enough was judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import count
from threading import local

from msgspec import Struct
from msgspec.structs import replace

from conformance.clauses.registry import Clause
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.finding import Item
from conformance.core.outcome import BROKEN
from conformance.devices.current import environment_for
from conformance.families import family_named, foreign
from conformance.methods import method_named
from conformance.soak.tally import Alarm, Tally, merged
from conformance.soak.work import Work, do
from conformance.worker.child import Child, WorkerError

SECONDS = 3600.0
"""The limit of one piece of work. Measured: 130 s of CPU time for the largest family with placed models, in standard."""
Progress = Callable[[Work, Tally, Tally], None]
"""Told of each piece of work that is done: the work, its tally, and the sum of all so far."""


class Plan(Struct, frozen=True, kw_only=True):
    """What is soaked: everything in it with everything, with one seed after another, until ``least`` examples were judged.

    ``examples`` are drawn per stratum and seed; a ``case`` is judged in place of all that. No round is left half done, so that
    the same plan gives the same counts with any number of ``workers``.
    """

    subjects: tuple[str, ...]
    families: tuple[str, ...]
    clauses: tuple[Clause, ...]
    methods: tuple[str, ...]
    examples: int
    seed: int = 0
    least: int = 1
    workers: int = 1
    case: Case | None = None


def soak(plan: Plan, progress: Progress = lambda work, tally, sum: None) -> Tally:
    """The tally of ``plan``: as many rounds as it takes."""
    tally = Tally()
    with Processes(plan.workers) as processes:
        for seed in count(plan.seed):
            before = tally.judged
            for work, done in processes.each(round_of(plan, seed)):
                tally = merged((tally, done))
                progress(work, done, tally)
            if plan.case or tally.judged >= plan.least:
                return replace(tally, complete=True)
            if tally.judged == before:  # no seed draws anything new, or the clauses speak of nothing that is drawn
                return tally
    raise AssertionError("count() ends")


def round_of(plan: Plan, seed: int) -> list[Work]:
    """The work of one seed, placed models first: they take the longest."""
    return [
        Work(
            subject=subject,
            family=family,
            clauses=ids,
            placed=placed,
            method=method,
            examples=plan.examples,
            first=plan.seed,
            seed=seed,
            case=plan.case,
            foreign=foreign(family),
        )
        for placed in (True, False)
        if (ids := tuple(clause.id for clause in plan.clauses if clause.placed is placed))
        for family in plan.families
        for method in plan.methods
        if not method_named(method).cannot(family_named(family))
        for subject in plan.subjects
    ]


class Processes:
    """So many threads, each with a child for placed models and one for all others."""

    def __init__(self, workers: int) -> None:
        self._pool, self._mine, self._all = ThreadPoolExecutor(workers), local(), list[Child]()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *raised: object) -> None:
        self._pool.shutdown(wait=raised[0] is None, cancel_futures=True)
        for child in self._all:
            child.kill()

    def each(self, works: list[Work]) -> Iterator[tuple[Work, Tally]]:
        """Every piece of work with its tally, as they are done."""
        futures = {self._pool.submit(self._done, work): work for work in works}
        for future in as_completed(futures):
            yield futures[future], future.result()

    def _done(self, work: Work) -> Tally:
        try:
            return self._child(work.placed).call(f"{do.__module__}:{do.__name__}", work, Tally, SECONDS)
        except UserError:
            raise
        except WorkerError as error:
            return Tally(alarms=(_broke(work, str(error)),))

    def _child(self, placed: bool) -> Child:
        name = "placed" if placed else "plain"
        child: Child | None = getattr(self._mine, name, None)
        if child is None or child.ended:
            child = Child(environment_for("") if placed else {})
            setattr(self._mine, name, child)
            self._all.append(child)
        return child


def _broke(work: Work, why: str) -> Alarm:
    item = Item(work.clauses[0] if len(work.clauses) == 1 else "*", work.family, work.method)
    return Alarm(subject=work.subject, item=item, seed=work.seed, word=BROKEN, what=why, case=work.case)
