"""Checks that one might have written instead of a clause, each plausible, none sharp enough for the fault it is named with.

Each is a claim like a clause's, passes on what is healthy, and finds gross faults: a test holds that it is a real check.
"""

from __future__ import annotations

from dataclasses import replace as cut
from typing import TYPE_CHECKING

import torch
from msgspec.structs import replace

from conformance.assertions import cache, gradients
from conformance.assertions import logits as compare
from conformance.clauses import equivalence
from conformance.core import relations
from conformance.core.case import Case
from conformance.core.signals import violation
from conformance.oracles import handmade_cache

if TYPE_CHECKING:
    from conformance.runs.lab import Lab

step_logits = equivalence.step_logits


def first_steps(lab: Lab, case: Case) -> None:
    """The logits of the first four steps agree: four new tokens are enough for a test."""
    step_logits(lab, replace(case, new_tokens=min(4, case.new_tokens)))


def greedy_tokens(lab: Lab, case: Case) -> None:
    """Only what is answered counts: the tokens of the first three steps."""
    got = lab.generate(replace(case, new_tokens=min(3, case.new_tokens)))
    compare.agree_on_tokens(got, lab.predict(got.case, handmade_cache, tokens=got.tokens))


def unprojected(lab: Lab, case: Case) -> None:
    """The logits agree, without a projection."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, projection=0)))


def two_layers(lab: Lab, case: Case) -> None:
    """The logits agree, on a model of two layers, as small test models have."""
    step_logits(lab, replace(case, roles=replace(case.roles, layers=2)))


def all_kv_heads(lab: Lab, case: Case) -> None:
    """The logits agree, on a model with one key/value head for each query head."""
    step_logits(lab, replace(case, roles=replace(case.roles, kv_heads=case.roles.heads)))


def alone(lab: Lab, case: Case) -> None:
    """The logits agree, in a batch of one."""
    step_logits(lab, relations.row_alone(case, 0))


def twenty_virtual_tokens(lab: Lab, case: Case) -> None:
    """The logits agree with 20 virtual tokens, as in most examples."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, length=20)))


def equal_lengths(lab: Lab, case: Case) -> None:
    """Permuting rows of equal length permutes the answers."""
    even = replace(case, rows=tuple(replace(row, length=case.longest) for row in case.rows))
    got, reversed_ = lab.generate(even), lab.generate(relations.rows_reversed(even))
    for index in range(len(case.rows)):
        compare.agree(reversed_.row(len(case.rows) - 1 - index), got.row(index))


def two_equal_rows(lab: Lab, case: Case) -> None:
    """Two equal texts have equal answers."""
    got = lab.generate(relations.same_rows(case, 2))
    compare.agree(got.row(1), got.row(0))


def default_attention(lab: Lab, case: Case) -> None:
    """The logits agree, with the default implementation of attention."""
    step_logits(lab, relations.with_attention(case, "default"))


def full_table(lab: Lab, case: Case) -> None:
    """Prefix, text and answer may take all of the model's positions."""
    full = relations.filling_positions(case)
    if full is not None:
        step_logits(lab, full)


def shapes(lab: Lab, case: Case) -> None:
    """Each layer's cache has the right shape at the first forward."""
    for index, (layer, (keys, _)) in enumerate(
        zip(lab.generate(case).forwards[0].cache, lab.injected(case).cache, strict=False)
    ):
        expected = (len(case.rows), *keys.shape[1:])
        for held in (layer.keys, layer.values):
            if held is None or held.shape != expected:
                raise violation(f"shape of layer {index}", None if held is None else tuple(held.shape), expected)


def any_gradient(lab: Lab, case: Case) -> None:
    """The adapter has a gradient."""
    if not any(table.any() for table in gradients.gradients_of_rows(lab, case)):
        raise violation("gradient of the adapter", "exactly 0", "not 0")


def forward_is_current(lab: Lab, case: Case) -> None:
    """After an optimiser step the training forward uses the new values."""
    subject = lab.new_subject(case)
    tokens = lab.generate_on(subject, case).tokens
    gradients.optimiser_step(lab, subject, case)
    got = lab.forward_on(subject, case, tokens, grad=True)
    compare.agree(cut(got, logits=got.logits.detach()), lab.predict_from(subject.raw(), case, tokens))


def first_call_grows(lab: Lab, case: Case) -> None:
    """The cache of one call grows by one position a step."""
    cache.grows_by_one(case, lab.generate_on(lab.new_subject(case), case), "first")


def twice(lab: Lab, case: Case) -> None:
    """The same call twice, with nothing in between, gives the same answer."""
    subject = lab.new_subject(case)
    compare.identical(lab.generate_on(subject, case), lab.generate_on(subject, case), "the second call differs")


def parameters_close(lab: Lab, case: Case) -> None:
    """The adapter's parameters after generate are close to those before."""
    subject = lab.new_subject(case)
    before = subject.raw()
    lab.generate_on(subject, case)
    for name, value in subject.raw().items():
        if not torch.allclose(value, before[name]):
            raise violation(name, "changed", "as before")


def forward_logits_alone(lab: Lab, case: Case) -> None:
    """The training forward's logits of each row are those of the row alone; nobody looks at the loss."""
    tokens = lab.generate(case).tokens
    got = lab.forward(relations.with_padding(case, "right"), tokens=tokens)
    for index in range(len(case.rows)):
        compare.agree(got.row(index), lab.forward(relations.row_alone(case, index), tokens=tokens[index : index + 1]))


def omitted_is_ones(lab: Lab, case: Case) -> None:
    """Without pads no mask equals a mask of ones."""
    if not case.padded:
        compare.agree(lab.generate(relations.with_mask(case, "omitted")), lab.generate(case))


def disabled_in_forward(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() the forward is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        compare.agree(lab.forward_on(subject, case), lab.forward(bare))


def disabled_in_generate(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() generate is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        compare.agree(lab.generate_on(subject, case), lab.generate(bare))


def loaded_here(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, the adapter gives the same answer."""
    compare.agree(lab.generate_on(lab.reloaded(case), case), lab.generate(case))


def loaded_here_unprojected(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter without projection gives the same answer."""
    loaded_here(lab, replace(case, prefix=replace(case.prefix, projection=0)))
