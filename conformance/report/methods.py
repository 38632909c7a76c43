"""What one run says of each method: families by chapters, docs/methods.md."""

from __future__ import annotations

from collections.abc import Iterable

from conformance.core.finding import Cell
from conformance.core.outcome import TABLE
from conformance.report.markdown import markdown
from conformance.session.events import Run
from conformance.session.exit_codes import counts

COMMAND = "peft-conformance report methods EVENTS --out docs/methods.md"
NOTHING = "-"


def methods_page(run: Run) -> str:
    """A table for each method: for each family and chapter how many claims ended with which word."""
    every = {cell.word for cell in run.cells}
    # In the order of the run's header: cells come as workers judged them.
    names = (*run.header.methods, *run.header.families, *run.header.clauses)
    order = {name: place for place, name in enumerate(names)}
    cells = sorted(
        run.cells, key=lambda cell: [order.get(name, len(order)) for name in (cell.method, cell.family, cell.clause)]
    )
    return markdown(
        "methods.md.jinja",
        run=run,
        command=COMMAND,
        chapters=sorted({cell.item.chapter for cell in cells}),
        methods=by_method(cells),
        legend=[row for word, row in TABLE.items() if word in every],
        cell=_cell,
    )


def by_method(cells: Iterable[Cell]) -> dict[str, dict[str, dict[str, list[Cell]]]]:
    """The ``cells`` by method, family and chapter."""
    found: dict[str, dict[str, dict[str, list[Cell]]]] = {}
    for cell in cells:
        families = found.setdefault(cell.item.method, {})
        families.setdefault(cell.item.family, {}).setdefault(cell.item.chapter, []).append(cell)
    return found


def _cell(cells: Iterable[Cell]) -> str:
    return ", ".join(f"{number} {TABLE[word].short}" for word, number in counts(cells).items()) or NOTHING
