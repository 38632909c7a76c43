"""Assertions on what a trainer tells and leaves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from conformance.core.signals import violation
from conformance.methods import method_named

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case
    from conformance.runs.lab import Lab
    from conformance.runs.trace import Learnt


SMOOTHING = 0.1
"""How much of each label is spread evenly over the vocabulary: as much as in the paper that began with it."""


def learnt_by_hand(lab: Lab, case: Case, tokens: Tensor, smoothing: float = 0.0, share: float = 1.0) -> Learnt:
    """Plain gradient descent on the loss by hand, from the parameters that the Case says: what a trainer should arrive at.

    ``share``: of that loss so much. Of a base model, of which nobody says where it should arrive, only the first loss is known.
    """
    import torch

    from conformance.runs.trace import Learnt
    from conformance.runs.trainer import RATE, steps

    if not case.prefix.length:
        return Learnt([float(lab.loss_from({}, case, tokens, smoothing).detach())], {})

    learns, losses = method_named(case.method).learns, []
    raw = {name: value.clone().requires_grad_(learns(name)) for name, value in lab.raw(case).items()}
    learnt = [value for name, value in raw.items() if learns(name)]
    for _ in range(steps(smoothing)):
        loss = share * lab.loss_from(raw, case, tokens, smoothing)
        losses.append(float(loss.detach()))
        found = torch.autograd.grad(loss, learnt, allow_unused=True, materialize_grads=True)
        with torch.no_grad():
            for value, gradient in zip(learnt, found, strict=True):
                value.sub_(gradient, alpha=RATE)
    return Learnt(losses, {name: value.detach() for name, value in raw.items()})


def share_of(lab: Lab, got: Learnt, case: Case, tokens: Tensor) -> float:
    """How many times the loss by hand the first one is that was ``got``: any positive number may be meant.

    A Trainer tells how many labels it counts, and what a loss that has labels of its own is divided by then nobody says.
    """
    by_hand = float(lab.loss_from(lab.raw(case), case, tokens).detach())
    found = got.losses[0] / by_hand if got.losses else 0.0
    # Written so that a NaN fails.
    if not 0 < found < math.inf:
        raise violation("the first loss that the Trainer logs", got.losses[:1], f"a positive share of {by_hand:.5f}")
    return found


LOGGED = 2e-4
"""How far a logged loss may be from the one by hand: some releases round to four digits."""
SAME_STEPS = 1e-3
"""Of the largest distance that any number of a parameter has moved; a gradient is as exact as in gradients.SAME_GRADIENT."""
LAST_BITS = 1e-6
"""Of the largest number of a parameter, some eight last bits of float32."""


def as_by_hand(lab: Lab, got: Learnt, expected: Learnt, case: Case) -> None:
    """The loss of each step is that of the loop by hand, and so is where every parameter has gone."""
    if len(got.losses) != len(expected.losses):
        raise violation("steps of the Trainer with a loss", len(got.losses), len(expected.losses))
    for step, (loss, by_hand) in enumerate(zip(got.losses, expected.losses, strict=True)):
        # Written so that a NaN fails.
        if not abs(loss - by_hand) <= LOGGED:
            raise violation("the loss that the Trainer logs", f"{loss:.5f}", f"{by_hand:.5f}, by hand", step=step)
    for name, value in expected.raw.items():
        moved = float((value - lab.raw(case)[name]).abs().max())
        apart = float((got.raw[name] - value).abs().max())
        if not apart <= SAME_STEPS * moved + LAST_BITS * float(value.abs().max()):
            raise violation(
                f"the adapter's {name} after training", f"off by {apart:.3g}", f"moved by {moved:.3g}, as by hand"
            )


def resumed(got: Learnt, expected: Learnt, step: int) -> None:
    """Resumed after ``step`` steps, training ends where it ended without a break, to the bit."""
    if got.losses != expected.losses[step:]:
        raise violation("the losses after the checkpoint", got.losses, f"{expected.losses[step:]}, as without a break")
    for name, value in expected.raw.items():
        if not got.raw[name].equal(value):
            apart = float((got.raw[name] - value).abs().max())
            raise violation(
                f"the adapter's {name}, resumed from a checkpoint", f"off by {apart:.3g}", "as without a break"
            )
