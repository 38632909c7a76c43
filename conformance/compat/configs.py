"""How releases of transformers spell the parts of a config that were renamed or moved."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from conformance.core.case import Roles
from conformance.core.signals import NotApplicable

THETA = 10000.0
SCALED: dict[str, dict[str, Any]] = {
    "default": {},
    "linear": {"factor": 2.0},
    "llama3": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}
"""The kinds of rotary embedding and their parameters."""


def rope_fields(names: dict[str, Any], roles: Roles) -> dict[str, Any]:
    """The config fields for ``roles.rope`` and ``roles.rotary``, given the ``names`` that the config class accepts.

    ``rope_parameters`` holds everything since transformers 5; before, ``rope_theta``, ``rope_scaling`` and ``rotary_pct``.
    """
    if not roles.rope:
        return {}
    share = roles.rotary / 100
    if "rope_parameters" in names:
        parameters = {"rope_type": roles.rope, "rope_theta": THETA, **SCALED[roles.rope]}
        return {"rope_parameters": parameters | ({"partial_rotary_factor": share} if roles.rotary else {})}
    fields: dict[str, Any] = {"rotary_pct": share} if roles.rotary else {}
    if roles.rope != "default":
        if "rope_scaling" not in names:
            raise NotApplicable("this version's config class cannot scale rotary embeddings")
        fields["rope_scaling"] = _scaling(roles.rope)
    return fields


def _scaling(rope: str) -> dict[str, Any]:
    """The dictionary of ``rope_scaling``. At first it held a type and a factor, and nothing else was accepted."""
    if find_spec("transformers.modeling_rope_utils"):
        return {"rope_type": rope, "type": rope, **SCALED[rope]}
    if set(SCALED[rope]) != {"factor"}:
        raise NotApplicable(f"this version knows no rotary embeddings of the kind {rope}")
    return {"type": rope, **SCALED[rope]}
