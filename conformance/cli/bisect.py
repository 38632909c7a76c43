"""``peft-conformance bisect``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from conformance.cli.common import FamilyFileOption, Format, FormatOption, KnownOption, print_json, register
from conformance.cli.matrix import PreOption, StoreOption
from conformance.core.pair import AXES, Pair
from conformance.matrix.bisect import Seen
from conformance.matrix.bisect_axis import Axis, along
from conformance.matrix.replays import Replays

if TYPE_CHECKING:
    from conformance.session.events import Run


class Which(str, Enum):
    """Along which axis to search."""

    PEFT = "peft"
    TRANSFORMERS = "transformers"
    BOTH = "both"


def bisect(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    case: Annotated[str, typer.Argument(help="a file, an id, or the text of a Case: JSON or its repr")],
    clause: Annotated[str | None, typer.Option(help="the clause to hold it against")] = None,
    axis: Annotated[Which, typer.Option(help="which release to vary, with the other one held")] = Which.BOTH,
    bad: Annotated[
        str | None,
        typer.Option(metavar="PEFTxTRANSFORMERS", help="a pair on which it fails (default: the one installed here)"),
    ] = None,
    good: Annotated[
        str | None,
        typer.Option(metavar="PEFTxTRANSFORMERS", help="releases up to which to search (default: as far as needed)"),
    ] = None,
    events: Annotated[
        Path | None, typer.Option(metavar="FILE", help="events file in which to look an id up, and its pair")
    ] = None,
    known: KnownOption = None,
    family_file: FamilyFileOption = None,
    store: StoreOption = None,
    pre: PreOption = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Find the releases between which a Case begins or ceases to fail.

    Exit 0 if they are found on every axis, 5 if not, 3 if an environment or our harness failed on the way.
    """
    from conformance.cli.parse import clause_for, find
    from conformance.core.pair import parse
    from conformance.families import family_named
    from conformance.matrix.process import end_children_on_sigterm
    from conformance.matrix.store import Store
    from conformance.session.events import read
    from conformance.session.selection import failures

    register(family_file)
    run = read(events) if events else None
    found, reported = find(case, failures(known)[1], run)
    chosen = clause_for(clause, reported)
    family_named(found.family)
    search = _Search(
        replays=Replays(Store(store), found, chosen.id, family_file or ()),
        axes=AXES if axis is Which.BOTH else (axis.value,),
        start=_start(bad, run),
        end=parse(good) if good else None,
        pre=pre,
    )
    end_children_on_sigterm()
    raise typer.Exit(search.told() if format is Format.TEXT else search.printed())


class _Search(Struct, frozen=True, kw_only=True):
    """What is asked for, and two ways to say what came of it; both give the exit code."""

    replays: Replays
    axes: tuple[str, ...]
    start: Pair
    end: Pair | None
    pre: bool

    def told(self) -> int:
        """As text, release by release."""
        found = []
        typer.echo(f"Case {self.replays.case.id} against {self.replays.clause}")
        for axis in self.axes:
            held = next(other for other in AXES if other != axis)
            typer.echo(f"\n{axis}, with {held} {self.start.on(held)} held")
            found.append(
                self._along(axis, lambda seen: typer.echo(f"  {seen.look.value:<8} {seen.release:<9} {seen.why}"))
            )
            typer.echo("\n".join(f"  {line}" for line in _lines(found[-1])))
        return self._code(found)

    def printed(self) -> int:
        """As JSON, at the end."""
        found = [self._along(axis, lambda seen: None) for axis in self.axes]
        replays = self.replays
        print_json({"case": replays.case, "clause": replays.clause, "runs": replays.runs, "axes": found})
        return self._code(found)

    def _along(self, axis: str, told: Callable[[Seen], None]) -> Axis:
        return along(axis, self.start, self.end, self.replays, pre=self.pre, told=told)

    def _code(self, found: list[Axis]) -> int:
        if self.replays.broken:
            return 3
        return 0 if all(axis.found.older for axis in found) else 5


def _lines(axis: Axis) -> Iterator[str]:
    found = axis.found
    if found.older is None or found.newer is None:
        yield f"not found: {found.why}"
    else:
        older, newer = found.older, found.newer
        yield f"{axis.axis} {older.release} is {older.look.value}, {newer.release} is {newer.look.value}"
        if found.skipped:
            yield f"in between, neither good nor bad: {', '.join(found.skipped)}"
        yield from axis.links
    if found.untried:
        yield f"not tried, so other changes may lie there: {', '.join(found.untried)}"


def _start(given: str | None, run: Run | None) -> Pair:
    from conformance.compat.versions import require
    from conformance.core.pair import parse

    if given:
        return parse(given)
    versions = run.header.versions if run else require()
    return Pair(versions["peft"], versions["transformers"])
