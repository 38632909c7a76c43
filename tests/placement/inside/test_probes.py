from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from conformance.cli.calibrate import Disagreement, disagreements
from conformance.devices.simulated import rule
from conformance.devices.simulated.probes import PROBES, Pair, Probe, outcome

Names = tuple[str, ...]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_probe_ends_as_on_cuda(devices: Names, probe: Probe) -> None:
    assert outcome(probe, devices[:2]) == probe.expected
    assert outcome(probe, devices[1:]) == probe.expected


OF_GRADIENTS = ("gradient from both", "hook of a moved parameter")
"""What inference mode does not have."""


@pytest.mark.parametrize("probe", [it for it in PROBES if it.name not in OF_GRADIENTS], ids=lambda probe: probe.name)
def test_a_probe_ends_the_same_under_inference_mode(devices: Names, probe: Probe) -> None:
    with torch.inference_mode():
        assert outcome(probe, devices[:2]) == probe.expected


def leaves(found: Any) -> list[torch.Tensor]:
    if isinstance(found, (tuple, list)):
        return [leaf for item in found for leaf in leaves(item)]
    return [found.cpu() if isinstance(found, torch.Tensor) else torch.tensor(found)]


TAKEN_APART = "lstm"
"""What is not computed by the CPU's own kernel, which adds up in another order."""


@pytest.mark.parametrize(
    "probe",
    [it for it in PROBES if it.expected in ("first", "second", "cpu", "float") and it.name != TAKEN_APART],
    ids=lambda probe: probe.name,
)
def test_what_runs_gives_the_numbers_of_the_cpu_bit_by_bit(devices: Names, probe: Probe) -> None:
    got, expected = (leaves(probe.run(Pair(*pair))) for pair in (devices[:2], ("cpu", "cpu")))
    assert len(got) == len(expected)
    assert all(torch.equal(mine, its) for mine, its in zip(got, expected, strict=True))


def ends(probes: Sequence[Probe], devices: Sequence[str]) -> dict[str, str]:
    return {probe.name: outcome(probe, devices) for probe in probes}


def test_two_pairs_with_the_same_rule_do_not_disagree(devices: Names) -> None:
    assert disagreements(ends(PROBES, devices[:2]), ends(PROBES, devices[1:])) == ()


def test_a_wrong_rule_shows_as_a_disagreement(devices: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    probes = [it for it in PROBES if it.name in ("cat across", "cat", "add cpu")]
    right = {probe.name: outcome(probe, devices[:2]) for probe in probes}
    cat = torch.ops.aten.cat.default
    monkeypatch.setattr(rule, "law_of", lambda overload: rule.MOVES if overload is cat else rule.SCALAR)

    def remembered(probe: Probe) -> Any:
        if right[probe.name] == "mismatch":
            raise RuntimeError("Expected all tensors to be on the same device")
        return torch.zeros(1)

    calibrated = [
        Probe(it.name, "", lambda on, it=it: remembered(it) if on.first == "cpu" else it.run(on))  # type: ignore[misc]
        for it in probes
    ]
    wrong = disagreements(ends(calibrated, devices[:2]), ends(calibrated, ("cpu", "meta")))
    assert Disagreement("cat across", "first", "mismatch") in wrong
    assert "add cpu" not in {it.probe for it in wrong}


def test_a_device_that_the_pair_lacks_is_named(devices: Names) -> None:
    probe = Probe("elsewhere", "", lambda on: torch.zeros(1, device="meta"))
    assert outcome(probe, devices[:2]) == "meta"


def test_what_is_taken_apart_gives_the_numbers_of_the_cpu(devices: Names) -> None:
    (probe,) = (it for it in PROBES if it.name == TAKEN_APART)
    got, expected = (probe.run(Pair(*pair)) for pair in (devices[:2], ("cpu", "cpu")))
    assert torch.allclose(got.cpu(), expected, rtol=1e-6)
