"""The end of a run on a terminal."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from msgspec.structs import replace
from rich.console import Console

from conformance.core.finding import Finding
from conformance.core.outcome import How
from conformance.report.terminal import closing, print_run
from conformance.session.events import Run
from conformance.session.exit_codes import code_of

pytestmark = pytest.mark.light


def shown(run: Run, **terminal: bool) -> str:
    """What ``run`` prints on a terminal 100 characters wide."""
    out = StringIO()
    print_run(run, Console(file=out, width=100, highlight=False, **terminal))  # type: ignore[arg-type]
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def test_it_reads_exactly_like_this(run: Run, golden: Path) -> None:
    assert shown(run) == (golden / "summary.txt").read_text("utf-8")


def test_colour_adds_nothing_but_colour(run: Run) -> None:
    coloured = shown(run, force_terminal=True)
    assert "\x1b[" in coloured
    assert "VIOLATED" in coloured
    assert "BROKEN" in coloured


def test_a_run_without_footer_is_never_green(run: Run) -> None:
    cut = replace(run, cells=run.cells[1:2], known=(), footer=None, running=("masks.rows_alone[llama]",))
    assert code_of(cut) == 3
    assert "incomplete, stopped at masks.rows_alone[llama]" in closing(cut)


def test_an_incomplete_run_without_any_item_can_be_shown(run: Run) -> None:
    assert "incomplete" in shown(replace(run, cells=(), known=(), footer=None))


def test_markup_in_what_was_got_is_printed_as_it_is(run: Run) -> None:
    cell = run.cells[5]
    assert cell.verdict is not None
    odd = replace(cell, verdict=replace(cell.verdict, reasons={"IndexError: [bold]x[/] [1, 2]": 1}))
    assert "IndexError: [bold]x[/] [1, 2]" in shown(replace(run, cells=(odd,)))


def test_a_crash_at_one_place_is_told_once_whichever_clause_met_it(run: Run) -> None:
    cell = run.cells[0]
    assert cell.verdict is not None
    assert cell.verdict.finding is not None
    crash = replace(cell.verdict.finding, how=How.CRASH)
    clauses = ("equivalence.step_logits", "masks.rows_alone", "decoding.repeatable")
    crashes = [replace(crash, clause=clause, where=f"peft/peft_model.py:{n} f") for n, clause in enumerate(clauses)]
    cells = [replace(cell, clause=one.clause, verdict=replace(cell.verdict, finding=one)) for one in crashes]
    text = shown(replace(run, cells=tuple(cells), known=()))
    assert "Violation 1 of 1" in text
    assert text.count(crash.statement) == 1
    assert all(f"also as {clause}[llama]: peft-conformance replay --clause {clause} " in text for clause in clauses[1:])


def test_another_method_has_a_row_and_violations_of_its_own(run: Run) -> None:
    violated = run.cells[0]
    assert violated.verdict
    assert violated.verdict.finding
    case = replace(violated.verdict.finding.case, method="P_TUNING")
    finding = replace(violated.verdict.finding, case=case)
    others = [
        replace(violated, method="P_TUNING", verdict=replace(violated.verdict, finding=finding)),
        replace(run.cells[2], method="P_TUNING"),
        replace(run.cells[-1], method="P_TUNING"),
    ]
    text = shown(replace(run, cells=(*run.cells, *others)))
    assert [line.split()[0] for line in text.splitlines()[:5]] == ["family", "llama", "qwen2", "t5", "llama/P_TUNING"]
    assert "Violation 2 of 2\nequivalence.step_logits[llama/P_TUNING] is violated: wrong answer\n" in text
    assert "short-mask: still fails; met by 48 examples of 1 clause in llama, llama/P_TUNING\n" in text
    assert "  refused: masks.rows_alone in t5\n" in text
    assert "  refused: masks.rows_alone in t5/P_TUNING\n" in text


def test_the_devices_of_placed_models_are_told_below_the_table_once_for_each_lane(run: Run) -> None:
    conforms = run.cells[1]
    cells = [
        replace(conforms, clause=f"placement.{claim}", lane=f"{lane} devices a:0, a:1")
        for claim, lane in (("split", "simulated"), ("spelling", "simulated"), ("trains", "real"))
    ]
    text = shown(replace(run, cells=(conforms, *cells), known=()))
    assert [line for line in text.splitlines() if "devices" in line] == [
        "placement: on simulated devices a:0, a:1",
        "placement: on real devices a:0, a:1",
    ]
    assert "devices" not in shown(replace(run, cells=(conforms,), known=()))


HOSTILE = "\x1b]8;;http://x\x07\x1b[2J\x9b31m\u202eevil\u2066\x7f\r\ue000\U000e0041"


def test_nothing_that_events_say_reaches_the_terminal_as_a_command(run: Run, finding: Finding) -> None:
    cells = [
        replace(cell, family=HOSTILE, clause=HOSTILE, why=cell.why and HOSTILE, lane=HOSTILE) for cell in run.cells[1:]
    ]
    difference = replace(finding.difference, what=HOSTILE, got=HOSTILE, expected=HOSTILE)
    bad = replace(finding, clause=HOSTILE, statement=HOSTILE, note=HOSTILE, where=HOSTILE, difference=difference)
    assert run.cells[0].verdict
    first = replace(run.cells[0], verdict=replace(run.cells[0].verdict, finding=bad, reasons={HOSTILE: 1}))
    known = [replace(replay, id=HOSTILE, function=HOSTILE, reason=HOSTILE, why=HOSTILE) for replay in run.known]
    hostile = replace(run, cells=(first, *cells), known=tuple(known), unwritten=HOSTILE)
    text = shown(replace(hostile, header=replace(run.header, versions={"peft": HOSTILE})))
    assert "evil" in text
    assert [char for char in text if not char.isprintable() and char != "\n"] == []


@pytest.mark.parametrize("width", [1, 10, 20])
def test_a_narrow_window_hides_nothing(run: Run, width: int) -> None:
    out = StringIO()
    print_run(run, Console(file=out, width=width, highlight=False))
    for word in ("family", "llama", "qwen2", "t5", "VIOLATED", "BROKEN", "refused"):
        assert word in out.getvalue()


def test_what_is_to_be_noted_is_said_once(run: Run) -> None:
    cells = tuple(
        replace(cell, verdict=replace(cell.verdict, notes=("the database is dead",)))
        for cell in run.cells
        if cell.verdict
    )
    text = shown(replace(run, cells=cells, unwritten="the events could not be written"))
    assert text.count("the database is dead") == 1
    assert "To be noted\n  the database is dead\n  the events could not be written\n" in text
