"""What the oracle says of hidden states and attentions is what the base model's own generate returns, without any prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as with_fields
from typing import Any

import pytest
import torch

from conformance.assertions.returned import returned_by_hand, scores_are_logits
from conformance.clauses.follow_ups import all_returned
from conformance.clauses.preconditions import eager_attention
from conformance.core.case import Case
from conformance.core.relations import without_prefix
from conformance.core.signals import Violation
from conformance.engine.search import drawn
from conformance.families import family_named, flagships
from conformance.oracles.returned import ATTENTIONS
from conformance.runs.lab import Lab
from conformance.runs.trace import Trace
from conformance.strategies import strata

NAMES = tuple(flagships())


def cases(name: str) -> list[Case]:
    """A Case of every stratum with attention that returns its weights, of those that the base model can generate with."""
    found = [drawn(name, stratum, 0) for stratum in strata(family_named(name), 1, 0)]
    fit = [case for case in found if not 0 < case.roles.encoder_layers < case.roles.layers]
    return [follow for case in filter(eager_attention, fit) for follow in all_returned(case)]


@pytest.mark.parametrize("name", NAMES)
def test_the_base_model_returns_what_is_said_by_hand(name: str) -> None:
    lab = Lab("peft")
    for case in map(without_prefix, cases(name)):
        got = lab.generate(case)
        scores_are_logits(got)
        returned_by_hand(lab, got)


@pytest.mark.parametrize("name", NAMES)
def test_it_does_not_matter_in_how_many_forwards_a_row_is_read(name: str) -> None:
    lab = Lab("reference")
    for case in cases(name):
        tokens = lab.some_tokens(case)
        for one, other in zip(lab.returned(case, tokens), lab.returned(case, tokens, stepwise=True), strict=True):
            assert one.keys() == other.keys()
            for field, seen in one.items():
                assert torch.allclose(seen, other[field], rtol=1e-4, atol=1e-3), (case, field)


@pytest.mark.parametrize("name", NAMES)
def test_each_position_looks_at_all_there_is_with_a_weight_of_one(name: str) -> None:
    lab = Lab("reference")
    for case in cases(name):
        for row in lab.returned(case, lab.some_tokens(case)):
            assert torch.allclose(row[ATTENTIONS].sum(-1), torch.ones(()), atol=1e-5), case


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda returned: returned.pop(name)


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], object]:
    return lambda returned: returned.update({name: change(returned[name])})


SPOILT = {
    "the field hidden_states": without("hidden_states"),
    "the field attentions": without("attentions"),
    "steps that have scores": without("scores"),
    "scores of an answer": changed("scores", lambda steps: tuple(2 * step for step in steps)),
    "how many steps the field attentions has": changed("attentions", lambda steps: steps[1:]),
    "positions that hidden states have": changed("hidden_states", lambda steps: (steps[1], *steps[1:])),
    "layers whose attentions are returned": changed("attentions", lambda steps: ((),) * len(steps)),
    "the shape of the hidden states": changed("hidden_states", lambda steps: tuple(step[1:] for step in steps)),
    "positions and columns": changed(
        "attentions", lambda steps: tuple(tuple(layer[..., 1:] for layer in step) for step in steps)
    ),
    "attentions of text and answer": changed(
        "attentions", lambda steps: tuple(tuple(layer.roll(1, -1) for layer in step) for step in steps)
    ),
    "hidden states of text and answer": changed("hidden_states", lambda steps: tuple(step[::-1] for step in steps)),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_is_returned_otherwise_is_a_violation(what: str) -> None:
    lab = Lab("reference")
    case = next(case for case in cases("llama") if case.roles.layers > 1 and case.longest > 1)
    right = lab.generate(case)
    returned = dict(right.returned)
    SPOILT[what](returned)

    def judged(got: Trace) -> None:
        scores_are_logits(got)
        returned_by_hand(lab, got)

    judged(right)
    with pytest.raises(Violation, match=what):
        judged(with_fields(right, returned=returned))
