"""Neutral roles -> keyword arguments of the installed config class. Fields are found by their role, never by family.

Works for the dataclass configs of today and for the plain classes of old: what counts is which names the class accepts.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from conformance.compat.configs import rope_fields
from conformance.core.case import PAD, START, VOCABULARY, Roles
from conformance.core.signals import NotApplicable
from conformance.families.family import Family


class Field(Struct, frozen=True):
    """How config classes have taken a role.

    ``names``: what the field has been called; the first that a class accepts wins. ``also``: further fields that must agree.
    ``unsaid``: the value of a family that has no such thing, of which the class is told nothing. A class without the field
    does what is ``implied`` and cannot be told anything else, unless it takes the field all the same, ``inherited`` from the
    base class of all configs, or does without (not ``needed``: a number that such models do not have).
    """

    names: tuple[str, ...]
    also: tuple[str, ...] = ()
    unsaid: object = None
    implied: Callable[[Roles], object] = lambda roles: None
    inherited: str = ""
    needed: bool = True


FIELDS = {
    "layers": Field(("num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers")),
    "encoder_layers": Field(("encoder_layers", "num_layers"), unsaid=0),
    "heads": Field(("num_attention_heads", "n_head", "num_heads")),
    "kv_heads": Field(("num_key_value_heads", "num_kv_heads", "kv_n_heads"), implied=lambda roles: roles.heads),
    "head_dim": Field(("head_dim", "d_kv"), implied=lambda roles: roles.width // roles.heads),
    "width": Field(("hidden_size", "n_embd", "d_model"), also=("word_embed_proj_dim",)),
    "ffn": Field(("intermediate_size", "ffn_dim", "n_inner", "d_ff"), needed=False),
    "positions": Field(("max_position_embeddings", "n_positions", "max_sequence_length"), needed=False),
    "tied": Field(("tie_word_embeddings",), inherited="tie_word_embeddings"),
    "activation": Field(("hidden_act", "hidden_activation", "activation_function", "feed_forward_proj"), unsaid=""),
}
"""The fields of each role that is one number or word; windows and rotary embeddings are several."""

FIXED: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": START, "eos_token_id": None}
"""The same in every model. Without an end token, random models answer at full length."""

DROPOUT = re.compile(r".*(dropout|pdrop|dropout_rate|layerdrop)$")


def accepted(config: type) -> dict[str, Any]:
    """The field names that ``config`` accepts, with their defaults."""
    if dataclasses.is_dataclass(config):
        return {field.name: field.default for field in dataclasses.fields(config)}
    return {name: parameter.default for name, parameter in inspect.signature(config.__init__).parameters.items()}  # type: ignore[misc]


def config_fields(family: Family, roles: Roles, config: type) -> dict[str, Any]:
    """Keyword arguments that make ``config`` a tiny model with ``roles``.

    Raises :class:`~conformance.core.signals.NotApplicable` where the installed class has no field for a role that is not what
    the class would do anyway.
    """
    names = accepted(config)
    fields: dict[str, Any] = {name: 0.0 for name in names if DROPOUT.match(name)}
    fields.update((name, value) for name, value in FIXED.items() if name in names or name in _base(config))
    if family.encoder_decoder:
        fields["decoder_start_token_id"] = START
    for role in FIELDS:
        fields.update(_of_role(role, roles, names))
    fields.update(_window(names, roles))
    fields.update(rope_fields(names, roles))
    fields.update({} if family.text_config else family.fix)
    return fields


def _base(config: type) -> dict[str, Any]:
    return {name: None for parent in config.__mro__[1:-1] for name in accepted(parent)}


def _of_role(role: str, roles: Roles, names: dict[str, Any]) -> dict[str, Any]:
    field, value = FIELDS[role], getattr(roles, role)
    name = next((name for name in field.names if name in names), field.inherited)
    if value == field.unsaid:
        return {}
    if name:
        return {name: value, **{other: value for other in field.also if other in names}}
    if field.needed and value != field.implied(roles):
        raise NotApplicable(f"this version's config class has no field for {role}")
    return {}


def _window(names: dict[str, Any], roles: Roles) -> dict[str, Any]:
    if "sliding_window" not in names:
        if any(roles.sliding):
            raise NotApplicable("this version's config class has no sliding window")
        return {}
    if not any(roles.sliding):
        return {"sliding_window": None} if roles.window == 0 and "layer_types" not in names else {}
    pattern = [roles.slides(layer) for layer in range(roles.layers)]
    fields: dict[str, Any] = {"sliding_window": roles.window}
    if "layer_types" in names:
        fields["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern]
    elif not all(pattern):
        raise NotApplicable("this version's config class cannot alternate sliding and full layers")
    return fields
