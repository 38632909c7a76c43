"""Events of pairs on which nothing could run: those that cannot exist, and those that could not be built today."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from conformance.core.finding import Cell
from conformance.core.outcome import State
from conformance.core.pair import Pair
from conformance.session.events import Judged, Run
from conformance.session.recorder import SessionRecorder
from conformance.session.selection import Selection

OF_HERE = ("python", "torch", "hypothesis", "pytest", "peft-conformance")
"""What a pair would have had from this environment; all else would have been its own."""


def impossible(selection: Selection, pair: Pair, why: str, events: Path) -> Run:
    """A finished run: this pair cannot exist, so every cell is *impossible*."""
    ledger = _ledger(selection, pair, events)
    for item in ledger.planned.values():
        ledger.take(Judged(cell=Cell.of(item, State.IMPOSSIBLE, why)))
    ledger.finish((), stopped=False)
    ledger.close()
    return ledger.run()


def not_built(selection: Selection, pair: Pair, why: str, events: Path) -> Run:
    """A run that did not come to its end, without a footer, so that the next one tries again."""
    ledger = _ledger(selection, pair, events)
    for item in ledger.planned.values():
        ledger.take(Judged(cell=Cell.of(item, State.NOT_RUN, why)))
    ledger.close()
    return ledger.run()


def _ledger(selection: Selection, pair: Pair, events: Path) -> SessionRecorder:
    kept = {name: selection.versions[name] for name in OF_HERE if name in selection.versions}
    versions = {**kept, "peft": pair.peft, "transformers": pair.transformers}
    return SessionRecorder(replace(selection, versions=versions), str(events))
