"""How device maps are drawn: strata of their own, over small models of every family."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from msgspec import Struct

from conformance.core.case import Device, Placement
from conformance.strategies.stratum import Drawer, Stratum

Pattern = tuple[Device, ...]


class Maps(Struct, frozen=True, kw_only=True):
    """What a stratum pins of a placement; as everywhere, the simplest comes first.

    ``layers`` and ``others`` are patterns of devices; ``memory`` is what an automatic way is told; ``spelled`` pairs the
    spelling of devices with the order of keys and whether they are merged.
    """

    ways: tuple[str, ...] = ("dispatched", "pretrained")
    layers: tuple[Pattern, ...] = ((0, 1), (1, 0), (0, 1, 2))
    others: tuple[Pattern, ...] = ((0,), (1,))
    memory: tuple[tuple[int, ...], ...] = ((),)
    spelled: tuple[tuple[str, str, bool], ...] = (("name", "model", False),)
    adapter: tuple[str, ...] = ("made",)


SPELLED_PLAINLY = ("name", "model", False)
SPELLED = (("number", "model", False), ("device", "model", False), ("name", "reversed", False))
SMALL: dict[str, Any] = {"layers": (2, 3), "rows": (2, 1), "prompt": (3, 2, 4)}

MAPS = (
    Stratum(name="layers apart", maps=Maps(), padding=("some",), projection=(0, 4), **SMALL),
    Stratum(
        name="ends apart",
        maps=Maps(layers=((1,), (0,), (1, 2)), others=((0, 2), (0, 1), (2, 1, 0)), spelled=SPELLED),
        padding=("even", "some"),
        rare_first=True,
        **SMALL,
    ),
    Stratum(
        name="merged keys",
        maps=Maps(layers=((1,), (0,), (0, 1)), spelled=(("name", "model", True), ("number", "reversed", True))),
        padding=("even",),
        projection=(0,),
        **SMALL,
    ),
    Stratum(
        name="reversed keys",
        maps=Maps(
            ways=("pretrained", "dispatched"),
            layers=((1, 2), (0, 1, 2), (2, 0)),
            others=((2, 0), (0, 1)),
            spelled=(("device", "reversed", False), ("number", "reversed", False), ("name", "reversed", False)),
        ),
        padding=("even", "some"),
        projection=(4, 0),
        **SMALL,
    ),
    Stratum(
        name="weights away",
        maps=Maps(
            layers=(("cpu", 0), ("disk", 1), (0, "cpu", "disk"), ("cpu", "disk")),
            others=((0,), (0, "cpu"), (1,)),
            spelled=(SPELLED_PLAINLY, *SPELLED),
        ),
        padding=("some", "even"),
        **SMALL,
    ),
    Stratum(
        name="embedding away",
        maps=Maps(
            layers=((0,), (0, 1), ("cpu", 0), ("disk", 1)),
            others=(("disk",), ("cpu",), ("cpu", 0)),
            spelled=(SPELLED_PLAINLY, *SPELLED),
        ),
        padding=("even", "some"),
        projection=(0, 4),
        **SMALL,
    ),
    Stratum(
        name="no device",
        maps=Maps(layers=(("cpu",), ("cpu", "disk"), ("disk",)), others=(("cpu",), ("disk",))),
        padding=("some", "even"),
        **SMALL,
    ),
    Stratum(
        name="adapter loaded",
        maps=Maps(layers=((0, 1), ("cpu", 1), (1, "disk")), others=((1,), (0,)), adapter=("loaded",)),
        padding=("even", "some"),
        projection=(4, 0),
        **SMALL,
    ),
    Stratum(
        name="automatic",
        maps=Maps(
            ways=("auto", "balanced", "sequential"),
            layers=((0,),),
            others=((0,),),
            memory=((60, 60, 60), (100, 100), (40, 80), (60,)),
        ),
        padding=("some", "even"),
        **SMALL,
    ),
)


def placement(draw: Drawer, maps: Maps) -> Placement:
    """One placement within ``maps``."""

    def pick(values: tuple[Any, ...]) -> Any:
        return draw(st.sampled_from(values))

    spelling, order, merged = pick(maps.spelled)
    return Placement(
        way=pick(maps.ways),
        layers=pick(maps.layers),
        others=pick(maps.others),
        memory=pick(maps.memory),
        spelling=spelling,
        order=order,
        merged=merged,
        adapter=pick(maps.adapter),
    )
