"""Check what is known of the installed pair of releases: `check.py FOLDER [arguments of the run]`, by `regressions.toml`.

Each regression is a run of its own, whose events are left in FOLDER. Only its own bug counts, in the items that it names.
Whatever else was found is listed and not judged; a broken harness or an unfinished run is never accepted.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from textwrap import shorten

import msgspec

from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Cell, Finding, Item
from conformance.core.outcome import How, Outcome, State
from conformance.engine.known import KnownFailure
from conformance.session.events import Run
from conformance.session.reader import read_events

HERE = Path(__file__).parent
INCOMPLETE = 3
ENOUGH = 5
"""Conforming examples that an item needs to hold if something else, known or not, kept it from the verdict *conforms*."""


class Regression(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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

    @property
    def items(self) -> tuple[Item, ...]:
        """All that is judged."""
        return tuple(Item(clause, family) for clause in self.clauses for family in self.families)

    @property
    def failure(self) -> KnownFailure:
        """The bug as the entry of a known-failures file for any releases, which decides what is a match."""
        return KnownFailure(
            id=self.title,
            clauses=self.clauses,
            families=self.families,
            how=self.how,
            features=self.features,
            without=self.without,
            peft="",
            transformers="",
            function="",
            reason=self.title,
            clause=self.clauses[0],
            case=Case(family=self.hit[0]),
        )

    def shown_by(self, cell: Cell) -> bool:
        """Whether the run found the bug at ``cell``."""
        finding = finding_of(cell)
        return finding is not None and self.got in finding.difference.got and self.failure.resembles(finding)


class Regressions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    regression: tuple[Regression, ...]


def every_regression() -> tuple[Regression, ...]:
    """All of the file."""
    return msgspec.toml.decode((HERE / "regressions.toml").read_bytes(), type=Regressions).regression


def finding_of(cell: Cell) -> Finding | None:
    """What was found at ``cell``, if anything."""
    return cell.verdict.finding if cell.verdict else None


def line(cell: Cell) -> str:
    """The item, its verdict or state, and what was found, on one line."""
    finding = finding_of(cell)
    outcome = cell.verdict.outcome.value if cell.verdict else f"{cell.state.value} ({cell.why})"
    known = f", known: {', '.join(cell.verdict.known)}" if cell.verdict and cell.verdict.known else ""
    text = f"{cell.item}: {outcome}{known}"
    if finding is None:
        return text
    got = f" {shorten(finding.difference.got, 120, placeholder=' ...')}" if finding.how is How.CRASH else ""
    return f"{text}, {finding.how.value}: {finding.difference.what}{got} [{', '.join(finding.features)}]"


def problems(regression: Regression, run: Run, bad: bool) -> Iterator[str]:
    """What is not as expected, in words."""
    if run.footer is None:
        yield f"the run did not finish; it was at {', '.join(run.running) or 'no item'}"
    elif run.footer.exit_code == INCOMPLETE:
        yield "the run is broken or incomplete (exit code 3)"
    judged = {cell.item: cell for cell in run.cells if cell.state is State.JUDGED}
    for item in regression.items:
        if item not in judged:
            yield f"{item}: not judged"
        elif problem := _problem(regression, judged[item], bad and item.family in regression.hit):
            yield f"{line(judged[item])}; {problem}"


def _problem(regression: Regression, cell: Cell, expected: bool) -> str:
    if regression.shown_by(cell) is not expected:
        return "the bug was expected" if expected else "the bug was not expected"
    if cell.verdict is None or cell.verdict.outcome is Outcome.BROKEN:
        return "that says nothing"
    few = cell.verdict.outcome is not Outcome.CONFORMS and cell.verdict.decisive < ENOUGH
    return f"fewer than {ENOUGH} examples conform" if few and not expected else ""


def others(regression: Regression, run: Run) -> Iterator[str]:
    """What is worth knowing of these releases and is not judged here."""
    yield from (line(cell) for cell in run.cells if finding_of(cell) and not regression.shown_by(cell))


def check(regression: Regression, pair: str, events: Path, *arguments: str) -> int:
    """Run what the regression is about, print what was found; how many things are not as expected."""
    bad = pair in regression.bad
    links = ", ".join(regression.links)
    print(f"\n{pair} {'shows' if bad else 'does not show'}: {regression.title} ({links})", flush=True)
    events.unlink(missing_ok=True)
    chosen = ["--clauses", ",".join(regression.clauses), "--families", ",".join(regression.families)]
    # All that is told of the past is told of prefix tuning.
    chosen += ["--methods", DEFAULT_METHOD]
    chosen += ["--examples", str(regression.examples)] if regression.examples else []
    known = ("--known", str(HERE / "known.toml"), "--report", str(events))
    subprocess.run(["peft-conformance", "run", *chosen, *known, *arguments], check=False)
    if not events.is_file():
        print("  the run left no events")
        return 1
    run = read_events(events)
    for other in others(regression, run):
        print(f"  also found, not judged: {other}")
    wrong = list(problems(regression, run, bad))
    print("\n".join(f"  not as expected: {problem}" for problem in wrong) or "  as expected")
    return len(wrong)


def main(folder: Path, *arguments: str) -> int:
    """Check every regression that names the installed pair; 0 if all are as expected, 2 if there is none."""
    pair = "x".join(version(name) for name in ("peft", "transformers"))
    folder.mkdir(parents=True, exist_ok=True)
    mine = [regression for regression in every_regression() if pair in regression.bad + regression.good]
    wrong = [check(regression, pair, folder / f"{n}.events.jsonl", *arguments) for n, regression in enumerate(mine)]
    print(f"\n{pair}: {len(mine)} regressions, {sum(map(bool, wrong))} not as expected")
    return 2 if not mine else int(any(wrong))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
