"""How large a Case would be, by arithmetic, before anything of it is built: every field may be small and their product not."""

from __future__ import annotations

from conformance.core.case import VOCABULARY, Case

MOST = 30_000_000
"""So many numbers a Case may need at once, a thousand times the largest that is drawn; as float64, and in the ten copies that
the clauses make of it, some 2 GB."""


def too_large(case: Case) -> str:
    """Why ``case`` is not built; nothing for one of a reasonable size."""
    needed = numbers_needed(case)
    return f"it needs {needed:,} numbers at once, more than the {MOST:,} that are allowed" if needed > MOST else ""


def numbers_needed(case: Case) -> int:
    """About how many numbers the base model, the adapter, the cache and one forward's intermediate results are."""
    return _parameters(case) + _adapter(case) + _cache(case) + _intermediate(case)


def _parameters(case: Case) -> int:
    roles = case.roles
    attention = 2 * roles.width * roles.head_dim * (roles.heads + roles.kv_heads)
    layer = attention + 3 * roles.width * roles.ffn
    # A decoder's layer that looks at an encoder has a second attention.
    layers = (roles.layers + roles.encoder_layers) * layer + (roles.layers * attention if roles.encoder_layers else 0)
    return layers + 2 * (VOCABULARY + roles.positions) * roles.width


def _adapter(case: Case) -> int:
    roles, prefix = case.roles, case.prefix
    rows = 2 * roles.layers * roles.kv_heads * roles.head_dim
    hidden = prefix.projection or roles.width
    # Two directions with four gates each, which read the layer below, and themselves.
    lstm = prefix.lstm_layers * 8 * hidden * (2 * hidden + hidden + roles.width)
    return prefix.projection * (roles.width + rows) + lstm + prefix.length * rows


def _cache(case: Case) -> int:
    roles = case.roles
    return _sequences(case) * _width(case) * 2 * roles.layers * roles.heads * roles.head_dim


def _intermediate(case: Case) -> int:
    roles, width = case.roles, _width(case)
    return _sequences(case) * width * (roles.heads * width + roles.ffn + 4 * roles.width + VOCABULARY)


def _sequences(case: Case) -> int:
    return len(case.rows) * case.beams


def _width(case: Case) -> int:
    return case.prefix.length + case.longest + case.new_tokens
