"""A part of the space of Cases: what it pins, and what is drawn within it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from conformance.strategies.placements import Maps


class Stratum(Struct, frozen=True, kw_only=True):
    """One part of the space: what it pins. Everything it leaves at ``None`` is drawn.

    ``rows`` and ``spread`` give the batch (``spread``: no pads, some pads, all pads but one); ``length`` places the
    number of virtual tokens relative to a boundary (``below`` and ``above``: next to the window, if there is one).
    ``maps`` is for models that a device map places. With ``last`` the rarer variants that a family lists come first:
    ties, rotary embeddings, attention, encoder layers.
    """

    name: str
    rows: tuple[int, ...] = (1, 2, 3)
    spread: tuple[str, ...] = ("even", "some", "one")
    length: tuple[str, ...] = ("free", "one", "prompt", "window")
    projection: tuple[int, ...] = (0, 4, 6)
    layers: tuple[int, ...] | None = None
    kv: tuple[str, ...] = ("all", "one", "some")
    size: tuple[str, ...] = ("derived", "own")
    prompt: tuple[int, ...] = (3, 1, 2, 4, 5, 6)
    last: bool = False
    maps: Maps | None = None

    def variants(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """``values`` in the order in which this stratum tries them."""
        return values[::-1] if self.last else values
