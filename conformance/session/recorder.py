"""What a session is to do, has done, and left out; written down as events. Knows no pytest and no torch."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Literal, cast

from conformance.core.finding import Cell
from conformance.core.outcome import State
from conformance.session.events import AnyEvent, Code, Footer, Header, Judged, Replayed, Run, Started, Writer
from conformance.session.exit_codes import counts, exit_code, is_partial
from conformance.session.expectation import below_expected
from conformance.session.floors import below_floors
from conformance.session.judge import replayed
from conformance.session.selection import Selection


class SessionRecorder:
    """Records events, passes them on to the events file, and can say at any time what the run adds up to."""

    def __init__(self, selection: Selection, report: str | None) -> None:
        self.header = Header(
            versions=selection.versions,
            python=platform.python_version(),
            platform=platform.platform(),
            profile=selection.profile,
            examples=selection.budget.examples,
            seed=selection.budget.seed,
            families=tuple(selection.families),
            clauses=tuple(selection.clauses),
            methods=selection.methods,
            known=selection.known_file.name if selection.known_file else None,
            mended=tuple(entry.id for entry in selection.mended),
            expectation=selection.expectation_file.name if selection.expectation_file else None,
        )
        self.selection = selection
        self.planned = {str(item): item for item in selection.items}
        self.entries = {f"known[{entry.id}]": entry for entry in selection.replays}
        self.started = time.monotonic()
        self.running: dict[str, None] = {}
        self.cells: dict[str, Cell] = {}
        self.replays: dict[str, Replayed] = {}
        self.footer: Footer | None = None
        self.writer = Writer(Path(report)) if report else None
        self._write(self.header)

    def items(self) -> list[str]:
        """The names of all items that the options select."""
        return [*self.planned, *self.entries]

    def awaited(self, item: str) -> bool:
        """Whether ``item`` is of this session and has no outcome yet."""
        return (item in self.planned and item not in self.cells) or (item in self.entries and item not in self.replays)

    def run(self) -> Run:
        """What is known so far, in the order of the items, whoever finished first."""
        return Run(
            header=self.header,
            cells=tuple(self.cells[item] for item in self.planned if item in self.cells),
            known=tuple(self.replays[item] for item in self.entries if item in self.replays),
            running=tuple(self.running),
            footer=self.footer,
        )

    def start(self, item: str) -> None:
        """An item begins, in this process or in a worker."""
        if self.awaited(item):
            self.running[item] = None
            self._write(Started(item=item))

    def record(self, event: AnyEvent) -> None:
        """An item has its outcome."""
        if isinstance(event, Judged):
            self.cells[str(event.cell.item)] = event.cell
            self.running.pop(str(event.cell.item), None)
        elif isinstance(event, Replayed):
            self.replays[event.item] = event
            self.running.pop(event.item, None)
        self._write(event)

    def record_broken(self, item: str, why: str) -> None:
        """The harness broke on an item, or its process died."""
        self._record_without_verdict(item, "broken harness", why)

    def finish(self, planned: Iterable[str], stopped: bool) -> None:
        """Say what nobody came to, and write the footer. ``stopped``: that was asked for, so it is not incomplete."""
        missing = [item for item in planned if self.awaited(item)]
        for item in missing:
            self._record_without_verdict(
                item, "not run", "the run was stopped before its turn" if stopped else "nobody came to it"
            )
        run = self.run()
        tally = counts(run.cells)
        for replay in run.known:
            word = f"known failure {replay.state}"
            tally[word] = tally.get(word, 0) + 1
        short = self._short(run.cells)
        code = exit_code(run.cells, run.known, complete=stopped or not missing, short=short)
        spent = time.monotonic() - self.started
        self.footer = Footer(
            exit_code=cast(Code, code),
            counts=tally,
            seconds=round(spent, 3),
            short=short,
            partial=is_partial(run.cells, run.known),
        )
        self._write(self.footer)

    def _short(self, cells: tuple[Cell, ...]) -> tuple[str, ...]:
        """Where less was decided than the expectation says, and, of what it does not speak of, less than the floors."""
        expectation, budget = self.selection.expectation, self.selection.budget
        if expectation is None:
            return tuple(below_floors(cells, self.selection.clauses))
        same = (budget.examples, budget.seed) == (expectation.examples, expectation.seed)
        return (
            *below_expected(cells, expectation, same_budget=same),
            *below_floors(cells, self.selection.clauses, foreseen=expectation.speaks_of),
        )

    def close(self) -> None:
        """Close the events file."""
        if self.writer:
            self.writer.close()

    def _record_without_verdict(self, item: str, state: Literal["broken harness", "not run"], why: str) -> None:
        if item in self.entries:
            self.record(replayed(self.entries[item], state, why))
        else:
            cell = Cell.broken if state == "broken harness" else partial(Cell.of, state=State.NOT_RUN)
            self.record(Judged(cell=cell(self.planned[item], why=why)))

    def _write(self, event: AnyEvent) -> None:
        if self.writer:
            self.writer.write(event)
