"""``peft-conformance matrix run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import Format, FormatOption, print_json, takes_options
from conformance.core.options import Given

if TYPE_CHECKING:
    from conformance.matrix.run import Matrix, Step

matrix_app = typer.Typer(
    no_args_is_help=True, help="Many pairs of releases, each in an environment and a process of its own."
)

StoreOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="where environments are kept (default: in the user's folder for caches)"),
]
PreOption = Annotated[bool, typer.Option("--pre", help="take pre-releases as well")]


@matrix_app.command("run")
@takes_options("matrix run")
def run_matrix(
    peft: Annotated[str, typer.Option(metavar="RANGE", help="releases of PEFT, such as '>=0.13,<0.16'")],
    transformers: Annotated[str, typer.Option(metavar="RANGE", help="releases of transformers, such as '4.45.*'")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="folder for one events file per pair")],
    given: Given,
    limit: Annotated[
        float | None, typer.Option(min=1, metavar="SECONDS", help="end the run of a pair after so long")
    ] = None,
    store: StoreOption = None,
    pre: PreOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Judge every release of PEFT in a range with every release of transformers in another.

    What an earlier run with the same options finished in the same folder is not run again.
    """
    from conformance.cli.launch import worker_count
    from conformance.core.pair import product
    from conformance.matrix.process import end_children_on_sigterm
    from conformance.matrix.releases import releases
    from conformance.matrix.request import Request
    from conformance.matrix.run import Matrix
    from conformance.matrix.store import Store, writable
    from conformance.session.selection import resolve

    request = Request(given=given, selection=resolve(given), limit=limit)
    worker_count(given, len(request.selection.items))
    pairs = list(product(releases("peft", peft, pre), releases("transformers", transformers, pre)))
    matrix = Matrix(out.absolute() if dry_run else writable(out, "folder"), Store(store), request)
    steps = list(matrix.plan(pairs))
    if dry_run:
        _print_steps(steps, format)
        raise typer.Exit(0)
    end_children_on_sigterm()
    raise typer.Exit(_run_steps(matrix, steps, format))


def _run_steps(matrix: Matrix, steps: list[Step], format: Format) -> int:
    from conformance.matrix.run import FINISHED

    for number, step in enumerate(steps, 1):
        at = f"[{number:>{len(str(len(steps)))}}/{len(steps)}]"
        if step.state == FINISHED:
            result = f"{step.pair}: finished before, {step.why}"
        else:
            typer.echo(f"{at} {step.pair} ...", err=True)
            result = _result(matrix, step)
        typer.echo(f"{at} {result}", err=format is Format.JSON)
    code = matrix.together(step.pair for step in steps)
    if format is Format.JSON:
        print_json(matrix.record)
    return code


def _result(matrix: Matrix, step: Step) -> str:
    from conformance.report.terminal import closing

    result, why = closing(matrix.run(step.pair)), matrix.why(step.pair)
    return f"{result}\n  {why}" if why else result


def _print_steps(steps: list[Step], format: Format) -> None:
    if format is Format.JSON:
        print_json(steps)
        return
    from conformance.report.phrases import plural

    width = max(len(str(step.pair)) for step in steps)
    for step in steps:
        typer.echo(f"{step.pair!s:<{width}}  {step.state}" + (f": {step.why}" if step.why else ""))
    states = [step.state for step in steps]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    typer.echo(f"{plural(len(steps), 'pair')}: {counted}")
