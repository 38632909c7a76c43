"""A part of the space of Cases: what it pins, and what is drawn within it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from conformance.strategies.placements import Maps


Drawer = Callable[[Any], Any]
"""What Hypothesis gives to a composite strategy: it draws from another one."""


class Stratum(Struct, frozen=True, kw_only=True):
    """One part of the space: what it pins. Everything it leaves at ``None`` is drawn.

    ``rows`` and ``padding`` give the batch (``padding``: no pads, some pads, all pads but one); ``prefix_length`` places the
    number of virtual tokens relative to a boundary (``below`` and ``above``: next to the window, if there is one).
    ``maps`` is for models that a device map places. With ``rare_first`` the rarer variants that a family lists come first:
    ties, rotary embeddings, attention, encoder layers.
    """

    name: str
    rows: tuple[int, ...] = (1, 2, 3)
    padding: tuple[str, ...] = ("even", "some", "one")
    prefix_length: tuple[str, ...] = ("free", "one", "prompt", "window")
    projection: tuple[int, ...] = (0, 4, 6)
    layers: tuple[int, ...] | None = None
    kv: tuple[str, ...] = ("all", "one", "some")
    head_size: tuple[str, ...] = ("derived", "own")
    prompt: tuple[int, ...] = (3, 1, 2, 4, 5, 6)
    rare_first: bool = False
    maps: Maps | None = None

    def variants(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """``values`` in the order in which this stratum tries them."""
        return values[::-1] if self.rare_first else values
