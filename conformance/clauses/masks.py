"""Pads, masks and the other rows of a batch change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import agree
from conformance.assertions.positions import requires_position_ids
from conformance.assertions.training import loss_of_rows, same_loss
from conformance.clauses.follow_ups import both_sides, decoder_masks, other_masks
from conformance.clauses.preconditions import encoder_decoder, many_rows
from conformance.clauses.registry import Floor, clause
from conformance.core.relations import (
    first_steps,
    row_alone,
    rows_reversed,
    with_attention,
    with_decoder_mask,
    with_mask,
    with_padding,
    with_position_ids,
)
from conformance.core.signals import NotApplicable
from conformance.core.sources import GLOSSARY
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

AFTER_PADS = Floor(share=0.35)
"""Decoders answer wrongly after pads on the right, with or without a prefix. Measured: at least 0.55."""


@clause(
    sources=("huggingface/peft#1093", "huggingface/peft#54", "huggingface/transformers#26072"),
    requires=(many_rows,),
    follow_ups=both_sides,
    priority=True,
    floor=AFTER_PADS,
)
def rows_alone(lab: Lab, case: Case) -> None:
    """Generate on a padded batch answers what it answers for each row alone, on every padding side the base supports."""
    got = lab.generate(case).steps(3)
    for index in range(len(case.rows)):
        agree(
            got.row(index), lab.generate(first_steps(row_alone(case, index))), f"row {index} differs from the row alone"
        )


@clause(
    sources=("huggingface/transformers#18478", "huggingface/transformers#26072", GLOSSARY),
    requires=(many_rows,),
    follow_ups=both_sides,
    floor=AFTER_PADS,
)
def training_rows_alone(lab: Lab, case: Case) -> None:
    """The training forward and its loss over a padded batch equal those of its rows alone, losses weighted by tokens."""
    tokens = lab.generate(with_padding(case, "left")).tokens
    got = lab.forward(case, tokens=tokens)
    alone = [lab.forward(row_alone(case, i), tokens=tokens[i : i + 1]) for i in range(len(case.rows))]
    for index, row in enumerate(alone):
        agree(got.row(index), row, f"row {index} differs from the row alone")
    loss_of_rows(got, alone)


@clause(requires=(many_rows,))
def row_order(lab: Lab, case: Case) -> None:
    """Permuting the rows permutes the answers.

    Our own claim: rows of a batch are independent, nothing in attention, positions or the prefix reads another row.
    """
    got, reversed_ = lab.generate(case).steps(2), lab.generate(first_steps(rows_reversed(case), 2))
    last = len(case.rows) - 1
    for index in range(len(case.rows)):
        agree(reversed_.row(last - index), got.row(index), f"row {index} answers otherwise in another place")


@clause(sources=(GLOSSARY,), follow_ups=other_masks)
def omitted_mask(lab: Lab, case: Case) -> None:
    """Without pads no mask equals a mask of ones; bool, int and float masks agree.

    The glossary says what 1 and 0 mean, and that a mask may be left out. That the types agree is our own claim: PEFT joins a
    float mask to whatever it is given.
    """
    agree(
        lab.generate(first_steps(case)),
        lab.generate(with_mask(case, "long")).steps(3),
        f"a {case.mask} mask answers otherwise",
    )


@clause(sources=("huggingface/transformers#38301", "huggingface/transformers#41696"))
def attention_implementations(lab: Lab, case: Case) -> None:
    """The eager implementation of attention and the default one agree.

    Our own claim, since they are said to compute the same function; the sources are a change that broke one of them.
    """
    default, eager = with_attention(case, "default"), with_attention(case, "eager")
    if lab.base(default).config._attn_implementation == "eager":
        raise NotApplicable("this model class has one implementation of attention only")
    other = first_steps(default if case.attention == "eager" else eager)
    agree(lab.generate(other), lab.generate(case).steps(3), "the implementations of attention differ")


@clause(sources=(GLOSSARY, "huggingface/transformers#26072"))
def given_positions(lab: Lab, case: Case) -> None:
    """Explicit position_ids that say what the default says change nothing; others are honoured or refused.

    PEFT promises it of a prefix, for which it adds n to positions that it is given. A warning that positions are ignored is no
    refusal: the answer is another one than was asked for.
    """
    requires_position_ids(lab, case)
    default, short = lab.generate(case), first_steps(case)
    got = lab.generate(with_position_ids(short))
    agree(got, default.steps(3), "generate answers otherwise with the default's own positions")
    trained = lab.forward(with_position_ids(case), tokens=default.tokens)
    agree(trained, lab.predict(case, handmade_cache, tokens=default.tokens), "forward does not honour the positions")
    shifted = with_position_ids(short, shift=3)
    got = lab.generate(shifted)
    agree(got, lab.predict(shifted, handmade_cache, tokens=got.tokens), "generate does not honour shifted positions")


@clause(
    sources=("huggingface/peft#809", "huggingface/transformers#41696"),
    requires=(encoder_decoder,),
    follow_ups=decoder_masks,
)
def decoder_mask(lab: Lab, case: Case) -> None:
    """An encoder-decoder's decoder_attention_mask of ones equals none; with pads, training equals that on each row alone.

    Pads stand on the right of what the decoder reads, as in any batch of labels, or on the left, where it reads no virtual token.
    Every row sees the whole prefix.
    """
    plain = with_decoder_mask(case, "omitted")
    answer = lab.generate(plain)
    got = lab.forward(case, answer.tokens)
    if case.decoder_mask == "ones":
        without = lab.forward(plain, answer.tokens)
        agree(got, without, "training answers otherwise with a decoder_attention_mask of ones")
        same_loss(got, without)
        masked = lab.generate(first_steps(case))
        agree(masked, answer.steps(3), "generate answers otherwise with a decoder_attention_mask of ones")
        return
    alone = []
    for row in range(len(case.rows)):
        steps = case.answered(row)
        alone.append(lab.forward(row_alone(plain, row), answer.tokens[row : row + 1, :steps]))
        agree(
            got.row(row).steps(steps),
            alone[-1],
            f"row {row} under a padded decoder_attention_mask is not the row alone",
        )
    loss_of_rows(got, alone)
