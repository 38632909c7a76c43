"""Families x chapters, in words that need no colour."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from conformance.core.finding import Cell
from conformance.core.outcome import TABLE
from conformance.core.plain import plain
from conformance.session.exit_codes import counts


def family_table(cells: Iterable[Cell]) -> Table:
    """One row per family, and method if it is another; one column per chapter. Cells count its clauses by verdict."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.item.subject, cell.item.chapter), []).append(cell)
    subjects = list(dict.fromkeys(subject for subject, _ in grouped))
    chapters = list(dict.fromkeys(chapter for _, chapter in grouped))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("family", no_wrap=True)
    for chapter in chapters:
        table.add_column(Text(plain(chapter)))
    for subject in subjects:
        table.add_row(Text(plain(subject)), *(_chapter(grouped.get((subject, chapter), ())) for chapter in chapters))
    for column in table.columns:  # or a word would be cut off to make room for others
        column.min_width = max(len(word) for text in column.cells for word in str(text).split())
    return table


def _chapter(cells: Iterable[Cell]) -> Text:
    """``5 ok, 1 known``: the clauses of one chapter for one family, the gravest first."""
    words = [Text(f"{number} {TABLE[word].short}", TABLE[word].style) for word, number in counts(cells).items()]
    return Text(", ").join(words) if words else Text("-", style="dim")
