"""All verbs, in one application."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperGroup

from conformance.cli.bisect import bisect
from conformance.cli.calibrate import calibrate
from conformance.cli.clauses import list_clauses
from conformance.cli.coverage import count_coverage
from conformance.cli.doctor import doctor
from conformance.cli.expect import expect
from conformance.cli.explain import explain
from conformance.cli.families import list_families
from conformance.cli.faults import plant_faults
from conformance.cli.known import known_app
from conformance.cli.matrix import matrix_app
from conformance.cli.replay import replay_case
from conformance.cli.report import report_app
from conformance.cli.run import run
from conformance.cli.schema import print_schema
from conformance.cli.show import show_file
from conformance.cli.soak import soak_healthy
from conformance.session.exit_codes import MEANING


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
    help="Judge whether prompt learning works with the installed PEFT and transformers. "
    f"Exit codes: {', '.join(f'{code} {text}' for code, text in MEANING.items())}.",
)
VERBS: dict[str, Callable[..., None]] = {
    "run": run,
    "families": list_families,
    "clauses": list_clauses,
    "explain": explain,
    "expect": expect,
    "show": show_file,
    "replay": replay_case,
    "bisect": bisect,
    "faults": plant_faults,
    "soak": soak_healthy,
    "coverage": count_coverage,
    "doctor": doctor,
    "calibrate": calibrate,
    "schema": print_schema,
}
for name, verb in VERBS.items():
    app.command(name)(verb)
for name, verbs in {"known": known_app, "matrix": matrix_app, "report": report_app}.items():
    app.add_typer(verbs, name=name)
