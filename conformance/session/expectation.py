"""What a run of one pair is expected to decide: a word per item, and how often which, made by a command and reviewed like code.

As test262 and WPT have it: a result that is worse than expected is a failure, whatever the word for it. One file per pair lies in
``conformance/expectations``; each has one line per item, sorted, so that a change of one verdict is a change of one line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from conformance.core.errors import UserError, unreadable
from conformance.core.finding import Cell, encode
from conformance.core.outcome import BROKEN, NOT_RUN, VIOLATES, Outcome
from conformance.core.pair import Pair
from conformance.session.events import Run
from conformance.session.floors import DECIDED

FOLDER = Path(__file__).parents[1] / "expectations"
RANK = {**dict.fromkeys(DECIDED, 2), Outcome.REFUSED.value: 1}
"""What a word says: something was decided, something was refused in words; all others say nothing, which is 0."""


class Expected(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What one item is expected to be: its word, its examples by outcome, by known failure, and by why it says nothing."""

    word: str
    counts: dict[str, int] = field(default_factory=dict)
    known: dict[str, int] = field(default_factory=dict)
    excused: dict[str, int] = field(default_factory=dict)
    lane: str = ""

    @classmethod
    def of(cls, cell: Cell) -> Expected:
        """What ``cell`` is."""
        if cell.verdict is None:
            return cls(word=cell.word)
        verdict = cell.verdict
        return cls(word=cell.word, counts=verdict.counts, known=verdict.known, excused=verdict.excused, lane=cell.lane)

    @property
    def answered(self) -> int:
        """How many examples had an answer to look at. Which of them are too close to say depends on a machine's kernels."""
        return sum(self.counts.get(outcome.value, 0) for outcome in ANSWERED)


ANSWERED = (Outcome.CONFORMS, Outcome.VIOLATES, Outcome.UNDECIDED)


class Expectation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the items of one pair are expected to be; the counts are those of so many ``examples`` and that ``seed``."""

    schema: Literal[1] = 1
    peft: str
    transformers: str
    examples: int
    seed: int
    cells: dict[str, Expected]

    @classmethod
    def of(cls, run: Run) -> Expectation:
        """What ``run`` was. Raises :class:`~conformance.core.errors.UserError` for one that is no measure of anything."""
        bad = next((cell for cell in run.cells if cell.word in (BROKEN, NOT_RUN)), None)
        if run.footer is None or bad or not run.cells:
            raise UserError(
                "no-expectation",
                f"{bad.item} is {bad.word}" if bad else "the run did not finish",
                "what is expected of later runs can only be what a whole one showed",
                "let a run come to its end, and take its events",
            )
        pair, header = run.pair, run.header
        cells = {str(cell.item): Expected.of(cell) for cell in run.cells}
        return cls(
            peft=pair.peft,
            transformers=pair.transformers,
            examples=header.examples,
            seed=header.seed,
            cells=dict(sorted(cells.items())),
        )

    def text(self) -> str:
        """The file: one line per item."""
        head = {name: getattr(self, name) for name in ("schema", "peft", "transformers", "examples", "seed")}
        lines = [f"{json.dumps(name)}: {json.dumps(value)}," for name, value in head.items()]
        cells = ",\n".join(f"{json.dumps(item)}: {encode(expected)}" for item, expected in self.cells.items())
        return "\n".join(["{", *lines, '"cells": {', cells, "}}", ""])

    def speaks_of(self, cell: Cell) -> bool:
        """Whether ``cell`` is expected to be something, on the devices on which it was judged."""
        expected = self.cells.get(str(cell.item))
        return expected is not None and (cell.verdict is None or cell.lane == expected.lane)

    def changes(self, cells: Iterable[Cell]) -> list[str]:
        """Where ``cells`` are anything else than expected, to the count."""
        found = {str(cell.item): Expected.of(cell) for cell in cells}
        return [
            f"{item}:\n  expected  {_line(self.cells.get(item))}\n  got       {_line(found.get(item))}"
            for item in sorted({*self.cells, *found})
            if self.cells.get(item) != found.get(item)
        ]


def _line(expected: Expected | None) -> str:
    return encode(expected) if expected else "nothing"


def below_expected(cells: Iterable[Cell], expectation: Expectation, *, same_budget: bool) -> Iterator[str]:
    """Where ``cells`` decide less than expected, in words; the counts are compared where the ``same_budget`` was spent."""
    for cell in cells:
        if expectation.speaks_of(cell) and cell.word not in (BROKEN, NOT_RUN, VIOLATES):
            got, expected = Expected.of(cell), expectation.cells[str(cell.item)]
            why = f" ({cell.reasons})" if cell.reasons else ""
            if RANK.get(got.word, 0) < RANK.get(expected.word, 0):
                yield f"{cell.item}: expected {expected.word}, got {got.word}{why}"
            elif same_budget and expected.word != VIOLATES and got.answered < expected.answered:
                yield f"{cell.item}: expected {expected.answered} examples with an answer, got {got.answered}{why}"


def shipped_for(pair: Pair) -> Path | None:
    """The file of ``pair`` that comes with this project, if there is one."""
    path = path_for(pair)
    return path if path.is_file() else None


def path_for(pair: Pair) -> Path:
    """Where the file of ``pair`` is."""
    return FOLDER / f"{pair.name}.json"


def read_expectation(path: Path, pair: Pair) -> Expectation:
    """The expectation at ``path``, which must be of ``pair``. Raises :class:`~conformance.core.errors.UserError` otherwise."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Expectation)
    except OSError as error:
        raise unreadable("expectation", path, error) from error
    except msgspec.MsgspecError as error:
        raise UserError(
            "malformed-expectation",
            f"{path.name} is not an expectation: {error}",
            "an expectation is what `peft-conformance expect` writes",
            "make it again",
        ) from error
    if Pair(found.peft, found.transformers) != pair:
        raise UserError(
            "wrong-expectation",
            f"{path.name} is about peft {found.peft} x transformers {found.transformers}",
            f"{pair} is judged here, of which it says nothing",
            "name the file of this pair, or none",
        )
    return found
