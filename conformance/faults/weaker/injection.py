"""Checks of the cache, of gradients and of the adapter's parameters, each of less than a clause looks at."""

from __future__ import annotations

from dataclasses import replace

import torch

from conformance.assertions.cache import grows_by_one
from conformance.assertions.gradients import gradients_of_rows, optimiser_step
from conformance.assertions.logits import agree
from conformance.clauses.preconditions import something_learns
from conformance.core.case import Case
from conformance.core.signals import violation
from conformance.runs.lab import Lab


def shapes(lab: Lab, case: Case) -> None:
    """Each layer's cache has the right shape at the first forward."""
    cache = lab.generate(case).forwards[0].cache
    for index, (layer, (keys, _)) in enumerate(zip(cache, lab.injected(case).cache, strict=False)):
        expected = (len(case.rows), *keys.shape[1:])
        for shape in (None if stored is None else tuple(stored.shape) for stored in (layer.keys, layer.values)):
            if shape != expected:
                raise violation(f"shape of layer {index}", shape, expected)


def any_gradient(lab: Lab, case: Case) -> None:
    """The adapter has a gradient, unless all virtual tokens are frozen."""
    if something_learns(case) and not any(table.any() for table in gradients_of_rows(lab, case)):
        raise violation("gradient of the adapter", "exactly 0", "not 0")


def forward_is_current(lab: Lab, case: Case) -> None:
    """After an optimiser step the training forward uses the new values."""
    subject = lab.new_subject(case)
    tokens = lab.generate_on(subject, case).tokens
    optimiser_step(lab, subject, case)
    got = lab.forward_on(subject, case, tokens, grad=True)
    agree(replace(got, logits=got.logits.detach()), lab.predict_from(subject.raw(), case, tokens))


def first_call_grows(lab: Lab, case: Case) -> None:
    """The cache of one call grows by one position a step."""
    grows_by_one(case, lab.generate_on(lab.new_subject(case), case), "first")


def parameters_close(lab: Lab, case: Case) -> None:
    """The adapter's parameters after generate are close to those before."""
    subject = lab.new_subject(case)
    before = subject.raw()
    lab.generate_on(subject, case)
    for name, value in subject.raw().items():
        if not torch.allclose(value, before[name]):
            raise violation(name, "changed", "as before")
