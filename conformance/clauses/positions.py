"""Real tokens stand behind the prefix, wherever the pads are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.assertions.positions import base_skips_pads, starts_at_n
from conformance.clauses.preconditions import has_positions, no_pads, pads
from conformance.clauses.registry import clause
from conformance.core.relations import filling_positions, without_prefix
from conformance.core.signals import NotApplicable, RunFailed, violation
from conformance.families import family_named
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(
    sources=("huggingface/transformers#33852", "XiangLi1999/PrefixTuning#40"),
    requires=(has_positions, no_pads),
)
def start_after_prefix(lab: Lab, case: Case) -> None:
    """The first real token's position is n, in forward and in generate alike."""
    starts_at_n(case, lab.generate(case), "generate")
    starts_at_n(case, lab.forward(case), "forward")


@clause(
    sources=("huggingface/peft#1093", "huggingface/peft#54", "huggingface/transformers#26072"),
    requires=(has_positions, pads),
)
def skip_padding(lab: Lab, case: Case) -> None:
    """Pads lie between prefix and text: the text's positions still start at n, in generate and in forward alike."""
    starts_at_n(case, lab.generate(case), "generate")
    # Where the base model's own forward counts pads, there is no default to keep; masks.given_positions judges the rest.
    if base_skips_pads(lab, without_prefix(case)):
        starts_at_n(case, lab.forward(case), "forward")


@clause(sources=("XiangLi1999/PrefixTuning#40",))
def fit_the_table(lab: Lab, case: Case) -> None:
    """Prefix, text and answer may take all of the model's positions; beyond a learned table there is an error, no answer."""
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
