"""One example: run the claim, and before anybody is blamed, the control, a repetition from scratch, and float64."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from conformance.clauses.registry import Clause
from conformance.compat.versions import versions
from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.features import features
from conformance.core.finding import Difference, Finding
from conformance.core.outcome import Blame, How, Outcome
from conformance.core.relations import in_double, with_embeds, without_prefix
from conformance.core.signals import BaseFails, NotApplicable, RunFailed, Undecided, Violation
from conformance.devices.current import current, with_local_devices
from conformance.engine import blame, witness
from conformance.engine.base_model import KEEPS_BITS, controls_of
from conformance.families import family_named
from conformance.families.size import too_large
from conformance.families.traits import traits
from conformance.runs.call_limit import NeverAnswers
from conformance.runs.resources import Exhausted, disk_full, exhausted
from conformance.runs.tolerance import FLOAT32_MARGIN

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

_SPOILT = (
    "the base model by itself fails only in the process in which PEFT was at work, not in one that never imported it"
)


class Example(Struct, frozen=True, kw_only=True):
    """What one Case showed.

    ``evidence`` is a violation of the control, a finding about transformers; ``known`` are the known failures that explain a
    violation. ``base_fails``: it is *not applicable* because the base model alone fails at the same request. A violation that
    does not ``repeat`` was seen once, and something else the second time.
    """

    case: Case
    outcome: Outcome
    reason: str = ""
    finding: Finding | None = None
    evidence: Finding | None = None
    known: tuple[str, ...] = ()
    base_fails: bool = False
    repeats: bool = True

    @property
    def holds(self) -> bool:
        """Whether nothing speaks against the claim: of a control, that it excuses nobody."""
        return self.outcome in (Outcome.CONFORMS, Outcome.NOT_APPLICABLE)

    @property
    def never_answers(self) -> bool:
        """Whether it is a call that ran into its limit of time: each attempt to shrink it would take as long."""
        return self.finding is not None and self.finding.difference.got.startswith(NeverAnswers.__name__)

    def alike(self, other: Example) -> bool:
        """Whether ``other`` is a violation of the same kind: what a shrink may move to."""
        return bool(self.finding and other.finding) and self.finding.key == other.finding.key  # type: ignore[union-attr]


def run_clause(clause: Clause, lab: Lab, case: Case) -> Example:
    """Run the claim once, without controls."""
    try:
        clause.check(lab, case)
    except Violation as raised:
        return _violates(clause, lab, case, raised.difference, raised.how, raised.where)
    except RunFailed as failed:
        if failed.refused:
            note = "refused, misleading" if _misleads(lab, case, failed) else "refused"
            return Example(case=case, outcome=Outcome.REFUSED, reason=f"{note}: {failed.words}")
        difference = Difference(
            what=f"{failed.call} raised",
            got=failed.words,
            expected="an answer, or a refusal in words",
            told=failed.told,
        )
        return _violates(clause, lab, case, difference, How.CRASH, failed.where)
    except NotApplicable as reason:
        fails = isinstance(reason, BaseFails)
        return Example(case=case, outcome=Outcome.NOT_APPLICABLE, reason=str(reason), base_fails=fails)
    except Undecided as reason:
        return Example(case=case, outcome=Outcome.UNDECIDED, reason=str(reason))
    except UserError:
        raise
    except Exception as error:
        return Example(case=case, outcome=Outcome.BROKEN, reason=_breakage(error))
    return Example(case=case, outcome=Outcome.CONFORMS)


def _breakage(error: Exception) -> str:
    """Why the harness is broken: by this machine, in a few words, or by a bug of ours."""
    if isinstance(error, Exhausted):
        return str(error)
    why = exhausted(error)
    return f"this machine is at fault: {why}" if why else traceback.format_exc(limit=-4)


def run(clause: Clause, lab: Lab, case: Case) -> Example:
    """What ``case`` shows, without controls; *not applicable* where it lacks what the claim needs."""
    missing = too_large(case) or clause.missing(case)
    if missing:
        return Example(case=case, outcome=Outcome.NOT_APPLICABLE, reason=missing)
    return run_clause(clause, lab, case)


def run_with_control(clause: Clause, lab: Lab, case: Case) -> Example:
    """:func:`run`, and if the claim does not hold, its control."""
    return controlled(clause, lab, run(clause, lab, case))


def controlled(clause: Clause, lab: Lab, example: Example) -> Example:
    """A violation, unless its control fails too: the same claim about the base model, or that this model runs.

    Of placed models there are two controls. Without a prefix, the first forward of generate has no cache and, without pads,
    no mask; so that the base model runs under a map does not show that it can use them there. It must also go on from its own
    cache, with pads, as it does on one device. And nobody can be held to a number that the base model does not keep.

    What fails here, where PEFT has been at work, must fail where it never was (:mod:`conformance.engine.witness`).
    """
    if example.outcome is not Outcome.VIOLATES or example.finding is None:
        return example
    bare = without_prefix(example.case)
    control, result = _first_failing(controls_of(clause, example.finding), lab, bare)
    if result.holds or (result.outcome is Outcome.UNDECIDED and control is not KEEPS_BITS):
        return example
    if result.outcome is Outcome.BROKEN:
        return result
    if witness.contradicts(control, clause, bare, words := witness.words_of(result.reason, result.finding)):
        return replace(example, finding=replace(example.finding, blame=Blame.PEFT, note=f"{_SPOILT}: {words}"))
    return _excused(example, result)


def _first_failing(controls: Iterable[Clause], lab: Lab, case: Case) -> tuple[Clause, Example]:
    """The first control that does not conform, and what it showed; the last one where all do."""
    for control in controls:
        result = run_clause(control, lab, case)
        if result.outcome is not Outcome.CONFORMS:
            break
    return control, result


def _excused(example: Example, control: Example) -> Example:
    """What a violation comes to whose control failed as well."""
    if control.outcome is Outcome.UNDECIDED:
        return Example(case=example.case, outcome=Outcome.UNDECIDED, reason=control.reason)
    evidence = control.finding
    fails = f"alone fails too: {evidence.difference.what}" if evidence else control.reason
    return Example(
        case=example.case,
        outcome=Outcome.NOT_APPLICABLE,
        reason=f"the base model {fails}",
        evidence=evidence,
        base_fails=True,
    )


def confirm(clause: Clause, lab: Lab, example: Example) -> Example:
    """A violation that repeats in a lab that remembers nothing, and is wrong in float64 too; with who is to blame.

    One that does not repeat is :func:`unsteady`.
    """
    if example.outcome is not Outcome.VIOLATES or example.finding is None:
        return example
    if full := disk_full():
        return Example(case=example.case, outcome=Outcome.BROKEN, reason=f"this machine is at fault: {full}")
    again = run_clause(clause, lab.fresh(), example.case)
    if again.outcome is not Outcome.VIOLATES or not example.alike(again):
        return unsteady(clause, lab, example, again)
    if example.finding.note.startswith(_SPOILT):
        return example  # the reference wrapper fails on a spoilt base model, too
    if not _holds_in_float64(clause, lab, example.finding):
        reason = "wrong in float32 only; float64 agrees or cannot run"
        return Example(case=example.case, outcome=Outcome.UNDECIDED, reason=reason)
    return blamed(clause, lab, example, example.finding)


def unsteady(clause: Clause, lab: Lab, example: Example, again: Example) -> Example:
    """A violation that was something else when repeated: it is not deterministic, and the base model says whose fault that is.

    Where the base model and the oracle repeat themselves to the bit, what PEFT adds does not, and both outcomes are shown. Else
    it is ours: one of two answers of such a model is not wrong.
    """
    seen = example.finding
    if seen is None or again.outcome is Outcome.BROKEN:
        return again
    why = lab.unrepeatable(without_prefix(example.case))
    if why:
        return Example(case=example.case, outcome=Outcome.BROKEN, reason=f"not deterministic: {why}")
    difference = Difference(
        what=f"not deterministic: {seen.difference.what}, and something else when repeated",
        got=f"first {seen.difference.got}; then {_shown(again)}",
        expected=f"the same twice, as of the base model and the oracle: {seen.difference.expected}",
    )
    finding = replace(seen, difference=difference)
    return replace(blamed(clause, lab, replace(example, finding=finding), finding), repeats=False)


def _shown(again: Example) -> str:
    if again.finding:
        return f"{again.finding.difference.what}: {again.finding.difference.got}"
    return f"{again.outcome.value} ({again.reason})" if again.reason else again.outcome.value


def blamed(clause: Clause, lab: Lab, example: Example, finding: Finding) -> Example:
    """The violation with who is to blame, and why; one of our own making is a broken harness."""
    culprit, evidence = blame.decide(lab, finding, lambda other: run_clause(clause, other, example.case))
    if culprit is Blame.HARNESS:
        return Example(case=example.case, outcome=Outcome.BROKEN, reason=f"{evidence}: Case {example.case.to_json()}")
    return replace(example, finding=replace(finding, blame=culprit, note=evidence))


def _holds_in_float64(clause: Clause, lab: Lab, finding: Finding) -> bool:
    """Whether it is no matter of float32's precision: bits, crashes and lengths are none.

    In half precision the error is measured against float32 already, and a better precision says nothing of the claim.
    """
    if finding.difference.margin is None or finding.case.dtype == "float64" or finding.case.in_half:
        return True
    double = run_clause(clause, lab, in_double(finding.case))
    if double.outcome is Outcome.VIOLATES and double.finding and double.finding.how is How.WRONG:
        return True
    margin, error = finding.difference.margin, finding.difference.error or 0.0
    runs = double.outcome in (Outcome.CONFORMS, Outcome.UNDECIDED)
    return not runs and margin > FLOAT32_MARGIN * error


def _misleads(lab: Lab, case: Case, failed: RunFailed) -> bool:
    """Whether a refusal is known to, or blames the base model's class, which by itself answers such requests."""
    if failed.misleading:
        return True
    if case.prefix.length == 0 or family_named(case.family).model not in failed.words:
        return False
    return lab.once(("misleads", case.family, failed.words), lambda: _answers(lab, with_embeds(without_prefix(case))))


def _answers(lab: Lab, case: Case) -> bool:
    try:
        lab.generate(case)
    except RunFailed:
        return False
    return True


def _violates(clause: Clause, lab: Lab, case: Case, difference: Difference, how: How, where: str) -> Example:
    finding = Finding(
        clause=clause.id,
        statement=clause.statement,
        family=case.family,
        case=case,
        features=tuple(sorted(features(with_local_devices(case)) | traits(case))),
        how=how,
        difference=difference,
        # Without a prefix there is nobody else; with one, the evidence is gathered once it is confirmed.
        blame=Blame.PEFT if case.prefix.length else Blame.TRANSFORMERS,
        versions=versions(),
        sources=clause.sources,
        where=where,
        devices=current().given if case.placed else "",
        mended=lab.mended,
    )
    return Example(case=case, outcome=Outcome.VIOLATES, finding=finding)
