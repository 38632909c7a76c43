"""One piece of a soak, done in a process of its own: a family with one seed, all clauses, one kind of model."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

from msgspec import Struct

from conformance.clauses.registry import Clause, clause_named
from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Item
from conformance.engine.controls import Example, confirm, run_with_control
from conformance.engine.search import Budget, drawn, with_story
from conformance.families import Family, adopt, family_named
from conformance.soak.subjects import SUBJECTS
from conformance.soak.tally import ALARMING, Alarm, Count, Tally
from conformance.strategies import strata


class Work(Struct, frozen=True, kw_only=True):
    """Hold ``subject`` of ``family`` against ``clauses``, which are all about placed models or none is.

    The Cases are those that ``seed`` draws and no seed from ``first`` on has drawn before; or just ``case``. ``foreign`` is
    the family where another process cannot know it.
    """

    subject: str
    family: str
    clauses: tuple[str, ...]
    placed: bool = False
    method: str = DEFAULT_METHOD
    examples: int = 1
    first: int = 0
    seed: int = 0
    case: Case | None = None
    foreign: Family | None = None


def do(work: Work) -> Tally:
    """The tally of ``work``, in this process. Raises ``RuntimeError`` for a family or method that is absent."""
    from conformance.methods.presence import lacking

    started = time.process_time()
    _settle()
    if work.foreign:
        adopt(work.foreign)
    if why := lacking(family_named(work.family), work.method):
        raise RuntimeError(f"nothing can be judged: {why}")
    counted = _Counted(work)
    with SUBJECTS[work.subject]() as lab:
        for clause, case in _pairs(work):
            counted.add(clause, confirm(clause, lab, run_with_control(clause, lab, case)))
    return counted.tally(time.process_time() - started)


def _settle() -> None:
    import torch
    import transformers

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()


def _pairs(work: Work) -> Iterator[tuple[Clause, Case]]:
    """Every clause with every Case that is judged by it, in the order in which a search visits them."""
    family, fresh = family_named(work.family), (work.case,) if work.case else new_cases(work)
    for clause in map(clause_named, work.clauses):
        if work.case:
            yield clause, work.case  # a clause's follow-up Case, or its family's own: to be judged as it is
        elif clause.fixed_case:
            own = clause.own_case(family, work.method) if work.seed == work.first else None
            yield from ((clause, case) for case in (own,) if case)
        else:
            drawn_for_it = _with_stories(fresh, work) if clause.stories else fresh
            judged = dict.fromkeys(follow_up for case in drawn_for_it for follow_up in clause.cases(case))
            yield from ((clause, case) for case in judged)


def _with_stories(fresh: tuple[Case, ...], work: Work) -> Iterator[Case]:
    budget = Budget(examples=work.examples, seed=work.seed)
    return (with_story(case, number, budget) for number, case in enumerate(fresh))


def new_cases(work: Work) -> tuple[Case, ...]:
    """What the seed draws and no earlier seed has drawn: every seed begins with the simplest Case of each stratum."""
    seen: set[Case] = set()
    for seed in range(work.first, work.seed):
        seen.update(_drawn(work, seed))
    return tuple(case for case in dict.fromkeys(_drawn(work, work.seed)) if case not in seen)


def _drawn(work: Work, seed: int) -> Iterator[Case]:
    for stratum in strata(family_named(work.family), work.examples, seed, work.placed, work.method):
        yield drawn(work.family, stratum, seed, work.method)


class _Counted:
    def __init__(self, work: Work) -> None:
        self.work = work
        self.words: dict[Item, Counter[str]] = {}
        self.reasons: dict[Item, Counter[str]] = {}
        self.alarms: list[Alarm] = []

    def add(self, clause: Clause, example: Example) -> None:
        """Count one example."""
        item, word = Item(clause.id, self.work.family, self.work.method), example.outcome.value
        self.words.setdefault(item, Counter())[word] += 1
        if example.reason:
            self.reasons.setdefault(item, Counter())[f"{word}: {example.reason}"] += 1
        if word in ALARMING:
            self.alarms.append(self._alarm(item, example))

    def _alarm(self, item: Item, example: Example) -> Alarm:
        found = example.finding
        what = f"{found.difference.what}: got {found.difference.got}; {found.note}" if found else example.reason
        return Alarm(
            subject=self.work.subject,
            item=item,
            seed=self.work.seed,
            word=example.outcome.value,
            what=what,
            case=example.case,
        )

    def tally(self, seconds: float) -> Tally:
        """What was counted."""
        counts = [
            Count(subject=self.work.subject, item=item, words=dict(words), reasons=dict(self.reasons.get(item, {})))
            for item, words in self.words.items()
        ]
        return Tally(counts=tuple(counts), alarms=tuple(self.alarms), cpu_seconds=seconds)
