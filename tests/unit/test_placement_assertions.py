"""What a claim about a device map says where there are fewer devices than the map counts, or devices without numbers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from conformance.assertions import placement as whereabouts
from conformance.assertions.placement import (
    as_on_one_device,
    as_spelled_plainly,
    requires_places,
    requires_spellings,
)
from conformance.core.case import Case, Placement, Roles
from conformance.core.features import features
from conformance.core.relations import spelled_plainly
from conformance.core.signals import NotApplicable, RunFailed, Violation
from conformance.devices import current as where
from conformance.devices.current import Devices, on_single_device, with_local_devices
from conformance.devices.maps import places, spell
from conformance.devices.place_model import memory
from conformance.runs.trace import Trace

# As simulated ones are, but of a type that torch knows without a backend.
MANY = Devices("simulated", ("xla:0", "xla:1", "xla:2"))
LABELLED = Devices("labelled", ("cpu:0", "cpu:1", "cpu:2"))
CPU = Devices("offload", ("cpu",))
GPU = Devices("real", ("cuda:0",))
Pretend = Callable[[Devices], None]


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> Pretend:
    """Pretend that this process has other devices."""

    def pretend(found: Devices) -> None:
        monkeypatch.setattr(whereabouts, "current", lambda: found)
        monkeypatch.setattr(where, "current", lambda: found)

    return pretend


def placed(**placement: object) -> Case:
    chosen = {"way": "dispatched", "layers": (0, 1), **placement}
    return Case(family="llama", roles=Roles(layers=2), placement=Placement(**chosen))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "case"),
    [
        (MANY, placed()),
        (MANY, placed(way="auto", layers=(0,), memory=(100, 100))),
        (MANY, placed(layers=("cpu", 1), adapter="loaded")),
        (LABELLED, placed()),
        (LABELLED, placed(adapter="loaded")),
        (MANY, placed(layers=(0,), others=(0,))),
        (CPU, placed(layers=("cpu",), others=("cpu",))),
        (CPU, placed(layers=(0, "disk"))),
        (CPU, placed(way="auto", layers=(0,), memory=(60, 60))),
        (GPU, placed(layers=(0, "cpu"))),
    ],
)
def test_a_map_with_several_places_says_something(devices: Pretend, found: Devices, case: Case) -> None:
    devices(found)
    requires_places(case)


@pytest.mark.parametrize(
    ("found", "case", "why"),
    [
        (CPU, placed(), "everything is in one place, for there is only the device cpu"),
        (CPU, placed(layers=("cpu", 1)), "everything is in one place, for there is only the device cpu"),
        (CPU, placed(way="auto", layers=(0,), memory=(100, 100)), "there is only the device cpu"),
        (GPU, placed(layers=(0,), others=(0,)), "there is only the device cuda:0"),
        (GPU, placed(layers=(0, 1, 2), others=(1,)), "there is only the device cuda:0"),
        (LABELLED, placed(way="auto", layers=(0,), memory=(60, 60)), "of numbers, and cpu:0, cpu:1, cpu:2 have none"),
        (LABELLED, placed(layers=("cpu", 1), adapter="loaded"), "of numbers, and cpu:0, cpu:1, cpu:2 have none"),
    ],
)
def test_a_map_that_these_devices_cannot_have_is_not_applicable(
    devices: Pretend, found: Devices, case: Case, why: str
) -> None:
    devices(found)
    with pytest.raises(NotApplicable, match=why):
        requires_places(case)


@pytest.mark.parametrize(
    ("found", "case", "says"),
    [
        (MANY, placed(spelling="number"), True),
        (MANY, placed(layers=(1, 0), others=(1,)), True),
        (GPU, placed(spelling="number"), True),
        (GPU, placed(layers=(1, 0), others=(1,)), False),
        (LABELLED, placed(spelling="number"), False),
        (LABELLED, placed(spelling="device"), True),
        (CPU, placed(layers=(0, "disk"), spelling="device"), False),
        (CPU, placed(layers=(0, "disk"), order="reversed"), True),
        (CPU, placed(layers=(0, "disk"), merged=True), True),
    ],
)
def test_a_map_that_is_spelled_like_the_plain_one_is_not_applicable(
    devices: Pretend, found: Devices, case: Case, says: bool
) -> None:
    devices(found)
    if says:
        requires_spellings(case, spelled_plainly(case))
    else:
        with pytest.raises(NotApplicable, match="it is the same map"):
            requires_spellings(case, spelled_plainly(case))


class Answering:
    """A lab in which every map has an answer of its own, a number; ``None`` crashes. It keeps what was asked."""

    def __init__(self, answers: dict[Case, float | None]) -> None:
        self.answers, self.asked = answers, list[Case]()

    def generate(self, case: Case) -> Trace:
        self.asked.append(case)
        answer = self.answers[case]
        if answer is None:
            raise RunFailed("generate", RuntimeError("no"), "peft/peft_model.py:1 generate", refused=False)
        logits = torch.full((1, 1, 2), answer)
        return Trace(case, torch.zeros(1, 1, dtype=torch.long), logits, lambda: 0.0, layer_devices=("xla:0", "xla:1"))


@pytest.mark.parametrize(
    ("otherwise", "one", "plain", "runs", "violates"),
    [
        (1.0, 1.0, None, 2, False),  # as on one device: the plain spelling need not run
        (2.0, 1.0, 2.0, 3, False),  # wrong under both spellings: no matter of spelling
        (2.0, 1.0, 1.0, 3, True),
        (1.0, None, 1.0, 3, False),
        (2.0, None, 1.0, 3, True),
    ],
)
def test_a_spelling_is_held_against_the_plain_one_where_it_answers_otherwise_than_one_device(
    devices: Pretend, otherwise: float, one: float | None, plain: float | None, runs: int, violates: bool
) -> None:
    devices(MANY)
    case = placed(spelling="number")
    lab = Answering({case: otherwise, on_single_device(case): one, spelled_plainly(case): plain})
    with pytest.raises(Violation) if violates else nullcontext():
        as_spelled_plainly(lab, case, spelled_plainly(case), "it answers otherwise")  # type: ignore[arg-type]
    assert len(lab.asked) == runs


def test_a_map_under_which_it_crashes_is_held_against_nothing(devices: Pretend) -> None:
    devices(MANY)
    case = placed()
    lab = Answering({case: None})
    with pytest.raises(RunFailed):
        as_on_one_device(lab, case, "it answers otherwise")  # type: ignore[arg-type]
    assert lab.asked == [case]


def test_numbers_go_round_the_devices_that_there_are() -> None:
    assert [spell(number, "name", GPU.names) for number in (0, 1, 2)] == ["cuda:0"] * 3
    assert [spell(number, "number", ("cuda:3", "cuda:1")) for number in (0, 1, 2)] == [3, 1, 3]
    assert places(Placement(way="dispatched", layers=(0, 1), others=("disk", 2)), 1, MANY.names) == {
        "xla:0",
        "disk",
        "xla:2",
    }


def test_what_is_called_cpu_has_no_number() -> None:
    assert spell(1, "number", LABELLED.names) == "cpu:1"
    assert spell(1, "device", LABELLED.names) == torch.device("cpu:1")
    assert {spell(1, spelling, CPU.names) for spelling in ("name", "number", "device")} == {"cpu"}


def test_memory_is_that_of_the_devices_that_there_are() -> None:
    model = nn.Linear(25, 10, bias=False)  # 1000 bytes
    assert memory(model, (60, 40), MANY.names) == {0: 600, 1: 400, "cpu": 4000}
    assert memory(model, (60, 60, 60), ("cuda:3", "cuda:1")) == {3: 600, 1: 600, "cpu": 4000}
    assert memory(model, (60, 60, 60), CPU.names) == {"cpu": 600}


def test_alone_is_on_the_first_device_and_on_a_cpu_without_a_map(devices: Pretend) -> None:
    devices(GPU)
    assert on_single_device(placed()).placement == Placement(way="dispatched")
    devices(CPU)
    assert not on_single_device(placed()).placed
    devices(LABELLED)
    assert on_single_device(placed()).placed


def test_features_are_those_of_the_map_as_it_is_here(devices: Pretend) -> None:
    case = placed(layers=(0, "disk"))
    devices(MANY)
    assert with_local_devices(case) == case
    devices(CPU)
    assert with_local_devices(case).placement == Placement(way="dispatched", layers=("cpu", "disk"), others=("cpu",))
    assert "no_device" in features(with_local_devices(case))
    assert with_local_devices(Case(family="llama")) == Case(family="llama")
