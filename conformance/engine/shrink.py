"""Shrinking across strata: Hypothesis shrinks within a stratum, this undoes what the stratum pinned.

Each step replaces one part of the Case by a simpler one and stays only if the violation does. The steps come from the
record itself: booleans, names and numbers go towards their defaults and their least values, tuples get shorter, and so on
into every part. So a new field of a Case shrinks by itself. :data:`KEPT` names the fields that do not, :data:`COUPLED` those
that only make sense together and have a rule of their own below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar, cast

from msgspec import inspect
from msgspec.structs import replace

from conformance.core.case import Case, Device, Placement, Roles
from conformance.core.story import legal
from conformance.families import family_named
from conformance.families.family import Draw

T = TypeVar("T")

KEPT = {
    "family": "another family is another model class, with bugs of its own",
    "method": "another method has bugs of its own",
    "dtype": "what is claimed of another precision says nothing of this one; float64 is a control",
    "autocast": "what is claimed under autocast says nothing without",
    "padding": "clauses draw it on purpose",
    "mask": "clauses draw it on purpose",
    "stacked": "elsewhere a LoRA is put in another way",
    "inputs": "clauses draw it on purpose",
    "wrong": "what else may be wrong fails for another reason",
    "given_positions": "clauses draw it on purpose",
    "position_shift": "clauses draw it on purpose",
    "prefix.content": "a claim about a prefix that holds a real text says nothing of another",
    "prefix.begins": "what else it may begin as is another way to begin",
    "prefix.order": "only the claim about the order of virtual tokens reverses it",
    "rows.text": "a text says its length itself",
    "roles.ffn": "which sizes there are is the family's to say",
    "roles.positions": "the family's room for prefix, text and answer",
    "roles.activation": "which there are is the family's to say",
    "roles.rotary": "which shares there are is the family's to say",
    "roles.window": "the boundary at which the violation was found",
    "roles.sliding": "which patterns there are is the family's to say",
}
"""Fields that a shrink leaves alone, and why."""
COUPLED = frozenset(
    {f"roles.{name}" for name in ("layers", "encoder_layers", "heads", "kv_heads", "head_dim", "width", "rope")}
    | {"placement.way", "placement.memory", "prefix.length", "prefix.projection"}
)
BOLDEST_FIRST = ("story", "rows", "prefix", "roles", "placement", "placement.others")
"""Parts that are shrunk before all others. A map is easier to read where only its layers are apart."""


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
    rules: dict[str, Callable[[Case], Iterator[Case]]] = {
        "story": _story,
        "prefix": _prefix,
        "roles": _roles,
        "placement": _placement,
    }
    for field in _boldest_first(_CASE, ""):
        yield from rules[field.name](case) if field.name in rules else ()
        yield from _of_field(case, field, field.name)


def _boldest_first(kind: inspect.StructType, path: str) -> list[inspect.Field]:
    """The fields of a record, in the order in which they are shrunk."""
    ranks = {name: rank for rank, name in enumerate(BOLDEST_FIRST)}
    return sorted(kind.fields, key=lambda field: ranks.get(f"{path}{field.name}", len(ranks)))


def _of_field(record: Any, field: inspect.Field, path: str) -> Iterator[Any]:
    """``record`` with a simpler value of one field."""
    if path in KEPT or path in COUPLED:
        return
    value = getattr(record, field.name)
    for simpler in _simpler(value, field.type, field.default, path):
        try:
            yield replace(record, **{field.name: simpler})
        except ValueError:
            continue  # the record says by itself which of its fields go together


def _simpler(value: Any, kind: inspect.Type, default: Any, path: str) -> Iterator[Any]:
    """Simpler values than ``value``, of a field's type ``kind``."""
    if isinstance(kind, inspect.StructType):
        for field in _boldest_first(kind, f"{path}."):
            yield from _of_field(value, field, f"{path}.{field.name}")
    elif isinstance(kind, inspect.VarTupleType):
        yield from _shorter(value, kind.min_length or 0)
        for n, one in enumerate(value):
            yield from ((*value[:n], s, *value[n + 1 :]) for s in _simpler(one, kind.item_type, one, path))
    elif isinstance(kind, inspect.UnionType):
        yield from _devices_before(value)
    elif isinstance(kind, inspect.IntType):
        yield from range(kind.ge or 0, value)
    elif value != default:
        yield default


def _shorter(value: tuple[Any, ...], least: int) -> Iterator[tuple[Any, ...]]:
    """Without one of its elements."""
    yield from (value[:n] + value[n + 1 :] for n in range(len(value)) if len(value) > least)


def _devices_before(device: Device) -> Iterator[Device]:
    """A device that computes is simpler than the CPU, and that than the disk."""
    if isinstance(device, int):
        yield from range(device)
    else:
        yield from (0, 1, "cpu") if device == "disk" else (0, 1)


_CASE = cast("inspect.StructType", inspect.type_info(Case))


def _story(case: Case) -> Iterator[Case]:
    """Only its beginning; without one of its steps, and those that may then no longer be taken."""
    yield from (replace(case, story=case.story[:n]) for n in range(1, len(case.story)))
    for n in range(len(case.story)):
        yield replace(case, story=legal(case.begun, case.story[:n] + case.story[n + 1 :]))


def _prefix(case: Case) -> Iterator[Case]:
    """No projection; fewer virtual tokens, but not none, which is the control.

    Where the prefix is as long as the text, both are made shorter: each alone would lose the boundary.
    """
    if case.prefix.projection:
        yield replace(case, prefix=replace(case.prefix, projection=0))
    yield from (replace(case, prefix=replace(case.prefix, length=n)) for n in range(1, case.prefix.length))
    if case.prefix.length == case.longest and not any(row.text for row in case.rows):
        for n in range(1, case.longest):
            rows = tuple(replace(row, length=min(row.length, n)) for row in case.rows)
            yield replace(case, rows=rows, prefix=replace(case.prefix, length=n))


def _roles(case: Case) -> Iterator[Case]:
    draw = family_named(case.family).draw
    steps = chain(_layers(case.roles), _sizes(case.roles), _head_dims(case.roles, draw), _ropes(case.roles, draw))
    yield from (replace(case, roles=simpler) for simpler in steps)


def _layers(roles: Roles) -> Iterator[Roles]:
    """Decoder and encoder lose layers together, so that the difference in depth stays; then the difference gets smaller."""
    difference = roles.encoder_layers - roles.layers
    for n in range(1, roles.layers):
        yield replace(roles, layers=n, encoder_layers=max(1, n + difference) if roles.encoder_layers else 0)
    if roles.encoder_layers:
        nearer = range(0, difference, 1 if difference > 0 else -1)
        yield from (replace(roles, encoder_layers=roles.layers + smaller) for smaller in nearer)


def _sizes(roles: Roles) -> Iterator[Roles]:
    """All heads alike, then the width that follows from them, then fewer heads."""
    if roles.kv_heads != roles.heads:
        yield replace(roles, kv_heads=roles.heads)
    if roles.width != roles.heads * roles.head_dim:
        yield replace(roles, width=roles.heads * roles.head_dim)
    if roles.kv_heads in (1, roles.heads) and roles.width % roles.heads == 0:
        for n in range(1, roles.heads):
            width = n * roles.width // roles.heads
            yield replace(roles, heads=n, kv_heads=1 if roles.kv_heads == 1 else n, width=width)


def _head_dims(roles: Roles, draw: Draw) -> Iterator[Roles]:
    """Sizes of a head that the family says before this one; the width that follows from it, or the same."""
    for size in _before(draw.head_dim, roles.head_dim):
        yield replace(roles, head_dim=size, width=roles.heads * size)
        if roles.width not in (roles.heads * size, roles.heads * roles.head_dim):
            yield replace(roles, head_dim=size)


def _ropes(roles: Roles, draw: Draw) -> Iterator[Roles]:
    """Rotary embeddings that the family says before these."""
    yield from (replace(roles, rope=rope) for rope in _before(draw.rope, roles.rope))


def _before(values: Sequence[T], value: T) -> Sequence[T]:
    return values[: values.index(value)] if value in values else ()


def _placement(case: Case) -> Iterator[Case]:
    """Dispatched by hand; else told about fewer devices, since only an automatic way knows a memory; numbers in order."""
    placement = case.placement
    simpler: list[Placement] = []
    if placement.way not in ("none", "dispatched"):
        simpler.append(replace(placement, way="dispatched", memory=()))
    if placement.automatic:
        simpler += [replace(placement, memory=placement.memory[:n]) for n in range(1, len(placement.memory))]
        simpler += [replace(placement, way="auto")] * (placement.way != "auto")
    renumbered = _renumbered(placement)
    simpler += [renumbered] * (renumbered != placement)
    yield from (replace(case, placement=one) for one in simpler)


def _renumbered(placement: Placement) -> Placement:
    """The same map with its devices numbered as they occur."""
    numbers: dict[Device, int] = {}

    def number(devices: tuple[Device, ...]) -> tuple[Device, ...]:
        return tuple(numbers.setdefault(d, len(numbers)) if isinstance(d, int) else d for d in devices)

    others, layers = number(placement.others), number(placement.layers)
    return replace(placement, layers=layers, others=others)
