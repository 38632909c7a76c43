"""A hundred thousand results, read, merged and written: within 10 s of CPU time, and a page below 2 MB.

Measured: 2 s and 1.88 MB where four of five conform. Where none does, 4.5 s, and the oldest pairs are left out.
"""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace

from conformance.core.finding import Cell, Finding, Item, Verdict, encode
from conformance.core.outcome import VIOLATES, Outcome
from conformance.report.markdown import summary_page
from conformance.report.merged import merge_runs
from conformance.report.page import html_page
from conformance.report.versions import versions_page
from conformance.session.events import Code, Footer, Judged, Run
from conformance.session.exit_codes import counts, exit_code
from conformance.session.reader import read_events

PAIRS = [(f"0.{minor}.0", f"5.{other}.0") for minor in range(15) for other in range(23)]
CLAUSES = [f"{chapter}.the_claim_number_{n}" for chapter in ("equivalence", "masks", "injection") for n in range(10)]
FAMILIES = [f"family{n}" for n in range(10)]
WORDS = (Outcome.CONFORMS, Outcome.VIOLATES, Outcome.REFUSED, Outcome.NOT_APPLICABLE, Outcome.UNDECIDED)
OFTEN, SELDOM = (80, 5, 5, 5, 5), (0, 70, 10, 10, 10)


@pytest.fixture(scope="module")
def template() -> Run:
    """A recorded run, whose header and finding the large ones have."""
    return read_events(Path(__file__).parents[1] / "golden" / "matrix" / "violates.jsonl")


def files(template: Run, folder: Path, weights: tuple[int, ...]) -> list[Path]:
    """An events file for each pair: 345 with 300 results each, of violations a hundred kinds and no two texts alike."""
    dice, found = random.Random(0), []
    finding = next(cell.verdict.finding for cell in template.cells if cell.verdict and cell.verdict.finding)
    for peft, transformers in PAIRS:
        header = replace(
            template.header, versions=template.header.versions | {"peft": peft, "transformers": transformers}
        )
        header = replace(header, families=tuple(FAMILIES), clauses=tuple(CLAUSES))
        cells = []
        for clause in CLAUSES:
            for family, outcome in zip(FAMILIES, dice.choices(WORDS, weights, k=len(FAMILIES)), strict=True):
                cells.append(judged(clause, family, outcome, finding, dice.randrange(4)))
        code = cast(Code, exit_code(cells, (), complete=True))
        footer = Footer(exit_code=code, counts=counts(cells), seconds=1.0)
        lines = [header, *(Judged(cell=cell) for cell in cells), footer]
        found.append(folder / f"{peft}-{transformers}.jsonl")
        found[-1].write_text("\n".join(map(encode, lines)) + "\n", "utf-8")
    return found


def judged(clause: str, family: str, outcome: Outcome, finding: Finding, place: int) -> Cell:
    mine = None
    if outcome.value == VIOLATES:
        got = f"token {place}, logit[22] = {len(clause + family)}"
        difference = replace(finding.difference, got=got)
        mine = replace(finding, clause=clause, family=family, where=f"peft/f{place}.py:1 f", difference=difference)
    reasons = {"because of this": 3} if outcome not in WORDS[:2] else {}
    verdict = Verdict(outcome=outcome, counts={outcome.value: 3}, finding=mine, reasons=reasons, decisive=3)
    return Cell.judged(Item(clause, family), verdict)


@pytest.mark.parametrize(("weights", "what"), [(OFTEN, "most conform"), (SELDOM, "nothing conforms")])
def test_a_hundred_thousand_results_are_shown_in_time_and_within_the_bound(
    template: Run, tmp_path: Path, weights: tuple[int, ...], what: str
) -> None:
    written = files(template, tmp_path, weights)
    begun = time.process_time()
    merged = merge_runs(map(read_events, written))
    text, short, table = html_page(merged), summary_page(merged), versions_page(merged)
    spent = time.process_time() - begun
    results = sum(sum(pair.counts.values()) for pair in merged.pairs)
    print(
        f"{what}: {results} results, {spent:.1f} s CPU, page {len(text.encode())}, summary {len(short.encode())} bytes"
    )
    assert results > 100_000
    assert spent < 10
    assert len(text.encode()) < 2_000_000
    assert ("the single results of " in text) == (weights is SELDOM)
    assert weights is OFTEN or len(text.encode()) > 1_900_000, "what fits is not left out"
    assert len(short.encode()) < 1_000_000
    assert len(table.encode()) < 1_000_000
