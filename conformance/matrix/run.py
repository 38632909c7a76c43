"""Run the suite on pairs, each in a process of its own; go on after whatever fails, and where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from conformance.core.errors import UserError
from conformance.core.outcome import IMPOSSIBLE, State
from conformance.core.pair import Pair
from conformance.matrix import process as child
from conformance.matrix.empty_runs import empty_run
from conformance.matrix.request import Entry, Record, Request, add_entry, digest_of, read_record
from conformance.matrix.store import Store
from conformance.matrix.uv import Unreachable
from conformance.session.events import Run
from conformance.session.exit_codes import code_of, gravest_code
from conformance.session.reader import read_events

TO_RUN, FINISHED = "to run", "finished"
NOTHING_TESTED = 5
"""The exit code of a run in which nothing was tested."""


class Step(Struct, frozen=True, kw_only=True):
    """What is to be done about one pair, and why."""

    pair: Pair
    state: str
    why: str = ""


class Matrix:
    """A folder of events files, one per pair, all of the same request."""

    def __init__(self, folder: Path, store: Store, request: Request) -> None:
        self.folder, self.store, self.request = folder, store, request
        self.digest = digest_of(request.selection)
        self.record: Record = read_record(folder)

    def events(self, pair: Pair) -> Path:
        """The events file of ``pair``."""
        return self.folder / f"{pair.name}.events.jsonl"

    def plan(self, pairs: Iterable[Pair]) -> Iterator[Step]:
        """What running these pairs would do."""
        for pair in pairs:
            known = self.store.known(pair)
            if self.finished(pair):
                yield Step(pair=pair, state=FINISHED, why=f"exit code {self.exit_code(pair)}")
            elif known and known.why:
                yield Step(pair=pair, state=IMPOSSIBLE, why=known.why)
            else:
                yield Step(pair=pair, state=TO_RUN, why=self._before(pair))

    def finished(self, pair: Pair) -> bool:
        """Whether ``pair`` was asked the same before, and came to its end."""
        entry = self.record.pairs.get(pair.name)
        run = _read(self.events(pair)) if entry and entry.digest == self.digest else None
        return run is not None and run.footer is not None and run.pair == pair

    def run(self, pair: Pair) -> Run:
        """Build and judge ``pair``, and keep how it ended. Whatever fails is in the record, with its reason."""
        started = time.monotonic()
        run, why = self._judge(pair)
        seconds = round(time.monotonic() - started, 1)
        impossible = bool(run.cells) and all(cell.word == IMPOSSIBLE for cell in run.cells)
        entry = Entry(digest=self.digest, exit_code=code_of(run), seconds=seconds, why=why, impossible=impossible)
        self.record = add_entry(self.folder, pair.name, entry)
        return run

    def exit_code(self, pair: Pair) -> int:
        """How ``pair`` ended; 3, incomplete, if it did not."""
        return self.record.pairs[pair.name].exit_code if pair.name in self.record.pairs else 3

    def together(self, pairs: Iterable[Pair]) -> int:
        """The exit code of ``pairs``: 0 only if something was tested on each of them that can exist."""
        codes = [self.exit_code(pair) for pair in pairs if not self._impossible(pair)]
        code = gravest_code(codes)
        return NOTHING_TESTED if code == 0 and NOTHING_TESTED in codes else code

    def _impossible(self, pair: Pair) -> bool:
        return pair.name in self.record.pairs and self.record.pairs[pair.name].impossible

    def why(self, pair: Pair) -> str:
        """Why ``pair`` has no results, or not all of them; nothing where it came to its end."""
        return self.record.pairs[pair.name].why if pair.name in self.record.pairs else ""

    def _judge(self, pair: Pair) -> tuple[Run, str]:
        """The run of ``pair``, and why it did not come to its end."""
        path = self.events(pair)
        try:
            admission = self.store.admit(pair)
        except Unreachable as error:
            return self._empty(pair, State.NOT_RUN, f"its environment could not be built: {error}")
        if admission.why:
            return self._empty(pair, State.IMPOSSIBLE, admission.why)
        path.unlink(missing_ok=True)
        log = self.folder / f"{pair.name}.log"
        limit = self.request.limit
        with log.open("wb") as output:
            arguments, paths = self.request.arguments(path), self.store.paths(admission)
            code = child.call("conformance", arguments, paths, out=output, err=output, limit=limit)
        end = f"ended with exit code {code}" if code is not None else f"was ended after {limit:g} s (--limit)"
        run = _read(path)
        if run and run.pair == pair:
            return run, "" if run.footer else f"its process {end}: {child.last_line(log)}"
        why = f"its process {end} before anything was judged: {child.last_line(log)}"
        return self._empty(pair, State.NOT_RUN, why)

    def _empty(self, pair: Pair, state: State, why: str) -> tuple[Run, str]:
        return empty_run(self.request.selection, pair, state, why, self.events(pair)), why

    def _before(self, pair: Pair) -> str:
        run = _read(self.events(pair))
        unlike = "did not finish" if run and run.footer is None else "was asked something else"
        return f"an earlier run {unlike}" if run else ""


def _read(path: Path) -> Run | None:
    try:
        return read_events(path)
    except UserError:
        return None
