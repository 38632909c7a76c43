"""Events are held against their own header and footer: what was lost or changed by hand is never shown as a result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from conformance.cli import main
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Item, Verdict
from conformance.core.outcome import Outcome, State
from conformance.session.consistency import contradictions
from conformance.session.events import AnyEvent, Footer, Judged, Run, Started
from conformance.session.reader import read_events
from conformance.session.writer import Writer

pytestmark = pytest.mark.light

Change = Callable[[Run], Run]


def finished(run: Run, **changes: object) -> Run:
    """``run`` with its footer changed."""
    assert run.footer
    return replace(run, footer=replace(run.footer, **changes))


def with_cell(run: Run, place: int, **changes: object) -> Run:
    cell = replace(run.cells[place], **changes)
    return replace(run, cells=(*run.cells[:place], cell, *run.cells[place + 1 :]))


def with_verdict(run: Run, place: int, **changes: object) -> Run:
    verdict = run.cells[place].verdict
    assert verdict
    return with_cell(run, place, verdict=replace(verdict, **changes))


CHANGES: dict[str, tuple[Change, str]] = {
    "a cell is lost": (lambda run: replace(run, cells=run.cells[1:]), "the header names, but that have no result"),
    "a replay is lost": (lambda run: replace(run, known=run.known[:1]), "the header names, but that have no result"),
    "a cell is there twice": (lambda run: replace(run, cells=(*run.cells, run.cells[0])), "has 2 results"),
    "a cell is of nowhere": (
        lambda run: with_cell(run, 6, family="mamba"),
        "the header does not name, but that have a result: equivalence.step_logits[mamba]",
    ),
    "the footer is green": (lambda run: finished(run, exit_code=0), "says exit code 0, and the results add up to 3"),
    "the footer is red": (lambda run: finished(run, exit_code=1), "says exit code 1, and the results add up to 3"),
    "the footer counts less": (lambda run: finished(run, counts={"conforms": 1}), "counts 0 broken harness"),
    "the footer counts other words": (
        lambda run: finished(run, counts={**(run.footer.counts if run.footer else {}), "good": 1}),
        "the footer counts 1 good, and there are 0",
    ),
    "one began and never ended": (lambda run: replace(run, running=("it[me]",)), "began and have no result"),
    "judged without verdict": (lambda run: with_cell(run, 0, verdict=None), "is called judged, but has no verdict"),
    "not run with verdict": (
        lambda run: with_cell(run, 0, state=State.NOT_RUN),
        "is called not run, but has a verdict",
    ),
    "a violation that conforms": (lambda run: with_verdict(run, 0, outcome=Outcome.CONFORMS), "but has a violation"),
    "a violation of another": (lambda run: with_cell(run, 0, clause="masks.rows_alone"), "has a violation of equiv"),
    "known as nothing": (lambda run: with_verdict(run, 2, known={}), "neither a violation nor a known failure"),
    "nothing was decided": (lambda run: with_verdict(run, 1, decisive=0), "conforms, but no example decided anything"),
}


def written(path: Path, run: Run) -> Path:
    writer = Writer(path)
    starts = (Started(item=item) for item in run.running)
    events: list[AnyEvent] = [run.header, *starts, *(Judged(cell=cell) for cell in run.cells), *run.known]
    for event in events:
        writer.write(event)
    if run.footer:
        writer.write(run.footer)
    writer.close()
    return path


def test_a_run_as_it_was_written_agrees_with_itself(run: Run) -> None:
    assert list(contradictions(run)) == []


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_refused_in_words_by_everything_that_reads_events(
    change: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changed, said = CHANGES[change]
    file = str(written(tmp_path / "one.events.jsonl", changed(run)))
    with pytest.raises(UserError) as caught:
        read_events(Path(file))
    assert caught.value.code == "contradictory-events"
    assert any(said in problem for problem in contradictions(changed(run)))
    merge, versions = ("report", "merge", file, "--out"), ("report", "versions", file, "--out")
    for arguments in (("show", file), (*merge, str(tmp_path / "m")), (*versions, str(tmp_path / "v.md"))):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert capsys.readouterr().err.startswith("contradictory-events: ")
    assert [path.name for path in tmp_path.iterdir()] == ["one.events.jsonl"]


def test_a_run_that_did_not_finish_lacks_cells_and_agrees(run: Run) -> None:
    assert list(contradictions(replace(run, cells=run.cells[:2], known=(), footer=None))) == []


def test_even_a_run_that_did_not_finish_has_no_foreign_cell(run: Run) -> None:
    other = Cell.judged(Item("masks.rows_alone", "mamba"), Verdict(outcome=Outcome.CONFORMS, decisive=5))
    assert "mamba" in next(contradictions(replace(run, cells=(other,), known=(), footer=None)))


def test_what_was_left_out_makes_a_run_incomplete_or_not(run: Run) -> None:
    left = Cell.of(Item("masks.rows_alone", "t5"), State.NOT_RUN, "the time is spent")
    only = replace(run, header=replace(run.header, items=(str(left.item),)), cells=(left,), known=())
    for code, agrees in ((5, True), (3, True), (0, False), (1, False)):
        footer = Footer(exit_code=code, counts={"not run": 1}, seconds=1.0)  # type: ignore[arg-type]
        assert (list(contradictions(replace(only, footer=footer))) == []) is agrees
