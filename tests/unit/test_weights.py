from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from conformance.families.weights import counters, near, neutral, normal_numbers, redraw

SETTINGS = settings(deadline=None, derandomize=True, database=None)
names = st.sampled_from(("wte.weight", "layers.0.mlp.weight", "prefix/embedding.weight"))


def test_the_numbers_never_change() -> None:
    """Golden: a Case must give the same model on every machine and in every release."""
    assert counters(0, "w", 4).tolist() == [3895980825, 3202862760, 3372786548, 3258344060]
    assert counters(7, "layers.1.weight", 3).tolist() == [3784358, 1509130992, 2549257756]
    assert normal_numbers(0, "w", (2, 4)).tolist() == [[-0.5, 3.0, -1.5, -0.25], [-2.0, 1.0, -0.25, 0.25]]


@given(st.integers(0, 99), names, st.integers(0, 40), st.integers(0, 40))
@SETTINGS
def test_a_number_depends_on_its_index_only_whatever_the_size(seed: int, name: str, small: int, more: int) -> None:
    assert torch.equal(normal_numbers(seed, name, (small + more,))[:small], normal_numbers(seed, name, (small,)))
    assert torch.equal(normal_numbers(seed, name, (small, 3)).flatten(), normal_numbers(seed, name, (small * 3,)))


@given(st.integers(0, 99), names)
@SETTINGS
def test_the_numbers_are_dyadic_and_exact_in_every_dtype(seed: int, name: str) -> None:
    drawn = normal_numbers(seed, name, (257,)) * near(5**-0.5)
    for dtype in (torch.bfloat16, torch.float16, torch.float64):
        assert torch.equal(drawn.to(dtype).float(), drawn)
    assert torch.equal((drawn * 8).round(), drawn * 8)


def test_the_numbers_look_like_a_normal_distribution() -> None:
    drawn = torch.cat([normal_numbers(seed, "w", (4096,)) for seed in range(4)])
    assert abs(float(drawn.mean())) < 0.03
    assert 1.05 < float(drawn.std()) < 1.25
    assert float(drawn.abs().max()) == 3.5
    one, other = normal_numbers(0, "w", (4096,)), normal_numbers(0, "v", (4096,))
    assert abs(float((one * other).mean())) < 0.06


def test_counters_are_32_bit_and_all_different() -> None:
    numbers = counters(3, "w", 1 << 14)
    assert int(numbers.min()) >= 0
    assert int(numbers.max()) < 1 << 32
    assert len(numbers.unique()) == 1 << 14


@pytest.mark.parametrize(("scale", "power"), [(1.0, 1.0), (0.3, 0.25), (8**-0.5, 0.25), (3.0, 4.0)])
def test_near_is_a_power_of_two(scale: float, power: float) -> None:
    assert near(scale) == power


@pytest.mark.parametrize(
    "name", ["model.layers.0.w", "layers.0.w", "model.language_model.layers.0.w", "transformer.layers.0.w"]
)
def test_containers_do_not_change_a_parameter(name: str) -> None:
    assert neutral(name) == "layers.0.w"


class Conv1D(nn.Module):
    """As GPT-2 has it: the weight stands ``(in, out)``."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(into, out)), nn.Parameter(torch.zeros(out))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 4)
        self.norm = nn.LayerNorm(4)
        self.up = nn.Linear(4, 64)
        self.conv = Conv1D(64, 4)
        self.gate = nn.Parameter(torch.zeros(1))
        self.head = nn.Linear(4, 11, bias=False)
        self.head.weight = self.embed.weight


@pytest.fixture
def tiny() -> Tiny:
    model = Tiny()
    redraw(model, seed=5)
    return model


def test_tied_parameters_are_drawn_once_as_the_embedding(tiny: Tiny) -> None:
    assert tiny.head.weight is tiny.embed.weight
    assert torch.equal(tiny.embed.weight, normal_numbers(5, "embed.weight", (11, 4)))


def test_zero_gates_are_opened(tiny: Tiny) -> None:
    assert torch.equal(tiny.gate, normal_numbers(5, "gate", (1,)) / 8)
    assert bool((tiny.gate != 0).all())


def test_vectors_keep_their_constant_and_matrices_get_the_scale_of_their_input(tiny: Tiny) -> None:
    assert torch.equal(tiny.norm.weight, 1 + normal_numbers(5, "norm.weight", (4,)) / 8)
    assert torch.equal(tiny.up.bias, normal_numbers(5, "up.bias", (64,)) / 8)
    assert torch.equal(tiny.up.weight, normal_numbers(5, "up.weight", (64, 4)) / 2)
    assert torch.equal(tiny.conv.weight, normal_numbers(5, "conv.weight", (64, 4)) / 8)


def test_the_seed_changes_every_parameter_and_the_same_seed_none() -> None:
    one, same, other = Tiny(), Tiny(), Tiny()
    for model, seed in ((one, 5), (same, 5), (other, 6)):
        redraw(model, seed)
    for name, parameter in one.named_parameters():
        assert torch.equal(parameter, same.get_parameter(name))
        assert not torch.equal(parameter, other.get_parameter(name)), name
