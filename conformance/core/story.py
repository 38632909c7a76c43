"""A story: the steps of one session with a model, as data, and a simple model of what each step may follow.

The simple model (:class:`Situation`) knows names, not numbers: which adapters there are, which is active, whether it is off,
what was saved, and whose cache the user still holds. A strategy draws with it, a shrink asks it, a run compares with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr, replace

from conformance.core.part import Part

Name = Literal["default", "second", "third"]
"""What adapters are called."""
Do = Literal[
    "generate",
    "go_on",
    "train",
    "save",
    "load",
    "resume",
    "add",
    "switch",
    "delete",
    "disable",
    "enable",
    "raise",
    "interrupt",
]
"""What a step does."""
SAYS: Mapping[Do, frozenset[str]] = {
    "generate": frozenset({"decoding"}),
    "load": frozenset({"adapter", "source"}),
    "resume": frozenset({"source"}),
    "add": frozenset({"adapter", "other_length", "seed"}),
    "switch": frozenset({"adapter"}),
    "delete": frozenset({"adapter"}),
}
"""The fields that mean something for a step; of all other steps none."""
ASKS = frozenset({"generate", "go_on", "train"})
"""Steps that mean something for a base model alone, too."""
TWO_TURNS = 6
"""Tokens of an answer, of a further text, and of the answer to it: two of each."""
NOBODY = ""
"""Whose cache the user holds who has none."""
BASE = "the base model"
"""Who answers while the adapter is switched off."""


class Act(Part, frozen=True):
    """One step of a session.

    ``generate`` asks for an answer, decoded so; ``go_on`` for another one, from the cache that the last answer came with;
    ``train`` is one step of an optimiser. ``save`` saves all adapters, the latest ones in place of earlier ones; ``load`` loads
    ``source`` of these into the live model as ``adapter``, and ``resume`` over the adapter of a new model, to train it further.
    ``add``, ``switch`` and ``delete`` are of ``adapter``; an added one has other values (``seed``), and perhaps another number of
    virtual tokens than the first. ``disable`` and ``enable`` are the two ends of disable_adapter(). A generate is ended by an
    error that is raised inside (``raise``), or by its user (``interrupt``).
    """

    do: Do = "generate"
    adapter: Name = "default"
    source: Name = "default"
    decoding: Literal["plain", "sampled", "searched", "looked_up"] = "plain"
    other_length: bool = False
    seed: Annotated[int, Meta(ge=0, le=9)] = 0

    def __post_init__(self) -> None:
        """What means nothing for it is at its default."""
        for name, default in _DEFAULTS.items():
            if name not in SAYS.get(self.do, ()):
                force_setattr(self, name, default)


_DEFAULTS = {found.name: found.default for found in msgspec.structs.fields(Act) if found.name != "do"}


class Kept(Struct, frozen=True):
    """An adapter: whether it has another number of virtual tokens than the first, and whether it may be trained."""

    other_length: bool = False
    trained: bool = True


Adapters = Mapping[str, Kept]
"""Adapters by name, in the order in which they came."""


class Situation(Struct, frozen=True):
    """What there is between two steps.

    ``going_on``: whether the model can go on from a cache at all; ``learning``: of adapters of the first length, and of another,
    whether anything of them is trained.
    """

    going_on: bool = True
    learning: tuple[bool, bool] = (True, True)
    adapters: Adapters = field(default_factory=lambda: {"default": Kept()})
    active: str = "default"
    off: bool = False
    saved: Adapters = field(default_factory=dict)
    holds: str = NOBODY

    @property
    def answers(self) -> str:
        """Who answers."""
        return BASE if self.off else self.active


def begin(length: int, frozen: int, room: int) -> Situation:
    """Before the first step: an adapter of ``length`` virtual tokens, of which the first ``frozen`` are not trained.

    ``room``: for how many positions there is room beside the text, none in a model that does not answer behind it.
    """
    other = another_length(length)
    learning = (not 0 < length == frozen, frozen < other)
    return Situation(going_on=max(length, other) + TWO_TURNS <= room, learning=learning)


def another_length(length: int) -> int:
    """Another number of virtual tokens: one less, or two in place of one."""
    return length - 1 if length > 1 else length + 1


def following(state: Situation, step: Act) -> Situation | None:
    """What there is after ``step``; ``None`` if it may not be taken."""
    return _RULES[step.do](state, step)


def legal(state: Situation, steps: Iterable[Act]) -> tuple[Act, ...]:
    """The ``steps`` without those that may not be taken where they stand."""
    kept = []
    for step in steps:
        then = following(state, step)
        if then is not None:
            state = then
            kept.append(step)
    return tuple(kept)


def _generate(state: Situation, step: Act) -> Situation:
    return replace(state, holds=state.answers if state.going_on and step.decoding == "plain" else NOBODY)


def _go_on(state: Situation, step: Act) -> Situation | None:
    return replace(state, holds=NOBODY) if state.holds == state.answers else None


def _train(state: Situation, step: Act) -> Situation | None:
    active = state.adapters[state.active]
    if state.off or not active.trained or not state.learning[active.other_length]:
        return None
    return _without_cache_of(state, state.active)


def _save(state: Situation, step: Act) -> Situation:
    return replace(state, saved=state.adapters)


def _load(state: Situation, step: Act) -> Situation | None:
    """Under a new name it is there to answer, not to be trained; over another one, which it must fit, it takes its place."""
    source, live = state.saved.get(step.source), state.adapters.get(step.adapter)
    if source is None or (live and live.other_length != source.other_length):
        return None
    loaded = live or Kept(source.other_length, trained=False)
    return _without_cache_of(replace(state, adapters={**state.adapters, step.adapter: loaded}), step.adapter)


def _resume(state: Situation, step: Act) -> Situation | None:
    source = state.saved.get(step.source)
    if source is None or state.off:
        return None
    return replace(state, adapters={"default": Kept(source.other_length)}, active="default", holds=NOBODY)


def _add(state: Situation, step: Act) -> Situation | None:
    if step.adapter in state.adapters:
        return None
    return replace(state, adapters={**state.adapters, step.adapter: Kept(step.other_length)})


def _switch(state: Situation, step: Act) -> Situation | None:
    return replace(state, active=step.adapter) if step.adapter in state.adapters else None


def _delete(state: Situation, step: Act) -> Situation | None:
    """The last one stays; where the active one goes, the first that is left takes its place."""
    left = {name: kept for name, kept in state.adapters.items() if name != step.adapter}
    if not left or len(left) == len(state.adapters):
        return None
    active = state.active if state.active in left else next(iter(left))
    return _without_cache_of(replace(state, adapters=left, active=active), step.adapter)


def _disable(state: Situation, step: Act) -> Situation | None:
    return None if state.off else replace(state, off=True)


def _enable(state: Situation, step: Act) -> Situation | None:
    return replace(state, off=False) if state.off else None


def _ended(state: Situation, step: Act) -> Situation:
    return state


def _without_cache_of(state: Situation, name: str) -> Situation:
    """Whoever has other values now does not go on from a cache of the old ones."""
    return replace(state, holds=NOBODY) if state.holds == name else state


_RULES: Mapping[Do, Callable[[Situation, Act], Situation | None]] = {
    "generate": _generate,
    "go_on": _go_on,
    "train": _train,
    "save": _save,
    "load": _load,
    "resume": _resume,
    "add": _add,
    "switch": _switch,
    "delete": _delete,
    "disable": _disable,
    "enable": _enable,
    "raise": _ended,
    "interrupt": _ended,
}
