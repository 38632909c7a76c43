"""What the cells of a run add up to: a word for each, how many of which, and the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from conformance.core.finding import Cell, Outcome, State, Verdict
from conformance.session.events import Replayed

REASONS = 3
"""How many reasons of one cell are shown; the rest is in the events."""
KNOWN = "known"
"""The word for a violation all of whose examples match known failures."""
WORDS = (
    Outcome.BROKEN.value,
    Outcome.VIOLATES.value,
    KNOWN,
    Outcome.CONFORMS.value,
    Outcome.REFUSED.value,
    Outcome.UNDECIDED.value,
    Outcome.NOT_APPLICABLE.value,
    State.ABSENT.value,
    State.IMPOSSIBLE.value,
    State.NOT_RUN.value,
)
"""Every word for a cell, the gravest first."""

MEANING = {
    0: "conforms",
    1: "violation",
    2: "wrong use",
    3: "broken harness or incomplete",
    4: "a known failure no longer fails",
    5: "nothing was tested",
}
"""The exit codes of ``peft-conformance``, in words."""


def word(cell: Cell) -> str:
    """The one word for ``cell``: its state, or its verdict; ``known`` if every violation in it is known."""
    if cell.verdict is None:
        return cell.state.value
    if cell.verdict.outcome is Outcome.VIOLATES and cell.verdict.finding is None:
        return KNOWN
    return cell.verdict.outcome.value


def reasons(cell: Cell) -> str:
    """Why ``cell`` has no decision, or is broken, in words; the most frequent reason first."""
    if cell.verdict is None:
        return cell.why
    ordered = [text for text, _ in sorted(cell.verdict.reasons.items(), key=lambda reason: (-reason[1], reason[0]))]
    more = [f"and {len(ordered) - REASONS} other reasons"] if len(ordered) > REASONS else []
    return "; ".join([*ordered[:REASONS], *more])


def told(cell: Cell) -> str:
    """The word for ``cell``, with the reasons."""
    said, why = word(cell), reasons(cell).strip()
    return why if why.startswith(said) else f"{said}: {why}" if why else said


def broken(clause: str, family: str, why: str) -> Cell:
    """The cell of an item that could not be judged because something of ours, or its process, failed."""
    verdict = Verdict(
        clause=clause, family=family, outcome=Outcome.BROKEN, counts={Outcome.BROKEN.value: 1}, reasons={why: 1}
    )
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def not_run(clause: str, family: str, why: str) -> Cell:
    """The cell of an item that nobody came to."""
    return Cell(clause=clause, family=family, state=State.NOT_RUN, why=why)


def counts(cells: Iterable[Cell]) -> dict[str, int]:
    """How many cells have which word, the gravest first."""
    tally = Counter(word(cell) for cell in cells)
    return {name: tally[name] for name in WORDS if tally[name]}


def exit_code(cells: Iterable[Cell], known: Iterable[Replayed], *, complete: bool) -> int:
    """The exit code of a run; ``complete``: nothing is missing but what was asked to be left out."""
    words = {word(cell) for cell in cells}
    replays = {replay.state for replay in known}
    if not complete or Outcome.BROKEN.value in words | replays:
        return 3
    if Outcome.VIOLATES.value in words:
        return 1
    if "mended" in replays:
        return 4
    decided = {KNOWN, Outcome.CONFORMS.value} & words or "still fails" in replays
    return 0 if decided else 5
