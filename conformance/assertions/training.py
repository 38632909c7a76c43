"""The user's story of issue 2134: teach "1+1=" -> "11" through the prefix alone, with a real tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.signals import violation
from conformance.families import Family
from conformance.methods import method_named

if TYPE_CHECKING:
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace

NO_LOSS = "the loss of a batch with labels"
QUESTION, ANSWER = "1+1=", "11"
STEPS, RATE, LEAD = 400, 0.05, 0.5
"""Most optimiser steps, Adam's learning rate, and by how many logits the right tokens must lead to count as learnt."""


def taught_case(family: Family) -> Case | None:
    """A model just large enough to learn one answer; none for families that are not taught."""
    if not family.learns:
        return None
    roles = Roles(
        layers=2,
        encoder_layers=0 if family.draw.encoder_layers == "none" else 2,
        heads=4,
        kv_heads=2 if family.draw.grouped else 4,
        head_dim=8,
        width=32,
        ffn=48,
        tied=family.draw.tied[0],
        activation=family.draw.activation[0],
        rope=family.draw.rope[0],
    )
    question = Row(length=len(QUESTION), text=QUESTION)
    # Of a matrix of rank 1 the factors can get stuck.
    prefix = Prefix(length=4, rank=4)
    return Case(family=family.name, roles=roles, prefix=prefix, rows=(question,), new_tokens=len(ANSWER))


def trained_case(family: Family) -> Case | None:
    """Two texts of different length, padded as in training, for the same families: a trainer costs as much as a search."""
    taught = taught_case(family)
    rows = (Row(length=3), Row(length=5, seed=1))
    if taught is None:
        return None
    # Where that means something: labels that do not weigh the same.
    prefix = replace(taught.prefix, context="decaying")
    return replace(taught, rows=rows, new_tokens=3, padding="right", prefix=prefix)


def train_until_learned(lab: Lab, subject: Subject, case: Case) -> None:
    """Train only the adapter, through the subject's own forward, until it answers. Raises if it does not learn."""
    import torch

    from conformance.core.signals import violation
    from conformance.families.vocabulary import encode_text

    target = torch.tensor([encode_text(ANSWER)])
    optimiser = torch.optim.Adam(subject.parameters().values(), lr=RATE)
    for _ in range(STEPS):
        logits = lab.forward_on(subject, case, target, grad=True).logits
        loss = torch.nn.functional.cross_entropy(logits[0], target[0])
        right = logits[0].gather(-1, target[0, :, None])
        others = logits[0].scatter(-1, target[0, :, None], float("-inf")).amax(-1, keepdim=True)
        # Well above the error of the computation: what was learnt must not hang on a near tie.
        if float((right - others).detach().min()) >= LEAD:
            return
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    raise violation(
        f"loss after {STEPS} steps of training", f"{float(loss):.3f}", f"the right tokens lead by {LEAD} logits"
    )


def generated_text(trace: Trace) -> str:
    """The text that generate answered."""
    from conformance.families.vocabulary import decode_text

    return decode_text(trace.tokens[0].tolist())


def loss_of_rows(got: Trace, alone: list[Trace]) -> None:
    """The loss of a batch is that of its rows alone, weighted by how many labels each of them has."""
    from conformance.assertions.logits import agree_on_loss

    counts = [method_named(got.case.method).counted_labels(got.case, index) for index in range(len(alone))]
    # A row without any label of its own has no loss: a mean over nothing.
    total = sum((row.loss or 0.0) * count for row, count in zip(alone, counts, strict=True) if count)
    if got.loss is not None and max(counts):
        agree_on_loss(got.loss, total / sum(counts), got)


def loss_by_hand(lab: Lab, got: Trace) -> None:
    """The loss of a training forward is the one that the manual forward's logits make; some token has a label."""
    from conformance.assertions.logits import agree_on_loss

    if got.loss is None:
        raise violation(NO_LOSS, "none", "one")
    agree_on_loss(got.loss, lab.loss_by_hand(got.case, got.tokens), got)


def of_one_batch(got: Trace) -> Trace:
    """The same with the loss that it has where only its own items are counted, not those of all batches before a step."""
    import dataclasses

    from conformance.runs.calls import ACCUMULATED

    if got.case.call != "counted" or got.loss is None:
        return got
    return dataclasses.replace(got, loss=got.loss * ACCUMULATED)


def same_loss(got: Trace, expected: Trace) -> None:
    """The loss of the same batch, run in two ways, is the same; without any label there is none: a mean over nothing."""
    from conformance.assertions.logits import agree_on_loss

    labelled = any(method_named(got.case.method).counted_labels(got.case, row) for row in range(len(got.case.rows)))
    if not labelled or expected.loss is None:
        return
    if got.loss is None:
        raise violation(NO_LOSS, "none", "one")
    agree_on_loss(got.loss, expected.loss, got)
