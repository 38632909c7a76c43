"""What a Case and its parts are made of: records that hold plain data, are never changed, and are equal if they say the same."""

from __future__ import annotations

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, repr_omit_defaults=True):
    """Base of a Case and its parts: frozen, unknown keys refused, defaults left out of repr and JSON."""
