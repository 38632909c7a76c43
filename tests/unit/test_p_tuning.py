"""The arithmetic of P-tuning: what torch's own layers compute, and a network that holds given embeddings to the bit."""

from __future__ import annotations

import itertools

import pytest
import torch
from msgspec.structs import replace

from conformance.assertions.cache import CLOSE
from conformance.core.case import Case, Prefix, Roles
from conformance.core.signals import NotApplicable
from conformance.families import family_named
from conformance.families.weights import normal_numbers
from conformance.methods.method import Injected, Layout
from conformance.methods.p_tuning import P_TUNING, hidden_size
from conformance.methods.prompt_tuning import EMBEDDING
from conformance.runs.lab import Lab

CASE = Case(
    family="llama",
    method="P_TUNING",
    roles=Roles(head_dim=4, width=8, heads=2, kv_heads=2, activation="silu", rope="default"),
    prefix=Prefix(length=5, projection=6),
)
ONE_BLOCK = Layout(1, ())


def encoded(case: Case) -> Case:
    return replace(case, prefix=replace(case.prefix, content="tokens"))


def lstm(layers: int, **rest: int) -> Case:
    return replace(CASE, prefix=Prefix(**{"length": 5, "projection": 6, "lstm_layers": layers, **rest}))  # type: ignore[arg-type]


def drawn(case: Case) -> dict[str, torch.Tensor]:
    return {name: P_TUNING.draw(case, name, shape) for name, shape in P_TUNING.shapes(case, ONE_BLOCK).items()}


def by_torch(case: Case, raw: dict[str, torch.Tensor]) -> torch.Tensor:
    """The same network of torch's own layers."""
    hidden, width, layers = hidden_size(case), case.roles.width, case.prefix.lstm_layers
    rows = raw[EMBEDDING]
    sizes = [width, hidden, hidden, width]
    if layers:
        reader = torch.nn.LSTM(width, hidden, num_layers=layers, bidirectional=True, batch_first=True, dtype=rows.dtype)
        prefix = "lstm_head."
        own = {name.removeprefix(prefix): value for name, value in raw.items() if name.startswith(prefix)}
        reader.load_state_dict(own)
        rows, sizes = reader(rows[None])[0][0], [2 * hidden, 2 * hidden, width]
    linears = [torch.nn.Linear(*pair, dtype=rows.dtype) for pair in itertools.pairwise(sizes)]
    network = torch.nn.Sequential(*[part for linear in linears for part in (torch.nn.ReLU(), linear)][1:])
    network.load_state_dict({name.removeprefix("mlp_head."): v for name, v in raw.items() if "mlp_head" in name})
    return network(rows).detach()  # type: ignore[no-any-return]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", [CASE, lstm(1), lstm(2), lstm(3), lstm(2, length=1)], ids=lambda c: repr(c.prefix))
def test_rows_are_what_torchs_own_layers_compute(case: Case, dtype: torch.dtype) -> None:
    raw = {name: value.to(dtype) for name, value in drawn(case).items()}
    rows = P_TUNING.rows(raw)
    assert rows.dtype == dtype
    assert float((rows - by_torch(case, raw)).abs().max()) < (1e-5 if dtype == torch.float32 else 1e-14)


def test_the_order_of_the_virtual_tokens_matters_to_an_lstm_only() -> None:
    for case, alike in ((CASE, True), (lstm(1), False)):
        raw = drawn(case)
        turned = P_TUNING.rows(raw | {EMBEDDING: raw[EMBEDDING].flip(0)})
        assert torch.allclose(turned.flip(0), P_TUNING.rows(raw), atol=1e-5) is alike


@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("layers", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [1, 2, 3, 7, 12])
def test_a_network_holds_given_embeddings_to_the_bit(n: int, layers: int, blocks: int) -> None:
    for hidden, dtype in itertools.product((0, 1, 6), (torch.float32, torch.float64)):
        case = encoded(replace(CASE, prefix=Prefix(length=n, projection=hidden, lstm_layers=layers)))
        wanted = normal_numbers(n, "wanted", (1, n, 8)).to(dtype) / 3
        raw = P_TUNING.raw_holding(Injected(embeddings=wanted), case, Layout(blocks, ()))
        assert {name: tuple(value.shape) for name, value in raw.items()} == P_TUNING.shapes(case, Layout(blocks, ()))
        assert torch.equal(P_TUNING.rows(raw)[:n], wanted[0])


def test_a_model_of_one_number_has_no_room_for_the_place_of_a_token() -> None:
    case = encoded(replace(lstm(1), roles=replace(CASE.roles, width=1)))
    with pytest.raises(NotApplicable, match="one number"):
        P_TUNING.raw_holding(Injected(embeddings=torch.zeros(1, 5, 1)), case, ONE_BLOCK)


def test_a_text_is_held_by_a_network_with_a_unit_for_each_of_its_tokens() -> None:
    assert hidden_size(encoded(CASE)) == 6
    assert hidden_size(encoded(replace(CASE, prefix=Prefix(length=9, projection=6)))) == 9


def test_a_network_of_no_size_is_as_wide_as_the_model() -> None:
    assert hidden_size(replace(CASE, prefix=Prefix(length=5))) == 8


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("hidden", [0, 4, 6])
def test_no_virtual_token_is_lost_in_front_of_an_activation(hidden: int, layers: int) -> None:
    """Whatever is drawn: the virtual tokens differ, each has a gradient, and two right computations are close."""
    for seed, width in itertools.product(range(11), (4, 6, 8, 12, 16, 24, 32)):
        prefix = Prefix(length=9, projection=hidden, lstm_layers=layers, seed=seed)
        case = replace(CASE, roles=replace(CASE.roles, width=width), prefix=prefix)
        raw = {name: value.clone().requires_grad_() for name, value in drawn(case).items()}
        rows = P_TUNING.rows(raw)
        assert 0.1 < float(rows.detach().std(0).mean()) < 20
        exact = P_TUNING.rows({name: value.detach().double() for name, value in raw.items()})
        assert float((rows.detach() - exact).abs().max()) < CLOSE / 1.5
        (gradient,) = torch.autograd.grad(rows.pow(2).sum(), raw[EMBEDDING])
        assert bool(gradient.any(dim=1).all())


def test_drawn_numbers_are_not_changed_where_they_are_remembered() -> None:
    assert all(torch.equal(value, drawn(CASE)[name]) for name, value in drawn(CASE).items())


@pytest.mark.parametrize("maker", ["peft", "reference"])
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("family", ["llama", "t5"])
def test_the_parameters_have_the_shapes_that_are_told(maker: str, layers: int, family: str) -> None:
    case = replace(lstm(layers), family=family)
    if family_named(family).encoder_decoder:
        case = replace(case, roles=Roles(width=8, heads=2, kv_heads=2, head_dim=4, encoder_layers=1, activation="relu"))
    lab = Lab(maker)
    told = P_TUNING.shapes(case, lab.layout(case))
    assert {name: tuple(value.shape) for name, value in lab.subject(case).parameters().items()} == told
