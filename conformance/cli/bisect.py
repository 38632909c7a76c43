"""``peft-conformance bisect``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import FamilyFileOption, Format, FormatOption, KnownOption, print_json, register_files
from conformance.cli.matrix import PreOption, StoreOption
from conformance.core.pair import AXES, Pair, parse
from conformance.matrix.bisect_axis import Axis, along
from conformance.matrix.replays import Replays

if TYPE_CHECKING:
    from conformance.session.events import Run

PAIR = "PEFTxTRANSFORMERS"


class Which(str, Enum):
    """Along which axis to search."""

    PEFT = "peft"
    TRANSFORMERS = "transformers"
    BOTH = "both"


def bisect(  # noqa: PLR0913, PLR0917 - one parameter per option of the command
    case: Annotated[str, typer.Argument(help="a file, an id, or the text of a Case: JSON or its repr")],
    clause: Annotated[str | None, typer.Option(help="the clause to hold it against")] = None,
    axis: Annotated[Which, typer.Option(help="which release to vary, with the other one held")] = Which.BOTH,
    bad: Annotated[str | None, typer.Option(metavar=PAIR, help="where it fails (default: what is installed)")] = None,
    good: Annotated[str | None, typer.Option(metavar=PAIR, help="where to end (default: as far as needed)")] = None,
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
    from conformance.cli.parse import clause_for, find_case
    from conformance.families import family_named
    from conformance.matrix.process import end_children_on_sigterm
    from conformance.matrix.store import Store
    from conformance.session.reader import read_events
    from conformance.session.selection import read_known

    register_files(family_file)
    run = read_events(events) if events else None
    chosen_case, reported = find_case(case, read_known(known)[1], run)
    chosen_clause = clause_for(clause, reported)
    family_named(chosen_case.family)
    axes = AXES if axis is Which.BOTH else (axis.value,)
    start, end = _start(bad, run), parse(good) if good else None
    replays = Replays(Store(store), chosen_case, chosen_clause.id, family_file or ())
    search = partial(along, start=start, end=end, replays=replays, pre=pre)
    end_children_on_sigterm()
    if format is Format.JSON:
        searched = [search(name, report=lambda seen: None) for name in axes]
        print_json({"case": chosen_case, "clause": chosen_clause.id, "runs": replays.runs, "axes": searched})
    else:
        typer.echo(f"Case {chosen_case.id} against {chosen_clause.id}")
        searched = [_search_aloud(search, name, start) for name in axes]
    raise typer.Exit(3 if replays.broken else 0 if all(each.found.older for each in searched) else 5)


def _search_aloud(search: Callable[..., Axis], axis: str, start: Pair) -> Axis:
    held = next(other for other in AXES if other != axis)
    typer.echo(f"\n{axis}, with {held} {start.on(held)} held")
    searched = search(axis, report=lambda seen: typer.echo(f"  {seen.look.value:<8} {seen.release:<9} {seen.why}"))
    typer.echo("\n".join(f"  {line}" for line in _lines(searched)))
    return searched


def _lines(axis: Axis) -> Iterator[str]:
    ends = axis.found
    if ends.older is None or ends.newer is None:
        yield f"not found: {ends.why}"
    else:
        older, newer = ends.older, ends.newer
        yield f"{axis.axis} {older.release} is {older.look.value}, {newer.release} is {newer.look.value}"
        if ends.skipped:
            yield f"in between, neither good nor bad: {', '.join(ends.skipped)}"
        yield from axis.links
    if ends.untried:
        yield f"not tried, so other changes may lie there: {', '.join(ends.untried)}"


def _start(bad: str | None, run: Run | None) -> Pair:
    from conformance.compat.versions import require

    return parse(bad) if bad else Pair.of(run.header.versions if run else require())
