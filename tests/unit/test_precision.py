"""Other precisions: how large the numbers in virtual tokens are, what is measured, and what is asserted of dtypes."""

from __future__ import annotations

from dataclasses import replace as changed
from typing import Any

import pytest
import torch
from msgspec.structs import replace

from conformance.assertions.precision import held_in_its_dtype, right_in_double, right_up_to_rounding
from conformance.core.case import Case, Prefix, Roles
from conformance.core.relations import in_double, in_dtype, in_single, under_autocast, with_scale
from conformance.core.signals import NotApplicable, Undecided, Violation
from conformance.faults.detection import in_force
from conformance.faults.registry import fault_named
from conformance.methods import METHODS, method_named
from conformance.methods.method import SCALES
from conformance.runs.lab import Lab

ROLES = Roles(layers=2, heads=2, kv_heads=2, width=16, activation="silu", rope="default")
CASE = Case(family="llama", roles=ROLES, prefix=Prefix(length=3, seed=4), new_tokens=3, seed=1)
PROJECTED = replace(CASE, prefix=replace(CASE.prefix, projection=4))


@pytest.mark.parametrize("scale", ["large", "small"])
@pytest.mark.parametrize("name", METHODS)
def test_rows_grow_with_the_scale(name: str, scale: Any) -> None:
    prefix = Prefix(length=3, projection=4, lstm_layers=1, frozen=1, tasks=2, rank=2, seed=7)
    case = in_double(replace(CASE, method=name, prefix=method_named(name).meant(prefix)))
    plain, scaled = (_rows(one) for one in (case, with_scale(case, scale)))
    # Deltas that have a radius, the second half of the rows, are not made larger: they would be cut.
    grown = len(plain) // 2 if "radii" in method_named(name).varied and scale == "large" else len(plain)
    torch.testing.assert_close(scaled[:grown], plain[:grown] * SCALES[scale], rtol=1e-12, atol=0.0)
    assert torch.equal(scaled[grown:], plain[grown:])
    assert not torch.equal(scaled.float().double(), scaled), "float32 has to round it"


def _rows(case: Case) -> torch.Tensor:
    method = method_named(case.method)
    raw = {name: method.value(case, name, shape) for name, shape in method.shapes(case, method.layout(case)).items()}
    return method.rows({name: value.double() for name, value in raw.items()})


def test_what_is_drawn_stays_as_it_was() -> None:
    method, shape = method_named("PREFIX_TUNING"), (3, 64)
    drawn = method.draw(CASE, "embedding.weight", shape)
    assert torch.equal(method.value(CASE, "embedding.weight", shape), drawn)
    assert method.value(with_scale(CASE, "small"), "embedding.weight", shape).dtype is torch.float32


@pytest.mark.parametrize("case", [in_dtype(CASE, "bfloat16"), in_dtype(CASE, "float16"), under_autocast(CASE)])
def test_the_error_of_half_precision_is_measured_against_float32(case: Case) -> None:
    lab = Lab("reference")
    got = lab.generate(case)
    error, single = got.error(), lab.generate(in_single(case)).error()
    assert error is not None
    assert single is not None
    assert error > 100 * single, "the half precisions have 13 bits less, or 16"
    right_up_to_rounding(lab, case, got, "it differs")
    with pytest.raises(Violation, match="it differs"):
        right_up_to_rounding(lab, case, changed(got, logits=got.logits + 11 * error), "it differs")
    with pytest.raises(Undecided):
        right_up_to_rounding(lab, case, changed(got, logits=got.logits + 3 * error), "it differs")


def test_what_is_too_close_in_half_precision_is_asked_for_in_float32() -> None:
    case = under_autocast(CASE)
    with in_force(fault_named("contents_ignored")) as planted:
        got, error = planted.lab.generate(case), Lab("reference").generate(case).error()
        assert error is not None
        close = changed(got, logits=Lab("reference").generate(case).logits + 3 * error)
        with pytest.raises(Violation, match="generate answers otherwise in float32 already"):
            right_up_to_rounding(planted.lab, case, close, "it differs")


def test_virtual_tokens_that_weigh_less_than_rounding_say_nothing() -> None:
    lab, case = Lab("reference"), in_dtype(CASE, "bfloat16")
    got = changed(lab.generate(case), error=lambda: 1e6)
    with pytest.raises(NotApplicable, match="no more than rounding"):
        right_up_to_rounding(lab, case, got, "it differs")


@pytest.mark.parametrize("case", [CASE, PROJECTED], ids=["held", "computed"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_what_is_held_is_of_the_dtype_and_rounded_once(case: Case, dtype: Any) -> None:
    lab, own = Lab("reference"), with_scale(in_dtype(case, dtype), "large")
    got = lab.generate(own)
    held_in_its_dtype(lab, own, got, "generate")
    keys = got.forwards[0].cache[0].keys
    assert keys is not None
    assert keys.dtype is getattr(torch, dtype)
    for spoilt, words in (
        (keys.float(), "dtype of the keys of layer 0"),
        (keys * (1 + 3 * torch.finfo(keys.dtype).eps), "keys of layer 0"),
        (keys[..., :-1], "shape of the keys of layer 0"),
        (keys * float("nan"), "keys of layer 0"),
    ):
        with pytest.raises(Violation, match=words):
            held_in_its_dtype(lab, own, _with_keys(got, spoilt), "generate")


def _with_keys(trace: Any, keys: torch.Tensor) -> Any:
    first, *others = trace.forwards
    layers = (first.cache[0]._replace(keys=keys), *first.cache[1:])
    return changed(trace, forwards=(changed(first, cache=layers), *others))


@pytest.mark.parametrize("method", ["PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING"])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_embeddings_are_seen_where_they_are_read_first(family: str, method: str) -> None:
    roles = replace(ROLES, encoder_layers=2, activation="relu", rope="") if family == "t5" else ROLES
    case = in_dtype(replace(CASE, family=family, method=method, roles=roles), "float16")
    lab = Lab("reference")
    got = lab.generate(case)
    held_in_its_dtype(lab, case, got, "generate")
    assert got.embeddings is not None
    with pytest.raises(Violation, match="dtype of the embeddings"):
        held_in_its_dtype(lab, case, changed(got, embeddings=got.embeddings.float()), "generate")
    with pytest.raises(Violation, match="embeddings of the virtual tokens"):
        held_in_its_dtype(lab, case, changed(got, embeddings=None), "generate")


@pytest.mark.parametrize(("off", "right"), [(1e-15, True), (1e-8, False)])
def test_float64_is_right_to_its_own_last_bits(off: float, right: bool) -> None:
    lab, case = Lab("reference"), with_scale(in_double(CASE), "small")
    got = lab.forward_on(lab.converted(case), case, lab.some_tokens(case))
    near = changed(got, logits=got.logits + off)
    if right:
        right_in_double(lab, case, near, "it differs")
        return
    with pytest.raises(Violation, match="it differs"):
        right_in_double(lab, case, near, "it differs")


@pytest.mark.parametrize("maker", ["reference", "peft"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_a_converted_model_is_in_one_dtype(maker: str, dtype: Any) -> None:
    case = in_dtype(CASE, dtype)
    subject = Lab(maker).converted(case)
    held = [*subject.base.parameters(), *subject.parameters().values()]
    assert {one.dtype for one in held} == {getattr(torch, dtype)}
