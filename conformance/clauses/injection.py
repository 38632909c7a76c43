"""The virtual tokens are there, once, unharmed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.cache import equal_contents, grows_by_one, no_layer_repeats
from conformance.assertions.gradients import gradients_of_rows, optimiser_step, visible_virtual_tokens
from conformance.assertions.logits import agree, differ, identical
from conformance.assertions.state import inputs_unmodified, state_unchanged
from conformance.clauses.follow_ups import shortest
from conformance.clauses.preconditions import (
    in_reach,
    in_the_cache,
    keys_carry_position,
    many_virtual_tokens,
    something_learns,
    trained_in_reach,
)
from conformance.clauses.registry import clause
from conformance.core.relations import first_steps, other_prefix, prefix_reversed, same_rows, without_prefix
from conformance.core.signals import violation
from conformance.core.sources import PREFIX_TUNING_DOC, PROMPTING_DOC, STORY

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=(*STORY, "XiangLi1999/PrefixTuning#37"), requires=(in_the_cache,), control="runs")
def present(lab: Lab, case: Case) -> None:
    """At the first forward of a generate call every layer's cache reports length n and stores what its window keeps."""
    n, first = case.prefix.length, lab.generate(case).forwards[0]
    for index, layer in enumerate(first.cache):
        if layer.length != n:
            raise violation(f"length that layer {index} reports at the first forward", layer.length, n)
        stored, least = layer.keys.shape[-2] if layer.keys is not None else 0, min(n, case.roles.seen_back(index))
        if not least <= stored <= n:
            raise violation(f"positions that layer {index} stores at the first forward", stored, least)


@clause(sources=("arXiv:2101.00190", PROMPTING_DOC, "huggingface/peft#1901"), requires=(in_the_cache,), control="runs")
def faithful(lab: Lab, case: Case) -> None:
    """What those positions hold equals the adapter's parameters: layer, head, order, key and value, after projection."""
    first = lab.generate(case).forwards[0]
    for index, (layer, (keys, values)) in enumerate(zip(first.cache, lab.injected(case).cache, strict=False)):
        equal_contents(layer.keys, keys, f"keys of layer {index}", case)
        equal_contents(layer.values, values, f"values of layer {index}", case)


@clause(sources=("huggingface/peft#1352", "huggingface/peft#169"))
def once(lab: Lab, case: Case) -> None:
    """After t new tokens the cache reports n + prompt + t - 1 positions, and a second call does not see the first one's.

    Virtual tokens that an encoder reads are not among them.
    """
    grows_by_one(case, lab.generate(case), "first")
    grows_by_one(first_steps(case), lab.again(case), "second")


@clause(
    sources=("arXiv:2101.00190", "huggingface/peft#410", PREFIX_TUNING_DOC),
    requires=(something_learns, trained_in_reach),
    follow_ups=shortest,
    control="runs",
)
def every_parameter_matters(lab: Lab, case: Case) -> None:
    """Each block of parameters and each visible virtual token has a gradient, and none is tied to another.

    A block is a layer's keys or values, or the embeddings of one stack. An exact zero in float64 is a dead parameter: it is
    trained for nothing. Frozen virtual tokens are not trained.
    """
    no_layer_repeats(lab.generate(case).forwards[0])
    by_token, by_block = gradients_of_rows(lab, case)
    for block in range(len(by_block)):
        if not by_block[block].any():
            raise violation(f"gradient of block {block} of {len(by_block)}", "exactly 0", "not 0: some layer reads it")
    for token in visible_virtual_tokens(case):
        if not by_token[token].any():
            raise violation(f"gradient of virtual token {token}", "exactly 0", "not 0: it is within reach of the text")


@clause(
    sources=("arXiv:1706.03762",),
    requires=(in_the_cache, many_virtual_tokens, keys_carry_position),
    control="runs",
)
def order_free(lab: Lab, case: Case) -> None:
    """Permuting the virtual tokens changes nothing where attention is full and keys carry their position already.

    Our own conclusion from the source: attention is a sum over keys and values, so their order does not matter there.
    """
    short = first_steps(prefix_reversed(case))
    agree(lab.generate(short), lab.generate(case).steps(3), "the order of the virtual tokens matters")


@clause(sources=("huggingface/peft#169", "huggingface/peft#170", PROMPTING_DOC))
def parameters_untouched(lab: Lab, case: Case) -> None:
    """No forward or generate changes parameters, buffers, configs, the user's tensors, or what the base model answers."""
    subject, before = lab.subject(case), lab.new_subject(case).contents()
    inputs_unmodified(lab.generate(case), "generate")
    inputs_unmodified(lab.forward(case), "forward")
    state_unchanged(before, subject)
    bare = first_steps(without_prefix(case))
    after = lab.generate_on(subject.bare(), bare)
    identical(after, lab.generate(bare), "the base model answers otherwise after the wrapper was used")


@clause(requires=(in_reach, something_learns, trained_in_reach), control="runs", priority=True)
def current(lab: Lab, case: Case) -> None:
    """After an optimiser step, and after values are loaded back, the next call uses the new values.

    Our own claim: a call after a step that uses older values trains something else than it reports.
    """
    short, first, subject = first_steps(case), lab.generate(case), lab.subject(case)
    with subject.restored():
        optimiser_step(lab, subject, case)
        got = lab.generate_on(subject, short)
        agree(got, lab.predict_from(subject.raw(), short, got.tokens), "not the values after the optimiser step")
    identical(lab.generate_on(subject, short), first.steps(3), "not the values that were loaded back")


@clause(sources=("huggingface/peft#2043",))
def same_for_all_rows(lab: Lab, case: Case) -> None:
    """Each row has the same prefix: equal texts have equal answers."""
    got = lab.generate(first_steps(same_rows(case, 3), 2))
    for index in (1, 2):
        agree(got.row(index), got.row(0), f"row {index} differs from row 0, which has the same text")


@clause(sources=STORY, requires=(in_reach,), control="runs")
def ignored_never(lab: Lab, case: Case) -> None:
    """Two different prefixes give different logits, in forward and in generate alike."""
    other = first_steps(other_prefix(case), 1)
    differ(lab.generate(case), lab.generate(other), "generate gives the same logits with two prefixes")
    differ(lab.forward(case), lab.forward(other), "forward gives the same logits with two prefixes")
