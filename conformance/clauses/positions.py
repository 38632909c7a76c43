"""Real tokens stand behind the prefix, wherever the pads are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.clauses.preconditions import no_pads, pads
from conformance.clauses.registry import clause

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#2134", "arXiv:2101.00190"), requires=(no_pads,))
def start_after_prefix(lab: Lab, case: Case) -> None:
    """The first real token's position is n, in forward and in generate alike."""
    from conformance.assertions.observations import starts_at_n

    starts_at_n(case, lab.generate(case), "generate")
    starts_at_n(case, lab.forward(case), "forward")


@clause(sources=("huggingface/peft#869",), requires=(pads,))
def skip_padding(lab: Lab, case: Case) -> None:
    """Pads lie between prefix and text: the text's positions still start at n, in generate and in forward alike."""
    from conformance.assertions.observations import starts_at_n
    from conformance.core.relations import without_prefix

    starts_at_n(case, lab.generate(case), "generate")
    # Where the base model's own forward counts pads, there is no default to keep; masks.given_positions judges the rest.
    if base_skips_pads(lab, without_prefix(case)):
        starts_at_n(case, lab.forward(case), "forward")


def base_skips_pads(lab: Lab, case: Case) -> bool:
    """Whether the base model's forward, given only a mask, gives its text the positions 0, 1, ..."""
    from conformance.assertions.observations import starts_at_n
    from conformance.core.signals import Violation

    try:
        starts_at_n(case, lab.forward(case), "forward")
    except Violation:
        return False
    return True


@clause(sources=("huggingface/peft#565",))
def fit_the_table(lab: Lab, case: Case) -> None:
    """Prefix, text and answer may take all of the model's positions; beyond a learned table there is an error, no answer."""
    from conformance.assertions.logits import agree
    from conformance.core.relations import filling_positions
    from conformance.core.signals import NotApplicable, RunFailed, violation
    from conformance.families import family_named
    from conformance.oracles import handmade_cache

    full, beyond = filling_positions(case), filling_positions(case, beyond=1)
    if full is None or beyond is None:
        raise NotApplicable("the prefix and the answer take all positions")
    got = lab.generate(full)
    agree(got, lab.predict(full, handmade_cache, tokens=got.tokens), "the logits differ when the table is full")
    if family_named(case.family).anatomy.positions == "learned":
        try:
            answer = lab.generate(beyond)
        except RunFailed:
            return
        raise violation("generate beyond the table of positions", f"an answer {answer.tokens.tolist()}", "an error")
