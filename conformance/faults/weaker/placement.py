"""Checks of placed models, each under fewer device maps than a clause, or of fewer things."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from conformance.assertions.logits import agree
from conformance.assertions.placement import as_on_one_device
from conformance.core import relations
from conformance.core.case import Case
from conformance.devices.current import on_single_device
from conformance.runs.lab import Lab

OTHERWISE = "generate answers otherwise under the device map"


def same_answers(lab: Lab, case: Case) -> None:
    """The answers are those on one device; nobody looks where the cache is, or what moves."""
    as_on_one_device(lab, relations.first_steps(case), OTHERWISE)


def as_with_one_device(lab: Lab, case: Case) -> None:
    """The answers are those on one device, which nobody compares with the model as it was."""
    case = relations.first_steps(case)
    agree(lab.generate(case), lab.generate(on_single_device(case)), OTHERWISE)


def unprojected(lab: Lab, case: Case) -> None:
    """The answers are those on one device, without a projection."""
    same_answers(lab, replace(case, prefix=replace(case.prefix, projection=0)))


def two_devices(lab: Lab, case: Case) -> None:
    """The answers are those on one device, with two devices, as most test machines have."""
    # A map that is made by itself takes all devices that there are.
    if not case.placement.automatic and case.placement.adapter == "made":
        same_answers(lab, _renamed(case, {2: 0}))


def nothing_away(lab: Lab, case: Case) -> None:
    """The answers are those on one device, where a map by hand has all weights on devices."""
    maps_by_hand(lab, _renamed(case, {"cpu": 0, "disk": 1}))


def adapter_made(lab: Lab, case: Case) -> None:
    """The answers are those on one device, with an adapter that was made on the placed model."""
    same_answers(lab, _placed(case, adapter="made"))


def maps_by_hand(lab: Lab, case: Case) -> None:
    """The answers are those on one device, under maps that somebody wrote."""
    if not case.placement.automatic:
        same_answers(lab, case)


def in_the_models_order(lab: Lab, case: Case) -> None:
    """However devices are spelled, the answers are those on one device; the map is in the model's order, and nothing waits."""
    same_answers(lab, _placed(relations.nothing_waits(case), order="model"))


def keys_of_their_own(lab: Lab, case: Case) -> None:
    """The answers are those on one device, under maps by hand with a key for each layer."""
    maps_by_hand(lab, _placed(case, merged=False))


def training_forward(lab: Lab, case: Case) -> None:
    """The training forward's logits and loss are those on one device; nobody looks at the gradient."""
    case = relations.first_steps(case)
    one = on_single_device(case)
    tokens = lab.generate(one).tokens
    agree(lab.forward(case, tokens=tokens), lab.forward(one, tokens=tokens))


def _placed(case: Case, **changes: Any) -> Case:
    placement: Any = replace(case.placement, **changes)
    return replace(case, placement=placement)


def _renamed(case: Case, names: dict[Any, int]) -> Case:
    """The same map with the devices in ``names`` replaced."""
    layers, others = (
        tuple(names.get(device, device) for device in devices)
        for devices in (case.placement.layers, case.placement.others)
    )
    return _placed(case, layers=layers, others=others)
