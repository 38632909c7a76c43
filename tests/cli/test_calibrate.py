"""``peft-conformance calibrate``: what a CPU allows of it. The real side is made up, or labelled devices stand for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from conformance.cli import calibrate
from conformance.devices.current import environment_for
from conformance.devices.inventory import Inventory
from conformance.devices.lanes import FORCED
from conformance.worker.child import Child

Call = Callable[..., "tuple[int, str, str]"]
SIMULATED = {"cat": "first", "cat across": "mismatch", "index by cpu": "first"}


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[tuple[str, int]]]:
    """Pretend that ``names`` are there, and that probes end on them as on simulated devices, but for ``changed``."""

    def pretend(*names: str, **changed: str) -> list[tuple[str, int]]:
        asked: list[tuple[str, int]] = []

        def present(devices: str = "") -> Inventory:
            return Inventory("real", names, {}) if devices else Inventory("simulated", ("sim:0", "sim:1", "sim:2"), {})

        def outcomes(devices: str, count: int) -> dict[str, str]:
            asked.append((devices, count))
            return {**SIMULATED, **changed} if devices else SIMULATED

        monkeypatch.setattr("conformance.session.selection.inventory", present)
        monkeypatch.setattr("conformance.devices.inventory.inventory", present)
        monkeypatch.setattr(calibrate, "outcomes", outcomes)
        return asked

    return pretend


def test_where_all_probes_end_alike_it_exits_0(call: Call, gpus: Callable[..., list[tuple[str, int]]]) -> None:
    asked = gpus("cuda:0", "cuda:1")
    code, out, _ = call("calibrate", "--devices", "cuda:0,cuda:1")
    first, last = out.splitlines()
    assert (code, last) == (0, "They agree. Exit code 0.")
    assert first.startswith("calibrating simulated sim:0, sim:1 against real cuda:0, cuda:1, torch ")
    assert first.endswith("; 3 probes")
    assert asked == [("", 2), ("cuda:0,cuda:1", 2)]


def test_every_disagreement_is_listed_and_it_exits_1(call: Call, gpus: Callable[..., list[tuple[str, int]]]) -> None:
    gpus("cuda:0", "cuda:1", **{"cat across": "first"})
    code, out, _ = call("calibrate", "--devices", "cuda:0,cuda:1")
    assert code == 1
    assert out.splitlines()[1:] == [
        "  cat across  simulated: mismatch, real: first",
        "1 probe disagrees. Exit code 1.",
    ]


def test_json_is_one_calibration(call: Call, gpus: Callable[..., list[tuple[str, int]]]) -> None:
    gpus("cuda:0", "cuda:1", **{"cat": "RuntimeError", "cat across": "first"})
    code, out, _ = call("calibrate", "--devices", "cuda:0,cuda:1", "--format", "json")
    said = json.loads(out)
    assert code == 1
    assert (said["lane"], said["simulated"], said["real"]) == ("simulated", ["sim:0", "sim:1"], ["cuda:0", "cuda:1"])
    assert (said["probes"], "torch" in said["versions"]) == (3, True)
    assert said["disagreements"] == [
        {"probe": "cat", "simulated": "first", "real": "RuntimeError"},
        {"probe": "cat across", "simulated": "mismatch", "real": "first"},
    ]


def test_beside_a_single_device_the_cpu_is_the_second_of_both_pairs(
    call: Call, gpus: Callable[..., list[tuple[str, int]]]
) -> None:
    asked = gpus("cuda:0")
    _, out, _ = call("calibrate", "--devices", "cuda:0")
    assert out.startswith("calibrating simulated sim:0, cpu against real cuda:0, cpu, ")
    assert asked == [("", 1), ("cuda:0", 1)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no-real-device: no real device is named\n"),
        (("--devices", "cpu"), "no-real-device: the CPU is no device to calibrate with\n"),
        (("--devices", "quark:0"), "no-such-device: there is no device 'quark:0' here\n  cause: torch says: "),
        (("--devices", "sim:0"), "bad-device: 'sim:0' is not a device\n"),
    ],
)
def test_without_a_real_device_it_says_why_not(call: Call, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = call("calibrate", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(said)


def test_where_nothing_can_be_simulated_there_is_nothing_to_calibrate(
    call: Call, gpus: Callable[..., list[tuple[str, int]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gpus("cuda:0", "cuda:1")
    monkeypatch.setattr(
        "conformance.devices.inventory.inventory",
        lambda devices="": Inventory("offload", ("cpu",), {"labelled": "old"}),
    )
    code, _, err = call("calibrate", "--devices", "cuda:0,cuda:1")
    assert code == 2
    assert err.splitlines()[:2] == [
        "nothing-simulated: no devices can be simulated here",
        "  cause: offload: cpu; not labelled: old",
    ]


@pytest.fixture(scope="module", params=["simulated", "labelled"])
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    made = Child({**environment_for(""), FORCED: request.param})
    yield made
    made.close()


@pytest.mark.parametrize("count", [1, 2])
def test_a_process_of_its_own_says_how_every_probe_ends(child: Child, count: int) -> None:
    from conformance.devices.simulated.probes import PROBES

    ends = child.call("conformance.cli.calibrate:outcomes_here", calibrate.Probing(count), dict[str, str])
    assert set(ends) == {probe.name for probe in PROBES}
    if count > 1:
        assert ends == {probe.name: probe.expected for probe in PROBES}
    else:
        assert ends["cat across"] == "mismatch"
        assert ends["add cpu"] == "mismatch"
