"""Judge a run on one of the release pairs around PEFT issue 2134 by its events file.

Before the fix, generate's first forward saw an empty cache: wrong answers in the families whose cache was lost by it.
Only wrong answers count, in the three clauses that tell that story. Whatever else the run found in these old releases
is listed and not judged; a broken harness or an unfinished run is never accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from conformance.report.events import Run, read
from conformance.verdict import Cell, Finding, How, Outcome, State

NEVER_THERE = ("injection.present", "injection.ignored_never")
FORGOTTEN = "lifecycle.learned_mapping_survives[qwen2]"
HIT = ("llama", "qwen2", "mistral", "gpt_neox")
SPARED = ("gpt2", "opt")
ENOUGH = 5
"""Conforming examples that an item needs to hold if a crash, known or not, kept it from the verdict *conforms*."""
STORY = {FORGOTTEN, *(f"{clause}[{family}]" for clause in NEVER_THERE for family in (*HIT, *SPARED))}
"""The items that are judged."""
WRONG_ON = {
    ("0.13.2", "4.45.1"): {FORGOTTEN, *(f"{clause}[{family}]" for clause in NEVER_THERE for family in HIT)},
    ("0.14.0", "4.45.1"): set[str](),
}
"""By pair of PEFT and transformers, the items that must give wrong answers; the rest of the story must hold."""


def finding(cell: Cell) -> Finding | None:
    """What was found at ``cell``, if anything."""
    return cell.verdict.finding if cell.verdict else None


def wrong(cell: Cell) -> bool:
    """Whether the run gave a wrong answer at ``cell``; a crash is none."""
    found = finding(cell)
    return found is not None and found.how is How.WRONG


def told(cell: Cell) -> str:
    """The item, its verdict or state, and what was found, on one line."""
    found = finding(cell)
    outcome = cell.verdict.outcome.value if cell.verdict else f"{cell.state.value} ({cell.why})"
    known = f", known: {', '.join(cell.verdict.known)}" if cell.verdict and cell.verdict.known else ""
    return f"{cell.item}: {outcome}{known}" + (f", {found.how.value}: {found.difference.what}" if found else "")


def problems(run: Run) -> Iterator[str]:
    """What contradicts the story, in words."""
    if run.footer is None:
        yield f"the run did not finish; it was at {', '.join(run.running) or 'no item'}"
    for cell in run.cells:
        if cell.state is State.NOT_RUN or (cell.verdict and cell.verdict.outcome is Outcome.BROKEN):
            yield told(cell)
    expected = WRONG_ON[run.header.versions["peft"], run.header.versions["transformers"]]
    judged = {cell.item: cell for cell in run.cells if cell.state is State.JUDGED}
    for item in sorted(STORY):
        if item not in judged:
            yield f"{item}: not judged"
        elif item in expected:
            yield from _must_be_wrong(judged[item])
        else:
            yield from _must_hold(judged[item])


def _must_be_wrong(cell: Cell) -> Iterator[str]:
    found = finding(cell)
    if found is None or not wrong(cell):
        yield f"{told(cell)}; a wrong answer was expected"
    elif found.case.padded:
        yield f"{told(cell)}; a wrong answer without pads was expected"


def _must_hold(cell: Cell) -> Iterator[str]:
    if wrong(cell):
        yield f"{told(cell)}; no wrong answer was expected"
    elif not cell.verdict or (cell.verdict.outcome is not Outcome.CONFORMS and cell.verdict.decisive < ENOUGH):
        yield f"{told(cell)}; fewer than {ENOUGH} examples conform"


def others(cells: Iterable[Cell]) -> Iterator[str]:
    """What is worth knowing of these releases and is not judged here."""
    for cell in cells:
        violated = cell.verdict is not None and cell.verdict.outcome is Outcome.VIOLATES
        violated = violated and not (cell.item in STORY and wrong(cell))
        if violated or cell.state in (State.ABSENT, State.IMPOSSIBLE):
            yield told(cell)


def main(path: Path) -> int:
    """Print what was found; 0 if the run tells the story."""
    run = read(path)
    pair = " x ".join(f"{name} {run.header.versions[name]}" for name in ("peft", "transformers"))
    print(f"{pair}, {len(run.cells)} items. Also found, not judged:")
    for line in others(run.cells):
        print(f"  {line}")
    contradictions = list(problems(run))
    print("Not as history has it:" if contradictions else "The story of issue 2134 is told.")
    for line in contradictions:
        print(f"  {line}")
    return 1 if contradictions else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
