"""A family file that says the model is otherwise than it is would turn clauses off; it is refused instead."""

from __future__ import annotations

import pytest
import torch
from msgspec.structs import replace
from torch import Tensor, nn

from conformance.core.case import Case, Row
from conformance.core.errors import UserError
from conformance.core.finding import Item
from conformance.engine import witness
from conformance.engine.search import Budget, drawn
from conformance.families import Family, family_named, flagships
from conformance.families.anatomy import check_anatomy, position_hooks
from conformance.families.build import build
from conformance.families.inputs import request
from conformance.session import judge as session
from conformance.strategies import strata


def first(name: str) -> Case:
    return drawn(name, list(strata(family_named(name), 1, 0))[1], 0)


@pytest.mark.parametrize("name", flagships())
def test_the_shipped_files_are_right(name: str) -> None:
    case = first(name)
    check_anatomy(build(case), family_named(name), case.roles.layers)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("llama", {"layers": "model.blocks"}, "anatomy.layers is 'model.blocks', and LlamaForCausalLM has no such"),
        ("llama", {"layers": "model.norm"}, "does not hold the 3 layers"),
        ("llama", {"positions": "none"}, "anatomy.positions is 'none', and there is 'model.rotary_emb'"),
        ("gpt2", {"positions": "none"}, "anatomy.positions is 'none', and there is 'transformer.wpe'"),
        ("opt", {"positions": "none"}, "there is 'model.decoder.embed_positions'"),
        ("bloom", {"positions": "rotary"}, "there is no module 'rotary_emb'"),
        ("gpt2", {"table": "transformer.positions"}, "anatomy.table is 'transformer.positions', and there is no such"),
    ],
)
def test_what_the_built_model_contradicts_is_refused(name: str, changes: dict[str, str], words: str) -> None:
    family = family_named(name)
    wrong: Family = replace(family, anatomy=replace(family.anatomy, **changes))
    case = first(name)
    with pytest.raises(UserError, match="contradictory-family") as refused:
        check_anatomy(build(case), wrong, case.roles.layers)
    assert words in refused.value.message


def test_its_items_are_a_broken_harness_that_says_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise UserError("contradictory-family", "llama.toml: wrong", "because", "mend [anatomy]")

    monkeypatch.setitem(build.__globals__, "check_anatomy", refuse)
    build.__globals__["_copies"].cache_clear()
    session._current.clear()
    # Here, in place of a child, which has no patch; and without a witness, which would stay for the tests that follow.
    monkeypatch.setattr(witness, "start", lambda: None)
    monkeypatch.setattr(session, "_in_child", lambda clause, function, request, *rest: session.judge_here(request))
    cell = session.judge_item(Item("decoding.repeatable", "llama"), Budget(examples=1), ())
    assert cell.word == "broken harness"
    assert "cure:  mend [anatomy]" in str(cell)
    assert "Traceback" not in str(cell)


def test_a_child_that_judges_a_contradictory_family_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # No patch of this process reaches the child: the wrong file itself is sent there.
    family = family_named("llama")
    wrong = replace(family, name="wrong_llama", anatomy=replace(family.anatomy, layers="model.blocks"))
    monkeypatch.setattr(session, "foreign", lambda name: wrong)
    cell = session.judge_item(Item("decoding.repeatable", "wrong_llama"), Budget(examples=1), ())
    assert cell.word == "broken harness"
    assert "contradictory-family" in str(cell)
    assert "cure:" in str(cell)
    assert "Traceback" not in str(cell)


@pytest.mark.parametrize(
    ("name", "positions"),
    [
        ("llama", [[0, 1, 2]]),  # the same for all rows, pads counted
        ("gpt2", [[0, 1, 2]]),
        ("idefics", [[1, 1, 0], [0, 1, 2]]),
        ("opt", [[-1, -1, 0], [0, 1, 2]]),
        ("bloom", None),
        ("t5", None),
    ],
)
def test_positions_are_seen_where_the_family_file_says(name: str, positions: list[list[int]] | None) -> None:
    case = Case(family=name, roles=first(name).roles, rows=(Row(length=1), Row(length=3)))
    family, model, seen = family_named(name), build(case), list[Tensor]()
    hooks = position_hooks(model, family, seen.append)
    decoder = {"decoder_input_ids": torch.ones(2, 1, dtype=torch.long)} if family.encoder_decoder else {}
    model(**request(case, family), **decoder)
    assert [shown.tolist() for shown in seen[:1]] == ([] if positions is None else [positions])
    assert bool(hooks) == (positions is not None)


class Angles(nn.Module):
    def forward(self, x: Tensor, position_ids: Tensor) -> Tensor:
        return x


class TwoParts(nn.Module):
    """A vision tower and a decoder that both rotate."""

    def __init__(self) -> None:
        super().__init__()
        self.vision = nn.ModuleDict({"rotary_emb": Angles()})
        self.text = nn.ModuleDict({"layers": nn.ModuleList(), "rotary_emb": Angles()})

    def forward(self, x: Tensor) -> None:
        self.vision["rotary_emb"](x, torch.tensor([[7]]))
        self.text["rotary_emb"](x, position_ids=torch.tensor([[1, 2]]))


def test_of_two_modules_that_rotate_the_one_beside_the_layers_is_seen() -> None:
    seen: list[Tensor] = []
    anatomy = replace(family_named("llama").anatomy, layers="text.layers")
    model = TwoParts()
    position_hooks(model, replace(family_named("llama"), anatomy=anatomy), seen.append)
    model(torch.zeros(1, 2))
    assert [positions.tolist() for positions in seen] == [[[1, 2]]]
