"""clause x family x method -> Verdict. Knows no pytest.

The life of an example, and why it has so many stations. A verdict costs a maintainer hours, so everything that could be wrong
with *us* is tried before anybody is told.

1. **Drawn.** Cases are drawn once per family and stratum, and every clause visits the same ones (:func:`drawn`): the lab
   remembers runs by Case, so all clauses together pay for each run once. A clause may judge follow-up Cases in its place.
2. **Run** (:func:`~conformance.engine.controls.run`). What the claim does not speak of is *not applicable*, with the reason.
3. **Explained** (:mod:`conformance.engine.explain`). A violation that resembles known failures is run again with their mends in
   force. If it conforms then it is known, it is counted, and the search goes on: one understood bug must not end a search that
   could find another. If it does not, what is seen under the mends goes on from here, under the mends.
4. **Controlled.** The same claim about the base model, without any prefix. If that fails too, it is about transformers, and
   kept as evidence; nobody's prompt learning is at fault.
5. **Confirmed.** It must happen again in a lab that remembers nothing, and a wrong number
   must be wrong in float64 too (else two right computations may simply differ by that much). Where float64 cannot run, it
   must be wrong by more than 100 errors.
6. **Blamed** (:mod:`conformance.engine.blame`), from evidence.
7. **Shrunk.** Hypothesis comes to it again from the same seed and shrinks it within its stratum; then
   :mod:`conformance.engine.shrink` undoes what the stratum had pinned. Each attempt has a lab of its own: what earlier calls
   left behind must not decide which Case is minimal. Only the same violation counts, so that a shrink does not slip into
   another one, and never a known one. The result is controlled and confirmed once more.

The search ends with the first violation that nothing explains, or the first example on which our harness broke.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy
from msgspec import Struct
from msgspec.structs import replace

from conformance.clauses.registry import Clause, clause_named
from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Cell, Finding, Item, Verdict
from conformance.core.outcome import Outcome, State
from conformance.core.story import Act
from conformance.devices.current import current
from conformance.engine.controls import Example, run, unsteady
from conformance.engine.database import Counterexamples, open_database
from conformance.engine.explain import beyond_its_range, controlled_as_seen, seen
from conformance.engine.known import KnownFailure
from conformance.engine.shrink import shrink
from conformance.engine.verdict import verdict
from conformance.families import Family, family_named
from conformance.families.possible import impossible
from conformance.methods import method_named
from conformance.strategies import Stratum, cases, one_array, stories, strata

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

T = TypeVar("T")
NO_STORY = "this family has no story"
PROFILES = {"quick": 1, "standard": 4, "thorough": 20}
"""That many covering arrays, of 13 to 30 Cases each, or 30 to 45 of placed models; of a single one the beginning."""
STORIES = {1: 8, 4: 12}
"""How many steps a story has, for so many arrays and more."""
FURTHER = 5
"""How many times as many arrays there may be for a claim of which those of the profile decided something, but not enough.

Most claims want five decisive examples for each array, and each array has a Case for every pair of classes.
"""


class Budget(Struct, frozen=True, kw_only=True):
    """How long to search: ``examples`` of each pair of classes, the seed of the draws, and whether a violation is made minimal.

    One example means nine tenths of the pairs within each family, and all in the union of the families of ``models/``.
    ``database`` is where earlier violations are kept (:func:`conformance.engine.database.open_database`): a search begins
    with them.
    """

    examples: int = PROFILES["quick"]
    seed: int = 0
    shrink: bool = True
    database: str = "none"

    def decisive(self, clause: Clause) -> int:
        """How many decisive examples *conforms* needs: the clause's own number, more in larger budgets."""
        return clause.decisive if clause.fixed_case else max(1, clause.decisive * self.examples // PROFILES["quick"])


class Reproduced(Exception):
    """Raised inside Hypothesis so that it shrinks: the violation occurs again."""


class _Search:
    """One search: what has been counted so far."""

    def __init__(self, clause: Clause, lab: Lab, known: Iterable[KnownFailure]) -> None:
        self.clause, self.lab, self.entries = clause, lab, tuple(known)
        self.counts: Counter[str] = Counter()
        self.known: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self.excused: Counter[str] = Counter()
        self.base_fails = 0
        self.evidence: dict[str, Finding] = {}

    @property
    def decided(self) -> int:
        """How many examples showed whether the claim holds."""
        return self.counts[Outcome.CONFORMS.value] + self.counts[Outcome.VIOLATES.value]

    def visit(self, case: Case) -> Example | None:
        """Judge every follow-up Case of a drawn one; gives the first that ends the search."""
        return next(filter(self.ends, map(self.judge, self.clause.cases(case))), None)

    def ends(self, example: Example) -> bool:
        """Whether the search ends with it: a violation that nothing explains, or a broken harness."""
        return example.outcome in (Outcome.VIOLATES, Outcome.BROKEN) and not example.known

    def judge(self, case: Case) -> Example:
        """Judge and count one Case."""
        example = self.examined(case)
        self.known.update(example.known)
        self.counts[example.outcome.value] += 1
        if example.reason:
            self.reasons[example.reason] += 1
        if example.outcome is Outcome.NOT_APPLICABLE:
            self.excused[example.reason] += 1
            self.base_fails += example.base_fails
        if example.evidence:
            self.evidence.setdefault(example.evidence.difference.what, example.evidence)
        return example

    def examined(self, case: Case) -> Example:
        """What ``case`` shows, a violation that nothing explains controlled and confirmed."""
        example = seen(self.clause, self.lab, case, self.entries)
        return controlled_as_seen(self.clause, self.lab, example, self.entries, confirmed=True)

    def same(self, case: Case, violation: Example) -> Example | None:
        """``case``, if it shows the same ``violation`` and nothing explains it, in a lab that remembers nothing."""
        lab = self.lab.fresh()
        example = seen(self.clause, lab, case, self.entries)
        example = controlled_as_seen(self.clause, lab, example, self.entries, confirmed=False)
        return example if violation.alike(example) and not example.known else None

    def reproduce(self, case: Case, violation: Example) -> Example | None:
        """The follow-up Case of a drawn one that shows the same ``violation``; the last, if several do."""
        shown = [self.same(follow, violation) for follow in self.clause.cases(case)]
        return next(filter(None, reversed(shown)), None)


def search(
    clause: Clause,
    family: Family,
    budget: Budget,
    known: Iterable[KnownFailure],
    lab: Lab,
    method: str = DEFAULT_METHOD,
) -> Verdict:
    """Search ``family`` for a Case that violates ``clause``; shrink it; give the item's verdict."""
    started = time.process_time()
    state = _Search(clause, lab, known)
    database, item = open_database(budget.database), Item(clause.id, family.name, method)
    ended = _saved(state, database, item, budget) or _search(state, family, budget, method)
    if database and ended and ended.outcome is Outcome.VIOLATES:
        database.keep(str(item), ended.case)
    if ended:
        ended = beyond_its_range(clause, lab, ended, state.entries)
    found = verdict(state, ended, budget.decisive(clause), time.process_time() - started)
    return replace(found, notes=database.said()) if database else found


def _saved(state: _Search, database: Counterexamples | None, item: Item, budget: Budget) -> Example | None:
    """Begin with what violated before; forget what conforms now, and drop what breaks our harness: nobody drew it today."""
    family = family_named(item.family)
    for case in database.recall(str(item), lambda kept: impossible(family, kept)) if database else ():
        if database and run(state.clause, state.lab, case).outcome is Outcome.BROKEN:
            database.drop(str(item), case, "it breaks the harness")
            continue
        example = state.judge(case)
        if state.ends(example):
            return _minimal(state, example, example, budget)
        if database and example.outcome is Outcome.CONFORMS:
            database.forget(str(item), case)
    return None


def _search(state: _Search, family: Family, budget: Budget, method: str) -> Example | None:
    """Visit the family's own Case, or those of every stratum; a violation that ends the search is made minimal."""
    if why := method_named(method).cannot(family):
        _says_nothing(state, why)
        return None
    if state.clause.fixed_case:
        return _fixed_case(state, state.clause.own_case(family, method))
    for number, stratum in enumerate(_visited(state, family, budget, method)):
        case = drawn(family.name, stratum, budget.seed, method)
        if state.clause.stories:
            ended = state.visit(with_story(case, number, budget))
            # A story is shrunk as the data that it is: Hypothesis would draw another one.
            smallest = ended
        else:
            ended = state.visit(case)
            smallest = ended and _within_stratum(state, ended, cases(family, stratum, method), stratum, budget)
        if ended and smallest:
            return _minimal(state, ended, smallest, budget)
    return None


def _visited(state: _Search, family: Family, budget: Budget, method: str) -> Iterator[Stratum]:
    """The rows that the budget says; of a claim that speaks of few Cases all others too, until enough is decided.

    Where nothing was decided those that the first method visits, of which others are dealt a part; further ones say no more.
    """
    arrays, seed, placed = budget.examples, budget.seed, state.clause.placed
    visited = tuple(strata(family, arrays, seed, placed, method))[: state.clause.stories * arrays or None]
    yield from visited
    every = chain.from_iterable(one_array(family, number, seed, placed) for number in range(arrays * FURTHER))
    names = {stratum.name for stratum in visited}
    begun = [stratum for stratum in strata(family, arrays, seed, placed) if stratum.name not in names]
    further = chain(begun, (stratum for stratum in every if stratum.name not in names | {one.name for one in begun}))
    for number, stratum in enumerate(further):
        if state.decided >= budget.decisive(state.clause) or (not state.decided and number >= len(begun)):
            return
        yield stratum


def _fixed_case(state: _Search, case: Case | None) -> Example | None:
    if case is not None:
        return state.visit(case)
    _says_nothing(state, NO_STORY)
    return None


def _says_nothing(state: _Search, why: str) -> None:
    """No Case is judged at all, for the reason ``why``."""
    state.reasons[why] += 1
    state.excused[why] += 1
    state.counts[Outcome.NOT_APPLICABLE.value] += 1


def _within_stratum(
    state: _Search, first: Example, strategy: SearchStrategy[Case], stratum: Stratum, budget: Budget
) -> Example:
    """The same violation, shrunk by Hypothesis."""
    smallest = first

    def visit(case: Case) -> None:
        nonlocal smallest
        smallest = state.reproduce(case, first) or smallest
        # Hypothesis runs its smallest example again and reports "flaky" if that passes. So the smallest Case so far raises
        # even if it did not fail this time; the confirmation looks at that later. There is one line that raises, since
        # Hypothesis takes two lines for two bugs.
        if smallest.case in state.clause.cases(case):
            raise Reproduced

    if first.outcome is Outcome.VIOLATES and first.repeats and budget.shrink and not first.never_answers:
        with suppress(Reproduced):
            _hypothesis(strategy, visit, stratum, budget.seed, Phase.generate, Phase.shrink)
    return smallest


def _minimal(state: _Search, first: Example, smallest: Example, budget: Budget) -> Example:
    """The same violation, shrunk across strata; controlled and confirmed once more, from scratch."""
    # The one Case of a clause that has its own is as small as its claim allows; what does not repeat cannot be made smaller.
    kept = first.outcome is Outcome.BROKEN or not first.repeats or first.never_answers
    if kept or state.clause.fixed_case or not budget.shrink:
        return first
    case = shrink(smallest.case, lambda simpler: state.same(simpler, smallest) is not None)
    minimal = state.examined(case)
    # The first one was confirmed; a shrink may end where float32 alone is wrong, which makes the first no less wrong.
    if minimal.outcome is Outcome.UNDECIDED:
        return first
    return minimal if minimal.finding else unsteady(state.clause, state.lab, smallest, minimal)


@lru_cache(maxsize=4096)
def drawn(family: str, stratum: Stratum, start: int, method: str = DEFAULT_METHOD) -> Case:
    """The Case that Hypothesis draws: the same for every clause of a family, so it is drawn once."""
    found: list[Case] = []
    _hypothesis(cases(family_named(family), stratum, method), found.append, stratum, start, Phase.generate)
    return found[-1]


def with_story(case: Case, number: int, budget: Budget) -> Case:
    """A drawn ``case`` with a story, which Hypothesis draws: the one of that ``number``.

    It is another one in each family and with each method, so that together they say more. Nothing else that is drawn changes it.
    """
    found = list[tuple[Act, ...]]()
    name = f"story {number} of {case.family} {case.method}"
    length = max(steps for arrays, steps in STORIES.items() if arrays <= budget.examples)
    _hypothesis(stories(case, length), found.append, Stratum(name=name, classes=()), budget.seed, Phase.generate)
    return replace(case, story=found[-1])


def _hypothesis(
    strategy: SearchStrategy[T], visit: Callable[[T], None], stratum: Stratum, start: int, *phases: Phase
) -> None:
    # Hypothesis begins with the simplest Case, and draws at random from the second on.
    @seed(f"{start} {stratum.name}")
    @settings(
        max_examples=1 if stratum.simplest else 2,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        phases=phases,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(strategy)
    def conforms(drawn: T) -> None:
        visit(drawn)

    conforms()


def judge(item: Item, budget: Budget, known: Iterable[KnownFailure], lab: Lab) -> Cell:
    """The cell of one item: absent where the installed releases have no such family or method, else judged."""
    from conformance.methods.presence import lacking

    clause, family = clause_named(item.clause), family_named(item.family)
    why = lacking(family, item.method)
    if why:
        return Cell.of(item, State.ABSENT, why)
    verdict = search(clause, family, budget, known, lab, item.method)
    return Cell.judged(item, verdict, lane=str(current()) if clause.placed else "")
