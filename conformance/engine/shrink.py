"""Undo what a stratum pinned: Hypothesis shrinks within a stratum, this across them.

Each step replaces one part of the Case by a simpler one and stays only if the violation does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from msgspec.structs import replace

from conformance.core.case import Case, Device, Placement, Prefix, Roles, Row


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """The simplest Case reachable from ``case`` by single steps through Cases that fail."""
    tried = {case}
    while True:
        for simpler in candidates(case):
            if simpler in tried:
                continue
            tried.add(simpler)
            if fails(simpler):
                case = simpler
                break
        else:
            return case


def candidates(case: Case) -> Iterator[Case]:
    """Cases one step simpler than ``case``, the boldest first."""
    return chain(_rows(case), _prefix(case), _together(case), _roles(case), _placement(case), _rest(case))


def _smaller(value: int, least: int) -> Iterator[int]:
    yield from range(least, value)


def _rows(case: Case) -> Iterator[Case]:
    if len(case.rows) > 1:
        for dropped in range(len(case.rows)):
            yield replace(case, rows=case.rows[:dropped] + case.rows[dropped + 1 :])
    for index, row in enumerate(case.rows):
        for simpler in chain(
            (replace(row, length=n) for n in _smaller(row.length, 1)),
            (replace(row, seed=n) for n in _smaller(row.seed, 0)),
        ):
            rows: tuple[Row, ...] = (*case.rows[:index], simpler, *case.rows[index + 1 :])
            yield replace(case, rows=rows)


def _prefix(case: Case) -> Iterator[Case]:
    def to(**changes: Any) -> Case:
        prefix: Prefix = replace(case.prefix, **changes)
        return replace(case, prefix=prefix)

    if case.prefix.projection:
        yield to(projection=0)
    yield from (to(length=n) for n in _smaller(case.prefix.length, 1))
    yield from (to(seed=n) for n in _smaller(case.prefix.seed, 0))


def _together(case: Case) -> Iterator[Case]:
    """Where the prefix is as long as the text, both shorter: each alone would lose the boundary."""
    if case.prefix.length == case.longest:
        for n in _smaller(case.longest, 1):
            rows = tuple(replace(row, length=min(row.length, n)) for row in case.rows)
            yield replace(case, rows=rows, prefix=replace(case.prefix, length=n))


def _layers(roles: Roles) -> Iterator[Roles]:
    extra = max(0, roles.encoder_layers - roles.layers)
    for n in _smaller(roles.layers, 1):
        yield replace(roles, layers=n, encoder_layers=n + extra if roles.encoder_layers else 0)
    if extra:
        yield replace(roles, encoder_layers=roles.layers)


def _roles(case: Case) -> Iterator[Case]:
    roles = case.roles

    def to(**changes: Any) -> Case:
        simpler: Roles = replace(roles, **changes)
        return replace(case, roles=simpler)

    yield from (replace(case, roles=simpler) for simpler in _layers(roles))
    if roles.kv_heads != roles.heads:
        yield to(kv_heads=roles.heads)
    if roles.width != roles.heads * roles.head_dim:
        yield to(width=roles.heads * roles.head_dim)
    elif roles.kv_heads in (1, roles.heads):
        for n in _smaller(roles.heads, 1):
            yield to(heads=n, kv_heads=1 if roles.kv_heads == 1 else n, width=n * roles.head_dim)
    if roles.tied:
        yield to(tied=False)
    if roles.rope not in ("", "default"):
        yield to(rope="default")


def _placement(case: Case) -> Iterator[Case]:
    for simpler in chain(_way(case.placement), _spelled(case.placement), _devices(case.placement)):
        placement: Placement = simpler
        yield replace(case, placement=placement)


def _way(placement: Placement) -> Iterator[Placement]:
    """Dispatched by hand; else told about fewer devices. Only an automatic way knows a memory."""
    if placement.way not in ("none", "dispatched"):
        yield replace(placement, way="dispatched", memory=())
    if placement.automatic:
        yield from (replace(placement, memory=placement.memory[:n]) for n in _smaller(len(placement.memory), 1))
        if placement.way != "auto":
            yield replace(placement, way="auto")


def _spelled(placement: Placement) -> Iterator[Placement]:
    plain: dict[str, Any] = {"spelling": "name", "order": "model", "merged": False, "adapter": "made"}
    yield from (replace(placement, **{part: to}) for part, to in plain.items() if getattr(placement, part) != to)


def _devices(placement: Placement) -> Iterator[Placement]:
    yield from (replace(placement, others=devices) for devices in _fewer(placement.others))
    yield from (replace(placement, layers=devices) for devices in _fewer(placement.layers))
    renamed = _renamed(placement)
    if renamed != placement:
        yield renamed


def _fewer(devices: tuple[Device, ...]) -> Iterator[tuple[Device, ...]]:
    """Shorter patterns, then a simpler device in place of one of them."""
    yield from (devices[:n] for n in _smaller(len(devices), 1))
    yield from (devices[n:] for n in range(1, len(devices)))
    for index, device in enumerate(devices):
        for simpler in _simpler(device):
            yield (*devices[:index], simpler, *devices[index + 1 :])


def _simpler(device: Device) -> Iterator[Device]:
    """Devices before this one; a device that computes is simpler than the CPU, and that than the disk."""
    if isinstance(device, int):
        yield from range(device)
    else:
        yield from (0, 1, "cpu") if device == "disk" else (0, 1)


def _renamed(placement: Placement) -> Placement:
    """The same map with its devices numbered as they occur."""
    numbers: dict[Device, int] = {}

    def number(devices: tuple[Device, ...]) -> tuple[Device, ...]:
        return tuple(numbers.setdefault(d, len(numbers)) if isinstance(d, int) else d for d in devices)

    others, layers = number(placement.others), number(placement.layers)
    return replace(placement, layers=layers, others=others)


def _rest(case: Case) -> Iterator[Case]:
    if case.beams > 1:
        yield replace(case, beams=1)
    if case.cache != "dynamic":
        yield replace(case, cache="dynamic")
    yield from (replace(case, new_tokens=n) for n in _smaller(case.new_tokens, 1))
    if case.attention != "default":
        yield replace(case, attention="default")
    yield from (replace(case, seed=n) for n in _smaller(case.seed, 0))
