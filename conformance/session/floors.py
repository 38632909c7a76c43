"""How little may be decided before a run is not green: the floors, for what no expectation speaks of.

*Refused*, *undecided*, *absent* and *not applicable* are honest words for one example, and would be a way to pass everything if
nobody asked how many there are. So a family, a method or a lane in which nothing was decided, and an item whose share of decided
examples is below what its clause states, make a run end with exit code 5.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from conformance.clauses.registry import Clause
from conformance.core.finding import Cell
from conformance.core.outcome import CONFORMS, KNOWN, NOT_RUN, VIOLATES, Outcome

DECIDED = (CONFORMS, KNOWN, VIOLATES)
"""Words for items in which something was decided."""
GROUPS: Mapping[str, Callable[[Cell], str]] = {
    "family": lambda cell: cell.family,
    "method": lambda cell: cell.method,
    "lane": lambda cell: cell.lane,
}
"""In what something must have been decided, and how a cell says which it is of."""
FEW = 12
"""Of fewer examples a share says little: there it is enough that as many were decided as *conforms* needs.

Measured on the newest pair: of T5 with multitask prompts 5 of 9 and 5 of 11, since its base model fails where the stacks are
unequal.
"""


def below_floors(
    cells: Iterable[Cell], clauses: Mapping[str, Clause], foreseen: Callable[[Cell], bool] = lambda cell: False
) -> list[str]:
    """Where fewer of ``cells`` were decided than must be, in words.

    What was not run is not looked at: nobody judged it. Of cells that are ``foreseen`` somebody has said what they must be: only
    that something at all was decided is asked of them here.
    """
    judged = [cell for cell in cells if cell.word != NOT_RUN]
    if judged and not any(cell.word in DECIDED for cell in judged):
        return ["nothing at all was decided"]
    open = [cell for cell in judged if not foreseen(cell)]
    short = (words for cell in open for words in _short(cell, clauses[cell.clause]))
    return [*_empty_groups(judged, open), *short]


def _empty_groups(cells: list[Cell], open: list[Cell]) -> Iterator[str]:
    """The groups of the ``open`` cells in which nothing was decided."""
    for kind, of in GROUPS.items():
        decided = {of(cell) for cell in cells if cell.word in DECIDED}
        for name in dict.fromkeys(of(cell) for cell in open):
            if name and name not in decided:
                yield f"nothing was decided in the {kind} {name}"


def _short(cell: Cell, clause: Clause) -> Iterator[str]:
    """What is wrong with one item. A violation ends a search, whatever was decided by then."""
    asked, decided = asked_and_decided(cell, clause)
    enough = asked < FEW and decided >= clause.decisive
    if cell.word != VIOLATES and asked and not enough and decided < clause.floor.share * asked:
        yield f"{cell.item}: {decided} of {asked} examples decided, at least {clause.floor.share:.0%} expected ({cell.reasons})"


def asked_and_decided(cell: Cell, clause: Clause) -> tuple[int, int]:
    """How many examples of an item the claim speaks of, and how many of them were decided."""
    if cell.verdict is None:
        return 0, 0
    refused = cell.verdict.counts.get(Outcome.REFUSED.value, 0) if clause.floor.may_refuse else 0
    return cell.verdict.asked - refused, cell.verdict.decided
