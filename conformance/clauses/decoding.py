"""Decoding acts on real tokens, and calls are independent of each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.decoding import (
    processed_by_hand,
    sampled_by_hand,
    searched_by_hand,
    something_guessed,
    stopped_by_hand,
    told_text_only,
)
from conformance.assertions.lengths import ends_as_told, text_and_answer
from conformance.assertions.logits import agree, agree_on_tokens, identical
from conformance.assertions.returned import returned_by_hand, scores_are_logits
from conformance.clauses.follow_ups import (
    all_returned,
    by_assistant,
    limits,
    looked_up,
    processed,
    sampled,
    searched,
    stopped,
)
from conformance.clauses.preconditions import eager_attention
from conformance.clauses.registry import Floor, clause
from conformance.core.relations import told_by_tokens, with_decoding
from conformance.core.sources import GENERATION_DOC, PREFIX_TUNING_DOC, PROCESSORS_DOC, STRATEGIES_DOC
from conformance.oracles.table import handmade_cache

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

GUESSING = Floor(share=0.05)
"""Few answers of tiny models say a token twice, or one of the text."""


@clause(sources=("huggingface/peft#169", "huggingface/peft#1502"))
def repeatable(lab: Lab, case: Case) -> None:
    """The same call twice gives the same answer to the bit, whatever was called in between."""
    identical(lab.again(case), lab.generate(case).steps(3), "the second call answers otherwise")


@clause(sources=(GENERATION_DOC, "huggingface/transformers#23552"), follow_ups=limits)
def lengths_count_text_only(lab: Lab, case: Case) -> None:
    """Lengths count real tokens: max_length and min_length those of text and answer, which are also returned, and streamed.

    max_length gives the answer that max_new_tokens gives. Where most tokens end an answer, min_length and min_new_tokens hold
    them back until the last step. Of an encoder-decoder the decoder's text is counted, which is one start token.
    """
    got, plain = lab.generate(case), lab.generate(told_by_tokens(case))
    agree(got.steps(1) if case.ends else got, plain.steps(1) if case.ends else plain, "another limit, another answer")
    if case.ends:
        ends_as_told(got)
    text_and_answer(lab, got)


@clause(sources=(STRATEGIES_DOC,), follow_ups=sampled)
def sampling(lab: Lab, case: Case) -> None:
    """Seeded sampling answers what sampling by hand from the manual forward's logits answers, with as many random numbers.

    The source says what is sampled from; that a wrapper draws no random number of its own, so that a seed means the same with and
    without it, is our own claim.
    """
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))
    sampled_by_hand(got)


@clause(sources=(PROCESSORS_DOC, "huggingface/transformers#36642"), follow_ups=processed)
def processors_see_text_only(lab: Lab, case: Case) -> None:
    """Penalties, bans, forced and suppressed tokens, ends and stopping criteria act on text and answer, never on virtual tokens.

    Processors and criteria are given the tokens of text and answer, as the base model gives them, and the answer is what
    processing the manual forward's logits by hand gives. That a penalty is for what the user passed as text, too, is said in the
    second source.
    """
    got = lab.generate(case)
    told_text_only(got, lab.request(case))
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))
    processed_by_hand(got, lab.request(case))


@clause(sources=("huggingface/transformers#28932", PROCESSORS_DOC), follow_ups=stopped, decisive=2)
def stop_strings(lab: Lab, case: Case) -> None:
    """An answer ends where text and answer together end with a stop string: it is the greedy one, cut by hand.

    Such a string is one letter, or two, of which the first is the text's last one, so that nothing may stand between text and
    answer. The text holds some, which end nothing. Of an encoder-decoder the decoder's text is meant, which holds no letter. The
    first source is where strings came to end answers.
    """
    plain = lab.generate(with_decoding(case, "plain"))
    stopped_by_hand(lab.generate(case), plain, lab.request(case))


@clause(sources=(STRATEGIES_DOC, "huggingface/transformers#21368"), follow_ups=searched)
def beams(lab: Lab, case: Case) -> None:
    """A beam search returns the answers, in the order and with the scores, that a beam search by hand finds.

    Two beams that stop early, or three that do not, with two answers returned, end tokens and a length penalty, for which
    virtual tokens are no part of the answer. By hand the manual forward reads every hypothesis anew. The second source says when
    a search may end.
    """
    searched_by_hand(lab.generate(case), lab.searched(case))


@clause(
    sources=("arXiv:2211.17192", "huggingface/transformers#27775"), follow_ups=looked_up, floor=GUESSING, decisive=2
)
def assisted(lab: Lab, case: Case) -> None:
    """Prompt lookup gives the greedy answer, or is refused in words.

    What follows the last tokens elsewhere in the text is a guess, which one forward over several tokens verifies. The first
    source says that verified guesses change no answer; the second one made this kind of guess an option of generate. Where the
    last token stands nowhere else in text and answer, nothing is guessed, and the claim says nothing.
    """
    got = lab.generate(case)
    expected = lab.predict(case, handmade_cache, tokens=got.tokens)
    agree(got, expected, "prompt lookup answers otherwise")
    agree_on_tokens(got, expected)
    something_guessed(got, lab.request(case))


@clause(
    sources=("arXiv:2211.17192", "huggingface/transformers#22211"),
    one_in=4,
    follow_ups=by_assistant,
    decisive=2,
    floor=Floor(may_refuse=True),
)
def assistant_model(lab: Lab, case: Case) -> None:
    """With an assistant model, which is the bare base model, the answer is the greedy one, or it is refused in words.

    The assistant guesses two tokens, and one forward verifies them. The first source says that verified guesses change no answer;
    the second one made assistants an option of generate. Where virtual tokens change the answer, guesses are wrong. Where an
    encoder reads embeddings transformers cannot ask an assistant, with or without virtual tokens, and says so.
    """
    got = lab.generate(case)
    expected = lab.predict(case, handmade_cache, tokens=got.tokens)
    agree(got, expected, "with an assistant model it answers otherwise")
    agree_on_tokens(got, expected)


@clause(sources=(PROCESSORS_DOC, PREFIX_TUNING_DOC), requires=(eager_attention,), follow_ups=all_returned)
def returned_fields(lab: Lab, case: Case) -> None:
    """Scores, hidden states and attentions are those of the base model with the virtual tokens in front.

    The first source says that they are returned for each step. Attentions have a column for each virtual token, in front of the
    text's, which a window may have dropped; embedded virtual tokens are positions of hidden states, too, those in the cache are
    not. Values are compared for what text and answer have of them, pads left out, and measured against the error as logits are.
    """
    got = lab.generate(case)
    scores_are_logits(got)
    returned_by_hand(lab, got)
