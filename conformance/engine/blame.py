"""Who is to blame for a confirmed violation.

Decided from evidence, in this order:

1. **Oracle against oracle.** If two of our computations of what right would have been disagree on this very Case, nobody knows
   what right is: this harness.
2. **The reference wrapper on the same Case.** Ours is small, shares no code with PEFT, and uses transformers and accelerate as
   PEFT does. If it conforms, what PEFT does differently is the cause: PEFT.
3. **The innermost frame of judged code**, where the reference wrapper fails in the same way. A crash inside accelerate or
   transformers that a correct wrapper meets too is theirs. A wrong answer that it gives too is the claim's, or the wrapper's:
   this harness, whatever the base model does, since its control has passed.

Where the reference wrapper cannot run the Case (it decodes greedily, with a dynamic cache) PEFT is blamed, and the note says
that this evidence is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.core.finding import Finding
from conformance.core.outcome import Blame, How, Outcome
from conformance.core.relations import unplaced
from conformance.core.signals import NotApplicable, RunFailed, Undecided, Violation
from conformance.oracles.table import Oracle, handmade_cache, handmade_loop, plain_attention, real_tokens
from conformance.runs.judged_code import guarded

if TYPE_CHECKING:
    from conformance.engine.controls import Example
    from conformance.runs.lab import Lab
    from conformance.runs.trace import Trace

OWNERS = {"accelerate": Blame.ACCELERATE, "transformers": Blame.TRANSFORMERS}
"""Who owns the innermost frame of a crash that the reference wrapper meets too."""


def decide(lab: Lab, finding: Finding, run: Callable[[Lab], Example]) -> tuple[Blame, str]:
    """Who is to blame for ``finding``, and the evidence in words; ``run`` holds the Case against the claim in another lab."""
    disagreement = _oracles_disagree(lab, finding)
    if disagreement:
        return Blame.HARNESS, f"our oracles disagree: {disagreement}"
    reference = run(lab.reference())
    if reference.outcome is Outcome.CONFORMS:
        return Blame.PEFT, "a correct reference wrapper conforms on this Case"
    if reference.outcome is not Outcome.VIOLATES or reference.finding is None:
        return Blame.PEFT, f"the reference wrapper says nothing about this Case: {_brief(reference)}"
    owner = OWNERS.get(reference.finding.where.partition("/")[0])
    if reference.finding.how is How.CRASH and owner:
        return owner, f"a correct reference wrapper crashes on this Case too, at {reference.finding.where}"
    return Blame.HARNESS, f"the reference wrapper violates the claim too: {reference.finding.difference.what}"


def _brief(example: Example) -> str:
    return (example.reason.strip().splitlines() or [example.outcome.value])[-1]


def _oracles_disagree(lab: Lab, finding: Finding) -> str:
    """In what two oracles that apply to the Case disagree; empty if they agree. Which tokens they read does not matter."""
    case = unplaced(finding.case)
    tokens = lab.some_tokens(case)
    others = (handmade_loop, plain_attention, *[real_tokens] * (case.prefix.content == "tokens"))

    def predicted(oracle: Oracle) -> Trace:
        # An oracle runs the base model, which may crash on a cache that is filled by hand. That is no disagreement.
        return guarded(oracle.name, lambda: lab.predict(case, oracle, tokens=tokens))

    for oracle in others:
        try:
            agree(predicted(oracle), predicted(handmade_cache), f"{oracle.name} and {handmade_cache.name}")
        except (NotApplicable, RunFailed, Undecided):
            continue
        except Violation as violation:
            return f"{violation.difference.what}: {violation.difference.got}, {violation.difference.expected}"
    return ""
