"""Assertions on who learns: the parameters that require a gradient, those that get one, and those that a step moves."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from conformance.core.signals import violation
from conformance.runs.judged_code import guarded

if TYPE_CHECKING:
    from torch import Tensor, nn

    from conformance.core.case import Case
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace

OWN = "adapter "
"""How the names of the adapter's parameters begin in what a subject is made of."""


def frozen_contents(subject: Subject) -> dict[str, object]:
    """All that ``subject`` is made of but the adapter's parameters."""
    return {name: held for name, held in subject.contents().items() if not name.startswith(OWN)}


def thaw(base: Any) -> None:
    """Every parameter of the base model requires a gradient, as in a model that was just loaded."""
    base.requires_grad_(True)


def all_that_learns(subject: Subject) -> list[str]:
    """The names of all parameters of the model that require a gradient, the base model's too."""
    return [name for name, value in subject.model.named_parameters() if value.requires_grad]


def only_the_adapter_learns(subject: Subject, when: str) -> list[nn.Parameter]:
    """Those that require a gradient, all of them the adapter's; some of the adapter's may be frozen by design."""
    own = {id(parameter) for parameter in subject.parameters().values()}
    learning = {name: value for name, value in subject.model.named_parameters() if value.requires_grad}
    others = [name for name, value in learning.items() if id(value) not in own]
    if others:
        raise violation(
            f"parameters of the base model that require a gradient {when}", f"{len(others)}: {others[0]} ...", "none"
        )
    if not learning:
        raise violation(f"parameters of the adapter that require a gradient {when}", "none", "some: they are trained")
    return list(learning.values())


def learn_once(subject: Subject, learning: list[nn.Parameter], seen: Trace) -> None:
    """One step of an optimiser over those that are ``learning``: the loss of what was ``seen`` reaches them, and no others."""
    import torch

    _loss_of(seen).backward()
    for name, parameter in subject.model.named_parameters():
        expected = any(parameter is one for one in learning)
        if (parameter.grad is not None) is not expected:
            got, wanted = ("none", "one") if expected else ("one", "none: it is frozen")
            raise violation(f"gradient of {name}", got, wanted)
    torch.optim.SGD(learning, lr=1.0).step()


def backpropagated(lab: Lab, case: Case) -> tuple[Trace, dict[str, Tensor]]:
    """The training path, and the gradient of its loss by every parameter that learns: the adapter's, or all of a bare model.

    The gradient of a parameter that gets none has no dimension.
    """
    return lab.once(("backpropagated", case), lambda: _backpropagated(lab, case))


def _backpropagated(lab: Lab, case: Case) -> tuple[Trace, dict[str, Tensor]]:
    import torch

    subject = lab.new_subject(case)
    if not case.prefix.length:
        thaw(subject.base)
    learning = subject.learning() or dict(subject.base.named_parameters())
    seen = lab.forward_on(subject, case, lab.some_tokens(case), grad=True)
    loss = _loss_of(seen)
    with subject.in_mode_of(case):
        guarded("backward", loss.backward, lambda: True)
    gradients = {name: torch.zeros(()) if p.grad is None else p.grad for name, p in learning.items()}
    return replace(seen, logits=seen.logits.detach(), loss_to_learn=None), gradients


def _loss_of(seen: Trace) -> Tensor:
    if seen.loss_to_learn is None or not seen.loss_to_learn.requires_grad:
        raise violation("the loss of the training forward", "no gradient", "one: it depends on what is trained")
    return seen.loss_to_learn
