"""The page of methods: families by chapters, for each method of one run."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from conformance.core.finding import Cell, Item, Verdict
from conformance.core.outcome import Outcome
from conformance.report.methods import methods_page
from conformance.session.events import Run

pytestmark = pytest.mark.light


def rows(page: str) -> list[list[str]]:
    """The cells of every row of a table."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("| ")
    ]


def test_each_method_has_a_table_of_its_own(run: Run) -> None:
    other = Cell.judged(Item("masks.row_order", "llama", "P_TUNING"), Verdict(outcome=Outcome.CONFORMS, decisive=24))
    page = methods_page(replace(run, cells=(*run.cells, other)))
    first, second = page.index("## PREFIX_TUNING"), page.index("## P_TUNING")
    assert first < second
    assert rows(page[second:]) == [
        ["family", *rows(page)[0][1:]],
        ["llama", *_only("masks", "1 ok", rows(page)[0][1:])],
    ]


def _only(chapter: str, text: str, chapters: list[str]) -> list[str]:
    return [text if name == chapter else "-" for name in chapters]


def test_every_cell_is_counted_once(run: Run) -> None:
    page = methods_page(run)
    numbers = [
        int(word.split()[0])
        for row in rows(page)
        for cell in row[1:]
        for word in cell.split(", ")
        if word[:1].isdigit()
    ]
    assert sum(numbers) == len(run.cells)


def test_a_run_that_did_not_finish_says_so(run: Run) -> None:
    assert "did not finish" not in methods_page(run)
    assert "did not finish" in methods_page(replace(run, footer=None))
