from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from conformance.devices.simulated.rule import DeviceMismatch

Names = tuple[str, ...]


class Chain(nn.Module):
    """Three layers that send what they get to their own device."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            weight = layer.weight
            assert isinstance(weight, Tensor)
            hidden = torch.tanh(layer(hidden.to(weight.device)))
        return hidden


@pytest.fixture
def chains(devices: Names) -> tuple[Chain, Chain]:
    """The same on the CPU, and one layer on each device."""
    torch.manual_seed(0)
    plain = Chain()
    split = copy.deepcopy(plain)
    for layer, device in zip(split.layers, devices, strict=True):
        layer.to(device)
    return plain, split


def step(chain: Chain, device: str) -> list[Tensor]:
    """The gradients of one step of AdamW, and the parameters after it."""
    optimizer = torch.optim.AdamW(chain.parameters(), lr=0.1)
    chain(torch.arange(6.0).view(2, 3).to(device)).square().mean().backward()
    found = [parameter.grad.cpu().clone() for parameter in chain.parameters() if parameter.grad is not None]
    optimizer.step()
    optimizer.zero_grad()
    return [*found, *(parameter.detach().cpu().clone() for parameter in chain.parameters())]


def test_a_step_of_training_over_three_devices_is_the_step_on_the_cpu(
    chains: tuple[Chain, Chain], devices: Names
) -> None:
    plain, split = chains
    for _ in range(2):
        got, expected = step(split, devices[0]), step(plain, "cpu")
        assert len(got) == len(expected) == 12
        for mine, its in zip(got, expected, strict=True):
            torch.testing.assert_close(mine, its, rtol=1e-6, atol=1e-6)
    assert [layer.weight.device for layer in split.layers] == [torch.device(it) for it in devices]


def test_backward_runs_in_a_thread_of_its_own(chains: tuple[Chain, Chain], backend: Names) -> None:
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(len(step(chains[1], backend[0]))))
    thread.start()
    thread.join()
    assert done == [12]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_draws_the_same_dropout_again(devices: Names, reentrant: bool) -> None:
    def gradient(device: str) -> Tensor | None:
        leaf = torch.arange(6.0).to(device).requires_grad_()
        torch.manual_seed(1)
        dropped = checkpoint(lambda it: nn.functional.dropout(it, 0.5) * it, leaf, use_reentrant=reentrant)
        assert isinstance(dropped, Tensor)
        dropped.sum().backward()
        return leaf.grad

    got, expected = gradient(devices[1]), gradient("cpu")
    assert got is not None
    assert expected is not None
    assert torch.equal(got.cpu(), expected)


def test_gradients_accumulate_where_the_leaf_lies(devices: Names) -> None:
    leaf = torch.ones(2, device=devices[0]).requires_grad_()
    for device in devices:
        (leaf.to(device) * 2).sum().backward()
    assert leaf.grad is not None
    assert (leaf.grad.device, leaf.grad.tolist()) == (torch.device(devices[0]), [6, 6])


def test_a_mismatch_inside_backward_is_raised_and_does_not_end_the_process(devices: Names) -> None:
    leaf = torch.ones(2, device=devices[0]).requires_grad_()
    with pytest.raises(DeviceMismatch):
        torch.autograd.grad([leaf.tanh()], [leaf], [torch.ones(2, device=devices[1])])
    leaf.tanh().sum().backward()
    assert leaf.grad is not None


def test_attention_and_layer_norm_have_the_gradients_of_the_cpu(devices: Names) -> None:
    def gradient(device: str) -> Tensor:
        leaf = (torch.arange(24.0).view(1, 2, 3, 4) / 9).to(device).requires_grad_()
        mixed = nn.functional.scaled_dot_product_attention(leaf, leaf.flip(-1), leaf)
        nn.functional.layer_norm(mixed, (4,)).square().mul(leaf).sum().backward()
        assert leaf.grad is not None
        return leaf.grad.cpu()

    # Not bit by bit: with gradients the simulated backend takes the kernel that is written out, the CPU its fused one.
    torch.testing.assert_close(gradient(devices[0]), gradient("cpu"), rtol=1e-4, atol=1e-4)
    assert torch.equal(gradient(devices[0]), gradient(devices[2]))


def test_without_gradients_none_are_kept(devices: Names) -> None:
    weight = torch.ones(2, 2, device=devices[0]).requires_grad_()
    with torch.no_grad():
        assert not (weight @ weight).requires_grad
        assert not nn.functional.linear(weight, weight).requires_grad
    assert nn.functional.linear(weight, weight).requires_grad
    assert nn.functional.linear(weight, weight).grad_fn is not None
    with torch.inference_mode():
        assert nn.functional.linear(weight, weight).is_inference()
