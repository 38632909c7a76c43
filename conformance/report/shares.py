"""Of items that were decided: how many examples were not, and why not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from textwrap import shorten

from conformance.core.finding import Cell
from conformance.core.outcome import CONFORMS, KNOWN


def decided_in_part(cells: Iterable[Cell]) -> Iterator[str]:
    """By clause: of the examples that the claim speaks of, how many were decided, where, and why the others were not."""
    groups: dict[str, list[Cell]] = {}
    for cell in cells:
        verdict = cell.verdict
        if verdict and cell.word in (CONFORMS, KNOWN) and verdict.decided < verdict.asked:
            groups.setdefault(cell.clause, []).append(cell)
    for clause, group in groups.items():
        shares = ", ".join(f"{cell.item.subject} {_share(cell)}" for cell in group)
        yield f"  {clause}: {shares}\n    {_why(group)}"


def _share(cell: Cell) -> str:
    verdict = cell.verdict
    return f"{verdict.decided} of {verdict.asked}" if verdict else ""


def _why(group: list[Cell]) -> str:
    """The most frequent reasons of all of them, without those of examples that lack what the claim needs."""
    reasons: Counter[str] = Counter()
    for cell in group:
        if cell.verdict:
            reasons.update({why: n for why, n in cell.verdict.reasons.items() if not _lacks(cell, why)})
    return "; ".join(f"{shorten(why, 120, placeholder=' ...')} ({n})" for why, n in reasons.most_common(3))


def _lacks(cell: Cell, why: str) -> bool:
    return bool(cell.verdict and why in cell.verdict.excused and "base model" not in why)
