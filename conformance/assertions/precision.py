"""Assertions on what is computed in another precision than float32: of what dtype it is, and how far rounding may lead."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.assertions.cache import CLOSE
from conformance.assertions.gradients import gradients, predicted_gradients
from conformance.assertions.logits import agree, agree_on_tokens, spread_of
from conformance.core.relations import in_double, in_single, without_prefix
from conformance.core.signals import NotApplicable, Undecided, violation
from conformance.methods import method_named
from conformance.oracles.table import handmade_cache, handmade_loop
from conformance.runs.tolerance import ERROR_FACTOR, ERROR_FLOOR

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case
    from conformance.methods.method import Injected
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace

SINGLE, DOUBLE = 2.0**-23, 2.0**-52
"""The distance from 1 to the next number, in float32 and in float64."""


def held_in_its_dtype(
    lab: Lab, case: Case, seen: Trace, call: str, *, exactly: bool = True, injected: Injected | None = None
) -> None:
    """The virtual tokens that the first forward is given are of the Case's dtype, and hold what the parameters make of them.

    These are ``injected``, or made of the parameters that the Case says.

    They are rounded once: to the bit, or, where a network computes them in its parameters' dtype, by one last bit at most, since
    its sums may have another order. Where that network itself was rounded they are not ``exactly`` known.
    """
    import torch

    injected = injected or lab.injected(case)
    for index, (layer, (keys, values)) in enumerate(zip(seen.forwards[0].cache, injected.cache, strict=False)):
        _holds(layer.keys, keys, f"keys of layer {index} at the first forward of {call}", case, exactly)
        _holds(layer.values, values, f"values of layer {index} at the first forward of {call}", case, exactly)
    if injected.embeddings is not None:
        rows = torch.cat([injected.of(row).embeddings for row in case.rows])  # type: ignore[misc]
        read = None if seen.embeddings is None else seen.embeddings[:, : rows.shape[1]]
        _holds(read, rows, f"embeddings of the virtual tokens at the first forward of {call}", case, exactly)


def loaded_and_converted(lab: Lab, case: Case) -> Trace:
    """As an adapter made on the model are one that was saved in float32 and loaded, and one converted with the model.

    Gives what generate answers on the converted model.
    """
    loaded = lab.generate_on(lab.loaded_from(case, in_single(case)), case)
    held_in_its_dtype(lab, case, loaded, "generate, loaded")
    converted = lab.generate_on(lab.converted(case), case)
    exactly = method_named(case.method).keeps_rows(case)
    held_in_its_dtype(lab, case, converted, "generate, converted", exactly=exactly)
    return converted


def loaded_from_single(lab: Lab, case: Case) -> None:
    """Saved in float32, and loaded onto a base model in the wider dtype of ``case``, virtual tokens are what they were."""
    single, method = in_single(case), method_named(case.method)
    got = lab.generate_on(lab.loaded_from(case, single), case)
    injected = lab.injected_rows(case, method.rows(lab.raw(single)))
    # What a network computes may differ in float32's last bits from what it computes here.
    exactly = method.keeps_rows(case)
    held_in_its_dtype(lab, case, got, "generate, loaded from float32", exactly=exactly, injected=injected)
    agree(got, lab.predict_with(injected, case, got.tokens), "loaded from float32, generate answers otherwise")


def loaded_from_double(lab: Lab, case: Case) -> None:
    """Saved in float64, and loaded onto a base model in the dtype of ``case``, virtual tokens are rounded once, or not at all."""
    with lab.saved(lab.converted(in_double(case))) as folder:
        got = lab.generate_on(lab.loaded(case, folder), case)
    held_in_its_dtype(lab, case, got, "generate, loaded from float64")
    expected = lab.predict(case, handmade_cache, tokens=got.tokens)
    agree(got, expected, "loaded from float64, generate answers otherwise")


def _holds(stored: Tensor | None, made: Tensor, what: str, case: Case, exactly: bool) -> None:
    """What is ``stored`` ``(rows, ..., tokens, size)`` is the last part of what was ``made``, in every row."""
    if stored is None:
        raise violation(what, "nothing", f"{made.shape[-2]} virtual tokens")
    if stored.dtype != made.dtype:
        raise violation(f"dtype of the {what}", str(stored.dtype), str(made.dtype))
    expected = made[..., made.shape[-2] - stored.shape[-2] :, :].expand(stored.shape[0], *made.shape[1:-2], -1, -1)
    if stored.shape != expected.shape:
        raise violation(f"shape of the {what}", tuple(stored.shape), tuple(expected.shape))
    # Written so that a NaN is apart.
    apart = ~((stored.double() - expected.double()).abs() <= _last_bits(expected, case))
    if exactly and apart.any():
        place = apart.nonzero()[0].tolist()
        raise violation(
            f"{what}, at {place}", float(stored[tuple(place)]), float(expected[tuple(place)]), row=int(place[0])
        )


def _last_bits(expected: Tensor, case: Case) -> Tensor:
    """How far each number may be from ``expected``: not at all, or, where it is computed, by one last bit and by its sums."""
    import torch

    if method_named(case.method).keeps_rows(case):
        return torch.zeros_like(expected, dtype=torch.float64)
    exact = expected.double().abs()
    sums = CLOSE * (DOUBLE / SINGLE if expected.dtype == torch.float64 else 1.0) * exact.max()
    return torch.finfo(expected.dtype).eps * exact + sums


def right_up_to_rounding(lab: Lab, case: Case, got: Trace, what: str, *, own: bool = False) -> None:
    """The logits are those of the manual forward in float32, or in the Case's ``own`` precision, up to rounding.

    The error is ten times the difference of these two. Virtual tokens that weigh less could as well be missing, so that the
    claim says nothing of such a Case: the manual forward decides that, whoever is judged.
    """
    exact = lab.predict(in_single(case), handmade_cache, tokens=got.tokens)
    if case.prefix.length:
        bare = lab.predict(without_prefix(in_single(case)), handmade_cache, tokens=got.tokens)
        if _apart(exact, bare) <= (got.error() or 0.0):
            raise NotApplicable("the virtual tokens change no more than rounding does in this precision")
    expected = lab.predict(case, handmade_cache, tokens=got.tokens) if own else exact
    try:
        agree(got, expected, what)
    except Undecided:
        _right_in_float32(lab, in_single(case), got)
        raise
    if got.sequences is not None:
        agree_on_tokens(got, expected)


def _right_in_float32(lab: Lab, case: Case, rounded: Trace) -> None:
    """What is too close to decide in half precision may be wrong in float32 already, whose error is far smaller."""
    generated = rounded.sequences is not None
    got = lab.generate(case) if generated else lab.forward(case, rounded.tokens)
    expected = lab.predict(case, handmade_cache, tokens=got.tokens)
    agree(got, expected, f"{'generate' if generated else 'forward'} answers otherwise in float32 already")


def right_in_double(lab: Lab, case: Case, got: Trace, what: str) -> None:
    """The logits are those of the manual forward at float64's own error: ten times what two right computations differ by."""
    expected = lab.predict(case, handmade_cache, tokens=got.tokens)
    floor = ERROR_FLOOR * DOUBLE / SINGLE
    apart = _apart(expected, lab.predict(case, handmade_loop, tokens=got.tokens))
    error = max(ERROR_FACTOR * apart, floor * spread_of(expected))
    agree(replace(got, error=lambda: error), expected, what, floor)


def _apart(one: Trace, other: Trace) -> float:
    return float((one.logits.double() - other.logits.double()).abs().max())


def learns_in_its_dtype(lab: Lab, case: Case, tokens: Tensor, subject: Subject) -> Trace:
    """The training path on ``subject``: loss and gradients are numbers.

    A parameter whose gradient is not zero by the manual forward in the same precision, up to rounding, has one that is not zero.
    """
    if not subject.learning():
        return lab.forward_on(subject, case, tokens)
    seen, got = gradients(lab, case, tokens, subject)
    if any(method_named(case.method).counted_labels(case, row) for row in range(len(case.rows))):
        finite = seen.loss is not None and math.isfinite(seen.loss)
        _number(finite, "the loss of a training batch", seen.loss)
    expected = predicted_gradients(lab, case, tokens)
    for name in subject.learning():
        what = f"gradient of the adapter's {name}"
        if expected[name].isfinite().all():
            _number(bool(got[name].isfinite().all()), what, "NaN or infinities")
        if not got[name].any() and expected[name].any():
            largest = float(expected[name].abs().max())
            if largest > _rounding(lab, case, tokens, expected):
                raise violation(what, "exactly 0", f"as by the manual forward, up to {largest:.3g}")
    return seen


def _rounding(lab: Lab, case: Case, tokens: Tensor, rounded: dict[str, Tensor]) -> float:
    """What may be mere rounding in a gradient of this precision: ten times what any differs by from the one in float32.

    Of any parameter: a norm all but forgets how long an embedding is, so that the gradient of a factor of it is a sum of large
    terms that cancel, and rounded like these.
    """
    exact = predicted_gradients(lab, in_single(case), tokens)
    apart = (
        float((value.double() - exact[name].double()).abs().max()) for name, value in rounded.items() if value.numel()
    )
    return ERROR_FACTOR * max(apart, default=0.0)


def _number(holds: bool, what: str, got: object) -> None:
    if not holds:
        raise violation(what, got, "a number")
