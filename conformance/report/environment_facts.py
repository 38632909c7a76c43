"""What the headers of several runs say, and where they contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from conformance.compat.versions import JUDGED
from conformance.session.events import Header, Run

SETTINGS = ("peft-conformance", "profile", "examples", "seed", "methods", "known failures")
"""What should be the same in all runs: otherwise the words for two pairs do not mean the same."""
FILE = "family file "
"""Facts of this name and a file's say what was in it, which should be the same in all runs that have it, too."""
MACHINE = ("platform", "placed models")
"""What may differ between the runs of one pair."""

Facts = dict[str, tuple[str, ...]]
"""Names and every value that occurs, sorted."""


def facts(runs: Iterable[Run]) -> Facts:
    """Everything that the headers of ``runs`` say, but for the pair and what was selected."""
    values: dict[str, set[str]] = {}
    for run in runs:
        for name, value in _facts_of(run):
            values.setdefault(name, set()).add(value)
    return {name: tuple(sorted(every)) for name, every in sorted(values.items())}


def _facts_of(run: Run) -> Iterator[tuple[str, str]]:
    header = run.header
    yield from ((name, value) for name, value in header.versions.items() if name not in JUDGED)
    yield "python", header.python
    yield "platform", header.platform
    yield "profile", header.profile
    yield "examples", str(header.examples)
    yield "seed", str(header.seed)
    yield "methods", ", ".join(header.methods)
    yield "known failures", _with_digest(header.known, header) if header.known else "none"
    yield from ((f"{FILE}{name}", digest) for name, digest in header.digests.items() if name != header.known)
    yield from (("placed models", f"on {cell.lane}") for cell in run.cells if cell.lane)


def _with_digest(name: str, header: Header) -> str:
    return f"{name} ({header.digests[name]})" if name in header.digests else name


def differences_in_pair(pair: Facts) -> tuple[str, ...]:
    """In what the runs of one pair differ and should not."""
    return tuple(_differs("its files", name, pair) for name in pair if name not in MACHINE and len(pair[name]) > 1)


def differences_in_settings(runs: Iterable[Run]) -> tuple[str, ...]:
    """In what the runs of all pairs were not judged alike."""
    every = facts(runs)
    names = (*SETTINGS, *(name for name in every if name.startswith(FILE)))
    return tuple(_differs("the files", name, every) for name in names if len(every.get(name, ())) > 1)


def _differs(whose: str, name: str, values: Facts) -> str:
    return f"{whose} differ in {name}: {' and '.join(values[name])}"
