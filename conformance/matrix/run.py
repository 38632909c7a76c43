"""Run the suite on pairs, each in a process of its own; go on after whatever fails, and where an earlier run stopped."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from conformance.core.errors import UserError
from conformance.core.pair import Pair
from conformance.matrix import process as child
from conformance.matrix.empty_runs import impossible, not_built
from conformance.matrix.request import Entry, Record, Request, add, read
from conformance.matrix.store import Store
from conformance.matrix.uv import Unreachable
from conformance.session import events
from conformance.session.events import Run
from conformance.session.exit_codes import exit_code

GRAVEST_FIRST = (3, 1, 4, 0)


class Step(Struct, frozen=True, kw_only=True):
    """What is to be done about one pair, and why."""

    pair: Pair
    state: str
    why: str = ""


TO_RUN, FINISHED, IMPOSSIBLE = "to run", "finished", "impossible"


class Matrix:
    """A folder of events files, one per pair, all asked the same."""

    def __init__(self, folder: Path, store: Store, asked: Request) -> None:
        self.folder, self.store, self.asked = folder, store, asked
        self.digest = asked.digest
        self.record: Record = read(folder)

    def events(self, pair: Pair) -> Path:
        """The events file of ``pair``."""
        return self.folder / f"{pair.name}.events.jsonl"

    def plan(self, pairs: Iterable[Pair]) -> Iterator[Step]:
        """What running these pairs would do."""
        for pair in pairs:
            known = self.store.known(pair)
            if self.finished(pair):
                yield Step(pair=pair, state=FINISHED, why=f"exit code {self.record.pairs[pair.name].exit_code}")
            elif known and known.why:
                yield Step(pair=pair, state=IMPOSSIBLE, why=known.why)
            else:
                yield Step(pair=pair, state=TO_RUN, why=self._before(pair))

    def finished(self, pair: Pair) -> bool:
        """Whether ``pair`` was asked the same before, and came to its end."""
        entry = self.record.pairs.get(pair.name)
        run = _read(self.events(pair)) if entry and entry.asked == self.digest else None
        return run is not None and run.footer is not None and _is_of(run, pair)

    def run(self, pair: Pair) -> Run:
        """Build and judge ``pair``, and keep how it ended. Whatever fails is in the events, with its reason."""
        begun = time.monotonic()
        run = self._judge(pair)
        code = run.footer.exit_code if run.footer else exit_code(run.cells, run.known, complete=False)
        seconds = round(time.monotonic() - begun, 1)
        self.record = add(self.folder, pair.name, Entry(asked=self.digest, exit_code=code, seconds=seconds))
        return run

    def _judge(self, pair: Pair) -> Run:
        selection, path = self.asked.selection, self.events(pair)
        try:
            admission = self.store.admit(pair)
        except Unreachable as error:
            return not_built(selection, pair, f"its environment could not be built: {error}", path)
        if admission.why:
            return impossible(selection, pair, admission.why, path)
        path.unlink(missing_ok=True)
        log = self.folder / f"{pair.name}.log"
        with log.open("wb") as said:
            paths = self.store.paths(admission)
            code = child.call(
                "conformance", self.asked.arguments(path), paths, out=said, said=said, limit=self.asked.limit
            )
        run = _read(path)
        if run and _is_of(run, pair):
            return run
        how = (
            f"ended with exit code {code}" if code is not None else f"was ended after {self.asked.limit:g} s (--limit)"
        )
        ended = f"its process {how} before anything was judged: {child.last_line(log)}"
        return not_built(selection, pair, ended, path)

    def _before(self, pair: Pair) -> str:
        run = _read(self.events(pair))
        if run is None:
            return ""
        if run.footer is None:
            return "an earlier run did not finish"
        return "an earlier run was asked something else"


def together(codes: Iterable[int]) -> int:
    """The exit code of several runs: the gravest; 5 if nothing was tested anywhere."""
    seen = set(codes)
    return next((code for code in GRAVEST_FIRST if code in seen), 5)


def _read(path: Path) -> Run | None:
    try:
        return events.read(path)
    except UserError:
        return None


def _is_of(run: Run, pair: Pair) -> bool:
    found = run.header.versions
    return (found.get("peft"), found.get("transformers")) == (pair.peft, pair.transformers)
