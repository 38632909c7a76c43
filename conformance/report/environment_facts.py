"""What the headers of several runs say, and where they contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conformance.compat.versions import JUDGED
from conformance.session.events import Run

SUITE = ("peft-conformance", "profile", "examples", "seed", "methods", "known failures")
"""What should be the same in all runs: else the words for two pairs are not of one kind."""
MACHINE = ("platform", "placed models")
"""What may well differ between the runs of one pair."""

Facts = dict[str, tuple[str, ...]]
"""Names and every value that occurs, sorted."""


def facts(runs: Iterable[Run]) -> Facts:
    """Everything that the headers of ``runs`` say, but for the pair and what was selected."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for name, value in _said(run):
            found.setdefault(name, set()).add(value)
    return {name: tuple(sorted(values)) for name, values in sorted(found.items())}


def _said(run: Run) -> Iterator[tuple[str, str]]:
    header = run.header
    yield from ((name, value) for name, value in header.versions.items() if name not in JUDGED)
    yield "python", header.python
    yield "platform", header.platform
    yield "profile", header.profile
    yield "examples", str(header.examples)
    yield "seed", str(header.seed)
    yield "methods", ", ".join(header.methods)
    yield "known failures", header.known or "none"
    yield from (("placed models", f"on {cell.lane}") for cell in run.cells if cell.lane)


def contradictions(said: Facts) -> tuple[str, ...]:
    """What the runs of one pair should agree in and do not."""
    return tuple(_differs("its files", name, said) for name in said if name not in MACHINE and len(said[name]) > 1)


def strangers(runs: Iterable[Run]) -> tuple[str, ...]:
    """In what the runs of all pairs were not judged alike."""
    said = facts(runs)
    return tuple(_differs("the files", name, said) for name in SUITE if len(said.get(name, ())) > 1)


def _differs(whose: str, name: str, said: Facts) -> str:
    return f"{whose} differ in {name}: {' and '.join(said[name])}"
