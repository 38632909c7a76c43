"""A family of another repository is judged like a shipped one, in the fresh process too."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import families
from conformance.clauses import clauses
from conformance.core.case import Case, Row
from conformance.core.errors import UserError
from conformance.core.finding import Difference, Finding
from conformance.core.outcome import Blame, How, Outcome
from conformance.engine.search import Budget, judge
from conformance.families import family_named, register
from conformance.report.finding import repeat
from conformance.runs.lab import Lab

QWEN3 = """
schema = 1
name = "qwen3_of_mine"
hazard = "Queries and keys are normalised, head by head."
model = "transformers.models.qwen3.modeling_qwen3:Qwen3ForCausalLM"
config = "Qwen3Config"

[anatomy]
layers = "model.layers"
positions = "rotary"

[draw]
grouped = true
own_head_dim = true
activation = ["silu"]
rope = ["default"]
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(families, "_extra", {})
    path = tmp_path / "qwen3_of_mine.toml"
    path.write_text(QWEN3, "utf-8")
    return register(path).name


@pytest.mark.parametrize("id", ["equivalence.step_logits", "lifecycle.saved_and_loaded", "injection.faithful"])
@pytest.mark.parametrize("maker", ["peft", "reference"])
def test_it_conforms(mine: str, id: str, maker: str) -> None:
    cell = judge(clauses()[id], family_named(mine), Budget(examples=1), (), Lab(maker))
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.CONFORMS, cell.verdict


def test_the_line_that_repeats_says_that_it_needs_the_file(mine: str) -> None:
    finding = Finding(
        clause="masks.row_order",
        statement="",
        family=mine,
        case=Case(family=mine, rows=(Row(), Row())),
        features=(),
        how=How.WRONG,
        difference=Difference(what="", got="", expected=""),
        blame=Blame.PEFT,
        versions={},
    )
    assert repeat(finding).endswith(f" --family-file {mine}.toml")


def test_the_name_of_a_shipped_family_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "llama.toml"
    path.write_text(QWEN3.replace("qwen3_of_mine", "llama"), "utf-8")
    with pytest.raises(UserError, match="taken-family"):
        register(path)
