"""All verbs, in one application."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from conformance.cli.bisect import bisect
from conformance.cli.calibrate import calibrate
from conformance.cli.clauses import clauses
from conformance.cli.doctor import doctor
from conformance.cli.explain import explain
from conformance.cli.families import families
from conformance.cli.faults import faults
from conformance.cli.known import app as known
from conformance.cli.matrix import app as matrix
from conformance.cli.replay import replay
from conformance.cli.report import app as report
from conformance.cli.run import run
from conformance.cli.schema import schema
from conformance.cli.show import show


class Interruptible(TyperGroup):
    """Ctrl-C leaves the work incomplete: exit code 3."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(3) from None


app = typer.Typer(
    cls=Interruptible,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Judge whether the installed PEFT answers rightly with prefixes. "
    "Exit codes: 0 conforms, 1 violation, 2 wrong use, 3 broken harness or incomplete, "
    "4 a known failure no longer fails, 5 nothing was tested.",
)
for verb in (run, families, clauses, explain, show, replay, bisect, faults, doctor, calibrate, schema):
    app.command()(verb)
app.add_typer(known, name="known")
app.add_typer(matrix, name="matrix")
app.add_typer(report, name="report")
