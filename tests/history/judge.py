"""Judge a run on one of the old release pairs by its events file: does it tell the story that history has?

On transformers 4.45.1 that is the story of PEFT issue 2134: before the fix, generate's first forward saw an empty cache,
with wrong answers in the families whose cache was lost by it. On 4.46.3 it is that of pull request 2189: before it, the
prefix's keys and values were all on one device, whatever the device map said.

Only what belongs to the story counts, in the items that tell it. Whatever else the run found in these old releases is
listed and not judged; a broken harness or an unfinished run is never accepted.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from textwrap import shorten
from typing import NamedTuple

from conformance.report.events import Run, read
from conformance.verdict import Cell, Finding, How, Outcome, State

NEVER_THERE = ("injection.present", "injection.ignored_never")
FORGOTTEN = "lifecycle.learned_mapping_survives[qwen2]"
HIT = ("llama", "qwen2", "mistral", "gpt_neox")
SPARED = ("gpt2", "opt")
SPLIT = ("llama", "qwen2", "mistral", "bloom")
ENOUGH = 5
"""Conforming examples that an item needs to hold if a crash, known or not, kept it from the verdict *conforms*."""


class Story(NamedTuple):
    """``items`` are judged: those in ``hit`` must show ``what`` before the fix, none may after it."""

    title: str
    what: str
    shows: Callable[[Finding], bool]
    items: frozenset[str]
    hit: frozenset[str]


def wrong(found: Finding) -> bool:
    """Whether it is a wrong answer; a crash is none."""
    return found.how is How.WRONG


def mismatch(found: Finding) -> bool:
    """Whether tensors met on different devices, in torch's words."""
    return found.how is How.CRASH and "Expected all tensors to be on the same device" in found.difference.got


STORIES = {
    "4.45.1": Story(
        "issue 2134",
        "wrong answer",
        wrong,
        frozenset([FORGOTTEN, *(f"{clause}[{family}]" for clause in NEVER_THERE for family in (*HIT, *SPARED))]),
        frozenset([FORGOTTEN, *(f"{clause}[{family}]" for clause in NEVER_THERE for family in HIT)]),
    ),
    "4.46.3": Story(
        "pull request 2189",
        "device mismatch",
        mismatch,
        frozenset(f"placement.split[{family}]" for family in SPLIT),
        frozenset(f"placement.split[{family}]" for family in SPLIT),
    ),
}
"""By release of transformers."""
BEFORE = {"0.13.2": True, "0.14.0": False}
"""By release of PEFT: whether both fixes are still to come."""


def finding(cell: Cell) -> Finding | None:
    """What was found at ``cell``, if anything."""
    return cell.verdict.finding if cell.verdict else None


def shows(story: Story, cell: Cell) -> bool:
    """Whether the run found at ``cell`` what the story is about."""
    found = finding(cell)
    return found is not None and story.shows(found)


def told(cell: Cell) -> str:
    """The item, its verdict or state, and what was found, on one line."""
    found = finding(cell)
    outcome = cell.verdict.outcome.value if cell.verdict else f"{cell.state.value} ({cell.why})"
    known = f", known: {', '.join(cell.verdict.known)}" if cell.verdict and cell.verdict.known else ""
    if found is None:
        return f"{cell.item}: {outcome}{known}"
    got = f" {shorten(found.difference.got, 120, placeholder=' ...')}" if found.how is How.CRASH else ""
    return f"{cell.item}: {outcome}{known}, {found.how.value}: {found.difference.what}{got}"


def story_of(run: Run) -> Story:
    """The story that this pair tells."""
    return STORIES[run.header.versions["transformers"]]


def problems(run: Run) -> Iterator[str]:
    """What contradicts the story, in words."""
    if run.footer is None:
        yield f"the run did not finish; it was at {', '.join(run.running) or 'no item'}"
    for cell in run.cells:
        if cell.state is State.NOT_RUN or (cell.verdict and cell.verdict.outcome is Outcome.BROKEN):
            yield told(cell)
    story, before = story_of(run), BEFORE[run.header.versions["peft"]]
    judged = {cell.item: cell for cell in run.cells if cell.state is State.JUDGED}
    for item in sorted(story.items):
        if item not in judged:
            yield f"{item}: not judged"
        elif before and item in story.hit:
            yield from _must_show(story, judged[item])
        else:
            yield from _must_hold(story, judged[item])


def _must_show(story: Story, cell: Cell) -> Iterator[str]:
    found = finding(cell)
    if found is None or not story.shows(found):
        yield f"{told(cell)}; a {story.what} was expected"
    elif found.case.padded:
        yield f"{told(cell)}; a {story.what} without pads was expected"


def _must_hold(story: Story, cell: Cell) -> Iterator[str]:
    if shows(story, cell):
        yield f"{told(cell)}; no {story.what} was expected"
    elif not cell.verdict or (cell.verdict.outcome is not Outcome.CONFORMS and cell.verdict.decisive < ENOUGH):
        yield f"{told(cell)}; fewer than {ENOUGH} examples conform"


def others(story: Story, cells: Iterable[Cell]) -> Iterator[str]:
    """What is worth knowing of these releases and is not judged here."""
    for cell in cells:
        violated = cell.verdict is not None and cell.verdict.outcome is Outcome.VIOLATES
        violated = violated and not (cell.item in story.items and shows(story, cell))
        if violated or cell.state in (State.ABSENT, State.IMPOSSIBLE):
            yield told(cell)


def main(path: Path) -> int:
    """Print what was found; 0 if the run tells the story."""
    run = read(path)
    story = story_of(run)
    pair = " x ".join(f"{name} {run.header.versions[name]}" for name in ("peft", "transformers"))
    print(f"{pair}, {len(run.cells)} items. Also found, not judged:")
    for line in others(story, run.cells):
        print(f"  {line}")
    contradictions = list(problems(run))
    print("Not as history has it:" if contradictions else f"The story of {story.title} is told.")
    for line in contradictions:
        print(f"  {line}")
    return 1 if contradictions else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
