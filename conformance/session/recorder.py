"""What a session is to do, has done, and left out; written down as events. Knows no pytest and no torch."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Literal, cast

from msgspec.structs import replace

from conformance.core.finding import Cell, Item
from conformance.core.outcome import State
from conformance.session.consistency import results_of
from conformance.session.events import AnyEvent, Code, Footer, Header, Judged, Replayed, Run, Started
from conformance.session.exit_codes import exit_code, is_partial
from conformance.session.expectation import below_expected
from conformance.session.floors import below_floors
from conformance.session.judge import replayed
from conformance.session.selection import Selection
from conformance.session.writer import Writer

STOPPING = (1, 4)
"""Exit codes of what ends a run that is to stop at the first failure."""
INCOMPLETE_CODE = 3
"""The exit code of a run that is not whole."""


class SessionRecorder:
    """Records events, passes them on to the events file, and can say at any time what the run adds up to."""

    def __init__(self, selection: Selection, report: str | None) -> None:
        self.header = _header(selection)
        self.selection = selection
        self.planned = {str(item): item for item in selection.items}
        self.entries = {f"known[{entry.id}]": entry for entry in selection.replays}
        self.started = time.monotonic()
        self.running: dict[str, None] = {}
        self.cells: dict[str, Cell] = {}
        self.replays: dict[str, Replayed] = {}
        self.footer: Footer | None = None
        self.writer = Writer(Path(report)) if report else None
        self.unwritten = ""
        self._headed = False

    def items(self) -> list[str]:
        """The names of all items that the options select."""
        return [*self.planned, *self.entries]

    def plan(self, items: Iterable[str]) -> None:
        """Only these are to be judged, after ``-k`` and the like: the header says so. Once, before anything is recorded."""
        if self._headed:
            return
        chosen = set(items)
        self.planned = {name: item for name, item in self.planned.items() if name in chosen}
        self.entries = {name: entry for name, entry in self.entries.items() if name in chosen}
        self._write_header()

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
            unwritten=self.unwritten,
        )

    def start(self, item: str) -> None:
        """An item begins, in this process or in a worker."""
        if self.awaited(item):
            self.running[item] = None
            self._write(Started(item=item))

    def record(self, event: Judged | Replayed) -> None:
        """An item has its outcome: the first that is told counts."""
        item = str(event.cell.item) if isinstance(event, Judged) else event.item
        if not self.awaited(item):
            return
        if isinstance(event, Judged):
            self.cells[item] = event.cell
        else:
            self.replays[item] = event
        self.running.pop(item, None)
        self._write(event)

    def record_broken(self, item: str, why: str) -> None:
        """The harness broke on an item, or its process died."""
        self._record_without_verdict(item, "broken harness", why)

    def finish(self, stopped: bool) -> None:
        """Say what nobody came to, and write the footer. ``stopped``: to end at the first failure was asked for."""
        missing = [item for item in self.items() if self.awaited(item)]
        for item in missing:
            self._record_without_verdict(
                item, "not run", "the run was stopped before its turn" if stopped else "nobody came to it"
            )
        run = self.run()
        short = self._short(run.cells)
        code = exit_code(run.cells, run.known, complete=True, short=short)
        # A stop leaves nothing incomplete if it was a result of ours that was asked to stop the run.
        if (missing and not (stopped and code in STOPPING)) or self.unwritten:
            code = INCOMPLETE_CODE
        spent = time.monotonic() - self.started
        self.footer = Footer(
            exit_code=cast(Code, code),
            counts=results_of(run),
            seconds=round(spent, 3),
            short=short,
            partial=is_partial(run.cells, run.known),
        )
        self._write(self.footer)
        if self.unwritten:
            self.footer = replace(self.footer, exit_code=INCOMPLETE_CODE)

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
        """Close the events file; one that has its header, even if it has nothing else."""
        self._write_header()
        if self.writer:
            with suppress(OSError):
                self.writer.close()

    def _record_without_verdict(self, item: str, state: Literal["broken harness", "not run"], why: str) -> None:
        if item in self.entries:
            self.record(replayed(self.entries[item], state, why))
        else:
            cell = Cell.broken if state == "broken harness" else partial(Cell.of, state=State.NOT_RUN)
            self.record(Judged(cell=cell(self.planned[item], why=why)))

    def _write_header(self) -> None:
        """Say first what is judged, and which items: narrowed to what is left of families, clauses and methods."""
        if self._headed:
            return
        self._headed = True
        items = [*self.planned.values(), *(Item(e.clause, e.case.family, e.case.method) for e in self.entries.values())]
        self.header = replace(
            self.header,
            items=tuple(self.items()),
            families=_of(self.header.families, {item.family for item in items}),
            clauses=_of(self.header.clauses, {item.clause for item in items}),
            methods=_of(self.header.methods, {item.method for item in items}),
        )
        self._write(self.header)

    def _write(self, event: AnyEvent) -> None:
        """Write it down. Where that fails the run goes on, says so, and leaves a file without footer."""
        self._write_header()
        if self.writer and not self.unwritten:
            try:
                self.writer.write(event)
            except OSError as error:
                self.unwritten = f"the events could not be written to the end: {error.strerror}"


def _of(names: tuple[str, ...], left: set[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name in left)


def _header(selection: Selection) -> Header:
    return Header(
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
        digests=selection.digests,
    )
