"""Families x chapters, in words that need no colour."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from conformance.core.finding import Cell
from conformance.core.outcome import KNOWN, WORDS, Outcome, State
from conformance.session.exit_codes import counts

STYLES = {
    Outcome.BROKEN.value: "bold magenta",
    Outcome.VIOLATES.value: "bold red",
    KNOWN: "yellow",
    Outcome.CONFORMS.value: "green",
    State.NOT_RUN.value: "magenta",
}
SHORT = {
    Outcome.BROKEN.value: "BROKEN",
    Outcome.VIOLATES.value: "VIOLATED",
    Outcome.CONFORMS.value: "ok",
    Outcome.NOT_APPLICABLE.value: "n/a",
}
"""Shorter words for the table; what is grave is in capitals."""


def matrix(cells: Iterable[Cell]) -> Table:
    """One row per family, one column per chapter; each cell counts its clauses by verdict."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        grouped.setdefault((cell.family, cell.clause.partition(".")[0]), []).append(cell)
    families = list(dict.fromkeys(family for family, _ in grouped))
    chapters = list(dict.fromkeys(chapter for _, chapter in grouped))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("family", no_wrap=True)
    for chapter in chapters:
        table.add_column(chapter)
    for family in families:
        table.add_row(family, *(summary(grouped.get((family, chapter), ())) for chapter in chapters))
    return table


def summary(cells: Iterable[Cell]) -> Text:
    """``5 ok, 1 known``: the clauses of one chapter for one family, the gravest first."""
    tally = counts(cells)
    if not tally:
        return Text("-", style="dim")
    return Text(", ").join(Text(f"{tally[w]} {SHORT.get(w, w)}", style=STYLES.get(w, "")) for w in WORDS if w in tally)
