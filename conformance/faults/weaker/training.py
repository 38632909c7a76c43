"""Checks of training mode, of less than a clause looks at."""

from __future__ import annotations

from msgspec.structs import replace

from conformance.assertions.learning import only_the_adapter_learns, thaw
from conformance.assertions.logits import agree, differ
from conformance.assertions.trainer import as_by_hand, learnt_by_hand
from conformance.assertions.training import loss_by_hand, loss_of_rows, same_loss
from conformance.clauses import training
from conformance.clauses.preconditions import labels, token_types
from conformance.clauses.registry import clause_named
from conformance.core import relations
from conformance.core.case import Case
from conformance.families import family_named
from conformance.runs.lab import Lab


def trained_forward(lab: Lab, case: Case) -> None:
    """The training forward answers the same in both modes; nobody looks at the gradient, or generates."""
    agree(lab.forward(relations.in_mode(case, "train")), lab.forward(case))


def every_label(lab: Lab, case: Case) -> None:
    """The loss of a row alone is the one by hand, where every token has a label."""
    alone = relations.row_alone(case, 0)
    if labels(alone):
        loss_by_hand(lab, lab.forward(alone, lab.generate(alone).tokens))


def loss_of_rows_alone(lab: Lab, case: Case) -> None:
    """The loss of a batch is that of its rows alone, weighted by their labels; nobody says what that is."""
    tokens, right = lab.generate(case).tokens, relations.with_padding(case, "right")
    rows = range(len(case.rows))
    alone = [lab.forward(relations.row_alone(right, row), tokens[row : row + 1]) for row in rows]
    loss_of_rows(lab.forward(right, tokens), alone)


def for_a_tuple(lab: Lab, case: Case) -> None:
    """The training forward gives the same as a tuple; nobody counts anything."""
    tokens = lab.generate(case).tokens
    got, expected = lab.forward(relations.called(case, "tuple"), tokens), lab.forward(case, tokens)
    agree(got, expected)
    same_loss(got, expected)


def types_change_something(lab: Lab, case: Case) -> None:
    """With token types the training forward answers otherwise than without."""
    tokens, usual = lab.some_tokens(case), relations.with_padding(case, "right")
    with_types = relations.called(usual, "types")
    if token_types(with_types):
        differ(lab.forward(with_types, tokens), lab.forward(usual, tokens), "with token types")


def trained_once(lab: Lab, case: Case) -> None:
    """A trainer arrives where a loop by hand does; nobody resumes from a checkpoint."""
    lab.once(("trained once", case.family, case.method), lambda: _trained_once(lab, case))


def _trained_once(lab: Lab, case: Case) -> bool:
    fixed = clause_named("training.trainer_agrees").own_case(family_named(case.family), case.method)
    assert fixed, "the family is trained"
    tokens = lab.some_tokens(fixed)
    with lab.trainer(fixed, tokens) as train:
        as_by_hand(lab, train(0), learnt_by_hand(lab, fixed, tokens), fixed)
    return True


def frozen_after_wrapping(lab: Lab, case: Case) -> None:
    """After wrapping, only the adapter's parameters require a gradient; nobody trains."""
    only_the_adapter_learns(lab.new_subject(case, before=thaw), "after wrapping")


def checkpointed_forward(lab: Lab, case: Case) -> None:
    """With gradient checkpointing the training forward answers as without; nobody looks at the gradient."""
    agree(lab.forward(relations.checkpointed(case, "after")), lab.forward(case))


def gradient_within_radii(lab: Lab, case: Case) -> None:
    """The gradient is that of the manual forward, where training has moved nothing out of its radius."""
    training.gradient_agrees(lab, replace(case, prefix=replace(case.prefix, radii="wide")))


def loss_behind_a_template(lab: Lab, case: Case) -> None:
    """The loss is that by hand, behind a context whose types are PEFT's default: none of it is an output."""
    training.loss_agrees(lab, replace(case, prefix=replace(case.prefix, context="template")))


def even_loss(lab: Lab, case: Case) -> None:
    """The loss is that by hand, where all labels weigh the same, which is PEFT's default."""
    even = "examples" if case.prefix.context == "decaying" else case.prefix.context
    training.loss_agrees(lab, replace(case, prefix=replace(case.prefix, context=even)))
