"""Several processes: the same verdicts, one writer, and no death that goes unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from conformance.core.finding import Cell
from conformance.session.reader import read_events

pytest.importorskip("xdist")
Consumer = Callable[..., pytest.RunResult]
SOME = ("--conformance-families", "llama,gpt2", "--conformance-clauses", "miniature.[hrw]*")


def timeless(path: Path) -> dict[str, object]:
    """The cells of an events file by name, without the time they took."""

    def plain(cell: Cell) -> object:
        built = msgspec.to_builtins(cell)
        built["verdict"].pop("cpu_seconds")
        return built

    return {str(cell.item): plain(cell) for cell in read_events(path).cells}


def test_two_workers_find_what_one_process_finds(consumer: Consumer, pytester: pytest.Pytester) -> None:
    consumer(*SOME, "--conformance-report", "one.jsonl")
    consumer(*SOME, "--conformance-report", "two.jsonl", "-n", "2", "--dist", "worksteal")
    one, two = (timeless(pytester.path / name) for name in ("one.jsonl", "two.jsonl"))
    assert len(one) == 8  # holds, wrong, refused, warns for two families
    assert one == two


def test_only_the_controller_writes(consumer: Consumer, pytester: pytest.Pytester) -> None:
    consumer(*SOME, "--conformance-report", "events.jsonl", "-n", "2")
    lines = (pytester.path / "events.jsonl").read_text("utf-8").splitlines()
    assert sum('"event":"header"' in line for line in lines) == 1
    assert sum('"event":"footer"' in line for line in lines) == 1
    assert len(lines) == 2 + 2 * 8


def test_a_dead_child_of_a_worker_breaks_its_item_and_no_other(consumer: Consumer, pytester: pytest.Pytester) -> None:
    clauses = (
        "--conformance-families",
        "llama",
        "--conformance-clauses",
        "miniature.holds,miniature.dies,miniature.refused",
    )
    result = consumer(*clauses, "-n", "1", "--conformance-report", "events.jsonl")
    result.assert_outcomes(passed=1, errors=1, skipped=1)
    run = read_events(pytester.path / "events.jsonl")
    words = {str(cell.item): cell.verdict.outcome.value for cell in run.cells if cell.verdict}
    assert words["miniature.dies[llama]"] == "broken harness"
    assert words["miniature.holds[llama]"] == "conforms"
    assert run.footer is not None
    assert run.footer.exit_code == 3


def test_the_controller_imports_no_torch(consumer: Consumer, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import sys\n"
        "def pytest_unconfigure(config):\n"
        "    if not hasattr(config, 'workerinput'):\n"
        "        print('torch' in sys.modules, 'transformers' in sys.modules, file=sys.__stderr__)\n"
    )
    result = consumer(*SOME, "-n", "1")
    assert result.errlines[-1] == "False False"


def test_judged_code_that_ends_its_process_breaks_its_item_without_workers_too(
    consumer: Consumer, pytester: pytest.Pytester
) -> None:
    clauses = ("--conformance-families", "llama", "--conformance-clauses", "miniature.leaves,miniature.holds")
    result = consumer(*clauses, "--conformance-report", "events.jsonl")
    result.assert_outcomes(passed=1, errors=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    run = read_events(pytester.path / "events.jsonl")
    assert run.footer is not None
    assert run.footer.exit_code == 3
    assert "ended with exit code 0" in next(cell.reasons for cell in run.cells if cell.clause == "miniature.leaves")


def test_the_only_process_of_pytest_judges_nothing_itself(consumer: Consumer, pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        "import sys\n"
        "def pytest_unconfigure(config):\n"
        "    print('torch' in sys.modules, 'transformers' in sys.modules, file=sys.__stderr__)\n"
    )
    assert consumer(*SOME).errlines[-1] == "False False"
