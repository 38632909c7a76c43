"""Who is to blame for a confirmed violation.

Decided from evidence, in this order:

1. **Oracle against oracle.** If two of our computations of what right would have been disagree on this very Case, nobody knows
   what right is: this harness. Exception: transformers is blamed if all three hold: (a) on a real text in the
   prefix, plain tensor algebra agrees with real tokens; (b) the base model over a filled cache does not; (c) the reference
   wrapper answers like (b). For plain algebra uses no code of transformers.
2. **The reference wrapper on the same Case.** Ours is small, shares no code with PEFT, and uses transformers and accelerate as
   PEFT does. If it conforms, what PEFT does differently is the cause: PEFT.
3. **The innermost frame of judged code**, where the reference wrapper fails too. A crash inside accelerate or transformers is
   blamed on that package; everything else is our own bug.

Where the reference wrapper cannot run the Case (it gives no logits of each beam) PEFT is blamed, and the note says that this
evidence is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.core.finding import Finding
from conformance.core.outcome import Blame, How, Outcome
from conformance.core.relations import unplaced, with_real_tokens
from conformance.core.signals import NotApplicable, RunFailed, Undecided, Violation
from conformance.oracles.table import Oracle, handmade_cache, handmade_loop, plain_attention, real_tokens
from conformance.runs.judged_code import guarded

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case
    from conformance.engine.controls import Example
    from conformance.runs.lab import Lab
    from conformance.runs.trace import Trace

OWNERS = {"accelerate": Blame.ACCELERATE, "transformers": Blame.TRANSFORMERS}
"""Who owns the innermost frame of a crash that the reference wrapper meets too."""


def decide(lab: Lab, finding: Finding, run: Callable[[Lab], Example]) -> tuple[Blame, str]:
    """Who is to blame for ``finding``, and the evidence in words; ``run`` holds the Case against the claim in another lab."""
    case = unplaced(finding.case)
    others = (handmade_loop, plain_attention, *[real_tokens] * (case.prefix.content == "tokens"))
    contradicting = next((oracle for oracle in others if _disagree(lab, case, oracle, handmade_cache)), None)
    if contradicting is plain_attention and _misused_cache(lab, case):
        return (
            Blame.TRANSFORMERS,
            "the base model, given a filled cache, answers otherwise than over the same text as tokens",
        )
    if contradicting:
        return Blame.HARNESS, f"our oracles disagree: {contradicting.name} and {handmade_cache.name}"
    reference = run(lab.reference())
    if reference.outcome is Outcome.CONFORMS:
        return Blame.PEFT, "a correct reference wrapper conforms on this Case"
    if reference.outcome is Outcome.BROKEN:
        return Blame.HARNESS, f"the reference wrapper cannot be judged: {_brief(reference)}"
    if reference.outcome is not Outcome.VIOLATES or reference.finding is None:
        return Blame.PEFT, f"the reference wrapper says nothing about this Case: {_brief(reference)}"
    owner = OWNERS.get(reference.finding.where.partition("/")[0])
    if reference.finding.how is How.CRASH and owner:
        return owner, f"a correct reference wrapper crashes on this Case too, at {reference.finding.where}"
    return Blame.HARNESS, f"the reference wrapper violates the claim too: {reference.finding.difference.what}"


def _brief(example: Example) -> str:
    return (example.reason.strip().splitlines() or [example.outcome.value])[-1]


def _misused_cache(lab: Lab, case: Case) -> bool:
    """Whether plain algebra is right about a real text in the prefix, the base model wrong, and a correct wrapper with it."""
    text = with_real_tokens(case)
    reference = lab.reference()
    return (
        _agree(lab, text, plain_attention, real_tokens, otherwise=False)
        and _disagree(lab, text, handmade_cache, real_tokens)
        and _agrees(
            lambda: reference.generate(case), lambda tokens: reference.predict(case, handmade_cache, tokens=tokens)
        )
    )


def _disagree(lab: Lab, case: Case, one: Oracle, other: Oracle) -> bool:
    """Whether two oracles that apply to ``case`` disagree. Which tokens they read does not matter."""
    return not _agree(lab, case, one, other, otherwise=True)


def _agree(lab: Lab, case: Case, one: Oracle, other: Oracle, otherwise: bool) -> bool:
    tokens = lab.some_tokens(case)
    return _agrees(
        lambda: lab.predict(case, one, tokens=tokens), lambda _: lab.predict(case, other, tokens=tokens), otherwise
    )


def _agrees(got: Callable[[], Trace], expected: Callable[[Tensor], Trace], otherwise: bool = False) -> bool:
    """Whether both agree; ``otherwise`` where one of them cannot be had, or they are too close to say."""
    try:
        # An oracle runs the base model, which may crash on a cache that is filled by hand. That is no disagreement.
        trace = guarded("an oracle", got)
        agree(trace, guarded("an oracle", lambda: expected(trace.tokens)))
    except Violation:
        return False
    except (NotApplicable, RunFailed, Undecided):
        return otherwise
    return True
