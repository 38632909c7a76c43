"""How clauses look at a placed model: the same answers as on one device, caches at home, few transfers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from conformance.assertions.gradients import close_gradients, trained
from conformance.assertions.logits import agree, identical
from conformance.assertions.training import same_loss
from conformance.core.relations import unplaced, without_prefix
from conformance.core.signals import BaseFails, NotApplicable, RunFailed, Undecided, Violation, violation
from conformance.devices.current import current, on_single_device
from conformance.devices.maps import numbered, places, spell

if TYPE_CHECKING:
    from conformance.core.case import Case, Placement
    from conformance.runs.lab import Lab
    from conformance.runs.trace import Trace

T = TypeVar("T")
WHOLE = 100
"""In percent, a share of memory that holds the whole model."""
FEW = 4
"""Tensors that a step may move into the whole model and out of it, beyond what the base model moves there: tokens, a mask,
positions or what an encoder read, and logits.
"""


def requires_numbers(case: Case) -> None:
    """The claim says nothing where a map is made by itself, which takes devices that have numbers, and there are none here."""
    names, placement = current().names, case.placement
    # PEFT makes a new map when it loads an adapter onto weights that wait.
    remade = placement.automatic or (placement.adapter == "loaded" and _waits(case))
    if remade and len(names) > 1 and not numbered(names):
        raise NotApplicable(f"a map is made by itself, of numbers, and {', '.join(names)} have none")


def _waits(case: Case) -> bool:
    return bool({"cpu", "disk"} & set(case.placement.named))


def requires_places(case: Case) -> None:
    """The claim says nothing where a map over several places has, over the devices that there are here, only one."""
    requires_numbers(case)
    names, placement, waits = current().names, case.placement, _waits(case)
    if placement.automatic:
        one = len(names) == 1 and placement.memory[0] >= WHOLE
    else:
        meant = {*placement.of_layers(case.roles.layers), *placement.others}
        second = len(meant) > 1 or (len(names) == 1 and not waits)
        one = second and len(places(placement, case.roles.layers, names)) == 1
    if one:
        raise NotApplicable(f"everything is in one place, for there is only the device {names[0]}")


def requires_spellings(case: Case, plain: Case) -> None:
    """The claim says nothing where the map is the same map, for the devices that there are here have one spelling."""
    requires_numbers(case)
    if _spelled(case.placement) == _spelled(plain.placement):
        raise NotApplicable(f"it is the same map, for there is one way to spell {', '.join(current().names)}")


def _spelled(placement: Placement) -> tuple[object, ...]:
    called = tuple(spell(device, placement.spelling, current().names) for device in placement.named)
    return (*called, placement.order, placement.merged)


def on_one_device_too(lab: Lab, case: Case) -> Trace:
    """Generate with the whole model on one device, which answers as without any device map. A device is a device."""
    one = lab.generate(on_single_device(case))
    if case.beams == 1:
        with suppress(RunFailed):  # what runs on a device only has nothing to be compared with
            agree(
                one, lab.generate(unplaced(case)), "generate answers otherwise on one device than without a device map"
            )
    return one


def as_on_one_device(lab: Lab, case: Case, what: str) -> None:
    """Generate answers as with the whole model on one device."""
    requires_places(case)
    # First, since a crash here is all that the rest would be held against.
    got = lab.generate(case)
    same_answer(got, on_one_device_too(lab, case), what)


def as_spelled_plainly(lab: Lab, case: Case, plain: Case, what: str) -> None:
    """Generate answers as under the map that is spelled ``plain``.

    On one device it answers as that map must, as another clause claims of it; who agrees with that needs no further run.
    """
    got = lab.generate(case)
    with suppress(RunFailed, Violation, Undecided):
        same_answer(got, lab.generate(on_single_device(case)), what)
        return
    same_answer(got, lab.generate(plain), what)


def same_answer(got: Trace, expected: Trace, what: str) -> None:
    """To the bit on simulated devices, whose operations see values only; else within the error.

    Elsewhere a kernel's last bits depend on how its operands lie in memory, which a copy between devices changes, and on the
    device; :mod:`conformance.devices.simulated.layout` says how.
    """
    if _keeps_bits(got) and _keeps_bits(expected):
        identical(got, expected, what)
    elif got.case.beams == 1:
        agree(got, expected, what)
    elif not got.tokens.equal(expected.tokens):
        raise Undecided("last bits may differ between the two maps, and then beams may differ")


def _keeps_bits(run: Trace) -> bool:
    """Whether all layers computed on devices that keep bits: the CPU does not, where a map may leave them all."""
    return current().keeps_bits and run.case.placed and "cpu" not in run.layer_devices


def base_under(lab: Lab, case: Case) -> Trace:
    """The base model without a prefix, where its parts really are.

    Loading an adapter may place a model anew: then it is the model inside that says what this costs.
    """
    bare = without_prefix(case)
    if case.placement.adapter == "made" or not case.prefix.length:
        return lab.generate(bare)
    key = ("inside", case)
    return lab.once(key, lambda: lab.generate_on(lab.subject(case).bare(), bare))


def caches_follow_layers(got: Trace) -> None:
    """Before every forward, and in the end, each layer's keys and values are where the layer computes."""
    for step, layers in enumerate([*(forward.cache for forward in got.forwards), got.final]):
        for index, (layer, home) in enumerate(zip(layers, got.layer_devices, strict=False)):
            if layer.length and any(where != home for where in layer.devices):
                raise violation(
                    f"where keys and values of layer {index} are", ", ".join(layer.devices), home, step=step
                )


def transfers_bounded(lab: Lab, got: Trace) -> None:
    """No step moves more tensors than the base model's step, :data:`FEW`, and a mask to each layer, the first also the prefix.

    Without virtual tokens, and without pads, the base model does without masks; a mask is moved to each layer that is elsewhere.
    """
    if not current().counted:
        return  # nothing counts what crosses between real devices
    layers = len(got.layer_devices)
    beyond = [FEW + layers + (2 * layers if step == 0 else 0) for step in range(len(got.forwards))]
    if all(mine.transfers <= most for mine, most in zip(got.forwards, beyond, strict=True)):
        return  # whatever the base model moves
    try:
        base = base_under(lab, got.case)
    except RunFailed as failed:
        raise BaseFails(f"the base model fails under this map: {failed.words}") from failed
    for step, (mine, its, more) in enumerate(zip(got.forwards, base.forwards, beyond, strict=False)):
        if mine.transfers > its.transfers + more:
            raise violation(
                "tensors moved between devices", mine.transfers, f"at most {its.transfers + more}", step=step
            )


def trains_as_on_one_device(lab: Lab, case: Case) -> None:
    """The training forward's logits and loss, and the gradient of every raw parameter of the adapter."""
    requires_places(case)
    one_device, tokens = on_single_device(case), lab.some_tokens(case)
    got, learnt = trained(lab, case, tokens)
    one, expected = trained(lab, one_device, tokens)
    same_answer(got, one, "the training forward answers otherwise under the device map")
    same_loss(got, one)
    close_gradients(learnt, expected, "on one device")
