"""The judge of `nox -s history`, on runs made up for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.case import Case, Row
from conformance.report.events import Footer, Header, Judged, Writer
from conformance.verdict import Blame, Cell, Difference, Finding, How, Outcome, State, Verdict

JUDGE = Path(__file__).parent / "judge.py"
CLAUSES = ("injection.present", "injection.ignored_never")
ITEMS = (
    *((clause, family) for clause in CLAUSES for family in ("llama", "qwen2", "mistral", "gpt_neox", "gpt2", "opt")),
    ("lifecycle.learned_mapping_survives", "qwen2"),
)
BEFORE, AFTER = "0.13.2", "0.14.0"
SPLIT = tuple(("placement.split", family) for family in ("llama", "qwen2", "mistral", "bloom"))
MISMATCH = "DeviceMismatch: Expected all tensors to be on the same device, but found at least two devices"


def holds(clause: str, family: str) -> Cell:
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.CONFORMS, decisive=20)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def violates(
    clause: str, family: str, how: How = How.WRONG, lengths: tuple[int, ...] = (3,), decisive: int = 0, got: str = ""
) -> Cell:
    finding = Finding(
        clause=clause,
        statement="",
        family=family,
        case=Case(family=family, rows=tuple(Row(length=length) for length in lengths)),
        features=(),
        how=how,
        difference=Difference(what="", got=got, expected=""),
        blame=Blame.PEFT,
        versions={},
    )
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.VIOLATES, finding=finding, decisive=decisive)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def broken(clause: str, family: str) -> Cell:
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.BROKEN)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def history(peft: str) -> dict[str, Cell]:
    """A run that tells the story."""
    spared = ("gpt2", "opt") if peft == BEFORE else ("llama", "qwen2", "mistral", "gpt_neox", "gpt2", "opt")
    cells = [holds(*item) if item[1] in spared else violates(*item) for item in ITEMS]
    return {cell.item: cell for cell in cells}


def placed(peft: str) -> dict[str, Cell]:
    """A run under device maps that tells its story."""
    cells = [violates(*item, How.CRASH, got=MISMATCH) if peft == BEFORE else holds(*item) for item in SPLIT]
    return {cell.item: cell for cell in cells}


def judged(
    folder: Path, peft: str, cells: dict[str, Cell], finished: bool = True, transformers: str = "4.45.1"
) -> tuple[int, str]:
    """Exit code and output of the judge on these cells."""
    writer = Writer(folder / "run.events.jsonl")
    writer.write(
        Header(
            versions={"peft": peft, "transformers": transformers},
            python="3.11.0",
            platform="",
            profile="quick",
            examples=3,
            seed=0,
            families=(),
            clauses=(),
            methods=(),
        )
    )
    for cell in cells.values():
        writer.write(Judged(cell=cell))
    if finished:
        writer.write(Footer(exit_code=1, counts={}, seconds=0.0))
    writer.close()
    command = [sys.executable, str(JUDGE), str(folder / "run.events.jsonl")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("peft", [BEFORE, AFTER])
def test_the_story_is_told(tmp_path: Path, peft: str) -> None:
    absent = Cell(clause="injection.present", family="gemma3", state=State.ABSENT, why="no such class")
    code, output = judged(tmp_path, peft, {**history(peft), absent.item: absent})
    assert (code, output.splitlines()[-1]) == (0, "The story of issue 2134 is told.")
    assert "injection.present[gemma3]: absent (no such class)" in output


def test_what_is_not_of_the_story_is_listed_only(tmp_path: Path) -> None:
    other = violates("masks.rows_alone", "llama")
    code, output = judged(tmp_path, AFTER, {**history(AFTER), other.item: other})
    assert code == 0
    assert "masks.rows_alone[llama]: violates, wrong answer" in output


def test_a_crash_is_listed_only_where_something_else_conforms(tmp_path: Path) -> None:
    crash = violates("injection.present", "opt", How.CRASH, decisive=5)
    code, output = judged(tmp_path, AFTER, {**history(AFTER), crash.item: crash})
    assert code == 0
    assert "injection.present[opt]: violates, crash" in output


@pytest.mark.parametrize(
    ("peft", "cell", "said"),
    [
        (BEFORE, holds("injection.present", "llama"), "a wrong answer was expected"),
        (BEFORE, violates("injection.present", "llama", How.CRASH), "a wrong answer was expected"),
        (BEFORE, violates("injection.present", "llama", lengths=(3, 2)), "a wrong answer without pads was expected"),
        (BEFORE, violates("injection.present", "gpt2"), "no wrong answer was expected"),
        (AFTER, violates("injection.ignored_never", "mistral"), "no wrong answer was expected"),
        (AFTER, violates("injection.ignored_never", "opt", How.CRASH), "fewer than 5 examples conform"),
        (AFTER, broken("masks.rows_alone", "llama"), "masks.rows_alone[llama]: broken harness"),
        (
            AFTER,
            Cell(clause="injection.present", family="opt", state=State.NOT_RUN),
            "injection.present[opt]: not judged",
        ),
    ],
)
def test_one_cell_out_of_place_is_told(tmp_path: Path, peft: str, cell: Cell, said: str) -> None:
    code, output = judged(tmp_path, peft, {**history(peft), cell.item: cell})
    assert code == 1
    assert said in output.partition("Not as history has it:")[2]


def test_an_unfinished_run_tells_nothing(tmp_path: Path) -> None:
    code, output = judged(tmp_path, AFTER, history(AFTER), finished=False)
    assert code == 1
    assert "the run did not finish" in output


@pytest.mark.parametrize("peft", [BEFORE, AFTER])
def test_the_story_of_device_maps_is_told(tmp_path: Path, peft: str) -> None:
    other = violates("placement.split", "idefics", How.CRASH, got=MISMATCH)
    code, output = judged(tmp_path, peft, {**placed(peft), other.item: other}, transformers="4.46.3")
    assert (code, output.splitlines()[-1]) == (0, "The story of pull request 2189 is told.")
    assert "placement.split[idefics]: violates, crash: " in output


@pytest.mark.parametrize(
    ("peft", "cell", "said"),
    [
        (BEFORE, holds("placement.split", "bloom"), "a device mismatch was expected"),
        (BEFORE, violates("placement.split", "llama"), "a device mismatch was expected"),
        (BEFORE, violates("placement.split", "llama", How.CRASH, got="KeyError: 1"), "a device mismatch was expected"),
        (AFTER, violates("placement.split", "qwen2", How.CRASH, got=MISMATCH), "no device mismatch was expected"),
        (AFTER, violates("placement.split", "qwen2", How.CRASH, got="KeyError: 1"), "fewer than 5 examples conform"),
        (AFTER, broken("placement.split", "t5"), "placement.split[t5]: broken harness"),
    ],
)
def test_one_placed_cell_out_of_place_is_told(tmp_path: Path, peft: str, cell: Cell, said: str) -> None:
    code, output = judged(tmp_path, peft, {**placed(peft), cell.item: cell}, transformers="4.46.3")
    assert code == 1
    assert said in output.partition("Not as history has it:")[2]
