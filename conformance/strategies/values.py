"""The values that the fields of a Case can take, simplest first; those that belong together in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

from conformance.core.case import Case, Device, Placement, Prefix, Roles, Row
from conformance.core.dimension import Dimension
from conformance.families.family import Draw

Values = dict[str, Any]
"""Values of some fields of a Case by their dotted names; ``longest`` and ``spread`` stand for the rows."""
Drawer = Callable[[Any], Any]
"""What Hypothesis gives to a composite strategy: it draws from another one."""
SPREADS = {"alone": 1, "even": 1, "some": 3, "one": 2}
"""How pads are spread over a batch (one row; no pads; some; all pads but one), and how long a text that needs."""
WIDTHS = (4, 6, 8)
"""Hidden size per head where a head has a size of its own."""
NEW_TOKENS = (5, 6, 4)
LONGEST_TEXT = 6


def depths(draw: Draw) -> Iterator[Values]:
    """Numbers of layers, and which of them slide."""
    for layers, sliding in product(draw.layers, draw.sliding):
        # A pattern whose sliding layers a shallow model lacks would be a window that nothing has.
        if any(sliding[:layers]) == any(sliding):
            for encoder in _encoders(draw, layers):
                yield {"roles.layers": layers, "roles.sliding": sliding, "roles.encoder_layers": encoder}


def _encoders(draw: Draw, layers: int) -> tuple[int, ...]:
    """Depths of an encoder beside so many decoder layers, the nearest first."""
    if draw.encoder_layers == "none":
        return (0,)
    free = sorted(range(1, layers + 3), key=lambda depth: (abs(depth - layers), -depth))
    return tuple(free) if draw.encoder_layers == "free" else (layers,)


def heads(draw: Draw) -> Iterator[Values]:
    """Numbers of heads, for queries and for keys and values, and their size beside the model's width."""
    for count, size in product(draw.heads, draw.head_dim):
        for width in (size, *(width for width in WIDTHS if draw.own_head_dim and width != size)):
            for kv_heads in _kv_heads(draw, count):
                yield {
                    "roles.heads": count,
                    "roles.kv_heads": kv_heads,
                    "roles.head_dim": size,
                    "roles.width": count * width,
                }


def _kv_heads(draw: Draw, count: int) -> tuple[int, ...]:
    return tuple(n for n in range(count, 0, -1) if count % n == 0) if draw.grouped else (count,)


def numbers(draw: Draw) -> Iterator[Values]:
    """Numbers of virtual tokens, tokens of text and new tokens, beside the window; and how the pads are spread."""
    windows = (*draw.windows, *(() if all(map(any, draw.sliding)) else (0,)))
    texts = [(n, spread) for n, spread in product(range(1, LONGEST_TEXT + 1), SPREADS) if n >= SPREADS[spread]]
    for window, (longest, spread), new_tokens in product(windows, texts, NEW_TOKENS):
        for n in range(1, max(7, window + 1) + 1):
            yield {
                "roles.window": window,
                "longest": longest,
                "spread": spread,
                "new_tokens": new_tokens,
                "prefix.length": n,
            }


Pattern = tuple[Device, ...]
BY_HAND = ("dispatched", "pretrained")
AUTOMATIC = ("auto", "balanced", "sequential")
LAYERS: tuple[Pattern, ...] = (
    *((0,), (1,), (0, 1), (1, 0), (0, 1, 2), (1, 2), (2, 0)),
    *(("cpu", 0), (0, "cpu"), (1, "cpu"), ("disk", 1), (1, "disk"), (0, "disk")),
    *(("cpu",), ("cpu", "disk"), ("disk",)),
)
"""Patterns of two are the same kind of map for two layers as for three."""
OTHERS: tuple[Pattern, ...] = (
    *((0,), (1,), (0, 2), (0, 1), (2, 1, 0), (2, 0), (1, 0, 2)),
    *((0, "cpu"), (1, "disk"), ("cpu", 0), ("disk", 1), ("cpu",), ("disk",)),
    *((0, "cpu", 2), (0, "disk", 2), ("cpu", 0, 2), ("disk", 0, 2)),
)
MEMORY = ((60, 60, 60), (100, 100), (40, 80), (60,))
"""In percent of the model, for each device."""


def maps(draw: Draw) -> Iterator[Values]:
    """Who places the model, and where. Any such map is legal: :mod:`conformance.devices.maps` sees to it."""
    for way, layers, others in product(BY_HAND, LAYERS, OTHERS):
        yield {"placement.way": way, "placement.layers": layers, "placement.others": others}
    for way, memory in product(AUTOMATIC, MEMORY):
        yield {"placement.way": way, "placement.memory": memory}


class Choices(NamedTuple):
    """The ``values`` of fields that decide the dimensions called ``names`` together, given what is ``assumed`` of others."""

    names: tuple[str, ...]
    values: Callable[[Draw], Iterator[Values]]
    assumed: Callable[[Draw, Values], Values] = lambda draw, values: {}


TABLES = (
    Choices(("decoder layers", "encoder depth", "encoder layers", "sliding layers"), depths),
    Choices(("key/value heads", "heads and width"), heads),
    Choices(
        ("text", "virtual tokens", "virtual tokens and text", "window", "rows"),
        numbers,
        # A window is one of layers that slide.
        lambda draw, values: {"roles.sliding": (True,) if values["roles.window"] else ()},
    ),
)
"""Dimensions that several fields decide together."""
OF_MAPS = Choices(
    (
        "who places",
        "where the layers are",
        "where the rest is",
        "embedding and first layer",
        "middle device",
        "weights that wait",
        "memory",
    ),
    maps,
    lambda draw, values: {"roles.layers": min(draw.layers)},
)


def of_field(dimension: Dimension) -> Choices:
    """The values of the one field that decides ``dimension``. A family file says those of its roles."""
    part, _, name = dimension.field.rpartition(".")

    def values(draw: Draw) -> Iterator[Values]:
        for value in getattr(draw, name) if part == "roles" else dimension.values:
            yield {dimension.field: value}

    return Choices((dimension.name,), values)


def row_lengths(longest: int, spread: str) -> tuple[int, ...]:
    """Lengths of the rows of the smallest batch whose pads are ``spread`` so."""
    return {"alone": (longest,), "even": (longest, longest), "some": (2, longest), "one": (1, longest)}[spread]


def assembled(family: str, values: Values, rows: tuple[Row, ...] = (), **rest: Any) -> Case:
    """The Case of ``values`` and of the ``rest`` of its fields. Without ``rows``, of the smallest batch."""
    by_part: dict[str, dict[str, Any]] = {"roles": {}, "prefix": {}, "placement": {}, "": {}}
    for field, value in values.items():
        part, _, name = field.rpartition(".")
        by_part[part][name] = value
    whole = by_part[""]
    longest, spread = whole.pop("longest", 1), whole.pop("spread", "alone")
    return Case(
        family=family,
        roles=Roles(**by_part["roles"]),
        prefix=Prefix(**by_part["prefix"]),
        placement=Placement(**by_part["placement"]),
        rows=rows or tuple(Row(length=length) for length in row_lengths(longest, spread)),
        **whole,
        **rest,
    )
