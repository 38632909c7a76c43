"""What the cells of a run add up to: how many of which word, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from conformance.core.finding import Cell
from conformance.core.outcome import BROKEN, KNOWN, NOT_RUN, TABLE, WORDS
from conformance.session.events import Replayed, Run

MEANING = {
    0: "nothing is violated but what is known",
    1: "violation",
    2: "wrong use",
    3: "broken harness or incomplete",
    4: "a known failure no longer fails",
    5: "less was tested than expected",
}
"""The exit codes of ``peft-conformance``, in words."""
CLEAN = "nothing is violated"
"""What 0 means of a run in which nothing is known to be violated either."""
GRAVEST_FIRST = (3, 1, 4, 5, 0)
"""In this order of precedence; 5 where none of them holds."""


def counts(cells: Iterable[Cell]) -> dict[str, int]:
    """How many cells have which word, the gravest first."""
    tally = Counter(cell.word for cell in cells)
    return {name: tally[name] for name in WORDS if tally[name]}


def exit_code(cells: Iterable[Cell], known: Iterable[Replayed], *, complete: bool, short: Iterable[str] = ()) -> int:
    """The exit code of a run.

    ``complete``: nothing is missing but what was asked to be left out, which is partial and no *conforms* either; ``short``
    says where less was decided than expected.
    """
    cells, known = list(cells), list(known)
    of_replays = {"mended": 4, "still fails": 0, "not explained": 1, BROKEN: 3}
    codes = [TABLE[cell.word].code for cell in cells] + [of_replays.get(replay.state) for replay in known]
    less = bool([*short]) or is_partial(cells, known)
    return gravest_code([*codes, *[3] * (not complete), *[5] * less])


def meaning_of(code: int, words: Iterable[str]) -> str:
    """What ``code`` means for a run whose cells have the ``words``."""
    return CLEAN if code == 0 and KNOWN not in {*words} else MEANING[code]


def is_partial(cells: Iterable[Cell], known: Iterable[Replayed]) -> bool:
    """Whether something that was selected was not run."""
    return any(cell.word == NOT_RUN for cell in cells) or any(replay.state == NOT_RUN for replay in known)


def code_of(run: Run) -> int:
    """The exit code of ``run``: its footer's, and that of an incomplete run for one that has none."""
    return run.footer.exit_code if run.footer else exit_code(run.cells, run.known, complete=False)


def gravest_code(codes: Iterable[int | None]) -> int:
    """The exit code of several results or runs: the gravest; 5 if nothing was tested anywhere."""
    seen = set(codes)
    return next((code for code in GRAVEST_FIRST if code in seen), 5)
