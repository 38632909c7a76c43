"""The controls: what must hold of the base model, without any prompt, before anybody else is blamed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.clauses.registry import Clause, clause_named
from conformance.core.case import Case, Row
from conformance.core.finding import Finding
from conformance.core.outcome import How
from conformance.core.signals import RunFailed, Undecided, violation
from conformance.devices.current import on_single_device

if TYPE_CHECKING:
    from conformance.runs.lab import Lab


def _run(lab: Lab, case: Case) -> None:
    """The base model runs."""
    lab.generate(case)


_RUNS = Clause(id="control.runs", statement="The base model runs.", explanation="", check=_run)


def _learn(lab: Lab, case: Case) -> None:
    """The base model's training forward runs."""
    lab.forward(case, lab.some_tokens(case))


_LEARNS = Clause(id="control.learns", statement="The base model's training forward runs.", explanation="", check=_learn)


def _goes_on(lab: Lab, case: Case) -> None:
    """The base model, with pads on the left, goes on from its own cache under the map, as it does on one device."""
    padded = replace(case, rows=(*case.rows, Row(length=case.longest + 1)), beams=1, cache="dynamic")
    got, expected = lab.continued(padded), lab.continued(on_single_device(padded))
    if got.tolist() != expected.tolist():
        raise violation("tokens when the base model goes on from its cache", got.tolist(), expected.tolist())


_GOES_ON = Clause(
    id="control.goes_on", statement="The base model goes on from its cache.", explanation="", check=_goes_on
)


def _keeps_bits(lab: Lab, case: Case) -> None:
    """The base model, run twice, gives the same logits to the last bit."""
    with suppress(RunFailed):  # that it runs at all is another control
        if not lab.repeats_itself(case):
            raise Undecided("the base model, run twice, does not keep its bits: nobody can be held to them")


KEEPS_BITS = Clause(
    id="control.keeps_bits", statement="The base model keeps its bits.", explanation="", check=_keeps_bits
)


def controls_of(clause: Clause, finding: Finding) -> list[Clause]:
    """What must hold of the base model before anybody else is blamed, in this order."""
    own = {"same": clause, "runs": _RUNS, "learns": _LEARNS}[clause.control]
    return [*[KEEPS_BITS] * (finding.how is How.WRONG), own, *[_GOES_ON] * clause.placed]


def control_named(name: str, clause: str) -> Clause:
    """The control that is called so; the claim of ``clause`` itself, where that is its own control."""
    controls = {control.id: control for control in (_RUNS, _LEARNS, _GOES_ON, KEEPS_BITS)}
    return controls.get(name) or clause_named(clause)
