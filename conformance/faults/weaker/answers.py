"""Checks of answers, on fewer Cases than a clause is held against, or of fewer of the answers."""

from __future__ import annotations

from msgspec.structs import replace

from conformance.assertions.logits import agree, agree_on_tokens, identical
from conformance.clauses import equivalence, follow_ups
from conformance.core import relations
from conformance.core.case import Case
from conformance.core.decodings import CHUNK
from conformance.oracles.table import handmade_cache
from conformance.runs.lab import Lab

step_logits = equivalence.step_logits


def first_steps(lab: Lab, case: Case) -> None:
    """The logits of the first four steps agree: four new tokens are enough for a test."""
    step_logits(lab, replace(case, new_tokens=min(4, case.new_tokens)))


def greedy_tokens(lab: Lab, case: Case) -> None:
    """Only what is answered counts: the tokens of the first three steps."""
    got = lab.generate(replace(case, new_tokens=min(3, case.new_tokens)))
    agree_on_tokens(got, lab.predict(got.case, handmade_cache, tokens=got.tokens))


def unprojected(lab: Lab, case: Case) -> None:
    """The logits agree, without a projection."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, projection=0)))


def without_lstm(lab: Lab, case: Case) -> None:
    """The logits agree, with nothing but an MLP in front of the virtual tokens."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, lstm_layers=0)))


def one_lstm_layer(lab: Lab, case: Case) -> None:
    """The logits agree, with one layer of an LSTM at most."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, lstm_layers=min(1, case.prefix.lstm_layers))))


def two_layers(lab: Lab, case: Case) -> None:
    """The logits agree, on a model of two layers, as small test models have."""
    step_logits(lab, replace(case, roles=replace(case.roles, layers=2)))


def all_kv_heads(lab: Lab, case: Case) -> None:
    """The logits agree, on a model with one key/value head for each query head."""
    step_logits(lab, replace(case, roles=replace(case.roles, kv_heads=case.roles.heads)))


def alone(lab: Lab, case: Case) -> None:
    """The logits agree, in a batch of one."""
    step_logits(lab, relations.row_alone(case, 0))


def one_virtual_token(lab: Lab, case: Case) -> None:
    """Whatever the Case says, one virtual token."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, length=1)))


def one_task(lab: Lab, case: Case) -> None:
    """The logits agree, with one task."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, tasks=1)))


def rank_one(lab: Lab, case: Case) -> None:
    """The logits agree, with matrices of rank 1, which is PEFT's default."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, rank=1)))


def within_radii(lab: Lab, case: Case) -> None:
    """The logits agree, where training has moved nothing out of its radius."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, radii="wide")))


def of_one_template(lab: Lab, case: Case) -> None:
    """The logits agree, with types that are PEFT's default."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, context="template")))


def loaded_with_text(lab: Lab, case: Case) -> None:
    """Virtual tokens that hold a real text answer as the text does: of embeddings, whose matrices are then of ones."""
    (held,) = follow_ups.loaded_with_text(case)
    step_logits(lab, held)


def twenty_virtual_tokens(lab: Lab, case: Case) -> None:
    """The logits agree with 20 virtual tokens, as in most examples."""
    step_logits(lab, replace(case, prefix=replace(case.prefix, length=20)))


def equal_lengths(lab: Lab, case: Case) -> None:
    """Permuting rows of equal length permutes the answers."""
    even = replace(case, rows=tuple(replace(row, length=case.longest) for row in case.rows))
    got, reversed_ = lab.generate(even), lab.generate(relations.rows_reversed(even))
    for index in range(len(case.rows)):
        agree(reversed_.row(len(case.rows) - 1 - index), got.row(index))


def two_equal_rows(lab: Lab, case: Case) -> None:
    """Two equal texts have equal answers."""
    got = lab.generate(relations.same_rows(case, 2))
    agree(got.row(1), got.row(0))


def default_attention(lab: Lab, case: Case) -> None:
    """The logits agree, with the default implementation of attention."""
    step_logits(lab, relations.with_attention(case, "default"))


def full_table(lab: Lab, case: Case) -> None:
    """Prefix, text and answer may take all of the model's positions."""
    full = relations.filling_positions(case)
    if full is not None:
        step_logits(lab, full)


def twice(lab: Lab, case: Case) -> None:
    """The same call twice, with nothing in between, gives the same answer."""
    subject = lab.new_subject(case)
    identical(lab.generate_on(subject, case), lab.generate_on(subject, case), "the second call differs")


def forward_logits_alone(lab: Lab, case: Case) -> None:
    """The training forward's logits of each row are those of the row alone; nobody looks at the loss."""
    tokens = lab.generate(case).tokens
    got = lab.forward(relations.with_padding(case, "right"), tokens=tokens)
    for index in range(len(case.rows)):
        agree(got.row(index), lab.forward(relations.row_alone(case, index), tokens=tokens[index : index + 1]))


def omitted_is_ones(lab: Lab, case: Case) -> None:
    """Without pads no mask equals a mask of ones."""
    if not case.padded:
        agree(lab.generate(relations.with_mask(case, "omitted")), lab.generate(case))


def first_token_from_a_static_cache(lab: Lab, case: Case) -> None:
    """With a static cache the first token's logits are those with a dynamic one."""
    first = relations.first_steps(case, 1)
    agree(lab.generate(relations.with_cache(first, "static")), lab.generate(first))


def a_cache_handed_in(lab: Lab, case: Case) -> None:
    """With an empty cache that is handed in the answer is the same; nobody looks at that cache afterwards."""
    short = relations.first_steps(case)
    agree(lab.generate(relations.with_cache(short, "given")), lab.generate(short))


def in_pieces(lab: Lab, case: Case) -> None:
    """A text that is to be read in pieces is answered as if it were read at once."""
    agree(lab.generate(relations.with_decoding(case, "chunked")), lab.generate(case))


def last_piece_of_one(lab: Lab, case: Case) -> None:
    """A text whose second piece is one token is answered as if it were read at once."""
    rows = tuple(replace(row, length=min(row.length, CHUNK + 1)) for row in case.rows)
    short = relations.first_steps(replace(case, rows=rows))
    agree(lab.generate(relations.with_decoding(short, "chunked")), lab.generate(short))


def first_token_without_cache(lab: Lab, case: Case) -> None:
    """Without a cache the first token's logits are those with one."""
    first = relations.first_steps(case, 1)
    agree(lab.generate(relations.with_cache(first, "none")), lab.generate(first))


def decoder_mask_of_ones(lab: Lab, case: Case) -> None:
    """A decoder_attention_mask of ones changes nothing, in generate and in the training forward."""
    ones = relations.with_decoder_mask(case, "ones")
    agree(lab.generate(ones), lab.generate(case))
    agree(lab.forward(ones), lab.forward(case))


def told_by_length(lab: Lab, case: Case) -> None:
    """max_length gives the answer that max_new_tokens gives; nobody looks at what is returned beside it, or may end it."""
    agree(lab.generate(relations.told_by_length(case)), lab.generate(case))


def continued_by_its_own_answer(lab: Lab, case: Case) -> None:
    """Going on from the returned cache without any further text answers as starting afresh with text and answer."""
    afresh = lab.second_answer(case, from_cache=False, further=())
    agree(lab.second_answer(case, from_cache=True, further=()), afresh)
