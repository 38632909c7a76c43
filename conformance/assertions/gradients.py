"""Assertions on what the adapter's parameters learn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.core.case import Case
from conformance.core.relations import in_double
from conformance.core.signals import violation
from conformance.methods import method_named

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace

SAME_GRADIENT = 1e-4
"""Of the largest component; gradients are sums in the same order on any device and in any mode, up to another kernel's last bits.

Measured over the quick profile of all families: placed, at most 1.6e-6, and for PEFT 0; against the manual forward, which sums in
another order, at most 4.1e-6.
"""
ROUNDING = 1e-6
"""Of the largest component of any parameter, some eight last bits of float32: where terms cancel, a gradient is known no better.

A norm forgets how long an embedding is, so that the gradient of a factor of it is a sum of such terms, and mathematically zero.
"""


def gradients_of_rows(lab: Lab, case: Case) -> tuple[Tensor, Tensor]:
    """Whether each virtual token, and each block of parameters, has a gradient: two tables with one row each, in float64."""
    import torch

    double = in_double(case)
    subject = lab.subject(double)
    tokens = lab.generate(case).tokens
    logits = lab.forward_on(subject, double, tokens, grad=True).logits
    named = subject.learning()
    # A parameter that is not used at all has a gradient of zero too.
    found = torch.autograd.grad(logits.pow(2).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    none = {name: torch.zeros_like(frozen) for name, frozen in subject.parameters().items() if name not in named}
    gradients = {**none, **dict(zip(named, found, strict=True))}
    method = method_named(case.method)
    by_block = method.gradient_by_block(gradients, lab.layout(case))
    return method.gradient_by_token(gradients) != 0, by_block != 0


def visible_virtual_tokens(case: Case) -> list[int]:
    """The virtual tokens that are trained and can change the answer to the first real token."""
    method, n = method_named(case.method), case.prefix.length
    return [token for token in method.trained(case) if token >= n - method.reach(case)]


def gradients(lab: Lab, case: Case, tokens: Tensor, subject: Subject | None = None) -> tuple[Trace, dict[str, Tensor]]:
    """The training path on ``subject``, or the shared one, and the gradient of every raw parameter that has one, on the CPU."""
    import torch

    subject = subject or lab.subject(case)
    seen, named = lab.forward_on(subject, case, tokens, grad=True), subject.learning()
    found = torch.autograd.grad(_learnt(seen.logits), list(named.values()), allow_unused=True)
    # None for a parameter that the logits do not depend on, whatever torch's annotation says.
    by_name = {name: torch.zeros(()) if g is None else g.cpu() for name, g in zip(named, found, strict=True)}  # type: ignore[redundant-expr]
    return replace(seen, logits=seen.logits.detach()), by_name


def trained(lab: Lab, case: Case, tokens: Tensor) -> tuple[Trace, dict[str, Tensor]]:
    """The training path, and the gradient of every raw parameter of the adapter; a base model has none."""
    return gradients(lab, case, tokens) if case.prefix.length else (lab.forward(case, tokens), {})


def predicted_gradients(lab: Lab, case: Case, tokens: Tensor) -> dict[str, Tensor]:
    """The same by the manual forward: from raw parameters that the Case says, through our own arithmetic and the base model."""
    import torch

    learns = method_named(case.method).learns
    raw = {name: value.clone().requires_grad_(learns(name)) for name, value in lab.raw(case).items()}
    logits = lab.predict_from(raw, case, tokens, grad=True).logits
    learnt = {name: value for name, value in raw.items() if learns(name)}
    found = torch.autograd.grad(_learnt(logits), list(learnt.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(learnt, found, strict=True))


def _learnt(logits: Tensor) -> Tensor:
    """What a gradient is taken of: one number that depends on the logits of every row and step."""
    return logits.log_softmax(-1)[..., 0].mean()


def close_gradients(got: dict[str, Tensor], expected: dict[str, Tensor], where: str) -> None:
    """The gradient of every parameter is that ``where`` it was ``expected``, up to the last bits; no other one has any."""
    for name in sorted(got.keys() - expected.keys()):
        raise violation(f"gradient of the adapter's {name}", "one", f"none, as {where}: it is frozen")
    whole = max((float(gradient.abs().max()) for gradient in expected.values() if gradient.numel()), default=0.0)
    for name, gradient in expected.items():
        if name not in got or got[name].shape != gradient.shape:
            raise violation(f"gradient of the adapter's {name}", "none", "one: the training forward reads it")
        if not gradient.numel():
            continue  # all virtual tokens are frozen
        apart = float((got[name] - gradient).abs().max())
        largest = float(gradient.abs().max())
        # Written so that a NaN fails.
        if not apart <= SAME_GRADIENT * largest + ROUNDING * whole:
            raise violation(
                f"gradient of the adapter's {name}", f"off by {apart:.3g}", f"as {where}, up to {largest:.3g}"
            )


STEP = 0.5
"""How far an optimiser step moves the number that it moves most; parameters are about 1."""


def optimiser_step(lab: Lab, subject: Subject, case: Case) -> None:
    """One step of plain gradient descent on the adapter, through the subject's own training path."""
    import torch

    parameters = list(subject.learning().values())
    logits = lab.forward_on(subject, case, lab.generate(case).tokens, grad=True).logits
    optimiser = torch.optim.SGD(parameters)
    optimiser.zero_grad()
    _learnt(logits).backward()
    largest = max((float(p.grad.abs().max()) for p in parameters if p.grad is not None), default=0.0)
    if largest == 0:
        raise violation("the gradient of the adapter", "exactly 0", "not 0: the forward reads its parameters")
    # However little the prefix weighs in this model, the step must not be lost when it is rounded.
    optimiser.param_groups[0]["lr"] = STEP / largest
    before = [parameter.detach().clone() for parameter in parameters]
    optimiser.step()
    optimiser.zero_grad()
    if all(torch.equal(old, new) for old, new in zip(before, parameters, strict=True)):
        raise violation(
            "the adapter's parameters after an optimiser step", "unchanged", "changed: their gradient is not 0"
        )
