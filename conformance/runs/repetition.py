"""Whether the base model and the oracle give the same answer every time: what does not repeat is then somebody else's doing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conformance.core.signals import Signal
from conformance.oracles.table import handmade_cache
from conformance.runs.trace import Trace

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

TIMES = 5
"""How often each is run: a base model that is wrong in every tenth call shows it with a probability of two fifths."""


def first_change(lab: Lab, case: Case) -> str:
    """Which run of the bare ``case`` differs from the first one of its kind, in labs that remember nothing; nothing if none."""
    runs: dict[str, Callable[[Lab], Trace]] = {
        "the base model's generate": lambda fresh: fresh.generate(case),
        "the base model's forward": lambda fresh: fresh.forward(case),
        f"our oracle {handmade_cache.name}": lambda fresh: fresh.predict(
            case, handmade_cache, tokens=fresh.some_tokens(case)
        ),
    }
    changing = (what for what, run in runs.items() if not _repeats(lambda run=run: run(lab.fresh())))  # type: ignore[misc]
    return next((f"{what} does not repeat itself either" for what in changing), "")


def _repeats(run: Callable[[], Trace]) -> bool:
    first, *others = (_answer(run) for _ in range(TIMES))
    return all(other.same_bits(first) if isinstance(other, Trace) else other == first for other in others)


def _answer(run: Callable[[], Trace]) -> Trace | str:
    try:
        return run()
    except Signal as signal:
        return str(signal)
