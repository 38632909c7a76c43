"""What a run would have left: a fine, a red, a cut one, and one that is lost. Which one, the name of the report says."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from conformance.core.case import Case
from conformance.core.finding import Cell, Difference, Finding, Verdict
from conformance.core.outcome import Blame, How, Outcome, State
from conformance.session.events import AnyEvent, Code, Footer, Header, Judged, Started
from conformance.session.writer import Writer

RELEASES = {"fine": "0.21.2", "red": "0.13.2", "cut": "0.14.0"}
FAMILIES = ("llama", "qwen2")
CLAUSES = ("masks.rows_alone", "equivalence.step_logits")


def play(arguments: Sequence[str]) -> int:
    """Write the events that ``--report`` asks for; give the exit code."""
    report = Path(next(argument for argument in arguments if argument.startswith("--report=")).partition("=")[2])
    name = report.name.partition(".")[0]
    if name == "lost":
        return 1
    writer = Writer(report)
    violated = os.environ.get("VIOLATED", "llama").split() if name == "red" else []
    for event in _header(name), *_judged(name, violated), *([] if name == "cut" else [_footer(violated)]):
        writer.write(event)
    if examples := os.environ.get("CONFORMANCE_EXAMPLES"):
        Path(examples).mkdir(exist_ok=True)
        with (Path(examples) / "cases").open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
    return 137 if name == "cut" else 1 if violated else 0


def _header(name: str) -> Header:
    versions = {"peft": RELEASES.get(name, "0.21.2"), "transformers": "4.45.1", "torch": "2.13.0", "python": "3.11.7"}
    return Header(
        versions=versions,
        python="3.11.7",
        platform="Linux",
        profile="thorough",
        examples=60,
        seed=1,
        families=FAMILIES,
        clauses=CLAUSES,
        methods=("PREFIX_TUNING",),
    )


def _judged(name: str, violated: Sequence[str]) -> list[AnyEvent]:
    events: list[AnyEvent] = []
    for family in FAMILIES:
        for clause in CLAUSES:
            events.append(Started(item=f"{clause}[{family}]"))
            if name == "cut" and family == "qwen2":
                return events
            wrong = family in violated and clause == CLAUSES[0]
            events.append(Judged(cell=_cell(clause, family, wrong)))
    return events


def _cell(clause: str, family: str, wrong: bool) -> Cell:
    outcome = Outcome.VIOLATES if wrong else Outcome.CONFORMS
    verdict = Verdict(
        outcome=outcome,
        counts={outcome.value: 480},
        finding=_finding(clause, family) if wrong else None,
        decisive=480,
    )
    return Cell(clause=clause, family=family, state=State.JUDGED, verdict=verdict)


def _finding(clause: str, family: str) -> Finding:
    return Finding(
        clause=clause,
        statement="A row alone gives the answer that it gave in the batch.",
        family=family,
        case=Case(family=family),
        features=(),
        how=How.WRONG,
        difference=Difference(what="logits differ", got="0.5", expected="0.25", row=1, step=3, margin=0.25, error=1e-5),
        blame=Blame.PEFT,
        versions={"peft": "0.13.2", "transformers": "4.45.1", "torch": "2.13.0"},
    )


def _footer(violated: Sequence[str]) -> Footer:
    code: Code = 1 if violated else 0
    number = len(FAMILIES) * len(CLAUSES)
    return Footer(exit_code=code, counts={"conforms": number - len(violated), "violates": len(violated)}, seconds=1.5)


if __name__ == "__main__":
    sys.exit(play(sys.argv[1:]))
