"""Neutral roles -> keyword arguments of the installed config class. Fields are found by their role, never by family.

Works for the dataclass configs of today and for the plain classes of old: what counts is which names the class accepts.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from conformance.compat.configs import rope_fields
from conformance.core.case import PAD, START, VOCABULARY, Roles
from conformance.core.signals import NotApplicable
from conformance.families.family import Family

FIELDS: dict[str, tuple[str, ...]] = {
    "layers": ("num_decoder_layers", "num_hidden_layers", "n_layer", "num_layers"),
    "encoder_layers": ("encoder_layers", "num_layers"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "kv_n_heads"),
    "head_dim": ("head_dim", "d_kv"),
    "width": ("hidden_size", "n_embd", "d_model"),
    "ffn": ("intermediate_size", "ffn_dim", "n_inner", "d_ff"),
    "positions": ("max_position_embeddings", "n_positions", "max_sequence_length"),
    "tied": ("tie_word_embeddings",),
    "activation": ("hidden_act", "hidden_activation", "activation_function", "feed_forward_proj"),
}
"""For each role the names it has had, the first accepted one wins."""

ALSO: dict[str, tuple[str, ...]] = {"width": ("word_embed_proj_dim",)}
"""Further fields that have to agree with a role wherever the class accepts them."""

FIXED: dict[str, Any] = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "bos_token_id": START, "eos_token_id": None}
"""The same in every model. Without an end token, random models answer at full length."""

DROPOUT = re.compile(r".*(dropout|pdrop|dropout_rate|layerdrop)$")


def accepted(config: type) -> dict[str, Any]:
    """The field names that ``config`` accepts, with their defaults."""
    if dataclasses.is_dataclass(config):
        return {found.name: found.default for found in dataclasses.fields(config)}
    return {name: found.default for name, found in inspect.signature(config.__init__).parameters.items()}  # type: ignore[misc]


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
    for role, known in FIELDS.items():
        _set(fields, names, role, known, roles)
    fields.update(_window(names, roles))
    fields.update(rope_fields(names, roles))
    fields.update(family.fix)
    return fields


def _base(config: type) -> dict[str, Any]:
    return {name: None for parent in config.__mro__[1:-1] for name in accepted(parent)}


def _set(fields: dict[str, Any], names: dict[str, Any], role: str, known: tuple[str, ...], roles: Roles) -> None:
    value = getattr(roles, role)
    field = next((name for name in known if name in names), None)
    if (role == "encoder_layers" and not value) or (role == "activation" and not value):
        return
    if field is not None:
        fields[field] = value
        fields.update((name, value) for name in ALSO.get(role, ()) if name in names)
    elif role in ("tied", "positions", "ffn"):
        # Inherited from the base class of all configs, or a number that the family does not have.
        fields.update({known[0]: value} if role == "tied" else {})
    elif value != _implied(role, roles):
        raise NotApplicable(f"this version's config class has no field for {role}")


def _implied(role: str, roles: Roles) -> int | None:
    """What a class without a field for ``role`` does."""
    return {"kv_heads": roles.heads, "head_dim": roles.width // roles.heads}.get(role)


def _window(names: dict[str, Any], roles: Roles) -> dict[str, Any]:
    if "sliding_window" not in names:
        if any(roles.sliding):
            raise NotApplicable("this version's config class has no sliding window")
        return {}
    if not any(roles.sliding):
        return {"sliding_window": None} if roles.window == 0 and "layer_types" not in names else {}
    pattern = [roles.sliding[i % len(roles.sliding)] for i in range(roles.layers)]
    fields: dict[str, Any] = {"sliding_window": roles.window}
    if "layer_types" in names:
        fields["layer_types"] = ["sliding_attention" if slides else "full_attention" for slides in pattern]
    elif not all(pattern):
        raise NotApplicable("this version's config class cannot alternate sliding and full layers")
    return fields
