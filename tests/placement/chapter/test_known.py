"""What a Case of a placed model takes to be explained."""

from __future__ import annotations

from conformance.clauses.registry import clause_named
from conformance.core.case import Case, Placement, Prefix, Roles
from conformance.engine.explain import seen
from conformance.engine.known import load, shipped
from conformance.runs.lab import Lab


def test_weights_wait_under_an_automatic_map_too() -> None:
    """The map names no place to wait at: whether there is one, transformers says."""
    case = Case(
        family="llama",
        roles=Roles(layers=3, width=4, tied=True, activation="silu", rope="default"),
        prefix=Prefix(length=6),
        new_tokens=1,
        placement=Placement(way="auto", memory=(60,), adapter="loaded"),
    )
    example = seen(clause_named("placement.cache_follows_layer"), Lab("peft"), case, load(shipped()))
    assert set(example.known) == {"map-keys-above-the-layers", "old-map-after-loading", "map-without-a-device"}
