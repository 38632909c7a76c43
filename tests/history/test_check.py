"""What `nox -s history` makes of a run, on runs made up for it."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from conformance.clauses import registry
from conformance.core.case import Case, Row
from conformance.core.features import features
from conformance.core.finding import Cell, Difference, Finding, Item, Verdict
from conformance.core.outcome import Blame, How, Outcome, State
from conformance.families import families
from conformance.session.events import Code, Footer, Header, Judged
from conformance.session.exit_codes import counts, exit_code
from conformance.session.writer import Writer

pytestmark = pytest.mark.light

HERE = Path(__file__).parent
CLAUSES = ("injection.present", "injection.ignored_never")
BEFORE, AFTER = "0.13.2x4.45.1", "0.14.0x4.45.1"
MISMATCH = "DeviceMismatch: Expected all tensors to be on the same device, but found at least two devices"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("history_check", HERE / "check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


checking = loaded()
REGRESSIONS = checking.every_regression()
Check = Callable[..., tuple[int, str]]


def holds(clause: str, family: str, decisive: int = 20) -> Cell:
    return Cell.judged(Item(clause, family), Verdict(outcome=Outcome.CONFORMS, decisive=decisive))


def violates(
    clause: str, family: str, how: How = How.WRONG, lengths: tuple[int, ...] = (3,), decisive: int = 0, got: str = ""
) -> Cell:
    case = Case(family=family, rows=tuple(Row(length=length) for length in lengths))
    finding = Finding(
        clause=clause,
        statement="",
        family=family,
        case=case,
        features=tuple(sorted(features(case))),
        how=how,
        difference=Difference(what="", got=got, expected=""),
        blame=Blame.PEFT,
        versions={"peft": "0.13.2", "transformers": "4.45.1"},
    )
    return Cell.judged(finding.item, Verdict(outcome=Outcome.VIOLATES, finding=finding, decisive=decisive))


def broken(clause: str, family: str, decisive: int = 0) -> Cell:
    return Cell.judged(Item(clause, family), Verdict(outcome=Outcome.BROKEN, decisive=decisive))


def written(path: Path, cells: Iterable[Cell], finished: bool = True) -> None:
    cells = tuple(cells)
    writer = Writer(path)
    header = Header(
        versions={},
        python="3.11.0",
        platform="",
        profile="quick",
        examples=3,
        seed=0,
        families=(),
        clauses=(),
        methods=(),
        items=tuple(str(cell.item) for cell in cells),
    )
    writer.write(header)
    for cell in cells:
        writer.write(Judged(cell=cell))
    if finished:
        code = cast(Code, exit_code(cells, (), complete=True))
        writer.write(Footer(exit_code=code, counts=counts(cells), seconds=0.0))
    writer.close()


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Check:
    """Exit code and output for the installed ``pair``, whose runs find what is expected, but for ``cells``."""

    def checked(pair: str, *cells: Cell, finished: bool = True, events: bool = True) -> tuple[int, str]:
        peft, _, transformers = pair.partition("x")
        monkeypatch.setattr(checking, "version", {"peft": peft, "transformers": transformers}.get)

        def run(command: list[str], **_: object) -> SimpleNamespace:
            given = dict(zip(command[2::2], command[3::2], strict=True))
            regression = next(
                s for s in REGRESSIONS if ",".join(s.clauses) == given["--clauses"] and pair in s.bad + s.good
            )
            cells_of_run = as_expected(regression, pair, given["--families"].split(","))
            cells_of_run |= {c.item: c for c in cells if c.item in cells_of_run or c.clause not in regression.clauses}
            if events:
                written(Path(given["--report"]), cells_of_run.values(), finished)
            return SimpleNamespace(returncode=1)

        monkeypatch.setattr(checking.subprocess, "run", run)
        code = checking.main(tmp_path / "events")
        return code, capsys.readouterr().out

    return checked


def as_expected(regression: Any, pair: str, families: list[str]) -> dict[Item, Cell]:
    lengths = (1,) if "n_equals_prompt" in regression.features else (3,)
    cells = [
        violates(clause, family, regression.how, lengths, got=regression.got)
        if pair in regression.bad and family in regression.hit
        else holds(clause, family)
        for clause in regression.clauses
        for family in families
    ]
    return {cell.item: cell for cell in cells}


@pytest.mark.parametrize("pair", [BEFORE, AFTER, "0.13.2x4.45.2"])
def test_a_pair_that_is_as_expected_passes(check: Check, pair: str) -> None:
    code, output = check(pair)
    assert code == 0
    assert "0 not as expected" in output
    assert f"{pair} {'shows' if pair == BEFORE else 'does not show'}: PEFT issue 2134" in output


def test_a_pair_without_a_regression_is_wrong_use(check: Check) -> None:
    assert check("0.1.0x4.0.0")[0] == 2


def test_a_crash_that_is_another_bug_is_listed_only_where_enough_conforms(check: Check) -> None:
    code, output = check(AFTER, violates("injection.present", "opt", How.CRASH, decisive=5))
    assert code == 0
    assert "also found, not judged: injection.present[opt]: violates, crash" in output


@pytest.mark.parametrize(
    ("pair", "cell", "said"),
    [
        (BEFORE, holds("injection.present", "llama"), "the bug was expected"),
        (BEFORE, violates("injection.present", "llama", How.CRASH), "the bug was expected"),
        (BEFORE, violates("injection.present", "llama", lengths=(3, 2)), "the bug was expected"),
        (BEFORE, holds("lifecycle.learned_mapping_survives", "qwen2"), "the bug was expected"),
        (BEFORE, violates("injection.present", "gpt2"), "the bug was not expected"),
        (AFTER, violates("injection.ignored_never", "mistral"), "the bug was not expected"),
        (AFTER, violates("injection.ignored_never", "opt", How.CRASH), "fewer than 5 examples conform"),
        (AFTER, broken("injection.present", "llama", decisive=9), "that says nothing"),
        (AFTER, Cell.of(Item("injection.present", "opt"), State.NOT_RUN), "not judged"),
        ("0.13.2x4.46.3", holds("placement.cache_follows_layer", "bloom"), "the bug was expected"),
        ("0.13.2x4.46.3", violates("placement.cache_follows_layer", "llama"), "the bug was expected"),
        (
            "0.13.2x4.46.3",
            violates("placement.cache_follows_layer", "llama", How.CRASH, got="KeyError: 1"),
            "the bug was expected",
        ),
        (
            "0.14.0x4.46.3",
            violates("placement.cache_follows_layer", "qwen2", How.CRASH, got=MISMATCH),
            "the bug was not expected",
        ),
        (
            "0.14.0x4.46.3",
            violates("placement.cache_follows_layer", "qwen2", How.CRASH, got="KeyError"),
            "fewer than 5 examples",
        ),
        ("0.13.2x4.45.2", violates("equivalence.step_logits", "t5", lengths=(2,)), "the bug was expected"),
    ],
)
def test_one_cell_out_of_place_is_reported(check: Check, pair: str, cell: Cell, said: str) -> None:
    code, output = check(pair, cell)
    assert code == 1
    reported = [line.partition("not as expected: ")[2] for line in output.splitlines() if "not as expected: " in line]
    (line,) = [line for line in reported if "[" in line]  # a broken harness makes the run incomplete, too
    assert line.startswith(str(cell.item))
    assert said in line


def test_an_unfinished_run_proves_nothing(check: Check) -> None:
    code, output = check(AFTER, finished=False)
    assert code == 1
    assert "the run did not finish" in output


def test_a_run_without_events_proves_nothing(check: Check) -> None:
    code, output = check(AFTER, events=False)
    assert code == 1
    assert "the run left no events" in output


def test_the_regressions_name_what_there_is() -> None:
    for regression in REGRESSIONS:
        assert set(regression.clauses) <= set(registry.clauses())
        assert set(regression.families) <= set(families())
        assert not set(regression.bad) & set(regression.good)
        assert regression.bad
        assert regression.good
        assert all(re.fullmatch(r"huggingface/(peft|transformers)#\d+", link) for link in regression.links)
