"""What is trained is what is there, and learns as it should."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.gradients import close_gradients, gradients, predicted_gradients, trained
from conformance.assertions.logits import agree
from conformance.assertions.training import same_loss
from conformance.clauses.preconditions import training_mode
from conformance.clauses.registry import COUNTING_PADS, clause
from conformance.core.relations import first_steps, in_mode
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab


@clause(sources=("huggingface/peft#1182",), follow_ups=training_mode)
def mode_free(lab: Lab, case: Case) -> None:
    """After train() the model answers, and learns, as after eval(): logits, loss and gradients, where dropout is 0.

    Every model here has a dropout of 0, so that the mode may change nothing at all: not in generate, which a training loop calls
    between two steps, nor in the training forward.
    """
    usual = in_mode(case, "eval")
    answer = lab.generate(usual)
    agree(lab.generate(first_steps(case)), answer.steps(3), "generate answers otherwise in training mode")
    expected, its_gradients = trained(lab, usual, answer.tokens)
    got, mine = trained(lab, case, answer.tokens)
    agree(got, expected, "the training forward answers otherwise in training mode")
    same_loss(got, expected)
    close_gradients(mine, its_gradients, "in evaluation mode")


@clause(sources=("arXiv:2101.00190",), floor=COUNTING_PADS)
def gradient_agrees(lab: Lab, case: Case) -> None:
    """The gradient of every parameter of the adapter is autograd's through the manual forward, number by number.

    A parameter that the manual forward does not read has a gradient of zero, and a frozen one has none. The base model has no
    adapter; its training forward must answer as the manual one does.
    """
    tokens = lab.generate(case).tokens
    if not case.prefix.length:
        agree(
            lab.forward(case, tokens),
            lab.predict(case, handmade_cache, tokens),
            "the training forward answers otherwise",
        )
        return
    close_gradients(gradients(lab, case, tokens)[1], predicted_gradients(lab, case, tokens), "by the manual forward")
