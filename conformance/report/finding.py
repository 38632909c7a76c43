"""One Finding as text: at most about 25 lines, and everything that is needed to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from conformance.core.finding import Difference, Finding
from conformance.core.plain import plain
from conformance.families import is_shipped
from conformance.report.story import program

ARXIV = "arXiv:"
LONGEST = 240
"""Characters of a value that are shown; the rest is in the events."""


def link(source: str) -> str:
    """``owner/repository#1`` as the address of the thread, ``arXiv:1`` as that of the paper; other sources as they are."""
    if source.startswith(ARXIV):
        return f"https://arxiv.org/abs/{source.removeprefix(ARXIV)}"
    repository, hash, number = source.partition("#")
    return f"https://github.com/{repository}/issues/{number}" if hash and number.isdigit() else source


def repeat(finding: Finding) -> str:
    """The one line that repeats ``finding``."""
    words = ["peft-conformance", "replay", "--clause", finding.clause, finding.case.to_json()]
    words += ["--mended", ",".join(finding.mended)] if finding.mended else []
    words += ["--devices", finding.devices] if finding.devices else []
    # A family file is called like its family; only the reader knows where it lies.
    words += [] if is_shipped(finding.family) else ["--family-file", f"{finding.family}.toml"]
    return shlex.join(words)


def finding_text(finding: Finding) -> str:
    """``finding`` as its reader meets it, on a terminal too."""
    head = f"{finding.item} is violated: {finding.how.value}\n  {finding.statement}\n"
    return plain(head + "\n".join(f"  {name:<9} {value}" for name, value in _lines(finding)))


def _lines(finding: Finding) -> Iterator[tuple[str, str]]:
    shown = [name for name in ("peft", "transformers", "torch") if name in finding.versions]
    yield "versions", ", ".join(f"{name} {finding.versions[name]}" for name in shown)
    yield "case", repr(finding.case)
    yield from _story(finding) if finding.case.story else ()
    yield "features", ", ".join(finding.features)
    yield from _difference(finding.difference)
    yield "blame", finding.blame.value + (f", at {finding.where}" if finding.where else "")
    if finding.note:
        yield "note", _short(finding.note)
    if finding.mended:
        yield "mended", f"still violated with {', '.join(finding.mended)} mended"
    if finding.beyond:
        yield "beyond", f"would be known as {', '.join(finding.beyond)}, whose range of versions leaves these out"
    yield "repeat", repeat(finding)
    yield "explain", shlex.join(["peft-conformance", "explain", finding.clause])
    for source in finding.sources[:4]:
        yield "source", link(source)


def _story(finding: Finding) -> Iterator[tuple[str, str]]:
    """A program, of which the line is marked that has shown it."""
    shown = None if finding.difference.told is None else finding.difference.told + 1
    for number, line in enumerate(program(finding.case)):
        name = "here >>>" if number == shown else "" if number else "story"
        yield name, line


def _difference(difference: Difference) -> Iterator[tuple[str, str]]:
    places = [f"{name} {at}" for name, at in (("row", difference.row), ("step", difference.step)) if at is not None]
    yield "what", _short(difference.what) + (f" (first at {', '.join(places)})" if places else "")
    yield "got", _short(difference.got)
    yield "expected", _short(difference.expected)
    if difference.margin is not None:
        yield "margin", _margin(difference.margin, difference.error)


def _margin(margin: float, error: float | None) -> str:
    """By how much, against the error of the computation."""
    times = f", which is {margin / error:.3g} times the error of {error:.3g}" if error else ""
    return f"{margin:.3g}{times}"


def _short(value: str) -> str:
    joined = " | ".join(line.strip() for line in value.strip().splitlines() if line.strip())
    return joined if len(joined) <= LONGEST else joined[: LONGEST - 3] + "..."
