"""Hold the installed pair of releases against its stories: `tell.py FOLDER [arguments of the run]`. `stories.toml` has them.

Each story is a run of its own, whose events are left in FOLDER. Only what belongs to a story counts, in the items that
tell it. Whatever else was found is listed and not judged; a broken harness or an unfinished run is never accepted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten

import msgspec

from conformance.core.finding import Cell, Finding
from conformance.core.outcome import How, Outcome, State
from conformance.session.events import Run, read

HERE = Path(__file__).parent
INCOMPLETE = 3
ENOUGH = 5
"""Conforming examples that an item needs to hold if something else, known or not, kept it from the verdict *conforms*."""


class Story(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A bug that ``bad`` pairs show in the families ``hit``, and ``good`` ones do not. How it looks: as in a known failure.

    ``examples``: how many are drawn, where the quick profile's are too few because other bugs of the time stand in the way.
    """

    title: str
    links: tuple[str, ...]
    bad: tuple[str, ...]
    good: tuple[str, ...]
    clauses: tuple[str, ...]
    hit: tuple[str, ...]
    spared: tuple[str, ...] = ()
    how: How
    got: str = ""
    features: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    examples: int = 0

    @property
    def families(self) -> tuple[str, ...]:
        """All that are judged."""
        return self.hit + self.spared

    def shows(self, cell: Cell) -> bool:
        """Whether the run found at ``cell`` what the story is about."""
        found = finding(cell)
        if found is None or found.how is not self.how or self.got not in found.difference.got:
            return False
        return set(self.features) <= set(found.features) and not set(self.without) & set(found.features)


class Stories(msgspec.Struct, frozen=True):
    """The file."""

    story: tuple[Story, ...]


def stories(pair: str) -> list[Story]:
    """Those that ``pair``, such as 0.13.2x4.45.1, has a part in."""
    told = msgspec.toml.decode((HERE / "stories.toml").read_bytes(), type=Stories).story
    return [story for story in told if pair in story.bad + story.good]


def finding(cell: Cell) -> Finding | None:
    """What was found at ``cell``, if anything."""
    return cell.verdict.finding if cell.verdict else None


def said(cell: Cell) -> str:
    """The item, its verdict or state, and what was found, on one line."""
    found = finding(cell)
    outcome = cell.verdict.outcome.value if cell.verdict else f"{cell.state.value} ({cell.why})"
    known = f", known: {', '.join(cell.verdict.known)}" if cell.verdict and cell.verdict.known else ""
    if found is None:
        return f"{cell.item}: {outcome}{known}"
    got = f" {shorten(found.difference.got, 120, placeholder=' ...')}" if found.how is How.CRASH else ""
    return (
        f"{cell.item}: {outcome}{known}, {found.how.value}: {found.difference.what}{got} [{', '.join(found.features)}]"
    )


def problems(story: Story, run: Run, bad: bool) -> Iterator[str]:
    """What contradicts the story, in words."""
    if run.footer is None:
        yield f"the run did not finish; it was at {', '.join(run.running) or 'no item'}"
    elif run.footer.exit_code == INCOMPLETE:
        yield "the run is broken or incomplete (exit code 3)"
    judged = {cell.item: cell for cell in run.cells if cell.state is State.JUDGED}
    for clause in story.clauses:
        for family in story.families:
            cell = judged.get(f"{clause}[{family}]")
            if cell is None:
                yield f"{clause}[{family}]: not judged"
            else:
                yield from _must_show(story, cell) if bad and family in story.hit else _must_hold(story, cell)


def _must_show(story: Story, cell: Cell) -> Iterator[str]:
    if not story.shows(cell):
        yield f"{said(cell)}; the bug was expected"


def _must_hold(story: Story, cell: Cell) -> Iterator[str]:
    if story.shows(cell):
        yield f"{said(cell)}; the bug was not expected"
    elif not cell.verdict or cell.verdict.outcome is Outcome.BROKEN:
        yield f"{said(cell)}; that says nothing"
    elif cell.verdict.outcome is not Outcome.CONFORMS and cell.verdict.decisive < ENOUGH:
        yield f"{said(cell)}; fewer than {ENOUGH} examples conform"


def others(story: Story, run: Run) -> Iterator[str]:
    """What is worth knowing of these releases and is not judged here."""
    for cell in run.cells:
        if finding(cell) and not story.shows(cell):
            yield said(cell)


def tell(story: Story, pair: str, events: Path, *arguments: str) -> int:
    """Run what the story is about, print what was found; how many things contradict it."""
    bad = pair in story.bad
    print(f"\n{pair} {'shows' if bad else 'does not show'}: {story.title} ({', '.join(story.links)})", flush=True)
    events.unlink(missing_ok=True)
    chosen: tuple[str, ...] = ("--clauses", ",".join(story.clauses), "--families", ",".join(story.families))
    chosen += ("--examples", str(story.examples)) if story.examples else ()
    known = ("--known", str(HERE / "known.toml"), "--report", str(events))
    subprocess.run(["peft-conformance", "run", *chosen, *known, *arguments], check=False)
    if not events.is_file():
        print("  the run left no events")
        return 1
    run = read(events)
    for line in others(story, run):
        print(f"  also found, not judged: {line}")
    contradictions = list(problems(story, run, bad))
    print("\n".join(f"  not as history has it: {line}" for line in contradictions) or "  as history has it")
    return len(contradictions)


def main(folder: Path, *arguments: str) -> int:
    """Tell every story of the installed pair; 0 if all are as history has them, 2 if there is none."""
    pair = "x".join(version(name) for name in ("peft", "transformers"))
    folder.mkdir(parents=True, exist_ok=True)
    told = stories(pair)
    wrong = [tell(story, pair, folder / f"{n}.events.jsonl", *arguments) for n, story in enumerate(told)]
    print(f"\n{pair}: {len(told)} stories, {sum(map(bool, wrong))} not as history has it")
    return 2 if not told else int(any(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
