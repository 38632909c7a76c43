"""``peft-conformance soak``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import takes_options
from conformance.core.options import Given  # typer reads it

if TYPE_CHECKING:
    from conformance.soak.spread import Plan
    from conformance.soak.tally import Tally
    from conformance.soak.work import Work


@takes_options("soak")
def soak_healthy(
    given: Given,
    subjects: Annotated[str | None, typer.Option(help="healthy subjects (default: all), separated by commas")] = None,
    least: Annotated[int, typer.Option(min=1, help="round after round, until so many examples were judged")] = 1,
    workers: Annotated[int, typer.Option(min=1, help="processes")] = 1,
    case: Annotated[str | None, typer.Option(help="just this Case: a file, or its text: JSON or its repr")] = None,
    report: Annotated[Path | None, typer.Option(metavar="FILE", help="write the counts to FILE, step by step")] = None,
) -> None:
    """Hold subjects that are right against every clause: each violation is a bug of this suite, and exit code 1."""
    from conformance.soak.spread import soak
    from conformance.soak.tally import write

    plan = _plan(given, subjects, least, workers, case)

    def progress(work: Work, done: Tally, sum: Tally) -> None:
        typer.echo(_step(work, done, sum, least))
        for alarm in done.alarms:
            typer.echo(f"  {alarm.item} {alarm.word}: {alarm.what.strip()}\n  repeat    {alarm.repeat}")
        if report:
            write(sum, report)

    tally = soak(plan, progress)
    if report:
        write(tally, report)
    _print(tally)
    raise typer.Exit(tally.exit_code)


def _plan(given: Given, subjects: str | None, least: int, workers: int, case: str | None) -> Plan:
    from conformance.cli.parse import find_case
    from conformance.session.selection import resolve
    from conformance.soak.spread import Plan
    from conformance.soak.subjects import subjects_named

    selection = resolve(given)
    just = find_case(case, (), None)[0] if case else None
    return Plan(
        subjects=subjects_named(subjects),
        families=(just.family,) if just else tuple(selection.families),
        clauses=tuple(selection.clauses.values()),
        methods=(just.method,) if just else selection.methods,
        examples=selection.budget.examples,
        seed=selection.budget.seed,
        least=least,
        workers=workers,
        case=just,
    )


def _step(work: Work, done: Tally, sum: Tally, least: int) -> str:
    what = f"seed {work.seed} {work.subject} {work.family}{' placed' if work.placed else ''}"
    return (
        f"{what}: {done.judged} judged, {done.undecided:.2%} undecided, {len(done.alarms)} alarms, "
        f"{done.cpu_seconds:.0f} s; in all {sum.judged} of {least}"
    )


def _print(tally: Tally) -> None:
    """Counts per clause and family, then the sums, the reasons of what is undecided, and the alarms."""
    from conformance.soak.table import table

    for line in table(tally):
        typer.echo(line)
