"""What an operation gives depends on the values of its operands, not on how they lie in memory: a copy changes no bit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from conformance.devices.simulated.layout import LINE, as_copied, reads_only

Names = tuple[str, ...]
WIDTH = 18
"""Of odd multiples of a cache line's half: rows of it begin anywhere in a line."""


def numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


SLICES: dict[str, Callable[[Tensor], Tensor]] = {
    "the last row": lambda x: x[:, -1:],
    "half of each row": lambda x: x[..., 3:12],
    "every other row": lambda x: x[:, ::2],
    "turned and cut": lambda x: x.transpose(1, 2)[:, 2:9],
    "one row, many times": lambda x: x[:, :1].expand(-1, 5, -1),
    "dense, but turned": lambda x: x.transpose(1, 2),
}
OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: torch.nn.functional.linear(x, numbers(97, x.shape[-1]).to(x.device)),
    "matmul": lambda x: x @ numbers(4, x.shape[-1], 7).to(x.device),
    "weights that are cut": lambda x: numbers(4, 6, 40).to(x.device)[..., 5 : 5 + x.shape[-2]] @ x,
    "exp": torch.exp,
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
    "cos": torch.cos,
    "softmax": lambda x: x.softmax(-1),
    "mean": lambda x: x.mean(-1),
    "sum over rows": lambda x: x.sum(1),
    "layer_norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "attention": lambda x: torch.nn.functional.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None]),
}


@pytest.mark.parametrize("cut", SLICES)
@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_on_a_slice_gives_the_bits_that_it_gives_after_a_copy(backend: Names, name: str, cut: str) -> None:
    here = SLICES[cut](numbers(4, 7, WIDTH).to(backend[0]))
    there = SLICES[cut](numbers(4, 7, WIDTH).to(backend[0])).to(backend[1])
    assert torch.equal(OPERATIONS[name](here).cpu(), OPERATIONS[name](there).cpu())


def test_a_mask_that_is_named_is_laid_out_too(backend: Names) -> None:
    def attention(mask: Tensor) -> Tensor:
        x = numbers(1, 2, 5, 8).to(mask.device)
        return torch.nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask).cpu()

    mask = numbers(1, 1, 5, 9).to(backend[0])[..., 3:8]
    assert torch.equal(attention(mask), attention(mask.to(backend[1])))


def test_what_lies_as_a_copy_would_is_not_copied() -> None:
    whole, turned = numbers(4, 8), numbers(4, 8).t()
    assert as_copied(whole) is whole
    assert as_copied(turned) is turned
    assert as_copied(3) == 3


def test_what_lies_otherwise_is_copied_as_between_devices() -> None:
    begins_late, cut = numbers(3, 8)[1:, :].view(-1)[1:], numbers(4, 6, 8).transpose(0, 2)[:, :3]
    for odd in (begins_late, cut):
        copied = as_copied(odd)
        assert copied.equal(odd)
        assert copied.data_ptr() % LINE == 0
        assert copied.stride() == torch.ops.aten._to_copy.default(odd).stride()
    assert as_copied([begins_late])[0].data_ptr() % LINE == 0


@pytest.mark.parametrize(
    ("name", "answer"),
    [("mm", True), ("exp", True), ("add_.Tensor", False), ("view", False), ("transpose.int", False), ("mm.out", False)],
)
def test_views_and_what_is_written_stay_what_they_are(name: str, answer: bool) -> None:
    packet, _, overload = name.partition(".")
    assert reads_only(getattr(getattr(torch.ops.aten, packet), overload or "default")) is answer
