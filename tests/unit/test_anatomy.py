"""A family file that says the model is otherwise than it is would turn clauses off; it is refused instead."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from conformance.clauses import clauses
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.engine import search as engine
from conformance.families import Family, anatomy, families, family_named
from conformance.families.build import build
from conformance.session import held
from conformance.session import judge as bench
from conformance.strategies import STRATA


def first(name: str) -> Case:
    return engine.drawn(name, STRATA[1], 1, 0)[0]


@pytest.mark.parametrize("name", families())
def test_the_shipped_files_are_right(name: str) -> None:
    case = first(name)
    anatomy.check(build(case), family_named(name), case.roles.layers)


@pytest.mark.parametrize(
    ("name", "said", "words"),
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
def test_what_the_built_model_contradicts_is_refused(name: str, said: dict[str, str], words: str) -> None:
    kind = family_named(name)
    wrong: Family = replace(kind, anatomy=replace(kind.anatomy, **said))
    case = first(name)
    with pytest.raises(UserError, match="contradictory-family") as refused:
        anatomy.check(build(case), wrong, case.roles.layers)
    assert words in refused.value.message


def test_its_items_are_a_broken_harness_that_says_what_to_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise UserError("contradictory-family", "llama.toml: wrong", "because", "mend [anatomy]")

    monkeypatch.setattr(anatomy, "check", refuse)
    build.__globals__["_copies"].cache_clear()
    held._held.clear()
    cell = bench.judge(clauses()["decoding.repeatable"], family_named("llama"), engine.Budget(examples=1), ())
    assert cell.word == "broken harness"
    assert "cure:  mend [anatomy]" in str(cell)
    assert "Traceback" not in str(cell)
