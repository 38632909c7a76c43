"""Generate with a prefix is the forward pass with the prefix cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import agree, agree_on_tokens
from conformance.clauses.follow_ups import by_position, loaded_with_text
from conformance.clauses.preconditions import in_plain_algebra, text_fits
from conformance.clauses.registry import COUNTING_PADS, Floor, clause
from conformance.core.relations import called, first_steps, with_embeds
from conformance.core.sources import PREFIX_TUNING_DOC, PROMPT_TUNING_DOC, STORY
from conformance.oracles.table import handmade_cache, handmade_loop, plain_attention, real_tokens

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=(*STORY, "huggingface/peft#1352"))
def greedy_tokens(lab: Lab, case: Case) -> None:
    """Greedy generate answers, token by token, what a manual loop over the base model answers.

    The loop's cache is filled by hand from the raw adapter weights. A token is wrong only if another one leads it by
    more than the error.
    """
    got = lab.generate(case)
    agree_on_tokens(got, lab.predict(case, handmade_loop, tokens=got.tokens))


@clause(sources=(*STORY, "huggingface/peft#565"), priority=True)
def step_logits(lab: Lab, case: Case) -> None:
    """The logits of every step agree with the manual forward over the prefix cache."""
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))


@clause(
    sources=(PREFIX_TUNING_DOC, PROMPT_TUNING_DOC, "huggingface/peft#2953"),
    requires=(text_fits,),
    follow_ups=loaded_with_text,
    priority=True,
)
def real_tokens_prefix(lab: Lab, case: Case) -> None:
    """A prefix that holds the keys and values of a real text P answers like the base model with P in front of the text.

    PEFT itself loads the cache of a real text as a prefix, and its embeddings as a prompt; that the answers are then those of the
    text follows from causal attention. An encoder reads the text of a prompt.
    """
    got = lab.generate(case)
    agree(got, lab.predict(case, real_tokens, tokens=got.tokens))


@clause(sources=(*STORY, "XiangLi1999/PrefixTuning#40"), priority=True, floor=COUNTING_PADS)
def forward_agrees_with_generate(lab: Lab, case: Case) -> None:
    """The training forward over the finished sequence gives the logits that generate saw."""
    got = lab.generate(case)
    agree(lab.forward(case, tokens=got.tokens), got, "training and generate differ")


@clause(sources=("huggingface/transformers#21405", "huggingface/peft#757"), floor=Floor(may_refuse=True))
def embeds_agree_with_ids(lab: Lab, case: Case) -> None:
    """Generate answers the same when it is given inputs_embeds in place of input_ids."""
    agree(lab.generate(with_embeds(case)), lab.generate(case))


@clause(sources=("huggingface/peft#232", "huggingface/peft#1393"), follow_ups=by_position)
def position_agrees_with_name(lab: Lab, case: Case) -> None:
    """Generate answers the same when the text is its first argument, without a name, as when it is input_ids."""
    got, expected = lab.generate(first_steps(case, 1)), lab.generate(called(case, "usual")).steps(1)
    agree(got, expected, "generate answers otherwise to a text without a name")


@clause(sources=("arXiv:1706.03762", "arXiv:2104.09864"), requires=(in_plain_algebra,))
def plain_attention_agrees(lab: Lab, case: Case) -> None:
    """A decoder written in plain tensor algebra, in float64, gives the logits that generate saw."""
    got = lab.generate(case)
    agree(got, lab.predict(case, plain_attention, tokens=got.tokens))
