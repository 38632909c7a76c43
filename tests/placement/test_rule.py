"""The device rule by itself: no tensor here lies anywhere but on the CPU or on meta."""

from __future__ import annotations

import pytest
import torch

from conformance.devices.simulated.rule import DeviceMismatch, Operand, common_device, is_mismatch, operands_of

aten = torch.ops.aten
CPU, ZERO, ONE = torch.device("cpu"), torch.device("cuda", 0), torch.device("cuda", 1)


def on(*places: tuple[str, torch.device, int]) -> list[Operand]:
    return [Operand(*place) for place in places]


def test_operands_on_one_device_run_there() -> None:
    assert common_device(aten.mm.default, on(("self", ONE, 2), ("mat2", ONE, 2))) == ONE


def test_without_operands_no_device_is_named() -> None:
    assert common_device(aten.zeros.default, []) is None


def test_the_sentence_is_the_one_of_torch() -> None:
    with pytest.raises(DeviceMismatch) as caught:
        common_device(aten.cat.default, on(("tensors", ZERO, 2), ("tensors", ONE, 2)))
    sentence = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cuda:1!"
    assert str(caught.value).startswith(sentence)
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("overload", [aten.add.Tensor, aten.maximum.default, aten.gt.Tensor, aten.mse_loss.default])
def test_a_pointwise_operation_takes_a_number_that_lies_on_the_cpu(overload: torch._ops.OpOverload) -> None:
    assert common_device(overload, on(("self", CPU, 0), ("other", ONE, 2))) == ONE
    assert common_device(overload, on(("self", ONE, 2), ("other", CPU, 0))) == ONE


@pytest.mark.parametrize("dim", [1, 2])
def test_a_pointwise_operation_takes_nothing_larger_from_the_cpu(dim: int) -> None:
    with pytest.raises(DeviceMismatch, match="cuda:0 and cpu"):
        common_device(aten.add.Tensor, on(("self", ZERO, 2), ("other", CPU, dim)))


def test_a_pointwise_operation_takes_no_number_of_another_device() -> None:
    with pytest.raises(DeviceMismatch):
        common_device(aten.add.Tensor, on(("self", ZERO, 2), ("other", ONE, 0)))


def test_only_one_number_may_lie_on_the_cpu() -> None:
    operands = on(("self", ZERO, 2), ("tensor1", CPU, 0), ("tensor2", CPU, 0))
    with pytest.raises(DeviceMismatch):
        common_device(aten.addcmul.default, operands)


def test_what_is_written_must_lie_on_the_common_device() -> None:
    operands = [Operand("self", CPU, 0, written=True), Operand("other", ZERO, 0)]
    with pytest.raises(DeviceMismatch, match="cuda:0 and cpu"):
        common_device(aten.add_.Tensor, operands)


@pytest.mark.parametrize("overload", [aten.mm.default, aten.cat.default, aten.embedding.default, aten.gather.default])
def test_other_kernels_take_not_even_a_number_from_the_cpu(overload: torch._ops.OpOverload) -> None:
    with pytest.raises(DeviceMismatch):
        common_device(overload, on(("self", ZERO, 2), ("other", CPU, 0)))


def test_copies_cross_devices() -> None:
    assert common_device(aten.copy_.default, on(("self", ZERO, 2), ("src", ONE, 2))) == ZERO


def test_indices_may_lie_on_the_cpu_but_not_on_another_device() -> None:
    assert common_device(aten.index.Tensor, on(("self", ONE, 2), ("indices", CPU, 1))) == ONE
    for place, indices in ((ZERO, ONE), (CPU, ONE)):
        with pytest.raises(DeviceMismatch, match=rf"indices should be either on cpu .* indexed tensor \({place}\)"):
            common_device(aten.index.Tensor, on(("self", place, 2), ("indices", indices, 1)))


def test_a_single_value_is_fetched_from_anywhere() -> None:
    put = aten.index_put_.default
    assert common_device(put, on(("self", ZERO, 2), ("indices", ZERO, 1), ("values", ONE, 0))) == ZERO
    with pytest.raises(DeviceMismatch):
        common_device(put, on(("self", ZERO, 2), ("indices", ZERO, 1), ("values", ONE, 1)))
    assert common_device(aten.masked_fill.Tensor, on(("self", ZERO, 2), ("mask", ZERO, 2), ("value", ONE, 0))) == ZERO


def test_a_mask_elsewhere_is_told_in_the_words_of_masked_fill() -> None:
    with pytest.raises(DeviceMismatch, match="got mask on cpu and self on cuda:0"):
        common_device(aten.masked_fill.Scalar, on(("self", ZERO, 2), ("mask", CPU, 2)))
    with pytest.raises(DeviceMismatch, match="got mask on cuda:0 and self on cpu"):
        common_device(aten.masked_fill.Scalar, on(("self", CPU, 2), ("mask", ZERO, 2)))


def test_where_moves_every_number() -> None:
    assert common_device(aten.where.self, on(("condition", ZERO, 2), ("self", CPU, 0), ("other", CPU, 0))) == ZERO


def test_clamp_takes_no_number_from_the_cpu() -> None:
    with pytest.raises(DeviceMismatch):
        common_device(aten.clamp.Tensor, on(("self", ZERO, 2), ("min", CPU, 0)))


def test_operands_are_found_in_lists_and_among_keywords_with_what_is_written() -> None:
    a, b = torch.zeros(2), torch.zeros((), device="meta")
    found = operands_of(aten.index_put_.default, (a, [None, b], a), {})
    assert found == [
        Operand("self", a.device, 1, written=True),
        Operand("indices", b.device, 0),
        Operand("values", a.device, 1),
    ]
    assert operands_of(aten.add.out, (a, 1), {"out": b})[-1] == Operand("out", b.device, 0, written=True)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!", True),
        ("Expected all tensors to be on the same device, but got index is on cpu, different from other tensors", True),
        ("expected self and mask to be on the same device, but got mask on cpu and self on cuda:0", True),
        ("Input and parameter tensors are not at the same device, found input tensor at cuda:0", True),
        ("indices should be either on cpu or on the same device as the indexed tensor (cuda:0)", True),
        ("Expected query, key, and value to have the same device type, but got query.device: cuda:0", True),
        ("The size of tensor a (2) must match the size of tensor b (3) at non-singleton dimension 0", False),
    ],
)
def test_a_mismatch_of_any_backend_is_known_by_its_first_clause(sentence: str, expected: bool) -> None:
    assert is_mismatch(RuntimeError(sentence)) is expected
    assert not is_mismatch(TypeError(sentence))
