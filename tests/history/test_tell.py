"""What `nox -s history` makes of a run, on runs made up for it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from conformance.clauses import registry
from conformance.core.case import Case, Row
from conformance.core.features import features
from conformance.core.finding import Cell, Difference, Finding, Verdict
from conformance.core.outcome import Blame, How, Outcome, State
from conformance.families import families
from conformance.session.events import Footer, Header, Judged, Writer

HERE = Path(__file__).parent
CLAUSES = ("injection.present", "injection.ignored_never")
BEFORE, AFTER = "0.13.2x4.45.1", "0.14.0x4.45.1"
MISMATCH = "DeviceMismatch: Expected all tensors to be on the same device, but found at least two devices"


def loaded() -> ModuleType:
    spec = importlib.util.spec_from_file_location("history_tell", HERE / "tell.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


telling = loaded()
STORIES = telling.msgspec.toml.decode((HERE / "stories.toml").read_bytes(), type=telling.Stories).story
Tell = Callable[..., tuple[int, str]]


def holds(clause: str, family: str, decisive: int = 20) -> Cell:
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.CONFORMS, decisive=decisive)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


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
        versions={},
    )
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.VIOLATES, finding=finding, decisive=decisive)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def broken(clause: str, family: str, decisive: int = 0) -> Cell:
    verdict = Verdict(clause=clause, family=family, outcome=Outcome.BROKEN, decisive=decisive)
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def written(path: Path, cells: Iterable[Cell], finished: bool = True) -> None:
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
    )
    writer.write(header)
    for cell in cells:
        writer.write(Judged(cell=cell))
    if finished:
        writer.write(Footer(exit_code=1, counts={}, seconds=0.0))
    writer.close()


@pytest.fixture
def tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tell:
    """Exit code and output for the installed ``pair``, whose runs find what is as history has it, but for ``cells``."""

    def told(pair: str, *cells: Cell, finished: bool = True, events: bool = True) -> tuple[int, str]:
        peft, _, transformers = pair.partition("x")
        monkeypatch.setattr(telling, "version", {"peft": peft, "transformers": transformers}.get)

        def run(command: list[str], **_: object) -> SimpleNamespace:
            given = dict(zip(command[2::2], command[3::2], strict=True))
            story = next(s for s in STORIES if ",".join(s.clauses) == given["--clauses"] and pair in s.bad + s.good)
            found = as_history_has_it(story, pair, given["--families"].split(","))
            found |= {cell.item: cell for cell in cells if cell.item in found or cell.clause not in story.clauses}
            if events:
                written(Path(given["--report"]), found.values(), finished)
            return SimpleNamespace(returncode=1)

        monkeypatch.setattr(telling.subprocess, "run", run)
        code = telling.main(tmp_path / "events")
        return code, capsys.readouterr().out

    return told


def as_history_has_it(story: Any, pair: str, families: list[str]) -> dict[str, Cell]:
    lengths = (1,) if "n_equals_prompt" in story.features else (3,)
    cells = [
        violates(clause, family, story.how, lengths, got=story.got)
        if pair in story.bad and family in story.hit
        else holds(clause, family)
        for clause in story.clauses
        for family in families
    ]
    return {cell.item: cell for cell in cells}


@pytest.mark.parametrize("pair", [BEFORE, AFTER, "0.13.2x4.45.2"])
def test_a_pair_that_is_as_history_has_it_passes(tell: Tell, pair: str) -> None:
    code, output = tell(pair)
    assert code == 0
    assert "0 not as history has it" in output
    assert f"{pair} {'shows' if pair == BEFORE else 'does not show'}: PEFT issue 2134" in output


def test_a_pair_of_which_nothing_is_told_is_wrong_use(tell: Tell) -> None:
    assert tell("0.1.0x4.0.0")[0] == 2


def test_a_crash_that_is_not_of_the_story_is_listed_only_where_enough_conforms(tell: Tell) -> None:
    code, output = tell(AFTER, violates("injection.present", "opt", How.CRASH, decisive=5))
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
        (AFTER, Cell(clause="injection.present", family="opt", state=State.NOT_RUN), "not judged"),
        ("0.13.2x4.46.3", holds("placement.split", "bloom"), "the bug was expected"),
        ("0.13.2x4.46.3", violates("placement.split", "llama"), "the bug was expected"),
        ("0.13.2x4.46.3", violates("placement.split", "llama", How.CRASH, got="KeyError: 1"), "the bug was expected"),
        ("0.14.0x4.46.3", violates("placement.split", "qwen2", How.CRASH, got=MISMATCH), "the bug was not expected"),
        ("0.14.0x4.46.3", violates("placement.split", "qwen2", How.CRASH, got="KeyError"), "fewer than 5 examples"),
        ("0.13.2x4.45.2", violates("equivalence.step_logits", "t5", lengths=(2,)), "the bug was expected"),
    ],
)
def test_one_cell_out_of_place_is_told(tell: Tell, pair: str, cell: Cell, said: str) -> None:
    code, output = tell(pair, cell)
    assert code == 1
    (line,) = [line for line in output.splitlines() if "not as history has it: " in line]
    assert line.partition("not as history has it: ")[2].startswith(cell.item)
    assert said in line


def test_an_unfinished_run_tells_nothing(tell: Tell) -> None:
    code, output = tell(AFTER, finished=False)
    assert code == 1
    assert "the run did not finish" in output


def test_a_run_without_events_tells_nothing(tell: Tell) -> None:
    code, output = tell(AFTER, events=False)
    assert code == 1
    assert "the run left no events" in output


def test_the_stories_name_what_there_is() -> None:
    for story in STORIES:
        assert set(story.clauses) <= set(registry.clauses())
        assert set(story.families) <= set(families())
        assert not set(story.bad) & set(story.good)
        assert story.bad
        assert story.good
        assert story.links
