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


def empty_run(selection: Selection, pair: Pair, state: State, why: str, events: Path) -> Run:
    """A run in which every cell is in ``state``. *Impossible* is a result; else there is no footer: the next one tries again."""
    kept = {name: selection.versions[name] for name in OF_HERE if name in selection.versions}
    versions = {**kept, "peft": pair.peft, "transformers": pair.transformers}
    recorder = SessionRecorder(replace(selection, versions=versions), str(events))
    for item in recorder.planned.values():
        recorder.record(Judged(cell=Cell.of(item, state, why)))
    if state is State.IMPOSSIBLE:
        recorder.finish(stopped=False)
    recorder.close()
    return recorder.run()
