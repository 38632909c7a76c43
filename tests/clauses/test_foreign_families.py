"""A family of another repository is judged like a shipped one, in the fresh process too, and inherits known failures."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance import families
from conformance.core.case import Case, Row
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Difference, Finding, Item
from conformance.core.outcome import Blame, How, Outcome
from conformance.engine import known
from conformance.engine.known import KnownFailure
from conformance.engine.search import Budget, judge
from conformance.families import folder, inputs, register
from conformance.families.traits import traits
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
ANOTHER_KIND = Path(__file__).parent / "another_kind"
KNOWN = known.load(known.shipped())


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(families, "_extra", {})


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "qwen3_of_mine.toml"
    path.write_text(QWEN3, "utf-8")
    return register(path).name


@pytest.fixture
def pictured(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A family whose kind of input is a file that has been added to those of the package."""
    monkeypatch.setattr(inputs, "__path__", [*inputs.__path__, str(ANOTHER_KIND)])
    yield register(ANOTHER_KIND / "llava_of_mine.toml").name
    sys.modules.pop(f"{inputs.__name__}.llava", None)


def copied(tmp_path: Path, name: str) -> str:
    """The shipped family ``name`` under another one, as a repository with a model like it would have."""
    text = (folder() / f"{name}.toml").read_text("utf-8")
    path = tmp_path / f"{name}_of_mine.toml"
    path.write_text(text.replace(f'name = "{name}"', f'name = "{name}_of_mine"'), "utf-8")
    return register(path).name


def judged(
    id: str, family: str, maker: str = "peft", entries: tuple[KnownFailure, ...] = (), examples: int = 1
) -> Cell:
    return judge(Item(id, family), Budget(examples=examples, shrink=False), entries, Lab(maker))


@pytest.mark.parametrize("id", ["equivalence.step_logits", "lifecycle.saved_and_loaded", "injection.faithful"])
@pytest.mark.parametrize("maker", ["peft", "reference"])
def test_it_conforms(mine: str, id: str, maker: str) -> None:
    cell = judged(id, mine, maker)
    assert cell.verdict is not None
    assert cell.verdict.outcome is Outcome.CONFORMS, cell.verdict


@pytest.mark.parametrize(
    ("name", "id", "entry"),
    [
        ("qwen2", "equivalence.forward_agrees_with_generate", "training-counts-pads"),
        ("qwen2", "masks.training_rows_alone", "training-counts-pads"),
        ("mistral", "masks.rows_alone", "pads-use-up-the-window"),
        ("t5", "equivalence.step_logits", "encoder-decoder-head-size"),
        ("t5", "injection.every_parameter_matters", "encoder-decoder-layers-share-rows"),
    ],
)
def test_what_a_model_of_the_same_traits_is_known_for_is_known_of_it(
    tmp_path: Path, name: str, id: str, entry: str
) -> None:
    """Nothing is edited: no entry has heard of the family."""
    family = copied(tmp_path, name)
    assert traits(Case(family=family)) == traits(Case(family=name))
    cell = judged(id, family, entries=KNOWN)
    assert cell.word == "known", cell
    assert cell.verdict is not None
    assert entry in cell.verdict.known


@pytest.mark.parametrize("name", ["idefics", "opt"])
def test_what_a_model_of_other_traits_is_known_for_is_not_known_of_it(tmp_path: Path, name: str) -> None:
    """These find positions from the mask."""
    cell = judged("equivalence.forward_agrees_with_generate", copied(tmp_path, name), entries=KNOWN)
    assert cell.word == "conforms", cell


@pytest.mark.parametrize(
    "id",
    ["equivalence.step_logits", "equivalence.greedy_tokens", "injection.faithful", "masks.rows_alone"],
)
@pytest.mark.parametrize("maker", ["peft", "reference"])
def test_another_kind_of_image_is_two_files(pictured: str, id: str, maker: str) -> None:
    cell = judged(id, pictured, maker)
    assert cell.word == "conforms", cell
    assert traits(Case(family=pictured)) == {"rotary", "counts_pads", "with_images", "several_stacks"}


def test_another_kind_of_image_inherits_what_is_known_of_its_decoder(pictured: str) -> None:
    cell = judged("equivalence.forward_agrees_with_generate", pictured, entries=KNOWN)
    assert cell.word == "known", cell


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
