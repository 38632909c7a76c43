"""Items on placed models are judged in a child with devices for them; this process enters no lane."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from conformance import families
from conformance.clauses import clauses, registry
from conformance.clauses.registry import Clause
from conformance.core.case import Case, Placement, Roles
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Outcome
from conformance.devices import current as here
from conformance.engine.search import Budget
from conformance.families import Family, register
from conformance.faults import faults
from conformance.faults.detection import known_failures
from conformance.session.judge import JudgeItem, judge_item, run_case
from conformance.worker import child as worker

TRAINS = clauses()["placement.trains"]
MINE = """
schema = 1
name = "qwen3_of_mine"
hazard = "Queries and keys are normalised, head by head."
model = "transformers.models.qwen3.modeling_qwen3:Qwen3ForCausalLM"
config = "Qwen3Config"

[anatomy]
layers = "model.layers"
positions = "rotary"

[draw]
activation = ["silu"]
rope = ["default"]
"""
DIES = """
import os
if "CONFORMANCE_CHANNEL" in os.environ and not os.path.exists({marker!r}):
    open({marker!r}, "w").close()
    os.read(int(os.environ["CONFORMANCE_CHANNEL"]), 1)
    os._exit(7)
"""
ONE, KNOWN = Budget(examples=1, shrink=False), known_failures("peft")


@pytest.fixture(scope="module", autouse=True)
def _children_of_our_own() -> Iterator[None]:
    """The first child dies of its first request, the next lives as long as this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "_kept", {})
        yield
        for child in worker._kept.values():
            child.close()


@pytest.fixture(scope="module")
def died(tmp_path_factory: pytest.TempPathFactory, _children_of_our_own: None) -> Cell:
    """What an item's cell is whose child died."""
    folder = tmp_path_factory.mktemp("dying")
    folder.joinpath("sitecustomize.py").write_text(DIES.format(marker=str(folder / "died")), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))
        return judge_item(Item(TRAINS.id, "llama"), ONE, ())


def test_a_child_that_dies_makes_its_item_a_broken_harness_and_the_next_item_has_a_new_one(died: Cell) -> None:
    assert died.verdict is not None
    assert died.verdict.outcome is Outcome.BROKEN
    assert "exit code 7" in next(iter(died.verdict.reasons))
    assert died.lane == ""
    again = judge_item(Item(TRAINS.id, "llama"), ONE, KNOWN)
    assert again.verdict is not None
    assert again.verdict.counts["conforms"] >= 4
    assert again.lane == "simulated devices sim:0, sim:1, sim:2"


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    monkeypatch.setattr(families, "_extra", {})
    path = tmp_path / "qwen3_of_mine.toml"
    path.write_text(MINE, "utf-8")
    return register(path)


@pytest.mark.usefixtures("died")
def test_a_family_that_does_not_come_with_the_project_reaches_the_child(mine: Family) -> None:
    cell = judge_item(Item(TRAINS.id, mine.name), ONE, KNOWN)
    assert cell.verdict is not None
    assert cell.family == "qwen3_of_mine"
    assert cell.verdict.counts["conforms"] >= 4
    case = Case(family=mine.name, roles=Roles(layers=2), placement=Placement(way="dispatched", layers=(0, 1)))
    example = run_case(TRAINS, case, confirmed=True)
    assert not isinstance(example, str)
    assert example.outcome is Outcome.CONFORMS, example


@pytest.mark.usefixtures("died")
def test_what_the_child_says_of_itself_is_a_broken_harness_in_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of an item that this process knows and the child does not."""
    unknown = Clause(id="placement.gone", statement="", explanation="", check=TRAINS.check, placed=True)
    monkeypatch.setitem(registry._clauses, unknown.id, unknown)
    item = Item("placement.gone", "llama")
    cell = judge_item(item, ONE, ())
    assert cell.word == "broken harness"
    assert "there is no clause 'placement.gone'" in cell.reasons


def test_a_process_that_was_not_started_for_placed_models_refuses_to_place_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(here.DEVICES, raising=False)
    with pytest.raises(RuntimeError, match="environment_for"):
        here.current()


def test_a_child_for_simulated_devices_sees_no_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[dict[str, str]] = []

    class Child:
        ended = False

        def __init__(self, changes: dict[str, str]) -> None:
            started.append(changes)

        def call(self, *rest: object) -> str:
            return "an answer"

    monkeypatch.setattr(worker, "Child", Child)
    monkeypatch.setattr(worker, "_kept", {})
    request = JudgeItem(item=Item("a.b", "llama"), budget=ONE)
    for devices in ("", "", "cuda:0,cuda:1"):
        assert worker.call_kept(here.environment_for(devices), "a:b", request, str) == "an answer"
    enters = {"CONFORMANCE_STARTUP": "conformance.devices.current:current"}
    assert started == [
        {"CONFORMANCE_DEVICES": "", "CUDA_VISIBLE_DEVICES": "", "HIP_VISIBLE_DEVICES": "", **enters},
        {"CONFORMANCE_DEVICES": "cuda:0,cuda:1", **enters},
    ]


def test_faults_and_clauses_are_known_here_without_any_lane() -> None:
    assert faults()["cache_comes_home"].clause in clauses()
    assert torch._C._get_privateuse1_backend_name() == "privateuseone"
