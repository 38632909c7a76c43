from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import pytest
from msgspec.structs import replace

from conformance.compat import configs
from conformance.core.case import PAD, START, VOCABULARY, Roles
from conformance.core.signals import NotApplicable
from conformance.families.derive import FIELDS, accepted, config_fields
from conformance.families.family import Anatomy, Draw, Family

pytestmark = pytest.mark.light

FAMILY = Family(
    schema=1,
    name="made",
    hazard="None.",
    model="M",
    config="C",
    anatomy=Anatomy(layers="layers", positions="none"),
    fix={"flavour": "plain"},
)
ROLES = Roles(
    layers=3,
    heads=4,
    kv_heads=2,
    head_dim=4,
    width=24,
    ffn=12,
    positions=32,
    tied=True,
    activation="silu",
    rope="linear",
    rotary=50,
)
PLAIN = Roles(layers=3, heads=4, kv_heads=4, head_dim=4, width=16)


@dataclass
class Base:
    vocab_size: int = 1000
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = 2
    tie_word_embeddings: bool = False


@dataclass
class Today(Base):
    """As transformers 5 writes a config."""

    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    hidden_size: int = 4096
    intermediate_size: int = 11008
    max_position_embeddings: int = 2048
    hidden_act: str = "gelu"
    rope_parameters: dict[str, Any] | None = None
    sliding_window: int | None = 4096
    layer_types: list[str] | None = None
    attention_dropout: float = 0.1
    resid_pdrop: float = 0.1
    layerdrop: float = 0.2


class Old:
    """As transformers 4 wrote one: a plain class with a signature, under other names, and without most roles."""

    def __init__(
        self,
        n_layer: int = 12,
        n_head: int = 12,
        n_embd: int = 768,
        n_inner: int | None = None,
        n_positions: int = 1024,
        activation_function: str = "gelu_new",
        embd_pdrop: float = 0.1,
        dropout_rate: float = 0.1,
        **rest: Any,
    ) -> None:
        self.rest = rest


class OldWithWindow(Old):
    def __init__(
        self, n_layer: int = 1, n_head: int = 1, n_embd: int = 8, sliding_window: int | None = None, **rest: Any
    ) -> None:
        super().__init__(n_layer, n_head, n_embd, **rest)


class OldRotary(Old):
    def __init__(
        self,
        n_layer: int = 1,
        n_head: int = 1,
        n_embd: int = 8,
        rotary_pct: float = 1.0,
        rope_scaling: dict[str, Any] | None = None,
        **rest: Any,
    ) -> None:
        super().__init__(n_layer, n_head, n_embd, **rest)


def test_names_are_read_from_dataclasses_and_from_signatures() -> None:
    assert list(accepted(Today)) == [field.name for field in fields(Today)]
    assert set(accepted(Old)) >= {"n_layer", "n_head", "dropout_rate"}


def test_a_dataclass_config_gets_every_role_under_its_own_name() -> None:
    assert config_fields(FAMILY, ROLES, Today) == {
        "vocab_size": VOCABULARY,
        "pad_token_id": PAD,
        "bos_token_id": START,
        "eos_token_id": None,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 4,
        "hidden_size": 24,
        "intermediate_size": 12,
        "max_position_embeddings": 32,
        "tie_word_embeddings": True,
        "hidden_act": "silu",
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0, "partial_rotary_factor": 0.5},
        "attention_dropout": 0.0,
        "resid_pdrop": 0.0,
        "layerdrop": 0.0,
        "flavour": "plain",
    }
    accepted_here = {name: value for name, value in config_fields(FAMILY, ROLES, Today).items() if name != "flavour"}
    assert Today(**accepted_here).hidden_size == 24


def test_a_plain_class_config_gets_the_names_of_its_time() -> None:
    arguments = config_fields(FAMILY, replace(PLAIN, ffn=12, positions=32, activation="relu"), Old)
    assert {
        name: arguments[name]
        for name in ("n_layer", "n_head", "n_embd", "n_inner", "n_positions", "activation_function")
    } == {
        "n_layer": 3,
        "n_head": 4,
        "n_embd": 16,
        "n_inner": 12,
        "n_positions": 32,
        "activation_function": "relu",
    }
    assert (arguments["embd_pdrop"], arguments["dropout_rate"]) == (0.0, 0.0)
    assert arguments["tie_word_embeddings"] is False


@pytest.mark.parametrize(
    ("roles", "config", "words"),
    [
        (replace(PLAIN, kv_heads=2), Old, "no field for kv_heads"),
        (replace(PLAIN, head_dim=8), Old, "no field for head_dim"),
        (replace(PLAIN, rope="linear"), Old, "cannot scale rotary"),
        (replace(PLAIN, window=5, sliding=(True,)), Old, "has no sliding window"),
        (replace(PLAIN, window=5, sliding=(True, False)), OldWithWindow, "cannot alternate"),
    ],
)
def test_a_role_that_the_class_cannot_say_is_not_applicable(roles: Roles, config: type, words: str) -> None:
    with pytest.raises(NotApplicable, match=words):
        config_fields(FAMILY, roles, config)


def test_a_role_that_the_class_does_anyway_needs_no_field() -> None:
    assert "num_key_value_heads" not in config_fields(FAMILY, PLAIN, Old)


def test_rotary_embeddings_of_old_classes() -> None:
    arguments = config_fields(FAMILY, replace(PLAIN, rope="linear", rotary=25), OldRotary)
    assert arguments["rotary_pct"] == 0.25
    assert arguments["rope_scaling"] == {"rope_type": "linear", "type": "linear", "factor": 2.0}
    assert "rope_scaling" not in config_fields(FAMILY, replace(PLAIN, rope="default"), OldRotary)


@pytest.mark.parametrize(
    ("sliding", "window", "config", "expected"),
    [
        (
            (True, False),
            5,
            Today,
            {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
        ),
        ((True,), 5, OldWithWindow, {"sliding_window": 5}),
        ((), 0, OldWithWindow, {"sliding_window": None}),
        ((), 0, Today, {}),
    ],
)
def test_windows(sliding: tuple[bool, ...], window: int, config: type, expected: dict[str, Any]) -> None:
    arguments = config_fields(FAMILY, replace(PLAIN, sliding=sliding, window=window), config)
    assert {name: arguments[name] for name in ("sliding_window", "layer_types") if name in arguments} == expected


def test_an_encoder_decoder_counts_both_stacks_and_starts_its_decoder() -> None:
    @dataclass
    class Two(Base):
        num_layers: int = 6
        num_decoder_layers: int | None = None
        num_heads: int = 8
        d_model: int = 512
        d_kv: int = 64
        feed_forward_proj: str = "relu"

    family = replace(FAMILY, task="SEQ_2_SEQ_LM", draw=Draw(encoder_layers="free"))
    arguments = config_fields(family, replace(PLAIN, encoder_layers=5, activation="gated-gelu"), Two)
    wanted = {
        "num_layers": 5,
        "num_decoder_layers": 3,
        "d_kv": 4,
        "feed_forward_proj": "gated-gelu",
        "decoder_start_token_id": START,
    }
    assert {name: arguments[name] for name in wanted} == wanted


def test_every_role_is_in_the_table_or_is_told_by_several_fields() -> None:
    assert set(FIELDS) | {"rope", "rotary", "window", "sliding"} == set(Roles.__struct_fields__)


def test_a_number_that_a_class_does_not_have_is_not_needed() -> None:
    names = config_fields(FAMILY, replace(PLAIN, ffn=12, positions=32), OldWithWindow)
    assert not {"n_inner", "n_positions"} & set(names)


def test_what_agrees_with_a_role_is_set_where_the_class_has_it() -> None:
    @dataclass
    class Embedding(Today):
        word_embed_proj_dim: int = 768

    assert config_fields(FAMILY, ROLES, Embedding)["word_embed_proj_dim"] == 24
    assert "word_embed_proj_dim" not in config_fields(FAMILY, ROLES, Today)


def test_what_a_family_has_none_of_is_not_said() -> None:
    @dataclass
    class OneStack(Base):
        num_layers: int = 6
        num_attention_heads: int = 8
        hidden_size: int = 8
        hidden_act: str = "relu"

    fields_of_one = config_fields(FAMILY, PLAIN, OneStack)
    assert fields_of_one["num_layers"] == 3
    assert "hidden_act" not in fields_of_one


def test_what_a_family_of_several_parts_fixes_is_not_the_text_configs() -> None:
    assert "flavour" not in config_fields(replace(FAMILY, text_config="C"), ROLES, Today)


def test_what_a_family_fixes_wins() -> None:
    assert config_fields(replace(FAMILY, fix={"hidden_act": "relu"}), ROLES, Today)["hidden_act"] == "relu"


def test_the_first_releases_that_scale_take_a_type_and_a_factor_and_no_other_kind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(configs, "find_spec", lambda name: None)
    assert configs.rope_fields({"rope_scaling": None}, ROLES)["rope_scaling"] == {"type": "linear", "factor": 2.0}
    with pytest.raises(NotApplicable, match="llama3"):
        configs.rope_fields({"rope_scaling": None}, replace(ROLES, rope="llama3"))
